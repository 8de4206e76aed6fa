//! Operation templates: what the generator fixes before anything was observed.
//!
//! The i-th template of a worker depends on (seed, worker, i) alone, so that a rerun with the same seed repeats every
//! template whatever the interleaving was. A compare-and-set expects what its worker last observed, which is known
//! only at run time; its template says so, and the invocation records the value.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use crate::{Completion, Request};

/// The argument of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// Nothing is needed.
    None,
    /// A value known in advance.
    Value(i64),
    /// Compare-and-set from the value that the worker last observed for the key to this one.
    FromLastObserved(i64),
    /// Compare-and-set between values known in advance.
    FromTo(i64, i64),
}

/// What the generator fixes of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The function: `read`, `write`, `cas`, `add`.
    pub function: &'static str,
    /// The independent object, where there are several.
    pub key: Option<String>,
    /// The argument.
    pub argument: Argument,
}

/// The random numbers of one template. The generator is named and versioned (PCG64 MCG), so that a seed means the same
/// in every build.
pub struct Stream(Pcg64Mcg);

impl Stream {
    /// The stream of the `i`-th template of a worker.
    pub fn of(seed: u64, worker: u32, i: u64) -> Self {
        let mut mixed = seed;
        for part in [u64::from(worker), i] {
            mixed = splitmix(mixed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        Self(Pcg64Mcg::seed_from_u64(mixed))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// A number in [0, 1).
    pub fn fraction(&mut self) -> f64 {
        self.0.random::<f64>()
    }
}

/// One round of `SplitMix64` (Steele, Lea, Flood 2014), to spread neighbouring seeds.
fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What one worker observed, to fill in templates that depend on it.
#[derive(Debug, Default)]
pub struct Observed {
    last: BTreeMap<String, i64>,
}

impl Observed {
    /// Turns a template into the request that is sent.
    pub fn resolve(&self, template: &Template) -> Request {
        let key = || template.key.clone().expect("invariant: templates of keyed functions have a key");
        match (template.function, &template.argument) {
            ("write", Argument::Value(value)) => Request::Write { key: key(), value: *value },
            ("cas", Argument::FromLastObserved(new)) => {
                let key = key();
                let expected = self.last.get(&key).copied().unwrap_or(0);
                Request::Cas { key, expected, new: *new }
            }
            ("cas", Argument::FromTo(expected, new)) => {
                Request::Cas { key: key(), expected: *expected, new: *new }
            }
            ("add", Argument::Value(element)) => Request::Add { element: *element },
            ("read", _) => match &template.key {
                Some(key) => Request::Read { key: key.clone() },
                None => Request::ReadAll,
            },
            (function, argument) => {
                unreachable!("invariant: no workload makes `{function}` with {argument:?}")
            }
        }
    }

    /// Remembers what a completed request says about its key.
    pub fn learn(&mut self, request: &Request, completion: &Completion) {
        match (request, completion) {
            (Request::Write { key, value }, Completion::Ok(_)) => {
                self.last.insert(key.clone(), *value);
            }
            (Request::Cas { key, new, .. }, Completion::Ok(Value::Bool(true))) => {
                self.last.insert(key.clone(), *new);
            }
            (Request::Read { key }, Completion::Ok(value)) => match value.as_i64() {
                Some(value) => drop(self.last.insert(key.clone(), value)),
                None => drop(self.last.remove(key)),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_set_expects_what_the_worker_last_observed() {
        let template =
            Template { function: "cas", key: Some("k".into()), argument: Argument::FromLastObserved(9) };
        let mut observed = Observed::default();
        assert_eq!(observed.resolve(&template), Request::Cas { key: "k".into(), expected: 0, new: 9 });
        observed.learn(&Request::Read { key: "k".into() }, &Completion::Ok(Value::from(4)));
        assert_eq!(observed.resolve(&template), Request::Cas { key: "k".into(), expected: 4, new: 9 });
        observed.learn(&Request::Write { key: "k".into(), value: 5 }, &Completion::Info("timeout".into()));
        assert_eq!(observed.resolve(&template), Request::Cas { key: "k".into(), expected: 4, new: 9 });
    }

    #[test]
    fn neighbouring_workers_and_steps_get_different_streams() {
        let draw = |worker, i| Stream::of(1, worker, i).below(u64::MAX);
        let all: std::collections::BTreeSet<u64> =
            (0..20).flat_map(|worker| (0..50).map(move |i| draw(worker, i))).collect();
        assert_eq!(all.len(), 1000);
    }
}
