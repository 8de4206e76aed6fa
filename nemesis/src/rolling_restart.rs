//! Restarts one node after the other: each is asked to end, started again, and the next follows when it answers. An *upgrade*
//! is a rolling restart into another executable, and back when it is healed.
//!
//! At most one node is down at a time because of it. Evidence: the first node ended and answers again in another process, which
//! executes the other file if it is an upgrade. Effect: at least two nodes were restarted. When its time is over it stops
//! where it is, so an upgrade may have left some nodes as they were. A node that does not answer after its restart is the
//! node's trouble, and a violation: files that a new version wrote and the old one cannot read are found like that.

use history::NodeId;

use crate::cluster::Upgrade;
use crate::dice::Dice;
use crate::fault::{Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, Standing, list};
use crate::kill::{End, bring_up};
use crate::process::{Identity, Image};
use crate::victims::Victims;
use crate::{Cluster, Kind, quorum};

/// How long the cluster is left alone between two nodes, in parts of its unit.
const REST_UNITS: (f64, f64) = (0.1, 1.0);

/// A rolling restart.
#[derive(Debug)]
pub(crate) struct RollingRestart {
    scope: Scope,
    seed: u64,
    upgrade: Option<Upgrade>,
    /// Those that were restarted, in order.
    restarted: Vec<NodeId>,
}

impl Fault for RollingRestart {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let upgrade = (request.kind == Kind::Upgrade)
            .then(|| cluster.upgrade().ok_or_else(|| Skip("there is no executable to upgrade to".into())))
            .transpose()?;
        // Each node is changed in a turn of its own, so the turns of all of them are given back here.
        let chosen =
            Victims::choose(request, cluster, |node| cluster.processes().is_active(node)).await?.nodes;
        let nodes = Dice::new(request.seed).shuffled(&chosen);
        let leaves_quorum =
            nodes.iter().all(|node| quorum::is_left_after(cluster, std::slice::from_ref(node), &[]));
        let mut detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        if let Some(upgrade) = &upgrade {
            detail += &format!("; to {}", upgrade.path.display());
        }
        let scope = Scope { nodes, detail, leaves_quorum };
        Ok(Self { scope, seed: request.seed, upgrade, restarted: Vec::new() })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, _cluster: &C) -> Result<(), FaultError> {
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        match self.scope.nodes.first().cloned() {
            Some(first) => self.restart(cluster, &first).await,
            None => Err(FaultError::NotProven("there is no node to restart".into())),
        }
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        let mut dice = Dice::new(!self.seed);
        for node in self.scope.nodes.clone().into_iter().skip(1) {
            if !standing.lasts(cluster.unit().mul_f64(dice.log_even(REST_UNITS.0, REST_UNITS.1))).await {
                break;
            }
            self.restart(cluster, &node).await?;
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        (self.restarted.len() > 1).then(|| format!("restarted in this order: {}", list(&self.restarted)))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        for node in &self.scope.nodes {
            let _turn = cluster.processes().turn(node).await?;
            if let Some(upgrade) = &self.upgrade {
                downgrade(cluster, node, upgrade).await?;
            } else if !cluster.processes().is_paused(node) {
                bring_up(cluster, node).await?;
            }
        }
        Ok(format!("answering: {}", list(&self.scope.nodes)))
    }
}

impl RollingRestart {
    /// Restarts a node, unless another fault has it stopped or down.
    async fn restart(&mut self, cluster: &impl Cluster, node: &NodeId) -> Result<String, FaultError> {
        let processes = cluster.processes();
        let _turn = processes.turn(node).await?;
        if !processes.is_active(node) {
            return Ok(format!("{node} is left to another fault"));
        }
        let identity = End::Orderly.ask(cluster, node).await?;
        let ended = End::Orderly.seen(cluster, node, identity).await?;
        if let Some(upgrade) = &self.upgrade {
            processes.set_executable(node, upgrade.to)?;
        }
        let started = bring_up(cluster, node).await?;
        if let Some(upgrade) = &self.upgrade {
            executes(node, started, upgrade)?;
        }
        self.restarted.push(node.clone());
        Ok(format!("ended: {ended}; answers again ({started})"))
    }
}

/// Proves that a process is one of the other executable.
fn executes(node: &NodeId, process: Identity, upgrade: &Upgrade) -> Result<(), FaultError> {
    match Image::of_process(process.pid) {
        Ok(image) if image == upgrade.image => Ok(()),
        Ok(_) => Err(FaultError::NotProven(format!(
            "{node} ({process}) does not execute {}; if that is a script, name the program that it starts",
            upgrade.path.display()
        ))),
        Err(error) => Err(FaultError::NotProven(format!("cannot see what {node} executes: {error}"))),
    }
}

/// Gives a node its own executable back, and a process of it.
async fn downgrade(cluster: &impl Cluster, node: &NodeId, upgrade: &Upgrade) -> Result<(), FaultError> {
    let processes = cluster.processes();
    let was_upgraded = processes.set_executable(node, upgrade.from)? == upgrade.to;
    if let Some(identity) = processes.identity(node).filter(|_| was_upgraded) {
        // What another fault stopped does not notice that it is asked to end.
        let end = if processes.is_paused(node) { End::Killed } else { End::Orderly };
        end.ask(cluster, node).await?;
        end.seen(cluster, node, identity).await?;
    }
    if !processes.is_paused(node) {
        bring_up(cluster, node).await?;
    }
    Ok(())
}
