//! How far a check is, for whoever waits for it: counters that the check moves and any thread may read.
//!
//! ```
//! let progress = std::sync::Arc::new(checker::Progress::default());
//! let budget = checker::Budget { progress: Some(progress.clone()), ..Default::default() };
//! let history = history::operation::Pairing::default().finish(None);
//! checker::linearizable_register(&history, &budget)?;
//! assert_eq!(progress.snapshot().check, "linearizable");
//! # Ok::<(), checker::CheckError>(())
//! ```
//!
//! The counters say nothing about the verdict; they may be read at any time and are each up to date, but not all at
//! once. Checks that share a budget one after the other, such as the session guarantees, each begin from zero.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counters of a check.
#[derive(Debug, Default)]
pub struct Progress {
    check: Mutex<&'static str>,
    partitions: AtomicU64,
    decided: AtomicU64,
    violated: AtomicU64,
    operations: AtomicU64,
    examined: AtomicU64,
    steps: AtomicU64,
    round: AtomicU32,
    held_bytes: AtomicU64,
}

/// What the counters said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The name of the check, empty before it begins.
    pub check: &'static str,
    /// Into how many independent parts the history fell.
    pub partitions: u64,
    /// How many of them are decided.
    pub decided: u64,
    /// How many of those are violated.
    pub violated: u64,
    /// How many operations all parts have.
    pub operations: u64,
    /// How many operations the decided parts have.
    pub examined: u64,
    /// How many steps all searches took.
    pub steps: u64,
    /// The round, counted from 0; in each, a search may take more steps than in the one before.
    pub round: u32,
    /// What the check holds, in bytes.
    pub held_bytes: u64,
}

impl Progress {
    /// What the counters say at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            check: *self.check.lock().unwrap_or_else(PoisonError::into_inner),
            partitions: read(&self.partitions),
            decided: read(&self.decided),
            violated: read(&self.violated),
            operations: read(&self.operations),
            examined: read(&self.examined),
            steps: read(&self.steps),
            round: self.round.load(Ordering::Relaxed),
            held_bytes: read(&self.held_bytes),
        }
    }

    /// A check begins.
    pub(crate) fn begin(&self, check: &'static str, partitions: usize, operations: usize) {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = check;
        for counter in [&self.decided, &self.violated, &self.examined, &self.steps] {
            counter.store(0, Ordering::Relaxed);
        }
        self.round.store(0, Ordering::Relaxed);
        self.partitions.store(partitions as u64, Ordering::Relaxed);
        self.operations.store(operations as u64, Ordering::Relaxed);
    }

    /// The next round begins.
    pub(crate) fn enter_round(&self, round: u32) {
        self.round.store(round, Ordering::Relaxed);
    }

    /// A part with so many operations is decided.
    pub(crate) fn settle(&self, operations: usize, is_violated: bool) {
        self.decided.fetch_add(1, Ordering::Relaxed);
        self.examined.fetch_add(operations as u64, Ordering::Relaxed);
        if is_violated {
            self.violated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Searches took more steps.
    pub(crate) fn add_steps(&self, steps: u64) {
        self.steps.fetch_add(steps, Ordering::Relaxed);
    }

    /// The check holds so much.
    pub(crate) fn hold(&self, bytes: u64) {
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use history::History;
    use history::operation::Pairing;
    use serde_json::json;

    use super::*;
    use crate::{Budget, Claim, Spec, set_full};

    /// One client after the other writes and reads `keys` keys; the reads of the first `stale` keys see nothing.
    fn registers(keys: u64, stale: u64) -> History {
        let mut pairing = Pairing::default();
        let mut time = 0;
        for (key, f) in (0..keys).flat_map(|key| [(key, "write"), (key, "read")]) {
            let observed = if f == "read" && key >= stale { json!(1) } else { json!(null) };
            let argument = if f == "write" { json!(1) } else { json!(null) };
            for (kind, value) in [("invoke", argument), ("ok", observed)] {
                let event = json!({
                    "index": time, "time": time, "type": kind, "process": 1, "f": f, "key": format!("k{key}"),
                    "value": value,
                });
                pairing.push(serde_json::from_value(event).unwrap()).unwrap();
                time += 1;
            }
        }
        pairing.finish(None)
    }

    fn sets(keys: u64) -> History {
        let mut pairing = Pairing::default();
        for at in 0..keys {
            for (index, kind, value) in [(2 * at, "invoke", json!(null)), (2 * at + 1, "ok", json!([7]))] {
                let event = json!({
                    "index": index, "time": index, "type": kind, "process": 1, "f": "read",
                    "key": at.to_string(), "value": value,
                });
                pairing.push(serde_json::from_value(event).unwrap()).unwrap();
            }
        }
        pairing.finish(None)
    }

    fn watched() -> (Arc<Progress>, Budget) {
        let progress = Arc::new(Progress::default());
        let budget = Budget { progress: Some(Arc::clone(&progress)), ..Budget::default() };
        (progress, budget)
    }

    #[test]
    fn every_part_and_operation_is_counted_at_the_end_and_so_are_violations() {
        let (progress, budget) = watched();
        assert_eq!(progress.snapshot(), Snapshot::default());
        let finding = crate::linearizable(Spec::Register, &registers(30, 7), &budget).unwrap();
        let end = progress.snapshot();
        assert_eq!((end.check, end.partitions, end.decided, end.violated), ("linearizable", 30, 30, 7));
        assert_eq!((end.operations, end.examined), (60, 60));
        assert!(finding.result.note.unwrap().starts_with("7 keys are violated"));
    }

    #[test]
    fn every_claim_counts_up_to_the_whole() {
        for claim in Claim::ALL {
            let (progress, budget) = watched();
            claim.judge(Spec::Register, &registers(5, 0), &budget).unwrap();
            let end = progress.snapshot();
            assert_eq!((end.decided, end.examined, end.violated), (end.partitions, 10, 0), "{claim}");
            claim.judge(Spec::Register, &registers(5, 1), &budget).unwrap();
            let end = progress.snapshot();
            assert_eq!((end.decided, end.examined), (end.partitions, 10), "{claim}");
            let own = matches!(claim, Claim::Linearizable | Claim::Sequential);
            assert_eq!(end.violated > 0, own || end.check == "read-your-writes", "{claim}: {end:?}");
        }
    }

    #[test]
    fn sets_are_counted_too() {
        let (progress, budget) = watched();
        set_full(&sets(3), &budget).unwrap();
        let end = progress.snapshot();
        assert_eq!((end.check, end.partitions, end.decided, end.violated), ("set-full", 3, 3, 3));
        assert_eq!((end.operations, end.examined), (3, 3));
    }

    #[test]
    fn steps_and_memory_of_a_search_are_told() {
        let (progress, budget) = watched();
        let mut pairing = Pairing::default();
        // Clients that all write the same and then the other value at once leave nothing but a search.
        for (index, kind, value) in [(0_u64, "invoke", 1), (1, "ok", 1)] {
            for process in 0..6_u64 {
                let (index, value) = (6 * index + process, value + process % 2);
                let event = json!({
                    "index": index, "time": index, "type": kind, "process": process, "f": "write",
                    "value": if kind == "invoke" { json!(value) } else { json!(null) },
                });
                pairing.push(serde_json::from_value(event).unwrap()).unwrap();
            }
        }
        crate::linearizable(Spec::Register, &pairing.finish(None), &budget).unwrap();
        let end = progress.snapshot();
        assert!(end.steps > 0 && end.held_bytes > 0, "{end:?}");
        assert_eq!((end.decided, end.partitions), (1, 1));
    }
}
