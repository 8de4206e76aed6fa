//! A budget while it is being spent. Both limits are hard: whoever spends asks often and stops at the first refusal.

use std::time::{Duration, Instant};

use crate::Budget;

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

/// Elapsed time and held memory against a [`Budget`].
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    deadline: Option<Instant>,
    memory_limit_bytes: u64,
    base_bytes: u64,
    peak_bytes: u64,
    steps: u64,
}

impl Meter {
    /// Starts the clock.
    pub(crate) fn start(budget: &Budget) -> Self {
        let start = Instant::now();
        Self {
            start,
            deadline: start.checked_add(budget.time),
            memory_limit_bytes: budget.memory_bytes,
            base_bytes: 0,
            peak_bytes: 0,
            steps: 0,
        }
    }

    /// The same clock and memory, but less time: `percent` of the whole budget, counted from the start.
    pub(crate) fn until(&self, budget: &Budget, percent: u32) -> Self {
        let time = budget.time / 100 * percent;
        Self { deadline: self.start.checked_add(time), ..*self }
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
        self.peak_bytes
    }

    /// Steps of all searches so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Counts the steps of a search. They limit nothing here: unlike time, they are the same on every machine.
    pub(crate) fn count_steps(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Memory that stays for the whole check, beside what a search holds.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.base_bytes = self.base_bytes.saturating_add(bytes);
        self.peak_bytes = self.peak_bytes.max(self.base_bytes);
    }

    /// Takes over the peak of a meter that [`Meter::until`] made.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
    }

    /// Refuses when the time is over.
    pub(crate) fn check_time(&self) -> Result<(), Limit> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Limit::Time),
            _ => Ok(()),
        }
    }

    /// Refuses when `search_bytes` on top of what is held for ever would exceed the memory.
    pub(crate) fn check_memory(&mut self, search_bytes: u64) -> Result<(), Limit> {
        let held = self.base_bytes.saturating_add(search_bytes);
        if held > self.memory_limit_bytes {
            return Err(Limit::Memory);
        }
        self.peak_bytes = self.peak_bytes.max(held);
        Ok(())
    }
}
