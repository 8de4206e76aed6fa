//! Models and checkers: the only place where a verdict is made. Pure and synchronous.

pub mod verdict;

pub use verdict::{
    Anomaly, Budget, CheckOutcome, CheckResult, Counts, Coverage, FaultTally, Finding, RunOutcome, Verdict,
};
