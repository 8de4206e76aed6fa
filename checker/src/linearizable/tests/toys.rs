//! Every object once more, over raw JSON and as plainly as possible: the oracle that shares nothing with the models.

use history::{Nanos, Operation, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashSet;

use super::simulate::operation;
use crate::linearizable::stream::tests::streamed;
use crate::rows::Rows;
use crate::{Budget, CheckOutcome, Spec, linearizable};

/// The state at the beginning.
fn empty(spec: Spec) -> Value {
    match spec {
        Spec::Register | Spec::Kv => Value::Null,
        Spec::VersionedRegister => json!([null, 0]),
        Spec::Counter => json!(0),
        Spec::Mutex => json!([false, 0]),
        _ => json!([]),
    }
}

/// What an operation does and observes. Versions and tokens grow by one.
fn apply(spec: Spec, f: &str, input: &Value, state: &Value) -> (Value, Value) {
    let done = |state: Value| (state, Value::Null);
    let same = |output: Value| (state.clone(), output);
    let list = || state.as_array().cloned().unwrap_or_default();
    let with = |element: &Value| json!([list(), vec![element.clone()]].concat());
    match (spec, f) {
        (Spec::VersionedRegister, "read") => same(state.clone()),
        (Spec::VersionedRegister, "write") => {
            let version = json!(state[1].as_u64().unwrap() + 1);
            (json!([input, version]), version)
        }
        (Spec::VersionedRegister, _) if state[1] != input[0] => same(json!(false)),
        (Spec::VersionedRegister, _) => apply(spec, "write", &input[1], state),
        (Spec::Set, "add") if list().contains(input) => done(state.clone()),
        (Spec::Set, "remove") => done(list().into_iter().filter(|element| element != input).collect()),
        (Spec::Set, "contains") => same(json!(list().contains(input))),
        (Spec::Counter, "add") => done(json!(state.as_i64().unwrap() + input.as_i64().unwrap())),
        (Spec::Mutex, "acquire") if state[0] == true => same(json!(false)),
        (Spec::Mutex, "acquire") => {
            let token = json!(state[1].as_u64().unwrap() + 1);
            (json!([true, token]), token)
        }
        (Spec::Mutex, _) if state[0] == false => same(json!(false)),
        (Spec::Mutex, _) => done(json!([false, state[1]])),
        (_, "read" | "get") => same(state.clone()),
        (_, "write" | "put") => done(input.clone()),
        (_, "delete") => done(Value::Null),
        (_, "cas") if *state == input[0] => (input[1].clone(), json!(true)),
        (_, "cas") => same(json!(false)),
        (Spec::Kv, "append") => {
            done(json!([state.as_str().unwrap_or_default(), input.as_str().unwrap()].concat()))
        }
        (_, "append" | "enqueue" | "push" | "add") => done(with(input)),
        (_, "dequeue" | "pop") if list().is_empty() => same(Value::Null),
        (_, "dequeue") => (json!(list()[1..]), list()[0].clone()),
        (_, "pop") => (json!(list()[..list().len() - 1]), list()[list().len() - 1].clone()),
        _ => panic!("no function {f}"),
    }
}

/// Everything that an operation may do to a state, given what it observed. Only here an object has choices: versions and
/// tokens may grow by any amount, and a queue without an order may give any element.
fn steps(spec: Spec, operation: &Operation, state: &Value) -> Vec<Value> {
    let (f, input) = (operation.f.as_str(), &operation.input);
    let known = operation.outcome == Outcome::Ok;
    let (after, output) = apply(spec, f, input, state);
    match (spec, f) {
        (Spec::UnorderedQueue, "dequeue") if known && operation.output.is_null() => {
            if after == json!([]) && *state == json!([]) { vec![after] } else { vec![] }
        }
        (Spec::UnorderedQueue, "dequeue") => {
            let list = state.as_array().unwrap();
            let mut nexts = Vec::new();
            for (at, element) in list.iter().enumerate() {
                if !known || operation.output == *element {
                    nexts.push(json!([&list[..at], &list[at + 1..]].concat()));
                }
            }
            if !known {
                nexts.push(state.clone())
            }
            nexts
        }
        (Spec::Set, "read") if known => {
            let sorted = |value: &Value| {
                let mut list: Vec<String> =
                    value.as_array().unwrap().iter().map(ToString::to_string).collect();
                list.sort();
                list
            };
            if sorted(state) == sorted(&operation.output) { vec![state.clone()] } else { vec![] }
        }
        (Spec::Mutex, "acquire") if known && operation.output.is_u64() => {
            let fits = state[0] == false && operation.output.as_u64() > state[1].as_u64();
            if fits { vec![json!([true, operation.output])] } else { vec![] }
        }
        (Spec::VersionedRegister, "write" | "cas") if !known || operation.output.is_u64() => {
            let version = state[1].as_u64().unwrap();
            let (matches, new) = if f == "cas" { (state[1] == input[0], &input[1]) } else { (true, input) };
            let mut nexts = if matches || known { vec![] } else { vec![state.clone()] };
            let possible = (version + 1..version + 9).filter(|_| matches).map(|next| json!(next));
            nexts.extend(
                possible.filter(|next| !known || *next == operation.output).map(|next| json!([new, next])),
            );
            nexts
        }
        _ if known && operation.output != output => vec![],
        _ => vec![after],
    }
}

/// Tries every order.
fn exhaustive(spec: Spec, rows: &[Operation]) -> bool {
    let operations: Vec<&Operation> = rows.iter().filter(|row| row.outcome != Outcome::Fail).collect();
    assert!(operations.len() <= 16, "the exhaustive oracle is for small histories");
    some_order(spec, &operations, 0, &empty(spec), &mut HashSet::new())
}

fn some_order(
    spec: Spec,
    operations: &[&Operation],
    done: u32,
    state: &Value,
    failed: &mut HashSet<(u32, Value)>,
) -> bool {
    let left = || (0..operations.len()).filter(|at| done >> at & 1 == 0);
    let end = |at: usize| operations[at].effective_end();
    if left().all(|at| end(at).is_none()) {
        return true;
    }
    if failed.contains(&(done, state.clone())) {
        return false;
    }
    let earliest_end = left().filter_map(end).min().unwrap_or(Nanos(u64::MAX));
    let explained = left().filter(|at| operations[*at].call <= earliest_end).any(|at| {
        let nexts = steps(spec, operations[at], state);
        nexts.iter().any(|next| some_order(spec, operations, done | 1 << at, next, failed))
    });
    if !explained {
        failed.insert((done, state.clone()));
    }
    explained
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
        (Spec::VersionedRegister, 1) => ("write", json!(unique)),
        (Spec::VersionedRegister, _) => ("cas", json!([first % 4, unique])),
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
type Move = (usize, (u8, u8, u8), u8);

/// Plays moves: an idle client asks, one that asked gets its effect, one that has it gets its answer.
fn play(spec: Spec, moves: &[Move]) -> Rows {
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
                let mut row = operation(rows.operations.len() as u64, process, f, input);
                row.call = now;
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
fn lie(rows: &mut Rows, which: usize, whose: usize) {
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

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..4_usize, (any::<u8>(), any::<u8>(), any::<u8>()), any::<u8>());
    proptest::collection::vec(one, 6..30)
}

fn agrees(spec: Spec, moves: &[Move], lied: Option<(usize, usize)>) -> Result<(), TestCaseError> {
    let mut rows = play(spec, moves);
    if let Some((which, whose)) = lied {
        lie(&mut rows, which, whose);
    }
    prop_assume!(rows.operations.len() <= 12);
    let expected = exhaustive(spec, &rows.operations);
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
fn cases() -> u32 {
    std::env::var("SHAKEDOWN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4000)
}

#[test]
fn every_object_agrees_with_its_toy() {
    for spec in Spec::ALL {
        let config =
            ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
        let lied = proptest::option::weighted(0.8, (0..20_usize, 0..20_usize));
        let outcome = proptest::test_runner::TestRunner::new(config)
            .run(&(moves(), lied), |(moves, lied)| agrees(spec, &moves, lied));
        assert!(outcome.is_ok(), "{spec}: {}", outcome.unwrap_err());
    }
}
