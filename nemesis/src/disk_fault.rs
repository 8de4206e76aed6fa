//! Disks that go wrong: fsyncs and writes that end with an error or are short, no space left, fsyncs that take long.
//!
//! Errors and a full disk are met by the node at the system call; errors are those of all files, of the one that was
//! written last, or (`disk-error:REGEX`) of those whose path from the node's data directory matches. A server may end when
//! its disk fails, and many should: while such a fault stands, an end of the node and what it then logs are not held
//! against it, and other faults leave its processes alone. A slow disk excuses nothing, nor do short writes, which
//! POSIX allows at any time; and a node with a slow disk can be paused and killed: what waits for the disk is answered first,
//! because a process that waits for a file system can be neither stopped nor killed.
//!
//! Evidence is a canary: a process that writes to the disk as the node does, and fails, has to wait, or (by the kernel's
//! account) needs more calls than there is to write. Healed: the canary passes, and the node answers.

use std::time::{Duration, Instant};

use history::NodeId;
use regex_lite::Regex;

use crate::dice::Dice;
use crate::disk::{CANARY_FILE, Files, Operation, Trouble};
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
/// How often the canary writes, so that it meets what happens once in a while.
const CANARY_WRITES: u32 = 64;
/// How many blocks it writes to find short writes, and how many calls that takes at most if there are none.
const CANARY_BLOCKS: u64 = 512;
const CALLS_AT_MOST: u64 = CANARY_BLOCKS + 16;

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
        let files = request.argument.map(Regex::new).transpose().map_err(|error| Skip(error.to_string()))?;
        let (trouble, words) = draw(request.kind, files, cluster.unit(), &mut dice);
        let gone: &[NodeId] = if excuses(&trouble) { &nodes } else { &[] };
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
                    (Trouble::ShortWrites { .. }, Canary::Calls(calls)) if calls > CALLS_AT_MOST => {
                        break format!("{CANARY_BLOCKS} blocks on the disk of {node} took {calls} writes");
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
    /// All was written; how many calls it took.
    Calls(u64),
    /// What was printed about it.
    Failed(String),
}

impl DiskFault {
    /// Whether a server may end because of it.
    fn excuses(&self) -> bool {
        excuses(&self.trouble)
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
        if writes > 1 && matches!(self.trouble, Trouble::ShortWrites { .. }) {
            return self.count_calls(cluster, node).await;
        }
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

impl DiskFault {
    /// Writes blocks, and asks the kernel how often the canary called it to write.
    async fn count_calls(&mut self, cluster: &impl Cluster, node: &NodeId) -> Result<Canary, FaultError> {
        let script = format!(
            "dd if=/dev/zero of=\"$0\" bs=512 count={CANARY_BLOCKS} 2>&1 && sed -n 's/syscw: //p' /proc/$$/io; rm -f \"$0\""
        );
        let song = self.canaries.send(cluster, node, &script, CANARY_FILE).await?;
        let calls = song.printed.lines().last().and_then(|line| line.parse().ok());
        Ok(calls.map_or_else(|| Canary::Failed(song.printed), Canary::Calls))
    }
}

/// Whether a server may end because of it.
fn excuses(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Errors { .. } | Trouble::Full { .. })
}

fn draw(kind: Kind, files: Option<Regex>, unit: Duration, dice: &mut Dice) -> (Trouble, String) {
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
            let one_in = *dice.pick(&ONE_IN).expect("invariant: there are some");
            let (files, whose) = match files {
                Some(pattern) => (Files::Matching(pattern.clone()), format!(" of files like {pattern}")),
                None if dice.one_in(3) => (Files::WrittenLast(None), " of the file written last".to_owned()),
                None => (Files::All, String::new()),
            };
            let of = if dice.one_in(2) { Operation::Write } else { Operation::Sync };
            if of == Operation::Write && dice.one_in(2) {
                let words = format!("one in {one_in} writes{whose} is short");
                return (Trouble::ShortWrites { one_in, files }, words);
            }
            let words = format!("one in {one_in} {}{whose} fails", of.name());
            (Trouble::Errors { of, one_in, files }, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_draws_which_operations_fail_and_of_which_files() {
        let drawn = |pattern: Option<&str>| -> Vec<String> {
            let files = || pattern.map(|pattern| Regex::new(pattern).unwrap());
            let draw = |seed: u64| draw(Kind::DiskError, files(), Duration::ZERO, &mut Dice::new(!seed)).1;
            (0..40).map(draw).collect()
        };
        let free = drawn(None);
        for words in
            ["fsyncs fail", "writes fail", "writes is short", "of the file written last", "one in 4 fsyncs"]
        {
            assert!(free.iter().any(|drawn| drawn.contains(words)), "{words}: {free:#?}");
        }
        let named = drawn(Some("wal$"));
        assert!(named.iter().all(|drawn| drawn.contains(" of files like wal$ ")), "{named:#?}");
    }
}
