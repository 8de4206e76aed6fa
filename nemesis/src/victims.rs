//! Which nodes a fault of processes is about: `one`, `leader`, `working-leader`, `minority`, `majority`, `all`, or `nodes n1 n2`.

use history::NodeId;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::Cluster;
use crate::dice::Dice;
use crate::fault::{LOOK_INTERVAL, NODES_PREFIX, Request, Skip};
use crate::quorum::{self, majority, minority};

/// How long a leader that reaches a majority is waited for.
const SUCCESSOR_LIMIT_UNITS: u32 = 4;

/// The chosen nodes, and the right to change their processes until it is given back.
#[derive(Debug)]
pub(crate) struct Victims {
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) turns: Vec<OwnedMutexGuard<()>>,
}

impl Victims {
    /// Chooses among the nodes that are `eligible` and that no other fault is about to change.
    pub(crate) async fn choose<C: Cluster>(
        request: &Request<'_>,
        cluster: &C,
        eligible: impl Fn(&NodeId) -> bool + Send,
    ) -> Result<Self, Skip> {
        let processes = cluster.processes();
        let all = processes.nodes();
        let candidates: Vec<NodeId> =
            all.iter().filter(|node| !processes.is_away(node) && eligible(node)).cloned().collect();
        let mut order = Dice::new(request.seed).shuffled(&candidates);
        let chosen = match request.selector {
            "leader" => vec![eligible_leader(cluster, &candidates).await?],
            "working-leader" => vec![working_leader(cluster, &candidates).await?],
            "one" => first(&mut order, 1)?,
            "minority" => first(&mut order, minority(all.len()))?,
            "majority" => first(&mut order, majority(all.len()))?,
            "all" => first(&mut order, candidates.len())?,
            named => by_name(named, &candidates).ok_or_else(|| request.unknown_selector())??,
        };
        let mut victims = Self { nodes: chosen, turns: Vec::new() };
        for node in &victims.nodes {
            let turn = processes
                .try_turn(node)
                .ok_or_else(|| Skip(format!("{node} is being changed by another fault")))?;
            victims.turns.push(turn);
        }
        victims.nodes.sort();
        Ok(victims)
    }
}

async fn eligible_leader(cluster: &impl Cluster, candidates: &[NodeId]) -> Result<NodeId, Skip> {
    let leader = cluster.leader().await.ok_or_else(|| Skip("no leader is known".into()))?;
    if candidates.contains(&leader) {
        Ok(leader)
    } else {
        Err(Skip(format!("{leader}, which led, is down or paused")))
    }
}

/// The leader that reaches a majority. When there is none it is waited for, because a successor is about to be elected.
async fn working_leader(cluster: &impl Cluster, candidates: &[NodeId]) -> Result<NodeId, Skip> {
    let deadline = Instant::now() + cluster.unit() * SUCCESSOR_LIMIT_UNITS;
    loop {
        let leader = cluster.leader().await.filter(|leader| candidates.contains(leader));
        if let Some(leader) = leader.filter(|leader| quorum::reaches_majority(cluster, leader)) {
            return Ok(leader);
        }
        if Instant::now() > deadline {
            return Err(Skip("no leader that reaches a majority appeared".into()));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// `None` when the selector names no nodes at all.
fn by_name(selector: &str, candidates: &[NodeId]) -> Option<Result<Vec<NodeId>, Skip>> {
    let names = selector.strip_prefix(NODES_PREFIX)?.split(' ').map(|name| NodeId(name.to_owned()));
    let candidate = |node: NodeId| {
        if candidates.contains(&node) {
            Ok(node)
        } else {
            Err(Skip(format!("{node} is no node, or is down or paused")))
        }
    };
    Some(names.map(candidate).collect())
}

fn first(order: &mut Vec<NodeId>, count: usize) -> Result<Vec<NodeId>, Skip> {
    if count == 0 {
        return Err(Skip("no node is left to choose, or the cluster is too small".into()));
    }
    if order.len() < count {
        return Err(Skip(format!("{count} nodes are wanted, but only {} are up", order.len())));
    }
    order.truncate(count);
    Ok(std::mem::take(order))
}
