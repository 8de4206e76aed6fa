//! Members leave the cluster by its own interface, and come back as new members with empty data directories.
//!
//! | selector | what it does |
//! |---|---|
//! | `remove one`, `remove follower`, `remove leader` | one member is removed, and added again when the fault is healed |
//! | `replace one` | one member is removed and added again at once |
//! | `shrink minority` | a minority is removed one after the other, and added again one after the other |
//!
//! A majority of all nodes stays up and connected, so those that are left have a quorum of their own. Where other faults do
//! not let it, or another node is away or has not caught up, it waits for a while and is then skipped. Evidence: another
//! node than the one that was asked does not list the member, by a linearizable read, and the process of the removed
//! member has ended by itself or answers no such read. A removed process may end, and what it then logs is not held
//! against it. Healed: see [`crate::members::rejoin`].

use history::NodeId;
use tokio::time::Instant;

use crate::fault::{Fault, FaultError, LOOK_INTERVAL, Request, Scope, Skip, Standing, list};
use crate::members::{self, Change};
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// How long a fault that takes a member waits for others that do not let it. They end, and none begins meanwhile.
const PATIENCE_UNITS: u32 = 6;

/// What is drawn; what occurs twice is drawn twice as often.
pub(crate) const SELECTORS: &[&str] =
    &["remove leader", "remove leader", "remove follower", "remove one", "replace one", "shrink minority"];

/// A change of members.
#[derive(Debug)]
pub(crate) struct ChangeMembers {
    scope: Scope,
    victims: Victims,
    /// Whether they come back at once.
    replaces: bool,
    changes: Vec<Change>,
    proof: String,
}

impl Fault for ChangeMembers {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        if !cluster.offers_membership() {
            return Err(Skip("the target offers no changes of members".to_owned()));
        }
        patiently(cluster, || Self::choose(request, cluster)).await
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.victims.nodes {
            self.changes.push(members::leave(cluster, node, None).await?);
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for (node, change) in self.victims.nodes.iter().zip(&self.changes) {
            proofs.push(members::gone(cluster, node, change).await?);
        }
        self.proof = list(proofs);
        Ok(self.proof.clone())
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        if self.replaces {
            standing.tell(self.bring_back(cluster).await?).await;
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        (!self.proof.is_empty()).then(|| format!("{} left the cluster", list(&self.victims.nodes)))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let healed = self.bring_back(cluster).await;
        self.victims.turns.clear();
        healed
    }
}

impl ChangeMembers {
    async fn choose(request: &Request<'_>, cluster: &impl Cluster) -> Result<Self, Skip> {
        all_are_settled(cluster)?;
        let (verb, who) = request.selector.split_once(' ').ok_or_else(|| request.unknown_selector())?;
        if !["remove", "replace", "shrink"].contains(&verb) {
            return Err(request.unknown_selector());
        }
        let leader = if who == "follower" { cluster.leader().await } else { None };
        let selector = if who == "follower" { "one" } else { who };
        let eligible = |node: &NodeId| cluster.processes().is_active(node) && leader.as_ref() != Some(node);
        let victims = Victims::choose(&Request { selector, ..*request }, cluster, eligible).await?;
        let nodes = victims.nodes.clone();
        if !quorum::is_left_after(cluster, &nodes, &[]) {
            return Err(Skip(format!("no majority would be left without {}", list(&nodes))));
        }
        let detail = Scope::describe(request.selector, &format!("{verb} nodes "), &nodes);
        let scope = Scope { nodes, detail, leaves_quorum: true };
        let replaces = verb == "replace";
        Ok(Self { scope, victims, replaces, changes: Vec::new(), proof: String::new() })
    }

    async fn bring_back(&self, cluster: &impl Cluster) -> Result<String, FaultError> {
        let mut back = Vec::new();
        for node in &self.victims.nodes {
            back.push(members::rejoin(cluster, node, None).await?);
        }
        Ok(list(back))
    }
}

/// Chooses again and again, until something is chosen or patience is at its end.
pub(crate) async fn patiently<T, F>(cluster: &impl Cluster, choose: impl Fn() -> F) -> Result<T, Skip>
where
    F: Future<Output = Result<T, Skip>>,
{
    let deadline = Instant::now() + cluster.unit() * PATIENCE_UNITS;
    loop {
        match choose().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(LOOK_INTERVAL).await,
            chosen => return chosen,
        }
    }
}

/// Two faults that take data or members away, each a minority, could take a majority together.
pub(crate) fn all_are_settled(cluster: &impl Cluster) -> Result<(), Skip> {
    let processes = cluster.processes();
    match processes.nodes().into_iter().find(|node| !processes.is_settled(node)) {
        Some(node) => Err(Skip(format!("{node} is no member at this moment, or has not caught up"))),
        None => Ok(()),
    }
}
