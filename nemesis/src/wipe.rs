//! A node loses everything that it has written: it is killed, its data directory emptied, and it starts with nothing.
//!
//! **With membership** the dead member is removed, and the node comes back as a new one. That is what operators are told
//! to do, and a correct system loses nothing.
//!
//! **In place**, where the target offers no membership, the node comes back under its old name and has forgotten what it
//! acknowledged and for whom it voted. Protocols of the family of Raft and Paxos promise nothing for that: of three nodes
//! two acknowledge a write, one of them forgets it, and elects the third. So the directory is emptied only when
//! forgetting cannot matter:
//!
//! 1. all others are up and linked, and the node is killed;
//! 2. a write is acknowledged and **all others** have applied it. So each of them has everything that was acknowledged
//!    before, and no quorum needs the node for it; and each of them follows a leader of the last term in which the node
//!    gave a vote that counts, or of a later one;
//! 3. who leads is restarted, because a leader remembers what the node once had and never sends it again (a follower of
//!    etcd or of our server ends with a failed assertion when it is told to commit what it does not have);
//! 4. the directory is emptied. No other node is wiped until this one has applied everything that is acknowledged.
//!
//! What remains is a system that counts on more than its log and vote: leases, sessions, sequence numbers that a member
//! keeps for itself. A violation may then be the fault's own, so in place it has to be asked for by its name.
//!
//! Evidence: the status that `waitpid` gave; the directory, which held files, holds none; with membership, that of
//! [`crate::members::gone`]. Healed: the node has caught up.

use history::NodeId;

use crate::data::Contents;
use crate::fault::{Fault, FaultError, NODES_PREFIX, READY_LIMIT, Request, Scope, Skip};
use crate::kill::{End, bring_up};
use crate::members::{self, Change};
use crate::membership::{all_are_settled, patiently};
use crate::victims::Victims;
use crate::{Cluster, Link, quorum};

/// A node that loses its data.
#[derive(Debug)]
pub(crate) struct Wipe {
    scope: Scope,
    victims: Victims,
    node: NodeId,
    ended: String,
    /// How it was removed, where there is membership.
    change: Option<Change>,
    lost: Contents,
}

impl Fault for Wipe {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        patiently(cluster, || Self::choose(request, cluster)).await
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        let identity = End::Killed.ask(cluster, &self.node).await?;
        self.ended = End::Killed.seen(cluster, &self.node, identity).await?;
        if cluster.offers_membership() {
            self.change = Some(members::leave(cluster, &self.node, None).await?);
        } else {
            make_dispensable(cluster, &self.node).await?;
            cluster.processes().returns(&self.node);
        }
        self.lost = members::empty(cluster, &self.node).await?;
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        if self.lost.files == 0 {
            return Err(FaultError::NotProven(format!("{} had written nothing", self.node)));
        }
        let mut proof = format!("ended: {}; its data directory held {} and is empty", self.ended, self.lost);
        if let Some(change) = &self.change {
            proof += &format!("; {}", members::gone(cluster, &self.node, change).await?);
        }
        Ok(proof)
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        (self.lost.files > 0).then(|| format!("{} lost {}", self.node, self.lost))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let healed = self.bring_back(cluster).await;
        self.victims.turns.clear();
        healed
    }
}

impl Wipe {
    async fn choose(request: &Request<'_>, cluster: &impl Cluster) -> Result<Self, Skip> {
        all_are_settled(cluster)?;
        let processes = cluster.processes();
        let victims = Victims::choose(request, cluster, |node| processes.is_active(node)).await?;
        let [node] = &victims.nodes[..] else {
            return Err(Skip("one node is wiped at a time".to_owned()));
        };
        let node = node.clone();
        let how = if cluster.offers_membership() {
            if !quorum::is_left_after(cluster, &victims.nodes, &[]) {
                return Err(Skip(format!("no majority would be left without {node}")));
            }
            "comes back as a new member"
        } else {
            others_are_whole(cluster, &node)?;
            "comes back in place"
        };
        let chosen = Scope::describe(request.selector, NODES_PREFIX, &victims.nodes);
        let scope =
            Scope { nodes: victims.nodes.clone(), detail: format!("{chosen}; {how}"), leaves_quorum: true };
        Ok(Self { scope, victims, node, ended: String::new(), change: None, lost: Contents::default() })
    }

    async fn bring_back(&self, cluster: &impl Cluster) -> Result<String, FaultError> {
        if cluster.offers_membership() {
            return members::rejoin(cluster, &self.node, None).await;
        }
        let identity = bring_up(cluster, &self.node).await?;
        let caught_up = cluster.settle(std::slice::from_ref(&self.node), READY_LIMIT).await;
        caught_up.map_err(FaultError::NotProven)?;
        cluster.processes().settles(&self.node);
        Ok(format!("{} ({identity}) answers and has caught up", self.node))
    }
}

/// Sees to it that the others can do without a node that has ended: steps 2 and 3 above.
async fn make_dispensable(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let others = others(cluster, node);
    cluster.settle(&others, READY_LIMIT).await.map_err(FaultError::NotProven)?;
    for other in &others {
        let status = cluster.status(other).await;
        let status =
            status.ok_or_else(|| FaultError::NotProven(format!("{other} does not say whether it leads")))?;
        if status.leads {
            let _turn = cluster.processes().turn(other).await?;
            let identity = End::Killed.ask(cluster, other).await?;
            End::Killed.seen(cluster, other, identity).await?;
            bring_up(cluster, other).await?;
        }
    }
    Ok(())
}

fn others_are_whole(cluster: &impl Cluster, node: &NodeId) -> Result<(), Skip> {
    let (others, processes, links) = (others(cluster, node), cluster.processes(), cluster.links());
    if let Some(down) = others.iter().find(|other| !processes.is_active(other)) {
        return Err(Skip(format!(
            "{down} is down or paused, and only a node that all others can do without is wiped"
        )));
    }
    let held = |one: &NodeId| {
        let to_others = others.iter().filter(|other| *other != one);
        to_others.flat_map(|other| Link::both(one, other)).find(|link| links.rule(link).held)
    };
    match others.iter().find_map(held) {
        Some(link) => {
            Err(Skip(format!("{link} is cut, and only a node that all others can do without is wiped")))
        }
        None => Ok(()),
    }
}

fn others(cluster: &impl Cluster, node: &NodeId) -> Vec<NodeId> {
    cluster.processes().nodes().into_iter().filter(|other| other != node).collect()
}
