//! A disk that loses what was not synced.

use std::collections::VecDeque;

use node::raft::{Entry, HardState, Index, IoId, Persist, Term};

/// What a node has stored, and what it has only started to store.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    pending: VecDeque<Persist>,
}

impl Disk {
    /// Starts a write.
    pub(crate) fn write(&mut self, write: Persist) {
        self.pending.push_back(write);
    }

    /// Makes the oldest unfinished write durable.
    pub(crate) fn sync_one(&mut self) -> Option<IoId> {
        let write = self.pending.pop_front()?;
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = write.truncate_from {
            self.entries.truncate(from.previous().0 as usize);
        }
        for entry in write.entries {
            assert_eq!(entry.index.0, self.entries.len() as u64 + 1, "writes leave no gap");
            self.entries.push(entry);
        }
        assert_eq!(write.io.last.0, self.entries.len() as u64, "a write says what the log is after it");
        Some(write.io)
    }

    /// Loses what was not synced.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
    }

    /// The term of a durable entry.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        self.entries.get(index.previous().0 as usize).map(|entry| entry.term)
    }
}
