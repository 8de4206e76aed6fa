//! Streams against whole histories. Small random ones are compared with the oracle of every object in
//! `linearizable/tests/toys.rs`, by way of [`streamed`].

use history::{EventKind, NodeId, Operation, Outcome, Process};
use serde_json::{Value, json};

use super::*;
use crate::rows::Rows;

/// The events of operations, in the order of their stamps; calls first.
fn events(rows: &Rows) -> Vec<Event> {
    let event = |row: &Operation, kind, time, value: &Value| Event {
        index: 0,
        time,
        kind,
        process: row.process,
        node: row.node.clone(),
        f: row.f.clone(),
        key: row.key.clone(),
        value: value.clone(),
        intended: None,
        is_final: false,
        error: None,
    };
    let mut events = Vec::new();
    for row in &rows.operations {
        events.push(event(row, EventKind::Invoke, row.call, &row.input));
        let kind = match row.outcome {
            Outcome::Ok => EventKind::Ok,
            Outcome::Fail => EventKind::Fail,
            Outcome::Info => EventKind::Info,
        };
        events.extend(row.ret.map(|ret| event(row, kind, ret, &row.output)));
    }
    events.sort_by_key(|event| (event.time, event.kind != EventKind::Invoke));
    events.iter_mut().zip(0..).for_each(|(event, index)| event.index = index);
    events
}

/// The answer of a stream that is cut wherever `is_cut` says so, as late as the events allow; `None` when histories of the
/// model are not followed.
pub(in crate::linearizable) fn streamed(
    spec: Spec,
    rows: &Rows,
    mut is_cut: impl FnMut() -> bool,
) -> Option<CheckOutcome> {
    let mut stream = Stream::new(spec, &Budget::default())?;
    for event in events(rows) {
        let time = event.time;
        stream.push(event).unwrap();
        if is_cut() {
            let operations = stream.pairing.operations();
            let open = stream.pairing.open().into_iter().map(|at| operations.call(at)).min();
            stream.judge_until(open.map_or(time, |open| open.min(time)));
            stream.forget_completed();
        }
    }
    stream.end().unwrap();
    Some(stream.finding().result.outcome)
}

/// Write i, then read what was written, on a key; one stale read at the end if asked for.
fn writes_and_reads(count: u64, stale: bool) -> Rows {
    let mut rows = Rows::default();
    for i in 0..count {
        let value = if stale && i == count - 1 { i - 1 } else { i };
        rows.operations.extend([
            row(2 * i, "write", json!(i), json!(null)),
            row(2 * i + 1, "read", json!(null), json!(value)),
        ]);
    }
    rows
}

/// The `i`-th operation, a millisecond after the one before.
fn row(i: u64, f: &str, input: Value, output: Value) -> Operation {
    Operation {
        index: i,
        process: Process(1),
        node: Some(NodeId::numbered(1)),
        f: f.to_owned(),
        key: Some("k".to_owned()),
        input,
        output,
        intended: Nanos::from_millis(2 * i),
        call: Nanos::from_millis(2 * i),
        ret: Some(Nanos::from_millis(2 * i + 1)),
        outcome: Outcome::Ok,
        is_final: false,
        error: None,
    }
}

#[test]
fn long_history_is_judged_on_the_way_and_forgotten() {
    let mut stream = Stream::new(Spec::Register, &Budget::default()).unwrap();
    let mut most_held = 0;
    for event in events(&writes_and_reads(50_000, false)) {
        stream.push(event).unwrap();
        most_held = most_held.max(stream.pairing.operations().len());
    }
    assert!(most_held <= FORGOTTEN_AT_ONCE, "{most_held} operations were held");
    stream.judge();
    let standing = stream.standing();
    assert!(standing.until >= Nanos::from_millis(199_000), "judged until {}", standing.until);
    assert!(standing.held_bytes < 100_000, "{} bytes are held", standing.held_bytes);
    stream.end().unwrap();
    assert_eq!(stream.finding().result.outcome, CheckOutcome::Valid);
    assert_eq!(stream.counts(), Counts { ok: 100_000, fail: 0, info: 0 });
}

#[test]
fn strings_are_known_again_when_the_table_of_values_was_made_anew() {
    for (stale, expected) in [(false, CheckOutcome::Valid), (true, CheckOutcome::Violation)] {
        let mut rows = writes_and_reads(20, stale);
        for row in &mut rows.operations {
            let text = |value: &Value| if value.is_null() { Value::Null } else { json!(format!("v{value}")) };
            (row.input, row.output) = (text(&row.input), text(&row.output));
        }
        assert_eq!(streamed(Spec::Register, &rows, || true), Some(expected));
    }
}

#[test]
fn violation_is_told_before_the_end() {
    let rows = writes_and_reads(1000, true);
    let mut stream = Stream::new(Spec::Register, &Budget::default()).unwrap();
    for event in events(&rows) {
        stream.push(event).unwrap();
    }
    assert_eq!(stream.standing().broken, None, "the last moments are held back");
    stream.end().unwrap();
    let last = &rows.operations[1999];
    let broken = stream.standing().broken.unwrap();
    assert_eq!((broken.key.as_deref(), broken.index, broken.time), (Some("k"), 3998, last.ret.unwrap()));
    let finding = stream.finding();
    assert_eq!(finding.result.outcome, CheckOutcome::Violation);
    assert_eq!(
        finding.anomalies[0].explanation,
        "key k: no order of the operations up to 3.999 s explains the result of operation 3998."
    );
}

#[test]
fn operation_that_was_recorded_too_late_makes_its_key_lost_and_no_other() {
    let mut stream = Stream::new(Spec::Register, &Budget::default()).unwrap();
    let mut rows = writes_and_reads(2000, false);
    let late = Operation { process: Process(2), ..row(4, "read", json!(null), json!(77)) };
    let mut all = events(&rows);
    rows.operations = vec![late];
    all.extend(events(&rows));
    rows.operations =
        vec![Operation { key: Some("other".to_owned()), ..row(4000, "read", json!(null), json!(null)) }];
    all.extend(events(&rows));
    for (event, index) in all.into_iter().zip(0..) {
        stream.push(Event { index, ..event }).unwrap();
    }
    stream.end().unwrap();
    assert_eq!(stream.standing().lost.map(|(keys, _)| keys), Some(1));
    let result = stream.finding().result;
    assert_eq!(result.outcome, CheckOutcome::Unknown);
    assert!(result.note.as_ref().unwrap().contains("was recorded long after it began"), "{result:?}");
}

#[test]
fn unknown_writes_that_nobody_read_cost_nothing_and_one_that_is_read_late_is_found() {
    let mut rows = writes_and_reads(20_000, false);
    for (i, row) in rows.operations.iter_mut().enumerate() {
        row.process = Process(i as u32);
    }
    let unknown = (0..4000).map(|i| Operation {
        outcome: Outcome::Info,
        process: Process(100_000 + i as u32),
        ..row(10 * i, "write", json!(1_000_000 + i), json!(null))
    });
    rows.operations.extend(unknown.collect::<Vec<_>>());
    let reads_first =
        Operation { process: Process(9_000_000), ..row(40_000, "read", json!(null), json!(1_000_000)) };
    rows.operations.push(reads_first);
    assert_eq!(streamed(Spec::Register, &rows, || false), Some(CheckOutcome::Valid));
    let again =
        |i, value| Operation { process: Process(i), ..row(u64::from(i), "read", json!(null), json!(value)) };
    rows.operations.extend([again(40_001, 1_000_001), again(40_002, 1_000_000)]);
    assert_eq!(streamed(Spec::Register, &rows, || false), Some(CheckOutcome::Violation));
}

#[test]
fn memory_is_a_limit() {
    let mut stream = Stream::new(Spec::Register, &Budget { memory_bytes: 1, ..Budget::default() }).unwrap();
    for event in events(&writes_and_reads(10, false)) {
        stream.push(event).unwrap();
    }
    stream.end().unwrap();
    let result = stream.finding().result;
    assert_eq!(result.outcome, CheckOutcome::Unknown);
    assert!(result.note.as_ref().unwrap().contains("memory budget of 1 bytes"), "{result:?}");
}
