//! From the files of a run to its verdict. A run, `check` and `rerun` all come through here, so that they agree.

use std::path::Path;

use anyhow::{Context, bail};
use checker::raft_trace::{Trace, raft_trace};
use checker::{Budget, CheckError, Claim, Finding, Spec, Verdict, decide, decide_history};
use history::foreign::{EventReader, Format, ModelGuess, ReadOptions};
use history::{
    Event, EventKind, FaultPhase, Header, History, NodeId, Operation, Outcome, RunEvent, RunInfo, RunPaths,
    Torn, open_input, read_history, read_run_events,
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
    run_as(paths, None, budget, more)
}

/// Judges the files of a run directory, by another claim than its own if there is one.
fn run_as(
    paths: &RunPaths,
    claim: Option<Claim>,
    budget: &Budget,
    more: &[RunEvent],
) -> anyhow::Result<Judged> {
    let info: RunInfo = read_json(&paths.run())?;
    let (history, torn) = read_history(&paths.history())?;
    let mut remarks = torn_remark(&paths.history(), torn.as_ref());
    let (mut events, torn) = read_run_events(&paths.nemesis())?;
    remarks.extend(torn_remark(&paths.nemesis(), torn.as_ref()));
    events.extend_from_slice(more);
    let workload = workload(&info.workload)?;
    let load_seconds = info.time_limit_ms as f64 / 1000.0;
    let required = workload.requirements(load_seconds);
    let traces = traces(paths, &info.nodes)?;
    let mut findings = Judge::of_workload(workload, claim)?.check(&history, budget);
    if let Ok(findings) = &mut findings
        && !traces.is_empty()
    {
        findings.push(raft_trace(&traces, data_was_damaged(&events)));
    }
    let verdict = decide(&info, &history, &events, findings, &required);
    Ok(Judged { run: Some(paths.clone()), verdict, remarks })
}

/// What the nodes say that they did, those that say something.
fn traces(paths: &RunPaths, nodes: &[NodeId]) -> anyhow::Result<Vec<Trace>> {
    let mut traces = Vec::new();
    for node in nodes {
        let candidates = [paths.trace_compressed(node), paths.trace_plain(node)];
        let Some(path) = candidates.into_iter().find(|path| path.exists()) else { continue };
        let trace = Trace::read(node.clone(), open_input(&path)?);
        traces.push(trace.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(traces)
}

/// Whether a fault changed data that a node had stored: it cannot keep what it has promised about it. Data that is wiped is not
/// among it: who lost everything has to come back as a new member.
fn data_was_damaged(events: &[RunEvent]) -> bool {
    const KINDS: [&str; 2] = ["bit-flip", "damage"];
    events.iter().any(|event| {
        matches!(event, RunEvent::Fault { kind, phase: FaultPhase::Injected, .. }
            if KINDS.contains(&kind.split(':').next().unwrap_or_default()))
    })
}

/// How to read a history that stands alone, and what to judge it by. What is not said is found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) format: Option<Format>,
    pub(crate) workload: Option<String>,
    pub(crate) model: Option<Spec>,
    /// Whether the values of Jepsen's formats are `[key value]`.
    pub(crate) independent: Option<bool>,
    /// Does not keep a run directory from being judged as such.
    pub(crate) claim: Option<Claim>,
}

impl Reading {
    fn says_nothing(&self) -> bool {
        self.format.is_none() && self.workload.is_none() && self.model.is_none() && self.independent.is_none()
    }
}

/// What a history is judged by.
enum Judge {
    Workload(Box<dyn Workload>),
    Model(Spec, Claim),
}

impl Judge {
    /// The checkers of the workload, or its model and the claim.
    fn of_workload(workload: Box<dyn Workload>, claim: Option<Claim>) -> anyhow::Result<Self> {
        let Some(claim) = claim else { return Ok(Self::Workload(workload)) };
        let name = workload.name();
        let spec = name.parse().with_context(|| format!("workload `{name}` has no --consistency"))?;
        Self::of_model(spec, Some(claim))
    }

    /// Linearizability, unless something else is claimed.
    fn of_model(spec: Spec, claim: Option<Claim>) -> anyhow::Result<Self> {
        let claim = claim.unwrap_or(Claim::Linearizable);
        if claim.supports(spec) {
            return Ok(Self::Model(spec, claim));
        }
        let names = |supported: Vec<&str>| supported.join(", ");
        let models = Spec::ALL.into_iter().filter(|spec| claim.supports(*spec)).map(Spec::name).collect();
        let claims = Claim::ALL.into_iter().filter(|claim| claim.supports(spec)).map(Claim::name).collect();
        bail!(
            "`{claim}` is defined for {}, but the model here is `{spec}`, which can be judged by --consistency {}",
            names(models),
            names(claims)
        )
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Workload(workload) => workload.name(),
            Self::Model(spec, _) => spec.name(),
        }
    }

    /// What else to try after an error.
    fn way_out(&self, error: &CheckError) -> String {
        match (self, error) {
            (
                Self::Model(Spec::Kv, claim @ (Claim::Sessions | Claim::Session(_))),
                CheckError::UnknownFunction { .. },
            ) => {
                format!("; of `kv`, `{claim}` judges no more than these, --consistency sequential judges all")
            }
            _ => String::new(),
        }
    }

    fn check(&self, history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError> {
        match self {
            Self::Workload(workload) => workload.check(history, budget),
            Self::Model(spec, claim) => claim.judge(*spec, history, budget),
        }
    }
}

/// Judges a history: with everything that lies beside it when it is part of a run directory, else alone.
pub(crate) fn file(path: &Path, reading: &Reading, budget: &Budget) -> anyhow::Result<Judged> {
    let beside = RunPaths::containing(path).filter(|p| path.is_dir() || same_file(path, &p.history()));
    if let Some(paths) = beside.as_ref().filter(|_| reading.says_nothing()) {
        return run_as(paths, reading.claim, budget, &[]);
    }
    let path = &beside.filter(|_| path.is_dir()).map_or_else(|| path.to_owned(), |paths| paths.history());
    // Workloads are our own, and so are their histories.
    let format = reading.format.or(reading.workload.as_ref().map(|_| Format::Jsonl));
    let options = ReadOptions { format, independent: reading.independent };
    let (reader, history) = read(path, options)?;
    let claim = reading.claim.map_or_else(|| header_claim(path, &reader), |claim| Ok(Some(claim)))?;
    let judge = match (reading.model, &reading.workload) {
        (Some(model), _) => Judge::of_model(model, claim)?,
        (None, Some(name)) => Judge::of_workload(workload(name)?, claim)?,
        (None, None) => detect(path, &history, claim)?,
    };
    let mut verdict = decide_history(&history, judge.check(&history, budget))
        .map_err(|error| anyhow::anyhow!("{}: {error}{}", path.display(), judge.way_out(&error)))?;
    judge.name().clone_into(&mut verdict.workload);
    let mut remarks = torn_remark(path, reader.torn());
    remarks.extend(skipped_remark(reader.skipped()));
    Ok(Judged { run: None, verdict, remarks })
}

fn read(path: &Path, options: ReadOptions) -> anyhow::Result<(EventReader, History)> {
    let mut reader = match EventReader::open_with(path, options) {
        Err(error) if path.is_dir() => {
            bail!(
                "{} is no run directory, it has no run.json; nor is it another history: {error}",
                path.display()
            )
        }
        opened => opened?,
    };
    let history = reader.read_history()?;
    Ok((reader, history))
}

/// What the header claims, unless that is what is judged anyway.
fn header_claim(path: &Path, reader: &EventReader) -> anyhow::Result<Option<Claim>> {
    let name = reader.header().map_or("", |header| header.claim.as_str());
    let claim = (!name.is_empty()).then(|| name.parse()).transpose().with_context(|| {
        format!(
            "{}: its header claims what cannot be judged; say what to judge with --consistency",
            path.display()
        )
    })?;
    Ok(claim.filter(|claim| *claim != Claim::Linearizable))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

pub(crate) fn torn_remark(path: &Path, torn: Option<&Torn>) -> Vec<String> {
    torn.map(|torn| {
        format!("{}:{}: {}; judged on the whole lines before it", path.display(), torn.line, torn.reason)
    })
    .into_iter()
    .collect()
}

/// What is said of records that no client made.
pub(crate) fn skipped_remark(skipped: u64) -> Option<String> {
    let what = match skipped {
        0 => return None,
        1 => "1 record is no operation of a client (the nemesis, another line of a log) and is".to_owned(),
        _ => format!(
            "{skipped} records are no operations of clients (the nemesis, other lines of a log) and are"
        ),
    };
    Some(format!("{what} left out"))
}

fn workload(name: &str) -> anyhow::Result<Box<dyn Workload>> {
    workloads::find(name).with_context(|| {
        let known: Vec<&str> = workloads::all().iter().map(|w| w.name()).collect();
        format!("unknown workload `{name}`; known are {} (see `shakedown list workloads`)", known.join(", "))
    })
}

/// What the header names, or what the functions of the operations fit.
fn detect(path: &Path, history: &History, claim: Option<Claim>) -> anyhow::Result<Judge> {
    let named =
        history.header.as_ref().map(|header| header.workload.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = named {
        return match name.parse() {
            Ok(spec) if workloads::find(name).is_none() || !has_final_reads(history) => {
                Judge::of_model(spec, claim)
            }
            _ => Judge::of_workload(workload(name)?, claim),
        };
    }
    let mut guess = ModelGuess::default();
    for operation in history.operations.iter().take(LOOKED_AT) {
        guess.observe(&as_event(operation));
    }
    match guess.model() {
        Some(model) => Judge::of_model(model.parse()?, claim),
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

/// The model by which a history with this header can be judged while it grows; `None` when only the whole file tells.
pub(crate) fn model_to_follow(
    path: &Path,
    reading: &Reading,
    header: Option<&Header>,
) -> anyhow::Result<Option<Spec>> {
    let claimed =
        header.is_none_or(|header| ["", Claim::Linearizable.name()].contains(&header.claim.as_str()));
    let is_linearizable = reading.claim.map_or(claimed, |claim| claim == Claim::Linearizable);
    if let Some(model) = reading.model {
        return Ok(is_linearizable.then_some(model));
    }
    let named = header.map(|header| header.workload.as_str()).filter(|name| !name.is_empty());
    let name = reading.workload.as_deref().or(named).with_context(|| {
        format!(
            "{} does not say what made it; say how to judge it with --model or --workload",
            path.display()
        )
    })?;
    let model = workloads::find(name).map_or_else(|| name.parse().ok(), |workload| workload.model());
    Ok(model.filter(|_| is_linearizable))
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
