//! Two oracles that share nothing with the search: an exhaustive one over raw JSON, and stateright's.

use std::collections::HashSet;

use history::{Operation, Outcome};
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

/// Tries every order of a register from every one of some states.
pub(super) fn exhaustive_from(history: &Rows, states: &[Value]) -> bool {
    explains(history, states, |operation, state| Vec::from_iter(after(operation, state)))
}

/// Tries every order from every one of some states; `steps` says which states an operation may leave.
pub(super) fn explains(
    history: &Rows,
    states: &[Value],
    steps: impl Fn(&Operation, &Value) -> Vec<Value>,
) -> bool {
    let did_not_fail = |operation: &&Operation| operation.outcome != Outcome::Fail;
    let operations: Vec<&Operation> = history.operations.iter().filter(did_not_fail).collect();
    assert!(operations.len() <= 20, "the exhaustive oracle is for small histories");
    let mut orders = Orders { operations, steps, failed: HashSet::new() };
    states.iter().any(|state| orders.any(0, state))
}

struct Orders<'a, S> {
    operations: Vec<&'a Operation>,
    steps: S,
    /// What was done, and the state, from where there is no order.
    failed: HashSet<(u32, Value)>,
}

impl<S: Fn(&Operation, &Value) -> Vec<Value>> Orders<'_, S> {
    /// Whether some order of what is not done yet explains its results.
    fn any(&mut self, done: u32, state: &Value) -> bool {
        let left: Vec<usize> = (0..self.operations.len()).filter(|at| done >> at & 1 == 0).collect();
        let ends = left.iter().filter_map(|at| self.operations[*at].effective_end());
        let Some(earliest_end) = ends.min() else { return true };
        if self.failed.contains(&(done, state.clone())) {
            return false;
        }
        let explained = left.into_iter().any(|at| {
            self.operations[at].call <= earliest_end && {
                let nexts = (self.steps)(self.operations[at], state);
                nexts.iter().any(|next| self.any(done | 1 << at, next))
            }
        });
        if !explained {
            self.failed.insert((done, state.clone()));
        }
        explained
    }
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
