//! The clock of the protocol: milliseconds since the start of the process.
//!
//! It is `CLOCK_BOOTTIME`: nobody sets it, and it goes on while the machine sleeps. A leader that sleeps with a clock that
//! stops would wake up with a lease that the others have long forgotten.

use rustix::time::{ClockId, clock_gettime};

use crate::mutant::mutant;
use crate::raft::{Config, Millis};

#[derive(Debug)]
pub(super) struct Clock {
    source: ClockId,
    origin_ms: u64,
}

impl Clock {
    /// A clock that begins at 0.
    #[cfg_attr(not(feature = "mutants"), expect(unused_variables, reason = "only a mutant has another"))]
    pub(super) fn start(config: &Config) -> Self {
        let source = if mutant!(config, C6) { ClockId::Realtime } else { ClockId::Boottime };
        Self { source, origin_ms: read_ms(source) }
    }

    /// The time since the start; never less than before, unless a mutant reads the time of day.
    pub(super) fn now(&self) -> Millis {
        Millis(read_ms(self.source).saturating_sub(self.origin_ms))
    }
}

fn read_ms(source: ClockId) -> u64 {
    let time = clock_gettime(source);
    let (seconds, nanoseconds) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds * 1000 + nanoseconds / 1_000_000
}
