//! What a link does to single packets, where the nodes are joined by a switch of ours.

use std::fmt;

/// A probability, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate(u32);

impl Rate {
    const CERTAIN_PPM: u32 = 1_000_000;
    /// Every time.
    pub const ALWAYS: Self = Self(Self::CERTAIN_PPM);

    /// So many times in a hundred; more than 100 is always.
    pub const fn percent(percent: u32) -> Self {
        let ppm = percent.saturating_mul(Self::CERTAIN_PPM / 100);
        Self(if ppm > Self::CERTAIN_PPM { Self::CERTAIN_PPM } else { ppm })
    }

    /// Whether it never happens.
    pub fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Whether it happens to somebody who drew this number, evenly, in [0, 1).
    pub(crate) fn covers(self, fraction: f64) -> bool {
        fraction * f64::from(Self::CERTAIN_PPM) < f64::from(self.0)
    }

    fn and(self, other: Self) -> Self {
        Self((self.0 + other.0).min(Self::CERTAIN_PPM))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / f64::from(Self::CERTAIN_PPM / 100))
    }
}

/// How often packets are lost, delivered twice, overtaken by those behind them, or changed by a bit. The default leaves them
/// alone. Links that are proxies carry no packets and ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noise {
    /// Packets that never arrive.
    pub loss: Rate,
    /// Packets that arrive twice.
    pub duplication: Rate,
    /// Packets that wait while others overtake them.
    pub reordering: Rate,
    /// Packets in which a bit is flipped, behind the header of IP.
    pub corruption: Rate,
}

impl Noise {
    /// Leaves packets alone.
    pub const NONE: Self =
        Self { loss: Rate(0), duplication: Rate(0), reordering: Rate(0), corruption: Rate(0) };

    /// Both at once: rates add up.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            loss: self.loss.and(other.loss),
            duplication: self.duplication.and(other.duplication),
            reordering: self.reordering.and(other.reordering),
            corruption: self.corruption.and(other.corruption),
        }
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.loss, "lost"),
            (self.duplication, "delivered twice"),
            (self.reordering, "overtaken"),
            (self.corruption, "corrupted"),
        ];
        let mut said = parts.iter().filter(|(rate, _)| !rate.is_never());
        match said.next() {
            None => return f.write_str("packets left alone"),
            Some((rate, what)) => write!(f, "{rate} {what}")?,
        }
        said.try_for_each(|(rate, what)| write!(f, ", {rate} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_to_certainty_and_no_further() {
        let half = Noise { loss: Rate::percent(60), ..Noise::NONE };
        assert_eq!(half.and(half).loss, Rate::ALWAYS);
        assert_eq!(half.and(Noise::NONE), half);
        assert!(Rate::ALWAYS.covers(0.999_999_9) && !Rate::default().covers(0.0));
    }

    #[test]
    fn noise_is_said_in_percent() {
        let noise = Noise { loss: Rate::percent(12), corruption: Rate::percent(3), ..Noise::NONE };
        assert_eq!(noise.to_string(), "12 % lost, 3 % corrupted");
        assert_eq!(Noise::NONE.to_string(), "packets left alone");
    }
}
