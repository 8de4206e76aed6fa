//! Which mutants the simulation convicts, and by what.
//!
//! Every mutant runs on the same seeds, in their order, until one convicts it; the unchanged server runs on all of them without
//! a complaint. Nothing in the simulation is made for one of them.
//!
//! G5 (damage in the middle of the log taken for its end) is not convicted: no bits are flipped here.

use super::run;
use crate::Mutant;

/// Seeds that a mutant may need.
const MAX_SEEDS: u64 = 300;

/// Mutants of storage, sessions, snapshots and durability, and those of the core that were here before.
const CONVICTED: &[Mutant] = &[
    Mutant::A9,
    Mutant::B5,
    Mutant::B6,
    Mutant::B8,
    Mutant::B9,
    Mutant::B11,
    Mutant::B14,
    Mutant::B17,
    Mutant::C1,
    Mutant::D1,
    Mutant::D2,
    Mutant::D3,
    Mutant::D4,
    Mutant::D8,
    Mutant::E1,
    Mutant::E4,
    Mutant::E5,
    Mutant::E11,
    Mutant::E12,
    Mutant::G2,
    Mutant::G4,
    Mutant::G7,
];

#[test]
fn every_mutant_is_convicted_within_a_bounded_number_of_seeds() {
    let mut missed = Vec::new();
    for &mutant in CONVICTED {
        let conviction = (0..MAX_SEEDS).find_map(|seed| {
            let result = run(seed, |config| config.mutant = Some(mutant));
            result.err().map(|violation| (seed, violation))
        });
        match conviction {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {}", shortened(&violation)),
            None => missed.push(mutant),
        }
    }
    assert_eq!(missed, [], "not convicted by {MAX_SEEDS} seeds");
}

#[test]
fn server_without_a_mutant_is_not_convicted_on_the_same_seeds() {
    for seed in 0..MAX_SEEDS {
        assert_eq!(run(seed, |_| {}).err(), None, "seed {seed}");
    }
}

fn shortened(violation: &str) -> String {
    const LENGTH: usize = 120;
    violation.lines().next().unwrap_or_default().chars().take(LENGTH).collect()
}
