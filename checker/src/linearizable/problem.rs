//! One partition as the search sees it: calls and returns in real-time order, and a place for every open operation.
//!
//! Equal stamps are concurrent, so calls come before returns at the same time. An operation that returns has a *slot* while
//! it is open. An operation of unknown outcome never returns; several that ask for the same are interchangeable, so they
//! are only counted, in a *lane*; one that has no like keeps a slot to the end. However many operations of unknown outcome
//! pile up, the search remembers a number per kind of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::Nanos;
use rustc_hash::FxHashMap;

use super::bits::{LANES_PER_WORD, WORD_BITS};
use super::object::{CallOf, Object};
use crate::model::Effect;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// An operation is called and takes a slot.
    Call,
    /// It returns and frees the slot.
    Return,
    /// An operation of unknown outcome is called and counted in a lane.
    Ghost,
}

/// A call or a return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub call: u32,
    /// A slot, or a lane.
    pub place: u32,
    pub kind: EventKind,
}

impl Event {
    pub(super) fn is_return(self) -> bool {
        self.kind == EventKind::Return
    }
}

/// The most operations of one lane; further ones with the same question are counted in another.
const LANE_LIMIT: u32 = u16::MAX as u32;

/// The calls of a partition in real-time order.
pub(super) struct Problem<'a, O: Object> {
    pub object: &'a O,
    pub calls: &'a [CallOf<O>],
    pub effects: Vec<Effect>,
    /// Equal numbers: the same question with the same result.
    pub kinds: Vec<u32>,
    pub events: Vec<Event>,
    /// The largest number of slots that are taken at once.
    pub slots: usize,
    /// For every lane one of its operations.
    pub lanes: Vec<u32>,
}

impl<'a, O: Object> Problem<'a, O> {
    pub(super) fn new(object: &'a O, calls: &'a [CallOf<O>]) -> Self {
        let effects = calls.iter().map(|call| object.effect(&call.op, call.ret.as_ref())).collect();
        let kinds = kinds::<O>(calls);
        let (lane_of, lanes) = give_lanes::<O>(calls, &kinds);
        let (events, slots) = give_slots(&order::<O>(calls), &lane_of);
        Self { object, calls, effects, kinds, events, slots, lanes }
    }

    /// The words that hold the slots.
    pub(super) fn slot_words(&self) -> usize {
        self.slots.div_ceil(WORD_BITS).max(1)
    }

    /// The words that hold slots and lanes.
    pub(super) fn words(&self) -> usize {
        self.slot_words() + self.lanes.len().div_ceil(LANES_PER_WORD)
    }

    /// What it holds, in bytes, beside the calls.
    pub(super) fn bytes(&self) -> u64 {
        let per_event = size_of::<Event>() + size_of::<(Nanos, bool, u32)>();
        let per_call = size_of::<Effect>() + 2 * size_of::<u32>() + size_of::<(CallOf<O>, u32)>() / 2;
        (self.events.len() * per_event + self.calls.len() * per_call) as u64
    }
}

fn order<O: Object>(calls: &[CallOf<O>]) -> Vec<(Nanos, bool, u32)> {
    let mut order: Vec<(Nanos, bool, u32)> = Vec::with_capacity(calls.len() * 2);
    for (at, call) in calls.iter().enumerate() {
        let at = u32::try_from(at).expect("invariant: fewer than 2^32 operations in a history");
        order.push((call.start, false, at));
        order.extend(call.end().map(|end| (end, true, at)));
    }
    order.sort_unstable();
    order
}

fn kinds<O: Object>(calls: &[CallOf<O>]) -> Vec<u32> {
    let mut known: FxHashMap<(&O::Op, Option<&O::Ret>), u32> = FxHashMap::default();
    let mut kinds = Vec::with_capacity(calls.len());
    for call in calls {
        let next = known.len() as u32;
        kinds.push(*known.entry((&call.op, call.ret.as_ref())).or_insert(next));
    }
    kinds
}

/// The lane of an operation that has a slot.
const NO_LANE: u32 = u32::MAX;

/// A lane for every operation of unknown outcome that has likes.
fn give_lanes<O: Object>(calls: &[CallOf<O>], kinds: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut lane_of = vec![NO_LANE; calls.len()];
    let mut members: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (at, _) in calls.iter().enumerate().filter(|(_, call)| call.end().is_none()) {
        members.entry(kinds[at]).or_default().push(at as u32);
    }
    let mut groups: Vec<Vec<u32>> = members.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    let mut lanes = Vec::new();
    for chunk in groups.iter().flat_map(|group| group.chunks(LANE_LIMIT as usize)) {
        chunk.iter().for_each(|at| lane_of[*at as usize] = lanes.len() as u32);
        lanes.push(chunk[0]);
    }
    (lane_of, lanes)
}

/// Gives every operation without a lane the lowest slot that is free while it is open.
fn give_slots(order: &[(Nanos, bool, u32)], lane_of: &[u32]) -> (Vec<Event>, usize) {
    let mut slot_of = vec![0; lane_of.len()];
    let mut free = BinaryHeap::new();
    let mut slots = 0;
    let mut events = Vec::with_capacity(order.len());
    for &(_, is_return, call) in order {
        let (lane, slot) = (lane_of[call as usize], &mut slot_of[call as usize]);
        let (place, kind) = if lane != NO_LANE {
            (lane, EventKind::Ghost)
        } else if is_return {
            free.push(Reverse(*slot));
            (*slot, EventKind::Return)
        } else {
            *slot = free.pop().map_or(slots, |Reverse(slot)| slot);
            slots = slots.max(*slot + 1);
            (*slot, EventKind::Call)
        };
        events.push(Event { call, place, kind });
    }
    (events, slots as usize)
}
