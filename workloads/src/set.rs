//! One growing set: add unique elements, read it whole now and then, and from every node at the end.
//!
//! Judged as Jepsen's set-full: every acknowledged element must be in every later read, and nothing else may be. The
//! workload sees losses that a register forgets with its next write.

use checker::{Budget, CheckError, Finding, Requirements, set_full};
use history::History;

use crate::workload::scaled;
use crate::{Argument, Stream, Template, Workload};

/// Of a hundred operations, so many read the whole set.
const READ_PERCENT: u64 = 8;

/// The workload `set`.
#[derive(Debug, Clone, Copy)]
pub struct Set;

impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn description(&self) -> &'static str {
        "add unique elements to one set, read it whole, finally from every node; nothing lost, stale or invented"
    }

    fn default_rate(&self) -> f64 {
        250.0
    }

    fn template(&self, seed: u64, worker: u32, workers: u32, i: u64) -> Template {
        if Stream::of(seed, worker, i).below(100) < READ_PERCENT {
            return read();
        }
        let element = 1 + u64::from(worker) + i * u64::from(workers);
        let element = i64::try_from(element).expect("invariant: runs are short");
        Template { function: "add", key: None, argument: Argument::Value(element) }
    }

    fn final_templates(&self, _used: u64) -> Vec<Template> {
        vec![read()]
    }

    fn check(&self, history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError> {
        Ok(vec![set_full(history, budget)?])
    }

    fn requirements(&self, load_seconds: f64) -> Requirements {
        Requirements {
            functions: vec![("add", scaled(100, load_seconds)), ("read", scaled(20, load_seconds))],
            readers: vec!["read"],
            writers: vec!["add"],
            overlaps: scaled(100, load_seconds),
            final_reads: true,
        }
    }
}

fn read() -> Template {
    Template { function: "read", key: None, argument: Argument::None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn elements_are_unique_over_all_workers() {
        let mut seen = BTreeSet::new();
        for worker in 0..10 {
            for i in 0..300 {
                match Set.template(1, worker, 10, i).argument {
                    Argument::Value(element) => assert!(seen.insert(element), "{element} is added twice"),
                    other => assert_eq!(other, Argument::None),
                }
            }
        }
        assert!((2600..2900).contains(&seen.len()), "{} of 3000 are adds", seen.len());
    }
}
