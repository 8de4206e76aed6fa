//! Hostile bytes, files cut at every byte, and the way through EDN and back.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use history::operation::Pairing;
use history::{
    Event, EventKind, EventReader, Format, Nanos, NodeId, Process, ReadError, ReadOptions, read_history_as,
    write_edn,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

const SAMPLES: [&str; 9] = [
    "own.jsonl",
    "register.edn",
    "list.edn",
    "independent.edn",
    "register.log",
    "kv.txt",
    "txn.json",
    "mutex.json",
    "etcd-deletes.json",
];

fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)).unwrap()
}

/// A file whose bytes can be replaced.
struct Scratch {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { path: directory.path().join("h"), _directory: directory }
    }

    fn holding(&self, bytes: &[u8]) -> &Path {
        fs::write(&self.path, bytes).unwrap();
        &self.path
    }
}

/// Reads everything; the answer must be events, at most one for every byte, or an error that names file and line.
fn read_safely(path: &Path, bytes: usize, format: Option<Format>) -> Result<Vec<Event>, String> {
    read_safely_with(path, bytes, ReadOptions { format, independent: None })
}

fn read_safely_with(path: &Path, bytes: usize, options: ReadOptions) -> Result<Vec<Event>, String> {
    let named = |error: ReadError| {
        match &error {
            ReadError::Line { path: named, line, .. } => {
                assert!(named == path && (1..=bytes as u64 + 1).contains(line), "{error}");
            }
            // A spoiled version number; the header is always on the first line.
            ReadError::TooNew { path: named, .. } => assert_eq!(named, path),
            ReadError::Io { .. } => panic!("{error}"),
        }
        error.to_string()
    };
    let mut reader = EventReader::open_with(path, options).map_err(named)?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().map_err(named)? {
        events.push(event);
        assert!(events.len() <= bytes, "more events than bytes");
    }
    assert!(reader.torn().is_none_or(|torn| torn.line <= bytes as u64 + 1));
    Ok(events)
}

fn read_in_every_format(path: &Path, bytes: usize) {
    for format in Format::ALL.map(Some).into_iter().chain([None]) {
        let _: Result<_, _> = read_safely(path, bytes, format);
    }
    // Reading the whole history must not fail in another way either.
    let _: Result<_, _> = read_history_as(path, None);
}

/// How a valid file is spoiled.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(usize, u8),
    Insert(usize, u8),
    Delete(usize, usize),
    Repeat(usize, usize),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        let range = |at: usize, count: usize| (at % length, (at % length + count % 40).min(bytes.len()));
        match *self {
            Self::Replace(at, byte) => {
                if let Some(old) = bytes.get_mut(at % length) {
                    *old = byte;
                }
            }
            Self::Insert(at, byte) => bytes.insert((at % length).min(bytes.len()), byte),
            Self::Delete(at, count) => {
                let (begin, end) = range(at, count);
                bytes.drain(begin..end);
            }
            Self::Repeat(at, count) => {
                let (begin, end) = range(at, count);
                let copy = bytes[begin..end].to_vec();
                bytes.splice(begin..begin, copy);
            }
        }
    }
}

/// Bytes that mean something to a parser are likelier than others.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(&b"{}[]()\"\\#_:;,/-+0 \n\tNMe.x\xff"[..]), any::<u8>()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), telling_byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<usize>(), telling_byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<usize>(), any::<usize>()).prop_map(|(at, count)| Mutation::Delete(at, count)),
        (any::<usize>(), any::<usize>()).prop_map(|(at, count)| Mutation::Repeat(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_give_events_or_an_error_with_file_and_line(bytes in vec(any::<u8>(), 0..200)) {
        let scratch = Scratch::new();
        read_in_every_format(scratch.holding(&bytes), bytes.len());
    }

    #[test]
    fn arbitrary_text_gives_events_or_an_error_with_file_and_line(bytes in vec(telling_byte(), 0..200)) {
        let scratch = Scratch::new();
        read_in_every_format(scratch.holding(&bytes), bytes.len());
    }

    #[test]
    fn spoiled_files_give_events_or_an_error_with_file_and_line(
        name in prop::sample::select(&SAMPLES[..]),
        mutations in vec(mutation(), 1..6),
    ) {
        let mut bytes = sample(name);
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let scratch = Scratch::new();
        read_in_every_format(scratch.holding(&bytes), bytes.len());
    }

    #[test]
    fn spoiled_gzip_files_give_events_or_an_error_with_file_and_line(
        name in prop::sample::select(&SAMPLES[..]),
        mutations in vec(mutation(), 1..4),
    ) {
        let plain = sample(name);
        let mut bytes = compressed(&plain);
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let scratch = Scratch::new();
        // A copied stretch of a gzip stream can stand for more text than the sample had.
        let limit = (plain.len() + bytes.len()) * 64;
        read_in_every_format(scratch.holding(&bytes), limit);
    }

    #[test]
    fn events_survive_the_way_through_edn(history in history(1..4)) {
        let found = through_edn(&history);
        prop_assert_eq!(found, history);
    }

    #[test]
    fn events_of_one_stamp_stay_a_history_on_the_way_through_edn(history in history(0..2)) {
        let found = through_edn(&history);
        let mut pairing = Pairing::default();
        for event in &found {
            pairing.push(event.clone()).unwrap();
        }
        prop_assert_eq!(of_processes(found), of_processes(history));
    }
}

/// More cases on demand: `SHAKEDOWN_FUZZ_CASES=100000`.
fn cases(default: u32) -> u32 {
    std::env::var("SHAKEDOWN_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// How a sample is read when it is known what it is: its beginning alone may not show it.
fn options_of(name: &str, format: Format) -> ReadOptions {
    ReadOptions { format: Some(format), independent: Some(name == "independent.edn") }
}

#[test]
fn every_prefix_of_a_file_is_judged_on_its_beginning_or_refused_with_file_and_line() {
    let scratch = Scratch::new();
    for name in SAMPLES {
        let bytes = sample(name);
        let format = Format::detect(scratch.holding(&bytes)).unwrap();
        let whole = read_safely(scratch.holding(&bytes), bytes.len(), None).unwrap();
        for length in 0..bytes.len() {
            let path = scratch.holding(&bytes[..length]);
            match read_safely_with(path, length, options_of(name, format)) {
                Ok(events) => assert_eq!(events, whole[..events.len()], "{name} {length}"),
                Err(message) => assert_eq!(format, Format::EtcdOperations, "{name} {length}: {message}"),
            }
            if let Ok(events) = read_safely(path, length, None) {
                assert!(events.len() <= whole.len(), "{name} {length}");
            }
        }
    }
}

#[test]
fn every_prefix_of_a_gzip_file_is_judged_on_its_beginning_or_refused_with_file_and_line() {
    let scratch = Scratch::new();
    for name in SAMPLES {
        let plain = sample(name);
        let bytes = compressed(&plain);
        let format = Format::detect(scratch.holding(&bytes)).unwrap();
        let whole = read_safely(scratch.holding(&bytes), plain.len(), None).unwrap();
        for length in 2..bytes.len() {
            let path = scratch.holding(&bytes[..length]);
            if let Ok(events) = read_safely_with(path, plain.len(), options_of(name, format)) {
                assert_eq!(events, whole[..events.len()], "{name} {length}");
            }
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let scratch = Scratch::new();
    let refused = |begin: &str, repeated: &str, count: usize, format: Format, reason: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(begin.as_bytes()).unwrap();
        let chunk = repeated.repeat(1024);
        for _ in 0..count / 1024 + 1 {
            encoder.write_all(chunk.as_bytes()).unwrap();
        }
        let path = scratch.holding(&encoder.finish().unwrap()).to_owned();
        let message = read_history_as(&path, Some(format)).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("{}:", path.display())) && message.contains(reason),
            "{message}"
        );
    };
    let bytes = usize::try_from(history::foreign::FORM_LIMIT_BYTES).unwrap();
    let values = usize::try_from(history::foreign::FORM_LIMIT_VALUES).unwrap();
    refused("{:a [", "1 ", values, Format::Edn, "values");
    refused("{:a \"", "x", bytes, Format::Edn, "longer than");
    refused("{:a ", "x", bytes, Format::Edn, "longer than");
    refused("{:a ", "[", 1024, Format::Edn, "nested deeper");
    refused("{\"a\":[", "1,", values, Format::ElleJson, "values");
    refused("{\"a\":\"", "x", bytes, Format::ElleJson, "longer than");
    refused("{\"a\":", "[", 1024, Format::ElleJson, "nested deeper");
    refused("INFO  jepsen.util - 0\t:invoke\t:write\t", "x", bytes, Format::JepsenLog, "longer than");
}

// Histories.

/// A step of a simulated recorder: who, what, and with which values.
#[derive(Debug, Clone)]
struct Step {
    process: usize,
    f: usize,
    outcome: EventKind,
    advance: u64,
    key: String,
    argument: Value,
    observation: Value,
    extra: Extra,
}

#[derive(Debug, Clone)]
struct Extra {
    node: Option<String>,
    error: Option<String>,
    intended: Option<u64>,
    is_final: bool,
}

const FUNCTIONS: [&str; 10] =
    ["read", "write", "cas", "txn", "add", "enqueue", "dequeue", "acquire", "two words", "été"];

fn json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number)),
        (0..4).prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        any::<String>().prop_map(Value::from),
        "[a-z]{1,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}

fn extra() -> impl Strategy<Value = Extra> {
    let rarely = |strategy: BoxedStrategy<String>| prop::option::weighted(0.1, strategy);
    (
        rarely(any::<String>().boxed()),
        rarely(any::<String>().boxed()),
        prop::option::weighted(0.1, any::<u64>()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(node, error, intended, is_final)| Extra { node, error, intended, is_final })
}

fn step(advance: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    let outcome = prop::sample::select(&[EventKind::Ok, EventKind::Ok, EventKind::Fail, EventKind::Info][..]);
    let key = prop_oneof![(-3..4_i64).prop_map(|key| key.to_string()), any::<String>()];
    (0..4_usize, 0..FUNCTIONS.len(), outcome, advance, key, json(), json(), extra()).prop_map(
        |(process, f, outcome, advance, key, argument, observation, extra)| Step {
            process,
            f,
            outcome,
            advance,
            key,
            argument,
            observation,
            extra,
        },
    )
}

/// A legal history; `advance` is how far the clock goes from event to event.
fn history(advance: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Event>> {
    (any::<bool>(), vec(step(advance), 1..30)).prop_map(|(is_keyed, steps)| recorded(is_keyed, &steps))
}

fn recorded(is_keyed: bool, steps: &[Step]) -> Vec<Event> {
    let mut processes: Vec<u32> = (0..4).collect();
    let mut open: [Option<Event>; 4] = [const { None }; 4];
    let mut events: Vec<Event> = Vec::new();
    let mut now = 0;
    for step in steps {
        now += step.advance;
        let event = match open[step.process].take() {
            None => {
                let event = Event {
                    index: 0,
                    time: Nanos(now),
                    kind: EventKind::Invoke,
                    process: Process(processes[step.process]),
                    node: step.extra.node.clone().map(NodeId),
                    f: FUNCTIONS[step.f].into(),
                    key: is_keyed.then(|| step.key.clone()),
                    value: step.argument.clone(),
                    intended: step.extra.intended.map(Nanos),
                    is_final: step.extra.is_final,
                    error: None,
                };
                open[step.process] = Some(event.clone());
                event
            }
            Some(invoked) => {
                if step.outcome == EventKind::Info {
                    processes[step.process] += 4;
                }
                // Echoes and mismatches are what an export could get wrong.
                let value = match step.advance % 3 {
                    0 => invoked.value.clone(),
                    1 => Value::Null,
                    _ => step.observation.clone(),
                };
                Event {
                    time: Nanos(now),
                    kind: step.outcome,
                    value,
                    error: step.extra.error.clone(),
                    ..invoked
                }
            }
        };
        events.push(Event { index: events.len() as u64, ..event });
    }
    events
}

fn through_edn(events: &[Event]) -> Vec<Event> {
    let mut text = Vec::new();
    write_edn(events.iter().cloned(), &mut text).unwrap();
    let scratch = Scratch::new();
    read_safely(scratch.holding(&text), text.len(), Some(Format::Edn)).unwrap()
}

/// What every process did, in its order, without the numbers of the events.
fn of_processes(mut events: Vec<Event>) -> Vec<Event> {
    events.iter_mut().for_each(|event| event.index = 0);
    events.sort_by_key(|event| event.process);
    events
}
