//! Models: what an object does when nothing happens at the same time.
//!
//! A model is a stateright [`SequentialSpec`] whose states can be remembered, so that the same model serves model
//! checking with stateright and the judgement of recorded histories. [`Model::effect`] may tell the search more about an
//! operation; saying nothing ([`Effect::General`]) is always sound, only slower.

use std::fmt::Debug;
use std::hash::Hash;

pub use stateright::semantics::SequentialSpec;

pub mod append_list;
pub mod collection;
pub mod counter;
pub mod kv;
pub mod mutex;
pub mod register;
pub mod set;
pub mod versioned;

pub use append_list::{AppendList, AppendListOp, AppendListRet};
pub use collection::{Collection, CollectionOp, CollectionRet, Queue, Stack, UnorderedQueue};
pub use counter::{Counter, CounterOp, CounterRet};
pub use kv::{Kv, KvOp, KvRet};
pub use mutex::{Mutex, MutexOp, MutexRet};
pub use register::{Register, RegisterOp, RegisterRet};
pub use set::{Set, SetOp, SetRet};
pub use versioned::{VersionedOp, VersionedRegister, VersionedRet};

/// What an operation with a given result does to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Wherever the result is possible, the state stays as it is: a read, a compare-and-set that did not match.
    Pure,
    /// The result is possible in every state, and the state afterwards does not depend on the one before: a write.
    Overwrite,
    /// Anything else.
    General,
}

/// A sequential specification that the search can remember.
pub trait Model:
    SequentialSpec<Op: Clone + Eq + Hash + Debug, Ret: Clone + Eq + Debug> + Clone + Eq + Hash
{
    /// What the operation does, given its result; `None` is an unknown result. A wrong hint makes verdicts wrong, so a
    /// model that gives hints owes a test that they hold.
    fn effect(_op: &Self::Op, _ret: Option<&Self::Ret>) -> Effect {
        Effect::General
    }

    /// The state after the operation, `None` when it cannot have this result here. An unknown result is always
    /// possible.
    fn step(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<Self> {
        let mut next = self.clone();
        match ret {
            Some(ret) => next.is_valid_step(op, ret).then_some(next),
            None => {
                next.invoke(op);
                Some(next)
            }
        }
    }
}
