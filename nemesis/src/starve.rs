//! Lets nodes run for a small part of the time: all their tasks are stopped and continued in turns, many times a second.
//!
//! To the node it is a processor that others use; it answers late instead of not at all. The turns are shorter than the
//! time in which the system notices a failure, so a starved leader often keeps its office. Other faults leave
//! the processes of a starved node alone until it is healed. Evidence: every task of the whole tree was seen in state `T`, and
//! none after it. It takes no control group and no privilege; what it does not do is leave the node memory and caches
//! that others use too.

use std::time::Duration;

use history::NodeId;

use crate::dice::Dice;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, Standing, list, until,
};
use crate::pause::{resume, traffic};
use crate::process::TaskCount;
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// The length of a turn, stopped and running together, in parts of the cluster's unit.
const TURN_UNITS: (f64, f64) = (0.05, 0.4);
/// The part of a turn in which the node stands still.
const STOPPED_PART: (f64, f64) = (0.5, 0.9);

/// Starvation of some nodes.
#[derive(Debug)]
pub(crate) struct Starve {
    scope: Scope,
    victims: Victims,
    stopped: Duration,
    running: Duration,
    /// In how many turns a node was sent something while it stood still.
    missed: u64,
    turns: u64,
}

impl Fault for Starve {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let victims = Victims::choose(request, cluster, |node| cluster.processes().is_active(node)).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let mut dice = Dice::new(!request.seed);
        let turn = cluster.unit().mul_f64(dice.log_even(TURN_UNITS.0, TURN_UNITS.1));
        let stopped = turn.mul_f64(dice.even(STOPPED_PART.0, STOPPED_PART.1));
        let running = turn - stopped;
        let chosen = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let detail = format!("{chosen}; stopped for {stopped:.0?}, running for {running:.0?}");
        let scope = Scope { nodes, detail, leaves_quorum };
        Ok(Self { scope, victims, stopped, running, missed: 0, turns: 0 })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        stop(cluster, &self.scope.nodes).await
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for node in &self.scope.nodes {
            let count = || TaskCount::of(&cluster.processes().tree(node));
            if !until(EVIDENCE_LIMIT, || count().all_stopped()).await {
                let running = count().running;
                return Err(FaultError::NotProven(format!("{running} tasks of {node} were not stopped")));
            }
            proofs.push(format!("{node} ({} tasks)", count().stopped));
        }
        go_on(cluster, &self.scope.nodes).await?;
        Ok(format!("stopped and continued: {}", list(proofs)))
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        while standing.lasts(self.running).await {
            self.turn(cluster).await?;
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        let (missed, turns) = (self.missed, self.turns);
        (missed > 0).then(|| format!("bytes arrived while it stood still: {missed} times in {turns} turns"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let healed = go_on(cluster, &self.scope.nodes).await?;
        self.victims.turns.clear();
        Ok(list(healed))
    }
}

impl Starve {
    async fn turn(&mut self, cluster: &impl Cluster) -> Result<(), FaultError> {
        let nodes = self.scope.nodes.clone();
        stop(cluster, &nodes).await?;
        let received = || nodes.iter().map(|node| traffic(cluster, node).received).collect::<Vec<_>>();
        let before = received();
        tokio::time::sleep(self.stopped).await;
        self.turns += 1;
        self.missed += before.iter().zip(received()).filter(|(before, after)| *before < after).count() as u64;
        go_on(cluster, &nodes).await?;
        Ok(())
    }
}

/// Stops those that run; one that crashed is brought back by the end of the run.
async fn stop(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<(), FaultError> {
    for node in nodes.iter().filter(|node| cluster.processes().identity(node).is_some()) {
        cluster.processes().pause(node).await?;
    }
    Ok(())
}

async fn go_on(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<Vec<String>, FaultError> {
    let mut resumed = Vec::new();
    for node in nodes {
        if let Some(identity) = cluster.processes().identity(node) {
            resumed.push(resume(cluster.processes(), node, identity).await?);
        }
    }
    Ok(resumed)
}
