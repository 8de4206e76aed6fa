//! `shakedown selftest`: the canaries. Deliberately wrong variants of the Raft server go through ordinary runs, and the
//! suite must convict each; the unmutated server, and variants that are as safe, go along and must not be convicted.
//!
//! Every seed is another mix of workload and faults, the same for all variants: nothing is made for a single one. Seeds are
//! the outer loop, so that a time limit leaves all variants with as many runs.

mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use checker::RunOutcome;

use self::table::{Table, Trial, Variant};
use super::run::duration;
use super::usage;
use crate::plan::{Plan, parse_nemeses};
use crate::{exit, run};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which variants, separated by commas [default: all]
    #[arg(long, alias = "mutants", value_name = "IDS", value_delimiter = ',')]
    only: Vec<String>,
    /// How many seeds each, counted from --seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the load of each run lasts, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// No run begins after this time, such as 20m or 2h; the table says what was left out
    #[arg(long, default_value = "1h", value_parser = duration)]
    time_limit: Duration,
    /// The workload of all runs [default: another with each seed]
    #[arg(long)]
    workload: Option<String>,
    /// The faults of all runs, separated by commas [default: others with each seed]
    #[arg(long, value_delimiter = ',')]
    nemesis: Vec<String>,
    /// Prints one JSON document and nothing else
    #[arg(long)]
    json: bool,
    /// The directory that keeps runs
    #[arg(long, default_value = "store", value_name = "STORE")]
    out: PathBuf,
}

/// What nodes are told in every other mix.
const MANY_SNAPSHOTS: &str = "--snapshot-entries=100";
/// What seeds are about, in turns.
const MIXES: &[(&str, &[&str])] = &[
    ("register", &["kill", "pause", "partition"]),
    ("set", &["kill", "pause", "partition"]),
    ("register", &["message", "transfer", "membership", "clock"]),
    ("set", &["power", "partition"]),
];

pub(super) fn main(args: Args) -> anyhow::Result<u8> {
    let variants = select(&args)?;
    if variants.len() == 1 {
        println!("{:>12} no mutant was selected", "nothing:");
        return Ok(exit::NOTHING_SELECTED);
    }
    let began = Instant::now();
    let mut interrupted = false;
    let mut table = Table::new(variants);
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        for variant in 0..table.variants().len() {
            if interrupted || began.elapsed() >= args.time_limit {
                table.leave_out(variant);
                continue;
            }
            let trial = trial(&args, &table.variants()[variant], seed)?;
            interrupted = trial.interrupted;
            table.add(variant, trial);
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&table.json())?);
    } else {
        table.print();
    }
    Ok(if interrupted { exit::INTERRUPTED } else { table.exit_code() })
}

/// The unmutated server, and what was asked for.
fn select(args: &Args) -> anyhow::Result<Vec<Variant>> {
    let known = super::node::mutants();
    if known.is_empty() {
        return Err(usage(
            "this build has no mutants; use `cargo run --release --features mutants -- selftest`",
        ));
    }
    if let Some(unknown) = args.only.iter().find(|id| !known.iter().any(|(known, _)| known == id)) {
        let names: Vec<&str> = known.iter().map(|(id, _)| *id).collect();
        return Err(usage(format!("--only {unknown}: known are {}", names.join(", "))));
    }
    parse_nemeses(&args.nemesis).map_err(usage)?;
    if let Some(workload) = args.workload.as_ref().filter(|name| workloads::find(name).is_none()) {
        let names: Vec<&str> = workloads::all().iter().map(|workload| workload.name()).collect();
        return Err(usage(format!("--workload {workload}: known are {}", names.join(", "))));
    }
    let chosen =
        known.iter().filter(|(id, _)| args.only.is_empty() || args.only.iter().any(|only| only == id));
    let is_safe = |id: &str| super::node::controls().contains(&id);
    let variants = chosen.map(|&(id, title)| Variant { mutant: Some(id), title, is_safe: is_safe(id) });
    let unmutated = Variant { mutant: None, title: "the server as it is", is_safe: true };
    Ok(std::iter::once(unmutated).chain(variants).collect())
}

fn trial(args: &Args, variant: &Variant, seed: u64) -> anyhow::Result<Trial> {
    let plan = plan(args, variant, seed);
    let (workload, nemesis) = (plan.workload.clone(), plan.nemesis.clone());
    let plan = plan.with_schedule()?;
    let outcome = if args.json { run::quietly(plan, &args.out)? } else { run::to_report(plan, &args.out)? };
    let violates = outcome.verdict.outcome == RunOutcome::Violation;
    let kind = outcome.verdict.anomalies.first().map_or("violation", |anomaly| &anomaly.kind).to_owned();
    Ok(Trial {
        seed,
        workload,
        nemesis,
        outcome: outcome.verdict.outcome,
        reason: outcome.verdict.reason.clone(),
        detected_by: violates.then_some(kind),
        seconds: outcome.first_anomaly_seconds.filter(|_| violates),
        report: outcome.paths.report(),
        interrupted: outcome.interrupted,
    })
}

fn plan(args: &Args, variant: &Variant, seed: u64) -> Plan {
    let mix = usize::try_from(seed - args.seed).expect("invariant: there are at most a thousand seeds");
    let (workload, faults) = MIXES[mix % MIXES.len()];
    let workload = args.workload.clone().unwrap_or_else(|| workload.to_owned());
    let faults = faults.iter().map(|&fault| fault.to_owned()).collect();
    Plan {
        target: "raft".into(),
        rate: workloads::find(&workload).expect("invariant: it was checked").default_rate(),
        workload,
        nemesis: if args.nemesis.is_empty() { faults } else { args.nemesis.clone() },
        nodes: 5,
        concurrency: 15,
        time_limit_ms: args.seconds * 1000,
        seed,
        read_consistency: "linearizable".into(),
        mutant: variant.mutant.map(str::to_owned),
        keys: Vec::new(),
        net: crate::plan::Net::default(),
        nemesis_interval: None,
        quiet: None,
        quorum: None,
        disk: None,
        node_args: if mix % 2 == 1 { vec![MANY_SNAPSHOTS.to_owned()] } else { Vec::new() },
        schedule: Vec::new(),
        binary: None,
        upgrade_to: None,
        expect: if variant.is_safe { "valid".into() } else { "violation".into() },
        fail_fast: false,
    }
}
