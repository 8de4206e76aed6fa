//! Histories too large for an oracle: what must hold all the same, and the limits.

use std::time::{Duration, Instant};

use history::{Nanos, Outcome, Process};
use serde_json::json;

use super::play::{Draw, play, row};
use crate::plain::{apply, empty};
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, Finding, Spec, sequential};

/// A small generator of pseudo-random numbers, the same on every machine.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u8
    }
}

/// A long consistent history of reads and writes of values that are all different (`unique`), or of everything.
fn long(spec: Spec, count: usize, processes: u32, keys: u8, unique: bool, unknown: bool) -> Rows {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let draws: Vec<Draw> = (0..count)
        .map(|_| {
            let (function, second) = (random.byte(), random.byte());
            let (function, second) =
                if unique { ([0, 2][usize::from(function % 2)], second & !1) } else { (function, second) };
            let roll = if unknown && random.byte() == 0 { 20 } else { 255 };
            // A pause that is never nothing keeps stamps of one process apart.
            (random.byte(), (function, random.byte(), second), random.byte() | 1, roll)
        })
        .collect();
    play(spec, &draws, processes, keys)
}

fn judge(spec: Spec, rows: &Rows, budget: &Budget) -> Finding {
    sequential(spec, &rows.history(), budget).unwrap()
}

fn outcome(spec: Spec, rows: &Rows) -> CheckOutcome {
    judge(spec, rows, &Budget::default()).result.outcome
}

#[test]
fn linearizable_histories_of_every_object_are_accepted() {
    for spec in Spec::ALL {
        let mut rows = long(spec, 2000, 5, 3, false, false);
        rows.operations.sort_by_key(|row| row.index);
        let mut rows = sequential_in_time(spec, &mut rows);
        assert_eq!(outcome(spec, &rows), CheckOutcome::Valid, "{spec}");
        rows.operations.iter_mut().for_each(|row| row.process = Process(100 - row.process.0));
        assert_eq!(outcome(spec, &rows), CheckOutcome::Valid, "{spec}");
    }
}

/// The same operations one after another, with what they observe then.
fn sequential_in_time(spec: Spec, rows: &mut Rows) -> Rows {
    let mut states = std::collections::BTreeMap::new();
    for (at, row) in rows.operations.iter_mut().enumerate() {
        let state = states.entry(row.key.clone()).or_insert_with(|| empty(spec));
        (*state, row.output) = apply(spec, &row.f, &row.input, state);
        (row.call, row.ret, row.index) = (Nanos(at as u64 * 10), Some(Nanos(at as u64 * 10 + 15)), at as u64);
    }
    let mut ends = std::collections::BTreeMap::new();
    for row in &mut rows.operations {
        let end = ends.insert(row.process, row.ret);
        if end.flatten() >= Some(row.call) {
            row.call = Nanos(row.call.0 + 6);
        }
    }
    rows.clone()
}

#[test]
fn consistent_histories_of_different_values_are_accepted() {
    for unknown in [false, true] {
        let rows = long(Spec::Register, 10_000, 6, 20, true, unknown);
        let budget = Budget { time: Duration::from_secs(300), ..Budget::default() };
        let finding = judge(Spec::Register, &rows, &budget);
        assert_eq!(
            finding.result.outcome,
            CheckOutcome::Valid,
            "{:?} {:?}",
            finding.result,
            finding.anomalies
        );
    }
}

#[test]
fn store_buffering_among_ten_thousand_operations_is_found() {
    let mut rows = long(Spec::Register, 10_000, 6, 20, true, false);
    let start = rows.operations.iter().filter_map(|row| row.ret).max().unwrap().0 + 10;
    let count = rows.operations.len();
    let mut push = |process: u32, f: &str, key: &str, value: serde_json::Value| {
        let at = rows.operations.len();
        let (input, output) = if f == "read" { (json!(null), value) } else { (value, json!(null)) };
        let mut operation = row(at, process, f, key, input);
        operation.output = output;
        (operation.call, operation.outcome) = (Nanos(start + at as u64 * 10), Outcome::Ok);
        operation.ret = Some(Nanos(start + at as u64 * 10 + 5));
        rows.operations.push(operation);
    };
    push(1, "write", "left", json!(-1));
    push(1, "read", "right", json!(null));
    push(2, "write", "right", json!(-2));
    push(2, "read", "left", json!(null));
    let finding = judge(Spec::Register, &rows, &Budget::default());
    assert_eq!(finding.result.outcome, CheckOutcome::Violation);
    let last: Vec<u64> = (0..4).map(|at| (count + at) as u64).collect();
    assert_eq!(finding.anomalies[0].operations, last);
}

#[test]
fn violation_stays_one_when_stamps_change_and_pure_operations_come() {
    let mut rows = long(Spec::Register, 10_000, 6, 20, true, false);
    let stale = rows.operations.iter().rposition(|row| row.f == "read" && !row.output.is_null()).unwrap();
    rows.operations[stale].output = json!(null);
    assert_eq!(outcome(Spec::Register, &rows), CheckOutcome::Violation);
    for row in &mut rows.operations {
        (row.call, row.ret) = (Nanos(row.call.0 * 3), row.ret.map(|ret| Nanos(ret.0 * 3 + 1)));
    }
    let read = row(rows.operations.len(), 77, "read", "k0", json!(null));
    rows.operations.push(history::Operation { outcome: Outcome::Ok, ret: Some(Nanos(5)), ..read });
    assert_eq!(outcome(Spec::Register, &rows), CheckOutcome::Violation);
}

/// Histories with few values, in which the search has much to try.
fn hard() -> Rows {
    let mut rows = long(Spec::Register, 400, 12, 2, false, false);
    let read = rows.operations.iter().rposition(|row| row.f == "read").unwrap();
    rows.operations[read].output = json!(2);
    rows.operations.iter_mut().filter(|row| row.f == "write").for_each(|row| row.input = json!(1));
    rows
}

#[test]
fn exhausted_limits_are_unknown_and_hold() {
    let rows = long(Spec::Register, 10_000, 8, 4, false, false);
    let time = Budget { time: Duration::ZERO, ..Budget::default() };
    let memory = Budget { memory_bytes: 100_000, ..Budget::default() };
    for (budget, word) in [(time, "time"), (memory, "memory")] {
        let result = judge(Spec::Register, &rows, &budget).result;
        assert_eq!(result.outcome, CheckOutcome::Unknown);
        let note = result.note.unwrap();
        assert!(note.contains(&format!("the {word} budget")), "{note}");
    }
    let budget = Budget { time: Duration::from_millis(500), memory_bytes: 8 << 20, ..Budget::default() };
    let result = judge(Spec::Register, &hard(), &budget).result;
    assert!(result.peak_memory_bytes <= budget.memory_bytes, "{result:?}");
}

#[test]
fn nothing_completed_is_unknown() {
    let mut rows = long(Spec::Register, 10, 2, 1, true, false);
    rows.operations.iter_mut().for_each(|row| row.outcome = Outcome::Fail);
    assert_eq!(outcome(Spec::Register, &rows), CheckOutcome::Unknown);
}

#[test]
fn findings_are_the_same_every_time() {
    let mut rows = long(Spec::Register, 10_000, 6, 20, true, false);
    let stale = rows.operations.iter().rposition(|row| row.f == "read" && !row.output.is_null()).unwrap();
    rows.operations[stale].output = json!(null);
    let first = judge(Spec::Register, &rows, &Budget::default()).anomalies;
    assert_eq!(first, judge(Spec::Register, &rows, &Budget::default()).anomalies);
}

/// Prints times; `cargo test --release -p checker measure_sequential -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure_sequential() {
    for (name, rows) in [
        ("different values, 20 keys", long(Spec::Register, 10_000, 6, 20, true, false)),
        ("different values, 1 key", long(Spec::Register, 10_000, 6, 1, true, false)),
        ("different values, 200 keys", long(Spec::Register, 100_000, 10, 200, true, true)),
        ("few values", long(Spec::Register, 10_000, 6, 4, false, false)),
        ("broken, few values", hard()),
    ] {
        let start = Instant::now();
        let result =
            judge(Spec::Register, &rows, &Budget { time: Duration::from_secs(20), ..Budget::default() })
                .result;
        println!(
            "{name}, {} operations: {:?} in {:?}, {} MiB, {:?}",
            rows.operations.len(),
            result.outcome,
            start.elapsed(),
            result.peak_memory_bytes >> 20,
            result.note
        );
    }
}
