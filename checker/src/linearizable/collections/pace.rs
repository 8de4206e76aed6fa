//! Asking the caller every few thousand steps whether there is time left.

use thiserror::Error;

/// The caller's time was over before there was an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the time was over before the collection was decided")]
pub(crate) struct Stopped;

/// Steps between two questions: some ten microseconds of work.
const STEPS_PER_POLL: u32 = 4096;

/// Counts steps and asks in between.
pub(super) struct Pace<'a> {
    may_go_on: &'a mut dyn FnMut() -> bool,
    steps_left: u32,
}

impl<'a> Pace<'a> {
    pub(super) fn new(may_go_on: &'a mut dyn FnMut() -> bool) -> Self {
        Self { may_go_on, steps_left: STEPS_PER_POLL }
    }

    /// One step of bounded work.
    pub(super) fn step(&mut self) -> Result<(), Stopped> {
        self.steps_left -= 1;
        if self.steps_left == 0 { self.poll() } else { Ok(()) }
    }

    /// Asks at once, before a long step such as sorting.
    pub(super) fn poll(&mut self) -> Result<(), Stopped> {
        self.steps_left = STEPS_PER_POLL;
        if (self.may_go_on)() { Ok(()) } else { Err(Stopped) }
    }
}
