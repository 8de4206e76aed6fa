//! How a clock is wrong: an offset, a drift, a strobe, or nothing.
//!
//! Times are nanoseconds of the clock that is skewed. [`Skew::apply`] says what the stub computes, bit for bit, so that
//! a reading can be foretold.

use std::fmt;
use std::time::Duration;

/// A rate of 1 in the fixed point of [`Skew::rate`]: 32 bits before the point, 32 behind it.
const RATE_ONE: f64 = (1_u64 << 32) as f64;

/// What is added to a time `t`: `offset`, plus `rate` times what has passed since `base`, plus `delta` in every other
/// `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    /// Since when the clock drifts.
    pub base_ns: i64,
    /// How much the clock gains, in 2⁻³² of the true time.
    pub rate: i64,
    /// A constant.
    pub offset_ns: i64,
    /// How long the clock stays on one side of a strobe; 0 for none.
    pub period_ns: i64,
    /// What the other side of the strobe is away.
    pub delta_ns: i64,
}

impl Skew {
    /// What the skewed clock shows when the true one shows `t_ns`.
    pub fn apply(&self, t_ns: i64) -> i64 {
        let other_side = self.period_ns != 0 && (t_ns / self.period_ns) & 1 == 1;
        let strobe = if other_side { self.delta_ns } else { 0 };
        (t_ns + self.gained(t_ns) + self.offset_ns + strobe).max(0)
    }

    /// Whether the clock is right.
    pub(crate) fn is_none(&self) -> bool {
        self.rate == 0 && self.offset_ns == 0 && self.period_ns == 0
    }

    /// The same clock, which from `t_ns` on no longer drifts. It neither jumps there nor runs back.
    pub(crate) fn carried(&self, t_ns: i64) -> Self {
        Self { offset_ns: self.offset_ns + self.gained(t_ns), ..Self::default() }
    }

    fn gained(&self, t_ns: i64) -> i64 {
        let product = i128::from(t_ns - self.base_ns) * i128::from(self.rate);
        i64::try_from(product >> 32).expect("invariant: rates are small")
    }
}

/// What is done to a clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Movement {
    /// It shows another time from one moment to the next.
    Jump {
        /// How far.
        by_ns: i64,
    },
    /// It gains or loses some part of the true time.
    Drift {
        /// What it gains in a unit of true time.
        rate: f64,
    },
    /// It jumps to and fro.
    Strobe {
        /// How far.
        by_ns: i64,
        /// How long it stays on one side.
        period: Duration,
    },
}

impl Movement {
    /// The skew of a clock that shows `now_ns`, had `before`, and is moved.
    pub(crate) fn on(self, before: Skew, now_ns: i64) -> Skew {
        let still = before.carried(now_ns);
        match self {
            Self::Jump { by_ns } => Skew { offset_ns: still.offset_ns + by_ns, ..still },
            Self::Drift { rate } => Skew { base_ns: now_ns, rate: (rate * RATE_ONE) as i64, ..still },
            Self::Strobe { by_ns, period } => {
                let period_ns = i64::try_from(period.as_nanos()).expect("invariant: periods are short");
                Skew { period_ns, delta_ns: by_ns, ..still }
            }
        }
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump { by_ns } => write!(f, "jumps by {}", Span(*by_ns)),
            Self::Drift { rate } => write!(f, "drifts by {:+.2} %", rate * 100.0),
            Self::Strobe { by_ns, period } => {
                write!(f, "jumps to and fro by {} every {period:.0?}", Span(*by_ns))
            }
        }
    }
}

/// A signed span of time, in the unit that fits.
pub(crate) struct Span(pub(crate) i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(f64, &str); 5] =
            [(86_400e9, "d"), (3_600e9, "h"), (60e9, "min"), (1e9, "s"), (1e6, "ms")];
        if self.0 == 0 {
            return f.write_str("nothing");
        }
        let length = self.0 as f64;
        let fitting = UNITS.into_iter().find(|(unit, _)| length.abs() >= *unit);
        let (unit, name) = fitting.unwrap_or((1e3, "µs"));
        write!(f, "{:+.1} {name}", length / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const RIGHT: Skew = Skew { base_ns: 0, rate: 0, offset_ns: 0, period_ns: 0, delta_ns: 0 };

    #[test]
    fn movements_do_what_they_say() {
        let now = 1_000 * SECOND;
        let jump = Movement::Jump { by_ns: -SECOND }.on(RIGHT, now);
        assert_eq!(jump.apply(now), 999 * SECOND);
        let drift = Movement::Drift { rate: 0.5 }.on(RIGHT, now);
        assert_eq!((drift.apply(now), drift.apply(now + 2 * SECOND)), (now, now + 3 * SECOND));
        let strobe = Movement::Strobe { by_ns: 7, period: Duration::from_secs(1) }.on(RIGHT, now);
        assert_eq!((strobe.apply(now) - now, strobe.apply(now + SECOND) - now - SECOND), (0, 7));
        assert!(RIGHT.is_none() && ![jump, drift, strobe].iter().any(Skew::is_none));
    }

    #[test]
    fn carried_clock_goes_on_where_it_was() {
        let drift = Movement::Drift { rate: 1.0 }.on(RIGHT, SECOND);
        let carried = drift.carried(3 * SECOND);
        assert_eq!(carried.apply(3 * SECOND), drift.apply(3 * SECOND));
        assert_eq!(carried.apply(4 * SECOND) - carried.apply(3 * SECOND), SECOND);
        let again = Movement::Jump { by_ns: SECOND }.on(drift, 3 * SECOND);
        assert_eq!(again.apply(3 * SECOND), drift.apply(3 * SECOND) + SECOND);
    }

    #[test]
    fn no_clock_shows_a_time_before_its_epoch() {
        assert_eq!(Skew { offset_ns: -SECOND, ..RIGHT }.apply(5), 0);
    }

    #[test]
    fn spans_are_written_in_the_unit_that_fits() {
        let shown = [-90 * SECOND, 36_000_000, 0, 172_800 * SECOND].map(|span| Span(span).to_string());
        assert_eq!(shown, ["-1.5 min", "+36.0 ms", "nothing", "+2.0 d"]);
    }
}
