//! What an operator does to a running system: hands leadership over, compacts, defragments, takes a snapshot.
//!
//! The system does it by itself; nothing is to be healed. It may refuse while other faults stand, so it is asked again for
//! some time. Evidence: the system says that it did it; of a transfer, that somebody else is seen to lead.

use history::NodeId;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, LOOK_INTERVAL, NODES_PREFIX, Request, Scope, Skip};
use crate::victims::Victims;
use crate::{Cluster, Kind, Operation, quorum};

/// One operation.
#[derive(Debug)]
pub(crate) struct Operate {
    scope: Scope,
    victims: Victims,
    node: NodeId,
    operation: Operation,
    /// What it did, in words.
    done: String,
}

impl Fault for Operate {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let active = |node: &NodeId| cluster.processes().is_active(node);
        let victims = Victims::choose(request, cluster, active).await?;
        let node = victims.nodes.first().cloned().ok_or_else(|| Skip("no node is up".to_owned()))?;
        let operation = match request.kind {
            Kind::Transfer => {
                let others: Vec<NodeId> = cluster
                    .processes()
                    .nodes()
                    .into_iter()
                    .filter(|other| *other != node && active(other))
                    .collect();
                let to = Dice::new(!request.seed).pick(&others).cloned();
                Operation::Transfer { to: to.ok_or_else(|| Skip("nobody else is up to lead".to_owned()))? }
            }
            _ => Operation::Named(request.argument.unwrap_or_default().to_owned()),
        };
        let detail =
            format!("{}; {operation}", Scope::describe(request.selector, NODES_PREFIX, &victims.nodes));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let scope = Scope { nodes: victims.nodes.clone(), detail, leaves_quorum };
        Ok(Self { scope, victims, node, operation, done: String::new() })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        while self.done.is_empty() {
            match self.ask(cluster).await {
                Ok(done) => self.done = done,
                Err(reason) if Instant::now() > deadline => {
                    return Err(FaultError::NotProven(format!("{}: {reason}", self.scope.detail)));
                }
                Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
        self.victims.turns.clear();
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, _cluster: &C) -> Result<String, FaultError> {
        Ok(self.done.clone())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        (!self.done.is_empty()).then(|| self.done.clone())
    }

    async fn heal<C: Cluster>(&mut self, _cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        Ok("there is nothing to take back".to_owned())
    }
}

impl Operate {
    async fn ask(&mut self, cluster: &impl Cluster) -> Result<String, String> {
        let Operation::Transfer { to } = &self.operation else {
            return cluster.operate(&self.operation, &self.node).await;
        };
        // Somebody else may lead by now.
        let leader = cluster.leader().await.filter(|leader| leader != to);
        let leader = leader.ok_or_else(|| format!("{to} leads already, or nobody does"))?;
        let asked = cluster.operate(&self.operation, &leader).await?;
        let deadline = Instant::now() + cluster.unit();
        while Instant::now() < deadline {
            if let Some(now) = cluster.leader().await.filter(|now| *now != leader) {
                return Ok(format!("{asked}; {now} leads after {leader}"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(format!("{asked}, but {leader} leads still"))
    }
}
