//! Kills nodes again and again: each time they are started, and killed before or soon after they are ready.
//!
//! What a restart does (reading its log, truncating it, joining its peers) is interrupted at arbitrary points, which a single
//! kill hardly ever does. Evidence: as for a kill, of the first round. Effect: a node was killed while it started. Healed:
//! every node has a process that answers. A node that ends by itself in between has crashed.

use std::time::Duration;

use history::NodeId;

use crate::dice::Dice;
use crate::fault::{Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, Standing, list};
use crate::kill::{End, bring_up_all, start};
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// How long a node is left alone after its start, in parts of the cluster's unit.
const LIFE_UNITS: (f64, f64) = (0.02, 1.0);
/// How long it stays down.
const DOWN_UNITS: (f64, f64) = (0.01, 0.2);

/// A crash loop of some nodes.
#[derive(Debug)]
pub(crate) struct CrashLoop {
    scope: Scope,
    victims: Victims,
    seed: u64,
    /// The processes of the first round.
    killed: Vec<(NodeId, Identity)>,
    /// Kills after the first round.
    again: u32,
}

impl Fault for CrashLoop {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let is_running = |node: &NodeId| cluster.processes().identity(node).is_some();
        let victims = Victims::choose(request, cluster, is_running).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let scope = Scope { nodes, detail, leaves_quorum };
        Ok(Self { scope, victims, seed: request.seed, killed: Vec::new(), again: 0 })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.victims.nodes {
            self.killed.push((node.clone(), End::Killed.ask(cluster, node).await?));
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut ends = Vec::new();
        for (node, identity) in &self.killed {
            ends.push(End::Killed.seen(cluster, node, *identity).await?);
        }
        self.victims.turns.clear();
        Ok(format!("ended: {}", list(ends)))
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        let mut dice = Dice::new(!self.seed);
        for node in self.scope.nodes.clone().iter().cycle() {
            let down = cluster.unit().mul_f64(dice.log_even(DOWN_UNITS.0, DOWN_UNITS.1));
            if !standing.lasts(down).await {
                break;
            }
            let life = cluster.unit().mul_f64(dice.log_even(LIFE_UNITS.0, LIFE_UNITS.1));
            self.start_and_kill(cluster, node, life).await?;
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        let nodes = list(&self.scope.nodes);
        (self.again > 0).then(|| format!("killed {} times more while starting: {nodes}", self.again))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        bring_up_all(cluster, &self.scope.nodes).await
    }
}

impl CrashLoop {
    async fn start_and_kill(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
        life: Duration,
    ) -> Result<(), FaultError> {
        let processes = cluster.processes();
        let _turn = processes.turn(node).await?;
        start(cluster, node).await?;
        tokio::time::sleep(life).await;
        // A node that ended by itself has crashed, which its record says; it is started again.
        if let Some(identity) = processes.identity(node) {
            processes.kill(node).await?;
            End::Killed.seen(cluster, node, identity).await?;
            self.again += 1;
        }
        Ok(())
    }
}
