//! Exit codes, chosen in one place.

use checker::{Expect, RunOutcome, Verdict};

/// The history satisfies the claim, and the run meant something; or the expected violation was found.
pub(crate) const VALID: u8 = 0;
/// A violation; or an expected one that did not appear.
pub(crate) const VIOLATION: u8 = 1;
/// Wrong usage or unreadable input (clap uses the same code).
pub(crate) const USAGE: u8 = 2;
/// A checker hit its budget, or coverage was too thin.
pub(crate) const UNKNOWN: u8 = 3;
/// Nothing was selected.
pub(crate) const NOTHING_SELECTED: u8 = 4;
/// The harness could not do its work.
pub(crate) const INFRASTRUCTURE: u8 = 5;
/// Interrupted twice.
pub(crate) const INTERRUPTED: u8 = 130;

/// For `--help` and the README.
pub(crate) const HELP: &str = "\
Exit codes:
  0  valid (or the expected violation was found)
  1  violation (or the expected one was not found)
  2  wrong usage or unreadable input
  3  unknown: a checker ran out of its budget, or the run exercised too little
  4  nothing was selected
  5  infrastructure: a node did not start, a fault could not be applied or healed
130  interrupted twice";

/// The code of an outcome when nothing in particular is expected.
pub(crate) fn of(outcome: RunOutcome) -> u8 {
    match outcome {
        RunOutcome::Valid => VALID,
        RunOutcome::Violation => VIOLATION,
        RunOutcome::Unknown => UNKNOWN,
        RunOutcome::Infrastructure => INFRASTRUCTURE,
    }
}

/// The code of a verdict when something is expected, and a remark on whether that came.
pub(crate) fn expected(expect: &Expect, verdict: &Verdict) -> (u8, Option<String>) {
    match verdict.outcome {
        outcome if *expect == Expect::Valid => (of(outcome), None),
        RunOutcome::Violation if expect.is_met_by(verdict) => {
            (VALID, Some(format!("the expected {expect} was found")))
        }
        RunOutcome::Violation | RunOutcome::Valid => {
            (VIOLATION, Some(format!("unexpected: {expect} was expected and did not appear")))
        }
        outcome => (of(outcome), None),
    }
}

#[cfg(test)]
mod tests {
    use checker::{Anomaly, Counts, Coverage};

    use super::*;

    fn verdict(outcome: RunOutcome, kind: &str) -> Verdict {
        let anomaly = Anomaly {
            id: "A1".into(),
            kind: kind.into(),
            explanation: String::new(),
            operations: vec![],
            key: None,
            details: vec![],
        };
        Verdict {
            schema: 1,
            run_id: String::new(),
            plan_id: String::new(),
            outcome,
            reason: String::new(),
            target: String::new(),
            workload: String::new(),
            nemesis: vec![],
            seed: 0,
            operations: Counts::default(),
            checks: vec![],
            anomalies: if outcome == RunOutcome::Violation { vec![anomaly] } else { vec![] },
            faults: vec![],
            coverage: Coverage::default(),
            repro: String::new(),
        }
    }

    #[test]
    fn exit_code_of_every_expectation_and_outcome() {
        use RunOutcome::{Infrastructure, Unknown, Valid, Violation};
        let table = [
            ("valid", Valid, 0),
            ("valid", Violation, 1),
            ("valid", Unknown, 3),
            ("valid", Infrastructure, 5),
            ("violation", Violation, 0),
            ("violation", Valid, 1),
            ("violation", Unknown, 3),
            ("violation", Infrastructure, 5),
            ("violation:lost", Violation, 0),
            ("violation:crash", Violation, 1),
        ];
        for (expect, outcome, code) in table {
            let expect: Expect = expect.parse().unwrap();
            assert_eq!(expected(&expect, &verdict(outcome, "lost")).0, code, "{expect} and {outcome:?}");
        }
    }
}
