//! Makes a cluster whole, whatever was done to it.

use history::{NodeId, RunEvent};

use crate::canaries;
use crate::fault::{FaultError, HEAL_LIMIT};
use crate::kill::bring_up;
use crate::pause::resume;
use crate::{Cluster, EventSink, Link};

/// Opens every link, lets every node go on and starts those that do not run, whether a fault or a crash ended them;
/// proves all of it. Returns what could not be done, which is recorded too. Idempotent and bounded.
pub async fn heal_everything(cluster: &impl Cluster, sink: &EventSink) -> Vec<String> {
    cluster.links().heal_all();
    let mut unhealed = Vec::new();
    for node in cluster.processes().nodes() {
        if let Err(error) = heal_node(cluster, &node).await {
            unhealed.push(record(sink, error).await);
        }
    }
    let links: Vec<Link> = cluster.links().stats().into_keys().collect();
    if let Err(error) = canaries::all_pass(cluster.links(), &links, HEAL_LIMIT).await {
        unhealed.push(record(sink, error).await);
    }
    unhealed
}

async fn heal_node(cluster: &impl Cluster, node: &NodeId) -> Result<(), FaultError> {
    let processes = cluster.processes();
    let _turn = processes.turn(node).await?;
    if let Some(identity) = processes.identity(node).filter(|_| processes.is_paused(node)) {
        resume(processes, node, identity).await?;
    }
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
