//! The shape of a verdict, and how one is decided from everything that was found.
//!
//! Precedence inside one run as over many: violation > infrastructure > unknown > valid.

use std::sync::Arc;
use std::time::Duration;

use history::{History, Outcome};
use serde::{Deserialize, Serialize};

use crate::Progress;

/// What a checker may spend. Both limits are hard: a checker that would exceed one answers [`CheckOutcome::Unknown`], or
/// tells the violations that it has proven by then. Whatever is left, the history is read once, so that an operation that
/// is not one of the model's is always named.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Wall-clock time.
    pub time: Duration,
    /// Memory for everything that the check holds, in bytes: what it makes of the operations, how they are split, and its
    /// searches. The history itself is the caller's and does not count.
    pub memory_bytes: u64,
    /// Where the checker says how far it is, for whoever wants to know.
    pub progress: Option<Arc<Progress>>,
}

impl Default for Budget {
    /// One minute, one gibibyte, nobody watches.
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory_bytes: 1 << 30, progress: None }
    }
}

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// The history satisfies the claim.
    Valid,
    /// An anomaly is proven.
    Violation,
    /// The budget ran out, or there was nothing to judge.
    Unknown,
}

/// One row of `checks` in `verdict.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The checker's name, such as `linearizable`.
    pub name: String,
    /// What it found.
    pub outcome: CheckOutcome,
    /// How many operations (or log lines, or exits) it examined.
    pub examined: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The most memory that its search held, in bytes.
    pub peak_memory_bytes: u64,
    /// Why the outcome is `unknown`, and with what budget; or another remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A proven violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// `A1`, `A2`, … in the order of the verdict. Checkers leave it empty; [`crate::decide()`] numbers.
    pub id: String,
    /// The kind: `nonlinearizable`, `lost`, `stale`, `crash`, …
    pub kind: String,
    /// The proof in words, one paragraph.
    pub explanation: String,
    /// The operations that prove it, by the indices of their invocations, in the order of the proof.
    pub operations: Vec<u64>,
    /// The key that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Further lines of the explanation: the longest legal prefix, the states possible there, and for every candidate
    /// next operation why it is illegal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// What a checker returns: a row for the table and the anomalies it proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The row.
    pub result: CheckResult,
    /// Not empty exactly when the outcome is [`CheckOutcome::Violation`].
    pub anomalies: Vec<Anomaly>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    /// The history satisfies the claim, and coverage says that the run meant something.
    Valid,
    /// A checker hit its budget, or coverage was too thin.
    Unknown,
    /// The harness could not do its work.
    Infrastructure,
    /// An anomaly is proven.
    Violation,
}

/// How operations ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// They happened.
    pub ok: u64,
    /// They certainly did not happen.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

impl Counts {
    /// Counts the operations of a history.
    pub fn of(history: &History) -> Self {
        let mut counts = Self::default();
        (0..history.operations.len()).for_each(|at| counts.add(history.operations.outcome(at)));
        counts
    }

    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Info => self.info += 1,
        }
    }

    /// How many there are.
    pub fn all(&self) -> u64 {
        self.ok + self.fail + self.info
    }
}

/// Per kind of fault: how many were planned, skipped, injected, and proven to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FaultTally {
    /// The kind, as named on the command line.
    pub kind: String,
    /// Planned by the schedule (and begun before the run ended).
    pub planned: u64,
    /// Not tried, with a reason in `nemesis.jsonl`.
    pub skipped: u64,
    /// Told to the mechanism.
    pub injected: u64,
    /// Proven from outside the mechanism.
    pub evidenced: u64,
    /// Had an effect on the system (bytes held, leader changed, process replaced).
    #[serde(default)]
    pub effective: u64,
}

/// What the run exercised, and what it should have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Requirements that were met, in words with figures.
    pub met: Vec<String>,
    /// Requirements that were not.
    pub missing: Vec<String>,
}

/// `verdict.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version of this file's shape: 1.
    pub schema: u32,
    /// Plan and attempt.
    pub run_id: String,
    /// Hash of plan and binaries.
    pub plan_id: String,
    /// The outcome.
    pub outcome: RunOutcome,
    /// One sentence.
    pub reason: String,
    /// The target's name.
    pub target: String,
    /// The workload's name.
    pub workload: String,
    /// The kinds of faults.
    pub nemesis: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// How operations ended.
    pub operations: Counts,
    /// A row per checker.
    pub checks: Vec<CheckResult>,
    /// What was proven.
    pub anomalies: Vec<Anomaly>,
    /// A row per kind of fault.
    pub faults: Vec<FaultTally>,
    /// What was exercised.
    pub coverage: Coverage,
    /// The command that repeats the run.
    pub repro: String,
}
