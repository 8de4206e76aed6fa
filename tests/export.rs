//! `shakedown export`: what is written is judged as what was read, and nothing is lost or overwritten on the way.

mod common;

use std::path::Path;

use common::{SHAKEDOWN, said, shakedown};

const HISTORY: &str = r#"{"shakedown_history":1,"claim":"linearizable","workload":"register","clock":"CLOCK_MONOTONIC"}
{"index":0,"time":10,"type":"invoke","process":0,"node":"n1","f":"write","key":"k1","value":7}
{"index":1,"time":20,"type":"ok","process":0,"node":"n1","f":"write","key":"k1"}
{"index":2,"time":30,"type":"invoke","process":1,"node":"n2","f":"read","key":"k2"}
{"index":3,"time":40,"type":"ok","process":1,"node":"n2","f":"read","key":"k2"}
"#;

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("history/tests/foreign").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn exported_history_has_the_verdict_of_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let models =
        ["register", "cas-register", "versioned-register", "kv", "set", "counter", "queue", "stack", "mutex"];
    for (model, violations) in models.iter().flat_map(|model| [(model, "0"), (model, "1")]) {
        let (file, exported) =
            (format!("{model}-{violations}.jsonl.gz"), format!("{model}-{violations}.edn"));
        let size = ["--operations", "1000", "--concurrency", "4", "--keys", "7", "--unknown", "2"];
        let made = ["generate", "--model", model, "--violations", violations, "--out", &file];
        assert_eq!(shakedown(dir.path(), &[&made[..], &size].concat()).status.code(), Some(0));
        let output = shakedown(dir.path(), &["export", &file, "--out", &exported]);
        assert_eq!(output.status.code(), Some(0), "{model}: {}", said(&output));
        assert!(said(&output).contains("exported: 1000 operations, 2000 events"), "{}", said(&output));
        let code = |arguments: &[&str]| shakedown(dir.path(), arguments).status.code();
        let original = code(&["check", &file]);
        assert_eq!(original, Some(i32::from(violations == "1")), "{model}");
        assert_eq!(code(&["check", &exported, "--model", model]), original, "{model}");
    }
}

#[test]
fn histories_of_other_tools_are_exported_to_the_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["kv.txt", "register.log", "mutex.json", "independent.edn", "own.jsonl", "txn.json"] {
        let output = shakedown(dir.path(), &["export", &sample(name), "--format", "edn"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("{:index 0, :time "), "{name}: {text}");
    }
}

#[test]
fn one_key_is_exported_as_one_object() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), HISTORY).unwrap();
    let all = shakedown(dir.path(), &["export", "h.jsonl"]);
    assert!(String::from_utf8_lossy(&all.stdout).contains(r#":value ["k1" 7]"#), "{}", said(&all));
    assert!(said(&all).contains("--key"), "{}", said(&all));
    let one = shakedown(dir.path(), &["export", "h.jsonl", "--key", "k1"]);
    let text = String::from_utf8_lossy(&one.stdout);
    assert!(text.lines().count() == 2 && text.contains(":value 7"), "{}", said(&one));
    let none = shakedown(dir.path(), &["export", "h.jsonl", "--key", "k3", "--out", "h.edn"]);
    assert_eq!(none.status.code(), Some(2), "{}", said(&none));
    assert!(said(&none).contains("there are k1, k2"), "{}", said(&none));
    assert!(!dir.path().join("h.edn").exists());
}

#[test]
fn run_directory_is_exported_by_its_history() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.jsonl"), HISTORY).unwrap();
    std::fs::write(dir.path().join("run.json"), "{}").unwrap();
    let output = shakedown(dir.path(), &["export", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("exported: 2 operations, 4 events"), "{}", said(&output));
}

#[test]
fn torn_history_is_exported_as_far_as_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let end = HISTORY.rfind("\"ok\"").unwrap();
    std::fs::write(dir.path().join("torn.jsonl"), &HISTORY[..end]).unwrap();
    let output = shakedown(dir.path(), &["export", "torn.jsonl", "--out", "torn.edn"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("torn.jsonl:5: "), "{}", said(&output));
    let checked = shakedown(dir.path(), &["check", "torn.edn"]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert!(said(&checked).contains("2 operations: 1 ok, 0 fail, 1 info"), "{}", said(&checked));
}

#[test]
fn file_that_exists_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), HISTORY).unwrap();
    let output = shakedown(dir.path(), &["export", "h.jsonl", "--out", "h.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("h.jsonl exists and is not overwritten"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(dir.path().join("h.jsonl")).unwrap(), HISTORY);
}

#[test]
fn broken_history_is_named_with_its_line_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), HISTORY.replacen("\"index\":2", "\"indx\":2", 1)).unwrap();
    let output = shakedown(dir.path(), &["export", "h.jsonl", "--out", "h.edn"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("h.jsonl:4: ") && said(&output).contains("indx"), "{}", said(&output));
    assert!(!dir.path().join("h.edn").exists());
}

#[test]
fn wrong_words_are_answered_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), HISTORY).unwrap();
    let cases: [(&[&str], &str); 4] = [
        (&["--format", "json"], "possible values: edn"),
        (&["--from", "yaml"], "jepsen-log"),
        (&["--out", "no/such/h.edn"], "cannot write no/such/h.edn"),
        (&["--independent=maybe"], "possible values: true, false"),
    ];
    for (arguments, hint) in cases {
        let output = shakedown(dir.path(), &[&["export", "h.jsonl"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{arguments:?}: {}", said(&output));
    }
    let output = shakedown(dir.path(), &["export", "no-such.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("cannot read no-such.jsonl"), "{}", said(&output));
}

#[test]
fn reader_that_has_seen_enough_is_no_error() {
    let command = format!(
        "{SHAKEDOWN} generate --model register --operations 50000 --out h.jsonl 2> /dev/null; \
         {SHAKEDOWN} export h.jsonl | head -n 1; exit ${{PIPESTATUS[0]}}"
    );
    let dir = tempfile::tempdir().unwrap();
    let output =
        std::process::Command::new("bash").args(["-c", &command]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(output.stdout.starts_with(b"{:index 0") && output.stderr.is_empty(), "{}", said(&output));
}
