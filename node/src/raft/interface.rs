//! What goes into the core and what comes out of it.

use bytes::Bytes;

use super::membership::{Change, Refusal};
use super::message::Message;
use super::types::{
    Entry, HardState, Index, IoId, Jitter, LogPosition, Millis, NodeId, RequestId, Snapshot, Term,
};

/// Bounds on batches and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Payload bytes in one append; a single entry may exceed it.
    pub append_bytes: usize,
    /// Unacknowledged appends per follower.
    pub inflight_messages: usize,
    /// Unacknowledged payload bytes per follower; the last append may exceed it.
    pub inflight_bytes: usize,
    /// Proposals that wait for their commit.
    pub pending_proposals: usize,
    /// Payload bytes of those proposals.
    pub pending_bytes: usize,
    /// Reads that wait for their round.
    pub pending_reads: usize,
    /// Read rounds that wait for a majority.
    pub read_rounds: usize,
    /// Bytes of a snapshot in one message.
    pub chunk_bytes: usize,
    /// Entries before a snapshot that stay in the log, for followers that are only a little behind.
    pub retained_entries: u64,
    /// Payload bytes of those entries; the oldest go first.
    pub retained_bytes: usize,
    /// Entries that a learner may lack when it becomes a voter.
    pub promotion_lag: u64,
}

impl Limits {
    /// The usual bounds.
    pub const DEFAULT: Self = Self {
        append_bytes: 1 << 20,
        inflight_messages: 64,
        inflight_bytes: 4 << 20,
        pending_proposals: 10_000,
        pending_bytes: 64 << 20,
        pending_reads: 10_000,
        read_rounds: 4,
        chunk_bytes: 256 << 10,
        retained_entries: 4096,
        retained_bytes: 32 << 20,
        promotion_lag: 256,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a node is told about itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// How often a leader gives a sign of life.
    pub heartbeat: Millis,
    /// The shortest silence after which a follower asks for votes; the longest is twice as long.
    pub election: Millis,
    /// Bounds on batches and queues.
    pub limits: Limits,
    /// Whether leaders answer reads under a lease (`reads`). It must be the same on all nodes, as must `election`.
    pub lease_reads: bool,
    /// The wrong variant to run, in builds that have them.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Config {
    /// A correct node with the usual bounds.
    pub fn new(id: NodeId, heartbeat: Millis, election: Millis) -> Self {
        Self {
            id,
            heartbeat,
            election,
            limits: Limits::default(),
            lease_reads: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick {
        /// Randomness for the timeouts that start before the next tick.
        jitter: Jitter,
    },
    /// A message arrived. Loss, delay, duplication and reordering are all allowed.
    Receive {
        /// The sender, as established by the connection.
        from: NodeId,
        /// The message.
        message: Message,
    },
    /// This write, and with it every earlier one, is durable.
    Persisted(IoId),
    /// A client wants a command in the log.
    Propose {
        /// How to name the client in the answer.
        request: RequestId,
        /// The command.
        command: Bytes,
    },
    /// A client wants to read the state as of now or later.
    Read {
        /// How to name the client in the answer.
        request: RequestId,
    },
    /// An operator wants other members. Answered as a proposal is, when the change is complete.
    Change {
        /// How to name the operator in the answer.
        request: RequestId,
        /// The change.
        change: Change,
    },
    /// An operator wants another leader.
    Transfer {
        /// How to name the operator in the answer.
        request: RequestId,
        /// Which; the one with the longest log if nobody is named.
        to: Option<NodeId>,
    },
    /// The state after everything that was handed out for applying, encoded.
    Snapshot {
        /// The last index that was applied to it.
        applied: Index,
        /// The encoded state.
        state: Bytes,
    },
    /// The snapshot that was handed out to be stored, up to this entry, is durable.
    Stored(LogPosition),
}

/// One write to stable storage; the parts are durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Persist {
    /// The name to report back.
    pub io: IoId,
    /// New term and vote, when they changed.
    pub hard_state: Option<HardState>,
    /// Forget all stored entries: the log begins anew after this one, with which the stored snapshot ends.
    pub begin_after: Option<LogPosition>,
    /// Forget the stored entries from here on, before appending.
    pub truncate_from: Option<Index>,
    /// Entries to append.
    pub entries: Vec<Entry>,
    /// Entries up to here may be forgotten: a durable snapshot stands for them.
    pub compact_to: Option<Index>,
}

/// A committed entry, and the request that waits for its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    /// The entry; every node applies the same entries in the same order.
    pub entry: Entry,
    /// The request that proposed exactly this entry (same index and term) at this node.
    pub request: Option<RequestId>,
}

/// The end of a request that is not the result of an applied entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Read the applied state and answer: it is recent enough.
    ReadReady,
    /// Nothing happened: this node does not lead. The leader, when known.
    NotLeader(Option<NodeId>),
    /// Nothing happened: too many requests are waiting.
    Overloaded,
    /// The proposal may or may not take effect, now or later.
    UnknownOutcome,
    /// The read could not be confirmed by a majority.
    NoQuorum,
    /// Nothing happened: the change does not fit the members, or not now.
    Refused(Refusal),
    /// This node leads no longer, as was asked for.
    Transferred,
    /// This node still leads: the other one did not take over in time, or cannot.
    NotTransferred,
    /// The wrong acknowledgement of mutant B6: appended here, not committed.
    #[cfg(feature = "mutants")]
    Appended(Index),
}

/// What the driver has to do, field by field in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// Start this write.
    pub persist: Option<Persist>,
    /// Send these messages; losing some is allowed.
    pub messages: Vec<(NodeId, Message)>,
    /// Begin to make this snapshot durable, and report it with [`Input::Stored`]. There is one at a time.
    pub store: Option<Snapshot>,
    /// Replace the applied state by this one, which is durable.
    pub install: Option<Snapshot>,
    /// Apply these entries.
    pub committed: Vec<Committed>,
    /// Answer these requests.
    pub answers: Vec<(RequestId, Answer)>,
}

/// What a node is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A summary of a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The role.
    pub role: RoleName,
    /// The current term.
    pub term: Term,
    /// The leader of the current term, when known.
    pub leader: Option<NodeId>,
    /// Highest index known to be committed.
    pub commit: Index,
    /// Highest index handed out for applying.
    pub applied: Index,
    /// End of the log.
    pub last: LogPosition,
    /// The entry up to which a snapshot stands for the log.
    pub base: LogPosition,
}
