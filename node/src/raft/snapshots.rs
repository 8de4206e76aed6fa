//! Snapshots: what stands for the beginning of the log, here and at followers that are far behind.
//!
//! The driver encodes the applied state when the log is long enough; it is stored before the log lets go of anything. A follower
//! that lacks what the log no longer has gets the stored snapshot in parts, puts them together, stores the whole, and only
//! then replaces its state and its log (Raft, section 7). One snapshot is being stored at a time, so what is stored
//! never goes back.

use bytes::{Bytes, BytesMut};

use super::message::{AppendReply, Body, Chunk};
use super::types::{Index, LogPosition, NodeId, Snapshot};
use super::{Core, Role};
use crate::mutant::mutant;

/// The snapshots of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Snapshots {
    latest: Option<Snapshot>,
    storing: Option<Storing>,
    arriving: Option<Arriving>,
}

/// A snapshot that is not durable yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Storing {
    snapshot: Snapshot,
    /// The leader that sent it; nobody when it was made here.
    from: Option<NodeId>,
}

/// A snapshot of which parts are missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Arriving {
    from: NodeId,
    chunk: Chunk,
    received: BytesMut,
}

impl Snapshots {
    pub(super) fn recovered(latest: Option<Snapshot>) -> Self {
        Self { latest, ..Self::default() }
    }

    /// What stands for the beginning of the log.
    pub(super) fn latest(&self) -> Option<&Snapshot> {
        self.latest.as_ref()
    }
}

impl Arriving {
    /// Whether the chunk belongs to the same transfer.
    fn is_of(&self, from: NodeId, chunk: &Chunk) -> bool {
        self.from == from && self.chunk.transfer == chunk.transfer && self.chunk.last == chunk.last
    }

    fn take(&mut self, chunk: &Chunk) {
        if chunk.offset == self.received.len() as u64 {
            self.received.extend_from_slice(&chunk.data);
        }
    }

    /// The whole, once it is there; nothing is left if it is not what was sent.
    fn whole(&mut self) -> Option<Bytes> {
        if (self.received.len() as u64) < self.chunk.size_bytes {
            return None;
        }
        let state = std::mem::take(&mut self.received).freeze();
        (crc32fast::hash(&state) == self.chunk.checksum).then_some(state)
    }
}

impl Core {
    /// The driver has encoded the state.
    pub(super) fn snapshot(&mut self, applied: Index, state: Bytes) {
        assert!(applied <= self.applied, "invariant: what is in a snapshot was handed out for applying");
        let before = self.snapshots.latest().map_or(Index(0), |latest| latest.last.index);
        let is_news = applied > before && self.snapshots.storing.is_none();
        let named = if mutant!(self.config, E1) { applied.previous() } else { applied };
        if let Some(last) = self.log.position(named).filter(|_| is_news) {
            let members = self.log.members_at(applied).clone();
            self.store(Snapshot { last, members, state }, None);
        }
    }

    fn store(&mut self, snapshot: Snapshot, from: Option<NodeId>) {
        self.outbox.store(snapshot.clone());
        self.snapshots.storing = Some(Storing { snapshot, from });
    }

    /// A snapshot is durable: now it may stand for the log.
    pub(super) fn stored(&mut self, last: LogPosition) {
        let storing = self.snapshots.storing.take();
        let Some(Storing { snapshot, from }) = storing.filter(|storing| storing.snapshot.last == last) else {
            unreachable!("invariant: only what was handed out is stored");
        };
        if last.index > self.commit || (mutant!(self.config, E5) && from.is_some()) {
            self.install(&snapshot);
        }
        self.compact(last);
        self.snapshots.latest = Some(snapshot);
        if let Some(leader) = from.filter(|_| self.leader == from) {
            let reply = AppendReply::Accepted { matched: last.index };
            self.send_when_durable(leader, Body::AppendReply(reply));
        }
    }

    /// Goes on from a snapshot that is ahead of what is known to be committed. A log that has its last entry agrees with it
    /// and keeps what follows; any other is not the leader's.
    fn install(&mut self, snapshot: &Snapshot) {
        assert!(
            !matches!(self.role, Role::Leader(_)),
            "invariant: a leader has everything that is committed"
        );
        let last = snapshot.last;
        let ends_before = self.log.last_index() < last.index;
        if self.log.term_at(last.index) != Some(last.term) && (ends_before || !mutant!(self.config, E4)) {
            self.log.replace(last, snapshot.members.clone());
        }
        self.commit = last.index;
        if !mutant!(self.config, E11) {
            self.applied = last.index;
        }
        self.outbox.install(snapshot.clone());
    }

    /// Lets go of entries for which the snapshot stands, except for the last ones.
    fn compact(&mut self, last: LogPosition) {
        let limits = &self.config.limits;
        let retained = self.log.count_back(last.index, limits.retained_entries, limits.retained_bytes);
        let to = Index(last.index.0 - retained).min(self.log.handed_to_storage());
        let base = self.log.position(to).filter(|base| base.index > self.log.base().index);
        if let Some(base) = base {
            self.log.compact(base);
        }
        self.outbox.compacted(self.log.base().index);
    }

    pub(super) fn on_chunk(&mut self, from: NodeId, chunk: Chunk) {
        self.follow(from);
        if chunk.last.index <= self.commit && !mutant!(self.config, E5) {
            let reply = AppendReply::Accepted { matched: chunk.last.index };
            return self.send_when_durable(from, Body::AppendReply(reply));
        }
        if self.snapshots.storing.is_some() {
            return;
        }
        let (transfer, last, members) = (chunk.transfer, chunk.last, chunk.members.clone());
        let arriving = match &mut self.snapshots.arriving {
            Some(arriving) if arriving.is_of(from, &chunk) => {
                arriving.take(&chunk);
                arriving
            }
            other => {
                let mut begun = Arriving { from, chunk: chunk.clone(), received: BytesMut::new() };
                begun.take(&chunk);
                other.insert(begun)
            }
        };
        if let Some(state) = arriving.whole() {
            self.snapshots.arriving = None;
            return self.store(Snapshot { last, members, state }, Some(from));
        }
        let received = arriving.received.len() as u64;
        self.send(from, Body::ChunkReply { transfer, received });
    }

    pub(super) fn on_chunk_reply(&mut self, from: NodeId, transfer: u64, received: u64) {
        if let Role::Leader(leadership) = &mut self.role
            && let Some(progress) = leadership.progress.get_mut(&from)
        {
            progress.chunk_received(transfer, received);
        }
    }
}
