//! Kills the processes of nodes with `SIGKILL`, and starts them again.
//!
//! Evidence: the parent of the processes saw them end by signal 9, with nothing of their trees left. Healed: every
//! node has a new process that answers. A paused node is killed like any other. Files keep what was written, so
//! this is a crash of a process, not of a machine.

use history::NodeId;

use crate::fault::{Fault, FaultError, NODES_PREFIX, READY_LIMIT, Request, Scope, Skip, list};
use crate::guardian::{ExitStatus, GuardianError};
use crate::links::LinkStats;
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, ProcessError, quorum};

/// A kill of some nodes.
#[derive(Debug)]
pub(crate) struct Kill {
    scope: Scope,
    victims: Victims,
    killed: Vec<(NodeId, Identity)>,
    ended_before: u64,
}

impl Fault for Kill {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let is_running = |node: &NodeId| cluster.processes().identity(node).is_some();
        let victims = Victims::choose(request, cluster, is_running).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let ended_before = ended_connections(cluster, &nodes);
        Ok(Self { scope: Scope { nodes, detail, leaves_quorum }, victims, killed: Vec::new(), ended_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.victims.nodes {
            self.killed.push((node.clone(), cluster.processes().kill(node).await?));
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        for (node, identity) in &self.killed {
            let status = cluster.processes().ended(node, *identity).await?;
            if status != ExitStatus::KILLED {
                return Err(FaultError::NotProven(format!(
                    "{node} ({identity}) ended with {status} before the kill"
                )));
            }
        }
        self.victims.turns.clear();
        let ends = self.killed.iter().map(|(node, identity)| format!("{node} (pid {})", identity.pid));
        Ok(format!("ended by signal 9: {}", list(ends)))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let ended = ended_connections(cluster, &self.scope.nodes) - self.ended_before;
        (ended > 0).then(|| format!("{ended} connections of {} broke", list(&self.scope.nodes)))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        let mut healed = Vec::new();
        for node in &self.scope.nodes {
            let _turn = cluster.processes().turn(node).await?;
            healed.push(format!("{node} ({})", bring_up(cluster, node).await?));
        }
        Ok(format!("answering again: {}", list(healed)))
    }
}

/// Makes sure that a node has a process that answers; the caller has the turn. A process that cannot be started is
/// the harness's trouble; one that was started and does not answer is the node's.
pub(crate) async fn bring_up(cluster: &impl Cluster, node: &NodeId) -> Result<Identity, FaultError> {
    let processes = cluster.processes();
    let identity = match processes.identity(node) {
        Some(running) => running,
        None => processes.launch(node).await?,
    };
    let ready = cluster.wait_ready(node, READY_LIMIT).await;
    if processes.guardian_died() {
        return Err(ProcessError::Guardian { node: node.clone(), source: GuardianError::Gone }.into());
    }
    let not_ready = |reason| FaultError::NotReady { node: node.clone(), reason };
    match processes.last_end(node).filter(|(ended, _)| *ended == identity) {
        Some((_, status)) => Err(not_ready(format!("its process ended with {status}"))),
        None => ready.map(|()| identity).map_err(not_ready),
    }
}

fn ended_connections(cluster: &impl Cluster, nodes: &[NodeId]) -> u64 {
    let concerns = |node: Option<&NodeId>| node.is_some_and(|node| nodes.contains(node));
    let stats = cluster.links().stats();
    let of_nodes =
        stats.iter().filter(|(link, _)| concerns(link.source.node()) || concerns(link.destination.node()));
    of_nodes.map(|(_, LinkStats { ended, .. })| ended).sum()
}
