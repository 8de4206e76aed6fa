//! The outgoing side to every other node that is known: from the start, or from the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::events::EventLog;
use crate::raft::{Membership, Message, NodeId};
use crate::transport::{Peer, PeerSender};

/// One outgoing queue per peer. Dropping it closes their connections.
#[derive(Debug)]
pub(crate) struct Peers {
    me: NodeId,
    senders: BTreeMap<NodeId, PeerSender>,
    tasks: JoinSet<()>,
    log: EventLog,
}

impl Peers {
    /// Peers that are known from the start. Their addresses stay what they are, whatever the log says: each node may
    /// reach the others by ways of its own.
    pub(crate) fn new(me: NodeId, known: BTreeMap<NodeId, SocketAddr>, log: EventLog) -> Self {
        let mut peers = Self { me, senders: BTreeMap::new(), tasks: JoinSet::new(), log };
        known.into_iter().for_each(|(id, address)| peers.add(id, address));
        peers
    }

    /// Makes everybody reachable whom the log names with an address.
    pub(crate) fn learn(&mut self, members: &Membership) {
        for (&id, &address) in members.addresses() {
            if id != self.me && !self.senders.contains_key(&id) {
                self.add(id, address);
            }
        }
    }

    fn add(&mut self, id: NodeId, address: SocketAddr) {
        let (sender, peer) = Peer::new(self.me, id, address, self.log);
        self.senders.insert(id, sender);
        self.tasks.spawn(peer.run());
    }

    /// Queues a message; it is lost if nobody knows where the peer is.
    pub(crate) fn send(&self, to: NodeId, message: Message) {
        if let Some(peer) = self.senders.get(&to) {
            peer.send(message);
        }
    }

    /// Whether a node can be reached.
    pub(crate) fn knows(&self, id: NodeId) -> bool {
        id == self.me || self.senders.contains_key(&id)
    }
}
