//! The search agrees with both oracles on small histories, valid and broken, under every combination of rules.

use proptest::prelude::*;

use super::oracle::{exhaustive, stateright};
use super::simulate::{Act, Mix, corrupt, long, mix, play, script, stale_read};
use crate::linearizable::object::{Object, Shortcut};
use crate::linearizable::objects::register::RegisterObject;
use crate::linearizable::partition::split;
use crate::linearizable::rounds::judge;
use crate::linearizable::search::Answer;
use crate::linearizable::window::Rules;
use crate::meter::Meter;
use crate::model::{RegisterOp, RegisterRet};
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, linearizable_register};

fn verdict(history: &Rows) -> CheckOutcome {
    linearizable_register(&history.history(), &Budget::default()).unwrap().result.outcome
}

/// The verdict with some rules only, with or without leaving operations out beforehand.
fn verdict_with(history: &Rows, rules: Rules, simplified: bool) -> bool {
    let operations = &history.history().operations;
    let object = RegisterObject::new(operations);
    split(&object, operations).unwrap().iter().all(|partition| {
        let calls = if simplified {
            partition.simplified(&object, operations)
        } else {
            partition.calls(&object, operations)
        };
        let mut meter = Meter::start(&Budget::default());
        judge(&object, &calls, &object.initial(), rules, u64::MAX, &mut meter) == Ok(Answer::Legal)
    })
}

fn broken(mix: Mix, script: &[Act], lie: Option<(usize, u8)>) -> Rows {
    let mut history = play(mix, script);
    if let Some((which, value)) = lie {
        corrupt(&mut history, which, value);
    }
    history
}

fn lie() -> impl Strategy<Value = Option<(usize, u8)>> {
    proptest::option::weighted(0.7, (0..20_usize, 0..6_u8))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn search_agrees_with_both_oracles(mix in mix(), script in script(28), lie in lie()) {
        let history = broken(mix, &script, lie);
        prop_assume!(history.operations.len() <= 10);
        let expected = exhaustive(&history);
        prop_assert_eq!(stateright(&history), expected);
        prop_assert_eq!(verdict(&history) != CheckOutcome::Violation, expected);
    }

    #[test]
    fn every_combination_of_rules_gives_the_same_verdict(mix in mix(), script in script(36), lie in lie()) {
        let history = broken(mix, &script, lie);
        let expected = exhaustive(&history);
        for bits in 0..32_u8 {
            let on = |bit: u8| bits >> bit & 1 == 1;
            let rules = Rules { pure_greedy: on(0), unseen: on(1), likes: on(2), dominance: on(3) };
            prop_assert_eq!(verdict_with(&history, rules, on(4)), expected, "{:?}", rules);
        }
    }
}

/// Zones, where they apply, against the search.
fn zones_and_search(history: &Rows) -> Vec<(Option<Shortcut<RegisterOp, RegisterRet>>, bool)> {
    let operations = &history.history().operations;
    let object = RegisterObject::new(operations);
    let partitions = split(&object, operations).unwrap();
    let both = partitions.iter().map(|partition| {
        let mut meter = Meter::start(&Budget::default());
        let calls = partition.simplified(&object, operations);
        let answer = judge(&object, &calls, &object.initial(), Rules::ALL, u64::MAX, &mut meter);
        (object.shortcut(&calls, &mut || true), answer == Ok(Answer::Legal))
    });
    both.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shortcuts_agree_with_the_search(mix in mix(), script in script(80), lie in lie()) {
        for (shortcut, legal) in zones_and_search(&broken(mix, &script, lie)) {
            prop_assert!(shortcut.is_some() || mix != Mix::Unique);
            if let Some(shortcut) = shortcut {
                prop_assert_eq!(shortcut == Shortcut::Legal, legal);
            }
        }
    }
}

#[test]
fn zones_and_search_agree_on_long_histories() {
    for clients in [3, 6, 12] {
        let mut history = long(Mix::Unique, clients, 6000, 40, 3);
        assert_eq!(zones_and_search(&history), vec![(Some(Shortcut::Legal), true)]);
        assert!(stale_read(&mut history, 0.5));
        let found = zones_and_search(&history);
        assert!(matches!(found[..], [(Some(Shortcut::Illegal(_)), false)]), "{found:?}");
    }
}

/// Enough to meet every rule many times; a debug build is content with less.
const CASES: u32 = if cfg!(debug_assertions) { 500 } else { 20_000 };
