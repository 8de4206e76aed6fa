//! Who belongs to the cluster, and how far its members have come.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use history::NodeId;
use targets::{Launch, Membership};

use super::{RunCluster, WRITE_PAUSE};

impl RunCluster {
    fn membership(&self) -> Result<&dyn Membership, String> {
        self.membership.as_deref().ok_or_else(|| "this target offers no changes of members".to_owned())
    }

    /// By which address a node is known to the others.
    fn advertised(&self, node: &NodeId) -> Result<SocketAddr, String> {
        let launch = self.launches.get(node);
        launch
            .and_then(|launch| launch.peers.get(node).copied())
            .ok_or_else(|| format!("{node} is not a node of this cluster"))
    }

    pub(super) async fn add_member(&self, node: &NodeId, asked: SocketAddr) -> Result<String, String> {
        self.membership()?.add(asked, self.advertised(node)?).await
    }

    pub(super) async fn remove_member(&self, node: &NodeId, asked: SocketAddr) -> Result<String, String> {
        self.membership()?.remove(asked, self.advertised(node)?).await
    }

    pub(super) async fn list_members(&self, told_by: &NodeId) -> Result<BTreeSet<NodeId>, String> {
        let asked =
            self.direct.get(told_by).ok_or_else(|| format!("{told_by} is not a node of this cluster"))?;
        let listed = self.membership()?.members(*asked).await?;
        let node_at = |address: &SocketAddr| {
            let node = self.nodes.iter().find(|node| self.advertised(node) == Ok(*address));
            node.cloned().ok_or_else(|| format!("{told_by} lists a member at {address}, which is no node's"))
        };
        listed.iter().map(node_at).collect()
    }

    pub(super) fn joiner_arguments(&self, node: &NodeId, members: &BTreeSet<NodeId>) -> Vec<String> {
        let launch = &self.launches[node];
        let is_member = |(peer, _): &(&NodeId, &SocketAddr)| members.contains(*peer);
        let peers = launch.peers.iter().filter(is_member).map(|(peer, address)| (peer.clone(), *address));
        let launch = Launch { peers: peers.collect(), joins: true, ..launch.clone() };
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
