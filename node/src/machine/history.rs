//! The last changes, for those who watch: bounded, and not a part of the replicated state.
//!
//! A node keeps what it has applied since it started, or since another node's snapshot replaced its state; the oldest changes
//! go when there are too many. So how far back one can watch differs from node to node, but what is seen does not:
//! all changes from a revision on, in their order, or the news that some of them are gone.

use std::collections::VecDeque;

use bytes::Bytes;

use super::value::Revision;

/// Changes that are kept.
pub(crate) const MAX_CHANGES: usize = 65_536;
/// Bytes of keys and values that are kept: as much as a leader lets wait for its commit, so that a watcher that has seen
/// everything does not miss what is applied at once.
pub(crate) const MAX_HISTORY_BYTES: usize = 64 << 20;
/// Changes that one batch looks at.
const BATCH_CHANGES: usize = 4_096;
/// Bytes after which a batch ends.
const BATCH_BYTES: usize = 256 << 10;

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    pub(crate) what: What,
    /// Since when the key is there; for a deletion, since when it was.
    pub(crate) created: Revision,
    /// How often it was written; for a deletion, until then.
    pub(crate) version: u64,
}

/// The kind of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Put(Bytes),
    Deleted,
    Appended(Bytes),
}

/// Whose changes somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Key(Bytes),
    Prefix(Bytes),
}

impl Selection {
    fn has(&self, key: &Bytes) -> bool {
        match self {
            Selection::Key(selected) => key == selected,
            Selection::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

/// Changes from some revision on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Whole revisions, ascending.
    pub(crate) changes: Vec<(Revision, Change)>,
    /// Where to go on: everything before was seen.
    pub(crate) next: Revision,
}

/// Some of the changes that were asked for are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// The earliest revision from which everything is there.
    pub(crate) oldest: Revision,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<(Revision, Change)>,
    size_bytes: usize,
    /// Changes up to here may be gone.
    compacted: Revision,
}

impl History {
    /// An empty one: changes up to this revision are not known.
    pub(super) fn after(revision: Revision) -> Self {
        Self { compacted: revision, ..Self::default() }
    }

    pub(super) fn push(&mut self, revision: Revision, change: Change) {
        self.size_bytes += weight(&change);
        self.changes.push_back((revision, change));
        while self.changes.len() > MAX_CHANGES || self.size_bytes > MAX_HISTORY_BYTES {
            let Some((revision, change)) = self.changes.pop_front() else { return };
            self.size_bytes -= weight(&change);
            self.compacted = revision;
        }
    }

    /// The selected changes from `next` on, when the node has applied everything up to `applied`.
    pub(super) fn batch(
        &self,
        next: Revision,
        selection: &Selection,
        applied: Revision,
    ) -> Result<Batch, Compacted> {
        if next <= self.compacted {
            return Err(Compacted { oldest: self.compacted.next() });
        }
        let start = self.changes.partition_point(|(revision, _)| *revision < next);
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for (looked_at, (revision, change)) in self.changes.range(start..).enumerate() {
            let is_boundary = *revision > batch.next;
            if is_boundary && (looked_at >= BATCH_CHANGES || bytes >= BATCH_BYTES) {
                batch.next = batch.next.next();
                return Ok(batch);
            }
            batch.next = *revision;
            if selection.has(&change.key) {
                bytes += weight(change);
                batch.changes.push((*revision, change.clone()));
            }
        }
        batch.next = next.max(applied.next());
        Ok(batch)
    }
}

fn weight(change: &Change) -> usize {
    let content = match &change.what {
        What::Put(bytes) | What::Appended(bytes) => bytes.len(),
        What::Deleted => 0,
    };
    size_of::<(Revision, Change)>() + change.key.len() + content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: impl Into<Bytes>) -> Change {
        let what = What::Put(value.into());
        Change { key: Bytes::from_static(key.as_bytes()), what, created: Revision(1), version: 1 }
    }

    fn everything() -> Selection {
        Selection::Prefix(Bytes::new())
    }

    /// Follows a history from `next` to its end, as a watcher does.
    fn follow(history: &History, mut next: Revision, applied: Revision) -> Vec<(Revision, Change)> {
        let mut seen = Vec::new();
        while next <= applied {
            let batch = history.batch(next, &everything(), applied).expect("nothing is gone");
            assert!(batch.next > next, "a batch makes progress");
            seen.extend(batch.changes);
            next = batch.next;
        }
        seen
    }

    #[test]
    fn batches_put_together_are_the_whole_history_and_revisions_are_never_split() {
        let mut history = History::default();
        let mut all = Vec::new();
        for number in 1..=3_000_u64 {
            for _ in 0..3 {
                let (revision, change) = (Revision(2 * number), put("k", number.to_string()));
                history.push(revision, change.clone());
                all.push((revision, change));
            }
        }
        let applied = Revision(6_001);
        assert_eq!(follow(&history, Revision(1), applied), all);
        assert_eq!(follow(&history, Revision(5_999), applied), all[all.len() - 3..]);
        let first = history.batch(Revision(1), &everything(), applied).expect("nothing is gone");
        assert_eq!(first.changes.len() % 3, 0);
    }

    #[test]
    fn selection_leaves_out_what_nobody_asked_for_and_goes_on_behind_it() {
        let mut history = History::default();
        for (revision, key) in [(1, "a"), (2, "b.1"), (3, "b"), (4, "c")] {
            history.push(Revision(revision), put(key, "x"));
        }
        let seen = |selection| {
            let batch = history.batch(Revision(1), &selection, Revision(9)).expect("nothing is gone");
            assert_eq!(batch.next, Revision(10));
            batch.changes.iter().map(|(revision, _)| revision.0).collect::<Vec<_>>()
        };
        assert_eq!(seen(Selection::Prefix("b".into())), [2, 3]);
        assert_eq!(seen(Selection::Key("b".into())), [3]);
        assert_eq!(seen(Selection::Key("z".into())), [0; 0]);
    }

    #[test]
    fn too_much_history_goes_and_asking_for_it_says_so() {
        let mut history = History::after(Revision(5));
        assert_eq!(
            history.batch(Revision(5), &everything(), Revision(5)),
            Err(Compacted { oldest: Revision(6) })
        );
        let large = vec![b'x'; MAX_HISTORY_BYTES / 4];
        for revision in 6..=10 {
            history.push(Revision(revision), put("k", large.clone()));
        }
        let gone = history.batch(Revision(6), &everything(), Revision(10)).expect_err("some are gone");
        assert_eq!(follow(&history, gone.oldest, Revision(10)).len() as u64, 11 - gone.oldest.0);
        assert!(history.size_bytes <= MAX_HISTORY_BYTES);
    }

    #[test]
    fn revision_of_the_future_is_waited_for() {
        let batch = History::default().batch(Revision(9), &everything(), Revision(3));
        assert_eq!(batch, Ok(Batch { changes: Vec::new(), next: Revision(9) }));
    }
}
