//! What nodes say to each other.
//!
//! Every message carries the sender's current term, and a higher term always makes the receiver step down (Raft,
//! section 5.1), with one exception: vote requests while a leader is alive (thesis, section 4.2.3).

use super::types::{Entry, Index, LogPosition, Round, Term};

/// One message; who sent it is known from the connection it came on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's current term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The kinds of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Answer to any request of an older term; the message's term says it all.
    Outdated,
}

impl Body {
    /// Whether the sender expects an answer.
    pub(crate) fn is_request(&self) -> bool {
        matches!(self, Body::PreVote { .. } | Body::Vote { .. } | Body::Append(_) | Body::Heartbeat { .. })
    }
}

/// Entries for a follower, and the position that they follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The entry before the first one in `entries`; the receiver must have it.
    pub previous: LogPosition,
    /// Contiguous entries after `previous`.
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    pub commit: Index,
}

/// What a follower says to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
