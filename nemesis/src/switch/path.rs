//! One direction between two hosts: what becomes of a packet, and when it is delivered.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::frame;
use crate::dice::Dice;
use crate::links::{Counters, Lane, Noise, Rule, count};

/// Packets of one path that wait to be delivered, at most; more are lost, as in any switch. At a delay of 300 ms and
/// 1500 bytes a packet it lets 20 MB/s pass.
pub(super) const WAITING_LIMIT: usize = 4096;
/// How long a packet waits so that others overtake it.
const OVERTAKEN_FOR: (f64, f64) = (0.001, 0.02);

/// What noise does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    copies: usize,
    corrupted: bool,
    overtaken: bool,
}

impl Fate {
    const SPARED: Self = Self { copies: 1, corrupted: false, overtaken: false };

    fn draw(noise: Noise, dice: &mut Dice) -> Self {
        if noise == Noise::NONE {
            return Self::SPARED;
        }
        let lost = noise.loss.covers(dice.fraction());
        let twice = noise.duplication.covers(dice.fraction());
        Self {
            copies: if lost { 0 } else { 1 + usize::from(twice) },
            corrupted: noise.corruption.covers(dice.fraction()),
            overtaken: noise.reordering.covers(dice.fraction()),
        }
    }
}

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Path {
    lane: Lane,
    dice: Dice,
    /// When the last packet that keeps the order is delivered.
    last_release: Option<Instant>,
    waiting: usize,
}

/// When a packet is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    AtOnce,
    At(Instant),
}

impl Path {
    pub(super) fn new(lane: Lane, seed: u64) -> Self {
        Self { lane, dice: Dice::new(seed), last_release: None, waiting: 0 }
    }

    /// Decides about a packet that came in, and changes it if it must be: one delivery for each copy.
    pub(super) fn admit(&mut self, packet: &mut [u8], now: Instant) -> Vec<Delivery> {
        let rule = *self.lane.rule.borrow();
        self.count(packet, frame::carried_bytes(packet), |counters| &counters.bytes_in);
        if rule.held {
            self.count(packet, packet.len(), |counters| &counters.bytes_held);
            return Vec::new();
        }
        let fate = Fate::draw(rule.noise, &mut self.dice);
        let is_hit = fate != Fate::SPARED || !rule.latest().is_zero();
        self.count(packet, usize::from(is_hit), |counters| &counters.packets_hit);
        if fate.corrupted {
            frame::corrupt(packet, &mut self.dice);
        }
        let deliveries: Vec<Delivery> = (0..fate.copies).map(|_| self.delivery(rule, fate, now)).collect();
        if deliveries.iter().any(|delivery| *delivery != Delivery::AtOnce) {
            self.count(packet, packet.len(), |counters| &counters.bytes_delayed);
        }
        deliveries
    }

    /// Never before the packet that came in before, unless it is to be overtaken.
    fn delivery(&mut self, rule: Rule, fate: Fate, now: Instant) -> Delivery {
        let late = rule.delay + rule.jitter.mul_f64(self.dice.fraction());
        if fate.overtaken {
            let wait = Duration::from_secs_f64(self.dice.even(OVERTAKEN_FOR.0, OVERTAKEN_FOR.1));
            return Delivery::At(now + late + wait);
        }
        let release = self.last_release.unwrap_or(now).max(now + late);
        if release <= now {
            return Delivery::AtOnce;
        }
        self.last_release = Some(release);
        Delivery::At(release)
    }

    /// Takes a place for a packet that is to wait; `false` when there is none.
    pub(super) fn begins_to_wait(&mut self) -> bool {
        let has_room = self.waiting < WAITING_LIMIT;
        self.waiting += usize::from(has_room);
        has_room
    }

    /// The wait of a packet is over; whether it may still be delivered: a cut loses what is under way.
    pub(super) fn has_waited(&mut self, packet: &[u8]) -> bool {
        self.waiting -= 1;
        let held = self.lane.rule.borrow().held;
        if held {
            self.count(packet, packet.len(), |counters| &counters.bytes_held);
        }
        !held
    }

    /// It went to its destination.
    pub(super) fn delivered(&self, packet: &[u8]) {
        self.count(packet, frame::carried_bytes(packet), |counters| &counters.bytes_out);
    }

    /// Canaries are no effect of a fault on the system.
    fn count(&self, packet: &[u8], amount: usize, counter: fn(&Counters) -> &AtomicU64) {
        if !frame::is_canary(packet) {
            count(counter(&self.lane.counters), amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Rate;

    fn path(rule: Rule) -> Path {
        let (_, rule) = tokio::sync::watch::channel(rule);
        Path::new(Lane::detached(rule), 7)
    }

    fn deliveries(rule: Rule, packets: usize) -> Vec<Vec<Delivery>> {
        let (mut path, now) = (path(rule), Instant::now());
        (0..packets).map(|_| path.admit(&mut [0; 60], now)).collect()
    }

    #[test]
    fn rates_are_kept_in_the_long_run() {
        const PACKETS: usize = 20_000;
        let noise = Noise { loss: Rate::percent(20), duplication: Rate::percent(10), ..Noise::NONE };
        let delivered = deliveries(Rule::noisy(noise), PACKETS);
        let with = |copies| delivered.iter().filter(|packet| packet.len() == copies).count() * 100 / PACKETS;
        assert!((19..=21).contains(&with(0)) && (7..=8).contains(&with(2)), "{} {}", with(0), with(2));
    }

    #[test]
    fn late_packets_keep_their_order_and_overtaken_ones_do_not() {
        let late = Rule::late(Duration::from_millis(10), Duration::from_millis(10));
        let in_order = deliveries(late, 500);
        let time = |delivery: &[Delivery]| match delivery {
            [Delivery::At(at)] => *at,
            other => panic!("{other:?}"),
        };
        assert!(in_order.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])));
        let noise = Noise { reordering: Rate::percent(50), ..Noise::NONE };
        let mixed = deliveries(late.and(Rule::noisy(noise)), 500);
        assert!(mixed.windows(2).any(|pair| time(&pair[0]) > time(&pair[1])));
    }

    #[test]
    fn what_is_held_is_lost_and_so_is_what_finds_no_room() {
        assert_eq!(deliveries(Rule::HOLD, 3), vec![Vec::new(); 3]);
        assert_eq!(deliveries(Rule::default(), 1), vec![vec![Delivery::AtOnce]]);
        let mut path = path(Rule::HOLD);
        assert!((0..WAITING_LIMIT).all(|_| path.begins_to_wait()) && !path.begins_to_wait());
        assert!(!path.has_waited(&[0; 60]) && path.begins_to_wait());
    }
}
