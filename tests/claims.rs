//! `shakedown check --consistency`: the same histories by weaker claims, each broken by a history of its own.

mod common;

use std::path::Path;
use std::process::Output;

use common::{said, shakedown};

const GUARANTEES: [&str; 4] =
    ["monotonic-reads", "read-your-writes", "monotonic-writes", "writes-follow-reads"];

/// Writes a history, one operation after the other: `process function key value`, where a read of `-` saw nothing.
fn history(dir: &Path, name: &str, operations: &[&str]) {
    let mut lines = String::new();
    for (at, operation) in operations.iter().enumerate() {
        let words: Vec<&str> = operation.split(' ').collect();
        let [process, f, key, value] = words[..] else { panic!("four words: {operation}") };
        let value = if value == "-" { "null" } else { value };
        let (argument, observed) = if f == "write" { (value, "null") } else { ("null", value) };
        for (index, kind, value) in [(2 * at, "invoke", argument), (2 * at + 1, "ok", observed)] {
            let time = 10 * (index + 1);
            lines += &format!(
                "{{\"index\":{index},\"time\":{time},\"type\":\"{kind}\",\"process\":{process},\"f\":\"{f}\",\"key\":\"{key}\",\"value\":{value}}}\n"
            );
        }
    }
    std::fs::write(dir.join(name), lines).unwrap();
}

fn check(dir: &Path, name: &str, claim: &str) -> Output {
    shakedown(dir, &["check", name, "--consistency", claim])
}

#[test]
fn stale_read_of_another_process_is_sequentially_consistent_and_not_linearizable() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), "stale.jsonl", &["0 write x 1", "1 read x -", "1 read x 1"]);
    let default = shakedown(dir.path(), &["check", "stale.jsonl"]);
    assert_eq!(default.status.code(), Some(1), "{}", said(&default));
    assert!(said(&default).contains("nonlinearizable"), "{}", said(&default));
    assert_eq!(check(dir.path(), "stale.jsonl", "linearizable").status.code(), Some(1));
    let sequential = check(dir.path(), "stale.jsonl", "sequential");
    assert_eq!(sequential.status.code(), Some(0), "{}", said(&sequential));
    assert!(said(&sequential).contains("satisfy every check (sequential)"), "{}", said(&sequential));
}

#[test]
fn each_session_guarantee_is_broken_by_its_own_history() {
    let dir = tempfile::tempdir().unwrap();
    let histories: [&[&str]; 4] = [
        &["0 write x 1", "0 write x 2", "1 read x 2", "1 read x 1"],
        &["0 write x 1", "0 read x -"],
        &["0 write x 1", "0 write y 1", "1 read y 1", "1 read x -"],
        &["0 write x 1", "1 read x 1", "1 write y 1", "2 read y 1", "2 read x -"],
    ];
    for (guarantee, operations) in GUARANTEES.iter().zip(histories) {
        history(dir.path(), "h.jsonl", operations);
        let output = check(dir.path(), "h.jsonl", guarantee);
        assert_eq!(output.status.code(), Some(1), "{guarantee}: {}", said(&output));
        assert!(said(&output).contains(&format!("A1 {guarantee}")), "{guarantee}: {}", said(&output));
        let all = check(dir.path(), "h.jsonl", "sessions");
        assert_eq!(all.status.code(), Some(1), "{guarantee}: {}", said(&all));
        for name in GUARANTEES {
            assert!(said(&all).contains(name), "{name} is missing: {}", said(&all));
        }
    }
}

#[test]
fn claim_of_the_header_is_what_is_judged_unless_another_is_named() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), "plain.jsonl", &["0 write x 1", "1 read x -"]);
    let lines = std::fs::read_to_string(dir.path().join("plain.jsonl")).unwrap();
    for (claim, code) in [("linearizable", 1), ("sequential", 0), ("", 1), ("causal", 2)] {
        let header =
            format!(r#"{{"shakedown_history":1,"claim":"{claim}","workload":"register","clock":"none"}}"#);
        std::fs::write(dir.path().join("h.jsonl"), format!("{header}\n{lines}")).unwrap();
        let output = shakedown(dir.path(), &["check", "h.jsonl"]);
        assert_eq!(output.status.code(), Some(code), "{claim}: {}", said(&output));
        assert_eq!(check(dir.path(), "h.jsonl", "linearizable").status.code(), Some(1), "{claim}");
    }
    let output = shakedown(dir.path(), &["check", "h.jsonl"]);
    assert!(
        said(&output).contains("`causal`") && said(&output).contains("--consistency"),
        "{}",
        said(&output)
    );
}

#[test]
fn claim_that_a_model_does_not_support_names_those_that_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["generate", "--model", "queue", "--operations", "50", "--out", "q.jsonl"];
    assert_eq!(shakedown(dir.path(), &made).status.code(), Some(0));
    for claim in GUARANTEES.into_iter().chain(["sessions"]) {
        let output = check(dir.path(), "q.jsonl", claim);
        assert_eq!(output.status.code(), Some(2), "{claim}: {}", said(&output));
        for word in ["register, versioned-register, kv", "linearizable, sequential", "`queue`"] {
            assert!(said(&output).contains(word), "{claim}: {word} is missing: {}", said(&output));
        }
    }
    assert_eq!(check(dir.path(), "q.jsonl", "sequential").status.code(), Some(0));
    let unknown = check(dir.path(), "q.jsonl", "strong");
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(said(&unknown).contains("linearizable, sequential, sessions"), "{}", said(&unknown));
}

#[test]
fn functions_of_kv_that_sessions_do_not_know_lead_to_a_claim_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["generate", "--model", "kv", "--operations", "50", "--out", "kv.jsonl"];
    assert_eq!(shakedown(dir.path(), &made).status.code(), Some(0));
    let output = check(dir.path(), "kv.jsonl", "read-your-writes");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--consistency sequential"), "{}", said(&output));
    assert_eq!(check(dir.path(), "kv.jsonl", "sequential").status.code(), Some(0));
}

#[test]
fn claims_are_listed_with_their_models() {
    let dir = tempfile::tempdir().unwrap();
    let output = shakedown(dir.path(), &["list", "claims"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["linearizable", "sequential", "sessions"].into_iter().chain(GUARANTEES) {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    assert_eq!(text.matches("every model").count(), 2, "{text}");
}

#[test]
fn several_files_are_told_with_their_claim() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), "a.jsonl", &["0 write x 1", "1 read x -"]);
    history(dir.path(), "b.jsonl", &["0 write x 1", "0 read x -"]);
    let output = shakedown(dir.path(), &["check", "a.jsonl", "b.jsonl", "--consistency", "sequential"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let starts: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    assert_eq!(starts, [["valid", "register", "sequential"], ["violation", "register", "sequential"]]);
}
