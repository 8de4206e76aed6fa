//! The litmus tests of shared memories (Adve and Gharachorloo, *Shared Memory Consistency Models: A Tutorial*): which
//! outcomes a sequentially consistent store may show.

use history::{Nanos, Outcome};
use serde_json::{Value, json};

use super::play::row;
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, Finding, Spec, sequential, session_guarantees};

/// `1w x 1` is process 1 writing 1 to x, `2r y -` is process 2 reading nothing from y. All stamps overlap across processes.
fn program(text: &str) -> Rows {
    let operations = text.split(',').enumerate().map(|(at, step)| {
        let words: Vec<&str> = step.split_whitespace().collect();
        let process: u32 = words[0][..1].parse().unwrap();
        let value = words[2].parse::<u32>().map_or(Value::Null, |value| json!(value));
        let is_read = words[0].ends_with('r');
        let (input, output) = if is_read { (Value::Null, value) } else { (value, Value::Null) };
        let mut operation = row(at, process, if is_read { "read" } else { "write" }, words[1], input);
        operation.output = output;
        operation.call = Nanos(at as u64 * 10);
        operation.ret = Some(Nanos(at as u64 * 10 + 5));
        operation.outcome = Outcome::Ok;
        operation
    });
    Rows { operations: operations.collect() }
}

fn judge(text: &str) -> Finding {
    sequential(Spec::Register, &program(text).history(), &Budget::default()).unwrap()
}

fn is_consistent(text: &str) -> bool {
    judge(text).result.outcome == CheckOutcome::Valid
}

#[test]
fn store_buffering_may_not_miss_both_writes() {
    assert!(!is_consistent("1w x 1, 1r y -, 2w y 1, 2r x -"));
    assert!(is_consistent("1w x 1, 1r y -, 2w y 1, 2r x 1"));
    assert!(is_consistent("1w x 1, 1r y 1, 2w y 1, 2r x -"));
}

#[test]
fn message_that_passed_takes_what_was_before_it_along() {
    assert!(!is_consistent("1w x 1, 1w y 1, 2r y 1, 2r x -"));
    assert!(is_consistent("1w x 1, 1w y 1, 2r y -, 2r x 1"));
}

#[test]
fn independent_reads_see_independent_writes_in_one_order() {
    assert!(!is_consistent("1w x 1, 2w y 1, 3r x 1, 3r y -, 4r y 1, 4r x -"));
    assert!(is_consistent("1w x 1, 2w y 1, 3r x 1, 3r y -, 4r y 1, 4r x 1"));
}

#[test]
fn causality_passes_through_another_process() {
    assert!(!is_consistent("1w x 1, 2r x 1, 2w y 1, 3r y 1, 3r x -"));
}

#[test]
fn loads_may_not_see_stores_of_the_future_in_a_circle() {
    assert!(!is_consistent("1r x 1, 1w y 1, 2r y 1, 2w x 1"));
}

#[test]
fn reads_of_one_key_are_coherent() {
    assert!(!is_consistent("1w x 1, 2w x 2, 3r x 1, 3r x 2, 4r x 2, 4r x 1"));
    assert!(is_consistent("1w x 1, 2w x 2, 3r x 1, 3r x 2, 4r x 1, 4r x 2"));
}

#[test]
fn stale_read_of_another_process_is_consistent_though_not_linearizable() {
    let text = "1w x 1, 1w x 2, 2r x 1";
    assert!(is_consistent(text));
    let found = crate::linearizable(Spec::Register, &program(text).history(), &Budget::default()).unwrap();
    assert_eq!(found.result.outcome, CheckOutcome::Violation);
}

#[test]
fn circle_is_told_with_its_operations_and_reasons() {
    let anomaly = judge("1w x 1, 1r y -, 2w y 1, 2r x -").anomalies.remove(0);
    assert_eq!(
        (anomaly.kind.as_str(), anomaly.operations.as_slice()),
        ("nonsequential", [0, 1, 2, 3].as_slice())
    );
    assert_eq!(
        anomaly.explanation,
        "no order of all operations that keeps the order of every process explains all results: #0 write 1 of key x by \
         process 1, then #1 read nothing of key y by process 1, then #2 write 1 of key y by process 2, then #3 read \
         nothing of key x by process 2, then #0 write 1 of key x by process 1 again would have to follow each other in a \
         circle."
    );
    assert_eq!(
        anomaly.details[1],
        "#1 read nothing of key y by process 1 comes before #2 write 1 of key y by process 2: the first read what was \
         there before any write"
    );
}

#[test]
fn value_from_nowhere_is_named() {
    let anomaly = judge("1w x 1, 2r x 3").anomalies.remove(0);
    assert_eq!(anomaly.explanation, "key x: process 2 completed `read 3`, but nobody wrote 3.");
}

/// The same value twice keeps inference away, so that the search has to find out.
#[test]
fn search_proves_what_inference_cannot() {
    let finding = judge("1w x 1, 1r y -, 2w y 1, 2r x -, 3w x 1, 3w y 1, 3r x -");
    assert_eq!(finding.result.outcome, CheckOutcome::Violation);
    let anomaly = &finding.anomalies[0];
    assert!(anomaly.explanation.contains("no order of the"), "{}", anomaly.explanation);
    assert!(!anomaly.operations.is_empty() && !anomaly.details.is_empty());
}

#[test]
fn consistent_programs_keep_the_session_guarantees() {
    for text in ["1w x 1, 1r y -, 2w y 1, 2r x 1", "1w x 1, 1w x 2, 2r x 1", "1w x 1, 1w y 1, 2r y -, 2r x 1"]
    {
        assert!(is_consistent(text));
        let findings = session_guarantees(&program(text).history(), &Budget::default()).unwrap();
        assert!(findings.iter().all(|finding| finding.result.outcome != CheckOutcome::Violation), "{text}");
    }
}

/// Process 1 may have written 0, process 2 may have replaced it by 5: somebody read 5, so both happened.
#[test]
fn unknown_write_that_an_unknown_compare_and_set_needs_is_not_left_out() {
    let mut rows = program("1w x 0, 2w x 5, 3r x 5");
    rows.operations[1].f = "cas".to_owned();
    rows.operations[1].input = json!([0, 5]);
    for unknown in &mut rows.operations[..2] {
        (unknown.outcome, unknown.ret) = (Outcome::Info, None);
    }
    // An earlier stamp of the read keeps linearizability from answering first.
    (rows.operations[2].call, rows.operations[2].ret) = (Nanos(0), Some(Nanos(0)));
    rows.operations[0].call = Nanos(5);
    let found = sequential(Spec::Register, &rows.history(), &Budget::default()).unwrap();
    assert_eq!(found.result.outcome, CheckOutcome::Valid);
}

#[test]
fn compare_and_set_of_a_version_that_nobody_made_is_a_violation() {
    let mut rows = program("1w x 7");
    rows.operations[0].f = "cas".to_owned();
    (rows.operations[0].input, rows.operations[0].output) = (json!([1, 7]), json!(2));
    let found = sequential(Spec::VersionedRegister, &rows.history(), &Budget::default()).unwrap();
    assert_eq!(found.result.outcome, CheckOutcome::Violation);
}
