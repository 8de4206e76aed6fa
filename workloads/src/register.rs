//! Many independent registers: read, write, compare-and-set, judged for linearizability key by key.
//!
//! Keys come in a window that moves on: at any time a few keys are busy, so that operations on one key overlap, and no
//! key lives long, so that the search per key stays short. Written values are unique, which makes checking cheap and
//! lets a value tell who wrote it. Every fifth key is the exception: a few repeated values, because a compare-and-set
//! between repeated values finds lost updates that unique values cannot show.
//!
//! A worker waits for its answer, so what it does decides what it can see. A third of the workers write, and go where the
//! leader is said to be: when a leader cannot commit, they soon wait for it. A third write through their own node alone: they
//! are free when that node becomes the next leader. A third only read: they go on asking an old leader that still answers.

use checker::{Budget, CheckError, Finding, Requirements, Spec, linearizable_register};
use history::History;

use crate::workload::scaled;
use crate::{Argument, Stream, Template, Workload};

/// Keys that are busy at the same time.
const WINDOW_KEYS: u64 = 8;
/// Templates per worker after which the window moves on by one key.
const TEMPLATES_PER_KEY: u64 = 60;
/// Every so many keys, one with repeated values.
const REPEATED_EVERY: u64 = 5;
/// How many values such a key has, from 1.
const REPEATED_VALUES: u64 = 5;
/// Of a hundred operations of a worker that writes, so many read …
const READ_PERCENT: u64 = 25;
/// … and so many write; the rest compare and set.
const WRITE_PERCENT: u64 = 45;

/// The workload `register`.
#[derive(Debug, Clone, Copy)]
pub struct Register;

impl Workload for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn description(&self) -> &'static str {
        "read, write and compare-and-set on many independent registers; linearizability per key"
    }

    fn default_rate(&self) -> f64 {
        800.0
    }

    fn template(&self, seed: u64, worker: u32, workers: u32, i: u64) -> Template {
        let mut stream = Stream::of(seed, worker, i);
        let key = i / TEMPLATES_PER_KEY + stream.below(WINDOW_KEYS);
        let unique =
            i64::try_from(1 + u64::from(worker) + i * u64::from(workers)).expect("invariant: runs are short");
        let value = |stream: &mut Stream| {
            if key.is_multiple_of(REPEATED_EVERY) { repeated(stream) } else { unique }
        };
        let (function, argument) = match stream.below(100) {
            _ if only_reads(worker, workers) => ("read", Argument::None),
            0..READ_PERCENT => ("read", Argument::None),
            n if n < READ_PERCENT + WRITE_PERCENT => ("write", Argument::Value(value(&mut stream))),
            _ if key.is_multiple_of(REPEATED_EVERY) && stream.below(2) == 0 => {
                ("cas", Argument::FromTo(repeated(&mut stream), repeated(&mut stream)))
            }
            _ => ("cas", Argument::FromLastObserved(value(&mut stream))),
        };
        Template { function, key: Some(key_name(key)), argument }
    }

    fn follows_hints(&self, worker: u32, workers: u32) -> bool {
        !stays_home(worker, workers)
    }

    fn final_templates(&self, used: u64) -> Vec<Template> {
        let last = used / TEMPLATES_PER_KEY + WINDOW_KEYS;
        (0..last)
            .map(|key| Template { function: "read", key: Some(key_name(key)), argument: Argument::None })
            .collect()
    }

    fn check(&self, history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError> {
        Ok(vec![linearizable_register(history, budget)?])
    }

    fn model(&self) -> Option<Spec> {
        Some(Spec::Register)
    }

    fn requirements(&self, load_seconds: f64) -> Requirements {
        Requirements {
            functions: ["read", "write", "cas"].map(|f| (f, scaled(50, load_seconds))).to_vec(),
            readers: vec!["read", "cas"],
            writers: vec!["write", "cas"],
            overlaps: scaled(100, load_seconds),
            final_reads: true,
        }
    }
}

/// The last third of the workers.
fn only_reads(worker: u32, workers: u32) -> bool {
    worker >= workers - workers / 3
}

/// The third before it.
fn stays_home(worker: u32, workers: u32) -> bool {
    !only_reads(worker, workers) && worker >= workers - 2 * (workers / 3)
}

fn key_name(key: u64) -> String {
    format!("k{key}")
}

fn repeated(stream: &mut Stream) -> i64 {
    1 + i64::try_from(stream.below(REPEATED_VALUES)).expect("invariant: a handful")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn template_depends_on_seed_worker_and_step_alone() {
        for i in 0..200 {
            assert_eq!(Register.template(7, 3, 10, i), Register.template(7, 3, 10, i));
        }
        let other_seed =
            (0..200).filter(|i| Register.template(7, 3, 10, *i) != Register.template(8, 3, 10, *i));
        assert!(other_seed.count() > 100);
    }

    #[test]
    fn every_node_has_a_worker_of_each_kind_when_there_are_three_times_as_many() {
        let reads_only = |w: u32| (0..200).all(|i| Register.template(1, w, 15, i).function == "read");
        for node in 0..5 {
            assert!(!reads_only(node) && Register.follows_hints(node, 15));
            assert!(!reads_only(node + 5) && !Register.follows_hints(node + 5, 15));
            assert!(reads_only(node + 10) && Register.follows_hints(node + 10, 15));
        }
        assert!((0..200).any(|i| Register.template(1, 0, 1, i).function == "write"), "a lone worker writes");
        assert!(Register.follows_hints(0, 1) && Register.follows_hints(1, 2));
    }

    #[test]
    fn written_values_are_unique_except_on_keys_of_repeated_values() {
        let mut seen = BTreeSet::new();
        for worker in 0..10 {
            for i in 0..600 {
                let template = Register.template(1, worker, 10, i);
                let key: u64 = template.key.as_deref().unwrap()[1..].parse().unwrap();
                match template.argument {
                    Argument::Value(v) | Argument::FromLastObserved(v)
                        if !key.is_multiple_of(REPEATED_EVERY) =>
                    {
                        assert!(seen.insert(v), "{v} is written twice");
                    }
                    Argument::Value(v) | Argument::FromLastObserved(v) => assert!((1..=5).contains(&v)),
                    Argument::FromTo(a, b) => {
                        assert!(
                            key.is_multiple_of(REPEATED_EVERY)
                                && (1..=5).contains(&a)
                                && (1..=5).contains(&b)
                        );
                    }
                    Argument::None => assert_eq!(template.function, "read"),
                }
            }
        }
        assert!(seen.len() > 800, "{}", seen.len());
    }

    #[test]
    fn final_reads_cover_every_key_that_was_used() {
        let used: BTreeSet<String> = (0..10)
            .flat_map(|w| (0..500).map(move |i| Register.template(1, w, 10, i).key.unwrap()))
            .collect();
        let read: BTreeSet<String> =
            Register.final_templates(500).into_iter().map(|t| t.key.unwrap()).collect();
        assert!(used.is_subset(&read));
    }
}
