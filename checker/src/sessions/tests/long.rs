//! Histories too large for an oracle: stores with replicas, by simulation.

use std::time::{Duration, Instant};

use history::{Nanos, Operation, Outcome, Process};
use serde_json::{Value, json};

use super::examples::{header, row};
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, Finding, session_guarantees};

/// A small generator of pseudo-random numbers, the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// One operation after another on a log that sessions read up to some place: never behind their own place when sticky,
/// otherwise anywhere in the last `lag` writes.
fn replicated(count: usize, keys: u64, sessions: u64, lag: u64, sticky: bool, versioned: bool) -> Rows {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut log: Vec<(u64, u64)> = Vec::new();
    let mut places = vec![0_usize; sessions as usize];
    let mut rows = Rows::default();
    for at in 0..count {
        let (session, key) = (random.below(sessions), random.below(keys));
        let name = format!("k{key}");
        let mut operation = row(if random.below(3) == 0 { "write" } else { "read" }, &name, Value::Null);
        (operation.index, operation.process) = (at as u64, Process(session as u32));
        operation.call = Nanos(at as u64 * 10);
        operation.ret = Some(Nanos(at as u64 * 10 + 1 + random.below(9)));
        operation.outcome = Outcome::Ok;
        let place = &mut places[session as usize];
        if operation.f == "write" {
            log.push((key, at as u64 + 1));
            operation.input = json!(at + 1);
            operation.output = if versioned { json!(log.len()) } else { Value::Null };
            *place = log.len();
        } else {
            let behind = log.len().saturating_sub(random.below(lag + 1) as usize);
            let seen = if sticky { behind.max(*place) } else { behind };
            *place = seen;
            let found = log[..seen].iter().enumerate().rev().find(|(_, (other, _))| *other == key);
            operation.output = match (found, versioned) {
                (Some((_, (_, value))), false) => json!(value),
                (None, false) => Value::Null,
                (Some((version, (_, value))), true) => json!([value, version + 1]),
                (None, true) => json!([null, 0]),
            };
        }
        rows.operations.push(operation);
    }
    rows
}

fn judge(rows: &Rows, versioned: bool, budget: &Budget) -> Vec<Finding> {
    let mut history = rows.history();
    history.header = Some(header(versioned));
    session_guarantees(&history, budget).unwrap()
}

fn outcomes(rows: &Rows, versioned: bool) -> Vec<CheckOutcome> {
    let findings = judge(rows, versioned, &Budget::default());
    findings.iter().map(|finding| finding.result.outcome).collect()
}

#[test]
fn replicas_with_sticky_sessions_keep_every_guarantee() {
    for versioned in [false, true] {
        let rows = replicated(10_000, 10, 8, 30, true, versioned);
        assert_eq!(outcomes(&rows, versioned), [CheckOutcome::Valid; 4]);
    }
}

#[test]
fn replicas_without_sticky_sessions_break_guarantees() {
    for versioned in [false, true] {
        let rows = replicated(10_000, 10, 8, 300, false, versioned);
        assert_eq!(outcomes(&rows, versioned), [CheckOutcome::Violation; 4]);
    }
}

#[test]
fn valid_history_stays_valid_when_operations_go_or_unknown_ones_come() {
    for versioned in [false, true] {
        let mut rows = replicated(10_000, 10, 8, 30, true, versioned);
        rows.operations.retain(|operation| operation.f == "write" || !operation.index.is_multiple_of(3));
        let fresh = rows.operations.iter().step_by(50).enumerate().map(|(at, operation)| Operation {
            index: 20_000 + at as u64,
            process: Process(100 + at as u32),
            outcome: Outcome::Info,
            ret: None,
            ..row("write", operation.key.as_deref().unwrap(), json!(1_000_000 + at))
        });
        let unknown: Vec<Operation> = fresh.collect();
        rows.operations.extend(unknown);
        assert_eq!(outcomes(&rows, versioned), [CheckOutcome::Valid; 4]);
    }
}

#[test]
fn one_stale_read_among_ten_thousand_is_found_and_named() {
    for versioned in [false, true] {
        let mut rows = replicated(10_000, 10, 8, 0, true, versioned);
        let stale = rows.operations.iter().rposition(|row| row.f == "read").unwrap();
        rows.operations[stale].output = if versioned { json!([null, 0]) } else { Value::Null };
        let findings = judge(&rows, versioned, &Budget::default());
        let index = rows.operations[stale].index;
        assert!(findings.iter().all(|finding| finding.result.outcome == CheckOutcome::Violation));
        let named =
            |finding: &Finding| finding.anomalies.iter().any(|anomaly| anomaly.operations.contains(&index));
        assert!(findings.iter().all(named));
    }
}

#[test]
fn linearizable_histories_are_accepted_after_renaming_processes() {
    let mut rows = replicated(10_000, 5, 20, 0, false, false);
    rows.operations.iter_mut().for_each(|row| row.process = Process(1000 - row.process.0));
    assert_eq!(outcomes(&rows, false), [CheckOutcome::Valid; 4]);
    rows.operations.iter_mut().for_each(|row| row.process = Process(row.index as u32));
    assert_eq!(outcomes(&rows, false), [CheckOutcome::Unknown; 4]);
}

#[test]
fn exhausted_limits_are_unknown_and_say_so() {
    let rows = replicated(10_000, 10, 8, 300, false, false);
    let memory = Budget { memory_bytes: 100_000, ..Budget::default() };
    let time = Budget { time: Duration::ZERO, ..Budget::default() };
    for (budget, word) in [(memory, "memory"), (time, "time")] {
        for finding in judge(&rows, false, &budget) {
            assert_eq!(finding.result.outcome, CheckOutcome::Unknown);
            assert!(finding.result.note.unwrap().contains(&format!("the {word} budget")));
        }
    }
}

#[test]
fn findings_are_the_same_every_time() {
    let rows = replicated(10_000, 10, 8, 300, false, false);
    let anomalies = |findings: Vec<Finding>| -> Vec<_> {
        findings.into_iter().flat_map(|finding| finding.anomalies).collect()
    };
    let budget = Budget::default();
    assert_eq!(anomalies(judge(&rows, false, &budget)), anomalies(judge(&rows, false, &budget)));
}

/// Prints times; `cargo test --release -p checker measure_sessions -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure_sessions() {
    for (operations, keys, sessions) in [(100_000, 100, 20), (1_000_000, 100, 20), (1_000_000, 10_000, 50)] {
        let rows = replicated(operations, keys, sessions, 1000, true, false);
        let mut history = rows.history();
        history.header = Some(header(false));
        let start = Instant::now();
        let findings = session_guarantees(&history, &Budget::default()).unwrap();
        let elapsed = start.elapsed();
        let peak = findings.iter().map(|finding| finding.result.peak_memory_bytes >> 20).max();
        let outcomes: Vec<_> = findings.iter().map(|finding| finding.result.outcome).collect();
        println!(
            "{operations} operations, {keys} keys, {sessions} sessions: {outcomes:?} in {elapsed:?}, {peak:?} MiB"
        );
    }
}
