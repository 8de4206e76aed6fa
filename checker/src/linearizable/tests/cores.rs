//! What explanations claim: the operations that they name are a proof by themselves, and few.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::exhaustive_from;
use super::simulate::{Mix, Random, corrupt, long, mix, play, script, stale_read};
use crate::rows::Rows;
use crate::{Anomaly, Budget, CheckOutcome, linearizable_register};

/// The operations that an anomaly names, as a history.
fn named(history: &Rows, anomaly: &Anomaly) -> Rows {
    let is_named = |index: u64| anomaly.operations.contains(&index);
    let operations =
        history.operations.iter().filter(|operation| is_named(operation.index)).cloned().collect();
    Rows { operations }
}

/// No order explains the named operations; where the past was left out, from no state at all.
fn is_proof(history: &Rows, anomaly: &Anomaly) -> bool {
    let mut states = vec![Value::Null];
    if anomaly.explanation.ends_with("whatever happened before them.") {
        states.extend((0..10).map(|value| json!(value)));
    }
    !exhaustive_from(&named(history, anomaly), &states)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 500 } else { 10_000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn named_operations_prove_the_violation(mix in mix(), script in script(120), which in 0..99_usize, value in 0..4_u8) {
        let mut history = play(mix, &script);
        corrupt(&mut history, which, value);
        let finding = linearizable_register(&history.history(), &Budget::default()).unwrap();
        prop_assert_eq!(finding.anomalies.is_empty(), finding.result.outcome != CheckOutcome::Violation);
        for anomaly in &finding.anomalies {
            prop_assert!(anomaly.operations.len() <= 20, "{:?}", anomaly);
            prop_assert!(is_proof(&history, anomaly), "{:?}", anomaly);
            prop_assert!(anomaly.details.len() >= 2, "{:?}", anomaly);
        }
    }
}

#[test]
fn stale_read_among_thousands_of_operations_is_explained_by_a_handful() {
    for seed in 0..5 {
        let mut history = long(Mix::Unique, 10, 6000, 50, seed);
        assert!(stale_read(&mut history, 0.6));
        let finding = linearizable_register(&history.history(), &Budget::default()).unwrap();
        let anomaly = &finding.anomalies[0];
        assert!(anomaly.operations.len() <= 4, "{anomaly:?}");
        assert!(is_proof(&history, anomaly), "{anomaly:?}");
    }
}

#[test]
fn lies_about_repeated_values_are_explained_by_a_few_operations() {
    let (mut violations, mut local) = (0, 0);
    for seed in 0..40 {
        let mut history = long(Mix::Cas, 5, 3000, 50, seed);
        let mut random = Random::new(seed);
        corrupt(&mut history, random.below(500) as usize + 500, random.below(5) as u8);
        let finding = linearizable_register(&history.history(), &Budget::default()).unwrap();
        for anomaly in &finding.anomalies {
            violations += 1;
            if anomaly.details.is_empty() {
                assert!(anomaly.explanation.contains("the last 24 are below"), "{anomaly:?}");
                continue;
            }
            local += 1;
            assert!(anomaly.operations.len() <= 20, "{anomaly:?}");
            assert!(is_proof(&history, anomaly), "{anomaly:?}");
        }
    }
    assert!(violations >= 10 && local * 4 >= violations * 3, "{local} of {violations} have a small proof");
}
