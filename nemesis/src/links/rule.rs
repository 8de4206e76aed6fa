//! What a link does to bytes, and how the wishes of several faults add up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Noise;
use crate::Link;

/// What a link does to the bytes of all its connections. The default lets them pass.
///
/// On a switch it is packets that are late, and what is held is lost: whoever sent it sends it again, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rule {
    /// Bytes wait until nobody holds them any more; new connections of the pair wait too.
    pub held: bool,
    /// Bytes arrive later by this much.
    pub delay: Duration,
    /// Bytes arrive later by a random part of this much in addition, in their order.
    pub jitter: Duration,
    /// What happens to single packets on a switch.
    pub noise: Noise,
}

impl Rule {
    /// Holds everything.
    pub const HOLD: Self =
        Self { held: true, delay: Duration::ZERO, jitter: Duration::ZERO, noise: Noise::NONE };

    /// Lets bytes pass, later by `delay` and up to `jitter`.
    pub const fn late(delay: Duration, jitter: Duration) -> Self {
        Self { held: false, delay, jitter, noise: Noise::NONE }
    }

    /// Does this to packets.
    pub const fn noisy(noise: Noise) -> Self {
        Self { held: false, delay: Duration::ZERO, jitter: Duration::ZERO, noise }
    }

    /// Both rules at once: one that holds is enough, delays add up.
    pub fn and(self, other: Self) -> Self {
        Self {
            held: self.held || other.held,
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            noise: self.noise.and(other.noise),
        }
    }

    /// The longest time that bytes are late because of delay and jitter.
    pub fn latest(&self) -> Duration {
        self.delay + self.jitter
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_quiet = self.noise == Noise::NONE;
        match (self.held, self.latest().is_zero()) {
            (true, _) => f.write_str("held"),
            (false, true) if is_quiet => f.write_str("open"),
            (false, true) => self.noise.fmt(f),
            (false, false) => {
                write!(f, "late by {:?} and up to {:?}", self.delay, self.jitter)?;
                if is_quiet { Ok(()) } else { write!(f, ", {}", self.noise) }
            }
        }
    }
}

/// Whose wish a rule is: the position of a fault in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub u32);

/// Who wants what of which link. Faults that overlap add up, and lifting one leaves the others.
#[derive(Debug, Default)]
pub(super) struct Wishes(BTreeMap<FaultId, BTreeMap<Link, Rule>>);

impl Wishes {
    pub(super) fn add(&mut self, fault: FaultId, link: Link, rule: Rule) {
        self.0.entry(fault).or_default().insert(link, rule);
    }

    /// Forgets what a fault wished; returns the links that it was about.
    pub(super) fn remove(&mut self, fault: FaultId) -> Vec<Link> {
        self.0.remove(&fault).unwrap_or_default().into_keys().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn total(&self, link: &Link) -> Rule {
        self.0.values().filter_map(|wishes| wishes.get(link)).copied().fold(Rule::default(), Rule::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::NodeId;

    fn link() -> Link {
        Link::new(NodeId::numbered(1), NodeId::numbered(2))
    }

    #[test]
    fn link_opens_only_when_every_fault_is_lifted() {
        let mut wishes = Wishes::default();
        wishes.add(FaultId(1), link(), Rule::HOLD);
        wishes.add(FaultId(2), link(), Rule::HOLD);
        assert_eq!(wishes.remove(FaultId(1)), vec![link()]);
        assert!(wishes.total(&link()).held);
        wishes.remove(FaultId(2));
        assert_eq!(wishes.total(&link()), Rule::default());
    }

    #[test]
    fn delays_of_two_faults_add_up() {
        let mut wishes = Wishes::default();
        let late = Rule::late(Duration::from_millis(20), Duration::from_millis(5));
        wishes.add(FaultId(1), link(), late);
        wishes.add(FaultId(2), link(), late);
        assert_eq!(wishes.total(&link()).latest(), Duration::from_millis(50));
    }

    #[test]
    fn lifting_twice_is_the_same_as_once() {
        let mut wishes = Wishes::default();
        wishes.add(FaultId(1), link(), Rule::HOLD);
        wishes.remove(FaultId(1));
        assert!(wishes.remove(FaultId(1)).is_empty());
    }
}
