//! What a node's log has been reported to hold: a log without files, to compare the real one with.

use std::collections::BTreeMap;

use crate::raft::{Entry, HardState, Index, LogPosition, Persist, Snapshot, Term};
use crate::wal::Recovered;

/// The durable state of a node, as far as it was reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    hard_state: HardState,
    entries: BTreeMap<Index, Entry>,
    snapshot: Option<Snapshot>,
}

impl Mirror {
    /// These writes are durable.
    pub(crate) fn write(&mut self, writes: &[Persist]) {
        writes.iter().for_each(|write| self.write_one(write));
    }

    fn write_one(&mut self, write: &Persist) {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(position) = write.begin_after {
            // A later snapshot may have been stored beside before this write was begun.
            assert!(position.index <= self.base().index, "a log begins anew after a stored snapshot");
            self.entries.clear();
        }
        if let Some(from) = write.truncate_from {
            self.entries.split_off(&from);
        }
        for entry in &write.entries {
            // After a start the log may end before the snapshot, or be behind one that was stored beside it.
            let after = self.entries.last_key_value().map(|(last, _)| last.next());
            let fits = after == Some(entry.index) || entry.index <= self.base().index.next();
            assert!(fits, "writes leave no gap: {entry:?} after {after:?}");
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(to) = write.compact_to {
            assert!(to <= self.base().index, "nothing is forgotten for which no snapshot stands");
            self.entries = self.entries.split_off(&to.next());
        }
    }

    /// This snapshot is durable.
    pub(crate) fn store(&mut self, snapshot: Snapshot) {
        assert!(snapshot.last.index > self.base().index, "snapshots go forwards");
        self.snapshot = Some(snapshot);
    }

    /// Forgets what a start does not find because the snapshot belongs to another log.
    fn settle(&mut self) {
        let base = self.base();
        if self.entries.get(&base.index).is_some_and(|entry| entry.term != base.term) {
            self.entries.clear();
        }
        if base.term > self.hard_state.term {
            self.hard_state = HardState { term: base.term, vote: None };
        }
    }

    /// What a start must find.
    fn recovered(&self) -> Recovered {
        let entries = self.entries.range(self.base().index.next()..).map(|(_, entry)| entry.clone());
        Recovered { hard_state: self.hard_state, snapshot: self.snapshot.clone(), entries: entries.collect() }
    }

    /// Compares with what a start found. Nobody was told how the `unreported` writes and the `unreported` snapshot ended, so either
    /// may be there.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(crate) fn restart(
        &mut self,
        found: &Recovered,
        writes: &[Persist],
        snapshot: Option<Snapshot>,
    ) -> Result<(), String> {
        let mut candidates = vec![self.clone()];
        if !writes.is_empty() {
            self.write(writes);
            candidates.push(self.clone());
        }
        if let Some(snapshot) = snapshot {
            candidates.extend(candidates.clone().into_iter().map(|mut with| {
                with.store(snapshot.clone());
                with
            }));
        }
        candidates.iter_mut().for_each(Self::settle);
        let reported = candidates[0].recovered();
        match candidates.into_iter().find(|candidate| candidate.recovered() == *found) {
            Some(candidate) => {
                *self = candidate;
                Ok(())
            }
            None => Err(format!("durable {reported:?}, found {found:?}")),
        }
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
