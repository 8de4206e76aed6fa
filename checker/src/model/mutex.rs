//! A lock with fencing tokens: whoever acquires it gets a larger token than everybody before.

use super::{Effect, Model, SequentialSpec};

/// Whether somebody holds the lock, and the largest token that was handed out; free, and 0 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mutex {
    /// Somebody holds it.
    pub is_held: bool,
    /// No token that is handed out from here on is this small.
    pub token: u64,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MutexOp {
    /// Hold it.
    Acquire,
    /// Let it go.
    Release,
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MutexRet {
    /// It is held, with this token where the lock hands out tokens.
    Acquired(Option<u64>),
    /// It was let go.
    Released,
    /// Nobody held it, or somebody else did.
    Refused,
}

impl SequentialSpec for Mutex {
    type Op = MutexOp;
    type Ret = MutexRet;

    fn invoke(&mut self, op: &MutexOp) -> MutexRet {
        let wanted = *op == MutexOp::Acquire;
        if wanted == self.is_held {
            return MutexRet::Refused;
        }
        self.is_held = wanted;
        self.token = self.token.saturating_add(u64::from(wanted));
        if wanted { MutexRet::Acquired(Some(self.token)) } else { MutexRet::Released }
    }

    fn is_valid_step(&mut self, op: &MutexOp, ret: &MutexRet) -> bool {
        match (op, ret) {
            (MutexOp::Acquire, MutexRet::Acquired(token)) => {
                let fits = !self.is_held && token.is_none_or(|token| token > self.token);
                *self = Self { is_held: true, token: token.unwrap_or(self.token) };
                fits
            }
            (MutexOp::Release, MutexRet::Released) => std::mem::take(&mut self.is_held),
            (MutexOp::Acquire, MutexRet::Refused) => self.is_held,
            (MutexOp::Release, MutexRet::Refused) => !self.is_held,
            _ => false,
        }
    }
}

impl Model for Mutex {
    fn effect(_op: &MutexOp, ret: Option<&MutexRet>) -> Effect {
        if ret == Some(&MutexRet::Refused) { Effect::Pure } else { Effect::General }
    }
}
