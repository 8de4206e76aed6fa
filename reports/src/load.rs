//! The run directory, read: everything that a report is made of.
//!
//! Without `run.json` and `verdict.json` there is nothing to report. Everything else may be missing, torn or
//! broken: the report then says so, in [`Run::problems`].

use std::fs;
use std::path::Path;

use checker::Verdict;
use history::{
    History, Nanos, Operation, Outcome, RunEvent, RunInfo, RunPaths, read_history, read_run_events,
};
use serde::de::DeserializeOwned;

use crate::ReportError;
use crate::faults::{self, Fault};
use crate::logs::{self, Log};
use crate::text::count;

/// A run, as recorded.
#[derive(Debug)]
pub(crate) struct Run {
    /// `run.json`.
    pub(crate) info: RunInfo,
    /// `verdict.json`.
    pub(crate) verdict: Verdict,
    /// The history, empty when it cannot be read.
    pub(crate) history: History,
    /// `nemesis.jsonl`, empty when it cannot be read.
    pub(crate) events: Vec<RunEvent>,
    /// The faults in `events`.
    pub(crate) faults: Vec<Fault>,
    /// The nodes' logs.
    pub(crate) logs: Vec<Log>,
    /// What could not be read, in words.
    pub(crate) problems: Vec<String>,
    /// The end of the time axis.
    pub(crate) end: Nanos,
    /// When clients began, and when healing for the end of the run began.
    pub(crate) load: (Nanos, Nanos),
}

impl Run {
    /// Reads a run directory.
    pub(crate) fn load(dir: &RunPaths) -> Result<Self, ReportError> {
        let info: RunInfo = read_json(&dir.run())?;
        let verdict: Verdict = read_json(&dir.verdict())?;
        let mut problems = Vec::new();
        let history = load_history(dir, &mut problems);
        let events = load_events(dir, &mut problems);
        let wall_origin_ms = history
            .header
            .as_ref()
            .map(|header| header.wall_origin_ms)
            .filter(|ms| *ms > 0)
            .unwrap_or(info.started_wall_ms);
        let (logs, log_problems) = logs::read_all(dir, wall_origin_ms);
        problems.extend(log_problems);
        let faults = faults::collect(&events);
        let end = axis_end(&history, &events);
        let load = load_window(&history, &events, end);
        Ok(Self { info, verdict, history, events, faults, logs, problems, end, load })
    }

    /// The operation that an invocation index names.
    pub(crate) fn operation(&self, index: u64) -> Option<Operation> {
        let operations = &self.history.operations;
        operations.position_of(index).map(|at| operations.get(at))
    }

    /// The windows of all faults that were injected.
    pub(crate) fn fault_windows(&self) -> Vec<(Nanos, Nanos)> {
        self.faults.iter().filter_map(|fault| fault.window(self.end)).collect()
    }

    /// The stall windows.
    pub(crate) fn stalls(&self) -> Vec<(Nanos, Nanos)> {
        let window = |event: &RunEvent| match event {
            RunEvent::Stall { time, length } => Some((*time, *time + *length)),
            _ => None,
        };
        self.events.iter().filter_map(window).collect()
    }
}

/// Whether an operation only looks. Everything else counts as a write when availability is measured.
pub(crate) fn is_read(operation: &Operation) -> bool {
    let f = operation.f.as_str();
    f.starts_with("read") || f.starts_with("get") || matches!(f, "scan" | "list" | "poll" | "peek")
}

/// The latency from the intended start, for operations with a completion.
pub(crate) fn latency(operation: &Operation) -> Option<Nanos> {
    operation.ret.map(|ret| ret.saturating_sub(operation.intended.min(operation.call)))
}

/// The position of an outcome in tables: ok, fail, info.
pub(crate) fn rank(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Info => 2,
    }
}

/// The field's word for an outcome.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    ["ok", "fail", "info"][rank(outcome)]
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let text = fs::read(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| ReportError::Json { path: path.to_owned(), source })
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn load_history(dir: &RunPaths, problems: &mut Vec<String>) -> History {
    let path = dir.history();
    match read_history(&path) {
        Ok((history, None)) => history,
        Ok((history, Some(torn))) => {
            problems.push(format!(
                "{} is torn at line {}: {}. It was read up to there: {} operations.",
                file_name(&path),
                torn.line,
                torn.reason,
                count(history.operations.len() as u64),
            ));
            history
        }
        Err(error) => {
            problems.push(format!("The history could not be read: {}", relative(dir, &error.to_string())));
            History::default()
        }
    }
}

fn load_events(dir: &RunPaths, problems: &mut Vec<String>) -> Vec<RunEvent> {
    match read_run_events(&dir.nemesis()) {
        Ok((events, torn)) => {
            if let Some(torn) = torn {
                problems.push(format!("nemesis.jsonl is torn at line {}: {}.", torn.line, torn.reason));
            }
            events
        }
        Err(error) => {
            problems.push(format!("The run events could not be read: {}", relative(dir, &error.to_string())));
            Vec::new()
        }
    }
}

/// Takes the place of the run directory out of a message: a report must not depend on where it is made.
fn relative(dir: &RunPaths, message: &str) -> String {
    message.replace(&format!("{}/", dir.dir.display()), "")
}

fn axis_end(history: &History, events: &[RunEvent]) -> Nanos {
    let operations = history.operations.iter().map(|operation| operation.ret.unwrap_or(operation.call));
    let events = events.iter().map(|event| match event {
        RunEvent::Stall { time, length } => *time + *length,
        other => other.time(),
    });
    operations.chain(events).max().unwrap_or_default()
}

fn load_window(history: &History, events: &[RunEvent], end: Nanos) -> (Nanos, Nanos) {
    let phase = |names: &[&str]| {
        events.iter().find_map(|event| match event {
            RunEvent::Phase { time, name } if names.contains(&name.as_str()) => Some(*time),
            _ => None,
        })
    };
    let load = || history.operations.iter().filter(|operation| !operation.is_final);
    let from = phase(&["load"]).or_else(|| load().map(|operation| operation.call).min()).unwrap_or_default();
    let to = phase(&["heal", "final-reads", "end"])
        .or_else(|| load().map(|operation| operation.ret.unwrap_or(operation.call)).max())
        .unwrap_or(end);
    (from, to.max(from))
}
