//! What the user expects of a run: `valid`, `violation` or `violation:KIND`. A known-bad configuration inverts its run.

use std::fmt;
use std::str::FromStr;

use checker::{RunOutcome, Verdict};

use crate::exit;

/// The expected outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// No violation.
    Valid,
    /// A violation, of that kind if one is named.
    Violation(Option<String>),
}

impl Expect {
    /// The exit code of a verdict, and a remark when it is not what was expected.
    pub(crate) fn judge(&self, verdict: &Verdict) -> (u8, Option<String>) {
        let Self::Violation(kind) = self else { return (exit::of(verdict.outcome), None) };
        let wanted = |found: &str| kind.as_deref().is_none_or(|kind| kind == found);
        match verdict.outcome {
            RunOutcome::Violation if verdict.anomalies.iter().any(|a| wanted(&a.kind)) => {
                (exit::VALID, Some(format!("the expected {self} was found")))
            }
            RunOutcome::Violation | RunOutcome::Valid => {
                (exit::VIOLATION, Some(format!("unexpected: {self} was expected and did not appear")))
            }
            outcome => (exit::of(outcome), None),
        }
    }
}

impl FromStr for Expect {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "valid" => Ok(Self::Valid),
            None if text == "violation" => Ok(Self::Violation(None)),
            Some(("violation", kind)) if !kind.is_empty() => Ok(Self::Violation(Some(kind.to_owned()))),
            _ => Err(
                "expected `valid`, `violation` or `violation:KIND` (for example violation:nonlinearizable)"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Violation(None) => f.write_str("violation"),
            Self::Violation(Some(kind)) => write!(f, "violation:{kind}"),
        }
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
            assert_eq!(expect.judge(&verdict(outcome, "lost")).0, code, "{expect} and {outcome:?}");
        }
    }

    #[test]
    fn expectation_reads_back_as_it_was_written() {
        for text in ["valid", "violation", "violation:lost"] {
            assert_eq!(text.parse::<Expect>().unwrap().to_string(), text);
        }
        assert!("violation:".parse::<Expect>().is_err());
    }
}
