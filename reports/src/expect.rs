//! What the user expected of a run, as `outcome` or `violation:<kind>`, and whether it came.

use checker::{Expect, Verdict};
use history::RunInfo;

use crate::summary::outcome_words;
use crate::text::clip;

/// How a run compares with an expectation other than `valid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Nothing special was expected.
    Plain,
    /// The run shows what it was expected to show, in words.
    Met(String),
    /// It does not.
    Missed(String),
}

/// Compares. A known-bad configuration that passes is as wrong as a good one that fails.
pub(crate) fn compare(info: &RunInfo, verdict: &Verdict) -> Expectation {
    let text = clip(info.expect.trim(), 200);
    let is_met = match info.expect.trim().parse::<Expect>() {
        _ if text.is_empty() => return Expectation::Plain,
        Ok(Expect::Valid) => return Expectation::Plain,
        Ok(expect) => expect.is_met_by(verdict),
        Err(_) => false,
    };
    if is_met {
        return Expectation::Met(format!("Expected and found: {text}."));
    }
    let found = outcome_words(verdict.outcome).1;
    Expectation::Missed(format!("Expected {text}, but that was not found; the outcome is {found}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use checker::{Anomaly, Counts, Coverage, RunOutcome};
    use serde_json::json;

    fn info(expect: &str) -> RunInfo {
        serde_json::from_value(json!({
            "schema": 1, "run_id": "", "plan_id": "", "target": "", "target_version": "", "target_binary": "",
            "target_digest": "", "suite_digest": "", "suite_version": "", "workload": "", "claim": "",
            "read_consistency": "", "nemesis": [], "nodes": [], "seed": 1, "concurrency": 1, "rate": 0.0,
            "time_limit_ms": 1, "expect": expect, "started_wall_ms": 0, "repro": "", "schedule": [],
            "environment": {},
        }))
        .unwrap()
    }

    fn verdict(outcome: RunOutcome, kind: &str) -> Verdict {
        let anomaly = Anomaly {
            id: "A1".into(),
            kind: kind.into(),
            explanation: String::new(),
            operations: Vec::new(),
            key: None,
            details: Vec::new(),
        };
        Verdict {
            schema: 1,
            run_id: String::new(),
            plan_id: String::new(),
            outcome,
            reason: String::new(),
            target: String::new(),
            workload: String::new(),
            nemesis: Vec::new(),
            seed: 1,
            operations: Counts::default(),
            checks: Vec::new(),
            anomalies: vec![anomaly],
            faults: Vec::new(),
            coverage: Coverage::default(),
            repro: String::new(),
        }
    }

    #[test]
    fn expected_violation_must_be_of_the_expected_kind() {
        let stale = verdict(RunOutcome::Violation, "stale");
        assert!(matches!(compare(&info("violation:stale"), &stale), Expectation::Met(_)));
        assert!(matches!(compare(&info("violation"), &stale), Expectation::Met(_)));
        assert!(matches!(compare(&info("violation:lost"), &stale), Expectation::Missed(_)));
        assert_eq!(compare(&info("valid"), &stale), Expectation::Plain);
    }

    #[test]
    fn unexpected_pass_is_a_miss() {
        let valid = verdict(RunOutcome::Valid, "stale");
        assert!(matches!(compare(&info("violation:stale"), &valid), Expectation::Missed(_)));
    }
}
