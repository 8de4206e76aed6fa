//! What the simulator asks of an object, and the names of the objects there are.
//!
//! A model is a plain sequential object with many keys: it words an operation when a client turns to it, applies it
//! when it takes effect, and knows which observation would be a provable lie. It neither knows stamps nor draws from
//! any other source than the dice it is handed.

use std::fmt;
use std::str::FromStr;

use checker::Spec;
use serde_json::Value;

use super::window::{Forgery, Window};
use crate::Stream;

/// An object that clients can be simulated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimulatedModel {
    /// The object of this name; of a register, reads and writes of unique values.
    Of(Spec),
    /// A register with reads, writes and compare-and-sets of few values.
    CasRegister,
}

impl SimulatedModel {
    /// Every model.
    pub const ALL: [Self; Spec::ALL.len() + 1] = {
        let mut all = [Self::CasRegister; Spec::ALL.len() + 1];
        let mut at = 0;
        while at < Spec::ALL.len() {
            all[at] = Self::Of(Spec::ALL[at]);
            at += 1;
        }
        all
    };

    /// The name on the command line and in the header of a history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Of(spec) => spec.name(),
            Self::CasRegister => "cas-register",
        }
    }

    /// What [`values`](super::Simulation::values) is unless it is chosen; `None` for models that do not read it.
    pub fn default_values(self) -> Option<u64> {
        match self {
            Self::CasRegister => Some(5),
            Self::Of(Spec::Set) => Some(20),
            _ => None,
        }
    }
}

impl fmt::Display for SimulatedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model `{name}`; known are {}", SimulatedModel::ALL.map(SimulatedModel::name).join(", "))]
pub struct UnknownModel {
    /// The name.
    pub name: String,
}

impl FromStr for SimulatedModel {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Self::ALL
            .into_iter()
            .find(|model| model.name() == name)
            .ok_or_else(|| UnknownModel { name: name.to_owned() })
    }
}

/// When an operation takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Before it returns.
    Certain,
    /// Some time; its client never learns.
    Late,
    /// Never; its client does not learn that either.
    Never,
}

/// A client is about to invoke an operation.
pub(super) struct Turn<'a> {
    /// Whose turn it is, counted from 0; a client stays the same when it goes on as a new process.
    pub client: usize,
    /// The key that it was given.
    pub key: usize,
    /// How many operations were invoked before: a source of unique values.
    pub serial: u64,
    /// What will become of the operation.
    pub fate: Fate,
    /// Where to draw from.
    pub dice: &'a mut Stream,
}

/// A sequential object with many keys.
pub(super) trait Model {
    /// An operation: function, key and arguments, and what links it to its part of the state.
    type Call: Clone;

    /// The operation that a client invokes next.
    fn invoke(&mut self, turn: Turn<'_>) -> Self::Call;

    /// Lets an operation take effect; returns what it observes.
    fn apply(&mut self, call: &Self::Call) -> Value;

    /// The name of the function.
    fn function(&self, call: &Self::Call) -> &'static str;

    /// The name of the key.
    fn key(call: &Self::Call) -> String;

    /// The argument as the invocation records it.
    fn argument(call: &Self::Call) -> Value;

    /// The first lie in the window that its own operations prove, told by the `from`-th operation of the history or a
    /// later one.
    fn forge(&self, window: &Window<Self::Call>, from: u64) -> Option<Forgery>;

    /// The same, where [`Self::forge`] found nothing for long: a lie that is easier to prove, and easier to see.
    fn forge_bluntly(&self, _window: &Window<Self::Call>, _from: u64) -> Option<Forgery> {
        None
    }
}

/// The name of a key of most models.
pub(super) fn key_name(key: usize) -> String {
    format!("k{key}")
}
