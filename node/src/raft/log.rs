//! The replicated log in memory, what of it has not been handed to storage, and the members that it names.
//!
//! Guarantees: indices are contiguous from the one after the *base*, the entry up to which a snapshot stands for the log. The
//! members are always those of the last entry that names some (Raft, section 6: a server uses the latest configuration in
//! its log, committed or not), also after entries were taken back. A committed prefix is protected by its callers, which
//! assert before they cut.

use super::membership::Membership;
use super::types::{Entry, Index, LogPosition, Payload, Term};

/// What changed since the last hand-over to storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten {
    /// Storage must forget everything: the log begins anew after this entry, which a snapshot ends with.
    pub(crate) begin_after: Option<LogPosition>,
    /// Storage must forget everything from here on before it appends.
    pub(crate) truncate_from: Option<Index>,
    /// Entries to append.
    pub(crate) entries: Vec<Entry>,
}

/// A growing sequence of entries with a cursor for storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    /// The entry before the first one that is kept.
    base: LogPosition,
    entries: Vec<Entry>,
    /// The members from each index on, ascending; the first is that of the base, or of an earlier entry.
    memberships: Vec<(Index, Membership)>,
    /// The first index that differs from what storage was told; one past the end when nothing does.
    dirty_from: Index,
    /// The last index that storage was told.
    handed_last: Index,
    /// Whether storage has another log than this one.
    replaced: bool,
}

impl Log {
    /// A log as recovered from storage: the entries after `base`, at which the cluster had `members`. A cluster begins with
    /// the base 0.
    ///
    /// # Panics
    /// When the entries are not contiguous from the base; recovery checks that before.
    pub fn recovered(base: LogPosition, members: Membership, entries: Vec<Entry>) -> Self {
        let mut log = Self::after(base, members);
        for entry in entries {
            log.push(entry);
        }
        log.handed_last = log.last_index();
        log.dirty_from = log.last_index().next();
        log
    }

    /// An empty log after `base`.
    fn after(base: LogPosition, members: Membership) -> Self {
        Self {
            base,
            entries: Vec::new(),
            memberships: vec![(base.index, members)],
            dirty_from: base.index.next(),
            handed_last: base.index,
            replaced: false,
        }
    }

    /// The entry up to which a snapshot stands for the log.
    pub fn base(&self) -> LogPosition {
        self.base
    }

    /// The index of the last entry, that of the base when there is none.
    pub fn last_index(&self) -> Index {
        Index(self.base.index.0 + self.entries.len() as u64)
    }

    /// Index and term of the last entry.
    pub fn last(&self) -> LogPosition {
        self.position(self.last_index()).expect("invariant: the last index has a term")
    }

    /// All entries that are kept.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `index`, if it is kept.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.offset(index)?)
    }

    /// The term at `index`, from the base on; the position before all logs has term 0.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Index and term at `index`, from the base on, when the log reaches that far.
    pub fn position(&self, index: Index) -> Option<LogPosition> {
        self.term_at(index).map(|term| LogPosition { term, index })
    }

    /// The members that count now.
    pub fn members(&self) -> &Membership {
        &self.memberships.last().expect("invariant: the base has members").1
    }

    /// The members after the entry at `index`, from the base on.
    pub fn members_at(&self, index: Index) -> &Membership {
        let until = self.memberships.partition_point(|(from, _)| *from <= index);
        &self.memberships[until.saturating_sub(1)].1
    }

    /// The entry that names the members that count now; at most that of the base if it is not kept.
    pub fn members_since(&self) -> Index {
        self.memberships.last().expect("invariant: the base has members").0
    }

    /// Entries from `from` on: at least one when there is one, then as many as fit into `limit_bytes`.
    pub(crate) fn slice(&self, from: Index, limit_bytes: usize) -> Vec<Entry> {
        let start = self.offset(from).expect("invariant: what is sent is kept");
        let mut size_bytes = 0;
        let fits = |entry: &&Entry| {
            let first = size_bytes == 0;
            size_bytes += entry.payload.size_bytes() + ENTRY_OVERHEAD_BYTES;
            first || size_bytes <= limit_bytes
        };
        self.entries[start..].iter().take_while(fits).cloned().collect()
    }

    /// How many of the kept entries up to `last` are within both limits, counted from the last one.
    pub(crate) fn count_back(&self, last: Index, limit_entries: u64, limit_bytes: usize) -> u64 {
        let end = self.offset(last.next()).unwrap_or(0).min(self.entries.len());
        let mut size_bytes = 0;
        let fits = |entry: &&Entry| {
            size_bytes += entry.payload.size_bytes();
            size_bytes <= limit_bytes
        };
        (1..=limit_entries).zip(self.entries[..end].iter().rev().take_while(fits)).count() as u64
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
        if let Payload::Members(members) = &entry.payload {
            self.memberships.push((entry.index, members.clone()));
        }
        self.entries.push(entry);
    }

    /// Forgets the entries from `from` on, and the members that they name.
    pub(crate) fn truncate_from(&mut self, from: Index) {
        let kept = self.offset(from).expect("invariant: what a snapshot stands for is committed");
        self.entries.truncate(kept);
        self.memberships.retain(|(since, _)| *since < from);
        self.dirty_from = self.dirty_from.min(from);
    }

    /// What mutant B4 takes for a repair: the entries after a replaced one stay.
    #[cfg(feature = "mutants")]
    pub(crate) fn overwrite(&mut self, entry: Entry) {
        let at = self.offset(entry.index).expect("a conflict is in the log");
        let kept = self.entries.split_off(at + 1);
        self.truncate_from(entry.index);
        self.push(entry);
        self.entries.extend(kept);
    }

    /// What mutant F5 does: the members of entries that are gone stay.
    #[cfg(feature = "mutants")]
    pub(crate) fn truncate_all_but_members(&mut self, from: Index) {
        let members = self.memberships.clone();
        self.truncate_from(from);
        self.memberships = members;
    }

    /// The last index that storage was told and that still holds.
    pub(crate) fn handed_to_storage(&self) -> Index {
        self.dirty_from.previous()
    }

    /// Lets a snapshot stand for everything up to `base`, which must be kept.
    pub(crate) fn compact(&mut self, base: LogPosition) {
        assert_eq!(self.term_at(base.index), Some(base.term), "invariant: a snapshot is of this log");
        assert!(self.handed_to_storage() >= base.index, "invariant: what is compacted was handed to storage");
        let gone = self.offset(base.index.next()).expect("invariant: the base is in the log");
        self.entries.drain(..gone);
        let first = self.memberships.partition_point(|(since, _)| *since <= base.index).saturating_sub(1);
        self.memberships.drain(..first);
        self.base = base;
    }

    /// Replaces everything by a snapshot of another log.
    pub(crate) fn replace(&mut self, base: LogPosition, members: Membership) {
        *self = Self { replaced: true, ..Self::after(base, members) };
    }

    /// The largest index not above `position.index` whose term is not above `position.term`: no entry after it can match
    /// a log that has `position`. Skips whole terms in one answer (Raft, end of section 5.3).
    pub(crate) fn match_hint(&self, position: LogPosition) -> LogPosition {
        let mut index = position.index.min(self.last_index()).max(self.base.index);
        while index > self.base.index && self.term_at(index).is_some_and(|term| term > position.term) {
            index = index.previous();
        }
        self.position(index).expect("invariant: a hint lies inside the log")
    }

    /// Whether storage has something to write.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.replaced || self.dirty_from <= self.last_index().max(self.handed_last)
    }

    /// Hands over everything that storage does not have yet.
    pub(crate) fn take_unwritten(&mut self) -> Unwritten {
        let from = self.dirty_from;
        let truncate_from = (from <= self.handed_last).then_some(from);
        let kept = self.offset(from).expect("invariant: what is not handed over is kept");
        let entries = self.entries[kept..].to_vec();
        self.handed_last = self.last_index();
        self.dirty_from = self.last_index().next();
        let begin_after = std::mem::take(&mut self.replaced).then_some(self.base);
        Unwritten { begin_after, truncate_from, entries }
    }

    /// Where an entry stands in memory; `None` for the base and what is before it.
    fn offset(&self, index: Index) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.base.index.0 + 1)?).ok()
    }
}

/// What an entry costs on the wire besides its payload, for size limits.
const ENTRY_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::recovered(LogPosition::default(), Membership::default(), Vec::new());
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
        let unwritten = log.take_unwritten();
        assert_eq!((unwritten.truncate_from, unwritten.entries), (Some(Index(2)), vec![]));
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

    #[test]
    fn entries_that_are_kept_are_limited_in_number_and_bytes() {
        let mut log = log(&[1]);
        for _ in 2..=5 {
            log.append(Term(1), Payload::Command(vec![0; 100].into()));
        }
        assert_eq!(log.count_back(Index(5), 3, 1000), 3);
        assert_eq!(log.count_back(Index(5), 9, 250), 2);
        assert_eq!(log.count_back(Index(5), 9, 99), 0);
        assert_eq!(log.count_back(Index(4), 9, 1000), 4);
        log.take_unwritten();
        log.compact(LogPosition { term: Term(1), index: Index(3) });
        assert_eq!(log.count_back(Index(5), 9, 1000), 2);
        assert_eq!(log.count_back(Index(3), 9, 1000), 0);
    }

    fn members(log: &Log) -> Vec<String> {
        log.members().voters().iter().map(ToString::to_string).collect()
    }

    fn naming(names: &[&str]) -> Payload {
        let ids = names.iter().map(|name| super::super::NodeId::new(name).expect("legal name"));
        Payload::Members(Membership::of_voters(ids))
    }

    #[test]
    fn members_are_those_of_the_last_entry_that_names_some_and_come_back_with_it() {
        let mut log = log(&[1]);
        log.append(Term(1), naming(&["a"]));
        log.append(Term(1), naming(&["a", "b"]));
        assert_eq!((members(&log), log.members_since()), (vec!["a".to_owned(), "b".to_owned()], Index(3)));
        assert_eq!(log.members_at(Index(2)).voters().len(), 1);
        log.truncate_from(Index(3));
        assert_eq!((members(&log), log.members_since()), (vec!["a".to_owned()], Index(2)));
    }

    #[test]
    fn compacted_log_keeps_its_end_and_its_members() {
        let mut log = log(&[1, 1]);
        log.append(Term(2), naming(&["a"]));
        log.append(Term(2), Payload::Noop);
        log.take_unwritten();
        log.compact(LogPosition { term: Term(2), index: Index(3) });
        assert_eq!(
            (log.get(Index(3)), log.term_at(Index(3)), log.term_at(Index(2))),
            (None, Some(Term(2)), None)
        );
        assert_eq!((indices(&log.slice(Index(4), 10)), members(&log)), (vec![4], vec!["a".to_owned()]));
        assert_eq!(log.append(Term(2), Payload::Noop).index, Index(5));
        assert_eq!(log.take_unwritten().truncate_from, None);
    }

    #[test]
    fn hint_does_not_reach_behind_the_base() {
        let mut log = log(&[4, 4, 4]);
        log.take_unwritten();
        log.compact(LogPosition { term: Term(4), index: Index(2) });
        let hint = log.match_hint(LogPosition { term: Term(1), index: Index(9) });
        assert_eq!(hint, LogPosition { term: Term(4), index: Index(2) });
    }

    #[test]
    fn replaced_log_begins_anew_in_storage_too() {
        let mut log = log(&[1, 1, 1, 1]);
        log.take_unwritten();
        let base = LogPosition { term: Term(2), index: Index(2) };
        log.replace(base, Membership::default());
        assert!(log.has_unwritten());
        let begun = Unwritten { begin_after: Some(base), truncate_from: None, entries: vec![] };
        assert_eq!(log.take_unwritten(), begun);
        assert_eq!((log.last(), log.has_unwritten()), (base, false));
    }
}
