//! Three real processes that send bytes to each other by way of attributed links, and what a test asks of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use history::{FaultPhase, NodeId, RunEvent, ScheduledFault};
use nemesis::links::{Framing, Stranger};
use nemesis::process::Image;
use nemesis::runner::{Summary, run};
use nemesis::schedule::Quorum;
use nemesis::{Cluster, Endpoint, Kind, Links, NodeStatus, Operation, Processes, Upgrade};
use tokio::sync::watch;

use crate::cluster::{Ground, ROLE, guardian_command};
use crate::common::{LIMIT, n, within};
use crate::{MESSAGE, PREAMBLE};

pub(crate) const NODES: usize = 3;
/// How many scenes this process has set up.
pub(crate) static SCENES: AtomicU8 = AtomicU8::new(0);
/// How often a node sends a byte to each peer.
pub(crate) const BEAT: Duration = Duration::from_millis(5);
/// Where nodes listen in networks of their own.
const SWITCHED_PORT: u16 = 20_010;
/// Long enough for bytes to flow while a fault stands.
pub(crate) const A_WHILE: Duration = Duration::from_millis(200);
/// Long enough for a fault that does something again and again.
pub(crate) const A_LONG_WHILE: Duration = Duration::from_secs(2);
/// Longer than any test lives.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3600);

/// The test double of a system under test: real processes and links, and a leader that the test appoints.
pub(crate) struct Beating {
    pub(crate) processes: Arc<Processes>,
    pub(crate) links: Links,
    pub(crate) leader: Mutex<Option<NodeId>>,
    /// What every node says of itself.
    pub(crate) status: Mutex<Option<NodeStatus>>,
    pub(crate) upstreams: BTreeMap<NodeId, SocketAddr>,
    pub(crate) directory: PathBuf,
    pub(crate) upgrade: Option<Upgrade>,
    /// Who is a member; `None` for a system that offers no membership.
    pub(crate) members: Mutex<Option<BTreeSet<NodeId>>>,
    /// Whether it says that it removes members and does not.
    pub(crate) is_stubborn: AtomicBool,
}

impl Beating {
    /// Which file tells a node that it is no member, upon which it ends.
    fn farewell(&self, node: &NodeId) -> PathBuf {
        self.directory.join(format!("{node}.farewell"))
    }

    fn with_members<T>(&self, change: impl FnOnce(&mut BTreeSet<NodeId>) -> T) -> Result<T, String> {
        self.members.lock().unwrap().as_mut().map(change).ok_or_else(|| "no membership here".to_owned())
    }

    fn add_member(&self, node: &NodeId) -> Result<String, String> {
        // As a system would refuse a member that it has already.
        if !self.with_members(|members| members.insert(node.clone()))? {
            return Err(format!("{node} is a member already"));
        }
        std::fs::remove_file(self.farewell(node)).unwrap();
        Ok(format!("{node} is added"))
    }

    fn remove_member(&self, node: &NodeId) -> Result<String, String> {
        if !self.is_stubborn.load(Ordering::Relaxed) {
            if !self.with_members(|members| members.remove(node))? {
                return Err(format!("{node} is no member"));
            }
            std::fs::write(self.farewell(node), "").unwrap();
        }
        Ok(format!("{node} is removed"))
    }
}

impl Cluster for Beating {
    fn processes(&self) -> &Processes {
        &self.processes
    }

    fn links(&self) -> &Links {
        &self.links
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn address(&self, node: &NodeId) -> Option<SocketAddr> {
        self.upstreams.get(node).copied()
    }

    fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade.clone()
    }

    async fn operate(&self, operation: &Operation, node: &NodeId) -> Result<String, String> {
        match operation {
            Operation::Transfer { to } => {
                *self.leader.lock().unwrap() = Some(to.clone());
                Ok(format!("{node} was asked"))
            }
            Operation::Add { node } => self.add_member(node),
            Operation::Remove { node } => self.remove_member(node),
            Operation::Promote { node } => Ok(format!("{node} votes")),
            Operation::Named(name) => Ok(format!("{node} did {name}")),
        }
    }

    fn offers_membership(&self) -> bool {
        self.members.lock().unwrap().is_some()
    }

    async fn members(&self, told_by: &NodeId) -> Result<BTreeSet<NodeId>, String> {
        let members = self.with_members(|members| members.clone())?;
        if self.processes.is_active(told_by) && members.contains(told_by) {
            Ok(members)
        } else {
            Err(format!("{told_by} does not answer"))
        }
    }

    fn arguments_to_join(&self, _node: &NodeId, members: &BTreeSet<NodeId>) -> Vec<String> {
        // The process takes them for names of tests, of which it has none.
        let members = members.iter().map(|member| format!("joins-{member}"));
        NODE_ARGUMENTS.iter().map(|argument| (*argument).to_owned()).chain(members).collect()
    }

    fn data(&self, node: &NodeId) -> PathBuf {
        data(&self.directory, node)
    }

    async fn settle(&self, nodes: &[NodeId], _limit: Duration) -> Result<(), String> {
        let down = nodes.iter().find(|node| !self.processes.is_active(node));
        down.map_or(Ok(()), |down| Err(format!("{down} does not answer")))
    }

    fn unit(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn leader(&self) -> Option<NodeId> {
        self.leader.lock().unwrap().clone()
    }

    async fn status(&self, _node: &NodeId) -> Option<NodeStatus> {
        *self.status.lock().unwrap()
    }

    async fn wait_ready(&self, node: &NodeId, _limit: Duration) -> Result<(), String> {
        let upstream = self.upstreams[node];
        let connected = async {
            while self.processes.identity(node).is_some()
                && tokio::net::TcpStream::connect(upstream).await.is_err()
            {
                tokio::time::sleep(BEAT).await;
            }
        };
        tokio::time::timeout(LIMIT, connected).await.map_err(|_| format!("{upstream} does not answer"))
    }
}

pub(crate) struct Scene {
    pub(crate) ground: Ground,
    pub(crate) cluster: Arc<Beating>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let scene = Self::not_started().await;
        for i in 1..=NODES {
            scene.cluster.processes.launch(&n(i)).await.unwrap();
        }
        scene.flows().await;
        scene
    }

    /// The same with nodes that write to disks of ours; `None`, said aloud, when this machine has no such disks.
    pub(crate) async fn with_disks() -> Option<Self> {
        if let Err(reason) = nemesis::doctor::disks(guardian_command()).await {
            println!("SKIPPED: no disks of our own here: {reason}");
            return None;
        }
        let scene = Self::not_started().await;
        for i in 1..=NODES {
            let (data, backing) =
                (scene.cluster.data(&n(i)), scene.ground.directory.path().join(format!("{i}.disk")));
            std::fs::create_dir(&backing).unwrap();
            scene
                .cluster
                .processes
                .set_disk(&n(i), nemesis::Disk::new(data, backing, nemesis::Promises::Ordered));
            scene.cluster.processes.launch(&n(i)).await.unwrap();
        }
        scene.flows().await;
        Some(scene)
    }

    /// A scene with a system that offers no membership.
    pub(crate) async fn without_membership() -> Self {
        let scene = Self::new().await;
        *scene.cluster.members.lock().unwrap() = None;
        scene
    }

    /// The same with nodes that a switch joins; `None`, said aloud, when this machine has no such networks.
    pub(crate) async fn switched() -> Option<Self> {
        if let Err(reason) = nemesis::doctor::switch(guardian_command()).await {
            println!("SKIPPED: no network namespaces here: {reason}");
            return None;
        }
        let ground = Ground::new().await;
        let nodes: Vec<NodeId> = (1..=NODES).map(n).collect();
        let links = Links::switched(&ground.processes, &nodes, 7).await.unwrap();
        let real = |node| SocketAddr::from((links.address(node).unwrap(), SWITCHED_PORT));
        let mut upstreams = BTreeMap::new();
        for node in &nodes {
            let peers: Vec<SocketAddr> = nodes.iter().filter(|peer| *peer != node).map(real).collect();
            ground.add_beating(node, real(node), &peers).await;
            upstreams.insert(node.clone(), links.listen_past(real(node)).await.unwrap());
        }
        let scene = Self::of(ground, links, upstreams).await;
        for node in &nodes {
            scene.cluster.processes.launch(node).await.unwrap();
        }
        scene.flows().await;
        Some(scene)
    }

    pub(crate) async fn not_started() -> Self {
        let ground = Ground::new().await;
        let links = Links::new(ground.processes.registry().clone()).await.unwrap();
        let header_bytes = MESSAGE.len() - 1;
        links.set_framing(Framing { preamble_bytes: PREAMBLE.len(), header_bytes }).await.unwrap();
        let scene = SCENES.fetch_add(1, Ordering::Relaxed);
        let upstreams: BTreeMap<NodeId, SocketAddr> =
            (1..=NODES).map(|i| (n(i), own_address(scene, i))).collect();
        let mut doors = BTreeMap::new();
        for (node, upstream) in &upstreams {
            let door = links.listen_attributed(node, *upstream, Stranger::IsRefused).await.unwrap();
            doors.insert(node.clone(), door);
        }
        for node in upstreams.keys() {
            let peers: Vec<SocketAddr> =
                doors.iter().filter(|(peer, _)| *peer != node).map(|(_, door)| *door).collect();
            ground.add_beating(node, upstreams[node], &peers).await;
            let clock = ground.directory.path().join(format!("{node}.clock"));
            ground.processes.give_clock(node, &clock).unwrap();
        }
        Self::of(ground, links, upstreams).await
    }

    async fn of(ground: Ground, links: Links, upstreams: BTreeMap<NodeId, SocketAddr>) -> Self {
        let leader = Mutex::new(Some(n(1)));
        let status = Mutex::new(None);
        let upgrade = Some(other_executable(&ground).await);
        let (processes, directory) = (ground.processes.clone(), ground.directory.path().to_owned());
        let members = Mutex::new(Some(upstreams.keys().cloned().collect()));
        let is_stubborn = AtomicBool::new(false);
        let cluster =
            Beating { processes, links, leader, status, upstreams, directory, upgrade, members, is_stubborn };
        Self { ground, cluster: Arc::new(cluster), stop: watch::Sender::new(false) }
    }

    /// Waits until bytes flow over every link between nodes.
    pub(crate) async fn flows(&self) {
        let links = || self.cluster.links.stats();
        let flowing = async {
            while links()
                .iter()
                .filter(|(link, stats)| link.source != Endpoint::Clients && stats.bytes_out > 0)
                .count()
                < 6
            {
                tokio::time::sleep(BEAT).await;
            }
        };
        if tokio::time::timeout(LIMIT, flowing).await.is_err() {
            let logs: Vec<_> = (1..=NODES).map(|i| std::fs::read_to_string(self.ground.log(&n(i)))).collect();
            panic!(
                "bytes do not flow over all six links: {:#?}, {:#?}, {logs:#?}",
                links(),
                self.cluster.links.strangers()
            );
        }
    }

    pub(crate) fn run(&self, faults: &[ScheduledFault]) -> tokio::task::JoinHandle<Summary> {
        self.run_with(faults, Quorum::AtMost)
    }

    pub(crate) fn run_with(
        &self,
        faults: &[ScheduledFault],
        quorum: Quorum,
    ) -> tokio::task::JoinHandle<Summary> {
        let (faults, cluster) = (faults.to_vec(), self.cluster.clone());
        let (sink, stop) = (self.ground.sink.clone(), self.stop.subscribe());
        tokio::spawn(async move { run(&faults, cluster, sink, stop, quorum).await })
    }

    /// Runs faults to their end; the summary, and everything that was recorded.
    pub(crate) async fn run_whole(&mut self, faults: &[ScheduledFault]) -> (Summary, Vec<RunEvent>) {
        let summary = within(self.run(faults)).await.unwrap();
        let mut events = Vec::new();
        while let Ok(event) = self.ground.events.try_recv() {
            events.push(event);
        }
        (summary, events)
    }

    /// Waits until a fault reaches a phase; its detail.
    pub(crate) async fn phase(&mut self, index: u32, wanted: FaultPhase) -> String {
        let is_it = |event: &RunEvent| matches!(event, RunEvent::Fault { fault, phase, .. } if (*fault, *phase) == (index, wanted));
        match self.ground.next_event(is_it).await {
            RunEvent::Fault { detail, .. } => detail,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn poison(&self) -> std::path::PathBuf {
        self.ground.directory.path().join("poison")
    }
}

impl Ground {
    pub(crate) async fn add_beating(&self, node: &NodeId, listen: SocketAddr, peers: &[SocketAddr]) {
        let own = std::env::current_exe().unwrap();
        let peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let data = data(self.directory.path(), node);
        std::fs::create_dir_all(&data).unwrap();
        let data = data.to_str().unwrap().to_owned();
        let farewell = self.directory.path().join(format!("{node}.farewell")).to_str().unwrap().to_owned();
        let poison = self.directory.path().join("poison").to_str().unwrap().to_owned();
        let variables = [
            (ROLE, "node".to_owned()),
            ("LISTEN", listen.to_string()),
            ("PEERS", peers),
            ("POISON", poison),
            ("DATA", data),
            ("FAREWELL", farewell),
        ];
        self.add_with(node, own.to_str().unwrap(), &NODE_ARGUMENTS, &variables).await.unwrap();
    }
}

/// With what a node is started.
pub(crate) const NODE_ARGUMENTS: [&str; 4] = ["node", "node_process", "--exact", "--nocapture"];

/// Where a node keeps its data.
fn data(directory: &Path, node: &NodeId) -> PathBuf {
    directory.join(format!("{node}.data"))
}

/// A copy of what the nodes execute.
pub(crate) async fn other_executable(ground: &Ground) -> Upgrade {
    let (own, path) = (std::env::current_exe().unwrap(), ground.directory.path().join("other"));
    std::fs::copy(&own, &path).unwrap();
    let (from, to) =
        (ground.processes.open(&own).await.unwrap(), ground.processes.open(&path).await.unwrap());
    Upgrade { from, to, image: Image::of_file(&path).unwrap(), path }
}

/// An executable shell script that is given to the nemesis `command`.
pub(crate) fn script(scene: &Scene, text: &str) -> String {
    let file = scene.cluster.directory.join("command.sh");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("command:{}", file.display())
}

/// An address that no other scene has, and nobody who dials or binds without a wish: those get 127.0.0.1.
pub(crate) fn own_address(scene: u8, node: usize) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let port = 20_000 + u16::from(scene) * 10 + u16::try_from(node).unwrap();
    SocketAddr::from(([127, 128 | (high >> 1), low, 1 + (high & 1)], port))
}

pub(crate) fn fault(at: Duration, duration: Duration, kind: Kind, selector: &str) -> ScheduledFault {
    let (kind, selector) = (kind.name().to_owned(), selector.to_owned());
    ScheduledFault { at: at.into(), duration: duration.into(), kind, selector, seed: 11 }
}

pub(crate) fn at_once(kind: Kind, selector: &str) -> ScheduledFault {
    fault(Duration::ZERO, A_WHILE, kind, selector)
}

/// The phases of a fault, in order, without repeated effects.
pub(crate) fn phases(events: &[RunEvent], index: u32) -> Vec<FaultPhase> {
    let of_fault = |event: &RunEvent| match event {
        RunEvent::Fault { fault, phase, .. } if *fault == index => Some(*phase),
        _ => None,
    };
    let mut phases: Vec<FaultPhase> = events.iter().filter_map(of_fault).collect();
    phases.dedup();
    phases
}

pub(crate) fn has_trouble(events: &[RunEvent]) -> Option<&RunEvent> {
    events.iter().find(|event| {
        matches!(
            event,
            RunEvent::Infrastructure { .. }
                | RunEvent::Bypass { .. }
                | RunEvent::RestartFailed { .. }
                | RunEvent::Exited { licensed: false, .. }
                | RunEvent::Fault { phase: FaultPhase::Failed, .. }
        )
    })
}

/// What becomes of a fault that does what it is there for.
pub(crate) const WHOLE_LIFE: [FaultPhase; 5] = [
    FaultPhase::Injected,
    FaultPhase::Evidenced,
    FaultPhase::Effect,
    FaultPhase::Healing,
    FaultPhase::Healed,
];
