//! An oracle that shares nothing with the checker: raw rows, every order of the writes of every key, and the definitions as
//! they are written.

use history::{Nanos, Operation, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::examples::row;
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, session_guarantees};

/// A drawn operation: key, kind, which value, pause before it, its length, how it ends.
type Draw = (u8, u8, u8, u8, u8, u8);

const SESSIONS: usize = 3;

/// Sessions that do what was drawn; reads return any value of their key.
fn history(draws: &[Vec<Draw>], versioned: bool) -> Rows {
    let mut rows = Rows::default();
    let mut written = 0;
    let mut versions = [0_u64; 2];
    for (process, session) in draws.iter().enumerate() {
        let mut now = 0;
        for (key, kind, value, pause, length, roll) in session {
            let (call, ret) = (now + u64::from(*pause), now + u64::from(*pause) + u64::from(*length));
            now = ret;
            let is_write = kind.is_multiple_of(2);
            written += u64::from(is_write);
            let name = ["x", "y"][usize::from(*key % 2)];
            let mut operation =
                if is_write { row("write", name, json!(written)) } else { row("read", name, Value::Null) };
            operation.process = history::Process(process as u32);
            (operation.call, operation.ret, operation.outcome) = (Nanos(call), Some(Nanos(ret)), Outcome::Ok);
            if is_write && *roll < 20 {
                operation.outcome = if *roll < 10 { Outcome::Fail } else { Outcome::Info };
            }
            if versioned && is_write {
                let version = &mut versions[usize::from(*key % 2)];
                *version += 1;
                operation.output = json!(*version);
            }
            operation.error = Some(value.to_string());
            let is_over = operation.outcome == Outcome::Info;
            rows.operations.push(operation);
            if is_over {
                break;
            }
        }
    }
    if versioned {
        shuffle_versions(&mut rows);
    }
    give_reads(&mut rows, versioned);
    rows.operations.sort_by_key(|operation| (operation.call, operation.process));
    rows.operations.iter_mut().enumerate().for_each(|(index, operation)| {
        operation.index = index as u64;
        operation.error = None;
        if operation.outcome != Outcome::Ok {
            operation.output = Value::Null;
        }
    });
    rows
}

/// Lets versions contradict sessions and time: every other write of a key swaps its version with the one before.
fn shuffle_versions(rows: &mut Rows) {
    for key in ["x", "y"] {
        let of_key =
            |operation: &&mut Operation| operation.f == "write" && operation.key.as_deref() == Some(key);
        let mut writes: Vec<&mut Operation> = rows.operations.iter_mut().filter(of_key).collect();
        for at in (1..writes.len()).step_by(2) {
            let roll: u8 = writes[at].error.as_ref().unwrap().parse().unwrap();
            if roll.is_multiple_of(3) {
                let other = writes[at - 1].output.clone();
                writes[at - 1].output = std::mem::replace(&mut writes[at].output, other);
            }
        }
    }
}

fn give_reads(rows: &mut Rows, versioned: bool) {
    let all = rows.operations.clone();
    for read in rows.operations.iter_mut().filter(|operation| operation.f == "read") {
        let happened = |write: &&Operation| {
            write.f == "write"
                && write.key == read.key
                && write.outcome != Outcome::Fail
                && write.call <= read.ret.unwrap()
        };
        let known = |write: &&Operation| !versioned || write.outcome == Outcome::Ok;
        let writes: Vec<&Operation> = all.iter().filter(happened).filter(known).collect();
        let roll: usize = read.error.as_ref().unwrap().parse().unwrap();
        let chosen = (roll % (writes.len() + 1)).checked_sub(1).map(|at| writes[at]);
        read.output = match (chosen, versioned) {
            (Some(write), false) => write.input.clone(),
            (None, false) => Value::Null,
            (Some(write), true) => json!([write.input, write.output]),
            (None, true) => json!([null, 0]),
        };
    }
}

/// What a read returned, by the value that was written (0 at first).
fn value_read(read: &Operation, versioned: bool) -> u64 {
    let value = if versioned { &read.output[0] } else { &read.output };
    value.as_u64().unwrap_or(0)
}

/// Whether some order of the writes lets each guarantee hold, in the order of the findings.
fn holds(rows: &Rows, versioned: bool) -> [bool; 4] {
    let mut result = [true; 4];
    for key in ["x", "y"] {
        let writes: Vec<&Operation> = rows
            .operations
            .iter()
            .filter(|row| row.f == "write" && row.key.as_deref() == Some(key) && row.outcome != Outcome::Fail)
            .collect();
        let values: Vec<u64> = writes.iter().map(|write| write.input.as_u64().unwrap()).collect();
        let mut possible = [false; 4];
        permutations(values, &mut |order| {
            let mut ordered = vec![0];
            ordered.extend(order);
            if agrees(rows, &writes, &ordered, versioned) {
                for (at, holds) in possible.iter_mut().enumerate() {
                    *holds = *holds || holds_in(at, rows, key, &ordered, versioned);
                }
            }
        });
        (0..4).for_each(|at| result[at] &= possible[at]);
    }
    result
}

fn permutations(values: Vec<u64>, visit: &mut impl FnMut(&[u64])) {
    fn go(taken: &mut Vec<u64>, left: &[u64], visit: &mut impl FnMut(&[u64])) {
        if left.is_empty() {
            visit(taken);
        }
        for at in 0..left.len() {
            let mut rest = left.to_vec();
            taken.push(rest.remove(at));
            go(taken, &rest, visit);
            taken.pop();
        }
    }
    go(&mut Vec::new(), &values, visit);
}

/// Whether an order agrees with what is known: versions, or else sessions and times.
fn agrees(rows: &Rows, writes: &[&Operation], order: &[u64], versioned: bool) -> bool {
    let place = |write: &Operation| order.iter().position(|value| *value == write.input.as_u64().unwrap());
    let known = |write: &Operation| {
        let reads = rows.operations.iter().filter(|row| {
            row.f == "read"
                && row.key == write.key
                && value_read(row, versioned) == write.input.as_u64().unwrap()
        });
        let acknowledged = write.ret.filter(|_| write.outcome == Outcome::Ok);
        reads.filter_map(|read| read.ret).chain(acknowledged).min()
    };
    writes.iter().all(|one| {
        writes.iter().all(|other| {
            let is_older = if versioned {
                one.outcome == Outcome::Ok
                    && other.outcome == Outcome::Ok
                    && one.output.as_u64() < other.output.as_u64()
            } else {
                known(one).is_some_and(|known| known < other.call)
                    || one.process == other.process && one.index < other.index
            };
            !is_older || place(one) < place(other)
        })
    })
}

fn holds_in(guarantee: usize, rows: &Rows, key: &str, order: &[u64], versioned: bool) -> bool {
    let place = |value: u64| order.iter().position(|other| *other == value).unwrap();
    let of = |process: u32| -> Vec<&Operation> {
        rows.operations
            .iter()
            .filter(|row| row.process.0 == process && row.outcome != Outcome::Fail)
            .collect()
    };
    let is = |row: &Operation, f: &str, key: &str| row.f == f && row.key.as_deref() == Some(key);
    // What was met, as a value of the key; the later read must not be older.
    let met = |row: &Operation| match (row.f.as_str(), guarantee) {
        ("write", 1 | 2) => row.input.as_u64(),
        ("read", 0 | 3) => Some(value_read(row, versioned)),
        _ => None,
    };
    let own = guarantee < 2;
    for process in 0..SESSIONS as u32 {
        let session = of(process);
        for (at, first) in session.iter().enumerate().filter(|(_, first)| first.key.as_deref() == Some(key)) {
            let Some(first_value) = met(first) else { continue };
            for then in session.iter().skip(at + 1) {
                if own && is(then, "read", key) && place(value_read(then, versioned)) < place(first_value) {
                    return false;
                }
                if own || then.f != "write" {
                    continue;
                }
                let then_value = then.input.as_u64().unwrap();
                let version_known = !versioned || then.outcome == Outcome::Ok;
                if is(then, "write", key) && version_known && place(then_value) < place(first_value) {
                    return false;
                }
                if is(then, "write", key) || (versioned && then.outcome != Outcome::Ok) {
                    continue;
                }
                for observer in (0..SESSIONS as u32).filter(|observer| *observer != process) {
                    let observed = of(observer);
                    let saw = observed.iter().position(|row| {
                        row.f == "read" && row.key == then.key && value_read(row, versioned) == then_value
                    });
                    let after = saw.map_or(observed.len(), |saw| saw + 1);
                    let is_behind = |row: &&Operation| {
                        is(row, "read", key) && place(value_read(row, versioned)) < place(first_value)
                    };
                    if observed[after..].iter().any(is_behind) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

fn draws() -> impl Strategy<Value = Vec<Vec<Draw>>> {
    let draw = (any::<u8>(), any::<u8>(), any::<u8>(), 0..4_u8, 0..6_u8, any::<u8>());
    proptest::collection::vec(proptest::collection::vec(draw, 1..6), SESSIONS)
}

fn agree(draws: &[Vec<Draw>], versioned: bool) -> Result<(), TestCaseError> {
    let rows = history(draws, versioned);
    let writes = |key: &str| {
        rows.operations.iter().filter(|row| row.f == "write" && row.key.as_deref() == Some(key)).count()
    };
    prop_assume!(writes("x") <= 5 && writes("y") <= 5);
    let mut judged = rows.history();
    judged.header = Some(super::examples::header(versioned));
    let findings = session_guarantees(&judged, &Budget::default()).unwrap();
    let expected = holds(&rows, versioned);
    for (finding, expected) in findings.iter().zip(expected) {
        let found = finding.result.outcome != CheckOutcome::Violation;
        prop_assert_eq!(
            found,
            expected,
            "{}: {:#?} {:#?}",
            finding.result.name,
            finding.anomalies,
            rows.operations
        );
        for anomaly in &finding.anomalies {
            prop_assert!(proves_alone(&rows, anomaly, versioned), "{:#?} {:#?}", anomaly, rows.operations);
        }
    }
    Ok(())
}

/// Whether the operations of an anomaly are a violation without all others.
fn proves_alone(rows: &Rows, anomaly: &crate::Anomaly, versioned: bool) -> bool {
    let mut judged = rows.history();
    judged.operations.retain(|row| anomaly.operations.contains(&row.index));
    judged.header = Some(super::examples::header(versioned));
    let findings = session_guarantees(&judged, &Budget::default()).unwrap();
    let same = findings.iter().find(|finding| finding.result.name == anomaly.kind).unwrap();
    same.result.outcome == CheckOutcome::Violation
}

/// How many histories; a debug build is content with less, `SHAKEDOWN_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("SHAKEDOWN_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 500 } else { 20_000 })
}

fn agree_on_many(versioned: bool) {
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..ProptestConfig::default()
    };
    let outcome =
        proptest::test_runner::TestRunner::new(config).run(&draws(), |draws| agree(&draws, versioned));
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

#[test]
fn verdicts_without_versions_are_exact() {
    agree_on_many(false);
}

#[test]
fn verdicts_with_versions_are_exact() {
    agree_on_many(true);
}
