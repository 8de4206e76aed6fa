//! Small histories: every interleaving of the processes over raw JSON, and stateright's tester.

use history::{Operation, Outcome};
use proptest::prelude::*;
use serde_json::Value;
use stateright::semantics::{ConsistencyTester, SequentialConsistencyTester};

use super::play::{Draw, lie, play};
use crate::linearizable::object::Object;
use crate::linearizable::objects::register::RegisterObject;
use crate::model::{Register, RegisterOp};
use crate::plain::{empty, steps};
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, Spec, linearizable, sequential};

/// What every process did, without what failed.
fn processes(rows: &Rows) -> Vec<Vec<&Operation>> {
    let mut names: Vec<u32> = rows.operations.iter().map(|row| row.process.0).collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: &u32| {
        let its = |row: &&Operation| row.process.0 == *name && row.outcome != Outcome::Fail;
        rows.operations.iter().filter(its).collect()
    };
    names.iter().map(of).collect()
}

fn some_order(
    spec: Spec,
    processes: &[Vec<&Operation>],
    done: &mut [usize],
    states: &mut [(String, Value)],
) -> bool {
    let is_certain = |operation: &&&Operation| operation.outcome == Outcome::Ok;
    let is_done =
        processes.iter().zip(done.iter()).all(|(all, done)| !all[*done..].iter().any(|one| is_certain(&one)));
    if is_done {
        return true;
    }
    for (process, all) in processes.iter().enumerate() {
        let Some(operation) = all.get(done[process]) else { continue };
        let key = operation.key.clone().unwrap();
        let place = states.iter().position(|(name, _)| *name == key).unwrap();
        let before = states[place].1.clone();
        done[process] += 1;
        for next in steps(spec, operation, &before) {
            states[place].1 = next;
            if some_order(spec, processes, done, states) {
                return true;
            }
        }
        states[place].1 = before;
        done[process] -= 1;
    }
    false
}

fn exhaustive(spec: Spec, rows: &Rows) -> bool {
    let processes = processes(rows);
    let mut states: Vec<(String, Value)> = (0..2).map(|key| (format!("k{key}"), empty(spec))).collect();
    some_order(spec, &processes, &mut vec![0; processes.len()], &mut states)
}

/// Asks stateright about registers of one key, one thread per process.
fn stateright(rows: &Rows) -> bool {
    let operations = &rows.history().operations;
    let object = RegisterObject::new(operations);
    let mut tester = SequentialConsistencyTester::new(Register::default());
    for (at, operation) in rows.operations.iter().enumerate() {
        let step = object.translate(operations, at).unwrap();
        match step.ret {
            _ if operation.outcome == Outcome::Fail => {}
            None if step.op == RegisterOp::Read => {}
            None => {
                tester.on_invoke(operation.process.0, step.op).unwrap();
            }
            Some(ret) => {
                tester.on_invret(operation.process.0, step.op, ret).unwrap();
            }
        }
    }
    tester.is_consistent()
}

fn outcome(spec: Spec, rows: &Rows) -> CheckOutcome {
    sequential(spec, &rows.history(), &Budget::default()).unwrap().result.outcome
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (any::<u8>(), (any::<u8>(), any::<u8>(), any::<u8>()), any::<u8>(), any::<u8>());
    proptest::collection::vec(draw, 3..10)
}

type Lie = Option<((usize, usize), Option<(usize, usize)>)>;

fn lies() -> impl Strategy<Value = Lie> {
    let pair = || (0..20_usize, 0..20_usize);
    proptest::option::weighted(0.8, (pair(), proptest::option::of(pair())))
}

fn broken(spec: Spec, draws: &[Draw], keys: u8, lies: Lie) -> Rows {
    let mut rows = play(spec, draws, 3, keys);
    if let Some((first, second)) = lies {
        lie(&mut rows, first.0, first.1);
        if let Some(second) = second {
            lie(&mut rows, second.0, second.1);
        }
    }
    rows
}

/// How many histories per object; a debug build is content with less, `SHAKEDOWN_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("SHAKEDOWN_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 200 } else { 4000 })
}

fn run(test: impl Fn(Vec<Draw>, u8, Lie) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..ProptestConfig::default()
    };
    let outcome = proptest::test_runner::TestRunner::new(config)
        .run(&(draws(), 1..3_u8, lies()), |(draws, keys, lies)| test(draws, keys, lies));
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

#[test]
fn every_object_agrees_with_all_interleavings() {
    for spec in Spec::ALL {
        run(|draws, keys, lies| {
            let rows = broken(spec, &draws, keys, lies);
            prop_assume!(rows.operations.iter().any(|row| row.outcome == Outcome::Ok));
            let expected = exhaustive(spec, &rows);
            prop_assert!(expected || lies.is_some(), "what was played is consistent: {:#?}", rows);
            prop_assert_eq!(
                outcome(spec, &rows) != CheckOutcome::Violation,
                expected,
                "{}: {:#?}",
                spec,
                rows
            );
            if linearizable(spec, &rows.history(), &Budget::default()).unwrap().result.outcome
                == CheckOutcome::Valid
                && !has_tie(&rows)
            {
                prop_assert!(expected, "linearizable, so sequentially consistent: {}: {:#?}", spec, rows);
            }
            Ok(())
        });
    }
}

/// Equal stamps are concurrent to linearizability, also within a process.
fn has_tie(rows: &Rows) -> bool {
    processes(rows).iter().any(|all| all.windows(2).any(|pair| pair[0].ret >= Some(pair[1].call)))
}

#[test]
fn registers_agree_with_stateright() {
    run(|draws, _, lies| {
        let rows = broken(Spec::Register, &draws, 1, lies);
        prop_assume!(rows.operations.iter().any(|row| row.outcome == Outcome::Ok));
        let found = outcome(Spec::Register, &rows) != CheckOutcome::Violation;
        prop_assert_eq!(found, stateright(&rows), "{:#?}", rows);
        Ok(())
    });
}

/// Registers of values that are all different, where most is decided by inference.
#[test]
fn registers_of_different_values_agree_with_all_interleavings() {
    run(|draws, keys, lies| {
        let unique = |draw: Draw| {
            let (process, (function, first, second), pause, roll) = draw;
            (process, ([0, 2][usize::from(function % 2)], first, second & !1), pause, roll)
        };
        let draws: Vec<Draw> = draws.into_iter().map(unique).collect();
        let rows = broken(Spec::Register, &draws, keys, lies);
        prop_assume!(rows.operations.iter().any(|row| row.outcome == Outcome::Ok));
        let expected = exhaustive(Spec::Register, &rows);
        prop_assert_eq!(outcome(Spec::Register, &rows) != CheckOutcome::Violation, expected, "{:#?}", rows);
        Ok(())
    });
}
