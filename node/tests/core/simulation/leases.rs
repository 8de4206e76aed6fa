//! Clocks that differ, and reads that lean on them.

use node::raft::{Config, Millis, NodeId};

use super::Simulation;

/// The clocks of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// How fast they go, in percent of the true time.
    rate_percent: u64,
    /// What the time of day is ahead of the other clock, which nobody sets.
    ahead_ms: u64,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { rate_percent: 100, ahead_ms: FURTHEST_MS }
    }
}

/// The time of day is at most twice as far ahead.
const FURTHEST_MS: u64 = 2_000;
const SEEDS: u64 = 300;

/// Leases that last longer than a message takes in this slow network.
pub(super) fn with_leases(config: &mut Config) {
    config.lease_reads = true;
    config.election = Millis(300);
}

impl Simulation {
    /// What a node takes for the time: that of the clock that nobody sets, if it is right in its mind.
    pub(super) fn clock(&self, node: NodeId) -> Millis {
        let Clocks { rate_percent, ahead_ms } = self.members[&node].clocks;
        let steady_ms = self.now.0 * rate_percent / 100;
        #[cfg(feature = "mutants")]
        if self.config.mutant == Some(node::Mutant::C6) {
            return Millis(steady_ms + ahead_ms);
        }
        let _ = ahead_ms;
        Millis(steady_ms)
    }

    pub(super) fn set_time_of_day(&mut self, node: NodeId) {
        let ahead_ms = self.dice.below(2 * FURTHEST_MS as usize) as u64;
        self.members.get_mut(&node).expect("a member").clocks.ahead_ms = ahead_ms;
    }

    /// Lets the clocks of nodes go at different rates between these, in percent.
    fn drift(&mut self, slowest: u64, fastest: u64) {
        for position in 0..self.ids.len() {
            let rate_percent = slowest + self.dice.below((fastest - slowest + 1) as usize) as u64;
            self.members.get_mut(&self.ids[position]).expect("a member").clocks.rate_percent = rate_percent;
        }
    }
}

#[test]
fn reads_under_leases_are_fresh_as_long_as_clocks_agree_on_how_time_passes() {
    let mut reads_at_once = 0;
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(seed, with_leases);
        // The slowest goes at 91 percent of the fastest.
        simulation.drift(95, 104);
        assert_eq!(simulation.run(), Ok(()), "seed {seed}");
        reads_at_once += simulation.seen.reads_at_once;
    }
    println!("{SEEDS} runs: {reads_at_once} reads under a lease");
    assert!(reads_at_once > 10 * SEEDS as usize, "leases are hardly used");
}
