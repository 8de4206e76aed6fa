//! From a recorded history to independent partitions, one per key.
//!
//! Splitting by key is exact for objects that are independent (P-compositionality: Herlihy and Wing's locality, as
//! used by Horn and Kroening). Failed operations did not happen and are left out. A read of unknown outcome neither
//! changes nor tells anything and is left out, too.

use std::collections::BTreeMap;

use history::{History, Nanos, Operation, Outcome};

use super::object::Object;
use super::problem::{Call, Problem};
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
    /// The recorded calls up to the time of an event of the simplified ones.
    pub(crate) fn until_event(&self, at: usize) -> Suspects {
        let event = Problem::new(&self.simplified).events[at];
        let call = &self.simplified[event.call as usize];
        let last = if event.is_return { call.end.unwrap_or(call.start) } else { call.start };
        let is_heard_of = |call: &&Call<M>| call.start <= last;
        Suspects {
            positions: self.calls.iter().filter(is_heard_of).map(|call| call.position).collect(),
            last,
        }
    }

    /// Some of the recorded calls, up to the end of all of them.
    pub(crate) fn among(&self, positions: Vec<usize>) -> Suspects {
        let is_meant = |call: &&Call<M>| positions.contains(&call.position);
        let last = self.calls.iter().filter(is_meant).filter_map(|call| call.end).max();
        Suspects { last: last.unwrap_or(Nanos(u64::MAX)), positions }
    }

    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        ((self.calls.len() + self.simplified.len()) * size_of::<Call<M>>()) as u64
    }
}

/// Recorded calls that no order explains, already up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// Their positions in the history, ascending.
    pub positions: Vec<usize>,
    /// What ended later may as well never have happened.
    pub last: Nanos,
}

/// Splits a history by key, in the order of the keys.
pub(crate) fn split<O: Object>(
    object: &mut O,
    history: &History,
) -> Result<Vec<Partition<O::Model>>, CheckError> {
    let mut partitions: BTreeMap<Option<&str>, Vec<Call<O::Model>>> = BTreeMap::new();
    for (position, operation) in history.operations.iter().enumerate() {
        let end = completion(operation)?;
        let step = object.translate(operation)?;
        let call = Call { position, op: step.op, ret: step.ret, start: operation.call, end };
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
    call.is_certain() || call.effect() != Effect::Pure
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
