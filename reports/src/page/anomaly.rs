//! One proven anomaly: the sentence, the operations as a table and as a drawing, and what went on around them.

use checker::Anomaly;
use history::{Nanos, Operation, RunEvent};

use crate::lanes::{self, Lanes};
use crate::load::Run;
use crate::logs::near;
use crate::op::OpRow;
use crate::page::SENTENCE_CHARACTERS;
use crate::text::{at, clip};

/// How many operations of one anomaly the table shows.
const MAX_ROWS: usize = 500;
/// How many lines of details are shown, and how long each may be, in characters.
const MAX_DETAILS: usize = 200;
const DETAIL_CHARACTERS: usize = 600;
/// How far from an operation a log line may be to be shown.
const LOG_RADIUS: Nanos = Nanos::from_millis(2000);
/// How many log lines are shown for one anomaly.
const MAX_LOG_LINES: usize = 60;
/// How many faults around an anomaly are named.
const MAX_FAULTS: usize = 30;

/// An anomaly in words.
pub(super) struct AnomalyView {
    pub(super) id: String,
    /// A position in the page: `anomaly-1`. Ids of a verdict are not ours to trust in attributes.
    pub(super) anchor: String,
    pub(super) kind: String,
    pub(super) key: Option<String>,
    pub(super) explanation: String,
    pub(super) operations: Vec<OpRow>,
    pub(super) has_errors: bool,
    pub(super) hidden_operations: usize,
    /// Indices that the history does not contain.
    pub(super) lost: Vec<u64>,
    pub(super) lanes: Option<Lanes>,
    pub(super) details: Vec<String>,
    /// The faults that stood around it; `None` when it is not known when it happened.
    pub(super) faults: Option<Vec<String>>,
    pub(super) log: Vec<LogRow>,
    pub(super) hidden_log: usize,
}

/// One line of a node's log.
pub(super) struct LogRow {
    pub(super) time: String,
    pub(super) node: String,
    pub(super) level: String,
    pub(super) text: String,
}

/// The first `limit` anomalies.
pub(super) fn views(run: &Run, limit: usize) -> Vec<AnomalyView> {
    run.verdict.anomalies.iter().take(limit).enumerate().map(|(position, a)| view(run, position, a)).collect()
}

fn view(run: &Run, position: usize, anomaly: &Anomaly) -> AnomalyView {
    let found: Vec<Operation> = anomaly.operations.iter().filter_map(|index| run.operation(*index)).collect();
    let anchor = format!("anomaly-{}", position + 1);
    let moments = moments(run, anomaly, &found);
    let (log, hidden_log) = log(run, &moments);
    let operations: Vec<OpRow> = found.iter().take(MAX_ROWS).map(OpRow::of).collect();
    AnomalyView {
        id: anomaly.id.clone(),
        kind: clip(&anomaly.kind, 100),
        key: anomaly.key.as_deref().map(|key| clip(key, 100)),
        explanation: clip(&anomaly.explanation, SENTENCE_CHARACTERS),
        has_errors: operations.iter().any(|row| !row.error.is_empty()),
        hidden_operations: found.len() - operations.len(),
        operations,
        lost: anomaly.operations.iter().copied().filter(|index| run.operation(*index).is_none()).collect(),
        lanes: lanes::draw(run, &anchor, &found),
        details: anomaly.details.iter().take(MAX_DETAILS).map(|line| clip(line, DETAIL_CHARACTERS)).collect(),
        faults: faults(run, &moments),
        log,
        hidden_log,
        anchor,
    }
}

/// The moments that an anomaly is about: the stamps of its operations or, when it has none, the incidents of its kind.
/// None are known of replicas that diverged some time, nor of a forbidden line that was found after the load.
fn moments(run: &Run, anomaly: &Anomaly, operations: &[Operation]) -> Vec<Nanos> {
    if operations.is_empty() {
        let incident = |event: &&RunEvent| match event {
            RunEvent::Exited { licensed, .. } => anomaly.kind == "crash" && !licensed,
            RunEvent::RestartFailed { .. } => anomaly.kind == "restart-failed",
            RunEvent::NotRecovered { .. } => anomaly.kind == "not-recovered",
            _ => false,
        };
        return run.events.iter().filter(incident).map(RunEvent::time).collect();
    }
    operations.iter().flat_map(|operation| std::iter::once(operation.call).chain(operation.ret)).collect()
}

fn log(run: &Run, moments: &[Nanos]) -> (Vec<LogRow>, usize) {
    let (lines, hidden) = near(&run.logs, moments, LOG_RADIUS, MAX_LOG_LINES);
    let row = |near: crate::logs::NearLine<'_>| LogRow {
        time: format!("{:.3} s", near.line.time as f64 / 1e9),
        node: clip(near.node, 40),
        level: clip(&near.line.level, 12),
        text: near.line.text.clone(),
    };
    (lines.into_iter().map(row).collect(), hidden)
}

fn faults(run: &Run, moments: &[Nanos]) -> Option<Vec<String>> {
    let (first, last) = (moments.iter().min()?, moments.iter().max()?);
    let (first, last) = (first.saturating_sub(LOG_RADIUS), *last + LOG_RADIUS);
    let words = |fault: &crate::faults::Fault| {
        let (from, to) = fault.window(run.end)?;
        let until = if fault.healed().is_some() { at(to) } else { "the end, never healed".to_owned() };
        Some(format!("{}, from {} to {until}", clip(&fault.label(), 120), at(from)))
    };
    Some(lanes::overlapping(run, first, last).filter_map(words).take(MAX_FAULTS).collect())
}
