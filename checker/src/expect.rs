//! What the user expects of a run: `valid`, `violation` or `violation:KIND`. A known-bad configuration inverts its run.

use std::fmt;
use std::str::FromStr;

use crate::{RunOutcome, Verdict};

/// The expected outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// No violation.
    Valid,
    /// A violation, of that kind if one is named.
    Violation(Option<String>),
}

impl Expect {
    /// Whether the verdict is what is expected. A violation of another kind is not.
    pub fn is_met_by(&self, verdict: &Verdict) -> bool {
        match self {
            Self::Valid => verdict.outcome == RunOutcome::Valid,
            Self::Violation(kind) => {
                let is_wanted = |found: &str| kind.as_deref().is_none_or(|kind| kind == found);
                verdict.outcome == RunOutcome::Violation
                    && verdict.anomalies.iter().any(|anomaly| is_wanted(&anomaly.kind))
            }
        }
    }
}

/// A text that expects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `valid`, `violation` or `violation:KIND` (for example violation:nonlinearizable)")]
pub struct UnknownExpectation;

impl FromStr for Expect {
    type Err = UnknownExpectation;

    fn from_str(text: &str) -> Result<Self, UnknownExpectation> {
        match text.split_once(':') {
            None if text == "valid" => Ok(Self::Valid),
            None if text == "violation" => Ok(Self::Violation(None)),
            Some(("violation", kind)) if !kind.is_empty() => Ok(Self::Violation(Some(kind.to_owned()))),
            _ => Err(UnknownExpectation),
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
    use super::*;

    #[test]
    fn expectation_reads_back_as_it_was_written() {
        for text in ["valid", "violation", "violation:lost"] {
            assert_eq!(text.parse::<Expect>().unwrap().to_string(), text);
        }
        for wrong in ["", "violation:", "lost", "valid:lost"] {
            assert!(wrong.parse::<Expect>().is_err(), "{wrong}");
        }
    }
}
