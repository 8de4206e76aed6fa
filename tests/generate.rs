//! `shakedown generate`: a readable history, the same bytes for the same arguments, and clear words for wrong ones.

mod common;

use common::{SHAKEDOWN, said, shakedown};
use history::{HistoryReader, read_history};

const MODELS: [&str; 11] = [
    "register",
    "cas-register",
    "versioned-register",
    "kv",
    "set",
    "counter",
    "queue",
    "unordered-queue",
    "stack",
    "mutex",
    "append-list",
];

#[test]
fn history_of_every_model_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for model in MODELS {
        let arguments = [
            "generate",
            "--model",
            model,
            "--operations",
            "500",
            "--unknown",
            "5",
            "--keys",
            "2",
            "--out",
            "h.jsonl",
        ];
        let output = shakedown(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{model}: {}", said(&output));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(&format!("{model}: 500 operations")), "{words}");
        let path = dir.path().join("h.jsonl");
        let header = HistoryReader::open(&path).unwrap().header().cloned().unwrap();
        assert_eq!((header.workload.as_str(), header.claim.as_str()), (model, "linearizable"));
        let (_history, torn) = read_history(&path).unwrap();
        assert_eq!(torn, None, "{model}");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, 1001, "{model}: a header, and two events of each operation");
    }
}

#[test]
fn same_arguments_give_the_same_bytes_wherever_they_go() {
    let dir = tempfile::tempdir().unwrap();
    let generate = |out: &str, seed: &str| {
        let arguments = [
            "generate",
            "--model",
            "kv",
            "--operations",
            "300",
            "--violations",
            "1",
            "--seed",
            seed,
            "--out",
            out,
        ];
        let output = shakedown(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        output.stdout
    };
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    generate("a.jsonl", "3");
    generate("b.jsonl", "3");
    generate("other.jsonl", "4");
    generate("a.jsonl.gz", "3");
    generate("b.jsonl.gz", "3");
    assert_eq!(read("a.jsonl"), read("b.jsonl"));
    assert_eq!(read("a.jsonl"), generate("-", "3"));
    assert_ne!(read("a.jsonl"), read("other.jsonl"));
    assert_eq!(read("a.jsonl.gz"), read("b.jsonl.gz"));
    let mut plain = Vec::new();
    let compressed = read("a.jsonl.gz");
    std::io::copy(&mut flate2::read::GzDecoder::new(compressed.as_slice()), &mut plain).unwrap();
    assert_eq!(plain, read("a.jsonl"));
}

#[test]
fn register_is_judged_as_it_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    for (violations, code) in [("0", 0), ("1", 1)] {
        let out = format!("{violations}.jsonl.gz");
        let arguments = [
            "generate",
            "--model",
            "register",
            "--operations",
            "3000",
            "--unknown",
            "2",
            "--violations",
            violations,
            "--out",
            &out,
        ];
        let output = shakedown(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(words.matches("violation: a read returns").count(), code, "{words}");
        let judged = shakedown(dir.path(), &["check", &out]);
        assert_eq!(judged.status.code(), i32::try_from(code).ok(), "{}", said(&judged));
    }
}

#[test]
fn wrong_arguments_are_named_with_what_is_possible() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 11] = [
        (&["--model", "regsiter"], "append-list"),
        (&["--model", "kv", "--operations", "0"], "--operations 0: between 1 and"),
        (&["--model", "kv", "--concurrency", "0"], "--concurrency 0: between 1 and"),
        (&["--model", "kv", "--keys", "0"], "--keys 0: between 1 and"),
        (&["--model", "kv", "--unknown", "101"], "--unknown 101: between 0 and 100"),
        (&["--model", "kv", "--unknown", "few"], "few"),
        (&["--model", "kv", "--values", "5"], "--values: `kv`"),
        (&["--model", "set", "--values", "0"], "--values 0: between 1 and"),
        (&["--model", "kv", "--think", "-1"], "--think -1: between 0 and"),
        (&["--model", "kv", "--operations", "3", "--violations", "4"], "--violations 4: between 0 and 3"),
        (&["--model", "kv", "--seed", "one"], "one"),
    ];
    for (arguments, hint) in cases {
        let arguments = [&["generate", "--out", "h.jsonl"], arguments].concat();
        let output = shakedown(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(hint), "{arguments:?}: {}", said(&output));
        assert!(!dir.path().join("h.jsonl").exists(), "{arguments:?}");
    }
}

#[test]
fn file_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = shakedown(dir.path(), &["generate", "--model", "set", "--out", "no/such/h.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no/such/h.jsonl"), "{}", said(&output));
}

#[test]
fn reader_that_has_seen_enough_is_no_error() {
    let command =
        format!("{SHAKEDOWN} generate --model register --out - | head -n 1; exit ${{PIPESTATUS[0]}}");
    let output = std::process::Command::new("bash").args(["-c", &command]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(output.stdout.starts_with(b"{\"shakedown_history\""), "{}", said(&output));
    assert!(output.stderr.is_empty(), "{}", said(&output));
}

#[test]
fn violation_that_does_not_fit_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        ["generate", "--model", "set", "--operations", "3", "--violations", "2", "--out", "h.jsonl"];
    let output = shakedown(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("more operations"), "{}", said(&output));
}
