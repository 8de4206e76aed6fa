//! From the files of a run to its verdict. A run, `check` and `rerun` all come through here, so that they agree.

use std::path::Path;

use anyhow::{Context, bail};
use checker::{Budget, CheckError, Spec, Verdict, decide, decide_history, linearizable};
use history::foreign::{Format, ModelGuess, read_history_as};
use history::{
    Event, EventKind, History, Operation, Outcome, RunEvent, RunInfo, RunPaths, Torn, read_history,
    read_run_events,
};
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

/// How to read a history that stands alone, and what to judge it by. What is not said is found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) format: Option<Format>,
    pub(crate) workload: Option<String>,
    pub(crate) model: Option<Spec>,
}

impl Reading {
    fn says_nothing(&self) -> bool {
        self.format.is_none() && self.workload.is_none() && self.model.is_none()
    }
}

/// What a history is judged by.
enum Judge {
    Workload(Box<dyn Workload>),
    Model(Spec),
}

/// Judges a history: with everything that lies beside it when it is part of a run directory, else alone.
pub(crate) fn file(path: &Path, reading: &Reading, budget: &Budget) -> anyhow::Result<Judged> {
    let beside = RunPaths::containing(path).filter(|p| path.is_dir() || same_file(path, &p.history()));
    if let Some(paths) = beside.filter(|_| reading.says_nothing()) {
        return run(&paths, budget, &[]);
    }
    // Workloads are our own, and so are their histories.
    let format = reading.format.or(reading.workload.as_ref().map(|_| Format::Jsonl));
    let (history, torn) = match read_history_as(path, format) {
        Err(error) if path.is_dir() => {
            bail!(
                "{} is no run directory, it has no run.json; nor is it another history: {error}",
                path.display()
            )
        }
        read => read?,
    };
    let judge = match (reading.model, &reading.workload) {
        (Some(model), _) => Judge::Model(model),
        (None, Some(name)) => Judge::Workload(workload(name)?),
        (None, None) => detect(path, &history)?,
    };
    let (name, findings) = match &judge {
        Judge::Workload(workload) => (workload.name(), workload.check(&history, budget)),
        Judge::Model(spec) => {
            (spec.name(), linearizable(*spec, &history, budget).map(|finding| vec![finding]))
        }
    };
    let mut verdict = decide_history(&history, findings)
        .map_err(|error: CheckError| anyhow::anyhow!("{}: {error}", path.display()))?;
    verdict.workload = name.to_owned();
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

/// What the header names, or what the functions of the operations fit.
fn detect(path: &Path, history: &History) -> anyhow::Result<Judge> {
    let named =
        history.header.as_ref().map(|header| header.workload.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = named {
        return match name.parse() {
            Ok(spec) if workloads::find(name).is_none() || !has_final_reads(history) => {
                Ok(Judge::Model(spec))
            }
            _ => Ok(Judge::Workload(workload(name)?)),
        };
    }
    let mut guess = ModelGuess::default();
    for operation in history.operations.iter().take(LOOKED_AT) {
        guess.observe(&as_event(operation));
    }
    match guess.model() {
        Some(model) => Ok(Judge::Model(model.parse()?)),
        None if guess.candidates().is_empty() => bail!(
            "{}: no model has all the functions of this history; `shakedown list models` lists what can be judged",
            path.display()
        ),
        None => bail!(
            "{}: this may be {}; say which with --model",
            path.display(),
            guess.candidates().join(" or ")
        ),
    }
}

/// How many operations are looked at to guess the model.
const LOOKED_AT: usize = 10_000;

/// The completion of an operation.
fn as_event(operation: Operation) -> Event {
    let kind = match operation.outcome {
        Outcome::Ok => EventKind::Ok,
        Outcome::Fail => EventKind::Fail,
        Outcome::Info => EventKind::Info,
    };
    Event {
        index: operation.index,
        time: operation.call,
        kind,
        process: operation.process,
        node: operation.node,
        f: operation.f,
        key: operation.key,
        value: operation.output,
        intended: None,
        is_final: operation.is_final,
        error: operation.error,
    }
}

/// Whether a run of ours made the history: simulated and foreign ones have no final phase.
fn has_final_reads(history: &History) -> bool {
    (0..history.operations.len()).any(|at| history.operations.is_final(at))
}
