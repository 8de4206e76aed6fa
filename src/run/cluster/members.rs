//! Who belongs to the cluster, and how far its members have come.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use history::NodeId;
use targets::{Launch, Membership, Peer};

use super::{RunCluster, WRITE_PAUSE};

impl RunCluster {
    fn membership(&self) -> Result<&dyn Membership, String> {
        self.membership.as_deref().ok_or_else(|| "this target offers no changes of members".to_owned())
    }

    /// A node as operators know it.
    pub(super) fn peer(&self, node: &NodeId) -> Result<Peer, String> {
        let launch = self.launches.get(node);
        let address = launch.and_then(|launch| launch.peers.get(node).copied());
        let known = address.zip(self.direct.get(node).copied());
        let (address, client) = known.ok_or_else(|| format!("{node} is not a node of this cluster"))?;
        Ok(Peer { node: node.clone(), address, client })
    }

    pub(super) async fn add_member(&self, member: &NodeId, asked: &NodeId) -> Result<String, String> {
        self.membership()?.add(&self.peer(asked)?, &self.peer(member)?).await
    }

    pub(super) async fn remove_member(&self, member: &NodeId, asked: &NodeId) -> Result<String, String> {
        self.membership()?.remove(&self.peer(asked)?, &self.peer(member)?).await
    }

    pub(super) async fn promote_member(&self, member: &NodeId, asked: &NodeId) -> Result<String, String> {
        self.membership()?.promote(&self.peer(asked)?, &self.peer(member)?).await
    }

    pub(super) async fn list_members(&self, told_by: &NodeId) -> Result<BTreeSet<NodeId>, String> {
        let nodes = self.nodes.iter().map(|node| self.peer(node)).collect::<Result<Vec<_>, _>>()?;
        self.membership()?.members(&self.peer(told_by)?, &nodes).await
    }

    pub(super) fn joiner_arguments(&self, node: &NodeId, members: &BTreeSet<NodeId>) -> Vec<String> {
        let launch = Launch { joins: Some(members.clone()), ..self.launches[node].clone() };
        self.arguments(self.target.command(&launch).args)
    }

    /// Waits until each of some nodes has applied what the furthest of all has when a write of the harness's own was
    /// acknowledged.
    pub(super) async fn apply_everything(&self, nodes: &[NodeId], limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        self.recovery(limit).await.ok_or("no write was acknowledged")?;
        let mut furthest = 0;
        for node in self.nodes.iter().filter(|node| self.processes.is_active(node)) {
            furthest = furthest.max(self.applies(node, 0, deadline).await?);
        }
        for node in nodes {
            self.applies(node, furthest, deadline).await?;
        }
        Ok(())
    }

    /// Waits until a node has applied so much; returns how much it has.
    async fn applies(&self, node: &NodeId, wanted: u64, deadline: Instant) -> Result<u64, String> {
        loop {
            let replica = self.probe.replica(self.direct[node]).await;
            if let Some(replica) = replica.filter(|replica| replica.applied >= wanted) {
                return Ok(replica.applied);
            }
            if Instant::now() > deadline {
                let log = self.last_words(node);
                return Err(format!("{node} has not applied {wanted}; its log ends with: {log}"));
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }
}
