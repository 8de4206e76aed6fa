//! From everything that was found to one verdict.
//!
//! Precedence: violation > infrastructure > unknown > valid. One exception: when recorder or adapter were proven
//! wrong, the history proves nothing, and nothing in it is a violation.

use std::collections::BTreeSet;

use history::{FaultPhase, Header, History, RunEvent, RunInfo};

use crate::coverage::{Requirements, coverage, tallies};
use crate::{CheckError, CheckOutcome, Counts, Coverage, FaultTally, Finding, RunOutcome, Verdict, always};

/// Decides a whole run: what its checkers found in the history, and what was seen of nodes and faults.
pub fn decide(
    info: &RunInfo,
    history: &History,
    events: &[RunEvent],
    findings: Result<Vec<Finding>, CheckError>,
    required: &Requirements,
) -> Verdict {
    let mut infrastructure = infrastructure_reasons(info, events);
    let mut found = vec![always::crash(events), always::forbidden_log(events), always::recovery(events)];
    found.extend(always::divergence(events));
    match findings {
        Ok(findings) => {
            found.splice(0..0, findings);
        }
        Err(error) => {
            infrastructure.insert(0, format!("the adapter of {} broke its contract: {error}", info.target));
            found.clear();
        }
    }
    let mut verdict = Verdict {
        schema: 1,
        run_id: info.run_id.clone(),
        plan_id: info.plan_id.clone(),
        outcome: RunOutcome::Valid,
        reason: String::new(),
        target: info.target.clone(),
        workload: info.workload.clone(),
        nemesis: info.nemesis.clone(),
        seed: info.seed,
        operations: Counts::of(history),
        checks: Vec::new(),
        anomalies: Vec::new(),
        faults: tallies(info, events),
        coverage: coverage(info, history, events, required),
        repro: info.repro.clone(),
    };
    conclude(&mut verdict, found, &infrastructure);
    verdict
}

/// Decides a history that stands alone: no faults, no logs, no coverage to ask for.
///
/// # Errors
/// Those of the findings.
pub fn decide_history(
    history: &History,
    findings: Result<Vec<Finding>, CheckError>,
) -> Result<Verdict, CheckError> {
    Ok(decide_counted(history.header.as_ref(), Counts::of(history), findings?))
}

/// The same for a history that is not in memory: its header, how its operations ended, and what was found in it.
pub fn decide_counted(header: Option<&Header>, operations: Counts, findings: Vec<Finding>) -> Verdict {
    let mut verdict = Verdict {
        schema: 1,
        run_id: header.map(|h| h.run_id.clone()).unwrap_or_default(),
        plan_id: String::new(),
        outcome: RunOutcome::Valid,
        reason: String::new(),
        target: String::new(),
        workload: header.map(|h| h.workload.clone()).unwrap_or_default(),
        nemesis: Vec::new(),
        seed: 0,
        operations,
        checks: Vec::new(),
        anomalies: Vec::new(),
        faults: Vec::<FaultTally>::new(),
        coverage: Coverage::default(),
        repro: String::new(),
    };
    if verdict.operations.ok == 0 {
        verdict.coverage.missing.push("no operation of the history ended ok".into());
    }
    conclude(&mut verdict, findings, &[]);
    verdict
}

fn conclude(verdict: &mut Verdict, found: Vec<Finding>, infrastructure: &[String]) {
    for finding in found {
        verdict.checks.push(finding.result);
        verdict.anomalies.extend(finding.anomalies);
    }
    for (i, anomaly) in verdict.anomalies.iter_mut().enumerate() {
        anomaly.id = format!("A{}", i + 1);
    }
    (verdict.outcome, verdict.reason) = outcome(verdict, infrastructure);
}

fn outcome(verdict: &Verdict, infrastructure: &[String]) -> (RunOutcome, String) {
    if let Some(first) = verdict.anomalies.first() {
        return (RunOutcome::Violation, first.explanation.clone());
    }
    if let Some(reason) = infrastructure.first() {
        return (RunOutcome::Infrastructure, reason.clone());
    }
    let unfinished = verdict.checks.iter().find(|check| check.outcome == CheckOutcome::Unknown);
    if let Some(check) = unfinished {
        let why = check.note.as_deref().unwrap_or("it gave no answer");
        return (RunOutcome::Unknown, format!("The check `{}` could not decide: {why}.", check.name));
    }
    if let Some(missing) = verdict.coverage.missing.first() {
        return (RunOutcome::Unknown, format!("The run exercised too little: {missing}."));
    }
    let Counts { ok, info, .. } = verdict.operations;
    let checks: Vec<&str> = verdict.checks.iter().map(|check| check.name.as_str()).collect();
    let reason = format!(
        "{ok} completed operations and {info} of unknown outcome satisfy every check ({}).",
        checks.join(", ")
    );
    (RunOutcome::Valid, reason)
}

/// Everything that says that the harness, not the system, fell short.
fn infrastructure_reasons(info: &RunInfo, events: &[RunEvent]) -> Vec<String> {
    let first_ack = always::first_acknowledged(events);
    // What the harness itself says comes first: it knows the most.
    let mut reasons: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Infrastructure { detail, .. } => Some(detail.clone()),
            _ => None,
        })
        .collect();
    for event in events {
        match event {
            RunEvent::Bypass { detail, .. } => {
                reasons.push(format!(
                    "a connection between nodes does not pass the links, so faults do not reach it: {detail}"
                ));
            }
            RunEvent::Fault { kind, fault, phase: FaultPhase::Failed, detail, .. } => {
                reasons
                    .push(format!("fault {fault} ({kind}) could not be applied, proven or healed: {detail}"));
            }
            RunEvent::Exited { time, node, status, licensed: false, .. }
                if first_ack.is_none_or(|first| *time < first) =>
            {
                reasons.push(format!(
                    "node {node} ended with {status} before any write was acknowledged; see nodes/{node}/stderr.log"
                ));
            }
            _ => {}
        }
    }
    reasons.extend(unproven(events).map(|fault| {
        format!(
            "fault {fault} was injected without evidence that it was applied; see {}/nemesis.jsonl",
            info.run_id
        )
    }));
    reasons
}

/// Faults that were injected, neither proven nor reported as failed.
fn unproven(events: &[RunEvent]) -> impl Iterator<Item = u32> {
    let with = |phases: &[FaultPhase]| -> BTreeSet<u32> {
        events
            .iter()
            .filter_map(|event| match event {
                RunEvent::Fault { fault, phase, .. } if phases.contains(phase) => Some(*fault),
                _ => None,
            })
            .collect()
    };
    let settled = with(&[FaultPhase::Evidenced, FaultPhase::Failed]);
    with(&[FaultPhase::Injected]).into_iter().filter(move |fault| !settled.contains(fault))
}
