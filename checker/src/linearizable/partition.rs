//! From a recorded history to independent partitions: one per key, and where the object of a key falls into independent
//! parts (the elements of a set), one per part.
//!
//! Splitting is exact for objects that are independent (P-compositionality: Herlihy and Wing's locality, as used by Horn
//! and Kroening). Partitions are lists of positions; calls are made from them when they are needed.

use history::{NameId, Nanos, Operations, ValueId};
use rustc_hash::FxHashMap;

use super::calls::{Call, calls_of};
use super::local::Stretch;
use super::object::{CallOf, Object};
use super::problem::Problem;
use crate::CheckError;

/// What happened to one key, or to one part of it.
#[derive(Debug)]
pub(crate) struct Partition {
    key: NameId,
    pub part: ValueId,
    /// The positions of its operations in the history, ascending; also of those that failed.
    pub positions: Vec<u32>,
}

impl Partition {
    /// The key, when there is one.
    pub(crate) fn key<'a>(&self, operations: &'a Operations) -> Option<&'a str> {
        operations.names().get(self.key)
    }

    /// Everything that matters, as recorded.
    pub(crate) fn calls<O: Object>(&self, object: &O, operations: &Operations) -> Vec<CallOf<O>> {
        calls_of(object, operations, &self.positions)
            .expect("invariant: every operation was translated when the history was split")
    }

    /// The same for the verdict, but easier: see [`Object::simplify`].
    pub(crate) fn simplified<O: Object>(&self, object: &O, operations: &Operations) -> Vec<CallOf<O>> {
        let mut calls = self.calls(object, operations);
        object.simplify(&mut calls, &object.initial());
        calls
    }

    /// What the list of its positions holds, in bytes.
    pub(crate) fn bytes_of_positions(&self) -> u64 {
        (self.positions.capacity() * size_of::<u32>() + ALLOCATION_BYTES) as u64
    }

    /// What its calls hold, in bytes.
    pub(crate) fn bytes<O: Object>(&self) -> u64 {
        (self.positions.len() * size_of::<CallOf<O>>()) as u64
    }
}

/// What the allocator keeps beside a block.
const ALLOCATION_BYTES: usize = 16;

/// What is known to have no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suspects<P, R> {
    /// The recorded calls, already without everything that ended later than this.
    Until(Nanos),
    /// A stretch of the recorded calls, from every state.
    Stretch(Stretch),
    /// These calls.
    Calls(Vec<Call<P, R>>),
}

/// Suspects of an object.
pub(crate) type SuspectsOf<O> = Suspects<<O as Object>::Op, <O as Object>::Ret>;

/// Everything up to the time of an event.
pub(super) fn until_event<O: Object>(problem: &Problem<'_, O>, at: usize) -> SuspectsOf<O> {
    let event = problem.events[at];
    let call = &problem.calls[event.call as usize];
    Suspects::Until(if event.is_return() { call.end().unwrap_or(call.start) } else { call.start })
}

/// Splits a history, in the order of the keys and parts.
///
/// # Errors
/// When an operation, also one that failed, is not one of the object's.
pub(crate) fn split<O: Object>(object: &O, operations: &Operations) -> Result<Vec<Partition>, CheckError> {
    let mut places: FxHashMap<(NameId, ValueId), usize> = FxHashMap::default();
    let mut partitions: Vec<Partition> = Vec::new();
    for at in 0..operations.len() {
        object.translate(operations, at)?;
        super::calls::completion(operations, at)?;
        let (key, part) = (operations.key(at), object.part(operations, at));
        let place = *places.entry((key, part)).or_insert_with(|| {
            partitions.push(Partition { key, part, positions: Vec::new() });
            partitions.len() - 1
        });
        let position = u32::try_from(at).expect("invariant: fewer than 2^32 operations in a history");
        partitions[place].positions.push(position);
    }
    partitions.sort_by_cached_key(|partition| (partition.key(operations).map(str::to_owned), partition.part));
    Ok(partitions)
}
