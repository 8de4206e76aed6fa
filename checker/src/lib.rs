//! Models and checkers: the only place where a verdict is made. Pure and synchronous.
//!
//! ```
//! let mut pairing = history::operation::Pairing::default();
//! for line in [
//!     r#"{"index":0,"time":10,"type":"invoke","process":1,"f":"write","value":5}"#,
//!     r#"{"index":1,"time":20,"type":"ok","process":1,"f":"write"}"#,
//!     r#"{"index":2,"time":30,"type":"invoke","process":2,"f":"read"}"#,
//!     r#"{"index":3,"time":40,"type":"ok","process":2,"f":"read","value":null}"#,
//! ] {
//!     pairing.push(serde_json::from_str(line)?)?;
//! }
//! let finding = checker::linearizable_register(&pairing.finish(None), &checker::Budget::default())?;
//! assert!(finding.anomalies[0].explanation.contains("the write of 5 by process 1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Start reading at [`verdict`] (what a check answers), then at [`mod@linearizable`] and [`mod@set_full`]; weaker claims
//! are judged by [`mod@sequential`] and [`sessions`]. What objects do when nothing happens at the same time is in [`model`].

pub mod always;
pub mod coverage;
pub mod decide;
pub mod error;
pub mod linearizable;
pub mod model;
pub mod sequential;
pub mod sessions;
pub mod set_full;
pub mod spec;
pub mod verdict;

mod meter;
mod narration;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod rows;

pub use coverage::Requirements;
pub use decide::{decide, decide_history};
pub use error::CheckError;
pub use linearizable::{linearizable, linearizable_register};
pub use sequential::sequential;
pub use sessions::session_guarantees;
pub use set_full::set_full;
pub use spec::Spec;
pub use verdict::{
    Anomaly, Budget, CheckOutcome, CheckResult, Counts, Coverage, FaultTally, Finding, RunOutcome, Verdict,
};
