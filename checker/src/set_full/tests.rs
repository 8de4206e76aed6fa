//! The judgement of sets against an exhaustive search, and its cost on large ones.

use std::time::Instant;

use history::{Nanos, NodeId, Operation, Outcome, Process};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::{Budget, CheckError, CheckOutcome, set_full};

/// A drawn operation: kind, element or bits of the elements that a read returns, call, duration, outcome.
type Draw = (bool, u8, u64, u64, u8);

fn operation(index: usize, f: &str, value: Value, call: u64, ret: u64, outcome: Outcome) -> Operation {
    let (input, output) = if f == "add" { (value, Value::Null) } else { (Value::Null, value) };
    Operation {
        index: index as u64,
        process: Process(index as u32),
        node: Some(NodeId::numbered(1)),
        f: f.to_owned(),
        key: None,
        input,
        output,
        intended: Nanos(call),
        call: Nanos(call),
        ret: Some(Nanos(ret)),
        outcome,
        is_final: f == "read",
        error: None,
    }
}

fn history(draws: &[Draw], elements: u8) -> Rows {
    let operations = draws.iter().enumerate().map(|(index, (is_add, bits, call, duration, outcome))| {
        let ret = call + duration;
        if *is_add {
            let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Info, Outcome::Fail][usize::from(*outcome % 4)];
            operation(index, "add", json!(bits % elements), *call, ret, outcome)
        } else {
            let seen: Vec<u8> = (0..elements).filter(|element| bits >> element & 1 == 1).collect();
            operation(index, "read", json!(seen), *call, ret, Outcome::Ok)
        }
    });
    Rows { operations: operations.collect() }
}

/// Whether some order of adds and reads explains every read.
fn some_order(operations: &[&Operation], done: u32, state: u32) -> bool {
    let left = || (0..operations.len()).filter(|at| done >> at & 1 == 0);
    if left().all(|at| operations[at].effective_end().is_none()) {
        return true;
    }
    let earliest_end = left().filter_map(|at| operations[at].effective_end()).min().unwrap();
    left().filter(|at| operations[*at].call <= earliest_end).any(|at| {
        let operation = operations[at];
        let next = match operation.f.as_str() {
            "add" => Some(state | 1 << operation.input.as_u64().unwrap()),
            _ => (bits(&operation.output) == state).then_some(state),
        };
        next.is_some_and(|next| some_order(operations, done | 1 << at, next))
    })
}

fn bits(elements: &Value) -> u32 {
    elements.as_array().unwrap().iter().fold(0, |bits, element| bits | 1 << element.as_u64().unwrap())
}

fn is_linearizable(history: &Rows) -> bool {
    let happened = |operation: &&Operation| operation.outcome != Outcome::Fail;
    some_order(&history.operations.iter().filter(happened).collect::<Vec<_>>(), 0, 0)
}

fn outcome(history: &Rows) -> CheckOutcome {
    set_full(&history.history(), &Budget::default()).unwrap().result.outcome
}

fn draws(most: usize) -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec((any::<bool>(), any::<u8>(), 0..12_u64, 0..5_u64, any::<u8>()), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_one_element_the_verdict_is_exact(draws in draws(9)) {
        let history = history(&draws, 1);
        prop_assert_eq!(outcome(&history) != CheckOutcome::Violation, is_linearizable(&history));
    }

    #[test]
    fn with_several_elements_a_violation_is_certain(draws in draws(8)) {
        let history = history(&draws, 3);
        if outcome(&history) == CheckOutcome::Violation {
            prop_assert!(!is_linearizable(&history));
        }
    }

    #[test]
    fn operations_of_an_anomaly_prove_it_alone(draws in draws(12)) {
        let history = history(&draws, 3);
        for anomaly in set_full(&history.history(), &Budget::default()).unwrap().anomalies {
            let is_named = |operation: &&Operation| anomaly.operations.contains(&operation.index);
            let operations = history.operations.iter().filter(is_named).cloned().collect();
            let named = Rows { operations };
            prop_assert!(set_full(&named.history(), &Budget::default()).unwrap().result.outcome == CheckOutcome::Violation, "{:?}", anomaly);
        }
    }
}

/// A debug build is content with less.
const CASES: u32 = if cfg!(debug_assertions) { 500 } else { 20_000 };

/// Adds one after another, and after every `every`-th one a read of everything.
fn large(adds: usize, every: usize) -> Rows {
    let mut history = Rows::default();
    let mut push = |f: &str, value: Value| {
        let index = history.operations.len();
        let at = index as u64 * 10;
        history.operations.push(operation(index, f, value, at, at + 5, Outcome::Ok));
    };
    for add in 1..=adds {
        push("add", json!(add));
        if add % every == 0 {
            push("read", json!((1..=add).collect::<Vec<usize>>()));
        }
    }
    history
}

#[test]
fn large_set_is_valid_until_one_read_misses_one_element() {
    let mut history = large(2000, 20);
    assert_eq!(outcome(&history), CheckOutcome::Valid);
    let read = history.operations.iter_mut().filter(|operation| operation.f == "read").nth(50).unwrap();
    read.output.as_array_mut().unwrap().remove(7);
    let finding = set_full(&history.history(), &Budget::default()).unwrap();
    assert_eq!(finding.anomalies.len(), 1);
    assert_eq!(finding.anomalies[0].kind, "stale");
    assert_eq!(finding.anomalies[0].operations.len(), 3);
}

#[test]
fn sets_under_different_keys_are_independent() {
    let mut history = large(40, 10);
    let mut other = large(40, 10);
    other.operations.retain(|operation| operation.f == "add");
    other.operations.iter_mut().for_each(|operation| operation.key = Some("other".to_owned()));
    history.operations.extend(other.operations);
    let finding = set_full(&history.history(), &Budget::default()).unwrap();
    assert_eq!(finding.result.outcome, CheckOutcome::Unknown);
    let note = finding.result.note.unwrap();
    assert_eq!(note, "no final read of 1 of 2 sets completed, so lost elements could hide");
}

#[test]
fn exhausted_budget_is_unknown_and_says_so() {
    let history = large(200, 10);
    let memory = Budget { memory_bytes: 1000, ..Budget::default() };
    let time = Budget { time: std::time::Duration::ZERO, ..Budget::default() };
    for (budget, word) in [(memory, "memory"), (time, "time")] {
        let result = set_full(&history.history(), &budget).unwrap().result;
        assert_eq!(result.outcome, CheckOutcome::Unknown);
        assert!(result.note.unwrap().contains(word));
    }
}

#[test]
fn read_without_a_list_is_an_error_of_the_adapter() {
    let mut history = large(10, 10);
    history.operations[10].output = json!("everything");
    let error = set_full(&history.history(), &Budget::default()).unwrap_err();
    assert!(matches!(error, CheckError::MalformedOutput { index: 10, .. }), "{error}");
}

/// Prints times; `cargo test --release -p checker measure -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure() {
    let history = large(5000, 10);
    let read: usize =
        history.operations.iter().filter_map(|operation| operation.output.as_array()).map(Vec::len).sum();
    let start = Instant::now();
    let result = set_full(&history.history(), &Budget::default()).unwrap().result;
    println!("5000 elements, 500 reads of {read} elements: {:?} in {:?}", result.outcome, start.elapsed());
}
