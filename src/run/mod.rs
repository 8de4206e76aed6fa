//! One run: plan → cluster → load and faults → heal → final reads → verdict → report.
//!
//! Whatever goes wrong on the way, what was recorded is kept, judged as far as it goes, and reported.

mod address;
mod cluster;
mod environment;
mod execute;
mod fail_fast;
mod load;
mod logs;
pub(crate) mod progress;
mod recorder;
mod stall;

use std::path::Path;

use anyhow::Context;
use checker::{Budget, Verdict};
use history::{Nanos, RunEvent, RunInfo, RunPaths, UpgradeInfo, read_history};

use crate::binary::Binaries;
use crate::plan::{Net, Plan};
use crate::store::{self, OpenRun};
use crate::{digest, exit, judge, live};
use progress::Progress;

/// How a run ended.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) code: u8,
    /// What it left behind.
    pub(crate) paths: RunPaths,
    /// When the first anomaly had shown, in seconds since the start of the load.
    pub(crate) first_anomaly_seconds: Option<f64>,
    /// Whether the user wanted no more of it.
    pub(crate) interrupted: bool,
}

/// Runs a plan and says what came out; the exit code.
pub(crate) fn to_exit_code(plan: Plan, store: &Path) -> anyhow::Result<u8> {
    to_report(plan, store).map(|outcome| outcome.code)
}

/// Runs a plan, judges it, writes its report and prints the summary.
pub(crate) fn to_report(plan: Plan, store: &Path) -> anyhow::Result<Outcome> {
    with(plan, store, Progress::new())
}

/// The same without a word.
pub(crate) fn quietly(plan: Plan, store: &Path) -> anyhow::Result<Outcome> {
    with(plan, store, Progress::silent())
}

fn with(plan: Plan, store: &Path, progress: Progress) -> anyhow::Result<Outcome> {
    let binaries = Binaries::find(&plan)?;
    let suite = std::env::current_exe().context("cannot find this executable")?;
    let suite_digest = digest::of_file(&suite)?;
    let digest_of =
        |file: &Path| if file == suite { Ok(suite_digest.clone()) } else { digest::of_file(file) };
    let target_digest = digest_of(&binaries.target)?;
    let upgrade = binaries
        .upgrade
        .as_deref()
        .map(|file| digest_of(file).map(|digest| UpgradeInfo { binary: file.display().to_string(), digest }));
    let upgrade = upgrade.transpose()?;
    let upgrade_digest = upgrade.as_ref().map_or("", |upgrade| upgrade.digest.as_str());
    let plan_id = plan.id(&[&target_digest, &suite_digest, upgrade_digest])?;
    let open = OpenRun::create(store, &plan_id)?;
    let mut info = run_info(&plan, &open.run_id, plan_id);
    info.repro = repro(&plan, store, &open.run_id);
    info.target_version = version(&plan, &binaries.target);
    info.target_binary = binaries.target.display().to_string();
    info.upgrade = upgrade;
    (info.target_digest, info.suite_digest) = (target_digest, suite_digest);
    store::write_json(&open.paths.run(), &info)?;
    progress.line("Starting", &format!("{} ({} nodes, seed {})", info.run_id, plan.nodes, plan.seed));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let unrecorded = runtime.block_on(execute::execute(&plan, &binaries, &open, &info, &progress));
    drop(runtime);
    progress.now("Judging", "");
    let outcome = conclude(&plan, open, &info, &unrecorded, &progress);
    progress.clear();
    outcome
}

/// Judges, reports, and gives the run its final name.
fn conclude(
    plan: &Plan,
    open: OpenRun,
    info: &RunInfo,
    unrecorded: &[RunEvent],
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let paths = open.paths.clone();
    let kept = || format!("what was recorded is kept in {}", paths.dir.display());
    let mut remarks = Vec::new();
    if let Err(error) = store::compress(&paths, &info.nodes) {
        remarks.push(format!("some of what was recorded stays uncompressed: {error}"));
    }
    let judged = live::judging(progress, Budget::default(), |budget| judge::run(&paths, budget, unrecorded))
        .with_context(kept)?;
    let verdict = judged.verdict;
    remarks.extend(judged.remarks);
    store::write_json(&paths.verdict(), &verdict).with_context(kept)?;
    if let Err(error) = store::prune_data(&paths, &info.nodes, verdict.outcome) {
        remarks.push(format!("data directories stay: {error}"));
    }
    match reports::render(&paths) {
        Ok(rendered) => remarks.extend(rendered.problems),
        Err(error) => remarks.push(format!("no report: {error}")),
    }
    let first_anomaly_seconds = first_anomaly(&paths, &verdict);
    let interrupted = was_interrupted(&paths);
    let store = paths.dir.parent().map(Path::to_owned).unwrap_or_default();
    let paths = open.finish().with_context(kept)?;
    progress.clear();
    for remark in remarks {
        progress.line("note:", &remark);
    }
    let (code, remark) = exit::expected(&plan.expect(), &verdict);
    if !progress.is_silent() {
        print!("{}", reports::summary(&verdict, Some(&paths)));
        if let Some(remark) = remark {
            println!("{:>12} {remark}", "Expected");
        }
        say_if_flaky(&store, &verdict);
    }
    Ok(Outcome { verdict, code, paths, first_anomaly_seconds, interrupted })
}

/// Different verdicts under one plan are flaky, and that is worth a line.
fn say_if_flaky(store: &Path, verdict: &Verdict) {
    let others = store::other_verdicts(store, &verdict.plan_id, &verdict.run_id);
    let different: Vec<String> = others
        .iter()
        .filter(|other| other.outcome != verdict.outcome)
        .map(|other| format!("{} was {:?}", other.run_id, other.outcome).to_lowercase())
        .collect();
    if !different.is_empty() {
        println!("{:>12} the same plan ended otherwise before: {}", "Flaky", different.join(", "));
    }
}

/// When the operations that prove the first anomaly were over, in seconds since the start of the load.
fn first_anomaly(paths: &RunPaths, verdict: &Verdict) -> Option<f64> {
    let (history, _) = read_history(&paths.history()).ok()?;
    let (events, _) = history::read_run_events(&paths.nemesis()).ok()?;
    let load = load_began(&events)?;
    let last = |indices: &[u64]| {
        let proving = history.operations.iter().filter(|o| indices.contains(&o.index));
        proving.map(|o| o.ret.unwrap_or(o.call)).max()
    };
    let ends = verdict.anomalies.iter().filter_map(|anomaly| last(&anomaly.operations));
    ends.min().map(|end| (end - load).as_secs_f64())
}

fn was_interrupted(paths: &RunPaths) -> bool {
    history::read_run_events(&paths.nemesis())
        .is_ok_and(|(events, _)| events.iter().any(|event| matches!(event, RunEvent::Interrupted { .. })))
}

/// When the load began, from which the times of a schedule count.
pub(crate) fn load_began(events: &[RunEvent]) -> Option<Nanos> {
    events.iter().find_map(|event| match event {
        RunEvent::Phase { time, name } if name == "load" => Some(*time),
        _ => None,
    })
}

fn run_info(plan: &Plan, run_id: &str, plan_id: String) -> RunInfo {
    RunInfo {
        schema: 1,
        run_id: run_id.to_owned(),
        plan_id,
        target: plan.target.clone(),
        target_version: String::new(),
        target_binary: String::new(),
        target_digest: String::new(),
        upgrade: None,
        suite_digest: String::new(),
        suite_version: env!("CARGO_PKG_VERSION").to_owned(),
        mutant: plan.mutant.clone(),
        net: (plan.net != Net::default()).then(|| plan.net.name().to_owned()),
        workload: plan.workload.clone(),
        claim: "linearizable".to_owned(),
        read_consistency: plan.read_consistency.clone(),
        nemesis: plan.nemesis.clone(),
        nodes: plan.node_ids(),
        seed: plan.seed,
        concurrency: plan.concurrency,
        rate: plan.rate,
        time_limit_ms: plan.time_limit_ms,
        keys: plan.keys.clone(),
        nemesis_interval: plan.nemesis_interval.clone(),
        quiet: plan.quiet.clone(),
        quorum: plan.quorum.clone(),
        disk: plan.disk.clone(),
        node_args: plan.node_args.clone(),
        expect: plan.expect.clone(),
        started_wall_ms: history::Clock::start().wall_origin_ms(),
        repro: String::new(),
        schedule: plan.schedule.clone(),
        environment: environment::describe(),
    }
}

/// The command that repeats the run. A schedule that its seed does not plan is read from the run itself.
fn repro(plan: &Plan, store: &Path, run_id: &str) -> String {
    let planned = plan.clone().with_schedule();
    if planned.is_ok_and(|planned| planned.schedule == plan.schedule) {
        return plan.repro();
    }
    format!("shakedown rerun {}", store.join(run_id).display())
}

/// What the target says of its own version: the first line, without the words before a colon (`etcd Version: 3.4.23`).
fn version(plan: &Plan, executable: &Path) -> String {
    let Some(arguments) = plan.target().version_args() else {
        return format!("shakedown {}", env!("CARGO_PKG_VERSION"));
    };
    let output = std::process::Command::new(executable).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().unwrap_or("unknown");
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}
