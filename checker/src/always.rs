//! Checks that every run gets, whatever its workload: crashes, forbidden log lines, recovery after healing.
//!
//! They read the run events alone. Before the first acknowledged write a dead node is the harness's problem
//! (`infrastructure`), from then on it is the system's (`violation`); that line is drawn here.

use std::collections::BTreeMap;

use history::{Nanos, NodeId, RunEvent};

use crate::{Anomaly, CheckOutcome, CheckResult, Finding};

/// The time of the first acknowledged write, if there was one.
pub fn first_acknowledged(events: &[RunEvent]) -> Option<Nanos> {
    events.iter().find_map(|event| match event {
        RunEvent::FirstAcknowledged { time } => Some(*time),
        _ => None,
    })
}

/// A node that exits without licence, or does not come up after a restart, once a write was acknowledged.
pub fn crash(events: &[RunEvent]) -> Finding {
    let first = first_acknowledged(events);
    let judged = |time: &Nanos| first.is_some_and(|first| *time >= first);
    let mut examined = 0;
    let mut anomalies = Vec::new();
    for event in events {
        match event {
            RunEvent::Exited { time, node, pid, status, licensed } => {
                examined += 1;
                if !licensed && judged(time) {
                    let text = format!(
                        "Node {node} (pid {pid}) ended with {status} at {time}, although no fault and nobody else had asked for it."
                    );
                    anomalies.push(anomaly("crash", text));
                }
            }
            RunEvent::RestartFailed { time, node, detail } => {
                examined += 1;
                if judged(time) {
                    let text =
                        format!("Node {node} did not come up again after a restart ({time}): {detail}");
                    anomalies.push(anomaly("restart-failed", text));
                }
            }
            _ => {}
        }
    }
    finding("crash", examined, anomalies)
}

/// A line in a node's log that the target promises never to write, such as a panic.
pub fn forbidden_log(events: &[RunEvent]) -> Finding {
    let anomalies: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            RunEvent::ForbiddenLog { node, file, line, text, .. } => Some(anomaly(
                "forbidden-log",
                format!("Node {node} wrote a line that this system must never write, {file}:{line}: {text}"),
            )),
            _ => None,
        })
        .collect();
    let searched = events.iter().find_map(|event| match event {
        RunEvent::LogsSearched { lines, .. } => Some(*lines),
        _ => None,
    });
    let mut finding = finding("forbidden-log", searched.unwrap_or(0), anomalies);
    if searched.is_none() && finding.anomalies.is_empty() {
        finding.result.outcome = CheckOutcome::Unknown;
        finding.result.note = Some("the nodes' logs were not searched".to_owned());
    }
    finding
}

/// After everything was healed, writes must be acknowledged again within the recovery limit.
pub fn recovery(events: &[RunEvent]) -> Finding {
    let mut anomalies = Vec::new();
    let mut note = Some("the run never came to its healed phase".to_owned());
    for event in events {
        match event {
            RunEvent::Recovered { after, .. } => {
                note =
                    Some(format!("a write was acknowledged {:.0} ms after healing", after.as_millis_f64()));
            }
            RunEvent::NotRecovered { limit, .. } => {
                note = None;
                let text = format!(
                    "Every fault was healed and every node ran, yet no write was acknowledged within {limit}."
                );
                anomalies.push(anomaly("not-recovered", text));
            }
            _ => {}
        }
    }
    let reached =
        events.iter().any(|e| matches!(e, RunEvent::Recovered { .. } | RunEvent::NotRecovered { .. }));
    let mut finding = finding("recovery", u64::from(reached), anomalies);
    if !reached {
        finding.result.outcome = CheckOutcome::Unknown;
    }
    finding.result.note = note;
    finding
}

/// Replicas that have applied the same part of the log must hold the same. The check exists only where the target lets
/// itself be asked.
pub fn divergence(events: &[RunEvent]) -> Option<Finding> {
    let mut by_applied: BTreeMap<u64, BTreeMap<&str, Vec<&NodeId>>> = BTreeMap::new();
    let mut examined = 0;
    for event in events {
        if let RunEvent::Replica { node, applied, digest, .. } = event {
            by_applied.entry(*applied).or_default().entry(digest).or_default().push(node);
            examined += 1;
        }
    }
    if examined == 0 {
        return None;
    }
    let anomalies: Vec<_> = by_applied
        .iter()
        .filter(|(_, digests)| digests.len() > 1)
        .map(|(applied, digests)| Anomaly {
            details: camps(digests),
            ..anomaly("replicas-diverged", divergence_text(*applied, digests))
        })
        .collect();
    let comparable = by_applied.values().any(|digests| digests.values().map(Vec::len).sum::<usize>() > 1);
    let mut finding = finding("replicas", examined, anomalies);
    if !comparable && examined > 1 {
        finding.result.outcome = CheckOutcome::Unknown;
        finding.result.note = Some("no two replicas had applied the same part of the log".to_owned());
    }
    Some(finding)
}

fn divergence_text(applied: u64, digests: &BTreeMap<&str, Vec<&NodeId>>) -> String {
    let camps: Vec<String> = digests.values().map(|nodes| names(nodes)).collect();
    format!(
        "Replicas that have applied the log up to the same index, {applied}, did not apply the same: {}.",
        camps.join(" against ")
    )
}

fn camps(digests: &BTreeMap<&str, Vec<&NodeId>>) -> Vec<String> {
    digests.iter().map(|(digest, nodes)| format!("digest {digest}: {}", names(nodes))).collect()
}

fn names(nodes: &[&NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn anomaly(kind: &str, explanation: String) -> Anomaly {
    Anomaly {
        id: String::new(),
        kind: kind.to_owned(),
        explanation,
        operations: Vec::new(),
        key: None,
        details: Vec::new(),
    }
}

fn finding(name: &str, examined: u64, anomalies: Vec<Anomaly>) -> Finding {
    let outcome = if anomalies.is_empty() { CheckOutcome::Valid } else { CheckOutcome::Violation };
    let result = CheckResult {
        name: name.to_owned(),
        outcome,
        examined,
        duration_ms: 0,
        peak_memory_bytes: 0,
        note: None,
    };
    Finding { result, anomalies }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(time: u64, licensed: bool) -> RunEvent {
        RunEvent::Exited {
            time: Nanos(time),
            node: NodeId::numbered(1),
            pid: 7,
            status: "exit status 2".into(),
            licensed,
        }
    }

    #[test]
    fn unlicensed_exit_after_the_first_acknowledgement_is_a_crash() {
        let events = [RunEvent::FirstAcknowledged { time: Nanos(5) }, exited(6, false)];
        let finding = crash(&events);
        assert_eq!(finding.result.outcome, CheckOutcome::Violation);
        assert_eq!(finding.anomalies[0].kind, "crash");
    }

    #[test]
    fn exit_before_the_first_acknowledgement_or_with_licence_is_no_crash() {
        let events = [exited(4, false), RunEvent::FirstAcknowledged { time: Nanos(5) }, exited(6, true)];
        let finding = crash(&events);
        assert_eq!(finding.result.outcome, CheckOutcome::Valid);
        assert_eq!(finding.result.examined, 2);
    }

    fn replica(node: usize, applied: u64, digest: &str) -> RunEvent {
        RunEvent::Replica { time: Nanos(1), node: NodeId::numbered(node), applied, digest: digest.into() }
    }

    #[test]
    fn replicas_are_compared_only_at_equal_index() {
        let outcome = |events: &[RunEvent]| divergence(events).map(|finding| finding.result.outcome);
        assert_eq!(outcome(&[]), None);
        assert_eq!(outcome(&[replica(1, 5, "a"), replica(2, 5, "a")]), Some(CheckOutcome::Valid));
        assert_eq!(outcome(&[replica(1, 5, "a"), replica(2, 5, "b")]), Some(CheckOutcome::Violation));
        let apart = [replica(1, 5, "a"), replica(2, 6, "b"), replica(3, 6, "b")];
        assert_eq!(outcome(&apart), Some(CheckOutcome::Valid));
        assert_eq!(outcome(&[replica(1, 5, "a"), replica(2, 6, "b")]), Some(CheckOutcome::Unknown));
    }

    #[test]
    fn cluster_that_never_answers_again_is_not_recovered() {
        let events = [RunEvent::NotRecovered { time: Nanos(9), limit: Nanos::from_millis(10_000) }];
        assert_eq!(recovery(&events).anomalies[0].kind, "not-recovered");
    }

    #[test]
    fn logs_that_nobody_searched_prove_nothing() {
        let searched = RunEvent::LogsSearched { time: Nanos(1), lines: 3 };
        assert_eq!(forbidden_log(&[]).result.outcome, CheckOutcome::Unknown);
        assert_eq!(forbidden_log(std::slice::from_ref(&searched)).result.outcome, CheckOutcome::Valid);
        let line = RunEvent::ForbiddenLog {
            time: Nanos(1),
            node: NodeId::numbered(1),
            file: "stderr.log".into(),
            line: 2,
            text: "panicked".into(),
        };
        assert_eq!(forbidden_log(&[line, searched]).result.outcome, CheckOutcome::Violation);
    }

    #[test]
    fn recovery_of_a_run_that_ended_early_is_unknown() {
        assert_eq!(recovery(&[]).result.outcome, CheckOutcome::Unknown);
    }
}
