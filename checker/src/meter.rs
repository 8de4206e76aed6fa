//! A budget while it is being spent. Both limits are hard: whoever spends asks often and stops at the first refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::{Budget, Progress};

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The share of steps of this round; another round may give more.
    Steps,
    /// Wall-clock time.
    Time,
    /// Memory.
    Memory,
}

/// Elapsed time and held memory against a [`Budget`]. Clones spend from the same budget, also in other threads; what a
/// clone holds is given back when it goes.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    deadline: Option<Instant>,
    memory_limit_bytes: u64,
    held: Arc<Held>,
    /// What this one holds for as long as it lives, and at present.
    base_bytes: u64,
    mine_bytes: u64,
    steps: u64,
    progress: Arc<Progress>,
}

/// What all meters of a check hold together.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

impl Meter {
    /// Starts the clock.
    pub(crate) fn start(budget: &Budget) -> Self {
        let start = Instant::now();
        Self {
            start,
            deadline: start.checked_add(budget.time),
            memory_limit_bytes: budget.memory_bytes,
            held: Arc::default(),
            base_bytes: 0,
            mine_bytes: 0,
            steps: 0,
            progress: budget.progress.clone().unwrap_or_default(),
        }
    }

    /// Where to say how far the check is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The same clock and memory, but less time: `percent` of the whole budget, counted from the start.
    pub(crate) fn until(&self, budget: &Budget, percent: u32) -> Self {
        let time = budget.time / 100 * percent;
        let mut meter = self.clone();
        meter.deadline = self.start.checked_add(time);
        meter
    }

    /// The same budget, of which it holds some bytes for as long as it lives.
    pub(crate) fn holding(&self, bytes: u64) -> Self {
        let mut meter = self.clone();
        meter.hold(bytes);
        meter
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Time since the start, in whole milliseconds.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The most memory that was held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.held.peak_bytes.load(Ordering::Relaxed)
    }

    /// Steps of all searches so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Counts the steps of a search. They limit nothing here: unlike time, they are the same on every machine.
    pub(crate) fn count_steps(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
        self.progress.add_steps(steps);
    }

    /// Memory that stays for as long as the meter lives, beside what a search holds.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.base_bytes = self.base_bytes.saturating_add(bytes);
        self.take(self.base_bytes);
    }

    /// Refuses when the time is over.
    pub(crate) fn check_time(&self) -> Result<(), Limit> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Limit::Time),
            _ => Ok(()),
        }
    }

    /// Refuses when `search_bytes` on top of everything else that is held would exceed the memory.
    pub(crate) fn check_memory(&mut self, search_bytes: u64) -> Result<(), Limit> {
        let wanted = self.base_bytes.saturating_add(search_bytes);
        let others = self.held.bytes.load(Ordering::Relaxed).saturating_sub(self.mine_bytes);
        if others.saturating_add(wanted) > self.memory_limit_bytes {
            return Err(Limit::Memory);
        }
        self.take(wanted);
        Ok(())
    }

    fn take(&mut self, bytes: u64) {
        let held = &self.held.bytes;
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        held.fetch_sub(self.mine_bytes, Ordering::Relaxed);
        let all_bytes = before + bytes - self.mine_bytes;
        self.held.peak_bytes.fetch_max(all_bytes, Ordering::Relaxed);
        self.progress.hold(all_bytes);
        self.mine_bytes = bytes;
    }
}

impl Clone for Meter {
    fn clone(&self) -> Self {
        Self {
            start: self.start,
            deadline: self.deadline,
            memory_limit_bytes: self.memory_limit_bytes,
            held: Arc::clone(&self.held),
            base_bytes: 0,
            mine_bytes: 0,
            steps: self.steps,
            progress: Arc::clone(&self.progress),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.mine_bytes, Ordering::Relaxed);
    }
}
