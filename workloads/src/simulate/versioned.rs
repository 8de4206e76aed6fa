//! Registers with versions: reads, writes and compare-and-sets of the version, in thirds. One revision counts the
//! changes of all keys, as etcd's does, so the versions of a key grow with gaps.

use serde_json::{Value, json};

use super::model::{Model, Turn, key_name};
use super::register::{Call, Deed};
use super::stale::{Role, stale_read};
use super::window::{Forgery, Window};

/// Many registers, empty and of version 0 at first.
pub(super) struct Versioned {
    states: Vec<State>,
    revision: u64,
}

#[derive(Clone, Copy, Default)]
struct State {
    value: Option<u64>,
    version: u64,
}

impl Versioned {
    pub(super) fn new(keys: usize) -> Self {
        Self { states: vec![State::default(); keys], revision: 0 }
    }

    fn change(&mut self, key: usize, value: u64) -> Value {
        self.revision += 1;
        self.states[key] = State { value: Some(value), version: self.revision };
        Value::from(self.revision)
    }
}

impl Model for Versioned {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let new = turn.serial + 1;
        let deed = match turn.dice.below(3) {
            0 => Deed::Read,
            1 => Deed::Write(new),
            // As fresh as a client can know it; it matches unless another change comes first.
            _ => Deed::Cas { expected: self.states[turn.key].version, new },
        };
        Call { key: turn.key, deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        let State { value, version } = self.states[call.key];
        match call.deed {
            Deed::Read => json!([value, version]),
            Deed::Write(new) => self.change(call.key, new),
            Deed::Cas { expected, new } if expected == version => self.change(call.key, new),
            Deed::Cas { .. } => Value::Bool(false),
        }
    }

    fn function(&self, call: &Call) -> &'static str {
        call.deed.function()
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(call: &Call) -> Value {
        call.deed.argument()
    }

    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let (at, state) = stale_read(window, from, role)?;
        Some(Forgery::one(at, state, "a read returns a version that had certainly been overwritten"))
    }
}

/// Versions of a key grow, so a value with its version never comes back.
fn role(call: &Call, observed: &Value) -> Role {
    let key = call.key;
    match call.deed {
        Deed::Read => Role::Read { key },
        Deed::Write(new) | Deed::Cas { new, .. } if observed.is_u64() => {
            Role::Write { key, state: Some(json!([new, observed])) }
        }
        Deed::Write(_) | Deed::Cas { .. } => Role::Other,
    }
}
