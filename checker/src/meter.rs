//! A budget while it is being spent. Both limits are hard: whoever spends asks often, before taking memory and not after,
//! and stops at the first refusal.

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

/// How fast memory is given back. Many small allocations of a search take 0.2 s for a gigabyte.
const FREED_BYTES_PER_NS: u64 = 5;

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

    /// The same budget, of which it holds some bytes for as long as it lives; refuses as [`Self::hold`] does.
    pub(crate) fn holding(&self, bytes: u64) -> Result<Self, Limit> {
        let mut meter = self.clone();
        meter.hold(bytes)?;
        Ok(meter)
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

    /// Memory that stays for as long as the meter lives, beside what a search holds. Refuses, and holds nothing more, when
    /// that would exceed the memory.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Limit> {
        let base = self.base_bytes.saturating_add(bytes);
        self.take(base)?;
        self.base_bytes = base;
        Ok(())
    }

    /// Refuses when the time is over, or what is left of it is needed to give back what all meters hold.
    pub(crate) fn check_time(&self) -> Result<(), Limit> {
        let held_bytes = self.held.bytes.load(Ordering::Relaxed);
        let freeing = Duration::from_nanos(held_bytes / FREED_BYTES_PER_NS);
        match self.deadline {
            Some(deadline) if Instant::now() + freeing >= deadline => Err(Limit::Time),
            _ => Ok(()),
        }
    }

    /// Refuses when `search_bytes` on top of everything else that is held would exceed the memory.
    pub(crate) fn check_memory(&mut self, search_bytes: u64) -> Result<(), Limit> {
        self.take(self.base_bytes.saturating_add(search_bytes))
    }

    /// Holds as many bytes in all, if the others leave room for them: what is held together never exceeds the limit.
    fn take(&mut self, bytes: u64) -> Result<(), Limit> {
        let limit = self.memory_limit_bytes;
        let together =
            |held: u64| Some((held - self.mine_bytes).saturating_add(bytes)).filter(|all| *all <= limit);
        let before = self.held.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, together);
        let before = before.map_err(|_| Limit::Memory)?;
        let all_bytes = before - self.mine_bytes + bytes;
        self.held.peak_bytes.fetch_max(all_bytes, Ordering::Relaxed);
        self.progress.hold(all_bytes);
        self.mine_bytes = bytes;
        Ok(())
    }
}

/// How much work there may be between two looks at the clock: a millisecond or so.
const WORK_PER_LOOK: usize = 1 << 20;

/// Work that asks for the time now and then, where asking each time would cost more than the work.
pub(crate) struct Pace<'a> {
    meter: &'a Meter,
    left: usize,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(meter: &'a Meter) -> Self {
        Self { meter, left: WORK_PER_LOOK }
    }

    /// Does some work, in steps of a nanosecond or two.
    pub(crate) fn spend(&mut self, work: usize) -> Result<(), Limit> {
        match self.left.checked_sub(work) {
            Some(left) => self.left = left,
            None => {
                self.left = WORK_PER_LOOK;
                self.meter.check_time()?;
            }
        }
        Ok(())
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
