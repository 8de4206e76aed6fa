//! From the files of a run to its verdict. A run, `check` and `rerun` all come through here, so that they agree.

use std::path::Path;

use anyhow::{Context, bail};
use checker::{Budget, CheckError, Verdict, decide, decide_history};
use history::{History, RunEvent, RunInfo, RunPaths, Torn, read_history, read_run_events};
use workloads::Workload;

use crate::store::read_json;

/// A verdict, and what was noticed on the way to it.
pub(crate) struct Judged {
    /// The run directory, unless a history was judged alone.
    pub(crate) run: Option<RunPaths>,
    pub(crate) verdict: Verdict,
    pub(crate) remarks: Vec<String>,
}

/// Judges the files of a run directory. `more` are run events that could not be recorded.
pub(crate) fn run(paths: &RunPaths, budget: &Budget, more: &[RunEvent]) -> anyhow::Result<Judged> {
    let info: RunInfo = read_json(&paths.run())?;
    let (history, torn) = read_history(&paths.history())?;
    let mut remarks = torn_remark(&paths.history(), torn.as_ref());
    let (mut events, torn) = read_run_events(&paths.nemesis())?;
    remarks.extend(torn_remark(&paths.nemesis(), torn.as_ref()));
    events.extend_from_slice(more);
    let workload = workload(&info.workload)?;
    let load_seconds = info.time_limit_ms as f64 / 1000.0;
    let verdict = decide(
        &info,
        &history,
        &events,
        workload.check(&history, budget),
        &workload.requirements(load_seconds),
    );
    Ok(Judged { run: Some(paths.clone()), verdict, remarks })
}

/// Judges a history: with everything that lies beside it when it is part of a run directory, else alone.
pub(crate) fn file(path: &Path, workload_name: Option<&str>, budget: &Budget) -> anyhow::Result<Judged> {
    if let Some(paths) = RunPaths::containing(path).filter(|p| path.is_dir() || same_file(path, &p.history()))
    {
        return run(&paths, budget, &[]);
    }
    if path.is_dir() {
        bail!("{} is no run directory: it has no run.json", path.display());
    }
    let (history, torn) = read_history(path)?;
    let workload = match workload_name {
        Some(name) => workload(name)?,
        None => detect(path, &history)?,
    };
    let verdict = decide_history(&history, workload.check(&history, budget))
        .map_err(|error: CheckError| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(Judged { run: None, verdict, remarks: torn_remark(path, torn.as_ref()) })
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn torn_remark(path: &Path, torn: Option<&Torn>) -> Vec<String> {
    torn.map(|torn| {
        format!("{}:{}: {}; judged on the whole lines before it", path.display(), torn.line, torn.reason)
    })
    .into_iter()
    .collect()
}

fn workload(name: &str) -> anyhow::Result<Box<dyn Workload>> {
    workloads::find(name).with_context(|| {
        let known: Vec<&str> = workloads::all().iter().map(|w| w.name()).collect();
        format!("unknown workload `{name}`; known are {} (see `shakedown list workloads`)", known.join(", "))
    })
}

/// The workload that a header names, or whose functions the operations have.
fn detect(path: &Path, history: &History) -> anyhow::Result<Box<dyn Workload>> {
    if let Some(header) = &history.header {
        return workload(&header.workload);
    }
    let has = |function: &str| history.operations.iter().any(|o| o.f == function);
    match () {
        () if has("add") => workload("set"),
        () if has("write") || has("cas") || has("read") => workload("register"),
        () => bail!(
            "{}: cannot tell which workload this is: there is no header and no known function; say it with --workload",
            path.display()
        ),
    }
}
