//! One operation as the search sees it, and where recorded operations become calls.

use history::{Nanos, Operations, Outcome};

use super::object::{CallOf, Object};
use crate::CheckError;
use crate::model::Effect;

/// One operation of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call<P, R> {
    /// The position in [`history::History::operations`].
    pub position: u32,
    pub op: P,
    /// What it observes if it takes effect; `None` when that is unknown.
    pub ret: Option<R>,
    pub start: Nanos,
    /// [`NEVER`] when it takes effect at any time after `start`, or not at all.
    end: Nanos,
}

/// The end of an operation of unknown outcome.
const NEVER: Nanos = Nanos(u64::MAX);

impl<P, R> Call<P, R> {
    pub(crate) fn new(position: u32, op: P, ret: Option<R>, start: Nanos, end: Option<Nanos>) -> Self {
        Self { position, op, ret, start, end: end.unwrap_or(NEVER) }
    }

    /// When it had certainly taken effect; `None` when it takes effect at any time after `start`, or never.
    pub(crate) fn end(&self) -> Option<Nanos> {
        (self.end != NEVER).then_some(self.end)
    }

    /// The same call with another result.
    pub(crate) fn with_ret(&self, ret: R) -> Self
    where
        P: Clone,
    {
        Self {
            position: self.position,
            op: self.op.clone(),
            ret: Some(ret),
            start: self.start,
            end: self.end,
        }
    }

    /// The same call with another question.
    pub(crate) fn with_op(&self, op: P) -> Self
    where
        R: Clone,
    {
        Self { position: self.position, op, ret: self.ret.clone(), start: self.start, end: self.end }
    }

    /// The end, where never is later than everything.
    pub(crate) fn end_or_never(&self) -> Nanos {
        self.end
    }

    pub(crate) fn set_end(&mut self, end: Option<Nanos>) {
        self.end = end.unwrap_or(NEVER);
    }

    /// Whether it has certainly happened.
    pub(crate) fn is_certain(&self) -> bool {
        self.end != NEVER
    }

    pub(crate) fn ended_before(&self, moment: Nanos) -> bool {
        self.end < moment && self.is_certain()
    }
}

/// The calls of some operations, without those that cannot matter: what failed did not happen, and a read of unknown
/// outcome neither changes nor tells anything.
///
/// # Errors
/// When an operation is not one of the object's.
pub(crate) fn calls_of<O: Object>(
    object: &O,
    operations: &Operations,
    positions: &[u32],
) -> Result<Vec<CallOf<O>>, CheckError> {
    let mut calls = Vec::with_capacity(positions.len());
    for &position in positions {
        let at = position as usize;
        if operations.outcome(at) == Outcome::Fail {
            continue;
        }
        let step = object.translate(operations, at)?;
        let end = completion(operations, at)?;
        let call = Call::new(position, step.op, step.ret, operations.call(at), end);
        if matters(object, &call) {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// Whether leaving the call out could change the verdict.
pub(crate) fn matters<O: Object>(object: &O, call: &CallOf<O>) -> bool {
    call.is_certain() || object.effect(&call.op, call.ret.as_ref()) != Effect::Pure
}

/// When an operation that is `ok` completed.
pub(crate) fn completion(operations: &Operations, at: usize) -> Result<Option<Nanos>, CheckError> {
    if operations.outcome(at) != Outcome::Ok {
        return Ok(None);
    }
    match operations.ret(at) {
        None => Err(CheckError::NoCompletion { index: operations.index(at) }),
        Some(end) if end < operations.call(at) => {
            Err(CheckError::EndsBeforeCall { index: operations.index(at) })
        }
        Some(end) => Ok(Some(end)),
    }
}
