//! Every object once more, over raw JSON and as plainly as possible: what the oracles of all checks share, and what shares
//! nothing with the models.

use history::{Operation, Outcome};
use serde_json::{Value, json};

use crate::Spec;

/// The state at the beginning.
pub(crate) fn empty(spec: Spec) -> Value {
    match spec {
        Spec::Register | Spec::Kv => Value::Null,
        Spec::VersionedRegister => json!([null, 0]),
        Spec::Counter => json!(0),
        Spec::Mutex => json!([false, 0]),
        _ => json!([]),
    }
}

/// What an operation does and observes. Versions and tokens grow by one.
pub(crate) fn apply(spec: Spec, f: &str, input: &Value, state: &Value) -> (Value, Value) {
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
pub(crate) fn steps(spec: Spec, operation: &Operation, state: &Value) -> Vec<Value> {
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
            let possible = (version + 1..version + 13).filter(|_| matches).map(|next| json!(next));
            nexts.extend(
                possible.filter(|next| !known || *next == operation.output).map(|next| json!([new, next])),
            );
            nexts
        }
        _ if known && operation.output != output => vec![],
        _ => vec![after],
    }
}
