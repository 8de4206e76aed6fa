//! The lock as a recorded object: `acquire` and `release`.

use history::{Operations, ValueId};

use super::super::calls::Call;
use super::super::object::{CallOf, Case, Object, Step, malformed_output, unknown_function};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::{Mutex, MutexOp, MutexRet};

mod cases;

/// A call of a lock.
type LockCall = Call<MutexOp, MutexRet>;

/// A lock per key. `false` is observed by who was refused.
#[derive(Debug)]
pub(crate) struct MutexObject;

impl Object for MutexObject {
    specified_by!(Mutex);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let op = match function(operations, at) {
            "acquire" => MutexOp::Acquire,
            "release" => MutexOp::Release,
            _ => return Err(unknown_function(operations, at, "lock", "`acquire` and `release`")),
        };
        let output = operations.output(at);
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            _ if output == ValueId::FALSE => Some(MutexRet::Refused),
            MutexOp::Release => Some(MutexRet::Released),
            MutexOp::Acquire if output.is_absent() || output == ValueId::TRUE => {
                Some(MutexRet::Acquired(None))
            }
            MutexOp::Acquire => {
                let token = operations.values().integer(output).and_then(|token| u64::try_from(token).ok());
                let expected = "a fencing token (a positive integer), null, or false (it was refused)";
                let token = token.ok_or_else(|| malformed_output(operations, at, expected))?;
                Some(MutexRet::Acquired(Some(token)))
            }
        };
        Ok(Step { op, ret })
    }

    /// Free and held, after no token: whatever a larger token allows is allowed by a smaller one, too. How many tokens
    /// acquires of unknown outcome took is not known, so the smallest that was told says nothing.
    fn any_start(&self, _calls: &[CallOf<Self>]) -> Vec<Mutex> {
        [false, true].map(|is_held| Mutex { is_held, token: 0 }).to_vec()
    }

    fn show_states(&self, states: &[Mutex]) -> String {
        let show = |state: &Mutex| {
            let held = if state.is_held { "held" } else { "free" };
            match state.token {
                0 => held.to_owned(),
                token => format!("{held}, after token {token}"),
            }
        };
        format!("the lock is {}", states.iter().map(show).collect::<Vec<_>>().join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        match (call.op, call.ret) {
            (MutexOp::Acquire, Some(MutexRet::Acquired(Some(token)))) => format!("acquire, token {token}"),
            (MutexOp::Acquire, Some(MutexRet::Refused)) => "acquire, refused".to_owned(),
            (MutexOp::Acquire, _) => "acquire".to_owned(),
            (MutexOp::Release, Some(MutexRet::Refused)) => "release, refused".to_owned(),
            (MutexOp::Release, _) => "release".to_owned(),
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}
