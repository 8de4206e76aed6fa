//! Takes memory or descriptors from nodes: a limit on each of their processes, just above what it uses.
//!
//! A process that allocates then ends or goes on without, and one that is out of descriptors cannot accept, dial or open a file.
//! The harness uses up what is left by connections to the node that say nothing, as clients do that leak. A server may end when
//! it gets no memory or cannot open its log: while the fault stands, an end of the node is excused, and other faults leave
//! its processes alone.
//!
//! The limits are soft ones of prlimit(2), which needs no privilege for processes of the own user and can be taken back.
//! Memory is what `RLIMIT_DATA` counts: private writable memory, not files that are mapped. Free memory that a runtime
//! keeps for itself is not taken from it. Processes that are forked meanwhile inherit the limit; a node that is
//! started has none.
//!
//! Evidence: `/proc/PID/limits` of every process of the node; of descriptors also connections that the node leaves in its
//! backlog. Effect: the node ended, or left connections of ours unanswered. Healed: the limits are what they were, and the node
//! answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use history::NodeId;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::diag::SockDiag;
use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, list, until};
use crate::kill::bring_up_all;
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, Kind, quorum};

/// How much memory is left, in bytes.
const ROOM_BYTES: (f64, f64) = (16_384.0, 262_144.0);
/// How many connections ask for memory, all nodes together: few enough for the descriptors of the harness itself.
const MEMORY_CONNECTIONS: u64 = 384;
/// At most so many descriptors are left, less one.
const ROOM_DESCRIPTORS: usize = 8;
/// So many connections more than descriptors are left ask for one.
const MORE_CONNECTIONS: u64 = 16;
/// How long a connection to a node may take; a full backlog takes longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Memory,
    Descriptors,
}

/// A limit on some nodes.
#[derive(Debug)]
pub(crate) struct Limit {
    scope: Scope,
    victims: Victims,
    means: Means,
    /// How much is left: bytes, or descriptors.
    room: u64,
    /// The main processes when it began.
    processes: Vec<(NodeId, Identity)>,
    /// What the limits of processes were.
    before: BTreeMap<Identity, Rlimit>,
    /// What they are.
    limits: BTreeMap<Identity, u64>,
    connections: Vec<Connection>,
}

/// A connection of the harness to a node.
#[derive(Debug)]
struct Connection {
    node: SocketAddr,
    stream: TcpStream,
}

impl Fault for Limit {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let processes = cluster.processes();
        let victims = Victims::choose(request, cluster, |node| processes.is_active(node)).await?;
        let nodes = victims.nodes.clone();
        let mut dice = Dice::new(!request.seed);
        let (means, room) = match request.kind {
            Kind::MemoryLimit => (Means::Memory, dice.log_even(ROOM_BYTES.0, ROOM_BYTES.1) as u64),
            _ => (Means::Descriptors, dice.below(ROOM_DESCRIPTORS) as u64),
        };
        let leaves_quorum = quorum::is_left_after(cluster, &nodes, &[]);
        let chosen = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let running = |node: &NodeId| Some((node.clone(), processes.identity(node)?));
        Ok(Self {
            processes: nodes.iter().filter_map(running).collect(),
            scope: Scope { nodes, detail: format!("{chosen}; {} left", means.amount(room)), leaves_quorum },
            victims,
            means,
            room,
            before: BTreeMap::new(),
            limits: BTreeMap::new(),
            connections: Vec::new(),
        })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in self.scope.nodes.clone() {
            cluster.processes().excuse(&node);
            // A process that is forked meanwhile may have been made before its parent was limited.
            while self.tighten(&cluster.processes().tree(&node))? {}
        }
        self.use_up(cluster).await;
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for (process, limit) in &self.limits {
            match self.means.limit(process.pid).map(|limit| limit.current) {
                Some(Some(seen)) if seen == *limit => {
                    proofs.push(format!("pid {} may have {}", process.pid, self.means.amount(*limit)))
                }
                _ if !process.exists() => proofs.push(format!("pid {} ended", process.pid)),
                seen => {
                    let what = format!("the limit of {process} is {seen:?} and should be {limit}");
                    return Err(FaultError::NotProven(what));
                }
            }
        }
        let shows = || self.unanswered() > 0 || !self.ended(cluster).is_empty();
        if self.means == Means::Descriptors && !until(EVIDENCE_LIMIT, shows).await {
            let what = format!("all of {} connections were accepted", self.connections.len());
            return Err(FaultError::NotProven(what));
        }
        Ok(list(proofs))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let (ended, unanswered) = (self.ended(cluster), self.unanswered());
        let all = self.connections.len();
        match (self.means, &ended[..]) {
            (_, [_, ..]) => Some(format!("{} ended", list(ended))),
            (Means::Descriptors, []) if unanswered > 0 => {
                Some(format!("{unanswered} of {all} connections were not accepted"))
            }
            _ => None,
        }
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let processes = cluster.processes();
        self.connections.clear();
        let loosened = self.processes.iter().map(|(node, main)| self.loosen(*main, &processes.tree(node)));
        let loosened: Result<usize, FaultError> = loosened.sum();
        // Who met the limit a moment ago may be about to end.
        sleep(cluster.unit()).await;
        self.victims.turns.clear();
        let answering = bring_up_all(cluster, &self.scope.nodes).await;
        self.scope.nodes.iter().for_each(|node| processes.no_longer_excuse(node));
        Ok(format!("{} limits are what they were; {}", loosened?, answering?))
    }
}

impl Limit {
    /// Limits those processes that are not limited yet; says whether there were any.
    fn tighten(&mut self, tree: &BTreeSet<Identity>) -> Result<bool, FaultError> {
        let mut any = false;
        for process in
            tree.iter().filter(|process| !self.limits.contains_key(process)).copied().collect::<Vec<_>>()
        {
            let known = self.means.limit(process.pid).zip(self.means.used(process.pid, self.room));
            // It ended meanwhile.
            let Some((before, used)) = known else { continue };
            let limit = before.current.map_or(used, |current| current.min(used));
            set(process, self.means.resource(), Rlimit { current: Some(limit), ..before })?;
            self.before.insert(process, before);
            self.limits.insert(process, limit);
            any = true;
        }
        Ok(any)
    }

    /// Takes the limits back from the processes of a node, and looks whether they are gone; how many there were.
    fn loosen(&self, main: Identity, tree: &BTreeSet<Identity>) -> Result<usize, FaultError> {
        let mut restored = 0;
        for process in tree {
            // A forked process has inherited the limit; a node that was started again has none.
            let Some(before) =
                self.before.get(process).or(self.before.get(&main).filter(|_| tree.contains(&main)))
            else {
                continue;
            };
            set(*process, self.means.resource(), *before)?;
            let now = self.means.limit(process.pid);
            if now.as_ref() != Some(before) && process.exists() {
                let what = format!("the limit of {process} is {now:?} and should be {before:?}");
                return Err(FaultError::NotProven(what));
            }
            restored += 1;
        }
        Ok(restored)
    }

    /// Connects to the nodes, so that they need what they do not have.
    async fn use_up(&mut self, cluster: &impl Cluster) {
        let count = match self.means {
            Means::Memory => MEMORY_CONNECTIONS / self.scope.nodes.len() as u64,
            Means::Descriptors => self.room + MORE_CONNECTIONS,
        };
        for node in self.scope.nodes.iter().filter_map(|node| cluster.address(node)) {
            for _ in 0..count {
                // A node that has ended, or accepts nothing any more, has what it needs.
                let Ok(Ok(stream)) = timeout(CONNECT_LIMIT, TcpStream::connect(node)).await else { break };
                self.connections.push(Connection { node, stream });
            }
        }
    }

    /// How many connections no process has accepted.
    fn unanswered(&self) -> usize {
        let Ok(diag) = SockDiag::open() else { return 0 };
        let waits = |connection: &&Connection| {
            let own = connection.stream.local_addr();
            own.and_then(|own| diag.inode(connection.node, own)).is_ok_and(|inode| inode.is_none())
        };
        self.connections.iter().filter(waits).count()
    }

    fn ended(&self, cluster: &impl Cluster) -> Vec<&NodeId> {
        let ended = |(node, identity): &&(NodeId, Identity)| {
            cluster.processes().last_end(node).is_some_and(|(ended, _)| ended == *identity)
        };
        self.processes.iter().filter(ended).map(|(node, _)| node).collect()
    }
}

impl Means {
    fn resource(self) -> Resource {
        match self {
            Self::Memory => Resource::Data,
            Self::Descriptors => Resource::Nofile,
        }
    }

    /// How the limit is called in `/proc/PID/limits`.
    fn title(self) -> &'static str {
        match self {
            Self::Memory => "Max data size",
            Self::Descriptors => "Max open files",
        }
    }

    /// So much, in words.
    fn amount(self, count: u64) -> String {
        match self {
            Self::Memory => format!("{} KiB of memory", count >> 10),
            Self::Descriptors => format!("{count} descriptors"),
        }
    }

    /// The limit at which a process has so much left.
    fn used(self, pid: i32, room: u64) -> Option<u64> {
        match self {
            Self::Memory => {
                Some(data_bytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)? + room)
            }
            Self::Descriptors => Some(limit_above(&descriptors(pid).ok()?, room)),
        }
    }

    fn limit(self, pid: i32) -> Option<Rlimit> {
        limit_in(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?, self.title())
    }
}

/// Sets a limit of a process, if it is still there.
fn set(process: Identity, resource: Resource, limit: Rlimit) -> Result<(), FaultError> {
    let Some(pid) = Pid::from_raw(process.pid).filter(|_| process.exists()) else { return Ok(()) };
    match prlimit(Some(pid), resource, limit) {
        Err(error) if process.exists() => {
            Err(FaultError::NotProven(format!("cannot limit {process}: {}", io::Error::from(error))))
        }
        _ => Ok(()),
    }
}

/// The descriptors that a process has open.
fn descriptors(pid: i32) -> io::Result<BTreeSet<u64>> {
    let names = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The limit below which so many numbers are free.
fn limit_above(open: &BTreeSet<u64>, room: u64) -> u64 {
    let mut free = (0..).filter(|number| !open.contains(number));
    let last = usize::try_from(room).ok().and_then(|room| free.nth(room));
    last.unwrap_or(u64::MAX)
}

/// `VmData`: what `RLIMIT_DATA` is about.
fn data_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// A line such as `Max open files   1024   1048576   files`.
fn limit_in(limits: &str, title: &str) -> Option<Rlimit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(title))?;
    let mut numbers = line.split_whitespace().map(|number| match number {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    });
    Some(Rlimit { current: numbers.next()??, maximum: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_leaves_free_numbers_between_open_ones() {
        let open = BTreeSet::from([0, 1, 2, 5]);
        assert_eq!(limit_above(&open, 0), 3, "3 is free, and it is refused");
        assert_eq!(limit_above(&open, 2), 6, "3 and 4 can be opened");
        assert_eq!(limit_above(&open, 3), 7);
    }

    #[test]
    fn own_limits_and_uses_are_read() {
        let own = std::process::id().cast_signed();
        for means in [Means::Memory, Means::Descriptors] {
            let limit = rustix::process::getrlimit(means.resource());
            assert_eq!(means.limit(own), Some(limit));
        }
        assert!(Means::Memory.used(own, 0).unwrap() > 100_000);
        assert!(Means::Descriptors.used(own, 0).unwrap() > 2);
    }
}
