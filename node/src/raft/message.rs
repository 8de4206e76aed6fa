//! What nodes say to each other.
//!
//! Every message carries the sender's current term, and a higher term always makes the receiver step down (Raft,
//! section 5.1), with one exception: vote requests while a leader is alive (thesis, section 4.2.3).

use bytes::Bytes;

use super::membership::Membership;
use super::types::{Entry, Index, LogPosition, Round, Term};

/// One message; who sent it is known from the connection it came on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's current term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The kinds of messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// "Would you vote for me in the next term?" Changes no state at the receiver (thesis, section 9.6).
    PreVote {
        /// End of the candidate's log.
        last: LogPosition,
    },
    /// Answer to [`Body::PreVote`].
    PreVoteReply {
        /// Whether the voter would vote for the asker.
        granted: bool,
    },
    /// "Vote for me in this term" (`RequestVote`).
    Vote {
        /// End of the candidate's log.
        last: LogPosition,
        /// The leader asked for this election, so it must not protect itself (thesis, section 4.2.3).
        transferred: bool,
    },
    /// Answer to [`Body::Vote`]; a grant is sent only after the vote is durable.
    VoteReply {
        /// Whether the vote was given.
        granted: bool,
    },
    /// Entries to append (`AppendEntries`).
    Append(Append),
    /// Answer to [`Body::Append`].
    AppendReply(AppendReply),
    /// Sign of life from the leader. Carries no entries and is answered without waiting for the disk.
    Heartbeat {
        /// Commit index, limited to what the receiver is known to have.
        commit: Index,
        /// The latest read-index round.
        round: Round,
    },
    /// Answer to [`Body::Heartbeat`]: "in this term you are still my leader".
    HeartbeatReply {
        /// The round of the heartbeat.
        round: Round,
    },
    /// A part of a snapshot, for a follower that lacks what the leader no longer has (`InstallSnapshot`).
    Chunk(Chunk),
    /// Answer to [`Body::Chunk`] until the snapshot is whole; then an [`AppendReply::Accepted`] tells that it is stored.
    ChunkReply {
        /// The transfer of the chunk.
        transfer: u64,
        /// Bytes that have arrived: the offset of the next chunk.
        received: u64,
    },
    /// "Start an election now": the leader hands over (thesis, section 3.10).
    TimeoutNow,
    /// Answer to any request of an older term; the message's term says it all.
    Outdated,
}

impl Body {
    /// Whether the sender expects an answer.
    pub(crate) fn is_request(&self) -> bool {
        matches!(
            self,
            Body::PreVote { .. }
                | Body::Vote { .. }
                | Body::Append(_)
                | Body::Heartbeat { .. }
                | Body::Chunk(_)
        )
    }
}

/// Entries for a follower, and the position that they follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// The entry before the first one in `entries`; the receiver must have it.
    pub previous: LogPosition,
    /// Contiguous entries after `previous`.
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    pub commit: Index,
}

/// A part of a snapshot. Every part says what the whole is, so that the first to arrive begins the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Which transfer of this leadership; parts of different transfers are never put together.
    pub transfer: u64,
    /// The last entry that the snapshot stands for.
    pub last: LogPosition,
    /// The members after that entry.
    pub members: Membership,
    /// Size of the whole state in bytes.
    pub size_bytes: u64,
    /// CRC-32 of the whole state.
    pub checksum: u32,
    /// Where this part begins.
    pub offset: u64,
    /// The part.
    pub data: Bytes,
}

/// What a follower says to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendReply {
    /// The follower's log matches the leader's up to here, durably.
    Accepted {
        /// Last index that is known to match.
        matched: Index,
    },
    /// The follower lacks `previous`.
    Rejected {
        /// The index of the `previous` that was refused.
        previous: Index,
        /// The last position in the follower's log that can still match.
        hint: LogPosition,
    },
}
