//! What a link does to bytes, and how the wishes of several faults add up.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
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
    /// The ends of streams arrive later by this much in addition.
    pub end_delay: Duration,
    /// At most so many bytes pass in a second, all connections together.
    pub rate: Option<NonZeroU32>,
    /// Connections that stand when this begins are gone for their destination, which is told by a reset; their source
    /// is told when this is over.
    pub half_open: bool,
    /// What happens to single messages, on links whose messages can be told apart.
    pub messages: Odds,
    /// What happens to single packets on a switch.
    pub noise: Noise,
}

impl Rule {
    /// Lets everything pass.
    pub const OPEN: Self = Self {
        held: false,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        end_delay: Duration::ZERO,
        rate: None,
        half_open: false,
        messages: Odds::NONE,
        noise: Noise::NONE,
    };
    /// Holds everything.
    pub const HOLD: Self = Self { held: true, ..Self::OPEN };
    /// Leaves connections with one end.
    pub const HALF_OPEN: Self = Self { half_open: true, ..Self::OPEN };

    /// Lets bytes pass, later by `delay` and up to `jitter`.
    pub const fn late(delay: Duration, jitter: Duration) -> Self {
        Self { delay, jitter, ..Self::OPEN }
    }

    /// Does this to packets.
    pub const fn noisy(noise: Noise) -> Self {
        Self { noise, ..Self::OPEN }
    }

    /// Lets bytes pass, and the ends of streams later by `delay`.
    pub const fn late_ends(delay: Duration) -> Self {
        Self { end_delay: delay, ..Self::OPEN }
    }

    /// Lets so many bytes pass in a second.
    pub const fn narrow(bytes_per_second: NonZeroU32) -> Self {
        Self { rate: Some(bytes_per_second), ..Self::OPEN }
    }

    /// Lets messages pass, but for some.
    pub const fn messages(odds: Odds) -> Self {
        Self { messages: odds, ..Self::OPEN }
    }

    /// Both rules at once: one that holds is enough, delays add up, the smallest rate and the highest odds count.
    pub fn and(self, other: Self) -> Self {
        Self {
            held: self.held || other.held,
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            end_delay: self.end_delay + other.end_delay,
            rate: self.rate.into_iter().chain(other.rate).min(),
            half_open: self.half_open || other.half_open,
            messages: self.messages.and(other.messages),
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
        let mut words = Vec::new();
        if self.held {
            words.push("held".to_owned());
        }
        if !self.latest().is_zero() {
            words.push(format!("late by {:?} and up to {:?}", self.delay, self.jitter));
        }
        if !self.end_delay.is_zero() {
            words.push(format!("ends of connections late by {:?}", self.end_delay));
        }
        if let Some(rate) = self.rate {
            words.push(format!("{rate} bytes a second"));
        }
        if self.half_open {
            words.push("half-open".to_owned());
        }
        if self.messages != Odds::NONE {
            words.push(self.messages.to_string());
        }
        if self.noise != Noise::NONE {
            words.push(self.noise.to_string());
        }
        f.write_str(if words.is_empty() { "open" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// How often something happens to a message: once in so many times; 0 = never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Odds {
    /// It never arrives.
    pub lost: u16,
    /// It arrives twice.
    pub repeated: u16,
    /// It arrives after the one behind it, or [`Self::late_by`] later when none comes.
    pub swapped: u16,
    /// It arrives later by [`Self::late_by`], and those behind it do not wait.
    pub late: u16,
    /// How late messages are.
    pub late_by: Duration,
}

impl Odds {
    /// Every message passes.
    pub const NONE: Self = Self { lost: 0, repeated: 0, swapped: 0, late: 0, late_by: Duration::ZERO };

    fn and(self, other: Self) -> Self {
        let likelier =
            |one: u16, other: u16| if one == 0 || other == 0 { one.max(other) } else { one.min(other) };
        Self {
            lost: likelier(self.lost, other.lost),
            repeated: likelier(self.repeated, other.repeated),
            swapped: likelier(self.swapped, other.swapped),
            late: likelier(self.late, other.late),
            late_by: self.late_by.max(other.late_by),
        }
    }
}

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = format!("late by {:?}", self.late_by);
        let all = [
            (self.lost, "lost"),
            (self.repeated, "repeated"),
            (self.swapped, "behind the next"),
            (self.late, &late),
        ];
        let words: Vec<String> = all
            .into_iter()
            .filter(|(one_in, _)| *one_in > 0)
            .map(|(one_in, what)| format!("one message in {one_in} is {what}"))
            .collect();
        f.write_str(&words.join(", "))
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
        self.0.values().filter_map(|wishes| wishes.get(link)).copied().fold(Rule::OPEN, Rule::and)
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
    fn smallest_rate_and_highest_odds_of_two_faults_count() {
        let narrow = |rate| Rule::narrow(NonZeroU32::new(rate).unwrap());
        assert_eq!(narrow(2).and(narrow(1)).and(Rule::OPEN), narrow(1));
        let odds = |lost, repeated| Rule::messages(Odds { lost, repeated, ..Odds::NONE });
        assert_eq!(odds(3, 0).and(odds(7, 5)), odds(3, 5));
    }

    #[test]
    fn lifting_twice_is_the_same_as_once() {
        let mut wishes = Wishes::default();
        wishes.add(FaultId(1), link(), Rule::HOLD);
        wishes.remove(FaultId(1));
        assert!(wishes.remove(FaultId(1)).is_empty());
    }
}
