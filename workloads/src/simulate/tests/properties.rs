//! What a simulated history looks like: its events, its mix, its sizes, its violations.

use std::collections::{BTreeMap, BTreeSet};

use checker::Spec;
use history::operation::Pairing;
use history::{EventKind, Nanos};
use serde_json::Value;

use super::recorded::{Operation, Recorded, Told, record};
use super::small;
use crate::simulate::{SimulatedModel, Simulation, SimulationError, UNIT_NS};

fn of(simulation: &Simulation) -> Recorded {
    record(simulation, Nanos(0))
}

#[test]
fn every_history_is_legal() {
    for model in SimulatedModel::ALL {
        for (unknown_percent, violations) in [(0.0, 0), (30.0, 0), (5.0, 2), (100.0, 0)] {
            let simulation = Simulation { unknown_percent, violations, ..small(model) };
            let recorded = of(&simulation);
            let mut pairing = Pairing::default();
            for (at, event) in recorded.events.iter().enumerate() {
                assert_eq!(event.index, at as u64, "{simulation:?}");
                pairing
                    .push(event.clone())
                    .unwrap_or_else(|error| panic!("{simulation:?}: {event:?}: {error}"));
            }
            assert!(recorded.events.is_sorted_by(|one, two| one.time < two.time), "{simulation:?}");
            assert_eq!(recorded.summary.events, recorded.events.len() as u64);
            assert_eq!(recorded.summary.operations, simulation.operations);
            assert_eq!(recorded.summary.span, recorded.events.last().unwrap().time);
        }
    }
}

#[test]
fn clients_are_always_busy_unless_they_think() {
    let simulation = Simulation { concurrency: 20, ..small(SimulatedModel::Of(Spec::Register)) };
    let depths = |think_time| {
        let mut open = 0_usize;
        let mut depths = Vec::new();
        for event in record(&simulation, think_time).events {
            open = if event.kind == EventKind::Invoke { open + 1 } else { open - 1 };
            depths.push(open);
        }
        depths
    };
    let busy = depths(Nanos(0));
    assert!(busy[19..busy.len() - 20].iter().all(|open| (19..=20).contains(open)));
    let thoughtful = depths(Nanos(3 * UNIT_NS));
    let mean = thoughtful.iter().sum::<usize>() / thoughtful.len();
    assert!((3..=7).contains(&mean), "a quarter of 20 clients is busy at a time, not {mean}");
}

#[test]
fn operations_last_between_a_fifth_and_nine_fifths_of_a_unit() {
    let operations =
        of(&Simulation { operations: 20_000, ..small(SimulatedModel::Of(Spec::Counter)) }).operations();
    let durations: Vec<u64> = operations.iter().map(|operation| operation.end - operation.call).collect();
    let slack = 1000;
    assert!(durations.iter().all(|ns| (200_000 - slack..=1_800_000 + slack).contains(ns)));
    let mean = durations.iter().sum::<u64>() / durations.len() as u64;
    assert!((980_000..1_020_000).contains(&mean), "{mean}");
}

#[test]
fn unknown_outcomes_are_as_many_as_wanted_and_half_of_them_take_effect() {
    for unknown_percent in [0.0, 0.5, 20.0, 100.0] {
        let model = SimulatedModel::Of(Spec::Register);
        let recorded = of(&Simulation { unknown_percent, operations: 20_000, ..small(model) });
        let unknown: BTreeSet<u64> =
            recorded.operations().iter().filter(|o| o.observed.is_none()).map(|o| o.index).collect();
        assert_eq!(unknown.len() as u64, recorded.summary.unknown);
        let wanted = unknown_percent * 200.0;
        assert!(
            (unknown.len() as f64 - wanted).abs() <= 4.0 * wanted.sqrt(),
            "{} of {wanted}",
            unknown.len()
        );
        let (late, after) = late_effects(&recorded, &unknown);
        let half = wanted / 2.0;
        assert!((late as f64 - half).abs() <= 4.0 * half.sqrt(), "{late}, not half of {wanted}");
        assert!(after * 4 >= late * 2, "{after} of {late} take effect after their client gave up");
    }
}

/// How many operations of unknown outcome take effect, and how many of them after their client gave them up.
fn late_effects(recorded: &Recorded, unknown: &BTreeSet<u64>) -> (usize, usize) {
    let (mut late, mut after) = (0, 0);
    let mut open = BTreeMap::new();
    let mut given_up = BTreeSet::new();
    for told in &recorded.told {
        match told {
            Told::Effect(index, _) => {
                late += usize::from(unknown.contains(index));
                after += usize::from(given_up.contains(index));
            }
            Told::Event(at) => {
                let event = &recorded.events[*at];
                match event.kind {
                    EventKind::Invoke => drop(open.insert(event.process, event.index)),
                    EventKind::Info => drop(given_up.insert(open[&event.process])),
                    EventKind::Ok | EventKind::Fail => {}
                }
            }
        }
    }
    (late, after)
}

/// How many operations there are of each function.
fn mix(operations: &[Operation]) -> BTreeMap<&str, usize> {
    let mut mix = BTreeMap::new();
    operations.iter().for_each(|operation| *mix.entry(operation.f.as_str()).or_default() += 1);
    mix
}

#[test]
fn functions_are_mixed_as_documented() {
    let expected: [(SimulatedModel, &[(&str, usize)]); 9] = [
        (SimulatedModel::Of(Spec::Register), &[("read", 50), ("write", 50)]),
        (SimulatedModel::CasRegister, &[("read", 33), ("write", 33), ("cas", 33)]),
        (SimulatedModel::Of(Spec::VersionedRegister), &[("read", 33), ("write", 33), ("cas", 33)]),
        (SimulatedModel::Of(Spec::Kv), &[("get", 40), ("cas", 10), ("delete", 10)]),
        (SimulatedModel::Of(Spec::Set), &[("add", 33), ("remove", 33), ("contains", 33)]),
        (SimulatedModel::Of(Spec::Counter), &[("add", 50), ("read", 50)]),
        (SimulatedModel::Of(Spec::Queue), &[("enqueue", 50), ("dequeue", 50)]),
        (SimulatedModel::Of(Spec::Stack), &[("push", 50), ("pop", 50)]),
        (SimulatedModel::Of(Spec::AppendList), &[("append", 50), ("read", 50)]),
    ];
    for (model, functions) in expected {
        let operations = of(&Simulation { operations: 20_000, ..small(model) }).operations();
        let mix = mix(&operations);
        for (function, percent) in functions {
            let found = mix[function] * 100 / operations.len();
            assert!(found.abs_diff(*percent) <= 4, "{model}: {found} % {function}");
        }
    }
}

#[test]
fn keys_are_picked_uniformly() {
    let operations = of(&Simulation { keys: 10, ..small(SimulatedModel::Of(Spec::Register)) }).operations();
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    operations.iter().for_each(|operation| *keys.entry(&operation.key).or_default() += 1);
    assert_eq!(keys.len(), 10);
    assert!(keys.values().all(|count| (140..260).contains(count)), "{keys:?}");
}

#[test]
fn what_is_written_is_unique_where_the_model_says_so() {
    let unique = [
        SimulatedModel::Of(Spec::Register),
        SimulatedModel::Of(Spec::VersionedRegister),
        SimulatedModel::Of(Spec::Queue),
        SimulatedModel::Of(Spec::UnorderedQueue),
        SimulatedModel::Of(Spec::Stack),
        SimulatedModel::Of(Spec::AppendList),
        SimulatedModel::Of(Spec::Kv),
    ];
    for model in unique {
        let mut seen = BTreeSet::new();
        for operation in of(&small(model)).operations() {
            let written = if operation.f == "cas" { &operation.argument[1] } else { &operation.argument };
            assert!(written.is_null() || seen.insert(written.to_string()), "{model}: {written} comes twice");
        }
        assert!(seen.len() > 500, "{model}");
    }
}

#[test]
fn observations_stay_short() {
    let largest = |model, size: fn(&Value) -> usize| {
        let simulation = Simulation { operations: 20_000, concurrency: 30, keys: 1, ..small(model) };
        let operations = of(&simulation).operations();
        operations.iter().filter_map(|operation| operation.observed.as_ref()).map(size).max().unwrap()
    };
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(largest(SimulatedModel::Of(Spec::AppendList), length), 32);
    let bytes = |value: &Value| value.as_str().map_or(0, str::len);
    assert!((48..200).contains(&largest(SimulatedModel::Of(Spec::Kv), bytes)));
}

#[test]
fn collections_neither_grow_nor_starve() {
    for model in [
        SimulatedModel::Of(Spec::Queue),
        SimulatedModel::Of(Spec::UnorderedQueue),
        SimulatedModel::Of(Spec::Stack),
    ] {
        let simulation = Simulation { operations: 20_000, keys: 1, ..small(model) };
        let operations = of(&simulation).operations();
        let insertions = operations.iter().filter(|operation| !operation.argument.is_null()).count();
        let removals = || operations.iter().filter(|operation| operation.argument.is_null());
        let empty = removals().filter(|operation| operation.observed == Some(Value::Null)).count();
        let left = insertions - (removals().count() - empty);
        assert!(left <= 5 * simulation.concurrency as usize, "{model}: {left} elements are left");
        assert!((20..2000).contains(&empty), "{model}: {empty} of {} found nothing", removals().count());
    }
}

#[test]
fn element_of_a_set_lives_through_a_dozen_operations() {
    let simulation = Simulation { values: 6, ..small(SimulatedModel::Of(Spec::Set)) };
    let mut lives: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for operation in of(&simulation).operations() {
        *lives.entry((operation.key, operation.argument.as_u64().unwrap())).or_default() += 1;
    }
    assert!(lives.values().all(|uses| *uses <= 12));
    assert!(
        lives.values().filter(|uses| **uses < 12).count() <= 18,
        "only those in the pools are unfinished"
    );
}

#[test]
fn lock_is_taken_again_and_again_whatever_is_unknown() {
    let simulation = Simulation { unknown_percent: 25.0, keys: 2, ..small(SimulatedModel::Of(Spec::Mutex)) };
    let operations = of(&simulation).operations();
    let granted = |part: &[Operation]| {
        let tokens = part.iter().filter(|o| o.f == "acquire").filter_map(|o| o.observed.as_ref());
        tokens.filter(|token| token.is_u64()).count()
    };
    assert!(operations.chunks(500).all(|part| granted(part) >= 20));
}

#[test]
fn violation_is_at_sixty_percent_and_more_are_spread() {
    for model in SimulatedModel::ALL {
        let simulation = Simulation { operations: 50_000, ..small(model) };
        for (violations, expected) in [(1, vec![60]), (2, vec![40, 80]), (4, vec![30, 50, 70, 90])] {
            let recorded = of(&Simulation { violations, ..simulation.clone() });
            let percent = |index: &u64| index * 100 / recorded.summary.events;
            let found: Vec<u64> =
                recorded.summary.violations.iter().map(|v| percent(v.operations.last().unwrap())).collect();
            let close =
                found.iter().zip(&expected).all(|(found, wanted)| (wanted - 1..wanted + 5).contains(found));
            assert!(found.len() == expected.len() && close, "{model}: {found:?}, not {expected:?}");
        }
    }
}

#[test]
fn violation_changes_nothing_but_what_it_names() {
    for model in SimulatedModel::ALL {
        let right = Simulation { unknown_percent: 3.0, ..small(model) };
        let wrong = of(&Simulation { violations: 3, ..right.clone() });
        let mut changed = BTreeSet::new();
        let mut open = BTreeMap::new();
        for (right, wrong) in of(&right).events.into_iter().zip(&wrong.events) {
            if right.kind == EventKind::Invoke {
                open.insert(right.process, right.index);
            }
            if right.value != wrong.value {
                changed.insert(open[&right.process]);
            }
            assert_eq!(
                history::Event { value: Value::Null, ..right },
                history::Event { value: Value::Null, ..wrong.clone() }
            );
        }
        let named: BTreeSet<u64> =
            wrong.summary.violations.iter().flat_map(|violation| violation.operations.clone()).collect();
        assert_eq!(changed, named, "{model}");
        assert_eq!(wrong.summary.violations.len(), 3, "{model}");
    }
}

#[test]
fn violation_that_does_not_fit_is_not_invented() {
    for model in SimulatedModel::ALL {
        let unknown_percent = 100.0;
        let recorded = of(&Simulation { unknown_percent, violations: 1, ..small(model) });
        assert_eq!(recorded.summary.violations, [], "{model}");
        assert_eq!(recorded.summary.events, 4000, "{model}: held events are released");
    }
}

#[test]
fn impossible_simulations_are_refused() {
    let right = small(SimulatedModel::Of(Spec::Set));
    assert_eq!(right.check(), Ok(()));
    let wrong = [
        (Simulation { operations: 0, ..right.clone() }, "operations 0"),
        (Simulation { concurrency: 0, ..right.clone() }, "concurrency 0"),
        (Simulation { concurrency: 5000, ..right.clone() }, "concurrency 5000"),
        (Simulation { keys: 0, ..right.clone() }, "keys 0"),
        (Simulation { values: 0, ..right.clone() }, "values 0"),
        (Simulation { unknown_percent: f64::NAN, ..right.clone() }, "unknown NaN"),
        (Simulation { unknown_percent: -0.1, ..right.clone() }, "unknown -0.1"),
        (Simulation { violations: 2001, ..right.clone() }, "violations 2001"),
        (Simulation { keys: 1 << 20, ..right.clone() }, "keys 1048576 with 20 values"),
    ];
    for (simulation, words) in wrong {
        let error = simulation.check().map_err(|error: SimulationError| error.to_string());
        assert!(error.as_ref().is_err_and(|said| said.starts_with(words)), "{words}: {error:?}");
    }
}

#[test]
fn names_of_models_are_read_back() {
    for model in SimulatedModel::ALL {
        assert_eq!(model.to_string().parse(), Ok(model));
    }
    let error = "regsiter".parse::<SimulatedModel>().unwrap_err().to_string();
    assert!(error.contains("regsiter") && error.contains("append-list"), "{error}");
}
