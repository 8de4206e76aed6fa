//! A budget is a limit that holds: with little of time or memory a valid history is valid or `unknown`, and nothing says that
//! it held more than it was given.

use std::time::Duration;

use checker::{Budget, CheckOutcome, Finding, Spec, linearizable, sequential, session_guarantees, set_full};
use history::{History, Nanos, Operation, Outcome};
use serde_json::json;

mod simulation;

use simulation::{Random, simulate};

/// The check of one claim.
type Check = (&'static str, fn(Spec, &History, &Budget) -> Vec<Finding>);

const CHECKS: [Check; 4] = [
    ("linearizable", |spec, history, budget| vec![linearizable(spec, history, budget).unwrap()]),
    ("sequential", |spec, history, budget| vec![sequential(spec, history, budget).unwrap()]),
    ("session guarantees", |spec, history, budget| match spec {
        Spec::Register | Spec::VersionedRegister => session_guarantees(history, budget).unwrap(),
        _ => Vec::new(),
    }),
    ("set-full", |spec, history, budget| match spec {
        Spec::Set => vec![set_full(&only_growing(history), budget).unwrap()],
        _ => Vec::new(),
    }),
];

/// What `set_full` takes for a set can only grow, and is read as a whole.
fn only_growing(history: &History) -> History {
    let mut history = history.clone();
    let is_read = |row: &Operation| row.f == "read" && (row.output.is_array() || row.outcome != Outcome::Ok);
    history.operations.retain(|row| row.f == "add" || is_read(row));
    history
}

/// Valid by construction.
fn history(spec: Spec, operations: usize) -> History {
    let mut random = Random::new(7);
    let mut rows = simulate(spec, "a", 0, operations, &mut random);
    rows.extend(simulate(spec, "b", 1000, operations / 4, &mut random));
    rows.sort_by_key(|row| row.call);
    rows.iter_mut().enumerate().for_each(|(index, row)| row.index = index as u64);
    History { header: None, operations: rows.into_iter().collect() }
}

fn every_check(budgets: &[Budget], found: impl Fn(Spec, &str, &Budget, &Finding)) {
    for spec in Spec::ALL {
        let history = history(spec, 200);
        for (name, check) in CHECKS {
            for budget in budgets {
                for finding in check(spec, &history, budget) {
                    found(spec, name, budget, &finding);
                }
            }
        }
    }
}

#[test]
fn check_without_any_time_is_undecided() {
    let budget = Budget { time: Duration::ZERO, ..Budget::default() };
    every_check(&[budget], |spec, name, _, finding| {
        assert_eq!(finding.result.outcome, CheckOutcome::Unknown, "{spec:?} {name}: {finding:?}");
        assert!(finding.result.note.is_some() && finding.anomalies.is_empty());
    });
}

#[test]
fn check_never_holds_more_than_its_memory() {
    let budgets = [0, 10, 12, 13, 14, 15, 16, 17, 20].map(|power| Budget {
        time: Duration::from_secs(1),
        memory_bytes: 1 << power,
        ..Budget::default()
    });
    every_check(&budgets, |spec, name, budget, finding| {
        let what = format!("{spec:?} {name} with {} bytes: {finding:?}", budget.memory_bytes);
        assert!(finding.result.peak_memory_bytes <= budget.memory_bytes, "{what}");
        let is_set_full = name == "set-full";
        assert!(is_set_full || finding.result.outcome != CheckOutcome::Violation, "{what}");
    });
}

#[test]
fn violation_that_is_proven_without_memory_for_more_is_told() {
    let read = |at: u64, value: u64| Operation {
        index: at,
        process: history::Process(1),
        node: None,
        f: "read".to_owned(),
        key: None,
        input: json!(null),
        output: json!(value),
        intended: Nanos(10 * at),
        call: Nanos(10 * at),
        ret: Some(Nanos(10 * at + 5)),
        outcome: Outcome::Ok,
        is_final: false,
        error: None,
    };
    let history = History { header: None, operations: (0..1000).map(|at| read(at, at + 1)).collect() };
    let finding = (10..24)
        .map(|power| {
            let budget = Budget { memory_bytes: 1 << power, ..Budget::default() };
            linearizable(Spec::Register, &history, &budget).unwrap()
        })
        .find(|finding| finding.result.outcome != CheckOutcome::Unknown)
        .unwrap();
    assert_eq!(finding.result.outcome, CheckOutcome::Violation);
    assert_eq!(finding.anomalies.len(), 1);
}
