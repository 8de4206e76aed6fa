//! Models and checkers: the only place where a verdict is made. Pure and synchronous.
//!
//! Another project needs this crate, `history` (events and operations) and, for events as JSON, `serde_json`:
//!
//! ```toml
//! [dependencies]
//! checker = { path = "shakedown/checker" }
//! history = { path = "shakedown/history" }
//! serde_json = "1"
//! ```
//!
//! ```
//! use checker::{Budget, CheckOutcome, Spec, linearizable};
//! use history::{Event, operation::Pairing};
//!
//! let mut pairing = Pairing::default();
//! for line in [
//!     r#"{"index":0,"time":10,"type":"invoke","process":1,"f":"write","value":5}"#,
//!     r#"{"index":1,"time":20,"type":"ok","process":1,"f":"write"}"#,
//!     r#"{"index":2,"time":30,"type":"invoke","process":2,"f":"read"}"#,
//!     r#"{"index":3,"time":40,"type":"ok","process":2,"f":"read","value":null}"#,
//! ] {
//!     pairing.push(serde_json::from_str::<Event>(line)?)?;
//! }
//! let finding = linearizable(Spec::Register, &pairing.finish(None), &Budget::default())?;
//! assert_eq!(finding.result.outcome, CheckOutcome::Violation);
//! assert!(finding.anomalies[0].explanation.contains("the write of 5 by process 1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the functions of every model are called, and what they take and observe, is said by [`Spec::functions`]. Files are
//! read by [`history::read_history`], those of other tools by [`history::foreign`].
//!
//! Start reading at [`verdict`] (what a check answers), then at [`mod@linearizable`] and [`mod@set_full`]; weaker claims
//! are judged by [`mod@sequential`] and [`sessions`]; [`claim`] names them all. What objects do when nothing happens at the same time is in [`model`].

pub mod always;
pub mod claim;
pub mod coverage;
pub mod decide;
pub mod error;
pub mod expect;
pub mod linearizable;
pub mod model;
pub mod progress;
pub mod raft_trace;
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

pub use claim::Claim;
pub use coverage::Requirements;
pub use decide::{decide, decide_counted, decide_history};
pub use error::CheckError;
pub use expect::Expect;
pub use linearizable::stream::{Broken, Standing, Stream, StreamError};
pub use linearizable::{linearizable, linearizable_register};
pub use progress::{Progress, Snapshot};
pub use sequential::sequential;
pub use sessions::{session_guarantee, session_guarantees};
pub use set_full::set_full;
pub use spec::Spec;
pub use verdict::{
    Anomaly, Budget, CheckOutcome, CheckResult, Counts, Coverage, FaultTally, Finding, RunOutcome, Verdict,
};
