//! Stops all tasks of nodes with `SIGSTOP`, and lets them go on with `SIGCONT`.
//!
//! A stopped node keeps its sockets, and the kernel goes on acknowledging: its peers see somebody who is alive and
//! silent. Evidence: every task of the whole tree is in state `T`. Healed: none is, or the process was killed
//! and replaced meanwhile by another fault.

use history::NodeId;

use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, NODES_PREFIX, Request, Scope, Skip, list, until,
};
use crate::links::LinkStats;
use crate::process::{Identity, TaskCount};
use crate::victims::Victims;
use crate::{Cluster, Processes, quorum};

/// A pause of some nodes.
#[derive(Debug)]
pub(crate) struct Pause {
    scope: Scope,
    victims: Victims,
    paused: Vec<(NodeId, Identity)>,
    traffic_before: Vec<Traffic>,
}

/// What a node was sent, and what it sent, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Fault for Pause {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let victims = Victims::choose(request, cluster, |node| cluster.processes().is_active(node)).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let scope = Scope { nodes, detail, leaves_quorum };
        Ok(Self { scope, victims, paused: Vec::new(), traffic_before: Vec::new() })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        let processes = cluster.processes();
        for node in &self.victims.nodes {
            self.paused.extend(processes.identity(node).map(|identity| (node.clone(), identity)));
            processes.pause(node).await?;
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for (node, _) in &self.paused {
            let count = || TaskCount::of(&cluster.processes().tree(node));
            if !until(EVIDENCE_LIMIT, || count().all_stopped()).await {
                let found = count();
                return Err(FaultError::NotProven(format!(
                    "{node} was sent SIGSTOP, but {} of its tasks are not stopped ({} are)",
                    found.running, found.stopped
                )));
            }
            proofs.push(format!("{node} ({} tasks of {} processes)", count().stopped, count().processes));
            self.traffic_before.push(traffic(cluster, node));
        }
        self.victims.turns.clear();
        Ok(format!("stopped: {}", list(proofs)))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let silent = self.paused.iter().zip(&self.traffic_before).filter_map(|((node, _), before)| {
            let after = traffic(cluster, node);
            let received = after.received - before.received;
            (received > 0 && after.sent == before.sent)
                .then(|| format!("{node} was sent {received} bytes and answered none"))
        });
        Some(list(silent)).filter(|effects| !effects.is_empty())
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        let mut healed = Vec::new();
        for (node, identity) in &self.paused {
            let _turn = cluster.processes().turn(node).await?;
            healed.push(resume(cluster.processes(), node, *identity).await?);
        }
        Ok(list(healed))
    }
}

/// Lets a node go on and sees to it that it does; the caller has the turn.
pub(crate) async fn resume(
    processes: &Processes,
    node: &NodeId,
    paused: Identity,
) -> Result<String, FaultError> {
    if processes.identity(node) != Some(paused) {
        return Ok(format!("{node} was killed while it stood still"));
    }
    processes.resume(node).await?;
    let count = || TaskCount::of(&processes.tree(node));
    if until(HEAL_LIMIT, || count().none_stopped()).await {
        Ok(format!("{node} goes on ({} tasks)", count().running))
    } else {
        Err(FaultError::NotProven(format!(
            "{node} was sent SIGCONT, but {} of its tasks stand still",
            count().stopped
        )))
    }
}

/// What went over the links of a node so far.
pub(crate) fn traffic(cluster: &impl Cluster, node: &NodeId) -> Traffic {
    let mut traffic = Traffic::default();
    for (link, LinkStats { bytes_in, bytes_out, .. }) in cluster.links().stats() {
        if link.destination.node() == Some(node) {
            traffic.received += bytes_out;
        }
        if link.source.node() == Some(node) {
            traffic.sent += bytes_in;
        }
    }
    traffic
}
