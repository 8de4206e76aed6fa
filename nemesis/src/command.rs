//! A command of the user's, executed at the start and at the end of a fault.
//!
//! `FILE start` must apply the fault, make sure that it stands, and exit with 0; what it prints is recorded as its effect on
//! the system. `FILE end` must take it back, make sure of that, and may be called although `start` failed. Both have
//! [`LIMIT`]. The environment says whom the fault is about:
//!
//! | variable | value |
//! |---|---|
//! | `SHAKEDOWN_NODES` | the chosen nodes, separated by blanks |
//! | `SHAKEDOWN_ALL_NODES` | all nodes |
//! | `SHAKEDOWN_LEADER` | who leads, if somebody does |
//! | `SHAKEDOWN_SEED` | a random number for everything that is left to choose |
//! | `SHAKEDOWN_PID_n1` | the main process of a node that runs, for every node |
//! | `SHAKEDOWN_ADDRESS_n1` | where clients reach a node past the links, for every node |
//!
//! It runs below the guardian like a node, so nothing that it starts outlives the run. Its output is kept in the run directory.
//! Evidence is its exit status: whoever writes a fault vouches for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use history::NodeId;

use crate::fault::{Fault, FaultError, NODES_PREFIX, Request, Scope, Skip};
use crate::guardian::{ExitStatus, NodeCommand};
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How much of a command's output is repeated, in characters.
const QUOTED_CHARACTERS: usize = 300;

/// A fault that the user defined.
#[derive(Debug)]
pub(crate) struct Command {
    scope: Scope,
    file: PathBuf,
    /// Distinguishes the output of this fault from that of others.
    name: String,
    seed: u64,
    leader: Option<NodeId>,
    printed: String,
}

impl Fault for Command {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let file = request.argument.ok_or_else(|| Skip("it names no file".into()))?;
        let victims = Victims::choose(request, cluster, |node| cluster.processes().is_active(node)).await?;
        let nodes = victims.nodes.clone();
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let detail = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        Ok(Self {
            scope: Scope { nodes, detail, leaves_quorum },
            file: file.into(),
            name: format!("command-{}", request.id.0),
            seed: request.seed,
            leader: cluster.leader().await,
            printed: String::new(),
        })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        self.printed = self.execute(cluster, "start").await?;
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, _cluster: &C) -> Result<String, FaultError> {
        Ok(format!("{} start: exit status 0", self.file.display()))
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        (!self.printed.is_empty()).then(|| self.printed.clone())
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let printed = self.execute(cluster, "end").await?;
        Ok(format!("{} end: exit status 0 {printed}", self.file.display()).trim_end().to_owned())
    }
}

impl Command {
    /// Executes the command to its end and returns what it printed, shortened.
    async fn execute(&self, cluster: &impl Cluster, step: &str) -> Result<String, FaultError> {
        let processes = cluster.processes();
        let failed = |reason: String| FaultError::Command {
            command: format!("{} {step}", self.file.display()),
            reason,
        };
        let executable = processes.open(&self.file).await.map_err(|error| failed(error.to_string()))?;
        let directory = cluster.directory().join("commands");
        std::fs::create_dir_all(&directory)
            .map_err(|error| failed(format!("cannot create {}: {error}", directory.display())))?;
        let output = directory.join(format!("{}-{step}.log", self.name));
        let command = NodeCommand {
            executable,
            arguments: vec![self.file.display().to_string(), step.to_owned()],
            environment: self.environment(cluster),
            directory,
            stdout: output.clone(),
            stderr: output.clone(),
            account: None,
            clock: None,
        };
        let name = NodeId(format!("{}-{step}", self.name));
        let status = processes.execute(&name, command, LIMIT).await?;
        let printed = tail(&output);
        match status {
            Some(ExitStatus::Code(0)) => Ok(printed),
            Some(status) => Err(failed(format!("{status}; it printed: {printed}"))),
            None => Err(failed(format!("not over after {} s; it printed: {printed}", LIMIT.as_secs()))),
        }
    }

    fn environment(&self, cluster: &impl Cluster) -> Vec<(String, String)> {
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| node.0.as_str()).collect::<Vec<_>>().join(" ");
        let all = cluster.processes().nodes();
        let mut variables = vec![
            ("NODES".to_owned(), names(&self.scope.nodes)),
            ("ALL_NODES".to_owned(), names(&all)),
            ("LEADER".to_owned(), self.leader.iter().map(ToString::to_string).collect()),
            ("SEED".to_owned(), self.seed.to_string()),
        ];
        for node in &all {
            let identity = cluster.processes().identity(node);
            variables.extend(identity.map(|identity| (format!("PID_{node}"), identity.pid.to_string())));
            let address = cluster.address(node);
            variables.extend(address.map(|address| (format!("ADDRESS_{node}"), address.to_string())));
        }
        let path = std::env::var("PATH").map(|path| ("PATH".to_owned(), path));
        let own = variables.into_iter().map(|(name, value)| (format!("SHAKEDOWN_{name}"), value));
        own.chain(path).collect()
    }
}

/// The last characters of what a command printed, in one line.
fn tail(output: &Path) -> String {
    let printed = std::fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&printed);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = words.chars().count().saturating_sub(QUOTED_CHARACTERS);
    words.chars().skip(skipped).collect()
}
