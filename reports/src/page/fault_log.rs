//! What was done to the cluster, what clients felt of it, and what else happened.

use history::{FaultPhase, Nanos, RunEvent};

use crate::faults::{self, Fault};
use crate::load::Run;
use crate::metrics::{Metrics, Quantiles};
use crate::plots::FAULT_STYLES;
use crate::text::{at, clip, span};

/// How many faults and how many events are listed.
const MAX_FAULTS: usize = 300;
const MAX_EVENTS: usize = 300;
/// How long a text may be, in characters.
const WORDS_CHARACTERS: usize = 500;

/// One fault of the log.
pub(super) struct FaultView {
    pub(super) id: u32,
    pub(super) style: usize,
    pub(super) kind: String,
    pub(super) nodes: String,
    /// Shape, or why it was skipped or failed.
    pub(super) shape: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) length: String,
    pub(super) status: &'static str,
    pub(super) evidence: String,
    pub(super) effect: String,
}

/// What clients felt of one fault.
pub(super) struct BehaviourRow {
    pub(super) name: String,
    pub(super) style: Option<usize>,
    /// Median, 95 %, 99 %, max.
    pub(super) latency: [String; 4],
    pub(super) gap: String,
    pub(super) recovery: String,
}

/// One event that is not about a fault.
pub(super) struct EventRow {
    pub(super) time: String,
    pub(super) words: String,
    pub(super) bad: bool,
}

/// The faults in the order of the schedule. The second value is how many are left out.
pub(super) fn faults(run: &Run) -> (Vec<FaultView>, usize) {
    let kinds = faults::kinds(&run.faults);
    let rows = run.faults.iter().take(MAX_FAULTS).map(|fault| view(run, &kinds, fault)).collect();
    (rows, run.faults.len().saturating_sub(MAX_FAULTS))
}

fn style_of(kinds: &[String], kind: &str) -> usize {
    kinds.iter().position(|other| other == kind).unwrap_or_default() % FAULT_STYLES
}

fn view(run: &Run, kinds: &[String], fault: &Fault) -> FaultView {
    let window = fault.window(run.end);
    let or_dash =
        |words: String| if words.is_empty() { "–".to_owned() } else { clip(&words, WORDS_CHARACTERS) };
    let phases = [FaultPhase::Skipped, FaultPhase::Failed, FaultPhase::Injected];
    let mut shape: Vec<String> =
        phases.iter().map(|phase| fault.words(*phase)).filter(|w| !w.is_empty()).collect();
    if fault.leaves_quorum == Some(false) {
        shape.push("leaves no quorum".to_owned());
    }
    FaultView {
        id: fault.id,
        style: style_of(kinds, &fault.kind),
        kind: clip(&fault.kind, 60),
        nodes: or_dash(fault.node_list()),
        shape: or_dash(shape.join("; ")),
        from: window.map_or_else(|| "–".to_owned(), |(from, _)| at(from)),
        to: fault.healed().map_or_else(|| "–".to_owned(), at),
        length: window.map_or_else(|| "–".to_owned(), |(from, to)| span(to - from)),
        status: status(fault),
        evidence: or_dash(fault.words(FaultPhase::Evidenced)),
        effect: or_dash(fault.words(FaultPhase::Effect)),
    }
}

fn status(fault: &Fault) -> &'static str {
    if fault.reached(FaultPhase::Failed) {
        "failed"
    } else if fault.injected().is_none() {
        "skipped"
    } else if fault.healed().is_none() {
        "not healed"
    } else if !fault.reached(FaultPhase::Evidenced) {
        "not proven"
    } else {
        "healed"
    }
}

/// What clients felt: outside of faults first, as the baseline.
pub(super) fn behaviour(run: &Run, metrics: &Metrics) -> Vec<BehaviourRow> {
    let kinds = faults::kinds(&run.faults);
    let baseline = BehaviourRow {
        name: "outside of faults".to_owned(),
        style: None,
        latency: cells(metrics.availability.outside_faults),
        gap: "–".to_owned(),
        recovery: "–".to_owned(),
    };
    let injected = metrics.faults.iter().zip(&run.faults).filter(|(row, _)| row.injected_s.is_some());
    let rows = injected.take(MAX_FAULTS).map(|(row, fault)| BehaviourRow {
        name: format!("#{} {}", fault.id, clip(&fault.label(), 80)),
        style: Some(style_of(&kinds, &fault.kind)),
        latency: cells(row.quantiles),
        gap: length(row.longest_without_ok_write_ms),
        recovery: length(row.recovery_ms),
    });
    std::iter::once(baseline).chain(rows).collect()
}

fn cells(quantiles: Option<Quantiles>) -> [String; 4] {
    let values = quantiles.map(|q| [q.p50_ms, q.p95_ms, q.p99_ms, q.max_ms]);
    values.map_or_else(
        || [const { String::new() }; 4].map(|_| "–".to_owned()),
        |v| v.map(|ms| length(Some(ms))),
    )
}

fn length(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| span(Nanos((ms * 1e6).round() as u64)))
}

/// Everything else that happened, by the order of the record. The second value is how many events are left out.
pub(super) fn events(run: &Run) -> (Vec<EventRow>, usize) {
    let all: Vec<EventRow> = run.events.iter().filter_map(event).collect();
    let hidden = all.len().saturating_sub(MAX_EVENTS);
    (all.into_iter().take(MAX_EVENTS).collect(), hidden)
}

fn event(event: &RunEvent) -> Option<EventRow> {
    let good = |words: String| Some((words, false));
    let bad = |words: String| Some((words, true));
    let (words, bad) = match event {
        RunEvent::Fault { .. } => None,
        RunEvent::Phase { name, .. } => good(format!("phase {name}")),
        RunEvent::Started { node, pid, generation, .. } if *generation == 0 => {
            good(format!("{node} started, pid {pid}"))
        }
        RunEvent::Started { node, pid, generation, .. } => {
            good(format!("{node} started again, pid {pid}, start {}", generation + 1))
        }
        RunEvent::Exited { node, pid, status, licensed: true, .. } => {
            good(format!("{node} exited as asked: {status}, pid {pid}"))
        }
        RunEvent::Exited { node, pid, status, .. } => {
            bad(format!("{node} exited unasked: {status}, pid {pid}"))
        }
        RunEvent::RestartFailed { node, detail, .. } => bad(format!("{node} did not restart: {detail}")),
        RunEvent::ForbiddenLog { node, file, line, text, .. } => {
            bad(format!("{node} {file}:{line} has a forbidden line: {text}"))
        }
        RunEvent::LogsSearched { lines, .. } => good(format!("{lines} log lines searched")),
        RunEvent::Leader { node: Some(node), term, .. } => good(format!("{node} leads, term {term}")),
        RunEvent::Leader { node: None, .. } => good("no leader is known".to_owned()),
        RunEvent::FirstAcknowledged { .. } => good("first acknowledged write".to_owned()),
        RunEvent::Recovered { after, .. } => good(format!("recovered {} after healing", span(*after))),
        RunEvent::NotRecovered { limit, .. } => bad(format!("not recovered within {}", span(*limit))),
        RunEvent::Replica { node, applied, digest, .. } => {
            good(format!("{node} has applied {applied}, digest {digest}"))
        }
        RunEvent::Stall { length, .. } => good(format!("the harness did not run for {}", span(*length))),
        RunEvent::Bypass { detail, .. } => bad(format!("a connection bypasses the links: {detail}")),
        RunEvent::Infrastructure { detail, .. } => bad(format!("infrastructure: {detail}")),
        RunEvent::FailedFast { .. } => bad("the history shows a violation; the load ends".to_owned()),
        RunEvent::Interrupted { .. } => bad("interrupted by the user".to_owned()),
    }?;
    Some(EventRow { time: at(event.time()), words: clip(&words, WORDS_CHARACTERS), bad })
}
