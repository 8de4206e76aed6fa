//! Strings by key: of a hundred operations 40 gets, 15 puts, 25 appends, 10 compare-and-sets, 10 deletions.
//!
//! Every operation that writes brings a token of its own, its number and a comma, so a string tells which
//! operations made it, and no string comes about twice. A client that finds a long string puts instead of
//! appending, so strings, and with them the file, stay short.

use serde_json::{Value, json};

use super::model::{Model, Turn, key_name};
use super::stale::{Role, stale_read};
use super::window::{Forgery, Window};

/// A string that is so long is not appended to.
const LONG_BYTES: usize = 48;

/// Many strings, absent at first.
pub(super) struct Kv {
    states: Vec<Option<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    key: usize,
    deed: Deed,
}

#[derive(Debug, Clone)]
enum Deed {
    Get,
    Put(String),
    Append(String),
    Cas { expected: Option<String>, new: String },
    Delete,
}

impl Kv {
    pub(super) fn new(keys: usize) -> Self {
        Self { states: vec![None; keys] }
    }
}

impl Model for Kv {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let state = &self.states[turn.key];
        let token = format!("{},", turn.serial);
        let deed = match turn.dice.below(100) {
            0..40 => Deed::Get,
            40..55 => Deed::Put(token),
            55..80 if state.as_ref().is_some_and(|string| string.len() >= LONG_BYTES) => Deed::Put(token),
            55..80 => Deed::Append(token),
            // As fresh as a client can know it; it matches unless another change comes first.
            80..90 => Deed::Cas { expected: state.clone(), new: token },
            _ => Deed::Delete,
        };
        Call { key: turn.key, deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        let state = &mut self.states[call.key];
        match &call.deed {
            Deed::Get => return json!(state),
            Deed::Put(token) => *state = Some(token.clone()),
            Deed::Append(token) => state.get_or_insert_default().push_str(token),
            Deed::Cas { expected, new } => {
                let matched = state == expected;
                if matched {
                    *state = Some(new.clone());
                }
                return Value::Bool(matched);
            }
            Deed::Delete => *state = None,
        }
        Value::Null
    }

    fn function(&self, call: &Call) -> &'static str {
        match call.deed {
            Deed::Get => "get",
            Deed::Put(_) => "put",
            Deed::Append(_) => "append",
            Deed::Cas { .. } => "cas",
            Deed::Delete => "delete",
        }
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(call: &Call) -> Value {
        match &call.deed {
            Deed::Get | Deed::Delete => Value::Null,
            Deed::Put(token) | Deed::Append(token) => Value::from(token.as_str()),
            Deed::Cas { expected, new } => json!([expected, new]),
        }
    }

    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let (at, state) = stale_read(window, from, role)?;
        Some(Forgery::one(at, state, "a get returns what had certainly been overwritten"))
    }
}

/// After a put or a matching compare-and-set the string is its token alone, which comes from nowhere else: an
/// append of another token to the absent string makes another string. Deletions and appends certainly change
/// the string, but what it is afterwards they cannot tell, and absence comes back.
fn role(call: &Call, observed: &Value) -> Role {
    let key = call.key;
    match &call.deed {
        Deed::Get => Role::Read { key },
        Deed::Cas { .. } if *observed == Value::Bool(false) => Role::Other,
        Deed::Put(token) | Deed::Cas { new: token, .. } => {
            Role::Write { key, state: Some(Value::from(token.as_str())) }
        }
        Deed::Append(_) | Deed::Delete => Role::Write { key, state: None },
    }
}
