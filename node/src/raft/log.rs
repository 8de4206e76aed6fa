//! The replicated log in memory, and what of it has not been handed to storage.
//!
//! Guarantees: indices are contiguous from 1; a committed prefix is protected by its callers, which assert before they
//! cut. It does not compact: the first entry stays at index 1.

use super::types::{Entry, Index, LogPosition, Payload, Term};

/// What changed since the last hand-over to storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten {
    /// Storage must forget everything from here on before it appends.
    pub(crate) truncate_from: Option<Index>,
    /// Entries to append.
    pub(crate) entries: Vec<Entry>,
}

/// A growing sequence of entries with a cursor for storage.
#[derive(Clone, Debug)]
pub struct Log {
    entries: Vec<Entry>,
    /// The first index that differs from what storage was told; one past the end when nothing does.
    dirty_from: Index,
    /// The last index that storage was told.
    handed_last: Index,
}

impl Log {
    /// A log as recovered from storage.
    ///
    /// # Panics
    /// When the entries are not contiguous from index 1; recovery checks that before.
    pub fn recovered(entries: Vec<Entry>) -> Self {
        for (position, entry) in entries.iter().enumerate() {
            assert_eq!(entry.index.0, position as u64 + 1, "invariant: recovered entries are contiguous");
        }
        let last = Index(entries.len() as u64);
        Self { entries, dirty_from: last.next(), handed_last: last }
    }

    /// The index of the last entry, 0 when empty.
    pub fn last_index(&self) -> Index {
        Index(self.entries.len() as u64)
    }

    /// Index and term of the last entry.
    pub fn last(&self) -> LogPosition {
        self.position(self.last_index()).expect("invariant: the last index has a term")
    }

    /// The entry at `index`.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The term at `index`; the position before the log has term 0.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == Index(0) {
            return Some(Term(0));
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Index and term at `index`, when the log reaches that far.
    pub fn position(&self, index: Index) -> Option<LogPosition> {
        self.term_at(index).map(|term| LogPosition { term, index })
    }

    /// Entries from `from` on: at least one when there is one, then as many as fit into `limit_bytes`.
    pub(crate) fn slice(&self, from: Index, limit_bytes: usize) -> Vec<Entry> {
        let start = from.previous().0 as usize;
        let mut size_bytes = 0;
        let fits = |entry: &&Entry| {
            let first = size_bytes == 0;
            size_bytes += entry.payload.size_bytes() + ENTRY_OVERHEAD_BYTES;
            first || size_bytes <= limit_bytes
        };
        self.entries[start..].iter().take_while(fits).cloned().collect()
    }

    /// Appends one entry of the leader's own and returns where it stands.
    pub(crate) fn append(&mut self, term: Term, payload: Payload) -> LogPosition {
        let index = self.last_index().next();
        self.push(Entry { index, term, payload });
        LogPosition { term, index }
    }

    /// Appends an entry that a leader sent.
    pub(crate) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index().next(), "invariant: appended entries are contiguous");
        assert!(entry.term >= self.last().term, "invariant: terms never decrease along a log");
        self.dirty_from = self.dirty_from.min(entry.index);
        self.entries.push(entry);
    }

    /// Forgets the entries from `from` on.
    pub(crate) fn truncate_from(&mut self, from: Index) {
        self.entries.truncate(from.previous().0 as usize);
        self.dirty_from = self.dirty_from.min(from);
    }

    /// The largest index not above `position.index` whose term is not above `position.term`: no entry after it can match
    /// a log that has `position`. Skips whole terms in one answer (Raft, end of section 5.3).
    pub(crate) fn match_hint(&self, position: LogPosition) -> LogPosition {
        let mut index = position.index.min(self.last_index());
        while self.term_at(index).is_some_and(|term| term > position.term) {
            index = index.previous();
        }
        self.position(index).expect("invariant: a hint lies inside the log")
    }

    /// Whether storage has something to write.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.dirty_from <= self.last_index().max(self.handed_last)
    }

    /// Hands over everything that storage does not have yet.
    pub(crate) fn take_unwritten(&mut self) -> Unwritten {
        let from = self.dirty_from;
        let truncate_from = (from <= self.handed_last).then_some(from);
        let entries = self.entries[from.previous().0 as usize..].to_vec();
        self.handed_last = self.last_index();
        self.dirty_from = self.last_index().next();
        Unwritten { truncate_from, entries }
    }
}

/// What an entry costs on the wire besides its payload, for size limits.
const ENTRY_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::recovered(Vec::new());
        for &term in terms {
            log.append(Term(term), Payload::Noop);
        }
        log
    }

    fn indices(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn only_changes_are_handed_to_storage() {
        let mut log = log(&[1, 1]);
        assert_eq!(indices(&log.take_unwritten().entries), [1, 2]);
        assert!(!log.has_unwritten());
        log.append(Term(2), Payload::Noop);
        let unwritten = log.take_unwritten();
        assert_eq!((unwritten.truncate_from, indices(&unwritten.entries)), (None, vec![3]));
    }

    #[test]
    fn replaced_suffix_is_truncated_in_storage_too() {
        let mut log = log(&[1, 1, 1]);
        log.take_unwritten();
        log.truncate_from(Index(2));
        log.append(Term(2), Payload::Noop);
        let unwritten = log.take_unwritten();
        assert_eq!((unwritten.truncate_from, indices(&unwritten.entries)), (Some(Index(2)), vec![2]));
    }

    #[test]
    fn truncation_without_replacement_is_still_a_change() {
        let mut log = log(&[1, 1]);
        log.take_unwritten();
        log.truncate_from(Index(2));
        assert!(log.has_unwritten());
        assert_eq!(log.take_unwritten(), Unwritten { truncate_from: Some(Index(2)), entries: vec![] });
    }

    #[test]
    fn entries_that_storage_never_saw_need_no_truncation() {
        let mut log = log(&[1, 1]);
        log.truncate_from(Index(2));
        log.append(Term(3), Payload::Noop);
        assert_eq!(log.take_unwritten().truncate_from, None);
    }

    #[test]
    fn hint_skips_a_whole_term() {
        let log = log(&[1, 1, 4, 4, 4, 4]);
        let hint = log.match_hint(LogPosition { term: Term(2), index: Index(9) });
        assert_eq!(hint, LogPosition { term: Term(1), index: Index(2) });
    }

    #[test]
    fn slice_has_one_entry_even_when_it_is_too_big() {
        let mut log = log(&[1]);
        log.append(Term(1), Payload::Command(vec![0; 1000].into()));
        assert_eq!(indices(&log.slice(Index(2), 10)), [2]);
        assert_eq!(indices(&log.slice(Index(1), 100)), [1]);
        assert_eq!(indices(&log.slice(Index(3), 100)), [0; 0]);
    }
}
