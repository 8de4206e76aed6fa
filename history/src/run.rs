//! What a run was: `run.json`, and where its files are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Nanos, NodeId};

/// One fault of a schedule, as planned: a pure value that depends on the seed alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduledFault {
    /// When it starts, counted from the start of the load.
    pub at: Nanos,
    /// How long it stands.
    pub duration: Nanos,
    /// The kind, as named on the command line.
    pub kind: String,
    /// Who and how, in the words of that kind (`leader`, `minority`, `one-way`, …). What is observed at run time (who
    /// leads) is resolved when the fault starts and recorded in `nemesis.jsonl`.
    pub selector: String,
    /// The random numbers that the fault may use to resolve its selector.
    pub seed: u64,
}

/// Another executable of the target, into which nodes were restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeInfo {
    /// Its path.
    pub binary: String,
    /// SHA-256 of it.
    pub digest: String,
}

/// `run.json`: everything about a run that is not the history, the faults or the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this file's shape.
    pub schema: u32,
    /// `plan_id` and the attempt.
    pub run_id: String,
    /// Hash of the plan, the target's digest and the suite's digest.
    pub plan_id: String,
    /// The target's name.
    pub target: String,
    /// What the target says of its own version.
    pub target_version: String,
    /// The path of the target's executable, as it was given or found.
    pub target_binary: String,
    /// SHA-256 of the target's executable.
    pub target_digest: String,
    /// What nodes were upgraded to, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeInfo>,
    /// SHA-256 of the suite's executable.
    pub suite_digest: String,
    /// The version of the suite.
    pub suite_version: String,
    /// The mutant of the node, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// What joined the nodes, if it was not `links`: `switch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    /// The workload's name.
    pub workload: String,
    /// What the history is judged by.
    pub claim: String,
    /// How reads were made: `linearizable`, `local`, …
    pub read_consistency: String,
    /// The kinds of faults.
    pub nemesis: Vec<String>,
    /// The nodes of the cluster.
    pub nodes: Vec<NodeId>,
    /// The seed of everything random.
    pub seed: u64,
    /// How many workers ran operations.
    pub concurrency: u32,
    /// Operations per second that the generator meant to start; 0 = as fast as possible.
    pub rate: f64,
    /// How long the load lasted at most, in milliseconds.
    pub time_limit_ms: u64,
    /// The only keys that operations were about; empty when there was no restriction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The intervals between faults that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nemesis_interval: Option<String>,
    /// The quiet times that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<String>,
    /// What was asked for the majority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<String>,
    /// What the disks of the nodes promise, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// What every node was told beside what the target tells it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_args: Vec<String>,
    /// The outcome that the user expects, as given.
    pub expect: String,
    /// Wall-clock start, milliseconds since 1970.
    pub started_wall_ms: u64,
    /// The command that repeats the run.
    pub repro: String,
    /// The planned faults.
    pub schedule: Vec<ScheduledFault>,
    /// Kernel, processors, memory and the like, for the report.
    pub environment: BTreeMap<String, String>,
}

/// The files of a run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPaths {
    /// The directory itself.
    pub dir: PathBuf,
}

impl RunPaths {
    /// The files below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `run.json`.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run.json")
    }

    /// `verdict.json`.
    pub fn verdict(&self) -> PathBuf {
        self.dir.join("verdict.json")
    }

    /// `history.jsonl`, while the run goes on.
    pub fn history_plain(&self) -> PathBuf {
        self.dir.join("history.jsonl")
    }

    /// `history.jsonl.gz`, at the end.
    pub fn history_compressed(&self) -> PathBuf {
        self.dir.join("history.jsonl.gz")
    }

    /// The history that exists: compressed if the run came to its end, else plain.
    pub fn history(&self) -> PathBuf {
        let compressed = self.history_compressed();
        if compressed.exists() { compressed } else { self.history_plain() }
    }

    /// `nemesis.jsonl`.
    pub fn nemesis(&self) -> PathBuf {
        self.dir.join("nemesis.jsonl")
    }

    /// `metrics.json`.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("metrics.json")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.dir.join("report.html")
    }

    /// `junit.xml`.
    pub fn junit(&self) -> PathBuf {
        self.dir.join("junit.xml")
    }

    /// `plots/`.
    pub fn plots(&self) -> PathBuf {
        self.dir.join("plots")
    }

    /// `nodes/`.
    pub fn nodes(&self) -> PathBuf {
        self.dir.join("nodes")
    }

    /// `nodes/<node>/`.
    pub fn node(&self, node: &NodeId) -> PathBuf {
        self.nodes().join(&node.0)
    }

    /// `nodes/<node>/trace.jsonl`, while the run goes on.
    pub fn trace_plain(&self, node: &NodeId) -> PathBuf {
        self.node(node).join("trace.jsonl")
    }

    /// `nodes/<node>/trace.jsonl.gz`, at the end.
    pub fn trace_compressed(&self, node: &NodeId) -> PathBuf {
        self.node(node).join("trace.jsonl.gz")
    }

    /// The directory of a run, given that directory or a file in it.
    pub fn containing(path: &Path) -> Option<Self> {
        let dir = if path.is_dir() { path } else { path.parent()? };
        let paths = Self::new(dir);
        paths.run().exists().then_some(paths)
    }
}
