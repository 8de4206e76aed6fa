//! `shakedown check` on several files: a line for each, whatever their formats, and the gravest outcome as the exit code.

use std::path::Path;
use std::process::{Command, Output};

fn shakedown(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shakedown")).args(arguments).output().unwrap()
}

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("history/tests/foreign").join(name);
    path.to_str().unwrap().to_owned()
}

fn generated(folder: &Path, model: &str, violations: &str) -> String {
    let path = folder.join(format!("{model}-{violations}.jsonl")).to_str().unwrap().to_owned();
    let size = ["--operations", "2000", "--concurrency", "5", "--keys", "20"];
    let made = ["generate", "--model", model, "--violations", violations, "--out", &path];
    assert_eq!(shakedown(&[&made[..], &size].concat()).status.code(), Some(0));
    path
}

#[test]
fn formats_and_models_are_found_out() {
    let files = ["register.edn", "register.log", "kv.txt", "own.jsonl"].map(sample);
    let output = shakedown(&[&["check"][..], &files.each_ref().map(String::as_str)].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let models: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(models, ["register", "register", "kv", "register"], "{text}");
}

#[test]
fn every_simulated_model_is_judged_right() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["register", "cas-register", "versioned-register", "kv", "set", "mutex", "append-list"] {
        for (violations, code) in [("0", 0), ("1", 1)] {
            let file = generated(folder.path(), model, violations);
            let output = shakedown(&["check", &file]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(code), "{model} with {violations} violations: {text}");
        }
    }
}

#[test]
fn violation_weighs_more_than_an_unreadable_file_and_both_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let bad = generated(folder.path(), "register", "1");
    let (good, transactions) = (sample("own.jsonl"), sample("txn.json"));
    let output = shakedown(&["check", &good, &transactions, &bad]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let outcomes: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(outcomes, ["valid", "unreadable", "violation"], "{text}");
    let output = shakedown(&["check", &good, &transactions]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn verdicts_of_several_files_are_a_json_object_a_line() {
    let (one, other) = (sample("own.jsonl"), sample("kv.txt"));
    let output = shakedown(&["check", "--json", &one, &other]);
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["verdict"]["outcome"] == "valid"), "{lines:?}");
}

#[test]
fn records_that_no_client_made_are_told() {
    let output = shakedown(&["check", &sample("register.edn")]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("note:") && words.contains("nemesis"), "{words}");
    let output = shakedown(&["check", &sample("own.jsonl")]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
