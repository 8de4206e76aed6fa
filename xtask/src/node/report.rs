//! The arithmetic: medians of the rounds, our figures over etcd's, and the goals.

use serde::Serialize;

use super::generator::{KEYS, Loaded, Operation, VALUE_BYTES};
use super::rounds::{CLIENTS, Cell, Measured, Plan};
use super::servers::{NODES, System};
use anyhow::{Context, ensure};

/// What a load came to, per operation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of the three nodes per operation.
    pub(crate) cpu_us: f64,
    /// Processor time of the generator per operation.
    pub(crate) generator_cpu_us: f64,
    /// Processor time of everything else on the machine, in percent of one core.
    pub(crate) others_cpu_percent: f64,
}

impl Figures {
    fn of(loaded: &Loaded) -> Self {
        let each_us = |seconds: f64| seconds * 1e6 / loaded.operations as f64;
        let Loaded { servers_cpu_seconds, generator_cpu_seconds, machine_cpu_seconds, .. } = *loaded;
        let others = machine_cpu_seconds - servers_cpu_seconds - generator_cpu_seconds;
        Self {
            per_second: loaded.operations as f64 / loaded.seconds,
            p50_us: loaded.p50_us,
            p99_us: loaded.p99_us,
            cpu_us: each_us(servers_cpu_seconds),
            generator_cpu_us: each_us(generator_cpu_seconds),
            others_cpu_percent: 100.0 * others.max(0.0) / loaded.seconds,
        }
    }

    /// Each figure by itself.
    fn medians(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self {
            per_second: of(|round| round.per_second),
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            cpu_us: of(|round| round.cpu_us),
            generator_cpu_us: of(|round| round.generator_cpu_us),
            others_cpu_percent: of(|round| round.others_cpu_percent),
        }
    }
}

/// One system under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Side {
    pub(crate) median: Figures,
    pub(crate) rounds: Vec<Figures>,
}

/// One load on both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) shakedown: Side,
    pub(crate) etcd: Side,
}

/// Times that were measured several times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) shakedown: Vec<f64>,
    pub(crate) etcd: Vec<f64>,
}

impl Times {
    fn of(measured: &[(System, f64)]) -> Self {
        let of = |wanted| {
            let mut times: Vec<f64> =
                measured.iter().filter(|(system, _)| *system == wanted).map(|(_, ms)| *ms).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Self { shakedown: of(System::Shakedown), etcd: of(System::Etcd) }
    }
}

/// How a figure is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure and how it is meant to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) figure: f64,
    pub(crate) bound: Bound,
    pub(crate) is_met: bool,
}

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Puts per second at 256 clients, ours over etcd's; so are all ratios.
    pub(crate) puts_256_ratio: f64,
    pub(crate) put_256_p99_ratio: f64,
    pub(crate) put_1_p50_ratio: f64,
    /// Linearizable reads per second at 64 clients.
    pub(crate) gets_64_ratio: f64,
    /// Processor time of the nodes per put at 256 clients.
    pub(crate) cpu_per_put_ratio: f64,
    /// From the kill of the leader to the first acknowledged write: the median of ours.
    pub(crate) outage_ms: f64,
    /// From the start of three nodes to the first acknowledged write: the median of ours.
    pub(crate) first_write_ms: f64,
    pub(crate) goals: Vec<Goal>,
    pub(crate) selection: String,
    pub(crate) machine: String,
    pub(crate) shakedown: String,
    pub(crate) etcd: String,
    pub(crate) nodes: u8,
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
    pub(crate) plan: Plan,
    /// Loads that were measured again because the leader had changed meanwhile.
    pub(crate) repeated: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) outages_ms: Times,
    pub(crate) first_writes_ms: Times,
}

impl Report {
    /// Takes medians and puts them beside each other.
    pub(crate) fn new(
        machine: String,
        (shakedown, etcd): (String, String),
        selection: String,
        plan: Plan,
        measured: &Measured,
    ) -> anyhow::Result<Self> {
        let rows = rows(&measured.cells)?;
        let (outages_ms, first_writes_ms) =
            (Times::of(&measured.outages_ms), Times::of(&measured.first_writes_ms));
        let of = |operation, clients| {
            let row = rows.iter().find(|row| row.operation == operation && row.clients == clients);
            row.map(|row| (row.shakedown.median, row.etcd.median)).context("a load was not measured")
        };
        let ratio =
            |(ours, theirs): (Figures, Figures), figure: fn(&Figures) -> f64| figure(&ours) / figure(&theirs);
        let (puts_256, put_1, gets_64) =
            (of(Operation::Put, 256)?, of(Operation::Put, 1)?, of(Operation::Get, 64)?);
        let mut report = Self {
            puts_256_ratio: ratio(puts_256, |figures| figures.per_second),
            put_256_p99_ratio: ratio(puts_256, |figures| figures.p99_us),
            put_1_p50_ratio: ratio(put_1, |figures| figures.p50_us),
            gets_64_ratio: ratio(gets_64, |figures| figures.per_second),
            cpu_per_put_ratio: ratio(puts_256, |figures| figures.cpu_us),
            outage_ms: median(outages_ms.shakedown.iter().copied()),
            first_write_ms: median(first_writes_ms.shakedown.iter().copied()),
            goals: Vec::new(),
            selection,
            machine,
            shakedown,
            etcd,
            nodes: NODES,
            keys: KEYS,
            value_bytes: VALUE_BYTES,
            plan,
            repeated: measured.repeated,
            rows,
            outages_ms,
            first_writes_ms,
        };
        report.goals = report.judge();
        Ok(report)
    }

    fn judge(&self) -> Vec<Goal> {
        use Bound::{AtLeast, AtMost};
        let third = 1.0 / 3.0;
        let goals = [
            ("puts_256_ratio", "puts per second, 256 clients", self.puts_256_ratio, AtLeast(3.0)),
            (
                "put_256_p99_ratio",
                "99th percentile of a put, 256 clients",
                self.put_256_p99_ratio,
                AtMost(0.5),
            ),
            ("put_1_p50_ratio", "median of a put, 1 client", self.put_1_p50_ratio, AtMost(0.65)),
            ("gets_64_ratio", "linearizable gets per second, 64 clients", self.gets_64_ratio, AtLeast(2.3)),
            (
                "cpu_per_put_ratio",
                "CPU of the nodes per put, 256 clients",
                self.cpu_per_put_ratio,
                AtMost(third),
            ),
            ("outage_ms", "ms without a write after the leader was killed", self.outage_ms, AtMost(250.0)),
            ("first_write_ms", "ms from start to the first write", self.first_write_ms, AtMost(400.0)),
        ];
        goals
            .map(|(key, what, figure, bound)| Goal { key, what, figure, bound, is_met: bound.holds(figure) })
            .into()
    }
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

fn rows(cells: &[Cell]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for operation in [Operation::Put, Operation::Get] {
        for clients in CLIENTS {
            let side = |system: System| {
                let of = |cell: &&Cell| {
                    cell.system == system && cell.operation == operation && cell.clients == clients
                };
                let rounds: Vec<Figures> =
                    cells.iter().filter(of).map(|cell| Figures::of(&cell.loaded)).collect();
                ensure!(!rounds.is_empty(), "{operation:?} by {clients} clients was not measured");
                Ok(Side { median: Figures::medians(&rounds), rounds })
            };
            rows.push(Row {
                operation,
                clients,
                shakedown: side(System::Shakedown)?,
                etcd: side(System::Etcd)?,
            });
        }
    }
    Ok(rows)
}

/// The middle one; of an even number, the greater of the two. Not a number without any.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A load of one second on which the nodes spent `cpu_us` per operation.
    fn cell(system: System, operation: Operation, clients: usize, operations: u64, cpu_us: f64) -> Cell {
        let servers_cpu_seconds = operations as f64 * cpu_us / 1e6;
        let loaded = Loaded {
            operations,
            seconds: 1.0,
            p50_us: 100.0,
            p99_us: 1e9 / operations as f64,
            servers_cpu_seconds,
            generator_cpu_seconds: 0.25,
            machine_cpu_seconds: servers_cpu_seconds + 0.75,
        };
        Cell { system, operation, clients, loaded }
    }

    /// Three rounds, in one of which something else disturbed us.
    pub(crate) fn report() -> Report {
        let mut measured = Measured::default();
        for rate in [40_000, 1_000, 41_000] {
            for operation in [Operation::Put, Operation::Get] {
                for clients in CLIENTS {
                    measured.cells.push(cell(System::Shakedown, operation, clients, rate, 20.0));
                    measured.cells.push(cell(System::Etcd, operation, clients, 10_000, 80.0));
                }
            }
            measured.outages_ms.extend([(System::Shakedown, rate as f64 / 200.0), (System::Etcd, 1_100.0)]);
            measured.first_writes_ms.extend([(System::Shakedown, 410.0), (System::Etcd, 700.0)]);
        }
        let versions = ("shakedown 1".to_owned(), "etcd 3".to_owned());
        Report::new("a machine".to_owned(), versions, "3 rounds".to_owned(), Plan::FULL, &measured).unwrap()
    }

    #[test]
    fn ratios_are_ours_over_theirs_and_of_medians() {
        let report = report();
        assert_eq!((report.puts_256_ratio, report.gets_64_ratio), (4.0, 4.0));
        assert!((report.put_256_p99_ratio - 0.25).abs() < 1e-9);
        assert!((report.cpu_per_put_ratio - 0.25).abs() < 1e-9);
        assert_eq!((report.put_1_p50_ratio, report.outage_ms, report.first_write_ms), (1.0, 200.0, 410.0));
    }

    #[test]
    fn goals_that_are_missed_say_so() {
        let missed: Vec<&str> =
            report().goals.iter().filter(|goal| !goal.is_met).map(|goal| goal.key).collect();
        assert_eq!(missed, ["put_1_p50_ratio", "first_write_ms"]);
    }

    #[test]
    fn time_of_others_is_what_neither_nodes_nor_generator_spent() {
        let figures = report().rows[0].etcd.median;
        assert!((figures.others_cpu_percent - 50.0).abs() < 1e-6);
        assert!((figures.cpu_us - 80.0).abs() < 1e-6 && (figures.generator_cpu_us - 25.0).abs() < 1e-6);
    }

    #[test]
    fn keys_that_programs_read_are_at_the_top() {
        let json = serde_json::to_value(report()).unwrap();
        for key in [
            "puts_256_ratio",
            "put_256_p99_ratio",
            "put_1_p50_ratio",
            "gets_64_ratio",
            "cpu_per_put_ratio",
            "outage_ms",
            "first_write_ms",
        ] {
            assert!(json[key].is_number(), "{key}");
        }
        assert_eq!(json["rows"][0]["shakedown"]["rounds"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn load_that_was_not_measured_is_an_error() {
        let versions = (String::new(), String::new());
        assert!(
            Report::new(String::new(), versions, String::new(), Plan::FULL, &Measured::default()).is_err()
        );
    }

    #[test]
    fn median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median(std::iter::empty()).is_nan());
    }
}
