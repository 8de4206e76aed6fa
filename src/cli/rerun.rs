//! `shakedown rerun`: repeat a run with its templates and its very schedule.
//!
//! The interleaving is not promised: a rerun says how many of its attempts came to the same outcome. `--shrink` looks for the
//! smallest run that still shows the violation.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::{RunOutcome, Verdict};
use history::{RunInfo, RunPaths, ScheduledFault, read_run_events};

use super::run::{duration, gravest};
use super::usage;
use crate::plan::Plan;
use crate::run::Outcome;
use crate::shrink::{Seen, Trial};
use crate::store::read_json;
use crate::{exit, run, shrink};

/// How often a smaller run is tried.
const SHRINK_TIMES: u32 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory, such as `store/latest`
    run_dir: PathBuf,
    /// How often; with --shrink, how often a smaller run is tried [default: 1, with --shrink 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: Option<u32>,
    /// Repeat the faults as they were carried out: the very nodes, links and times, whoever leads this time
    #[arg(long)]
    resolved: bool,
    /// Look for a smaller run with the same violation: less time, fewer faults, keys and clients
    #[arg(long)]
    shrink: bool,
    /// With --shrink: in how many of the tries the violation must appear
    #[arg(long, default_value_t = 1, requires = "shrink", value_name = "K")]
    at_least: u32,
    /// With --shrink: how long to look
    #[arg(long, default_value = "10m", requires = "shrink", value_parser = duration)]
    budget: Duration,
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
    if args.shrink {
        return shrink(args, plan, &before, &out);
    }
    let times = args.times.unwrap_or(1);
    let mut codes = Vec::new();
    let mut reproduced = 0;
    for _ in 0..times {
        let outcome = run::to_report(plan.clone(), &out)?;
        reproduced += u32::from(same(&before, &outcome.verdict));
        codes.push(outcome.code);
    }
    println!("{:>12} {reproduced} of {times} reproduced {} ({:?})", "rerun:", info.run_id, before.outcome);
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

/// Looks for the smallest run that shows the violation.
fn shrink(args: &Args, plan: Plan, before: &Verdict, out: &Path) -> anyhow::Result<u8> {
    if before.outcome != RunOutcome::Violation {
        return Err(usage(format!("{}: --shrink needs a run with a violation", args.run_dir.display())));
    }
    let times = args.times.unwrap_or(SHRINK_TIMES);
    if !(1..=times).contains(&args.at_least) {
        return Err(usage(format!("--at-least {}: between 1 and {times} tries are possible", args.at_least)));
    }
    let mut trials = Trials {
        store: out.join(format!("{}.shrunk", before.run_id)),
        before: before.clone(),
        times,
        at_least: args.at_least,
        deadline: Instant::now() + args.budget,
        number: 0,
        smallest: None,
    };
    match trials.perform(&plan)? {
        Trial::Violates(seen) => _ = shrink::shrink(plan, seen, |plan| trials.perform(plan))?,
        Trial::Holds => {
            println!(
                "{:>12} the violation did not appear again in {} of {times} tries; try more --times",
                "shrink:", args.at_least
            );
            return Ok(exit::UNKNOWN);
        }
        Trial::Over => {}
    }
    let Some((plan, outcome)) = trials.smallest else {
        println!("{:>12} interrupted", "shrink:");
        return Ok(exit::UNKNOWN);
    };
    println!();
    print!("{}", reports::summary(&outcome.verdict, Some(&outcome.paths)));
    println!("{:>12} {}", "smallest:", shrink::size(&plan));
    for fault in &plan.schedule {
        let (at, duration) = (fault.at.as_secs_f64(), fault.duration.as_secs_f64());
        println!("{:>12} at {at:.3} s for {duration:.3} s: {} {}", "", fault.kind, fault.selector);
    }
    println!("{:>12} shakedown rerun {} --times {times}", "repeat:", outcome.paths.dir.display());
    Ok(outcome.code)
}

/// Tries plans, each several times, and keeps the last that violated: each is smaller than the one before.
struct Trials {
    store: PathBuf,
    before: Verdict,
    times: u32,
    at_least: u32,
    deadline: Instant,
    number: u32,
    smallest: Option<(Plan, Outcome)>,
}

impl Trials {
    fn perform(&mut self, plan: &Plan) -> anyhow::Result<Trial> {
        let mut tried = 0;
        let mut violating: Vec<Outcome> = Vec::new();
        let mut last = PathBuf::new();
        let enough = self.at_least as usize;
        // It goes on while it can still decide anything.
        while violating.len() < enough && violating.len() + (self.times - tried) as usize >= enough {
            if Instant::now() > self.deadline {
                println!("{:>12} the time is over; see --budget", "shrink:");
                return Ok(Trial::Over);
            }
            let outcome = run::quietly(plan.clone(), &self.store)?;
            tried += 1;
            if outcome.interrupted {
                return Ok(Trial::Over);
            }
            last.clone_from(&outcome.paths.dir);
            if same(&self.before, &outcome.verdict) {
                violating.push(outcome);
            }
        }
        let (appeared, kept) = (violating.len(), violating.len() >= enough);
        println!(
            "{:>12} {}: {appeared} of {tried} violated, {}; shakedown rerun {}",
            format!("try {}", self.number),
            shrink::size(plan),
            if kept { "kept" } else { "not kept" },
            last.display()
        );
        self.number += 1;
        let Some(outcome) = violating.pop().filter(|_| kept) else { return Ok(Trial::Holds) };
        let after = outcome.first_anomaly_seconds.map(Duration::from_secs_f64);
        let key = outcome.verdict.anomalies.first().and_then(|anomaly| anomaly.key.clone());
        self.smallest = Some((plan.clone(), outcome));
        Ok(Trial::Violates(Seen { after, key }))
    }
}

/// The same outcome, and for a violation of the same kind.
fn same(a: &Verdict, b: &Verdict) -> bool {
    let kind = |verdict: &Verdict| verdict.anomalies.first().map(|anomaly| anomaly.kind.clone());
    a.outcome == b.outcome && kind(a) == kind(b)
}
