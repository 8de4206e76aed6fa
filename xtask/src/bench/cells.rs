//! The generated histories of the benchmark, by name.
//!
//! Not the full product of the dimensions, which would take days, but every value of every dimension, the cells that the
//! goals speak of, and cells that are hard for either checker: one key with many clients, unknown outcomes that
//! accumulate, values that repeat.

use super::answer::Verdict;
use super::report::Goal;

/// Every generated history begins from this seed.
pub(crate) const SEED: u64 = 42;

const MIB: u64 = 1 << 20;

/// What one history is generated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) model: &'static str,
    pub(crate) concurrency: u32,
    pub(crate) operations: u64,
    pub(crate) keys: u64,
    pub(crate) unknown_percent: u32,
    pub(crate) violations: u32,
    /// Whether `--quick` takes it.
    pub(crate) quick: bool,
}

const K: u64 = 1000;
const M: u64 = 1_000_000;

/// Every cell, by model and size. The columns are: concurrency, operations, keys, per cent unknown, violations.
pub(crate) const CELLS: [Cell; 58] = [
    cell("register", 5, K, 1, 0, 0).quick(),
    cell("register", 5, K, 1, 2, 1).quick(),
    cell("register", 20, K, 1, 0, 0),
    cell("register", 5, 10 * K, 1, 0, 0),
    cell("register", 10, 10 * K, 1, 0, 1),
    cell("register", 50, 10 * K, 1, 5, 0),
    cell("register", 5, 100 * K, 1, 0, 0),
    cell("register", 10, 100 * K, 100, 2, 0).quick(),
    cell("register", 20, M, 100, 2, 0),
    cell("register", 50, M, 10 * K, 5, 1),
    cell("register", 20, M, 1, 0, 0),
    cell("register", 50, M, 1, 2, 1),
    cell("cas-register", 5, K, 1, 0, 0).quick(),
    cell("cas-register", 5, K, 1, 2, 1),
    cell("cas-register", 10, K, 1, 2, 0).quick(),
    cell("cas-register", 20, K, 1, 0, 1),
    cell("cas-register", 5, 10 * K, 1, 0, 0),
    cell("cas-register", 10, 10 * K, 1, 0, 1),
    cell("cas-register", 20, 10 * K, 100, 2, 0).quick(),
    cell("cas-register", 50, 10 * K, 1, 0, 0),
    cell("cas-register", 5, 100 * K, 1, 0, 0),
    cell("cas-register", 10, 100 * K, 100, 5, 1),
    cell("cas-register", 5, 100 * K, 1, 5, 0),
    cell("cas-register", 20, 100 * K, 1, 5, 0),
    cell("cas-register", 50, M, 10 * K, 2, 0),
    cell("cas-register", 20, M, 1, 0, 0),
    cell("kv", 5, K, 1, 0, 0).quick(),
    cell("kv", 20, K, 1, 0, 0),
    cell("kv", 5, 10 * K, 1, 2, 0),
    cell("kv", 10, 10 * K, 100, 2, 1).quick(),
    cell("kv", 10, 100 * K, 1, 0, 0),
    cell("kv", 50, 100 * K, 100, 0, 0),
    cell("kv", 50, 100 * K, 10 * K, 5, 1),
    cell("kv", 20, M, 1, 0, 0),
    cell("kv", 10, M, 10 * K, 2, 0),
    cell("queue", 5, K, 1, 0, 0),
    cell("queue", 5, K, 1, 0, 1),
    cell("queue", 5, 10 * K, 1, 0, 0),
    cell("queue", 10, 10 * K, 1, 2, 0),
    cell("queue", 20, 10 * K, 100, 0, 1).quick(),
    cell("queue", 20, 100 * K, 1, 5, 0),
    cell("queue", 50, 100 * K, 10 * K, 0, 0),
    cell("queue", 20, M, 1, 0, 0),
    cell("queue", 50, M, 100, 0, 1),
    cell("unordered-queue", 10, 10 * K, 1, 0, 0),
    cell("unordered-queue", 20, M, 1, 2, 1),
    cell("set", 5, K, 1, 0, 0).quick(),
    cell("set", 50, K, 1, 5, 0),
    cell("set", 10, 10 * K, 1, 2, 1),
    cell("set", 10, 100 * K, 100, 5, 1).quick(),
    cell("set", 20, M, 1, 0, 0),
    cell("set", 50, M, 10 * K, 2, 1),
    cell("append-list", 5, K, 1, 0, 0).quick(),
    cell("append-list", 20, K, 1, 0, 0),
    cell("append-list", 5, 10 * K, 1, 2, 0),
    cell("append-list", 10, 10 * K, 100, 0, 1).quick(),
    cell("append-list", 50, 100 * K, 1, 5, 1),
    cell("append-list", 10, M, 10 * K, 0, 0),
];

const fn cell(
    model: &'static str,
    concurrency: u32,
    operations: u64,
    keys: u64,
    unknown_percent: u32,
    violations: u32,
) -> Cell {
    Cell { model, concurrency, operations, keys, unknown_percent, violations, quick: false }
}

impl Cell {
    const fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    /// Such as `kv-c10-n10k-k100-u2-v1`.
    pub(crate) fn name(&self) -> String {
        let Self { model, concurrency, unknown_percent, violations, .. } = self;
        let (operations, keys) = (short(self.operations), short(self.keys));
        format!("{model}-c{concurrency}-n{operations}-k{keys}-u{unknown_percent}-v{violations}")
    }

    /// The verdict that the generator built in.
    pub(crate) fn expected(&self) -> Verdict {
        if self.violations == 0 { Verdict::Ok } else { Verdict::Illegal }
    }

    /// What our checker is meant to need at most.
    pub(crate) fn goal(&self) -> Option<Goal> {
        let Self { model, operations, .. } = *self;
        if operations == M && matches!(model, "register" | "kv" | "set" | "queue") {
            return Some(Goal { seconds: 1.0, bytes: Some(256 * MIB) });
        }
        let million = operations == M && self.concurrency == 20;
        let unknown = operations == 100 * K && self.unknown_percent == 5;
        (model == "cas-register" && (million || unknown)).then_some(Goal { seconds: 10.0, bytes: None })
    }

    /// The arguments of a generator, without where to write.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let numbers = [
            ("--operations", self.operations),
            ("--concurrency", self.concurrency.into()),
            ("--keys", self.keys),
            ("--unknown", self.unknown_percent.into()),
            ("--violations", self.violations.into()),
            ("--seed", SEED),
        ];
        let numbers = numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]);
        ["--model".to_owned(), self.model.to_owned()].into_iter().chain(numbers).collect()
    }
}

/// `1000000` as `1M`.
fn short(number: u64) -> String {
    match number {
        _ if number >= M && number.is_multiple_of(M) => format!("{}M", number / M),
        _ if number >= K && number.is_multiple_of(K) => format!("{}k", number / K),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn values<T: Ord>(of: impl Fn(&Cell) -> T) -> Vec<T> {
        CELLS.iter().map(of).collect::<BTreeSet<T>>().into_iter().collect()
    }

    #[test]
    fn every_value_of_every_dimension_occurs() {
        assert_eq!(
            values(|cell| cell.model),
            ["append-list", "cas-register", "kv", "queue", "register", "set", "unordered-queue"]
        );
        assert_eq!(values(|cell| cell.concurrency), [5, 10, 20, 50]);
        assert_eq!(values(|cell| cell.operations), [K, 10 * K, 100 * K, M]);
        assert_eq!(values(|cell| cell.keys), [1, 100, 10 * K]);
        assert_eq!(values(|cell| cell.unknown_percent), [0, 2, 5]);
        assert_eq!(values(|cell| cell.violations), [0, 1]);
    }

    #[test]
    fn names_are_unique_and_say_every_dimension() {
        assert_eq!(values(Cell::name).len(), CELLS.len());
        assert_eq!(cell("kv", 10, 10 * K, 100, 2, 1).name(), "kv-c10-n10k-k100-u2-v1");
        assert_eq!(short(1500), "1500");
    }

    #[test]
    fn quick_cells_are_a_dozen_small_ones_of_several_models() {
        let quick: Vec<&Cell> = CELLS.iter().filter(|cell| cell.quick).collect();
        assert!((10..=14).contains(&quick.len()), "{}", quick.len());
        assert!(quick.iter().all(|cell| cell.operations <= 100 * K));
        assert!(
            quick.iter().any(|cell| cell.violations > 0) && quick.iter().any(|cell| cell.violations == 0)
        );
    }

    #[test]
    fn every_goal_has_its_cells() {
        let with_goal = |model: &str| {
            CELLS.iter().filter(|cell| cell.model == model).filter_map(Cell::goal).collect::<Vec<_>>()
        };
        for model in ["register", "kv", "set", "queue"] {
            assert!(with_goal(model).contains(&Goal { seconds: 1.0, bytes: Some(256 * MIB) }), "{model}");
        }
        assert_eq!(with_goal("cas-register"), [Goal { seconds: 10.0, bytes: None }; 4]);
        assert!(with_goal("append-list").is_empty());
    }

    #[test]
    fn arguments_are_those_of_the_generator() {
        let line = CELLS[1].arguments().join(" ");
        assert_eq!(
            line,
            "--model register --operations 1000 --concurrency 5 --keys 1 --unknown 2 --violations 1 --seed 42"
        );
    }
}
