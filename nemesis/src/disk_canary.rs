//! Short processes that use the disk of a node as the node does, below the guardian, which sees it.

use std::time::{Duration, Instant};

use history::NodeId;

use crate::Cluster;
use crate::fault::{EVIDENCE_LIMIT, FaultError};
use crate::guardian::{ExitStatus, NodeCommand};
use crate::links::FaultId;

/// The canaries of a fault.
#[derive(Debug)]
pub(crate) struct DiskCanaries {
    fault: FaultId,
    sent: u32,
}

/// What became of a canary.
#[derive(Debug)]
pub(crate) struct Song {
    /// Whether it ended without an error.
    pub(crate) is_well: bool,
    /// What it printed, or why it printed nothing.
    pub(crate) printed: String,
    /// From its start to its end.
    pub(crate) took: Duration,
}

impl DiskCanaries {
    pub(crate) fn new(fault: FaultId) -> Self {
        Self { fault, sent: 0 }
    }

    /// Executes a shell script whose `$0` is a path on the disk of a node.
    pub(crate) async fn send(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
        script: &str,
        path: &str,
    ) -> Result<Song, FaultError> {
        let processes = cluster.processes();
        let Some(disk) = processes.disk(node) else {
            return Err(FaultError::NotProven(format!("{node} has no disk of ours")));
        };
        self.sent += 1;
        let name = NodeId(format!("canary-{}-{}-{node}", self.fault.0, self.sent));
        let output = cluster.directory().join(format!("{name}.log"));
        let file = disk.mount_point().join(path).display().to_string();
        let executable = processes.open("/bin/sh".as_ref()).await;
        let executable = executable.map_err(|source| FaultError::NotProven(source.to_string()))?;
        let command = NodeCommand {
            environment: vec![("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())],
            stdout: output.clone(),
            stderr: output.clone(),
            ..NodeCommand::new(executable, ["sh", "-c", script, &file].map(str::to_owned).to_vec())
        };
        let begin = Instant::now();
        let status = processes.execute(&name, command, EVIDENCE_LIMIT).await?;
        let took = begin.elapsed();
        let mut printed = std::fs::read_to_string(&output).unwrap_or_default();
        // It says nothing that is not recorded.
        let _ = std::fs::remove_file(&output);
        if status.is_none() {
            printed = format!("not over after {} s", EVIDENCE_LIMIT.as_secs());
        }
        Ok(Song { is_well: status == Some(ExitStatus::Code(0)), printed, took })
    }
}
