//! Disks that go wrong: fsyncs and writes that end with an error, no space left, fsyncs that take long.
//!
//! Errors and a full disk are met by the node at the system call. A server may end when its disk fails, and many should:
//! while such a fault stands, an end of the node and what it then logs are not held against it, and other faults leave its
//! processes alone. A slow disk excuses nothing, and a node with one can be paused and killed: what waits for the disk
//! is answered first, because a process that waits for a file system can be neither stopped nor killed.
//!
//! Evidence is a canary: a process that writes to the disk as the node does, and fails, or has to wait. Healed: the canary
//! passes, and the node answers.

use std::time::{Duration, Instant};

use history::NodeId;

use crate::dice::Dice;
use crate::disk::{Operation, Trouble};
use crate::disk_canary::DiskCanaries;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LOOK_INTERVAL, NODES_PREFIX, Request, Scope, Skip, list,
};
use crate::kill::bring_up_all;
use crate::links::FaultId;
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, Kind, quorum};

/// How seldom an operation fails, at most.
const ONE_IN: [usize; 4] = [1, 1, 4, 16];
/// How long a slow fsync takes at most, in parts of the cluster's unit; at least half of that.
const SLOW_UNITS: (f64, f64) = (0.2, 3.0);
/// What the canary writes to.
const CANARY_FILE: &str = ".shakedown-canary";
/// How often the canary writes, so that it meets what happens once in a while.
const CANARY_WRITES: u32 = 64;

/// Trouble with the disks of some nodes.
#[derive(Debug)]
pub(crate) struct DiskFault {
    id: FaultId,
    kind: Kind,
    scope: Scope,
    victims: Victims,
    trouble: Trouble,
    seed: u64,
    /// The processes that met it, and how often it was met when it was proven.
    processes: Vec<(NodeId, Identity)>,
    met_by_canary: u64,
    canaries: DiskCanaries,
}

impl Fault for DiskFault {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let processes = cluster.processes();
        let eligible = |node: &NodeId| processes.is_active(node) && processes.disk(node).is_some();
        let victims = Victims::choose(request, cluster, eligible).await?;
        let nodes = victims.nodes.clone();
        let mut dice = Dice::new(!request.seed);
        let (trouble, words) = draw(request.kind, cluster.unit(), &mut dice);
        let gone: &[NodeId] = if request.kind == Kind::SlowDisk { &[] } else { &nodes };
        let leaves_quorum = quorum::is_left_after(cluster, gone, &[]);
        let chosen = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let running = |node: &NodeId| Some((node.clone(), processes.identity(node)?));
        Ok(Self {
            id: request.id,
            kind: request.kind,
            processes: nodes.iter().filter_map(running).collect(),
            scope: Scope { nodes, detail: format!("{chosen}; {words}"), leaves_quorum },
            victims,
            trouble,
            seed: dice.seed(),
            met_by_canary: 0,
            canaries: DiskCanaries::new(request.id),
        })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.scope.nodes {
            if self.excuses() {
                cluster.processes().excuse(node);
            }
            if let Some(disk) = cluster.processes().disk(node) {
                disk.troubles().begin(self.id, self.trouble.clone(), self.seed);
            }
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for node in self.scope.nodes.clone() {
            let deadline = Instant::now() + EVIDENCE_LIMIT;
            let proof = loop {
                let canary = self.canary(cluster, &node, CANARY_WRITES).await?;
                match (&self.trouble, canary) {
                    (Trouble::SlowSync { low, .. }, Canary::Passed(slowest)) if slowest >= *low => {
                        break format!("an fsync on the disk of {node} took {slowest:.0?}");
                    }
                    (Trouble::Errors { .. } | Trouble::Full { .. }, Canary::Failed(error)) => {
                        break format!("a canary on the disk of {node}: {error}");
                    }
                    (_, canary) if Instant::now() > deadline => {
                        return Err(FaultError::NotProven(format!(
                            "a canary on the disk of {node} {canary:?}"
                        )));
                    }
                    _ => tokio::time::sleep(LOOK_INTERVAL).await,
                }
            };
            proofs.push(proof);
        }
        self.met_by_canary = self.met(cluster);
        if !self.excuses() {
            self.victims.turns.clear();
        }
        Ok(list(proofs))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let met = self.met(cluster) - self.met_by_canary;
        let processes = cluster.processes();
        let ended = self.processes.iter().filter(|(node, identity)| {
            self.excuses() && processes.last_end(node).is_some_and(|(ended, _)| ended == *identity)
        });
        let ended: Vec<&NodeId> = ended.map(|(node, _)| node).collect();
        match (met, &ended[..]) {
            (0, []) => None,
            (met, []) => Some(format!("met {met} times")),
            (0, ended) => Some(format!("{} ended", list(ended))),
            (met, ended) => Some(format!("met {met} times; {} ended", list(ended))),
        }
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let processes = cluster.processes();
        for node in &self.scope.nodes {
            processes.disk(node).iter().for_each(|disk| _ = disk.troubles().end(self.id));
        }
        if self.excuses() {
            // Who met it a moment ago may be about to end.
            tokio::time::sleep(cluster.unit()).await;
        }
        self.victims.turns.clear();
        let answering = bring_up_all(cluster, &self.scope.nodes).await;
        self.scope.nodes.iter().for_each(|node| processes.no_longer_excuse(node));
        let answering = answering?;
        let deadline = Instant::now() + HEAL_LIMIT;
        for node in self.scope.nodes.clone() {
            // A power failure must not find the canary on the disk.
            let _turn = processes.turn(&node).await?;
            // Another fault of the same disk may stand.
            while let Canary::Failed(error) = self.canary(cluster, &node, 1).await? {
                if Instant::now() > deadline {
                    return Err(FaultError::NotProven(format!("the disk of {node} is not whole: {error}")));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(format!("canaries pass; {answering}"))
    }
}

/// What became of a canary.
#[derive(Debug)]
enum Canary {
    /// All writes were saved; what one took on average.
    Passed(Duration),
    /// What was printed about it.
    Failed(String),
}

impl DiskFault {
    /// Whether a server may end because of it.
    fn excuses(&self) -> bool {
        self.kind != Kind::SlowDisk
    }

    fn met(&self, cluster: &impl Cluster) -> u64 {
        let disks = self.scope.nodes.iter().filter_map(|node| cluster.processes().disk(node));
        disks.map(|disk| disk.troubles().hits(self.id)).sum()
    }

    /// Writes to the disk of a node and waits for each write to be saved.
    async fn canary(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
        writes: u32,
    ) -> Result<Canary, FaultError> {
        let writes = if self.kind == Kind::SlowDisk { 1 } else { writes };
        let script = format!(
            "dd if=/dev/zero of=\"$0\" bs=512 count={writes} oflag=dsync conv=notrunc 2>&1 || end=1; rm -f \"$0\"; exit $end"
        );
        let song = self.canaries.send(cluster, node, &script, CANARY_FILE).await?;
        Ok(match song.is_well {
            true => Canary::Passed(song.took / writes),
            false => Canary::Failed(song.printed.lines().next().unwrap_or("failed").to_owned()),
        })
    }
}

fn draw(kind: Kind, unit: Duration, dice: &mut Dice) -> (Trouble, String) {
    match kind {
        Kind::DiskFull if dice.one_in(2) => {
            (Trouble::Full { thin: true }, "no space left, not even to write a page again".to_owned())
        }
        Kind::DiskFull => (Trouble::Full { thin: false }, "no space left".to_owned()),
        Kind::SlowDisk => {
            let high = unit.mul_f64(dice.log_even(SLOW_UNITS.0, SLOW_UNITS.1));
            let trouble = Trouble::SlowSync { low: high / 2, high };
            (trouble, format!("an fsync takes {:.0?} to {high:.0?}", high / 2))
        }
        _ => {
            let of = if dice.one_in(3) { Operation::Write } else { Operation::Sync };
            let one_in = *dice.pick(&ONE_IN).expect("invariant: there are some");
            (Trouble::Errors { of, one_in }, format!("one in {one_in} {} fails", of.name()))
        }
    }
}
