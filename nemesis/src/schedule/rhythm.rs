//! When faults come, when none does, and whether they may take a majority: what a user can ask of a schedule.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::dice::Dice;
use crate::{Kind, Nemesis};

/// An exponential interval is never longer than so many times its mean.
const LONGEST_MEANS: f64 = 10.0;
/// No interval is shorter: the nemesis could not keep up.
const SHORTEST: Duration = Duration::from_millis(10);

/// What a user can ask of a schedule. The default leaves a short gap after each fault, and nothing is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rhythm {
    /// The time from the beginning of a fault, or of a composition of faults, to the beginning of the next.
    pub interval: Option<Interval>,
    /// When no fault stands.
    pub quiet: Option<Quiet>,
    /// Whether a majority may be taken.
    pub quorum: Quorum,
}

/// A distribution of times: `fixed:5s`, `uniform:1s..4s`, `exp:3s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interval {
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two.
    Uniform(Duration, Duration),
    /// Exponential with this mean: faults come independently of each other.
    Exponential(Duration),
}

/// No fault stands for some time of every period: `2s/10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// How long nothing stands, at the end of each period.
    pub quiet: Duration,
    /// From the beginning of one period to the next.
    pub period: Duration,
}

/// Whether faults may leave less than a majority of the nodes running and connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quorum {
    /// They never do: one that would, alone or beside those that stand, is skipped.
    Never,
    /// They may, as chance has it.
    #[default]
    AtMost,
    /// Every kind that can does so.
    Break,
}

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct NoRhythm {
    text: String,
    expected: &'static str,
}

/// A length of time with its unit: `300ms`, `1.5s`, `2m`.
pub(crate) fn length(text: &str) -> Option<Duration> {
    let (number, seconds) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else {
        (text.strip_suffix('m')?, 60.0)
    };
    let number = number.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number))?;
    Some(Duration::from_secs_f64(number * seconds))
}

impl Interval {
    /// Draws a time, in seconds.
    pub(super) fn draw(self, dice: &mut Dice) -> f64 {
        let drawn = match self {
            Self::Fixed(time) => time.as_secs_f64(),
            Self::Uniform(low, high) => dice.even(low.as_secs_f64(), high.as_secs_f64()),
            Self::Exponential(mean) => {
                let means = -(1.0 - dice.fraction()).ln();
                mean.as_secs_f64() * means.min(LONGEST_MEANS)
            }
        };
        drawn.max(SHORTEST.as_secs_f64())
    }
}

impl FromStr for Interval {
    type Err = NoRhythm;

    fn from_str(text: &str) -> Result<Self, NoRhythm> {
        let time = |text: &str| length(text).filter(|time| *time >= SHORTEST);
        let interval = text.split_once(':').and_then(|(name, times)| match name {
            "fixed" => time(times).map(Self::Fixed),
            "exp" => time(times).map(Self::Exponential),
            "uniform" => {
                let (low, high) = times.split_once("..")?;
                Some(Self::Uniform(time(low)?, time(high)?)).filter(|_| time(low) <= time(high))
            }
            _ => None,
        });
        let expected = "`fixed:5s`, `uniform:1s..4s` or `exp:3s`, with times of at least 10 ms";
        interval.ok_or_else(|| NoRhythm { text: text.to_owned(), expected })
    }
}

impl FromStr for Quiet {
    type Err = NoRhythm;

    fn from_str(text: &str) -> Result<Self, NoRhythm> {
        let parts = text.split_once('/').and_then(|(quiet, period)| Some((length(quiet)?, length(period)?)));
        let parts = parts.filter(|(quiet, period)| !quiet.is_zero() && quiet < period);
        let expected = "two times such as `2s/10s`: nothing for the last 2 s of every 10 s";
        let (quiet, period) = parts.ok_or_else(|| NoRhythm { text: text.to_owned(), expected })?;
        Ok(Self { quiet, period })
    }
}

impl Quiet {
    /// The part of each period in which faults stand, and the period, in seconds.
    pub(super) fn seconds(self) -> (f64, f64) {
        ((self.period - self.quiet).as_secs_f64(), self.period.as_secs_f64())
    }
}

impl Quorum {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Never, Self::AtMost, Self::Break];
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::AtMost => "at-most",
            Self::Break => "break",
        })
    }
}

impl FromStr for Quorum {
    type Err = NoRhythm;

    fn from_str(text: &str) -> Result<Self, NoRhythm> {
        let expected = "`never`, `at-most` or `break`";
        let known = Self::ALL.into_iter().find(|quorum| quorum.to_string() == text);
        known.ok_or_else(|| NoRhythm { text: text.to_owned(), expected })
    }
}

/// Whether it is a kill at a line.
pub(crate) fn waits_for_a_line(nemesis: &Nemesis) -> bool {
    nemesis.kind() == Kind::Kill && nemesis.argument().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(interval: &str) -> f64 {
        let (interval, mut dice) = (interval.parse::<Interval>().unwrap(), Dice::new(1));
        (0..4000).map(|_| interval.draw(&mut dice)).sum::<f64>() / 4000.0
    }

    #[test]
    fn intervals_have_the_mean_that_they_name() {
        for (text, expected) in [("fixed:500ms", 0.5), ("uniform:1s..4s", 2.5), ("exp:3s", 3.0)] {
            assert!((mean(text) / expected - 1.0).abs() < 0.05, "{text}: {}", mean(text));
        }
    }

    #[test]
    fn uniform_intervals_stay_between_their_ends() {
        let interval = "uniform:1s..4s".parse::<Interval>().unwrap();
        let mut dice = Dice::new(3);
        assert!((0..1000).map(|_| interval.draw(&mut dice)).all(|time| (1.0..4.0).contains(&time)));
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in ["exp", "exp:3", "exp:0s", "uniform:1s", "uniform:4s..1s", "often:1s", "fixed:-1s"] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong}");
        }
        for wrong in ["2s", "0s/10s", "10s/10s", "2/10"] {
            assert!(wrong.parse::<Quiet>().is_err(), "{wrong}");
        }
        let error = "always".parse::<Quorum>().unwrap_err().to_string();
        assert_eq!(error, "\"always\" is not `never`, `at-most` or `break`");
    }

    #[test]
    fn lengths_have_a_unit() {
        let millis = |text| length(text).map(|length| length.as_millis());
        assert_eq!(["300ms", "1.5s", "2m"].map(millis), [Some(300), Some(1500), Some(120_000)]);
        assert_eq!(["3", "s", "-1s", "NaNs", "1e99s"].map(millis), [None; 5]);
    }
}
