//! What can be claimed of a history, by the names of the field, from the strongest to the weakest.

use std::fmt;
use std::str::FromStr;

use history::History;

use crate::sessions::{Guarantee, session_guarantee, session_guarantees};
use crate::{Budget, CheckError, Finding, Spec, linearizable, sequential};

/// A consistency model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// See [`mod@crate::linearizable`].
    Linearizable,
    /// See [`mod@crate::sequential`].
    Sequential,
    /// All four session guarantees.
    Sessions,
    /// One of them.
    Session(Guarantee),
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Linearizable,
        Self::Sequential,
        Self::Sessions,
        Self::Session(Guarantee::MonotonicReads),
        Self::Session(Guarantee::ReadYourWrites),
        Self::Session(Guarantee::MonotonicWrites),
        Self::Session(Guarantee::WritesFollowReads),
    ];

    /// The name on the command line and in headers of histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Sequential => "sequential",
            Self::Sessions => "sessions",
            Self::Session(guarantee) => guarantee.name(),
        }
    }

    /// What it promises, in a line.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Linearizable => {
                "every operation takes effect at once, between its invocation and its completion"
            }
            Self::Sequential => "all operations have one order, which keeps the order of every process",
            Self::Sessions => "the four session guarantees that follow",
            Self::Session(guarantee) => guarantee.promise(),
        }
    }

    /// Whether histories of the model can be judged by it. Session guarantees are about who read which write, so they
    /// are defined where a write replaces what was there; of `kv` they know `get`, `put` and `cas`.
    pub fn supports(self, spec: Spec) -> bool {
        match self {
            Self::Linearizable | Self::Sequential => true,
            Self::Sessions | Self::Session(_) => {
                matches!(spec, Spec::Register | Spec::VersionedRegister | Spec::Kv)
            }
        }
    }

    /// Judges a history: one finding, or one for each of the session guarantees.
    ///
    /// # Errors
    /// When an operation is not one of the model's. A model that the claim does not [support](Self::supports) has
    /// functions that it does not know.
    pub fn judge(self, spec: Spec, history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError> {
        match self {
            Self::Linearizable => Ok(vec![linearizable(spec, history, budget)?]),
            Self::Sequential => Ok(vec![sequential(spec, history, budget)?]),
            Self::Sessions => session_guarantees(history, budget),
            Self::Session(guarantee) => Ok(vec![session_guarantee(guarantee, history, budget)?]),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no claim has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown consistency model `{0}`; known are {known}", known = Claim::ALL.map(Claim::name).join(", "))]
pub struct UnknownClaim(String);

impl FromStr for Claim {
    type Err = UnknownClaim;

    fn from_str(name: &str) -> Result<Self, UnknownClaim> {
        Self::ALL.into_iter().find(|claim| claim.name() == name).ok_or_else(|| UnknownClaim(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckOutcome;
    use crate::rows::Rows;

    #[test]
    fn every_name_is_understood_and_an_unknown_one_lists_them_all() {
        for claim in Claim::ALL {
            assert_eq!(claim.to_string().parse(), Ok(claim));
        }
        let error = "strong".parse::<Claim>().unwrap_err().to_string();
        assert!(Claim::ALL.iter().all(|claim| error.contains(claim.name())), "{error}");
    }

    #[test]
    fn findings_are_named_after_the_claim() {
        let history = Rows::default().history();
        let names = |claim: Claim| -> Vec<String> {
            let findings = claim.judge(Spec::Register, &history, &Budget::default()).unwrap();
            assert!(findings.iter().all(|finding| finding.result.outcome == CheckOutcome::Unknown));
            findings.into_iter().map(|finding| finding.result.name).collect()
        };
        for claim in Claim::ALL.into_iter().filter(|claim| *claim != Claim::Sessions) {
            assert_eq!(names(claim), [claim.name()]);
        }
        assert_eq!(names(Claim::Sessions), Guarantee::ALL.map(Guarantee::name));
    }
}
