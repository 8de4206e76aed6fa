//! Histories that are sequentially consistent by construction: one operation after another takes effect, but the
//! stamps of every process come from a clock of its own.

use history::{Nanos, Operation, Outcome};
use serde_json::{Value, json};

use crate::Spec;
use crate::plain::{apply, empty};
use crate::rows::{Rows, operation};

/// One operation: process, what it does, how long the process waits before it, how it ends.
pub(super) type Draw = (u8, (u8, u8, u8), u8, u8);

pub(super) fn row(index: usize, process: u32, f: &str, key: &str, input: Value) -> Operation {
    Operation { node: None, key: Some(key.to_owned()), ..operation(index as u64, process, f, input) }
}

/// What a process does next; `unique` is a value that nobody else writes.
fn question(spec: Spec, (function, first, second): (u8, u8, u8), unique: usize) -> (&'static str, Value) {
    let small = json!(first % 3);
    let value = if second.is_multiple_of(2) { json!(unique + 10) } else { small.clone() };
    let text = |n: u8| json!(["a", "b", "ab"][usize::from(n % 3)]);
    match (spec, function % 4) {
        (Spec::Register, 0 | 1) | (Spec::VersionedRegister, 0 | 1) | (Spec::Counter, 0 | 1) => {
            ("read", Value::Null)
        }
        (Spec::Register, 2) => ("write", value),
        (Spec::Register, _) => ("cas", json!([small, value])),
        (Spec::VersionedRegister, 2) => ("write", json!(unique + 10)),
        (Spec::VersionedRegister, _) => ("cas", json!([first % 4, unique + 10])),
        (Spec::Kv, 0 | 1) => ("get", Value::Null),
        (Spec::Kv, 2) if second.is_multiple_of(4) => ("append", text(first)),
        (Spec::Kv, 2) => ("put", json!(format!("{}", unique))),
        (Spec::Kv, _) if second.is_multiple_of(4) => ("delete", Value::Null),
        (Spec::Kv, _) => ("cas", json!([text(first), text(second)])),
        (Spec::Set, 0) => ("add", small),
        (Spec::Set, 1) => ("remove", small),
        (Spec::Set, 2) => ("contains", small),
        (Spec::Set | Spec::AppendList, 3) => ("read", Value::Null),
        (Spec::Counter, _) => ("add", json!(i64::from(first % 4) - 1)),
        (Spec::Queue | Spec::UnorderedQueue, 0 | 1) => ("enqueue", value),
        (Spec::Queue | Spec::UnorderedQueue, _) => ("dequeue", Value::Null),
        (Spec::Stack, 0 | 1) => ("push", value),
        (Spec::Stack, _) => ("pop", Value::Null),
        (Spec::Mutex, 0 | 1) => ("acquire", Value::Null),
        (Spec::Mutex, _) => ("release", Value::Null),
        (Spec::AppendList, 0) => ("read", Value::Null),
        (Spec::AppendList | Spec::Set, _) => ("append", value),
    }
}

/// Plays what was drawn on some keys. Operations of unknown outcome took effect or did not; their process is never used
/// again.
pub(super) fn play(spec: Spec, draws: &[Draw], processes: u32, keys: u8) -> Rows {
    let mut rows = Rows::default();
    let mut states = vec![empty(spec); usize::from(keys)];
    let mut clocks = vec![0_u64; processes as usize];
    let mut names: Vec<u32> = (0..processes).collect();
    let mut fresh = processes;
    for (at, (process, what, pause, roll)) in draws.iter().enumerate() {
        let process = usize::from(*process) % processes as usize;
        let key = what.1 / 3 % keys;
        let (f, input) = question(spec, *what, at);
        let mut operation = row(at, names[process], f, &format!("k{key}"), input);
        let clock = &mut clocks[process];
        operation.call = Nanos(*clock + u64::from(*pause % 4));
        *clock = operation.call.0 + u64::from(*pause / 4 % 4);
        operation.ret = Some(Nanos(*clock));
        operation.outcome = match roll {
            0..10 => Outcome::Fail,
            10..40 => Outcome::Info,
            _ => Outcome::Ok,
        };
        let state = &mut states[usize::from(key)];
        let (next, output) = apply(spec, f, &operation.input, state);
        match operation.outcome {
            Outcome::Ok => (*state, operation.output) = (next, output),
            Outcome::Info if roll.is_multiple_of(2) => *state = next,
            Outcome::Info | Outcome::Fail => {}
        }
        if operation.outcome == Outcome::Info {
            operation.ret = None;
            names[process] = fresh;
            fresh += 1;
        }
        rows.operations.push(operation);
    }
    rows.operations.sort_by_key(|operation| (operation.call, operation.process, operation.index));
    rows.operations.iter_mut().enumerate().for_each(|(at, operation)| operation.index = at as u64);
    rows
}

/// Gives an observation to another operation that could have made it; the history may be inconsistent afterwards.
pub(super) fn lie(rows: &mut Rows, which: usize, whose: usize) {
    let observes = |operation: &Operation| {
        operation.outcome == Outcome::Ok && (!operation.output.is_null() || operation.input.is_null())
    };
    let observed: Vec<usize> =
        (0..rows.operations.len()).filter(|at| observes(&rows.operations[*at])).collect();
    if observed.is_empty() {
        return;
    }
    let (to, from) = (observed[which % observed.len()], observed[whose % observed.len()]);
    if rows.operations[to].f == rows.operations[from].f {
        rows.operations[to].output = rows.operations[from].output.clone();
    }
}
