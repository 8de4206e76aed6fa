//! Two oracles that share nothing with the search: an exhaustive one over raw JSON, and stateright's.

use std::collections::HashSet;

use history::{Nanos, Operation, Outcome};
use serde_json::Value;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use crate::linearizable::object::Object;
use crate::linearizable::objects::register::RegisterObject;
use crate::model::{Register, RegisterOp};
use crate::rows::Rows;

/// Tries every order of a register that is empty at first.
pub(super) fn exhaustive(history: &Rows) -> bool {
    exhaustive_from(history, &[Value::Null])
}

/// Tries every order from every one of some states.
pub(super) fn exhaustive_from(history: &Rows, states: &[Value]) -> bool {
    let operations: Vec<&Operation> =
        history.operations.iter().filter(|operation| operation.outcome != Outcome::Fail).collect();
    assert!(operations.len() <= 20, "the exhaustive oracle is for small histories");
    let mut failed = HashSet::new();
    states.iter().any(|state| some_order(&operations, 0, state, &mut failed))
}

/// `failed` remembers from where there is no order.
fn some_order(
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
        let next = after(operations[at], state);
        next.is_some_and(|next| some_order(operations, done | 1 << at, &next, failed))
    });
    if !explained {
        failed.insert((done, state.clone()));
    }
    explained
}

fn after(operation: &Operation, state: &Value) -> Option<Value> {
    let known = operation.outcome == Outcome::Ok;
    match operation.f.as_str() {
        "read" => (!known || operation.output == *state).then(|| state.clone()),
        "write" => Some(operation.input.clone()),
        _ => {
            let matched = *state == operation.input[0];
            let possible = !known || operation.output == Value::Bool(matched);
            possible.then(|| if matched { operation.input[1].clone() } else { state.clone() })
        }
    }
}

/// Asks stateright: dense threads, a fresh one after every unknown outcome (processes are never reused then).
pub(super) fn stateright(history: &Rows) -> bool {
    let operations = &history.history().operations;
    let object = RegisterObject::new(operations);
    let mut events = Vec::new();
    for (at, operation) in history.operations.iter().enumerate() {
        if operation.outcome == Outcome::Fail {
            continue;
        }
        let step = object.translate(operations, at).unwrap();
        if step.op == RegisterOp::Read && step.ret.is_none() {
            continue;
        }
        events.push((operation.call, false, at, step.op, None));
        events.extend(operation.effective_end().map(|end| (end, true, at, step.op, step.ret)));
    }
    events.sort_by_key(|(time, is_return, at, _, _)| (*time, *is_return, *at));
    let mut tester = LinearizabilityTester::new(Register::default());
    for (_, _, at, op, ret) in events {
        // A thread per operation is the real-time order and nothing else, also when a process returns and invokes at
        // the same stamp.
        match ret {
            None => tester.on_invoke(at, op).unwrap(),
            Some(ret) => tester.on_return(at, ret).unwrap(),
        };
    }
    tester.is_consistent()
}
