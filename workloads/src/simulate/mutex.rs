//! Locks with fencing tokens. A client that holds one releases it with its next operation; any other tries to
//! acquire one, and gets `null` when it is held.
//!
//! When an acquisition of unknown outcome took effect nobody knows that the lock is held, and when a release of
//! unknown outcome did not, everybody thinks that it is free. Such a lock is released by whoever comes to it
//! next, so that it does not stay taken for the rest of the history; releases never meet a free lock.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Fate, Model, Turn, key_name};
use super::window::{Forgery, Phase, Window};

/// Many locks, free at first.
pub(super) struct Mutex {
    locks: Vec<Lock>,
    /// Which lock each client has to release.
    holding: Vec<Option<usize>>,
    token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Free,
    /// Its holder will release it.
    Held,
    /// Nobody will unless somebody steps in.
    Orphaned,
    /// A release is under way.
    Releasing,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    key: usize,
    client: usize,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Acquire { learns: bool },
    Release,
}

impl Mutex {
    pub(super) fn new(keys: usize, clients: usize) -> Self {
        Self { locks: vec![Lock::Free; keys], holding: vec![None; clients], token: 0 }
    }

    fn acquire(&mut self, call: &Call, learns: bool) -> Value {
        if self.locks[call.key] != Lock::Free {
            return Value::Bool(false);
        }
        self.locks[call.key] = if learns { Lock::Held } else { Lock::Orphaned };
        if learns {
            self.holding[call.client] = Some(call.key);
        }
        self.token += 1;
        Value::from(self.token)
    }
}

impl Model for Mutex {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let held = self.holding[turn.client].take();
        let key = held.unwrap_or(turn.key);
        if held.is_none() && self.locks[key] != Lock::Orphaned {
            let learns = turn.fate == Fate::Certain;
            return Call { key, client: turn.client, deed: Deed::Acquire { learns } };
        }
        self.locks[key] = if turn.fate == Fate::Never { Lock::Orphaned } else { Lock::Releasing };
        Call { key, client: turn.client, deed: Deed::Release }
    }

    fn apply(&mut self, call: &Call) -> Value {
        match call.deed {
            Deed::Acquire { learns } => self.acquire(call, learns),
            Deed::Release => {
                assert_eq!(
                    self.locks[call.key],
                    Lock::Releasing,
                    "invariant: one release of a lock that is held"
                );
                self.locks[call.key] = Lock::Free;
                Value::Null
            }
        }
    }

    fn function(&self, call: &Call) -> &'static str {
        match call.deed {
            Deed::Acquire { .. } => "acquire",
            Deed::Release => "release",
        }
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(_: &Call) -> Value {
        Value::Null
    }

    /// Why it is provable: tokens of a lock strictly grow, and the token that is given out again had been
    /// returned before the second acquisition was invoked.
    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let mut latest: BTreeMap<usize, u64> = BTreeMap::new();
        for moment in window.moments() {
            let key = moment.record.call.key;
            let Some(token) = moment.record.observed().and_then(Value::as_u64) else { continue };
            match (moment.phase, latest.get(&key)) {
                (Phase::Complete, _) => drop(latest.insert(key, token)),
                (Phase::Invoke, Some(earlier)) if moment.record.ordinal >= from => {
                    let lie = Value::from(*earlier);
                    return Some(Forgery::one(moment.at, lie, "a fencing token is given out twice"));
                }
                (Phase::Invoke, _) => {}
            }
        }
        None
    }
}
