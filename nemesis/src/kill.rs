//! Ends the processes of nodes, with `SIGKILL`, with `SIGTERM` or by a power failure, and starts them again.
//!
//! Evidence: the parent of the processes saw them end by signal 9, or in an orderly way, with nothing of their trees left.
//! Healed: every node has a new process that answers. A paused node is killed like any other; it is not asked to end,
//! because it would not notice. What does not end in time after `SIGTERM` is killed, as a service manager does. Files
//! keep what was written, so this is a crash of a process, not of a machine; a power failure also takes what was
//! written since the last fsync (see [`crate::disk`]): processes first, disk second, never the other way round.

use history::NodeId;

use crate::dice::Dice;
use crate::disk::Loss;
use crate::fault::{Fault, FaultError, NODES_PREFIX, READY_LIMIT, Request, Scope, Skip, list};
use crate::guardian::{ExitStatus, GuardianError};
use crate::links::LinkStats;
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, Kind, ProcessError, quorum};

/// An end of some nodes.
#[derive(Debug)]
pub(crate) struct Kill {
    end: End,
    scope: Scope,
    victims: Victims,
    killed: Vec<(NodeId, Identity)>,
    ended_before: u64,
    /// What becomes of the disks when the power fails is drawn from this.
    seed: u64,
    lost: Loss,
}

impl Fault for Kill {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let end = match request.kind {
            Kind::Term => End::Orderly,
            Kind::Power => End::Powerless,
            _ => End::Killed,
        };
        let processes = cluster.processes();
        let eligible = |node: &NodeId| match end {
            End::Killed => processes.identity(node).is_some(),
            End::Powerless => processes.identity(node).is_some() && processes.disk(node).is_some(),
            End::Orderly => processes.is_active(node),
        };
        let victims = Victims::choose(request, cluster, eligible).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let ended_before = ended_connections(cluster, &nodes);
        let scope = Scope { nodes, detail, leaves_quorum };
        let (killed, seed, lost) = (Vec::new(), !request.seed, Loss::default());
        Ok(Self { end, scope, victims, killed, ended_before, seed, lost })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.victims.nodes {
            self.killed.push((node.clone(), self.end.ask(cluster, node).await?));
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut ends = Vec::new();
        for (node, identity) in &self.killed {
            ends.push(self.end.seen(cluster, node, *identity).await?);
        }
        if self.end == End::Powerless {
            ends.extend(self.cut_power(cluster).await?);
        }
        self.victims.turns.clear();
        Ok(format!("ended: {}", list(ends)))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        if !self.lost.is_none() {
            return Some(format!("the disks: {}", self.lost));
        }
        let ended = ended_connections(cluster, &self.scope.nodes) - self.ended_before;
        (ended > 0).then(|| format!("{ended} connections of {} broke", list(&self.scope.nodes)))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        bring_up_all(cluster, &self.scope.nodes).await
    }
}

impl Kill {
    /// Takes from the disks what the power failure takes; the processes are gone.
    async fn cut_power<C: Cluster>(&mut self, cluster: &C) -> Result<Vec<String>, FaultError> {
        let mut losses = Vec::new();
        let mut dice = Dice::new(self.seed);
        for node in &self.victims.nodes {
            if let Some(loss) = cluster.processes().cut_power(node, dice.seed()).await? {
                losses.push(format!("the disk of {node}: {loss}"));
                self.lost += loss;
            }
        }
        Ok(losses)
    }
}

/// A way to end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `SIGKILL`.
    Killed,
    /// `SIGKILL`, after which the disk saves nothing more.
    Powerless,
    /// `SIGTERM`, and `SIGKILL` for what does not end.
    Orderly,
}

impl End {
    /// Sends the signal; the caller has the turn.
    pub(crate) async fn ask(self, cluster: &impl Cluster, node: &NodeId) -> Result<Identity, ProcessError> {
        match self {
            Self::Killed => cluster.processes().kill(node).await,
            Self::Powerless => cluster.processes().kill_powerless(node).await,
            Self::Orderly => cluster.processes().terminate(node).await,
        }
    }

    /// Waits until nothing of the process is left, and says how it ended.
    pub(crate) async fn seen(
        self,
        cluster: &impl Cluster,
        node: &NodeId,
        identity: Identity,
    ) -> Result<String, FaultError> {
        let processes = cluster.processes();
        let (status, asked_twice) = match processes.ended(node, identity).await {
            Err(ProcessError::Immortal { .. }) if self == Self::Orderly => {
                processes.kill(node).await?;
                (processes.ended(node, identity).await?, true)
            }
            status => (status?, false),
        };
        let pid = identity.pid;
        match self {
            _ if asked_twice => Ok(format!("{node} (pid {pid}) ignored SIGTERM and was killed")),
            Self::Killed | Self::Powerless if status == ExitStatus::KILLED => {
                Ok(format!("{node} (pid {pid}) by signal 9"))
            }
            Self::Orderly if status.is_orderly() => Ok(format!("{node} (pid {pid}) with {status}")),
            Self::Killed | Self::Powerless | Self::Orderly => Err(FaultError::NotProven(format!(
                "{node} ({identity}) ended with {status}, which is not what it was asked for"
            ))),
        }
    }
}

/// Makes sure that nodes have processes that answer, and says which. All are started before the first is waited
/// for, because one may wait for the others before it answers.
pub(crate) async fn bring_up_all(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<String, FaultError> {
    let processes = cluster.processes();
    let (mut turns, mut taken) = (Vec::new(), Vec::new());
    for node in nodes {
        match processes.try_turn(node) {
            Some(turn) => {
                turns.push(turn);
                start(cluster, node).await?;
            }
            None => taken.push(node),
        }
    }
    // Who has one of these turns may wait for a quorum of the nodes above before it gives it back.
    for node in taken {
        turns.push(processes.turn(node).await?);
        start(cluster, node).await?;
    }
    let mut healed = Vec::new();
    for node in nodes {
        healed.push(format!("{node} ({})", bring_up(cluster, node).await?));
    }
    Ok(format!("answering again: {}", list(healed)))
}

/// Makes sure that a node has a process; the caller has the turn.
pub(crate) async fn start(cluster: &impl Cluster, node: &NodeId) -> Result<Identity, ProcessError> {
    match cluster.processes().identity(node) {
        Some(running) => Ok(running),
        None if cluster.processes().is_away(node) => Err(ProcessError::NoMember(node.clone())),
        None => cluster.processes().launch(node).await,
    }
}

/// Makes sure that a node has a process that answers; the caller has the turn. A process that cannot be started is
/// the harness's trouble; one that was started and does not answer is the node's.
pub(crate) async fn bring_up(cluster: &impl Cluster, node: &NodeId) -> Result<Identity, FaultError> {
    let processes = cluster.processes();
    let identity = start(cluster, node).await?;
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
