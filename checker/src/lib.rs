//! Models and checkers: the only place where a verdict is made. Pure and synchronous.

pub mod always;
pub mod coverage;
pub mod decide;
pub mod error;
pub mod linearizable;
pub mod model;
pub mod set_full;
pub mod verdict;

mod meter;
mod narration;

pub use coverage::Requirements;
pub use decide::{decide, decide_history};
pub use error::CheckError;
pub use linearizable::linearizable_register;
pub use set_full::set_full;
pub use verdict::{
    Anomaly, Budget, CheckOutcome, CheckResult, Counts, Coverage, FaultTally, Finding, RunOutcome, Verdict,
};
