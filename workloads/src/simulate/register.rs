//! Registers: half reads, half writes of values that are all different; or reads, writes and compare-and-sets of
//! few values, in thirds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::few_values;
use super::model::{Fate, Model, Turn, key_name};
use super::stale::{Role, stale_read};
use super::window::{Forgery, Window};

/// Many registers, empty at first.
pub(super) struct Register {
    states: Vec<Option<u64>>,
    mix: Mix,
    /// Which values an operation of unknown outcome may write, ever; kept where values are few.
    doubtful: Vec<BTreeSet<u64>>,
}

#[derive(Clone, Copy)]
enum Mix {
    Unique,
    Few { values: u64 },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub key: usize,
    pub deed: Deed,
}

/// What is done to a register; what a compare-and-set expects is a value, or a version.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Read,
    Write(u64),
    Cas { expected: u64, new: u64 },
}

impl Register {
    pub(super) fn of_unique_values(keys: usize) -> Self {
        Self { states: vec![None; keys], mix: Mix::Unique, doubtful: Vec::new() }
    }

    /// Values are the integers below `values`.
    pub(super) fn of_few_values(keys: usize, values: u64) -> Self {
        Self { states: vec![None; keys], mix: Mix::Few { values }, doubtful: vec![BTreeSet::new(); keys] }
    }

    fn draw(&mut self, turn: &mut Turn<'_>) -> Deed {
        match self.mix {
            Mix::Unique if turn.dice.below(2) == 0 => Deed::Read,
            Mix::Unique => Deed::Write(turn.serial + 1),
            Mix::Few { values } => match turn.dice.below(3) {
                0 => Deed::Read,
                1 => Deed::Write(turn.dice.below(values)),
                _ => Deed::Cas { expected: turn.dice.below(values), new: turn.dice.below(values) },
            },
        }
    }
}

impl Deed {
    /// The value that the register may have afterwards because of this.
    pub(super) fn new_value(self) -> Option<u64> {
        match self {
            Self::Read => None,
            Self::Write(new) | Self::Cas { new, .. } => Some(new),
        }
    }

    /// The name of the function.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write(_) => "write",
            Self::Cas { .. } => "cas",
        }
    }

    /// The argument as the invocation records it.
    pub(super) fn argument(self) -> Value {
        match self {
            Self::Read => Value::Null,
            Self::Write(value) => Value::from(value),
            Self::Cas { expected, new } => json!([expected, new]),
        }
    }
}

impl Model for Register {
    type Call = Call;

    fn invoke(&mut self, mut turn: Turn<'_>) -> Call {
        let deed = self.draw(&mut turn);
        if turn.fate != Fate::Certain
            && let (Some(doubtful), Some(value)) = (self.doubtful.get_mut(turn.key), deed.new_value())
        {
            doubtful.insert(value);
        }
        Call { key: turn.key, deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        let state = &mut self.states[call.key];
        match call.deed {
            Deed::Read => json!(state),
            Deed::Write(value) => {
                *state = Some(value);
                Value::Null
            }
            Deed::Cas { expected, new } => {
                let matched = *state == Some(expected);
                if matched {
                    *state = Some(new);
                }
                Value::Bool(matched)
            }
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
        match self.mix {
            Mix::Unique => {
                let (at, state) = stale_read(window, from, role)?;
                Some(Forgery::one(at, state, "a read returns what had certainly been overwritten"))
            }
            Mix::Few { values } => few_values::stale_read(window, from, values, &self.doubtful),
        }
    }

    fn forge_bluntly(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        match self.mix {
            Mix::Unique => None,
            Mix::Few { .. } => few_values::emptied(window, from),
        }
    }
}

fn role(call: &Call, _observed: &Value) -> Role {
    let key = call.key;
    match call.deed {
        Deed::Read => Role::Read { key },
        Deed::Write(value) => Role::Write { key, state: Some(Value::from(value)) },
        Deed::Cas { .. } => Role::Other,
    }
}
