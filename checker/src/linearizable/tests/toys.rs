//! Small histories of every object against every order of them, with the plain objects of [`crate::plain`].

use history::{Nanos, Operation, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::explains;
use crate::linearizable::stream::tests::streamed;
use crate::plain::{apply, empty, steps};
use crate::rows::{Rows, operation};
use crate::{Budget, CheckOutcome, Spec, linearizable};

/// Tries every order.
fn exhaustive(spec: Spec, rows: &Rows) -> bool {
    explains(rows, &[empty(spec)], |operation, state| steps(spec, operation, state))
}

/// What a client does next.
fn question(spec: Spec, draw: (u8, u8, u8), unique: usize) -> (&'static str, Value) {
    let (function, first, second) = draw;
    let (small, other) = (json!(first % 3), json!(second % 3));
    let text = |n: u8| json!(["a", "b", "ab"][n as usize % 3]);
    // Half of the collections have different values, which is where short cuts apply.
    let element = if second & 4 == 0 { json!(unique) } else { small.clone() };
    match (spec, function % 4) {
        (Spec::Register, 0 | 3) | (Spec::VersionedRegister, 0 | 3) | (Spec::Counter, 0 | 1) => {
            ("read", Value::Null)
        }
        (Spec::Register, 1) => ("write", small),
        (Spec::Register, _) => ("cas", json!([small, other])),
        (Spec::VersionedRegister, 1) => ("write", element),
        (Spec::VersionedRegister, _) => ("cas", json!([first % 4, element])),
        (Spec::Kv, 0) => ("get", Value::Null),
        (Spec::Kv, 1) if second & 8 == 0 => ("put", text(first)),
        (Spec::Kv, 1) => ("delete", Value::Null),
        (Spec::Kv, 2) => ("append", text(first)),
        (Spec::Kv, _) => ("cas", json!([text(first), text(second)])),
        (Spec::Set, 0) => ("add", element),
        (Spec::Set, 1) if second & 8 == 0 => ("remove", small),
        (Spec::Set, 2) if second & 8 == 0 => ("contains", small),
        (Spec::Set, _) => ("read", Value::Null),
        (Spec::Counter, _) => ("add", json!(i64::from(first % 4) - 1)),
        (Spec::Queue | Spec::UnorderedQueue, 0 | 1) => ("enqueue", element),
        (Spec::Queue | Spec::UnorderedQueue, _) => ("dequeue", Value::Null),
        (Spec::Stack, 0 | 1) => ("push", element),
        (Spec::Stack, _) => ("pop", Value::Null),
        (Spec::Mutex, 0 | 1) => ("acquire", Value::Null),
        (Spec::Mutex, _) => ("release", Value::Null),
        (Spec::AppendList, 0 | 1) => ("append", element),
        (Spec::AppendList, _) => ("read", Value::Null),
    }
}

/// One move of a client: its number, what to ask, and a roll that may end an operation without an answer.
pub(super) type Move = (usize, (u8, u8, u8), u8);

/// Plays moves: an idle client asks, one that asked gets its effect, one that has it gets its answer.
pub(super) fn play(spec: Spec, moves: &[Move]) -> Rows {
    let mut rows = Rows::default();
    let mut state = empty(spec);
    let mut clients: Vec<(Option<usize>, bool)> = vec![(None, false); 4];
    let mut process = 4;
    for (now, (client, draw, roll)) in moves.iter().enumerate() {
        let now = Nanos(now as u64 / 2 * 2);
        let (open, effected) = &mut clients[*client];
        match (*open, *effected) {
            (None, _) => {
                let (f, input) = question(spec, *draw, rows.operations.len() + 10);
                let at = rows.operations.len() as u64;
                let row = Operation { call: now, ..operation(at, process, f, input) };
                process += 1;
                *open = Some(rows.operations.len());
                rows.operations.push(row);
            }
            (Some(_), false) if *roll < 30 => *open = None,
            (Some(at), false) => {
                let row = &mut rows.operations[at];
                (state, row.output) = apply(spec, &row.f, &row.input, &state);
                *effected = true;
            }
            (Some(at), true) => {
                let row = &mut rows.operations[at];
                if *roll >= 30 {
                    (row.ret, row.outcome) = (Some(now), Outcome::Ok);
                }
                (*open, *effected) = (None, false);
            }
        }
    }
    rows.operations.iter_mut().filter(|row| row.ret.is_none()).for_each(|row| row.output = Value::Null);
    rows
}

/// Gives an observation to another operation that could have made it.
pub(super) fn lie(rows: &mut Rows, which: usize, whose: usize) {
    let observed: Vec<usize> = (0..rows.operations.len())
        .filter(|at| rows.operations[*at].outcome == Outcome::Ok)
        .filter(|at| {
            !["write", "put", "add", "enqueue", "push", "append", "release", "remove", "delete"]
                .contains(&rows.operations[*at].f.as_str())
        })
        .collect();
    if observed.is_empty() {
        return;
    }
    let (to, from) = (observed[which % observed.len()], observed[whose % observed.len()]);
    if rows.operations[to].f == rows.operations[from].f {
        rows.operations[to].output = rows.operations[from].output.clone();
    }
}

fn verdict(spec: Spec, rows: &Rows) -> CheckOutcome {
    linearizable(spec, &rows.history(), &Budget::default()).unwrap().result.outcome
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..4_usize, (any::<u8>(), any::<u8>(), any::<u8>()), any::<u8>());
    proptest::collection::vec(one, 6..30)
}

fn agrees(spec: Spec, moves: &[Move], lied: Option<(usize, usize)>) -> Result<(), TestCaseError> {
    let mut rows = play(spec, moves);
    if let Some((which, whose)) = lied {
        lie(&mut rows, which, whose);
    }
    prop_assume!(rows.operations.len() <= 12);
    let expected = exhaustive(spec, &rows);
    prop_assert!(expected || lied.is_some(), "what was played is legal");
    prop_assert_eq!(verdict(spec, &rows) != CheckOutcome::Violation, expected, "{}: {:#?}", spec, rows);
    // However a history is cut, following it gives the same answer.
    let mut rolls = moves.iter().map(|(_, _, roll)| *roll).cycle();
    for cuts in [0, 64, 255] {
        let is_cut = || rolls.next().is_some_and(|roll| roll < cuts);
        if let Some(outcome) = streamed(spec, &rows, is_cut) {
            prop_assert_eq!(
                outcome != CheckOutcome::Violation,
                expected,
                "{} in a stream: {:#?}",
                spec,
                rows
            );
        }
    }
    Ok(())
}

/// How many histories per object; `SHAKEDOWN_CASES` asks for more.
pub(super) fn cases() -> u32 {
    std::env::var("SHAKEDOWN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4000)
}

#[test]
fn every_object_agrees_with_its_toy() {
    for spec in Spec::ALL {
        let config = ProptestConfig {
            cases: cases(),
            max_global_rejects: u32::MAX,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let lied = proptest::option::weighted(0.8, (0..20_usize, 0..20_usize));
        let outcome = proptest::test_runner::TestRunner::new(config)
            .run(&(moves(), lied), |(moves, lied)| agrees(spec, &moves, lied));
        assert!(outcome.is_ok(), "{spec}: {}", outcome.unwrap_err());
    }
}
