//! Histories far too large for an oracle, of every model: what must not change a verdict does not.
//!
//! A simulated history is valid by construction, also when intervals widen, when operations that change nothing are left
//! out, when processes get other names, and beside other keys. A few operations that no order explains, put into the middle
//! of it, are a violation under all of these, and what the explanation names proves it alone.

use std::time::Duration;

use checker::{Budget, CheckOutcome, Finding, Spec, Stream, linearizable};
use history::{Event, EventKind, History, Nanos, Operation, Outcome, Process};
use serde_json::{Value, json};

mod simulation;

use simulation::{Random, simulate};

/// The process of injected operations; simulated ones have smaller names.
const INJECTED: u32 = 1_000_000;

/// The numbers of operations of the histories.
const SIZES: &[usize] = if cfg!(debug_assertions) { &[1000] } else { &[1000, 10_000, 100_000] };

/// About as many operations as one key has.
const PER_KEY: usize = 250;

/// The most operations that an explanation names.
const MAX_NAMED: usize = 24;

/// Something that may not change a verdict.
type Change = fn(Vec<Operation>, &mut Random) -> Vec<Operation>;

const CHANGES: [(&str, Change); 5] = [
    ("nothing changed", |rows, _| rows),
    ("intervals widened", widened),
    ("pure operations left out", without_pure),
    ("processes renamed", renamed),
    ("merged with other keys", merged),
];

fn widened(mut rows: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    for row in &mut rows {
        row.call = row.call.saturating_sub(Nanos(random.below(20)));
        row.ret = row.ret.map(|ret| ret + Nanos(random.below(20)));
    }
    rows
}

/// Reads, and everything that found nothing to do.
fn without_pure(mut rows: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    let is_pure = |row: &Operation| match row.f.as_str() {
        "read" | "get" | "contains" => true,
        "dequeue" | "pop" => row.outcome == Outcome::Ok && row.output.is_null(),
        _ => row.outcome == Outcome::Ok && row.output == false,
    };
    rows.retain(|row| is_injected(row) || !is_pure(row) || random.below(2) == 0);
    rows
}

fn renamed(mut rows: Vec<Operation>, _: &mut Random) -> Vec<Operation> {
    for row in rows.iter_mut().filter(|row| !is_injected(row)) {
        row.process = Process(INJECTED - 1 - row.process.0);
    }
    rows
}

fn merged(mut rows: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    let spec = spec_of(&rows);
    for key in 0..4 {
        rows.extend(simulate(spec, &format!("other {key}"), 1_500_000 + key * 1000, PER_KEY, random));
    }
    rows
}

/// The model is remembered where no checker looks.
fn spec_of(rows: &[Operation]) -> Spec {
    rows[0].error.as_deref().expect("the name of the model").parse().unwrap()
}

fn is_injected(row: &Operation) -> bool {
    row.process.0 == INJECTED
}

/// Operations one after another that contradict each other, whatever else happens.
fn contradiction(spec: Spec) -> Vec<(&'static str, Value, Value)> {
    let done = Value::Null;
    let (x, y) = (json!("x!"), json!("y!"));
    match spec {
        Spec::Register => {
            vec![("write", x.clone(), done.clone()), ("write", y, done.clone()), ("read", done, x)]
        }
        Spec::VersionedRegister => vec![
            ("write", x.clone(), json!(1_000_000)),
            ("write", y, json!(1_000_001)),
            ("read", done, json!([x, 1_000_000])),
        ],
        Spec::Kv => vec![("put", x.clone(), done.clone()), ("put", y, done.clone()), ("get", done, x)],
        Spec::Set => vec![("add", x.clone(), done), ("contains", x, json!(false))],
        Spec::Counter => vec![("add", json!(1), done.clone()), ("read", done, json!(1_000_000_000))],
        Spec::Queue => vec![
            ("enqueue", x.clone(), done.clone()),
            ("enqueue", y.clone(), done.clone()),
            ("dequeue", done.clone(), y),
            ("dequeue", done, x),
        ],
        Spec::UnorderedQueue => vec![
            ("enqueue", x.clone(), done.clone()),
            ("dequeue", done.clone(), x.clone()),
            ("dequeue", done, x),
        ],
        Spec::Stack => vec![
            ("push", x.clone(), done.clone()),
            ("push", y.clone(), done.clone()),
            ("pop", done.clone(), x),
            ("pop", done, y),
        ],
        Spec::Mutex => {
            vec![("acquire", done.clone(), json!(1_000_000)), ("acquire", done, json!(1_000_000))]
        }
        Spec::AppendList => vec![("append", x, done.clone()), ("read", done, json!([]))],
    }
}

/// Puts a contradiction into the middle of the first key, far enough apart to survive wider intervals.
fn inject(spec: Spec, rows: &mut Vec<Operation>) {
    let last = rows.iter().map(|row| row.call).max().unwrap();
    let mut at = Nanos(last.0 / 2);
    for (f, input, output) in contradiction(spec) {
        let mut row = rows[0].clone();
        (row.f, row.input, row.output) = (f.to_owned(), input, output);
        (row.process, row.call, row.ret) = (Process(INJECTED), at, Some(at + Nanos(10)));
        row.outcome = Outcome::Ok;
        rows.push(row);
        at = at + Nanos(100);
    }
}

fn large(spec: Spec, operations: usize, random: &mut Random) -> Vec<Operation> {
    let keys = operations.div_ceil(PER_KEY) as u32;
    let mut rows: Vec<Operation> = (0..keys)
        .flat_map(|key| simulate(spec, &format!("k{key}"), key * 100, operations / keys as usize, random))
        .collect();
    rows[0].error = Some(spec.name().to_owned());
    rows
}

fn judge(spec: Spec, rows: &[Operation]) -> (Vec<Operation>, Finding) {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.call);
    rows.iter_mut().enumerate().for_each(|(index, row)| row.index = index as u64);
    let history = History { header: None, operations: rows.iter().cloned().collect() };
    let finding =
        linearizable(spec, &history, &Budget { time: Duration::from_secs(20), ..Budget::default() }).unwrap();
    (rows, finding)
}

/// The answer of following the history event by event, where its model can be followed.
fn followed(spec: Spec, rows: &[Operation]) -> Option<CheckOutcome> {
    let mut stream = Stream::new(spec, &Budget::default())?;
    let mut events: Vec<Event> = Vec::new();
    for (row, process) in rows.iter().zip(0..) {
        let event = |kind, time, value: &Value| Event {
            index: 0,
            time,
            kind,
            process: Process(process),
            node: None,
            f: row.f.clone(),
            key: row.key.clone(),
            value: value.clone(),
            intended: None,
            is_final: false,
            error: None,
        };
        events.push(event(EventKind::Invoke, row.call, &row.input));
        events.push(match row.outcome {
            Outcome::Ok => event(EventKind::Ok, row.ret.expect("it was completed"), &row.output),
            Outcome::Fail => event(EventKind::Fail, row.ret.expect("it failed"), &Value::Null),
            Outcome::Info => event(EventKind::Info, row.call + Nanos(50), &Value::Null),
        });
    }
    events.sort_by_key(|event| (event.time, event.kind != EventKind::Invoke));
    for (event, index) in events.into_iter().zip(0..) {
        stream.push(Event { index, ..event }).unwrap();
    }
    stream.end().unwrap();
    Some(stream.finding().result.outcome)
}

#[test]
fn valid_history_of_any_model_stays_valid_under_changes_that_cannot_matter() {
    for spec in Spec::ALL {
        for &size in SIZES {
            let mut random = Random::new(size as u64);
            let rows = large(spec, size, &mut random);
            let unknown = rows.iter().filter(|row| row.outcome == Outcome::Info).count();
            assert!(
                unknown * 100 >= size,
                "{unknown} of {size} operations on a {spec} are of unknown outcome"
            );
            for (name, change) in CHANGES {
                let rows = change(rows.clone(), &mut random);
                let (_, finding) = judge(spec, &rows);
                let what = format!("{spec}, {size} operations, {name}: {finding:?}");
                assert_eq!(finding.result.outcome, CheckOutcome::Valid, "{what}");
                match followed(spec, &rows) {
                    // Open appends have too many orders for who does not know yet which of them will be read.
                    Some(CheckOutcome::Unknown) => assert_eq!(spec, Spec::Kv, "{what}"),
                    outcome => assert_ne!(outcome, Some(CheckOutcome::Violation), "{what}"),
                }
            }
        }
    }
}

#[test]
fn violation_of_any_model_stays_one_and_is_proven_by_a_few_operations_of_its_key() {
    for spec in Spec::ALL {
        for &size in SIZES {
            let mut random = Random::new(size as u64);
            let mut rows = large(spec, size, &mut random);
            inject(spec, &mut rows);
            for (name, change) in CHANGES {
                let (rows, finding) = judge(spec, &change(rows.clone(), &mut random));
                let what = format!("{spec}, {size} operations, {name}: {finding:?}");
                assert_eq!(finding.result.outcome, CheckOutcome::Violation, "{what}");
                let followed = followed(spec, &rows);
                assert!(followed.is_none_or(|outcome| outcome == CheckOutcome::Violation), "{what}");
                assert_eq!(finding.anomalies.len(), 1, "{what}");
                let anomaly = &finding.anomalies[0];
                assert_eq!(anomaly.key.as_deref(), Some("k0"), "{what}");
                assert!(anomaly.operations.len() <= MAX_NAMED, "{what}");
                is_proof(spec, &rows, &anomaly.operations, &what);
            }
        }
    }
}

#[test]
fn operations_that_explain_a_lie_prove_it_alone() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 300 };
    for spec in Spec::ALL {
        let mut violations = 0;
        for seed in 0..seeds {
            let mut random = Random::new(seed);
            let mut rows = simulate(spec, "k", 0, 50, &mut random);
            lie(&mut rows, &mut random);
            let (rows, finding) = judge(spec, &rows);
            for anomaly in &finding.anomalies {
                violations += 1;
                let what = format!("{spec}, seed {seed}: {anomaly:?}");
                assert!(!anomaly.details.is_empty() || anomaly.operations.len() == MAX_NAMED, "{what}");
                if !anomaly.details.is_empty() {
                    is_proof(spec, &rows, &anomaly.operations, &what);
                }
            }
        }
        assert!(violations * 4 >= seeds, "{violations} of {seeds} lies about {spec} were found");
    }
}

/// Lets one operation observe what another one observed.
fn lie(rows: &mut [Operation], random: &mut Random) {
    let is_observer = |row: &&Operation| row.outcome == Outcome::Ok && !row.output.is_null();
    let observers: Vec<Operation> = rows.iter().filter(is_observer).cloned().collect();
    let any = &observers[random.below(observers.len() as u64) as usize];
    let differs = |row: &&mut Operation| {
        let is_like = row.outcome == Outcome::Ok && row.f == any.f && row.output != any.output;
        is_like && row.output.is_boolean() == any.output.is_boolean()
    };
    let mut liars: Vec<&mut Operation> = rows.iter_mut().filter(differs).collect();
    if !liars.is_empty() {
        let liar = random.below(liars.len() as u64) as usize;
        liars[liar].output = any.output.clone();
    }
}

/// The named operations alone are a violation.
fn is_proof(spec: Spec, rows: &[Operation], named: &[u64], what: &str) {
    let alone: Vec<Operation> = named.iter().map(|index| rows[*index as usize].clone()).collect();
    let (_, finding) = judge(spec, &alone);
    assert_eq!(finding.result.outcome, CheckOutcome::Violation, "alone, {what}");
}
