//! How a node leaves the cluster and comes back: with another process, an empty data directory and, for the system, as
//! somebody else.
//!
//! The caller has the turn of the node from before [`leave`] until after [`rejoin`], so no other fault changes its process
//! meanwhile; a node that is away is not started by anybody else ([`crate::Processes::is_away`]).
//!
//! A request without an answer may have been carried out, or be carried out later. So who is a member is asked before every
//! request, by a linearizable read, and [`rejoin`] first makes sure that the node is no member: a late removal of the
//! old member cannot be about the new one.

use std::collections::BTreeSet;
use std::time::Duration;

use history::NodeId;
use tokio::time::Instant;

use crate::data::Contents;
use crate::fault::{EVIDENCE_LIMIT, FaultError, LOOK_INTERVAL, READY_LIMIT, list};
use crate::kill::bring_up;
use crate::{Cluster, Operation, quorum};

/// How long a change of members may be refused because other faults have the quorum.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// A change of members that was made.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Who was asked for it.
    asked: NodeId,
    /// What it did, in words.
    words: String,
}

/// Takes a node out of the cluster, asked at `at` or whoever reaches a majority. Its process may end by itself from here on.
pub(crate) async fn leave(
    cluster: &impl Cluster,
    node: &NodeId,
    at: Option<&NodeId>,
) -> Result<Change, FaultError> {
    may_leave(cluster, node);
    change(cluster, &Operation::Remove { node: node.clone() }, at).await
}

/// From now on the process of a node may find that it is no member, and end.
pub(crate) fn may_leave(cluster: &impl Cluster, node: &NodeId) {
    cluster.processes().excuse(node);
    cluster.processes().leaves(node);
}

/// Proves that a node is no member: another node than the one that was asked does not list it, and its process has ended by
/// itself or answers no linearizable read.
pub(crate) async fn gone(
    cluster: &impl Cluster,
    node: &NodeId,
    change: &Change,
) -> Result<String, FaultError> {
    let deadline = Instant::now() + EVIDENCE_LIMIT;
    loop {
        match (not_listed(cluster, node, change).await, serves_nobody(cluster, node).await) {
            (Ok(list), Ok(end)) => return Ok(format!("{}; {list}; {end}", change.words)),
            (Err(reason), _) | (_, Err(reason)) if Instant::now() > deadline => {
                return Err(FaultError::NotProven(format!("{node} was removed, but {reason}")));
            }
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

async fn not_listed(cluster: &impl Cluster, node: &NodeId, change: &Change) -> Result<String, String> {
    let mut reason = "nobody else can be asked".to_owned();
    for witness in askable(cluster, node, None).into_iter().filter(|witness| *witness != change.asked) {
        match cluster.members(&witness).await {
            Ok(members) if members.contains(node) => reason = format!("{witness} lists it still"),
            Ok(members) => return Ok(format!("{witness} lists {}", list(members))),
            Err(error) => reason = format!("{witness} does not say who is a member: {error}"),
        }
    }
    Err(reason)
}

async fn serves_nobody(cluster: &impl Cluster, node: &NodeId) -> Result<String, String> {
    let processes = cluster.processes();
    let read = cluster.members(node).await;
    if processes.identity(node).is_none() {
        let end = processes.last_end(node).map_or("no status".to_owned(), |(_, status)| status.to_string());
        return Ok(format!("its process has ended with {end}"));
    }
    match read {
        Ok(_) => Err("it answers linearizable reads still".to_owned()),
        Err(error) => Ok(format!("it answers no linearizable read ({error})")),
    }
}

/// Brings a node that is away back as a new member with nothing, asked at `at` or whoever reaches a majority; starts it and
/// waits until it and a majority say that everybody is a member. Where the node is a member it only has to answer.
pub(crate) async fn rejoin(
    cluster: &impl Cluster,
    node: &NodeId,
    at: Option<&NodeId>,
) -> Result<String, FaultError> {
    let processes = cluster.processes();
    if processes.is_away(node) {
        end(cluster, node).await?;
        change(cluster, &Operation::Remove { node: node.clone() }, at).await?;
        processes.empty(node, &cluster.data(node)).await?;
        let added = change(cluster, &Operation::Add { node: node.clone() }, at).await?;
        let members = lists(cluster, node, &added.asked).await?;
        processes.set_arguments(node, cluster.arguments_to_join(node, &members));
        processes.returns(node);
    }
    join(cluster, node).await?;
    promote(cluster, node).await?;
    let listed = everybody_lists(cluster, node).await?;
    processes.no_longer_excuse(node);
    processes.settles(node);
    Ok(listed)
}

/// Removes what a node without a process has written, and proves that there is nothing.
pub(crate) async fn empty(cluster: &impl Cluster, node: &NodeId) -> Result<Contents, FaultError> {
    let (processes, directory) = (cluster.processes(), cluster.data(node));
    let held = processes.empty(node, &directory).await?;
    let left = processes.contents(node, &directory).await?;
    if left == Contents::default() {
        Ok(held)
    } else {
        Err(FaultError::NotProven(format!("the data directory of {node} still holds {left}")))
    }
}

/// Sees to it that a node has no process.
async fn end(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let processes = cluster.processes();
    if let Some(identity) = processes.identity(node) {
        // It may end by itself at this very moment; that it has ended is what counts.
        let _ = processes.kill(node).await;
        processes.ended(node, identity).await?;
    }
    Ok(())
}

/// Asks for a change until it is made.
async fn change(
    cluster: &impl Cluster,
    operation: &Operation,
    at: Option<&NodeId>,
) -> Result<Change, FaultError> {
    let (node, member) = match operation {
        Operation::Add { node } => (node, true),
        Operation::Remove { node } => (node, false),
        other => unreachable!("invariant: {other} does not change the members"),
    };
    let deadline = Instant::now() + CHANGE_LIMIT;
    let mut reason = "nobody who can be asked reaches a majority".to_owned();
    loop {
        for asked in askable(cluster, node, at) {
            match ask(cluster, operation, (node, member), &asked).await {
                Ok(words) => return Ok(Change { asked, words }),
                Err(error) => reason = error,
            }
        }
        if Instant::now() > deadline {
            return Err(FaultError::NotProven(format!("{operation}: {reason}")));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Asks for a change once, unless it is made already.
async fn ask(
    cluster: &impl Cluster,
    operation: &Operation,
    (node, member): (&NodeId, bool),
    asked: &NodeId,
) -> Result<String, String> {
    let members = cluster.members(asked).await?;
    if members.contains(node) == member {
        return Ok(format!("{asked} lists {}", list(members)));
    }
    let done = cluster.operate(operation, asked).await?;
    Ok(format!("{asked} was asked: {done}"))
}

/// Who can be asked about a node: the only one that is named; or those who reach a majority, and after them those who may be
/// members still, because one of them may lead, and some systems take orders from nobody else. Who is asked proves
/// with a linearizable read that it belongs.
fn askable(cluster: &impl Cluster, node: &NodeId, at: Option<&NodeId>) -> Vec<NodeId> {
    let processes = cluster.processes();
    let wanted = |asked: &NodeId| asked != node && at.is_none_or(|at| at == asked);
    let (away, members): (Vec<NodeId>, Vec<NodeId>) =
        processes.nodes().into_iter().filter(wanted).partition(|asked| processes.is_away(asked));
    let members = members.into_iter().filter(|asked| quorum::reaches_majority(cluster, asked));
    members.chain(away.into_iter().filter(|asked| processes.is_active(asked))).collect()
}

/// The members, with the node that was added, as the one tells who was asked to add it.
async fn lists(
    cluster: &impl Cluster,
    node: &NodeId,
    asked: &NodeId,
) -> Result<BTreeSet<NodeId>, FaultError> {
    let deadline = Instant::now() + CHANGE_LIMIT;
    loop {
        let reason = match cluster.members(asked).await {
            Ok(members) if members.contains(node) => return Ok(members),
            Ok(members) => format!("{asked} lists only {}", list(members)),
            Err(error) => format!("{asked}: {error}"),
        };
        if Instant::now() > deadline {
            return Err(FaultError::NotProven(format!("{node} was added, but {reason}")));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Starts a new member. It may end when it does not reach the others, because of another fault; then it is started again.
async fn join(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        match bring_up(cluster, node).await {
            Err(FaultError::NotReady { .. })
                if cluster.processes().identity(node).is_none() && Instant::now() < deadline =>
            {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            result => return result.map(|_| ()),
        }
    }
}

/// Lets a new member vote, as soon as it can.
async fn promote(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let operation = Operation::Promote { node: node.clone() };
    let deadline = Instant::now() + CHANGE_LIMIT;
    let mut reason = "nobody who can be asked reaches a majority".to_owned();
    while Instant::now() < deadline {
        for asked in askable(cluster, node, None) {
            match cluster.operate(&operation, &asked).await {
                Ok(_) => return Ok(()),
                Err(error) => reason = error,
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(FaultError::NotProven(format!("{operation}: {reason}")))
}

/// Waits until the node and a majority list every node that is not away. That the node answers such a read also means
/// that it has caught up with everything that was acknowledged before.
async fn everybody_lists(cluster: &impl Cluster, node: &NodeId) -> Result<String, FaultError> {
    let deadline = Instant::now() + CHANGE_LIMIT;
    loop {
        let wanted: BTreeSet<NodeId> = cluster.processes().members().into_iter().collect();
        let (mut agree, mut reason) = (BTreeSet::new(), format!("no majority lists {}", list(&wanted)));
        for told_by in &wanted {
            match cluster.members(told_by).await {
                Ok(members) if members.is_superset(&wanted) => _ = agree.insert(told_by.clone()),
                Ok(members) => reason = format!("{told_by} lists {}", list(members)),
                Err(error) => reason = format!("{told_by} does not say who is a member: {error}"),
            }
        }
        if agree.contains(node) && agree.len() >= quorum::majority(wanted.len()) {
            return Ok(format!("{node} is back; {} list {}", list(agree), list(&wanted)));
        }
        if Instant::now() > deadline {
            return Err(FaultError::NotProven(format!("{node} was added and started, but {reason}")));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
