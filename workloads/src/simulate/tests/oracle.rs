//! Tries every order of the operations of a small history, key by key.

use std::collections::{BTreeMap, BTreeSet};

use super::object::{State, initial, step};
use super::recorded::{Operation, Recorded};
use crate::simulate::SimulatedModel;

/// More operations of a key would take too long.
const OPERATIONS_LIMIT: usize = 30;

pub(super) fn is_linearizable(model: SimulatedModel, recorded: &Recorded) -> bool {
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in recorded.operations() {
        keys.entry(operation.key.clone()).or_default().push(operation);
    }
    keys.values().all(|operations| {
        assert!(operations.len() <= OPERATIONS_LIMIT, "the oracle is for small histories");
        some_order(operations, 0, &initial(model), &mut BTreeSet::new())
    })
}

/// `failed` remembers from where there is no order.
fn some_order(
    operations: &[Operation],
    done: u32,
    state: &State,
    failed: &mut BTreeSet<(u32, State)>,
) -> bool {
    let left = || operations.iter().enumerate().filter(|(at, _)| done >> at & 1 == 0);
    let Some(first_end) =
        left().filter(|(_, operation)| operation.observed.is_some()).map(|(_, o)| o.end).min()
    else {
        return true;
    };
    if failed.contains(&(done, state.clone())) {
        return false;
    }
    let explained = left().filter(|(_, operation)| operation.call <= first_end).any(|(at, operation)| {
        let next = step(state, &operation.f, &operation.argument, operation.observed.as_ref());
        next.iter().any(|next| some_order(operations, done | 1 << at, next, failed))
    });
    if !explained {
        failed.insert((done, state.clone()));
    }
    explained
}
