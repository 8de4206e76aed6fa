//! Effects in the making, and the messages that wait for the disk.
//!
//! A vote or an acknowledgement is a promise about what this node has stored, so it may leave only when that is durable.
//! A promise made in an earlier term is void: the entry it speaks of may have been replaced before it was ever written.

use std::collections::VecDeque;

use super::log::Unwritten;
use super::message::{Body, Message};
use super::types::{HardState, Index, IoId, NodeId, Snapshot};
use super::{Answer, AppendReply, Committed, Effects, Persist, RequestId};

/// A message that waits until the write with this sequence number is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    sequence: u64,
    to: NodeId,
    message: Message,
}

/// What leaves the core at the end of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outbox {
    effects: Effects,
    held: VecDeque<Held>,
    issued: u64,
    durable: u64,
    hard_state_changed: bool,
    compact_to: Option<Index>,
}

impl Outbox {
    /// Sends at the end of the step.
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.effects.messages.push((to, message));
    }

    /// Sends when all that is issued, and the write of this step if there is one, is durable.
    pub(crate) fn hold(&mut self, to: NodeId, message: Message, log_changed: bool) {
        let upcoming = u64::from(log_changed || self.hard_state_changed);
        self.held.push_back(Held { sequence: self.issued + upcoming, to, message });
    }

    /// Term or vote changed and must be written in this step.
    pub(crate) fn hard_state_changed(&mut self) {
        self.hard_state_changed = true;
    }

    /// The stored log may forget what is before, and be told so in this step.
    pub(crate) fn compacted(&mut self, to: Index) {
        self.compact_to = Some(to);
    }

    /// Whether anything beside entries waits to be written.
    pub(crate) fn has_changes(&self) -> bool {
        self.hard_state_changed || self.compact_to.is_some()
    }

    /// Voids the promises of the term that ends.
    pub(crate) fn term_ended(&mut self) {
        self.held.clear();
    }

    /// Issues the write of this step.
    pub(crate) fn persist(&mut self, hard_state: HardState, last: Index, unwritten: Unwritten) {
        self.issued += 1;
        let changed = std::mem::take(&mut self.hard_state_changed);
        let compact_to = self.compact_to.take();
        self.effects.persist = Some(Persist {
            io: IoId { sequence: self.issued, term: hard_state.term, last },
            hard_state: changed.then_some(hard_state),
            begin_after: unwritten.begin_after,
            truncate_from: unwritten.truncate_from,
            entries: unwritten.entries,
            compact_to,
        });
    }

    /// A write is durable.
    pub(crate) fn durable(&mut self, io: IoId) {
        assert!(io.sequence <= self.issued, "invariant: only issued writes become durable");
        self.durable = self.durable.max(io.sequence);
    }

    /// What mutant B17 makes of a write: everything up to its last index is durable, whichever entries that was about.
    #[cfg(feature = "mutants")]
    pub(crate) fn durable_up_to(&mut self, last: Index) {
        let durable = self.durable;
        let covered = |held: &&mut Held| held.acknowledged().is_some_and(|matched| matched <= last);
        self.held.iter_mut().filter(covered).for_each(|held| held.sequence = held.sequence.min(durable));
    }

    /// Sends the held messages whose writes are durable. Of several acknowledgements to one leader only the last one
    /// says anything.
    pub(crate) fn release(&mut self) {
        while self.held.front().is_some_and(|held| held.sequence <= self.durable) {
            let held = self.held.pop_front().expect("invariant: the front was just seen");
            let superseded =
                self.held.front().is_some_and(|next| next.sequence <= self.durable && next.supersedes(&held));
            if !superseded {
                self.send(held.to, held.message);
            }
        }
    }

    /// Hands a snapshot to the disk.
    pub(crate) fn store(&mut self, snapshot: Snapshot) {
        self.effects.store = Some(snapshot);
    }

    /// Hands a durable snapshot to the state machine.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        self.effects.install = Some(snapshot);
    }

    /// Hands an entry to the state machine.
    pub(crate) fn commit(&mut self, committed: Committed) {
        self.effects.committed.push(committed);
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.effects.answers.push((request, answer));
    }

    /// Counts writes from the first one on that is not durable, and holds once what it holds twice: a network may duplicate it anyway.
    pub(crate) fn rebase(&mut self) {
        let mut once = VecDeque::with_capacity(self.held.len());
        for held in self.held.drain(..) {
            if !once.iter().any(|earlier: &Held| earlier.says_the_same(&held)) {
                once.push_back(held);
            }
        }
        self.held = once;
        self.held.iter_mut().for_each(|held| held.sequence -= self.durable);
        self.issued -= self.durable;
        self.durable = 0;
    }

    /// The effects of this step.
    pub(crate) fn take(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}

impl Held {
    fn says_the_same(&self, other: &Held) -> bool {
        (self.to, &self.message) == (other.to, &other.message)
    }

    fn supersedes(&self, earlier: &Held) -> bool {
        match (self.acknowledged(), earlier.acknowledged()) {
            (Some(later), Some(earlier_index)) => self.to == earlier.to && later >= earlier_index,
            _ => false,
        }
    }

    fn acknowledged(&self) -> Option<Index> {
        match self.message.body {
            Body::AppendReply(AppendReply::Accepted { matched }) => Some(matched),
            _ => None,
        }
    }
}
