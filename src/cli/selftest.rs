//! `shakedown selftest`: the canaries. Deliberately wrong variants of the Raft server go through ordinary runs, and the
//! suite must convict each; the unmutated server goes along and must not be convicted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use checker::RunOutcome;

use super::usage;
use crate::plan::Plan;
use crate::{exit, run};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which mutants, separated by commas [default: all that ordinary runs must convict]
    #[arg(long, value_delimiter = ',')]
    mutants: Vec<String>,
    /// How many seeds each, counted from --seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each run lasts, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The directory that keeps runs
    #[arg(long, default_value = "store", value_name = "STORE")]
    out: PathBuf,
}

/// Mutants that want an order of events which ordinary runs need not meet. The model checker convicts them (`node/tests/model`).
const RARE: [&str; 6] = ["A1", "A7", "A10", "A11", "B1", "F2"];

/// One row of the table.
struct Row {
    id: String,
    title: String,
    seed: u64,
    detected: Option<(String, Option<f64>)>,
    outcome: RunOutcome,
    report: PathBuf,
}

pub(super) fn main(args: Args) -> anyhow::Result<u8> {
    let selected = select(&args)?;
    if selected.is_empty() {
        println!("{:>12} no mutant was selected", "nothing:");
        return Ok(exit::NOTHING_SELECTED);
    }
    let mut rows = Vec::new();
    let faults: BTreeSet<&str> = selected.iter().map(|(id, _)| faults_against(*id)).collect();
    let unmutated = faults.into_iter().map(|faults| (None, "the unmutated server", faults));
    let mutated = selected.into_iter().map(|(id, title)| (id, title, faults_against(id)));
    for (id, title, faults) in unmutated.chain(mutated) {
        for seed in args.seed..args.seed.saturating_add(args.seeds) {
            rows.push(trial(&args, id, title, faults, seed)?);
        }
    }
    print(&rows);
    let wrong = rows.iter().filter(|row| row.detected.is_some() == (row.id == "-")).count();
    let undecided = rows.iter().filter(|row| row.id == "-" && row.outcome != RunOutcome::Valid).count();
    println!("{:>12} {} runs, {wrong} not as they must be", "selftest:", rows.len());
    Ok(if wrong + undecided == 0 { exit::VALID } else { exit::VIOLATION })
}

fn select(args: &Args) -> anyhow::Result<Vec<(Option<&'static str>, &'static str)>> {
    let known = super::node::mutants();
    if known.is_empty() {
        return Err(usage(
            "this build has no mutants; use `cargo run --release --features mutants -- selftest`",
        ));
    }
    if let Some(unknown) = args.mutants.iter().find(|id| !known.iter().any(|(known, _)| known == id)) {
        let names: Vec<&str> = known.iter().map(|(id, _)| *id).collect();
        return Err(usage(format!("--mutants {unknown}: known are {}", names.join(", "))));
    }
    let by_default = |id: &str| args.mutants.is_empty() && !RARE.contains(&id);
    let chosen = |id: &str| by_default(id) || args.mutants.iter().any(|m| m == id);
    Ok(known.iter().filter(|(id, _)| chosen(id)).map(|(id, title)| (Some(*id), *title)).collect())
}

/// What brings a mistake to light: what is written without fsync survives a killed process.
fn faults_against(mutant: Option<&str>) -> &'static str {
    match mutant {
        Some("B9") => "power",
        _ => "kill,pause,partition",
    }
}

fn trial(args: &Args, mutant: Option<&str>, title: &str, faults: &str, seed: u64) -> anyhow::Result<Row> {
    let plan = Plan {
        target: "raft".into(),
        workload: "register".into(),
        nemesis: faults.split(',').map(String::from).collect(),
        nodes: 5,
        concurrency: 15,
        rate: workloads::find("register").expect("invariant: it exists").default_rate(),
        time_limit_ms: args.seconds * 1000,
        seed,
        read_consistency: "linearizable".into(),
        mutant: mutant.map(str::to_owned),
        keys: Vec::new(),
        net: crate::plan::Net::default(),
        nemesis_interval: None,
        quiet: None,
        quorum: None,
        disk: None,
        node_args: Vec::new(),
        schedule: Vec::new(),
        binary: None,
        upgrade_to: None,
        expect: if mutant.is_some() { "violation".into() } else { "valid".into() },
        fail_fast: false,
    };
    let outcome = run::to_report(plan.with_schedule()?, &args.out)?;
    let detected = outcome.verdict.anomalies.first().map(|a| (a.kind.clone(), outcome.first_anomaly_seconds));
    Ok(Row {
        id: mutant.unwrap_or("-").to_owned(),
        title: title.to_owned(),
        seed,
        detected,
        outcome: outcome.verdict.outcome,
        report: outcome.paths.report(),
    })
}

fn print(rows: &[Row]) {
    println!();
    println!("{:<7} {:<44} {:>5}  {:<34} report", "mutant", "what is wrong", "seed", "result");
    for row in rows {
        let result = match &row.detected {
            Some((kind, Some(after))) => format!("detected: {kind} after {after:.1} s"),
            Some((kind, None)) => format!("detected: {kind}"),
            None => format!("not detected ({:?})", row.outcome),
        };
        println!("{:<7} {:<44} {:>5}  {:<34} {}", row.id, row.title, row.seed, result, row.report.display());
    }
}
