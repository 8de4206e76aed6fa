//! From a recorded history to independent partitions, one per key.
//!
//! Splitting by key is exact for objects that are independent (P-compositionality: Herlihy and Wing's locality, as
//! used by Horn and Kroening). Failed operations did not happen and are left out. A read of unknown outcome neither
//! changes nor tells anything and is left out, too.

use std::collections::BTreeMap;

use history::{History, Nanos, Operation, Outcome};

use super::object::Object;
use super::problem::{Call, Done, Problem};
use crate::CheckError;
use crate::model::{Effect, Model};

/// What happened to one key.
#[derive(Debug)]
pub(crate) struct Partition<M: Model> {
    pub key: Option<String>,
    /// Everything that matters, as recorded.
    pub calls: Vec<Call<M>>,
    /// The same for the verdict, but easier: see [`Object::simplify`].
    pub simplified: Vec<Call<M>>,
}

impl<M: Model> Partition<M> {
    /// When an event of the simplified calls happened.
    pub(crate) fn time_of_event(&self, at: usize) -> Nanos {
        let problem = Problem::new(&self.simplified);
        let event = problem.events[at];
        let call = &self.simplified[event.call as usize];
        if event.is_return { call.end().unwrap_or(call.start) } else { call.start }
    }

    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        ((self.calls.len() + self.simplified.len()) * size_of::<Call<M>>()) as u64
    }
}

/// Splits a history by key, in the order of the keys.
pub(crate) fn split<O: Object>(
    object: &mut O,
    history: &History,
) -> Result<Vec<Partition<O::Model>>, CheckError> {
    let mut partitions: BTreeMap<Option<&str>, Vec<Call<O::Model>>> = BTreeMap::new();
    for (position, operation) in history.operations.iter().enumerate() {
        let done_at = completion(operation)?;
        let step = object.translate(operation)?;
        let done = done_at.zip(step.ret).map(|(end, ret)| Done { ret, end });
        let call = Call { position, op: step.op, start: operation.call, done };
        let calls = partitions.entry(operation.key.as_deref()).or_default();
        if operation.outcome != Outcome::Fail && matters(&call) {
            calls.push(call);
        }
    }
    Ok(partitions.into_iter().map(|(key, calls)| partition(object, key, calls)).collect())
}

fn partition<O: Object>(object: &O, key: Option<&str>, calls: Vec<Call<O::Model>>) -> Partition<O::Model> {
    let mut simplified = calls.clone();
    object.simplify(&mut simplified, &object.initial());
    Partition { key: key.map(str::to_owned), calls, simplified }
}

/// Whether leaving the call out could change the verdict.
pub(super) fn matters<M: Model>(call: &Call<M>) -> bool {
    call.done.is_some() || call.effect() != Effect::Pure
}

/// When an operation that is `ok` completed.
pub(crate) fn completion(operation: &Operation) -> Result<Option<Nanos>, CheckError> {
    if operation.outcome != Outcome::Ok {
        return Ok(None);
    }
    match operation.ret {
        None => Err(CheckError::NoCompletion { index: operation.index }),
        Some(end) if end < operation.call => Err(CheckError::EndsBeforeCall { index: operation.index }),
        Some(end) => Ok(Some(end)),
    }
}
