//! Which mutants the simulation convicts, by which property, and after how many seeds.
//!
//! What a mutant breaks is found by chance, by faults that are not made for it. A failed assertion of the node convicts it as
//! well: in a real run the process ends. Mutants of the disk and of the driver are not in here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use node::{Mutant, control_ids, mutant_ids};

use super::Simulation;
use super::leases::with_leases;

const MAX_SEEDS: u64 = 300;

/// Must be found within so many seeds. C4, C6 and F1 need more than chance: they are convicted by written dialogues
/// (`scenarios/mutants`).
const CONVICTED: &[&str] = &[
    "A2", "A5", "A9", "A12", "A15", "B2", "B3", "B4", "B5", "B6", "B7", "B12", "B14", "B22", "C1", "C3",
    "C5", "C10", "F5", "F6", "F7", "F10",
];

/// The first seed that convicts a mutant, and what it does wrong there.
fn conviction(mutant: Mutant) -> Option<(u64, String)> {
    (0..MAX_SEEDS).find_map(|seed| {
        let mut simulation = Simulation::new(seed, |config| {
            config.mutant = Some(mutant);
            if mutant == Mutant::C6 {
                with_leases(config);
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
        let wrong = match outcome {
            Ok(Ok(())) => return None,
            Ok(Err(violation)) => violation,
            Err(panic) => match panic.downcast::<String>() {
                Ok(message) => *message,
                Err(panic) => {
                    panic.downcast_ref::<&str>().copied().unwrap_or("a failed assertion").to_owned()
                }
            },
        };
        Some((seed, wrong.lines().next().unwrap_or_default().to_owned()))
    })
}

#[test]
fn mutants_are_convicted_and_controls_are_not() {
    let mut wrong = Vec::new();
    for (id, title) in mutant_ids() {
        let mutant = Mutant::parse(id).expect("a catalogued id");
        let conviction = conviction(mutant);
        let verdict = match &conviction {
            Some((seed, what)) => format!("seed {seed:>3}  {what}"),
            None => format!("not found in {MAX_SEEDS} seeds"),
        };
        println!("{id:<4} {title:<60} {verdict}");
        let as_it_must_be = match conviction {
            Some(_) => !control_ids().contains(id),
            None => !CONVICTED.contains(id),
        };
        if !as_it_must_be {
            wrong.push(*id);
        }
    }
    assert_eq!(wrong, [""; 0], "not as they must be");
}
