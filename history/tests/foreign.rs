//! Small files of every format, read to their events.

use std::fs;
use std::path::{Path, PathBuf};

use history::{
    Event, EventKind, EventReader, Format, ModelGuess, Outcome, ReadOptions, guess_model, read_history_as,
    read_history_with, write_edn,
};
use serde_json::{Value, json};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

fn temporary(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn events_with(path: &Path, options: ReadOptions) -> Result<Vec<Event>, String> {
    let mut reader = EventReader::open_with(path, options).map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().map_err(|error| error.to_string())? {
        events.push(event);
    }
    Ok(events)
}

fn events(path: &Path) -> Result<Vec<Event>, String> {
    events_with(path, ReadOptions::default())
}

/// `process type function key value`, which is what the samples are about.
fn shown(events: &[Event]) -> Vec<String> {
    let kind = |kind| match kind {
        EventKind::Invoke => "invoke",
        EventKind::Ok => "ok",
        EventKind::Fail => "fail",
        EventKind::Info => "info",
    };
    let key = |event: &Event| event.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
    let line = |event: &Event| {
        format!("{} {} {}{} {}", event.process, kind(event.kind), event.f, key(event), event.value)
    };
    events.iter().map(line).collect()
}

fn error_of(text: &str, format: Format) -> String {
    let (_directory, path) = temporary("h", text);
    let options = ReadOptions { format: Some(format), independent: None };
    let message = events_with(&path, options).unwrap_err();
    message
        .strip_prefix(&format!("{}:", path.display()))
        .expect("the message begins with the file")
        .to_owned()
}

#[test]
fn formats_are_detected_plain_and_compressed() {
    for (name, format) in [
        ("own.jsonl", Format::Jsonl),
        ("register.edn", Format::Edn),
        ("list.edn", Format::Edn),
        ("independent.edn", Format::Edn),
        ("register.log", Format::JepsenLog),
        ("kv.txt", Format::PorcupineKv),
        ("txn.json", Format::ElleJson),
        ("mutex.json", Format::ElleJson),
        ("etcd-deletes.json", Format::EtcdOperations),
        ("etcd-test", Format::EtcdOperations),
        ("etcd-test/client-1/operations.json", Format::EtcdOperations),
    ] {
        let path = sample(name);
        assert_eq!(Format::detect(&path).unwrap(), format, "{name}");
        if path.is_file() {
            let directory = tempfile::tempdir().unwrap();
            let compressed = directory.path().join("h.gz");
            let file = fs::File::create(&compressed).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            std::io::copy(&mut fs::File::open(&path).unwrap(), &mut encoder).unwrap();
            encoder.finish().unwrap();
            assert_eq!(Format::detect(&compressed).unwrap(), format, "{name}.gz");
        }
    }
}

#[test]
fn unknown_format_is_answered_with_all_formats() {
    let (_directory, path) = temporary("h", "a poem\nof two lines\n");
    let message = events(&path).unwrap_err();
    assert!(message.starts_with(&format!("{}:1: ", path.display())), "{message}");
    for format in Format::ALL {
        assert!(message.contains(format.name()), "{message}");
    }
}

#[test]
fn empty_file_is_an_empty_history_in_every_format() {
    let (_directory, path) = temporary("h", "");
    for format in Format::ALL.map(Some).into_iter().chain([None]) {
        let (history, torn) = read_history_as(&path, format).unwrap();
        assert_eq!(
            (history, torn),
            (history::History { header: history_header(format), ..Default::default() }, None)
        );
    }
}

/// The header that a format gives to a history that is empty.
fn history_header(format: Option<Format>) -> Option<history::Header> {
    let (_directory, path) = temporary("h", "");
    EventReader::open(&path, format).unwrap().header().cloned()
}

#[test]
fn jepsen_history_of_one_map_a_line() {
    let path = sample("register.edn");
    let found = events(&path).unwrap();
    assert_eq!(
        shown(&found),
        [
            "0 invoke read null",
            "1 invoke write 3",
            "0 ok read null",
            "1 ok write null",
            "0 invoke cas [3,4]",
            "0 ok cas true",
            "1 invoke cas [3,1]",
            "1 fail cas null",
            "0 invoke write 9",
            "0 info write null",
            "5 invoke read null",
            "5 ok read 4",
        ]
    );
    assert_eq!(found[9].error.as_deref(), Some("[\"timeout\",\"5 s\"]"));
    assert_eq!(
        found.iter().map(|event| event.index).collect::<Vec<_>>(),
        [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    );
    // The seventh event is stamped before the sixth; the order of the file counts.
    assert_eq!((found[4].time.0, found[5].time.0, found[6].time.0), (1600, 1600, 1700));
    let mut reader = EventReader::open(&path, None).unwrap();
    while reader.next_event().unwrap().is_some() {}
    assert_eq!((reader.skipped(), reader.torn(), reader.header()), (2, None, None));
    let (history, _) = read_history_as(&path, None).unwrap();
    assert_eq!(history.operations.len(), 6);
    assert_eq!(history.operations.iter().filter(|operation| operation.outcome == Outcome::Info).count(), 1);
}

#[test]
fn jepsen_history_as_one_list_with_tags_and_comments() {
    let found = events(&sample("list.edn")).unwrap();
    assert_eq!(shown(&found), ["0 invoke read null", "0 ok read 0", "1 invoke write 1", "1 info write null"]);
    assert_eq!(
        found.iter().map(|event| (event.index, event.time.0)).collect::<Vec<_>>(),
        [(0, 0), (1, 1), (2, 2), (3, 3)]
    );
}

#[test]
fn independent_keys_are_found_out_unless_they_are_denied() {
    let path = sample("independent.edn");
    let expected = [
        "0 invoke write 7 [1,2]",
        "1 invoke read 7 null",
        "0 ok write 7 null",
        "1 ok read 7 [1,2]",
        "0 invoke cas 8 [1,2]",
        "0 info cas 8 null",
    ];
    assert_eq!(shown(&events(&path).unwrap()), expected);
    let options = |independent| ReadOptions { format: None, independent: Some(independent) };
    assert_eq!(shown(&events_with(&path, options(true)).unwrap()), expected);
    assert_eq!(read_history_with(&path, options(true)).unwrap(), read_history_as(&path, None).unwrap());
    assert_eq!(shown(&events_with(&path, options(false)).unwrap())[1], "1 invoke read [7,null]");
    let message = events_with(&sample("register.edn"), options(true)).unwrap_err();
    assert!(message.contains("register.edn:1: the value must be `[key value]`"), "{message}");
}

#[test]
fn keys_that_show_late_to_be_independent_are_an_error() {
    let writes =
        (0..300).map(|key| format!("{{:process {key}, :type :invoke, :f :write, :value [{key} 1]}}\n"));
    let text = writes.collect::<String>() + "{:process 999, :type :invoke, :f :read, :value [7 nil]}\n";
    assert!(error_of(&text, Format::Edn).starts_with("301: "), "{}", error_of(&text, Format::Edn));
    let (_directory, path) = temporary("h.edn", &text);
    for independent in [true, false] {
        let options = ReadOptions { format: None, independent: Some(independent) };
        assert_eq!(events_with(&path, options).unwrap().len(), 301);
    }
}

#[test]
fn jepsen_log() {
    let path = sample("register.log");
    let found = events(&path).unwrap();
    assert_eq!(
        shown(&found),
        [
            "0 invoke read null",
            "1 invoke write 4",
            "0 ok read null",
            "1 ok write null",
            "0 invoke cas [4,2]",
            "1 invoke cas [9,2]",
            "0 ok cas true",
            "1 fail cas null",
            "0 invoke write 1",
            "0 info write null",
            "1 invoke read null",
            "1 fail read null",
        ]
    );
    assert_eq!(found[9].error.as_deref(), Some("timed-out"));
    let mut reader = EventReader::open(&path, None).unwrap();
    while reader.next_event().unwrap().is_some() {}
    assert_eq!(reader.skipped(), 2);
}

#[test]
fn porcupine_key_values_are_the_model_kv() {
    let path = sample("kv.txt");
    assert_eq!(
        shown(&events(&path).unwrap()),
        [
            "0 invoke get 0 null",
            "1 invoke append 0 \"x 1 0 y\"",
            "0 ok get 0 null",
            "1 ok append 0 null",
            "1 invoke delete 3 null",
            "0 invoke get 0 null",
            "1 ok delete 3 null",
            "0 ok get 0 \"x 1 0 y\"",
        ]
    );
    let (history, torn) = read_history_as(&path, None).unwrap();
    assert_eq!((history.header.unwrap().workload.as_str(), torn), ("kv", None));
}

#[test]
fn elle_json_as_an_array_and_as_lines() {
    assert_eq!(
        shown(&events(&sample("txn.json")).unwrap()),
        [
            "0 invoke txn [[\"append\",253,1],[\"r\",255,null]]",
            "0 ok txn [[\"append\",253,1],[\"r\",255,[2,3]]]",
            "1 invoke txn [[\"append\",253,2]]",
            "1 info txn [[\"append\",253,2]]",
        ]
    );
    let found = events(&sample("mutex.json")).unwrap();
    assert_eq!(
        shown(&found),
        ["0 invoke acquire null", "1 invoke release null", "0 ok acquire null", "1 fail release null"]
    );
    assert_eq!(found[3].error.as_deref(), Some("not-held"));
}

#[test]
fn etcd_operations_of_all_clients_are_one_history_in_order_of_time() {
    let path = sample("etcd-test");
    let found = events(&path).unwrap();
    assert_eq!(
        shown(&found),
        [
            "1 invoke read k0 null",
            "1 ok read k0 [null,0]",
            "1 invoke write k0 \"a\"",
            "2 invoke read k0 null",
            "1 ok write k0 2",
            "1 invoke cas k0 [2,\"b\"]",
            "2 ok read k0 [\"a\",2]",
            "1 ok cas k0 3",
            "2 invoke cas k0 [2,\"z\"]",
            "1 invoke write k0 \"c\"",
            "1 info write k0 null",
            "2 ok cas k0 false",
            "2 invoke read k0 null",
            "2 ok read k0 [\"b\",3]",
            "4 invoke read k0 null",
            "4 fail read k0 null",
        ]
    );
    assert!(found.is_sorted_by_key(|event| (event.time, event.index)));
    let (history, _) = read_history_as(&path, None).unwrap();
    assert_eq!(
        (history.header.unwrap().workload.as_str(), history.operations.len()),
        ("versioned-register", 8)
    );
}

#[test]
fn etcd_operations_with_deletes_are_the_model_kv() {
    let path = sample("etcd-deletes.json");
    assert_eq!(
        shown(&events(&path).unwrap()),
        [
            "1 invoke cas k0 [null,\"a\"]",
            "1 ok cas k0 true",
            "1 invoke delete k0 null",
            "1 ok delete k0 null",
            "1 invoke get k0 null",
            "1 ok get k0 null",
        ]
    );
    assert_eq!(EventReader::open(&path, None).unwrap().header().unwrap().workload, "kv");
}

#[test]
fn one_client_of_an_etcd_test_is_refused_beside_the_others() {
    let path = sample("etcd-test/client-1/operations.json");
    let message = events(&path).unwrap_err();
    assert!(
        message.starts_with(&format!("{}:1: ", path.display())) && message.contains("etcd-test"),
        "{message}"
    );
}

#[test]
fn torn_etcd_operations_are_refused() {
    let text = fs::read_to_string(sample("etcd-test/client-2/operations.json")).unwrap();
    let message = error_of(&text[..text.len() - 20], Format::EtcdOperations);
    assert!(message.starts_with("3: ") && message.contains("not whole"), "{message}");
}

/// An operation of client 1 with the given fields of its request, and an empty answer.
fn etcd(input: &str) -> String {
    format!(
        "\n{{\"ClientId\":1,\"Input\":{input},\"Call\":1,\"Output\":{{\"Txn\":{{\"Failure\":false}},\"Revision\":5}},\"Return\":2}}\n"
    )
}

#[test]
fn unsupported_requests_to_etcd_are_named_with_their_line() {
    let operation = |kind: &str, lease: u32| {
        format!(
            "{{\"Type\":\"{kind}-operation\",\"Range\":{{\"Start\":\"a\",\"End\":\"\",\"Limit\":0}},\
             \"Put\":{{\"Key\":\"a\",\"Value\":{{\"Value\":\"1\"}},\"LeaseID\":{lease}}},\"Delete\":{{\"Key\":\"a\"}}}}"
        )
    };
    let txn = |conditions: &str, success: &str, failure: &str| {
        etcd(&format!(
            "{{\"Type\":\"txn\",\"Txn\":{{\"Conditions\":[{conditions}],\"OperationsOnSuccess\":[{success}],\
             \"OperationsOnFailure\":[{failure}]}}}}"
        ))
    };
    let range = |end: &str, revision: u32| {
        etcd(&format!(
            "{{\"Type\":\"range\",\"Range\":{{\"Start\":\"a\",\"End\":\"{end}\",\"Limit\":0,\"Revision\":{revision}}}}}"
        ))
    };
    let condition = |key: &str, version: u32| {
        format!("{{\"Key\":\"{key}\",\"ExpectedRevision\":4,\"ExpectedVersion\":{version}}}")
    };
    let put = operation("put", 0);
    for (text, named) in [
        (range("b", 0), "several keys"),
        (range("", 7), "old revision 7"),
        (txn("", &operation("put", 9), ""), "lease"),
        (txn("", &format!("{put},{put}"), ""), "2 operations"),
        (txn("", "", ""), "0 operations"),
        (txn(&condition("a", 3), &put, ""), "condition"),
        (txn(&condition("b", 0), &put, ""), "condition"),
        (txn(&condition("a", 0), &put, &put), "when a compare fails"),
        (txn(&condition("a", 0), &operation("delete", 0), ""), "depends on a compare"),
        (txn("", &operation("watch", 0), ""), "watch-operation"),
        (etcd("{\"Type\":\"snapshot\"}"), "\"snapshot\""),
        (txn("{\"Key\":\"a\",\"ExpectedRevision\":4,\"ExpectedValue\":\"x\"}", &put, ""), "ExpectedValue"),
    ] {
        let message = error_of(&text, Format::EtcdOperations);
        assert!(message.starts_with("2: ") && message.contains(named), "{named}: {message}");
    }
    let both = format!("{}{}", txn(&condition("a", 0), &put, ""), txn("", &operation("delete", 0), ""));
    assert!(error_of(&both, Format::EtcdOperations).contains("history with deletes"));
}

#[test]
fn broken_lines_are_errors_with_file_and_line() {
    let good = "{:process 0, :type :invoke, :f :read, :value nil}\n";
    for (broken, reason) in [
        ("{:process 0, :type :maybe, :f :read}", "type"),
        ("{:process -3, :type :ok, :f :read}", "process"),
        ("{:process 5000000000, :type :ok, :f :read}", "process"),
        ("{:type :ok, :f :read}", "process"),
        ("{:process 0, :type :ok}", "function"),
        ("{:process 0, :type :ok, :f :read, :time 1.5}", "time"),
        ("[1 2]", "must be a map"),
        ("}", "unexpected"),
    ] {
        let message = error_of(&format!("{good}{broken}\n"), Format::Edn);
        assert!(message.starts_with("2: ") && message.contains(reason), "{broken}: {message}");
    }
    let message =
        error_of("{\"process\":0,\"type\":\"ok\",\"f\":\"read\"}\n{\"process\":}\n", Format::ElleJson);
    assert!(message.starts_with("2: "), "{message}");
}

#[test]
fn events_that_break_a_rule_are_errors_with_their_line() {
    let again =
        "{:process 0, :type :info, :f :write, :value 1}\n{:process 0, :type :invoke, :f :read, :value nil}\n";
    let (_directory, path) =
        temporary("h.edn", &format!("{{:process 0, :type :invoke, :f :write, :value 1}}\n{again}"));
    let message = read_history_as(&path, None).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}:3: process 0 is used again", path.display())), "{message}");
}

#[test]
fn torn_end_is_told_and_what_is_whole_is_read() {
    for (text, whole) in [
        ("{:process 0, :type :invoke, :f :read, :value nil}\n{:process 0, :type :ok, :f", 1),
        ("[{:process 0, :type :invoke, :f :read, :value nil}\n", 1),
        ("INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1", 1),
        ("[{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"},\n", 1),
    ] {
        let (_directory, path) = temporary("h", text);
        let (history, torn) = read_history_as(&path, None).unwrap();
        assert_eq!(history.operations.len(), whole, "{text}");
        assert!(torn.is_some(), "{text}");
    }
}

#[test]
fn models_are_guessed_from_the_samples() {
    for (name, model) in [
        ("register.edn", Some("cas-register")),
        ("independent.edn", Some("cas-register")),
        ("list.edn", Some("register")),
        ("register.log", Some("cas-register")),
        ("kv.txt", Some("kv")),
        ("mutex.json", Some("mutex")),
        ("txn.json", None),
        ("etcd-test", Some("versioned-register")),
    ] {
        let mut guess = ModelGuess::default();
        events(&sample(name)).unwrap().iter().for_each(|event| guess.observe(event));
        assert_eq!(guess.model(), model, "{name}: {:?}", guess.candidates());
    }
    assert_eq!(guess_model(&["transfer"]), None);
}

#[test]
fn samples_survive_the_way_through_edn() {
    for name in
        ["register.edn", "independent.edn", "register.log", "kv.txt", "txn.json", "mutex.json", "etcd-test"]
    {
        let mut expected = events(&sample(name)).unwrap();
        for (index, event) in expected.iter_mut().enumerate() {
            event.index = index as u64;
        }
        let mut text = Vec::new();
        write_edn(expected.iter().cloned(), &mut text).unwrap();
        let (_directory, path) = temporary("h.edn", std::str::from_utf8(&text).unwrap());
        assert_eq!(events(&path).unwrap(), expected, "{name}");
    }
}

#[test]
fn export_is_what_knossos_and_elle_read() {
    let exported = |name: &str| {
        let mut text = Vec::new();
        write_edn(events(&sample(name)).unwrap(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let register = exported("register.log");
    let lines: Vec<&str> = register.lines().collect();
    assert_eq!(lines[1], "{:index 1, :time 1, :process 1, :type :invoke, :f :write, :value 4}");
    assert_eq!(lines[3], "{:index 3, :time 3, :process 1, :type :ok, :f :write, :value 4}");
    assert_eq!(lines[6], "{:index 6, :time 6, :process 0, :type :ok, :f :cas, :value [4 2]}");
    let txn = exported("txn.json");
    assert!(txn.contains(":type :ok, :f :txn, :value [[:append 253 1] [:r 255 [2 3]]]"), "{txn}");
    let keyed = exported("independent.edn");
    assert!(keyed.contains(":type :invoke, :f :read, :value [7 nil]"), "{keyed}");
    let etcd = exported("etcd-test");
    assert!(etcd.contains(":type :fail, :f :cas, :value [\"k0\" [2 \"z\"]], :mismatch true"), "{etcd}");
}

#[test]
fn export_refuses_what_it_cannot_show() {
    let mut some = events(&sample("independent.edn")).unwrap();
    some[3].key = None;
    assert!(write_edn(some, Vec::new()).unwrap_err().to_string().contains("either all events have a key"));
}

#[test]
fn values_become_json_as_documented() {
    let text = "{:process 0, :type :invoke, :f :txn, :value [:a/b sym \"s\" \\c #{1} (2) {:k 1.5} 1/2 2.50M 7N nil true]}\n";
    let (_directory, path) = temporary("h.edn", text);
    let expected = json!(["a/b", "sym", "s", "c", [1], [2], {"k": 1.5}, "1/2", "2.50M", 7, null, true]);
    assert_eq!(events(&path).unwrap()[0].value, expected);
    assert_eq!(events(&path).unwrap()[0].key, None::<String>);
    assert_ne!(expected, Value::Null);
}
