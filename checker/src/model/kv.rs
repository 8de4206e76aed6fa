//! One key of a key-value store of strings: get, put, append, compare-and-set, delete.

use std::sync::Arc;

use super::{Effect, Model, SequentialSpec};

/// What the key holds; nothing at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Kv(pub Option<Arc<str>>);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KvOp {
    /// What does it hold?
    Get,
    /// Hold this.
    Put(Arc<str>),
    /// Hold this at the end of what is there; nothing counts as the empty string.
    Append(Arc<str>),
    /// Hold `new` if it holds `expected`.
    Cas {
        /// What must be there.
        expected: Option<Arc<str>>,
        /// What replaces it.
        new: Arc<str>,
    },
    /// Hold nothing.
    Delete,
}

/// What a client observes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KvRet {
    /// What was read.
    Got(Option<Arc<str>>),
    /// It happened.
    Done,
    /// Whether the expected value was there.
    Swapped(bool),
}

impl SequentialSpec for Kv {
    type Op = KvOp;
    type Ret = KvRet;

    fn invoke(&mut self, op: &KvOp) -> KvRet {
        match op {
            KvOp::Get => return KvRet::Got(self.0.clone()),
            KvOp::Put(value) => self.0 = Some(Arc::clone(value)),
            KvOp::Append(suffix) => {
                let before = self.0.as_deref().unwrap_or_default();
                self.0 = Some([before, suffix].concat().into());
            }
            KvOp::Cas { expected, new } => {
                let matched = self.0 == *expected;
                if matched {
                    self.0 = Some(Arc::clone(new));
                }
                return KvRet::Swapped(matched);
            }
            KvOp::Delete => self.0 = None,
        }
        KvRet::Done
    }
}

impl Model for Kv {
    fn effect(op: &KvOp, ret: Option<&KvRet>) -> Effect {
        match (op, ret) {
            (KvOp::Get, _) | (KvOp::Cas { .. }, Some(KvRet::Swapped(false))) => Effect::Pure,
            (KvOp::Put(_) | KvOp::Delete, None | Some(KvRet::Done)) => Effect::Overwrite,
            _ => Effect::General,
        }
    }
}
