//! Histories too large for an oracle: what must hold for them all the same, and the limits.

use std::time::{Duration, Instant};

use history::{Nanos, Outcome, Process};
use serde_json::json;

use super::simulate::{Mix, Random, corrupt, long, stale_read};
use crate::rows::{Rows, operation};
use crate::{Budget, CheckOutcome, Finding, linearizable_register};

fn check(history: &Rows) -> Finding {
    linearizable_register(&history.history(), &Budget::default()).unwrap()
}

fn outcome(history: &Rows) -> CheckOutcome {
    check(history).result.outcome
}

/// Histories under different keys, one after another.
fn merged(histories: Vec<Rows>) -> Rows {
    let mut merged = Rows::default();
    for (key, history) in histories.into_iter().enumerate() {
        for mut operation in history.operations {
            operation.key = Some(format!("k{key}"));
            operation.index = merged.operations.len() as u64;
            merged.operations.push(operation);
        }
    }
    merged
}

fn all_mixes() -> [(Mix, usize); 4] {
    [(Mix::Unique, 5), (Mix::Unique, 20), (Mix::Repeated, 5), (Mix::Cas, 10)]
}

#[test]
fn simulated_history_is_valid_and_stays_so_when_intervals_widen() {
    for (mix, clients) in all_mixes() {
        let mut history = long(mix, clients, 12_000, 50, 7);
        assert_eq!(outcome(&history), CheckOutcome::Valid);
        let mut random = Random::new(3);
        for operation in &mut history.operations {
            operation.call = operation.call.saturating_sub(Nanos(random.below(4)));
            operation.ret = operation.ret.map(|ret| ret + Nanos(random.below(4)));
        }
        assert_eq!(outcome(&history), CheckOutcome::Valid, "{mix:?}");
    }
}

#[test]
fn valid_history_stays_valid_without_some_reads_and_with_other_process_names() {
    for (mix, clients) in all_mixes() {
        let mut history = long(mix, clients, 6000, 50, 8);
        let mut random = Random::new(4);
        history.operations.retain(|operation| operation.f != "read" || random.below(3) > 0);
        history
            .operations
            .iter_mut()
            .for_each(|operation| operation.process = Process(9999 - operation.process.0));
        assert_eq!(outcome(&history), CheckOutcome::Valid, "{mix:?}");
    }
}

#[test]
fn stale_read_stays_a_violation_whatever_else_is_known() {
    for clients in [3, 10, 20] {
        let mut history = long(Mix::Unique, clients, 9000, 40, 9);
        assert!(stale_read(&mut history, 0.5));
        assert_eq!(outcome(&history), CheckOutcome::Violation);
        let beside_others =
            merged(vec![long(Mix::Cas, 5, 3000, 40, 1), history.clone(), long(Mix::Unique, 5, 3000, 40, 2)]);
        let finding = check(&beside_others);
        assert_eq!(finding.anomalies.len(), 1);
        assert_eq!(finding.anomalies[0].key.as_deref(), Some("k1"));
        history.operations.retain(|operation| operation.outcome == Outcome::Ok);
        assert_eq!(outcome(&history), CheckOutcome::Violation);
    }
}

#[test]
fn several_violated_keys_are_explained_smallest_first() {
    let stale = |seed| {
        let mut history = long(Mix::Unique, 5, 2000, 0, seed);
        assert!(stale_read(&mut history, 0.5));
        history
    };
    let finding = check(&merged((0..7).map(stale).collect()));
    let sizes: Vec<usize> = finding.anomalies.iter().map(|anomaly| anomaly.operations.len()).collect();
    assert_eq!(sizes.len(), 5);
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert_eq!(finding.result.note.as_deref(), Some("7 keys are violated, 5 of them are shown"));
}

/// Several hundred operations of unknown outcome, all open to the end, and a chain of reads through some of them.
fn many_open(writes: u32) -> Rows {
    let mut history = Rows::default();
    for write in 0..writes {
        let mut pending = operation(u64::from(write), write, "write", json!(write));
        pending.call = Nanos(1);
        history.operations.push(pending);
    }
    for (place, seen) in (0..writes).step_by(7).enumerate() {
        let mut read = operation(u64::from(writes) + place as u64, 100_000, "read", json!(null));
        read.call = Nanos(10 * place as u64 + 10);
        read.ret = Some(Nanos(10 * place as u64 + 15));
        read.outcome = Outcome::Ok;
        read.output = json!(seen);
        history.operations.push(read);
    }
    // A compare-and-set forbids the short cuts that hold for plain reads and writes.
    let mut cas = operation(u64::from(writes) * 2, 200_000, "cas", json!([-1, -2]));
    cas.call = Nanos(5);
    history.operations.push(cas);
    history
}

#[test]
fn hundreds_of_operations_may_be_open_at_once() {
    for writes in [60, 130, 200, 700] {
        let mut history = many_open(writes);
        assert_eq!(outcome(&history), CheckOutcome::Valid, "{writes}");
        let last = history.operations.iter().rposition(|operation| operation.f == "read").unwrap();
        history.operations[last].output = json!(0);
        assert_eq!(outcome(&history), CheckOutcome::Violation, "{writes}");
    }
}

/// Concurrent compare-and-sets that all matched; whether a path uses every one of them is hard to find out.
fn hard(operations: u32, values: u64) -> Rows {
    let mut random = Random::new(11);
    let mut history = Rows::default();
    for at in 0..operations {
        let pair = json!([random.below(values), random.below(values)]);
        let mut cas = operation(u64::from(at), at, "cas", pair);
        (cas.call, cas.ret) = (Nanos(u64::from(at)), Some(Nanos(1000 + u64::from(at))));
        cas.output = json!(true);
        cas.outcome = Outcome::Ok;
        history.operations.push(cas);
    }
    let mut write = operation(u64::from(operations), operations, "write", json!(0));
    (write.call, write.ret, write.outcome) = (Nanos(0), Some(Nanos(1)), Outcome::Ok);
    history.operations.push(write);
    history
}

#[test]
fn exhausted_memory_is_unknown_and_the_limit_holds() {
    let history = long(Mix::Repeated, 20, 12_000, 50, 1);
    let budget = Budget { memory_bytes: 1 << 20, ..Budget::default() };
    let result = linearizable_register(&history.history(), &budget).unwrap().result;
    assert_eq!(result.outcome, CheckOutcome::Unknown);
    let note = result.note.unwrap();
    assert!(note.contains("the memory budget of 1048576 bytes is exhausted"), "{note}");
    assert!(result.peak_memory_bytes <= budget.memory_bytes);
}

#[test]
fn exhausted_time_is_unknown_and_says_so() {
    let budget = Budget { time: Duration::from_millis(50), ..Budget::default() };
    let result = linearizable_register(&hard(60, 9).history(), &budget).unwrap().result;
    assert_eq!(result.outcome, CheckOutcome::Unknown);
    let note = result.note.unwrap();
    assert!(note.contains("the time budget of 50ms is exhausted"), "{note}");
    let result = linearizable_register(&hard(3, 2).history(), &Budget { time: Duration::ZERO, ..budget })
        .unwrap()
        .result;
    assert_eq!(result.outcome, CheckOutcome::Unknown);
}

#[test]
fn hard_key_does_not_hide_a_violation_of_another() {
    let mut bad = long(Mix::Unique, 5, 2000, 0, 5);
    assert!(stale_read(&mut bad, 0.5));
    let finding = check(&merged(vec![hard(60, 9), bad]));
    assert_eq!(finding.result.outcome, CheckOutcome::Violation);
    assert_eq!(finding.anomalies[0].key.as_deref(), Some("k1"));
    let note = finding.result.note.unwrap();
    assert!(note.contains("1 of 2 keys undecided, first key k0"), "{note}");
}

#[test]
fn findings_are_the_same_every_time() {
    let mut history = merged((0..8).map(|seed| long(Mix::Cas, 8, 3000, 30, seed)).collect());
    corrupt(&mut history, 4000, 1);
    corrupt(&mut history, 2500, 2);
    let (first, second) = (check(&history), check(&history));
    assert_eq!(first.anomalies, second.anomalies);
    assert_eq!(first.result.peak_memory_bytes, second.result.peak_memory_bytes);
}

/// Prints times; `cargo test --release -p checker measure -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure() {
    let run = |keys: u64, clients, per_key: usize, crash| {
        let mix = |key: u64| if key % 5 == 4 { Mix::Cas } else { Mix::Unique };
        merged((0..keys).map(|key| long(mix(key), clients, per_key * 3, crash, key)).collect())
    };
    report("100 keys, 5 clients a key", &run(100, 5, 500, 250));
    report("100 keys, 20 clients a key", &run(100, 20, 500, 250));
    report("100 keys, 20 clients a key, many unknown", &run(100, 20, 500, 25));
    report("40 keys, 20 clients a key, many unknown", &run(40, 20, 1500, 25));
    for (mix, clients) in [
        (Mix::Unique, 10),
        (Mix::Unique, 20),
        (Mix::Unique, 50),
        (Mix::Cas, 10),
        (Mix::Cas, 20),
        (Mix::Cas, 50),
    ] {
        let mut history = long(mix, clients, 1500, 25, 1);
        report(&format!("1 short key, {mix:?}, {clients} clients"), &history);
        let mut nowhere = history.clone();
        let read = nowhere
            .operations
            .iter_mut()
            .skip(300)
            .find(|operation| operation.f == "read" && operation.outcome == Outcome::Ok);
        read.unwrap().output = json!(-1);
        report("  a read from nowhere", &nowhere);
        if mix == Mix::Unique {
            stale_read(&mut history, 0.6);
            report("  a stale read", &history);
        } else {
            for which in [200, 210, 220, 230] {
                corrupt(&mut history, which, 1);
                report("  a lie", &history);
            }
        }
    }
    for (mix, clients) in [(Mix::Unique, 20), (Mix::Repeated, 20), (Mix::Cas, 20), (Mix::Cas, 50)] {
        let mut history = long(mix, clients, 30_000, 50, 1);
        report(&format!("1 key, {mix:?}, {clients} clients"), &history);
        if mix == Mix::Unique {
            assert!(stale_read(&mut history, 0.6));
        } else {
            corrupt(&mut history, 3000, 1);
        }
        report("  the same with a lie", &history);
    }
}

fn report(name: &str, history: &Rows) {
    let unknown = history.operations.iter().filter(|operation| operation.ret.is_none()).count();
    let start = Instant::now();
    let finding = linearizable_register(
        &history.history(),
        &Budget { time: Duration::from_secs(20), ..Budget::default() },
    )
    .unwrap();
    let (elapsed, result) = (start.elapsed(), finding.result);
    println!(
        "{name}: {} operations, {unknown} unknown: {:?} in {elapsed:?}, {} KiB, {} anomalies, {:?}",
        history.operations.len(),
        result.outcome,
        result.peak_memory_bytes >> 10,
        finding.anomalies.len(),
        finding.anomalies.first().map(|anomaly| anomaly.explanation.clone()).or(result.note),
    );
}
