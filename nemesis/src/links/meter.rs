//! How many bytes a narrow link lets pass: a virtual line that is busy with one quantum after the other.
//!
//! The algorithm is the generic cell rate algorithm (ITU-T I.371) without a burst tolerance: a quantum passes when the line has
//! been busy with it for its size divided by the rate, so that `n` bytes take `n` / rate at least, however they are cut.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A quantum is what passes in this part of a second.
const QUANTA_PER_SECOND: u32 = 100;

/// A line that the connections of a link share.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the line is free again; `None` = it was never used.
    free: Mutex<Option<Instant>>,
}

/// Bytes that may pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantum {
    pub(super) bytes: usize,
    /// Not before.
    pub(super) at: Instant,
}

impl Quantum {
    /// What is left of it when so many bytes have passed.
    pub(super) fn without(self, bytes: usize) -> Option<Self> {
        let left = self.bytes.saturating_sub(bytes);
        (left > 0).then_some(Self { bytes: left, ..self })
    }
}

impl Meter {
    /// Occupies the line for some of `waiting` bytes, at least one.
    pub(super) fn reserve(&self, rate: NonZeroU32, waiting: usize, now: Instant) -> Quantum {
        let most = (rate.get() / QUANTA_PER_SECOND).max(1);
        let bytes = u32::try_from(waiting).unwrap_or(u32::MAX).min(most);
        let busy = Duration::from_secs(1) * bytes / rate.get();
        // A single assignment, so a panic leaves nothing half-done.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.map_or(now, |free| free.max(now)) + busy;
        *free = Some(at);
        Quantum { bytes: bytes as usize, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_number_divided_by_the_rate() {
        let (meter, begin) = (Meter::default(), Instant::now());
        let rate = NonZeroU32::new(1_000).unwrap();
        let (mut left, mut last) = (500, begin);
        while left > 0 {
            let quantum = meter.reserve(rate, left, begin);
            assert!(quantum.at > last && quantum.bytes <= 10);
            (left, last) = (left - quantum.bytes, quantum.at);
        }
        assert_eq!(last - begin, Duration::from_millis(500));
    }

    #[test]
    fn line_that_was_idle_saves_nothing_for_later() {
        let (meter, begin) = (Meter::default(), Instant::now());
        let rate = NonZeroU32::new(100).unwrap();
        meter.reserve(rate, 1, begin);
        let later = begin + Duration::from_secs(9);
        assert_eq!(meter.reserve(rate, 1, later).at - later, Duration::from_millis(10));
    }
}
