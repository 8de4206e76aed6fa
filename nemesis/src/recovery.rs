//! Makes a cluster whole, whatever was done to it.

use history::{NodeId, RunEvent};

use crate::canaries;
use crate::fault::{FaultError, HEAL_LIMIT};
use crate::kill::{bring_up, start};
use crate::pause::resume;
use crate::{Cluster, EventSink, Link};

/// Opens every link, lets every node go on and starts those that do not run, whether a fault or a crash ended them;
/// proves all of it. Returns what could not be done, which is recorded too. Idempotent and bounded.
pub async fn heal_everything(cluster: &impl Cluster, sink: &EventSink) -> Vec<String> {
    cluster.links().heal_all();
    let mut unhealed = Vec::new();
    let mut going = Vec::new();
    // All are set going before the first is waited for, because one may wait for the others before it answers.
    for node in cluster.processes().nodes() {
        match set_going(cluster, &node).await {
            Ok(()) => going.push(node),
            Err(error) => unhealed.push(record(sink, error).await),
        }
    }
    for node in going {
        if let Err(error) = answers(cluster, &node).await {
            unhealed.push(record(sink, error).await);
        }
    }
    let links: Vec<Link> = cluster.links().stats().into_keys().collect();
    if let Err(error) = canaries::all_pass(cluster.links(), &links, HEAL_LIMIT).await {
        unhealed.push(record(sink, error).await);
    }
    unhealed
}

async fn set_going(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let processes = cluster.processes();
    let _turn = processes.turn(node).await?;
    if let Some(identity) = processes.identity(node).filter(|_| processes.is_paused(node)) {
        resume(processes, node, identity).await?;
    }
    start(cluster, node).await?;
    Ok(())
}

async fn answers(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let _turn = cluster.processes().turn(node).await?;
    bring_up(cluster, node).await.map(|_| ())
}

async fn record(sink: &EventSink, error: FaultError) -> String {
    let time = sink.now();
    let text = error.to_string();
    let event = match error {
        FaultError::NotReady { node, reason } => RunEvent::RestartFailed { time, node, detail: reason },
        _ => RunEvent::Infrastructure { time, detail: format!("cannot heal the cluster: {text}") },
    };
    sink.record(event).await;
    text
}
