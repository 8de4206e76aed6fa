//! `shakedown rerun`: repeat a run with its templates and its very schedule.
//!
//! The interleaving is not promised: a rerun says how many of its attempts came to the same outcome.

use std::path::PathBuf;

use checker::Verdict;
use history::{RunInfo, RunPaths, ScheduledFault, read_run_events};

use super::run::gravest;
use super::usage;
use crate::plan::Plan;
use crate::run;
use crate::store::read_json;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory, such as `store/latest`
    run_dir: PathBuf,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Repeat the faults as they were carried out: the very nodes, links and times, whoever leads this time
    #[arg(long)]
    resolved: bool,
    /// The directory that keeps runs [default: where the run is]
    #[arg(long, value_name = "STORE")]
    out: Option<PathBuf>,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let dir = args.run_dir.canonicalize().map_err(|e| usage(format!("{}: {e}", args.run_dir.display())))?;
    let paths = RunPaths::new(&dir);
    let info: RunInfo = read_json(&paths.run()).map_err(|e| usage(format!("{e:#}")))?;
    let before: Verdict = read_json(&paths.verdict()).map_err(|e| usage(format!("{e:#}")))?;
    let mut plan = Plan::of_run(&info).map_err(usage)?;
    if args.resolved {
        plan.schedule = resolved(&paths, &info)?;
    }
    let out = args.out.clone().or_else(|| dir.parent().map(PathBuf::from)).unwrap_or_else(|| "store".into());
    let mut codes = Vec::new();
    let mut reproduced = 0;
    for _ in 0..args.times {
        let outcome = run::to_report(plan.clone(), &out)?;
        reproduced += u32::from(same(&before, &outcome.verdict));
        codes.push(outcome.code);
    }
    println!(
        "{:>12} {reproduced} of {} reproduced {} ({:?})",
        "rerun:", args.times, info.run_id, before.outcome
    );
    Ok(gravest(&codes))
}

/// The faults of a run with what was decided when they started.
fn resolved(paths: &RunPaths, info: &RunInfo) -> anyhow::Result<Vec<ScheduledFault>> {
    let (events, _) = read_run_events(&paths.nemesis()).map_err(usage)?;
    let load = run::load_began(&events);
    let faults =
        load.map_or_else(Vec::new, |load| nemesis::schedule::resolved(&info.schedule, &events, load));
    if faults.is_empty() && !info.schedule.is_empty() {
        let file = paths.nemesis();
        return Err(usage(format!("{}: no fault was injected; leave --resolved out", file.display())));
    }
    Ok(faults)
}

/// The same outcome, and for a violation of the same kind.
fn same(a: &Verdict, b: &Verdict) -> bool {
    let kind = |verdict: &Verdict| verdict.anomalies.first().map(|anomaly| anomaly.kind.clone());
    a.outcome == b.outcome && kind(a) == kind(b)
}
