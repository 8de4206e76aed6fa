//! Every model: legal events, an order of effects that an independent object replays, violations that an independent
//! search refutes, the same bytes for the same seed.

mod object;
mod oracle;
mod proofs;
mod properties;
mod recorded;

use checker::Spec;
use history::Nanos;

use super::{SimulatedModel, Simulation};
use recorded::{Recorded, record};

/// A small simulation of a model, to be varied.
fn small(model: SimulatedModel) -> Simulation {
    Simulation {
        model,
        operations: 2000,
        concurrency: 8,
        keys: 3,
        unknown_percent: 0.0,
        violations: 0,
        values: model.default_values().unwrap_or_default(),
        seed: 7,
    }
}

/// FNV-1a over the lines of the file.
fn digest(recorded: &Recorded) -> u64 {
    let lines = recorded.events.iter().map(|event| serde_json::to_string(event).unwrap());
    lines
        .flat_map(String::into_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Digests of a history with unknown outcomes and a violation. They change only when histories of old seeds are
/// given up on purpose.
const GOLDEN: [(SimulatedModel, u64); 11] = [
    (SimulatedModel::Of(Spec::Register), 0x613a_9ebb_dc45_f67b),
    (SimulatedModel::CasRegister, 0xc24a_7c61_f3f3_a71e),
    (SimulatedModel::Of(Spec::VersionedRegister), 0xd0ee_f91d_b08b_62e2),
    (SimulatedModel::Of(Spec::Kv), 0x8f65_1011_b90d_a3d5),
    (SimulatedModel::Of(Spec::Set), 0x9bad_d85e_f192_c57e),
    (SimulatedModel::Of(Spec::Counter), 0xfb3f_e998_7156_824f),
    (SimulatedModel::Of(Spec::Queue), 0xff79_1333_55db_1de5),
    (SimulatedModel::Of(Spec::UnorderedQueue), 0xf358_325e_c29e_c466),
    (SimulatedModel::Of(Spec::Stack), 0x2fb6_122b_53c0_2dca),
    (SimulatedModel::Of(Spec::Mutex), 0x05e3_724f_2653_d28e),
    (SimulatedModel::Of(Spec::AppendList), 0xffc9_e7b6_184a_0866),
];

#[test]
fn same_seed_gives_the_same_bytes_in_every_build() {
    let found = GOLDEN.map(|(model, _)| {
        let simulation = Simulation { operations: 400, unknown_percent: 5.0, violations: 1, ..small(model) };
        (model, digest(&record(&simulation, Nanos(0))))
    });
    assert_eq!(found, GOLDEN, "{found:#x?}");
}

#[test]
fn other_seed_gives_another_history() {
    for model in SimulatedModel::ALL {
        let one = digest(&record(&small(model), Nanos(0)));
        let other = digest(&record(&Simulation { seed: 8, ..small(model) }, Nanos(0)));
        assert_ne!(one, other, "{model}");
    }
}

#[test]
fn effects_in_their_order_are_those_of_an_independent_object() {
    for model in SimulatedModel::ALL {
        for unknown_percent in [0.0, 10.0] {
            let simulation = Simulation { unknown_percent, ..small(model) };
            object::replay(model, &record(&simulation, Nanos(0)));
        }
    }
}

#[test]
fn small_histories_are_linearizable_and_their_violations_are_not() {
    let seeds: u64 = std::env::var("SHAKEDOWN_SIMULATE_SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    for model in SimulatedModel::ALL {
        let mut wrong = 0;
        for seed in 0..seeds {
            let simulation = Simulation {
                operations: 14 + seed % 12,
                concurrency: 1 + u32::try_from(seed % 4).unwrap(),
                keys: 1 + seed / 4 % 2,
                unknown_percent: if seed % 3 == 0 { 15.0 } else { 0.0 },
                values: 3,
                seed,
                ..small(model)
            };
            assert!(oracle::is_linearizable(model, &record(&simulation, Nanos(0))), "{simulation:?}");
            let falsified = record(&Simulation { violations: 1, ..simulation.clone() }, Nanos(0));
            if !falsified.summary.violations.is_empty() {
                wrong += 1;
                assert!(!oracle::is_linearizable(model, &falsified), "{simulation:?}");
            }
        }
        assert!(wrong * 3 >= seeds, "{model}: only {wrong} of {seeds} histories have a violation");
    }
}

#[test]
fn violations_of_large_histories_are_proven_by_their_operations() {
    for model in SimulatedModel::ALL {
        for unknown_percent in [0.0, 5.0] {
            for (concurrency, keys) in [(1, 1), (5, 1), (20, 1), (50, 1), (20, 100), (50, 1000)] {
                let simulation = Simulation {
                    operations: 20_000,
                    concurrency,
                    keys,
                    unknown_percent,
                    violations: 3,
                    seed: u64::from(concurrency) + keys,
                    ..small(model)
                };
                let recorded = record(&simulation, Nanos(0));
                assert_eq!(recorded.summary.violations.len(), 3, "{simulation:?}");
                let operations = recorded.operations();
                for violation in &recorded.summary.violations {
                    assert!(proofs::holds(model, &operations, violation), "{simulation:?}: {violation:?}");
                }
            }
        }
    }
}
