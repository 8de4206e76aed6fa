//! A disk that loses what was not synced.

use std::collections::{BTreeMap, VecDeque};

use node::raft::{
    Entry, HardState, Index, IoId, Log, LogPosition, Membership, NodeId, Persist, Snapshot, Term,
};

/// What a node has stored, and what it has only started to store.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    hard_state: HardState,
    entries: BTreeMap<Index, Entry>,
    snapshot: Option<Snapshot>,
    pending: VecDeque<Persist>,
    storing: Option<Snapshot>,
}

/// What a node starts with.
pub(crate) struct Recovered {
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) snapshot: Option<Snapshot>,
}

impl Disk {
    /// Starts a write.
    pub(crate) fn write(&mut self, write: Persist) {
        self.pending.push_back(write);
    }

    /// Starts to store a snapshot, beside the writes.
    pub(crate) fn store(&mut self, snapshot: Snapshot) {
        assert!(self.storing.is_none(), "one snapshot at a time");
        self.storing = Some(snapshot);
    }

    /// Makes the oldest unfinished write durable.
    pub(crate) fn sync_one(&mut self) -> Option<IoId> {
        let write = self.pending.pop_front()?;
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(position) = write.begin_after {
            // A later snapshot may be stored before this is written.
            assert!(
                position <= self.base(),
                "a log begins anew where a stored snapshot stands for what was before"
            );
            self.entries.clear();
        }
        if let Some(from) = write.truncate_from {
            self.entries.split_off(&from);
        }
        for entry in write.entries {
            // After a start the log may end before the snapshot, or be behind one that was stored beside it.
            let after = self.entries.last_key_value().map(|(last, _)| last.next());
            let fits = after == Some(entry.index) || entry.index <= self.base().index.next();
            assert!(fits, "writes leave no gap: {entry:?} after {after:?}");
            self.entries.insert(entry.index, entry);
        }
        if let Some(to) = write.compact_to {
            assert!(to <= self.base().index, "nothing is forgotten for which no snapshot stands");
            self.entries = self.entries.split_off(&to.next());
        }
        Some(write.io)
    }

    /// Makes the snapshot durable that is being stored.
    pub(crate) fn finish_storing(&mut self) -> Option<LogPosition> {
        let snapshot = self.storing.take()?;
        assert!(snapshot.last.index > self.base().index, "snapshots go forwards");
        self.snapshot = Some(snapshot);
        Some(self.base())
    }

    /// Loses what was not synced.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.storing = None;
    }

    /// What is durable, as a start finds it; an empty disk belongs to a cluster of the `founders`.
    pub(crate) fn recover(&mut self, founders: &Membership) -> Recovered {
        let base = self.base();
        if self.entries.get(&base.index).is_some_and(|entry| entry.term != base.term) {
            self.entries.clear();
        }
        if base.term > self.hard_state.term {
            self.hard_state = HardState { term: base.term, vote: None };
        }
        let members = self.snapshot.as_ref().map_or(founders, |snapshot| &snapshot.members);
        let entries = self.entries.range(base.index.next()..).map(|(_, entry)| entry.clone()).collect();
        let log = Log::recovered(base, members.clone(), entries);
        Recovered { hard_state: self.hard_state, log, snapshot: self.snapshot.clone() }
    }

    /// Whether a vote for `candidate` is durable; it may have been, if the term is over.
    pub(crate) fn may_have_voted_for(&self, candidate: NodeId, term: Term) -> bool {
        let HardState { term: stored, vote } = self.hard_state;
        stored > term || stored == term && vote == Some(candidate)
    }

    /// Whether an entry is durable, by itself or in the snapshot.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        entry.index <= self.base().index || self.term_at(entry.index) == Some(entry.term)
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        self.entries.get(&index).map(|entry| entry.term)
    }

    fn base(&self) -> LogPosition {
        self.snapshot.as_ref().map_or(LogPosition::default(), |snapshot| snapshot.last)
    }
}
