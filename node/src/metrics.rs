//! What a node counts: cheap enough to be always on, written down only when somebody asks.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The statuses that this server answers with; any other is counted as the last.
pub(crate) const STATUSES: [u16; 14] = [200, 400, 404, 405, 408, 409, 410, 413, 414, 421, 429, 431, 503, 500];

/// Upper bounds of the histogram of disk syncs, in microseconds.
pub(crate) const SYNC_BOUNDS_US: [u64; 14] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];

/// Counters that several threads write to.
#[derive(Debug)]
pub(crate) struct Metrics {
    answers: [AtomicU64; STATUSES.len()],
    syncs: [AtomicU64; SYNC_BOUNDS_US.len() + 1],
    sync_us: AtomicU64,
    log_written_bytes: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            answers: array::from_fn(zero),
            syncs: array::from_fn(zero),
            sync_us: AtomicU64::new(0),
            log_written_bytes: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Counts an answer to a client.
    pub(crate) fn answered(&self, status: u16) {
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.answers[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write to the log and how long it took to be durable.
    pub(crate) fn synced(&self, took: Duration, size_bytes: usize) {
        let took_us = took.as_micros() as u64;
        let place = SYNC_BOUNDS_US.partition_point(|bound| *bound < took_us);
        self.syncs[place].fetch_add(1, Ordering::Relaxed);
        self.sync_us.fetch_add(took_us, Ordering::Relaxed);
        self.log_written_bytes.fetch_add(size_bytes as u64, Ordering::Relaxed);
    }

    /// Answers by status, in the order of [`STATUSES`].
    pub(crate) fn answers(&self) -> [u64; STATUSES.len()] {
        array::from_fn(|place| self.answers[place].load(Ordering::Relaxed))
    }

    /// How many writes to the log took at most so long, each bound including those below it; then how many there were.
    pub(crate) fn syncs(&self) -> [u64; SYNC_BOUNDS_US.len() + 1] {
        let mut sum = 0;
        array::from_fn(|place| {
            sum += self.syncs[place].load(Ordering::Relaxed);
            sum
        })
    }

    /// The time of all of them together.
    pub(crate) fn sync_time(&self) -> Duration {
        Duration::from_micros(self.sync_us.load(Ordering::Relaxed))
    }

    /// Payload bytes that were written to the log.
    pub(crate) fn log_written_bytes(&self) -> u64 {
        self.log_written_bytes.load(Ordering::Relaxed)
    }
}

/// What the driver alone counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) proposals: u64,
    pub(crate) reads: u64,
    pub(crate) local_reads: u64,
    pub(crate) applied_entries: u64,
    /// How often this node began to lead.
    pub(crate) leaderships: u64,
    /// How often this node saw another leader, or none, or itself.
    pub(crate) leader_changes: u64,
    pub(crate) snapshots_made: u64,
    pub(crate) snapshots_installed: u64,
}

/// The state of a node in numbers, of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) counters: Counters,
    pub(crate) role: &'static str,
    pub(crate) has_leader: bool,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) last: u64,
    pub(crate) base: u64,
    pub(crate) revision: u64,
    pub(crate) keys: usize,
    pub(crate) sessions: usize,
    pub(crate) kept_answer_bytes: usize,
    pub(crate) snapshot_bytes: usize,
    pub(crate) voters: usize,
    pub(crate) learners: usize,
    pub(crate) waiting_requests: usize,
    /// By how many entries each of the others is behind; only a leader knows.
    pub(crate) lags: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_a_histogram_include_those_below() {
        let metrics = Metrics::default();
        for took_us in [50, 51, 999, 2_000_000] {
            metrics.synced(Duration::from_micros(took_us), 10);
        }
        let syncs = metrics.syncs();
        assert_eq!((syncs[0], syncs[1], syncs[3], syncs[4], syncs[13], syncs[14]), (1, 2, 2, 3, 3, 4));
        assert_eq!(
            (metrics.sync_time(), metrics.log_written_bytes()),
            (Duration::from_micros(2_001_100), 40)
        );
    }

    #[test]
    fn answer_is_counted_under_its_status_and_a_strange_one_under_500() {
        let metrics = Metrics::default();
        [200, 200, 429, 418].into_iter().for_each(|status| metrics.answered(status));
        let counted = |status| metrics.answers()[STATUSES.iter().position(|s| *s == status).expect("known")];
        assert_eq!((counted(200), counted(429), counted(500), counted(503)), (2, 1, 1, 0));
    }
}
