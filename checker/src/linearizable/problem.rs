//! One partition as the search sees it: calls and returns in real-time order, and a slot for every open operation.
//!
//! Equal stamps are concurrent, so calls come before returns at the same time. An operation of unknown outcome has no
//! return and keeps its slot to the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::Nanos;
use rustc_hash::FxHashMap;

use super::bits::WORD_BITS;
use crate::model::{Effect, Model};

/// One operation of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Call<M: Model> {
    /// The position in [`history::History::operations`].
    pub position: usize,
    pub op: M::Op,
    /// What it observes if it takes effect; `None` when that is unknown.
    pub ret: Option<M::Ret>,
    pub start: Nanos,
    /// `None` when it takes effect at any time after `start`, or never.
    pub end: Option<Nanos>,
}

impl<M: Model> Call<M> {
    /// Whether it has certainly happened.
    pub(crate) fn is_certain(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn effect(&self) -> Effect {
        M::effect(&self.op, self.ret.as_ref())
    }

    pub(crate) fn step(&self, state: &M) -> Option<M> {
        state.step(&self.op, self.ret.as_ref())
    }
}

/// A call or a return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub call: u32,
    pub slot: u32,
    pub is_return: bool,
}

/// The calls of a partition in real-time order.
#[derive(Debug)]
pub(super) struct Problem<'a, M: Model> {
    pub calls: &'a [Call<M>],
    pub effects: Vec<Effect>,
    pub events: Vec<Event>,
    /// For an operation that never returns, the slot of the latest earlier one that does the same.
    pub twins: Vec<Option<u32>>,
    /// The largest number of operations that are open at once.
    pub slots: usize,
}

impl<'a, M: Model> Problem<'a, M> {
    pub(super) fn new(calls: &'a [Call<M>]) -> Self {
        let mut order: Vec<(Nanos, bool, u32)> = Vec::with_capacity(calls.len() * 2);
        for (at, call) in calls.iter().enumerate() {
            let at = u32::try_from(at).expect("invariant: fewer than 2^32 operations in a history");
            order.push((call.start, false, at));
            order.extend(call.end.map(|end| (end, true, at)));
        }
        order.sort_unstable();
        let (events, slots) = give_slots(&order, calls.len());
        let mut problem =
            Self { calls, effects: calls.iter().map(Call::effect).collect(), events, twins: vec![], slots };
        problem.twins = problem.find_twins();
        problem
    }

    /// The words that a set of slots needs.
    pub(super) fn words(&self) -> usize {
        self.slots.div_ceil(WORD_BITS).max(1)
    }

    /// What it holds, in bytes, beside the calls.
    pub(super) fn bytes(&self) -> u64 {
        let per_event = size_of::<Event>() + size_of::<(Nanos, bool, u32)>();
        let per_call = size_of::<Effect>() + size_of::<Option<u32>>();
        (self.events.len() * per_event + self.calls.len() * per_call) as u64
    }

    fn find_twins(&self) -> Vec<Option<u32>> {
        let mut latest: FxHashMap<&M::Op, (&Call<M>, u32)> = FxHashMap::default();
        let mut twins = vec![None; self.calls.len()];
        for event in &self.events {
            let call = &self.calls[event.call as usize];
            if !call.is_certain() {
                let before = latest.insert(&call.op, (call, event.slot));
                let twin = before.filter(|(twin, _)| twin.ret == call.ret);
                twins[event.call as usize] = twin.map(|(_, slot)| slot);
            }
        }
        twins
    }
}

/// Gives every operation the lowest slot that is free while it is open.
fn give_slots(order: &[(Nanos, bool, u32)], calls: usize) -> (Vec<Event>, usize) {
    let mut slot_of = vec![0; calls];
    let mut free = BinaryHeap::new();
    let mut slots = 0;
    let mut events = Vec::with_capacity(order.len());
    for &(_, is_return, call) in order {
        let slot = &mut slot_of[call as usize];
        if is_return {
            free.push(Reverse(*slot));
        } else {
            *slot = free.pop().map_or(slots, |Reverse(slot)| slot);
            slots = slots.max(*slot + 1);
        }
        events.push(Event { call, slot: *slot, is_return });
    }
    (events, slots as usize)
}
