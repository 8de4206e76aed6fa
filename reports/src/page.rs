//! `report.html`: what is shown, and in which order.
//!
//! Whoever opens the page wants to know, in this order: what came out and why; what proves it; what was exercised at
//! all; how the system behaved over time; what was done to it; and how to do it again. Everything here is prepared as
//! words; the template only places them. One last pass makes every invisible character of the page visible.

mod anomaly;
mod context;
mod exercised;
mod fault_log;

use askama::Template;
use checker::RunOutcome;
use history::{FaultPhase, RunEvent, RunPaths};

use self::anomaly::AnomalyView;
use self::context::{Fact, FileRow};
use self::exercised::{CheckRow, FunctionRow, TallyRow};
use self::fault_log::{BehaviourRow, EventRow, FaultView};
use crate::expect::{self, Expectation};
use crate::load::Run;
use crate::logs::{Log, TAIL_LINES};
use crate::metrics::Metrics;
use crate::plots::{Drawing, PATTERNS, STYLE};
use crate::summary::outcome_words;
use crate::text::{clip, count, plural, printable, span};

/// How many anomalies are shown in full; the others get one line each.
const MAX_FULL_ANOMALIES: usize = 25;
/// How many one-line anomalies are shown.
const MAX_SHORT_ANOMALIES: usize = 200;
/// How long a sentence of the suite may be, in characters.
const SENTENCE_CHARACTERS: usize = 4000;
/// How many lines say why a run is not `valid`.
const MAX_REASONS: usize = 50;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    style: &'a str,
    page_style: &'a str,
    patterns: &'a str,
    outcome: &'static str,
    title: String,
    reason: String,
    expectation: Option<String>,
    facts: Vec<Fact>,
    repro: &'a str,
    why: Option<Why>,
    problems: &'a [String],
    anomalies: Vec<AnomalyView>,
    short_anomalies: Vec<ShortAnomaly>,
    hidden_anomalies: usize,
    functions: Vec<FunctionRow>,
    hidden_functions: usize,
    tallies: Vec<TallyRow>,
    has_remarks: bool,
    met: &'a [String],
    missing: &'a [String],
    checks: Vec<CheckRow>,
    has_notes: bool,
    drawings: &'a [Drawing],
    /// Whether the history has operations at all.
    operations: bool,
    availability: Vec<Fact>,
    behaviour: Vec<BehaviourRow>,
    faults: Vec<FaultView>,
    hidden_faults: usize,
    events: Vec<EventRow>,
    hidden_events: usize,
    logs: Vec<&'a Log>,
    tail_lines: usize,
    environment: Vec<Fact>,
    files: Vec<FileRow>,
}

/// Why a run is neither `valid` nor a violation, and what to do.
struct Why {
    title: &'static str,
    reasons: Vec<String>,
    next: &'static str,
}

/// An anomaly that is not shown in full.
struct ShortAnomaly {
    id: String,
    kind: String,
    explanation: String,
}

/// The page of a run.
pub(crate) fn render(
    dir: &RunPaths,
    run: &Run,
    metrics: &Metrics,
    drawings: &[Drawing],
    problems: &[String],
) -> Result<String, askama::Error> {
    let verdict = &run.verdict;
    let (functions, hidden_functions) = exercised::functions(run);
    let (faults, hidden_faults) = fault_log::faults(run);
    let (events, hidden_events) = fault_log::events(run);
    let (tallies, checks) = (exercised::tallies(run), exercised::checks(run));
    let outcome = outcome_words(verdict.outcome).1;
    let rest = verdict.anomalies.iter().skip(MAX_FULL_ANOMALIES);
    let page = Page {
        style: STYLE,
        page_style: include_str!("../templates/page.css"),
        patterns: PATTERNS,
        outcome,
        title: format!("{outcome}: {} × {}, seed {}", verdict.target, verdict.workload, verdict.seed),
        reason: clip(&verdict.reason, SENTENCE_CHARACTERS),
        expectation: expectation(run),
        facts: context::facts(run, metrics),
        repro: &verdict.repro,
        why: why(run),
        problems,
        anomalies: anomaly::views(run, MAX_FULL_ANOMALIES),
        short_anomalies: rest.take(MAX_SHORT_ANOMALIES).map(short).collect(),
        hidden_anomalies: verdict.anomalies.len().saturating_sub(MAX_FULL_ANOMALIES + MAX_SHORT_ANOMALIES),
        functions,
        hidden_functions,
        has_remarks: tallies.iter().any(|row| !row.remark.is_empty()),
        tallies,
        met: &verdict.coverage.met,
        missing: &verdict.coverage.missing,
        has_notes: checks.iter().any(|row| !row.note.is_empty()),
        checks,
        drawings,
        operations: !run.history.operations.is_empty(),
        availability: availability(metrics, run),
        behaviour: fault_log::behaviour(run, metrics),
        faults,
        hidden_faults,
        events,
        hidden_events,
        logs: tails(run),
        tail_lines: TAIL_LINES,
        environment: context::environment(run),
        files: context::files(dir),
    };
    Ok(printable(&page.render()?))
}

fn expectation(run: &Run) -> Option<String> {
    match expect::compare(&run.info, &run.verdict) {
        Expectation::Plain => None,
        Expectation::Met(words) | Expectation::Missed(words) => Some(words),
    }
}

fn short(anomaly: &checker::Anomaly) -> ShortAnomaly {
    ShortAnomaly {
        id: anomaly.id.clone(),
        kind: clip(&anomaly.kind, 60),
        explanation: clip(&anomaly.explanation, 300),
    }
}

/// The ends of the logs help where something went wrong; a valid run has them as files.
fn tails(run: &Run) -> Vec<&Log> {
    if run.verdict.outcome == RunOutcome::Valid {
        return Vec::new();
    }
    run.logs.iter().filter(|log| !log.tail.is_empty()).collect()
}

fn why(run: &Run) -> Option<Why> {
    let (title, mut reasons, next) = match run.verdict.outcome {
        RunOutcome::Valid | RunOutcome::Violation => return None,
        RunOutcome::Unknown => (
            "What was missing",
            missing(run),
            "The run neither proves nor disproves the claim. Give the load more time or the checker a larger \
             budget, so that everything above is met, and repeat the run.",
        ),
        RunOutcome::Infrastructure => (
            "What failed",
            failures(run),
            "This says nothing about the system under test: the harness could not do its work. Remove the cause \
             named above (shakedown doctor tells what this machine lacks) and repeat the run.",
        ),
    };
    reasons.truncate(MAX_REASONS);
    Some(Why { title, reasons, next })
}

fn missing(run: &Run) -> Vec<String> {
    let unknown = run.verdict.checks.iter().filter(|check| check.outcome == checker::CheckOutcome::Unknown);
    let notes = unknown.map(|check| {
        let note = check.note.as_deref().unwrap_or("no reason given");
        format!("Check {}: {}", check.name, clip(note, SENTENCE_CHARACTERS))
    });
    let coverage = run.verdict.coverage.missing.iter().map(|missing| format!("Coverage: {missing}"));
    notes.chain(coverage).collect()
}

/// What the run's events say about failures of the harness, each once.
fn failures(run: &Run) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for event in &run.events {
        let words = match event {
            RunEvent::Infrastructure { detail, .. } => detail.clone(),
            RunEvent::Bypass { detail, .. } => format!("A connection bypasses the links: {detail}"),
            RunEvent::Fault { kind, phase: FaultPhase::Failed, detail, .. } => {
                format!("Fault {kind}: {detail}")
            }
            RunEvent::Interrupted { .. } => "The run was interrupted.".to_owned(),
            _ => continue,
        };
        if !found.contains(&words) && found.len() < MAX_REASONS {
            found.push(clip(&words, SENTENCE_CHARACTERS));
        }
    }
    found
}

fn availability(metrics: &Metrics, run: &Run) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some((from, to)) = metrics.availability.longest {
        facts.push(Fact::new(
            "Longest without an acknowledged write",
            format!("{}, from {:.3} s to {:.3} s", span(to - from), from.as_secs_f64(), to.as_secs_f64()),
        ));
    }
    facts.push(Fact::new("Acknowledged per second of load", format!("{:.1}", metrics.ok_per_s())));
    facts.push(Fact::new("Leader changes", count(crate::metrics::leader_changes(run))));
    let stalls = run.stalls();
    let stalled = if stalls.is_empty() {
        "none".to_owned()
    } else {
        let total = stalls.iter().fold(0u64, |sum, (from, to)| sum.saturating_add(to.0 - from.0));
        format!("{} in {}", span(history::Nanos(total)), plural(stalls.len(), "stall"))
    };
    facts.push(Fact::new("Stalls of the harness", stalled));
    facts
}
