//! The search agrees with both oracles on small histories, valid and broken, under every combination of rules.

use history::History;
use proptest::prelude::*;

use super::oracle::{exhaustive, stateright};
use super::simulate::{Act, Mix, corrupt, mix, play, script};
use crate::linearizable::object::Object;
use crate::linearizable::partition::split;
use crate::linearizable::register::RegisterObject;
use crate::linearizable::rounds::judge;
use crate::linearizable::search::Answer;
use crate::linearizable::window::Rules;
use crate::meter::Meter;
use crate::{Budget, CheckOutcome, linearizable_register};

fn verdict(history: &History) -> CheckOutcome {
    linearizable_register(history, &Budget::default()).unwrap().result.outcome
}

/// The verdict with some rules only, with or without leaving operations out beforehand.
fn verdict_with(history: &History, rules: Rules, simplified: bool) -> bool {
    let mut object = RegisterObject::default();
    split(&mut object, history).unwrap().iter().all(|partition| {
        let calls = if simplified { &partition.simplified } else { &partition.calls };
        let mut meter = Meter::start(&Budget::default());
        judge(calls, &object.initial(), rules, u64::MAX, &mut meter) == Ok(Answer::Legal)
    })
}

fn broken(mix: Mix, script: &[Act], lie: Option<(usize, u8)>) -> History {
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
            let rules = Rules { pure_greedy: on(0), unseen: on(1), twins: on(2), dominance: on(3) };
            prop_assert_eq!(verdict_with(&history, rules, on(4)), expected, "{:?}", rules);
        }
    }
}

/// Enough to meet every rule many times; a debug build is content with less.
const CASES: u32 = if cfg!(debug_assertions) { 500 } else { 20_000 };
