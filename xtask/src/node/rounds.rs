//! What is measured, in which order.
//!
//! Both clusters stand all the time, and only one of them has something to do. What else the machine does so meets both
//! alike, and so does what the other one costs when it is idle. Who begins changes from round to round.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::cluster::Cluster;
use super::generator::{Generator, Load, Loaded, Operation};
use super::servers::{Program, System};

/// How many clients there are, in turn.
pub(crate) const CLIENTS: [usize; 4] = [1, 16, 64, 256];

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up_ms: u64,
    pub(crate) measure_ms: u64,
    /// Starts in a round, beside the one that the round begins with.
    pub(crate) more_starts: usize,
    /// Leaders that are killed in a round.
    pub(crate) outages: usize,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 3, warm_up_ms: 700, measure_ms: 3_000, more_starts: 2, outages: 3 };
    pub(crate) const QUICK: Self =
        Self { rounds: 1, warm_up_ms: 200, measure_ms: 500, more_starts: 0, outages: 1 };
}

/// One load on one system.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) system: System,
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) loaded: Loaded,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) cells: Vec<Cell>,
    pub(crate) first_writes_ms: Vec<(System, f64)>,
    pub(crate) outages_ms: Vec<(System, f64)>,
    /// Loads that were measured again.
    pub(crate) repeated: usize,
}

/// How many loads may be measured again. A busy machine can cost a cluster its leader; one that loses it all the time is
/// not fit to be measured.
const MAX_REPEATED: usize = 3;

/// The programs, and what is done with them.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) generator: Generator,
    pub(crate) programs: [Program; 2],
    /// Where the nodes keep their data.
    pub(crate) work: PathBuf,
    pub(crate) plan: Plan,
}

impl Bench {
    pub(crate) fn measure(&self) -> anyhow::Result<Measured> {
        let mut measured = Measured::default();
        for round in 0..self.plan.rounds {
            println!("round {} of {}", round + 1, self.plan.rounds);
            let mut programs: Vec<&Program> = self.programs.iter().collect();
            programs.rotate_left(round % 2);
            self.round(&programs, &mut measured)?;
        }
        Ok(measured)
    }

    fn round(&self, programs: &[&Program], measured: &mut Measured) -> anyhow::Result<()> {
        for _ in 0..self.plan.more_starts {
            for program in programs {
                drop(self.start(program, measured)?);
            }
        }
        let mut clusters = Vec::new();
        for program in programs {
            let mut cluster = self.start(program, measured)?;
            let leader = cluster.settle()?;
            self.generator.fill(&cluster, leader)?;
            clusters.push(cluster);
        }
        for operation in [Operation::Put, Operation::Get] {
            for clients in CLIENTS {
                for cluster in &mut clusters {
                    let cell = self.cell(cluster, operation, clients, &mut measured.repeated)?;
                    measured.cells.push(cell);
                }
            }
        }
        for _ in 0..self.plan.outages {
            for cluster in &mut clusters {
                self.outage(cluster, measured)?;
            }
        }
        Ok(())
    }

    fn start(&self, program: &Program, measured: &mut Measured) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster::prepare(program, &self.work)?;
        let took = self.generator.first_write(&mut cluster)?;
        let took_ms = took.as_secs_f64() * 1e3;
        println!("  {:<9} first write after {took_ms:.0} ms", program.system.name());
        measured.first_writes_ms.push((program.system, took_ms));
        Ok(cluster)
    }

    /// Measures a load, again if it failed because another node leads.
    fn cell(
        &self,
        cluster: &mut Cluster,
        operation: Operation,
        clients: usize,
        repeated: &mut usize,
    ) -> anyhow::Result<Cell> {
        let leader = cluster.settle()?;
        let system = cluster.program().system;
        let Plan { warm_up_ms, measure_ms, .. } = self.plan;
        let (warm_up, measure) = (Duration::from_millis(warm_up_ms), Duration::from_millis(measure_ms));
        let loaded = self.generator.load(cluster, leader, Load { operation, clients, warm_up, measure });
        if loaded.is_err() && cluster.settle()? != leader && *repeated < MAX_REPEATED {
            println!(
                "  {:<9} {operation:?} {clients:>3} clients: once more, the leader has changed",
                system.name()
            );
            *repeated += 1;
            return self.cell(cluster, operation, clients, repeated);
        }
        let loaded = loaded?;
        println!("  {:<9} {operation:?} {clients:>3} clients: {}", system.name(), described(&loaded));
        Ok(Cell { system, operation, clients, loaded })
    }

    fn outage(&self, cluster: &mut Cluster, measured: &mut Measured) -> anyhow::Result<()> {
        let leader = cluster.settle()?;
        let took_ms = self.generator.outage(cluster, leader)?;
        let system = cluster.program().system;
        println!("  {:<9} outage of {took_ms:.0} ms", system.name());
        measured.outages_ms.push((system, took_ms));
        cluster.restart(leader)?;
        cluster.settle().map(drop)
    }
}

fn described(loaded: &Loaded) -> String {
    format!(
        "{:>7.0}/s, p50 {:>6.0} µs, p99 {:>6.0} µs, {:>4.0} µs of CPU each",
        loaded.operations as f64 / loaded.seconds,
        loaded.p50_us,
        loaded.p99_us,
        loaded.servers_cpu_seconds * 1e6 / loaded.operations as f64,
    )
}
