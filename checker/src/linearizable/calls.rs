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
    /// It takes effect between `start` and `end`, or it has nothing to do with the history: it happened before that began, or
    /// never.
    is_optional: bool,
}

/// The end of an operation of unknown outcome.
const NEVER: Nanos = Nanos(u64::MAX);

impl<P, R> Call<P, R> {
    pub(crate) fn new(position: u32, op: P, ret: Option<R>, start: Nanos, end: Option<Nanos>) -> Self {
        Self { position, op, ret, start, end: end.unwrap_or(NEVER), is_optional: end.is_none() }
    }

    /// The same call with another question and result.
    pub(crate) fn with<Q, S>(&self, op: Q, ret: Option<S>) -> Call<Q, S> {
        let Self { position, start, end, is_optional, .. } = *self;
        Call { position, op, ret, start, end, is_optional }
    }

    /// The latest moment at which it can take effect; `None` when that is any time after `start`.
    pub(crate) fn end(&self) -> Option<Nanos> {
        (self.end != NEVER).then_some(self.end)
    }

    /// The end, where never is later than everything.
    pub(crate) fn end_or_never(&self) -> Nanos {
        self.end
    }

    /// It certainly takes effect, by a moment.
    pub(crate) fn happens_by(&mut self, end: Nanos) {
        (self.end, self.is_optional) = (end, false);
    }

    /// It takes effect at any time after `start`, or never.
    pub(crate) fn may_happen(&mut self) {
        (self.end, self.is_optional) = (NEVER, true);
    }

    /// It takes effect in its time, or has nothing to do with the history.
    pub(crate) fn make_optional(&mut self) {
        self.is_optional = true;
    }

    /// Whether it certainly takes effect.
    pub(crate) fn is_certain(&self) -> bool {
        !self.is_optional
    }

    /// Whether it had certainly taken effect before a moment.
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
