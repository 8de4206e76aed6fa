//! What was done to the cluster, and what was seen of it, beside the clients: one line of `nemesis.jsonl`.

use serde::{Deserialize, Serialize};

use crate::{Nanos, NodeId};

/// Where a fault stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultPhase {
    /// The fault, or what was left of its steps, could not be tried, and `detail` says why (for example: no leader was
    /// known).
    Skipped,
    /// The mechanism was told to apply it. The fault window opens.
    Injected,
    /// It was proven, from outside the mechanism, that it is applied. `detail` is the proof.
    Evidenced,
    /// It did something more while it stood; `detail` says what, and what was seen.
    Acted,
    /// The fault had an effect on the system: bytes were held, the leader changed. `detail` says which.
    Effect,
    /// Healing began.
    Healing,
    /// Healing was verified. The fault window closes.
    Healed,
    /// Applying, proving or healing failed; the run is `infrastructure`. `detail` says what failed.
    Failed,
}

/// One line of `nemesis.jsonl`, in the order in which the recorder received it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The run entered a phase: `start`, `ready`, `load`, `heal`, `final-reads`, `end`.
    Phase {
        /// When.
        time: Nanos,
        /// Which.
        name: String,
    },
    /// A step in the life of one fault of the schedule.
    Fault {
        /// When.
        time: Nanos,
        /// The position of the fault in the schedule, counted from 0.
        fault: u32,
        /// The kind, as named on the command line: `kill`, `pause`, `partition`, …
        kind: String,
        /// Where it stands.
        phase: FaultPhase,
        /// The nodes it is about.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        nodes: Vec<NodeId>,
        /// Whether a majority of nodes was left whole and connected (only with `injected`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        leaves_quorum: Option<bool>,
        /// In words: the shape, the proof, the reason.
        #[serde(default)]
        detail: String,
    },
    /// A node's process was started.
    Started {
        /// When.
        time: Nanos,
        /// Which node.
        node: NodeId,
        /// Its process id.
        pid: i32,
        /// How often this node was started before.
        generation: u32,
    },
    /// A node's process ended.
    Exited {
        /// When.
        time: Nanos,
        /// Which node.
        node: NodeId,
        /// Its process id.
        pid: i32,
        /// `exit status 1`, `signal 9`, …
        status: String,
        /// Whether the nemesis, or the end of the run, had asked for it. Anything else is a crash.
        licensed: bool,
    },
    /// A restarted node did not come up. `detail` names log and reason.
    RestartFailed {
        /// When.
        time: Nanos,
        /// Which node.
        node: NodeId,
        /// What was seen.
        detail: String,
    },
    /// A node's log contains a line that the target forbids (panic, assertion).
    ForbiddenLog {
        /// When it was found.
        time: Nanos,
        /// Which node.
        node: NodeId,
        /// `stdout.log` or `stderr.log`.
        file: String,
        /// The line number, counted from 1.
        line: u64,
        /// The line, shortened.
        text: String,
    },
    /// The nodes' logs were searched for forbidden lines.
    LogsSearched {
        /// When.
        time: Nanos,
        /// How many lines were looked at.
        lines: u64,
    },
    /// Somebody else leads, as far as the nodes say.
    Leader {
        /// When it was seen.
        time: Nanos,
        /// The leader; `None` while there is none.
        node: Option<NodeId>,
        /// Its term or the like, where the target tells.
        #[serde(default)]
        term: u64,
    },
    /// The first write that a client got acknowledged.
    FirstAcknowledged {
        /// When.
        time: Nanos,
    },
    /// After everything was healed, a write was acknowledged.
    Recovered {
        /// When.
        time: Nanos,
        /// Nanoseconds since healing was verified.
        after: Nanos,
    },
    /// After everything was healed, no write was acknowledged within the limit.
    NotRecovered {
        /// When it was given up.
        time: Nanos,
        /// The limit.
        limit: Nanos,
    },
    /// What a node's replica holds, after everything was healed and clients rested.
    Replica {
        /// When it was seen.
        time: Nanos,
        /// Which node.
        node: NodeId,
        /// How much of the log it has applied; replicas are compared only where this is equal.
        applied: u64,
        /// A digest of everything it holds.
        digest: String,
    },
    /// The harness itself did not run for a while (paused machine, starved CPU); latencies in the window mean little.
    Stall {
        /// The beginning of the window.
        time: Nanos,
        /// Its length.
        length: Nanos,
    },
    /// A connection between two nodes that does not pass the links.
    Bypass {
        /// When it was found.
        time: Nanos,
        /// Who dialled whom, with addresses.
        detail: String,
    },
    /// Something that makes the run `infrastructure`.
    Infrastructure {
        /// When.
        time: Nanos,
        /// What failed, where, and what to do next.
        detail: String,
    },
    /// The load ended early because its history showed a violation.
    FailedFast {
        /// When.
        time: Nanos,
    },
    /// The user interrupted the run.
    Interrupted {
        /// When.
        time: Nanos,
    },
}

impl RunEvent {
    /// When it happened.
    pub fn time(&self) -> Nanos {
        match self {
            Self::Phase { time, .. }
            | Self::Fault { time, .. }
            | Self::Started { time, .. }
            | Self::Exited { time, .. }
            | Self::RestartFailed { time, .. }
            | Self::ForbiddenLog { time, .. }
            | Self::LogsSearched { time, .. }
            | Self::Leader { time, .. }
            | Self::FirstAcknowledged { time }
            | Self::Recovered { time, .. }
            | Self::NotRecovered { time, .. }
            | Self::Replica { time, .. }
            | Self::Stall { time, .. }
            | Self::Bypass { time, .. }
            | Self::Infrastructure { time, .. }
            | Self::FailedFast { time }
            | Self::Interrupted { time } => *time,
        }
    }
}
