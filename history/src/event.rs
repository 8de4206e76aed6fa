//! One line of a recorded history: an invocation or a completion.
//!
//! `ok` means that the operation happened, with what it observed; `fail` that it certainly did not happen, and
//! it observes nothing; `info` that nobody knows, for ever. A compare-and-set that did not match is an
//! observation: `ok` with the value `false`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Nanos;

/// The version of the file format that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

/// The name of a node of the cluster under test, such as `n1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

impl NodeId {
    /// The `i`-th node of a cluster, counted from 1: `n1`, `n2`, …
    pub fn numbered(i: usize) -> Self {
        Self(format!("n{i}"))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client's logical thread. At most one operation of a process is open at a time, and a process whose
/// operation ended `info` is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Process(pub u32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an event says about its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The operation is about to be sent.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows whether it happened, or will.
    Info,
}

/// One line of `history.jsonl`.
///
/// `value` of an invocation is the argument (write: the value; compare-and-set: `[expected, new]`; add: the
/// element), `value` of an `ok` is what was observed (read: the value, `null` when absent; compare-and-set: did it
/// match; set read: the list of elements).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The position in the file, counted from 0 after the header.
    pub index: u64,
    /// When the client stamped it.
    pub time: Nanos,
    /// Invocation or completion.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Whose operation it is.
    pub process: Process,
    /// The node that the client is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The function: `read`, `write`, `cas`, `add`, …
    pub f: String,
    /// The key of the independent object, where the workload has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Argument or observation.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// When the generator meant the operation to start (invocations only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<Nanos>,
    /// Part of the final phase, after everything was healed.
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// Why it failed or is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The first line of `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format version, [`FORMAT_VERSION`] for files that this crate writes. Its presence makes the line a header.
    pub shakedown_history: u32,
    /// What the history is judged by, such as `linearizable`.
    pub claim: String,
    /// The workload that produced it, such as `register`.
    pub workload: String,
    /// The clock of the stamps.
    pub clock: String,
    /// The run that produced it.
    #[serde(default)]
    pub run_id: String,
    /// Wall-clock time of the origin of the axis, milliseconds since 1970.
    #[serde(default)]
    pub wall_origin_ms: u64,
    /// The digest of the target's binary.
    #[serde(default)]
    pub target_digest: String,
    /// The digest of the suite's binary.
    #[serde(default)]
    pub suite_digest: String,
}

impl Header {
    /// A header for a history that some other tool recorded, and that can be judged as `model` says.
    pub(crate) fn linearizable(model: &str, clock: &str) -> Self {
        Self {
            shakedown_history: FORMAT_VERSION,
            claim: "linearizable".into(),
            workload: model.into(),
            clock: clock.into(),
            run_id: String::new(),
            wall_origin_ms: 0,
            target_digest: String::new(),
            suite_digest: String::new(),
        }
    }
}
