//! One history per way to break a guarantee, and what is said about it.

use history::{Header, Nanos, Operation, Outcome, Process};
use serde_json::{Value, json};

use crate::rows::{Rows, operation};
use crate::{Budget, CheckOutcome, Finding, session_guarantees};

pub(super) fn row(f: &str, key: &str, input: Value) -> Operation {
    Operation { node: None, key: Some(key.to_owned()), ..operation(0, 0, f, input) }
}

pub(super) fn header(versioned: bool) -> Header {
    Header {
        shakedown_history: 1,
        claim: String::new(),
        workload: if versioned { "versioned-register" } else { "register" }.to_owned(),
        clock: String::new(),
        run_id: String::new(),
        wall_origin_ms: 0,
        target_digest: String::new(),
        suite_digest: String::new(),
    }
}

/// Operations one after another, each a millisecond after the one before: process, function, key, argument, result.
fn sequence(steps: &[(u32, &str, &str, Value, Value)]) -> Rows {
    let operations = steps.iter().enumerate().map(|(at, (process, f, key, input, output))| Operation {
        index: at as u64,
        process: Process(*process),
        output: output.clone(),
        call: Nanos::from_millis(10 * at as u64),
        ret: Some(Nanos::from_millis(10 * at as u64 + 5)),
        outcome: Outcome::Ok,
        ..row(f, key, input.clone())
    });
    Rows { operations: operations.collect() }
}

fn findings(rows: &Rows) -> Vec<Finding> {
    session_guarantees(&rows.history(), &Budget::default()).unwrap()
}

fn names_of_violated(findings: &[Finding]) -> Vec<&str> {
    let violated = findings.iter().filter(|finding| finding.result.outcome == CheckOutcome::Violation);
    violated.map(|finding| finding.result.name.as_str()).collect()
}

fn explanation<'a>(findings: &'a [Finding], name: &str) -> &'a str {
    &findings.iter().find(|finding| finding.result.name == name).unwrap().anomalies[0].explanation
}

fn write(process: u32, key: &'static str, value: u32) -> (u32, &'static str, &'static str, Value, Value) {
    (process, "write", key, json!(value), Value::Null)
}

fn read(process: u32, key: &'static str, value: Value) -> (u32, &'static str, &'static str, Value, Value) {
    (process, "read", key, Value::Null, value)
}

#[test]
fn read_that_goes_back_breaks_monotonic_reads_alone() {
    let rows =
        sequence(&[write(1, "k", 7), write(1, "k", 9), read(3, "k", json!(9)), read(3, "k", json!(7))]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["monotonic-reads"]);
    assert_eq!(
        explanation(&found, "monotonic-reads"),
        "key k: process 3 read 7 at 0.035 s after it had read 9 at 0.025 s, which had replaced what it got: 7 was \
         acknowledged at 0.005 s, before process 1 invoked the write of 9 at 0.010 s."
    );
    assert_eq!(found[0].anomalies[0].operations, [0, 1, 2, 3]);
}

#[test]
fn value_that_comes_back_after_another_breaks_monotonic_reads() {
    let mut rows = sequence(&[
        write(1, "k", 7),
        write(2, "k", 9),
        read(3, "k", json!(7)),
        read(3, "k", json!(9)),
        read(3, "k", json!(7)),
    ]);
    rows.operations[0].ret = Some(Nanos::from_millis(100));
    rows.operations[1].call = Nanos(0);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["monotonic-reads"]);
    let words = explanation(&found, "monotonic-reads");
    assert!(words.starts_with("key k: no order of the writes lets every session move forward: "), "{words}");
}

#[test]
fn missing_own_write_breaks_read_your_writes() {
    let rows = sequence(&[write(3, "k", 7), write(3, "k", 9), read(3, "k", json!(7))]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["read-your-writes"]);
    let words = explanation(&found, "read-your-writes");
    assert!(
        words.contains("process 3 read 7 at 0.025 s after it had itself written 9, acknowledged at 0.015 s"),
        "{words}"
    );
}

#[test]
fn nothing_after_an_own_write_breaks_read_your_writes() {
    let rows = sequence(&[write(3, "k", 7), read(3, "k", Value::Null)]);
    assert_eq!(names_of_violated(&findings(&rows)), ["read-your-writes"]);
}

#[test]
fn later_write_without_the_earlier_breaks_monotonic_writes() {
    let rows =
        sequence(&[write(1, "x", 7), write(1, "y", 9), read(2, "y", json!(9)), read(2, "x", Value::Null)]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["monotonic-writes"]);
    assert_eq!(
        explanation(&found, "monotonic-writes"),
        "key x: process 2 read nothing at 0.035 s after it had read 9 of key y at 0.025 s, and before process 1 wrote \
         that it had written 7 at 0.005 s, which had replaced what it got: nothing is there only at first."
    );
}

#[test]
fn answer_without_its_question_breaks_writes_follow_reads() {
    let rows = sequence(&[
        write(1, "question", 1),
        read(2, "question", json!(1)),
        write(2, "answer", 2),
        read(3, "answer", json!(2)),
        read(3, "question", Value::Null),
    ]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["writes-follow-reads"]);
    assert_eq!(found[3].anomalies[0].operations, [0, 1, 2, 3, 4]);
}

#[test]
fn versions_show_writes_out_of_order() {
    let rows = sequence(&[
        (1, "write", "k", json!(7), json!(4)),
        (1, "write", "k", json!(9), json!(2)),
        (2, "read", "k", Value::Null, json!([9, 2])),
        (2, "write", "k", json!(10), json!(1)),
    ]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), ["monotonic-writes", "writes-follow-reads"]);
    let words = explanation(&found, "monotonic-writes");
    assert!(words.contains("process 1 wrote version 2 at 0.015 s after it had written version 4"), "{words}");
}

#[test]
fn session_ends_with_an_operation_of_unknown_outcome() {
    let mut rows = sequence(&[write(1, "k", 7), write(3, "k", 9), read(3, "k", json!(7))]);
    rows.operations[1].outcome = Outcome::Info;
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), Vec::<&str>::new());
    assert_eq!(found[1].result.outcome, CheckOutcome::Unknown);
}

#[test]
fn ambiguous_values_make_the_outcome_unknown_and_accuse_nobody() {
    let rows = sequence(&[
        write(1, "k", 7),
        write(2, "k", 9),
        write(1, "k", 7),
        read(3, "k", json!(9)),
        read(3, "k", json!(7)),
    ]);
    let found = findings(&rows);
    assert_eq!(names_of_violated(&found), Vec::<&str>::new());
    assert_eq!(found[0].result.outcome, CheckOutcome::Unknown);
}

#[test]
fn versions_are_recognised_without_a_header() {
    let rows = sequence(&[
        (1, "write", "k", json!(7), json!(1)),
        (1, "cas", "k", json!([1, 9]), json!(2)),
        (2, "read", "k", Value::Null, json!([9, 2])),
        (2, "cas", "k", json!([1, 9]), json!(false)),
        (2, "read", "k", Value::Null, json!([7, 1])),
    ]);
    assert_eq!(names_of_violated(&findings(&rows)), ["monotonic-reads"]);
}

#[test]
fn unknown_function_is_an_error() {
    let rows = sequence(&[(1, "enqueue", "k", json!(7), Value::Null)]);
    let error = session_guarantees(&rows.history(), &Budget::default()).unwrap_err();
    assert!(error.to_string().contains("has no function `enqueue`"), "{error}");
}
