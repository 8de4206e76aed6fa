//! The nouns of the protocol: ids, terms, indices, entries, hard state.
//!
//! Every number has its own type, so that an index can never be passed where a term is meant. All types are plain
//! values with a total order and no interior mutability.

use std::fmt;

use bytes::Bytes;

use super::membership::Membership;

/// An election period (Raft, section 5.1). Term 0 is the time before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The term that a candidate campaigns for.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A position in the replicated log; the first entry has index 1 and 0 means "before the log".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// The position after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; the position before the log is its own predecessor.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Milliseconds on the driver's monotonic clock. The core compares them and never reads a clock itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The time that lies `delta` later.
    pub fn plus(self, delta: Millis) -> Self {
        Self(self.0 + delta.0)
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Millis) -> Millis {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// A fraction of the election timeout in units of 1/65536, drawn by the driver for every tick.
///
/// Randomized timeouts (Raft, section 5.2) need randomness, and the core has none: the simulator seeds it, the server
/// draws it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Jitter(pub u16);

/// The driver's name for one client request; unique for the lifetime of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The number of a read-index round within one leadership (thesis, section 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(pub u64);

/// How many bytes a node's name may have.
pub const NODE_ID_BYTES: usize = 16;

/// The name of a node, stored inline so that it is `Copy` and has the same bytes in memory, on disk and on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NODE_ID_BYTES]);

impl NodeId {
    /// Accepts 1 to [`NODE_ID_BYTES`] ASCII letters, digits, `-`, `_` and `.`; anything else is `None`.
    pub fn new(name: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NODE_ID_BYTES || !name.bytes().all(legal) {
            return None;
        }
        let mut bytes = [0; NODE_ID_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// The stored form: the name, padded with zero bytes.
    pub fn to_bytes(self) -> [u8; NODE_ID_BYTES] {
        self.0
    }

    /// Reads the stored form; `None` when the bytes are not a name.
    pub fn from_bytes(bytes: [u8; NODE_ID_BYTES]) -> Option<Self> {
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(NODE_ID_BYTES);
        let id = Self::new(std::str::from_utf8(&bytes[..length]).ok()?)?;
        (id.0 == bytes).then_some(id)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(NODE_ID_BYTES);
        std::str::from_utf8(&self.0[..length]).expect("invariant: a node id is ASCII")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an entry carries. New kinds get new variants and new codes in the codec.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Opens a leader's term, so that entries of earlier terms can be committed (Raft, section 8).
    Noop,
    /// A command of the state machine; the core never looks inside.
    Command(Bytes),
    /// The members from this entry on, as soon as it is in a log.
    Members(Membership),
}

impl Payload {
    /// The size of the carried bytes, for limits on batches and queues.
    pub fn size_bytes(&self) -> usize {
        match self {
            Payload::Noop | Payload::Members(_) => 0,
            Payload::Command(command) => command.len(),
        }
    }
}

/// One entry of the replicated log. Index and term together identify it in the whole cluster (Log Matching, section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its position.
    pub index: Index,
    /// The term of the leader that created it.
    pub term: Term,
    /// What it carries.
    pub payload: Payload,
}

/// A state of the state machine that stands for the log up to an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last entry that was applied to it.
    pub last: LogPosition,
    /// The members after that entry.
    pub members: Membership,
    /// The encoded state; the core never looks inside.
    pub state: Bytes,
}

/// The end of a log, or the entry before an append. The order is the "at least as up-to-date" order of section 5.4.1:
/// the later term wins, then the longer log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Term of the entry at `index`; compared first.
    pub term: Term,
    /// Position of the entry.
    pub index: Index,
}

/// What must be durable before any promise of this node leaves it (Raft, figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The latest term this node has seen; never decreases.
    pub term: Term,
    /// The candidate that got this node's vote in `term`.
    pub vote: Option<NodeId>,
}

/// Names one write to stable storage. Writes become durable in the order of `sequence`.
///
/// The sequence number rules out the A-B-A mistake in which "durable up to index i" is applied to an entry that has
/// replaced the one that was written (etcd-io/raft `async_storage_writes_append_aba_race`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId {
    /// Position in the order of writes of this process.
    pub sequence: u64,
    /// The node's term when the write was issued.
    pub term: Term,
    /// The last index of the log after the write.
    pub last: Index,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_survives_its_stored_form() {
        for name in ["n1", "a", "node-10_x.y", "0123456789abcdef"] {
            let id = NodeId::new(name).expect("legal name");
            assert_eq!(NodeId::from_bytes(id.to_bytes()), Some(id));
            assert_eq!(id.as_str(), name);
        }
    }

    #[test]
    fn node_id_refuses_what_is_not_a_name() {
        for name in ["", "has space", "0123456789abcdefg", "naïve", "a/b"] {
            assert_eq!(NodeId::new(name), None, "{name:?}");
        }
        assert_eq!(NodeId::from_bytes(*b"n1\0n2\0\0\0\0\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn later_term_is_more_up_to_date_than_longer_log() {
        let long = LogPosition { term: Term(1), index: Index(9) };
        let late = LogPosition { term: Term(2), index: Index(1) };
        assert!(late > long);
    }
}
