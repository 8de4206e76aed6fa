//! What clients ask for and what they are told, independent of HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::machine::{Action, Applied, Batch, Compacted, Revision, Selection, Stored, Value};
use crate::metrics::Gauges;
use crate::raft::{Change, Index, NodeId, Refusal};

/// One client request on its way to the driver.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    /// Where the reply goes. Nobody listens any more when the client has gone.
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// What a client wants.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Change the state.
    Write(Action),
    /// Read the state as of now or later.
    Read(Query),
    /// Read what this node has applied.
    ReadLocal(Query),
    /// Ask how the node is.
    Status,
    /// Ask whom this node takes for members.
    Members,
    /// Change the members.
    Change(Change),
    /// Hand leadership over.
    Transfer(Option<NodeId>),
    /// See changes as this node applies them.
    Watch(Watch),
    /// Count.
    Metrics,
    /// See what is in the log of this node: the first kept entry to the last one, where nothing is said.
    Log { from: Option<Index>, to: Option<Index> },
    /// Get the digest of the applied state.
    Hash,
}

/// What a watcher wants next.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) selection: Selection,
    /// The changes from here on; from now on if nothing is said.
    pub(crate) next: Option<Revision>,
    /// Whether to wait for a change when there is none; not for ever.
    pub(crate) patiently: bool,
}

/// What a client wants to read.
#[derive(Debug)]
pub(crate) enum Query {
    /// The value of a key.
    Key(Bytes),
    /// Every key that begins so, with its value.
    Prefix(Bytes),
}

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The entry is committed, and this came of it.
    Applied(Applied),
    /// The members are as they were wanted.
    Changed,
    /// What a key has, and the revision of all data.
    Value { found: Option<Stored>, revision: Revision },
    /// Keys and what they have, ascending, and the revision of all data; no keys if that would be too much.
    Entries { entries: Option<Vec<(Bytes, Value)>>, revision: Revision },
    /// How the node is.
    Status(Box<StatusReport>),
    /// Nothing happened: another node leads.
    NotLeader(Option<NodeId>),
    /// Nothing happened: too much is waiting.
    Overloaded,
    /// The write may or may not take effect, now or later.
    UnknownOutcome,
    /// The read could not be confirmed.
    NoQuorum,
    /// Whom this node takes for members.
    Members(Box<MembersReport>),
    /// Nothing happened: the change does not fit.
    Refused(Refusal),
    /// Nothing happened: nobody would know where this node is.
    NoAddress(NodeId),
    /// This node leads no longer.
    Transferred,
    /// This node still leads.
    NotTransferred,
    /// Changes, and how far this node has applied the log.
    Changes { batch: Batch, applied: Index },
    /// Changes that were asked for are gone.
    Compacted(Compacted),
    /// Numbers of this node.
    Metrics(Box<Gauges>),
    /// A part of the log.
    Log(Box<LogReport>),
    /// The digest of the applied state.
    Hash(Box<HashReport>),
}

/// The body of `GET /members`.
#[derive(Debug, Serialize)]
pub(crate) struct MembersReport {
    pub(crate) voters: Vec<String>,
    /// The voters before a change that is under way.
    pub(crate) outgoing: Vec<String>,
    pub(crate) learners: Vec<String>,
    /// Where members receive messages that joined a running cluster.
    pub(crate) addresses: BTreeMap<String, SocketAddr>,
    /// The entry that says so.
    pub(crate) index: u64,
    /// Whether that is committed, as far as this node knows.
    pub(crate) committed: bool,
}

/// The body of `GET /debug/log`.
#[derive(Debug, Serialize)]
pub(crate) struct LogReport {
    /// A snapshot stands for everything up to here.
    pub(crate) base: u64,
    pub(crate) last: u64,
    pub(crate) commit: u64,
    pub(crate) entries: Vec<EntryReport>,
    /// Where to go on, if that is not all.
    pub(crate) next: Option<u64>,
}

/// An entry in `GET /debug/log`.
#[derive(Debug, Serialize)]
pub(crate) struct EntryReport {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) kind: &'static str,
    pub(crate) size_bytes: usize,
    /// CRC-32 of the encoded entry: equal on all nodes once it is committed.
    pub(crate) checksum: String,
}

/// The body of `GET /debug/hash`. Nodes with equal `applied` have equal digests.
#[derive(Debug, Serialize)]
pub(crate) struct HashReport {
    pub(crate) applied: u64,
    /// Of data, sessions and members.
    pub(crate) state_digest: String,
    /// Of everything applied, in its order.
    pub(crate) applied_digest: String,
    pub(crate) revision: u64,
    pub(crate) keys: usize,
    pub(crate) sessions: usize,
}

/// The body of `GET /status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusReport {
    pub(crate) id: String,
    pub(crate) role: &'static str,
    pub(crate) term: u64,
    pub(crate) leader: Option<String>,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    /// Of everything applied so far; equal on nodes with equal `applied`, or something is very wrong.
    pub(crate) applied_digest: String,
    pub(crate) last_index: u64,
    /// The entry that last changed data.
    pub(crate) revision: u64,
    /// A snapshot stands for the log up to here.
    pub(crate) snapshot_index: u64,
    pub(crate) peers: Vec<String>,
    pub(crate) version: &'static str,
    pub(crate) mutant: Option<String>,
}
