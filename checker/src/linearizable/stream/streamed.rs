//! What an object must know beside its meaning to be followed: which operations of unknown outcome can wait, and how to
//! rename the values that it remembers when the table of values is made anew.

use history::ValueId;
use rustc_hash::FxHashSet;

use super::super::object::{CallOf, Object, Removal};
use super::super::objects::counter::CounterObject;
use super::super::objects::mutex::MutexObject;
use super::super::objects::register::RegisterObject;
use super::super::objects::versioned::VersionedObject;
use crate::model::versioned::Version;
use crate::model::{Register, RegisterOp, RegisterRet, VersionedOp, VersionedRegister, VersionedRet};

/// Gives values their new numbers.
pub(super) type Rename<'a> = dyn FnMut(ValueId) -> ValueId + 'a;

/// An object that can be followed.
pub(super) trait Streamed: Object {
    /// For every call of unknown outcome, whether it cannot matter before the last of these calls ended, so that it may as
    /// well take effect later. Nothing is said about calls of known outcome.
    ///
    /// By default those that may be left out altogether: nobody among these calls needs what they leave.
    fn can_wait(&self, calls: &[CallOf<Self>], _states: &[Self::State]) -> Vec<bool> {
        self.removable(calls).into_iter().map(|removal| removal == Removal::Alone).collect()
    }

    /// The state with other numbers for its values.
    fn rename_state(_state: &mut Self::State, _new: &mut Rename<'_>) {}

    /// The call with other numbers for its values.
    fn rename_call(_op: &mut Self::Op, _ret: &mut Option<Self::Ret>, _new: &mut Rename<'_>) {}
}

impl Streamed for CounterObject {}

impl Streamed for MutexObject {}

impl Streamed for RegisterObject<'_> {
    fn rename_state(state: &mut Register, new: &mut Rename<'_>) {
        state.0 = new(state.0);
    }

    fn rename_call(op: &mut RegisterOp, ret: &mut Option<RegisterRet>, new: &mut Rename<'_>) {
        match op {
            RegisterOp::Read => {}
            RegisterOp::Write(value) => *value = new(*value),
            RegisterOp::Cas { expected, new: value } => {
                (*expected, *value) = (new(*expected), new(*value));
            }
        }
        if let Some(RegisterRet::Read(value)) = ret {
            *value = new(*value);
        }
    }
}

impl Streamed for VersionedObject<'_> {
    /// A write that nobody read and that has no version which anybody replaced. It has none of the versions that other
    /// operations have told, and none that the register had already reached.
    fn can_wait(&self, calls: &[CallOf<Self>], states: &[VersionedRegister]) -> Vec<bool> {
        let told: FxHashSet<u64> = calls.iter().filter_map(|call| told_version(call.ret)).collect();
        let reached = states.iter().map(|state| match state.version {
            Version::Is(version) | Version::Above { bound: version, .. } => version,
        });
        let reached = reached.min().unwrap_or_default();
        let needs_any = calls.iter().any(|call| match (call.op, call.ret) {
            (_, Some(VersionedRet::Mismatched)) => true,
            (VersionedOp::Cas { expected, .. }, _) => expected > reached && !told.contains(&expected),
            _ => false,
        });
        let read: FxHashSet<ValueId> = calls
            .iter()
            .filter_map(|call| match call.ret {
                Some(VersionedRet::Read(value, _)) => Some(value),
                _ => None,
            })
            .collect();
        let can_wait = |call: &CallOf<Self>| match call.op {
            VersionedOp::Write(value) | VersionedOp::Cas { new: value, .. } => {
                !needs_any && !read.contains(&value)
            }
            VersionedOp::Read => true,
        };
        calls.iter().map(can_wait).collect()
    }

    fn rename_state(state: &mut VersionedRegister, new: &mut Rename<'_>) {
        state.value = new(state.value);
    }

    fn rename_call(op: &mut VersionedOp, ret: &mut Option<VersionedRet>, new: &mut Rename<'_>) {
        match op {
            VersionedOp::Read => {}
            VersionedOp::Write(value) | VersionedOp::Cas { new: value, .. } => *value = new(*value),
        }
        if let Some(VersionedRet::Read(value, _)) = ret {
            *value = new(*value);
        }
    }
}

fn told_version(ret: Option<VersionedRet>) -> Option<u64> {
    match ret? {
        VersionedRet::Read(_, version) | VersionedRet::Written(version) => Some(version),
        VersionedRet::Mismatched => None,
    }
}
