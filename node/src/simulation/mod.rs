//! Deterministic simulation: whole clusters on one thread, in virtual time, against a seeded adversary.
//!
//! Each node is what servers run: the protocol core, the write-ahead log and the state machine; only sockets, threads and clocks
//! are replaced. The network loses, duplicates, delays and reorders messages and splits; processes stop, go on and are
//! killed; the power goes in the middle of what the disk does (`disk`), syncs fail, disks are full; nodes come and go, and
//! leaders hand over; in half of the runs snapshots are made every few entries. Clients number their writes and send them again
//! (`clients`). At the end everything heals, and the cluster must work again.
//!
//! What is checked, after every step (`truth`): the properties of Raft, figure 3; that a start finds what was reported durable,
//! and nothing else (`mirror`); that nodes which applied the same have the same state; that no write takes effect twice and no
//! acknowledged write is lost; that reads are recent.
//!
//! The same seed gives the same run, on every machine. `SIMULATION_SEED=7` runs that seed only, `SIMULATION_SEEDS=20000`
//! more of them; with the feature `mutants`, `SIMULATION_MUTANT=B8` makes every node wrong.

mod clients;
mod cluster;
mod dice;
mod disk;
mod member;
mod mirror;
#[cfg(feature = "mutants")]
mod mutants;
mod truth;

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::cluster::Cluster;
use self::truth::Violation;
use crate::raft::Config;

const SEEDS: u64 = 1000;

/// How much of everything happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    elections: usize,
    crashes: usize,
    power_losses: usize,
    lost_bytes: usize,
    disk_errors: usize,
    snapshots: usize,
    installs: usize,
    changes: usize,
    transfers: usize,
    replaced: usize,
    reads: usize,
    acknowledged: usize,
    repeats: usize,
    late_copies: usize,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.power_losses += other.power_losses;
        self.lost_bytes += other.lost_bytes;
        self.disk_errors += other.disk_errors;
        self.snapshots += other.snapshots;
        self.installs += other.installs;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.replaced += other.replaced;
        self.reads += other.reads;
        self.acknowledged += other.acknowledged;
        self.repeats += other.repeats;
        self.late_copies += other.late_copies;
    }
}

impl Seen {
    fn line(&self) -> String {
        let Self { elections, crashes, power_losses, lost_bytes, disk_errors, .. } = self;
        let Self { snapshots, installs, changes, transfers, replaced, reads, .. } = self;
        let Self { acknowledged, repeats, late_copies, .. } = self;
        format!(
            "{elections} elections, {crashes} crashes, {power_losses} power losses, {lost_bytes} lost bytes, \
             {disk_errors} disk errors, {snapshots} snapshots made, {installs} installed, \
             {changes} membership changes, {transfers} transfers, {replaced} entries replaced, {reads} reads, \
             {acknowledged} acknowledged writes, {repeats} sent again, {late_copies} late copies"
        )
    }

    fn rarest(&self) -> usize {
        let Self { elections, crashes, power_losses, lost_bytes, disk_errors, .. } = *self;
        let Self { snapshots, installs, changes, transfers, replaced, reads, .. } = *self;
        let Self { acknowledged, repeats, late_copies, .. } = *self;
        let faults = [elections, crashes, power_losses, lost_bytes, disk_errors, transfers, changes];
        let work = [snapshots, installs, replaced, reads, acknowledged, repeats, late_copies];
        faults.into_iter().chain(work).min().expect("there are some")
    }
}

/// What came of a seed. An assertion of the node that fails is a violation, too.
fn run(seed: u64, adapt: impl Fn(&mut Config)) -> Result<Seen, Violation> {
    let run = || {
        let mut cluster = Cluster::new(seed, &adapt)?;
        cluster.run().map(|()| cluster.seen)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("a node panicked: {}", message.unwrap_or_default()))
    })
}

/// How to see the same again.
fn replay(seed: u64) -> String {
    let mutant = std::env::var("SIMULATION_MUTANT").map(|id| format!("SIMULATION_MUTANT={id} "));
    let features = if cfg!(feature = "mutants") { " --features mutants" } else { "" };
    let test = "simulation::random_faults_break_no_promise";
    format!(
        "{}SIMULATION_SEED={seed} cargo test --release -p node{features} --lib {test}",
        mutant.unwrap_or_default()
    )
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

fn seeds() -> std::ops::Range<u64> {
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn random_faults_break_no_promise() {
    let mut seen = Seen::default();
    let seeds = seeds();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, chosen_mutant()) {
            Ok(one) => seen += one,
            Err(violation) => panic!("seed {seed}: {violation}\nreplay: {}", replay(seed)),
        }
    }
    println!("{runs} runs: {}", seen.line());
    let enough = if runs < SEEDS { 0 } else { SEEDS as usize };
    assert!(seen.rarest() >= enough, "the adversary is too kind");
}

#[cfg(not(feature = "mutants"))]
fn chosen_mutant() -> impl Fn(&mut Config) {
    |_| {}
}

#[cfg(feature = "mutants")]
fn chosen_mutant() -> impl Fn(&mut Config) {
    let id = std::env::var("SIMULATION_MUTANT").ok();
    let mutant = id.map(|id| crate::Mutant::parse(&id).unwrap_or_else(|| panic!("there is no mutant {id}")));
    move |config| config.mutant = mutant
}

#[test]
fn same_seed_gives_the_same_run() {
    assert_eq!(run(7, |_| {}), run(7, |_| {}));
}
