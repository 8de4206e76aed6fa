//! Faults against three real processes that send bytes to each other by way of attributed links.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{Ground, become_guardian_if_asked, has_role};
use common::{LIMIT, eventually, n, within};
use history::{FaultPhase, Nanos, NodeId, RunEvent, ScheduledFault};
use nemesis::links::{FaultId, Rule, Stranger};
use nemesis::process::{Image, TaskCount};
use nemesis::runner::{Summary, Tally, run};
use nemesis::{Cluster, Endpoint, Kind, Link, Links, Nemesis, Processes, Upgrade, heal_everything, schedule};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

const NODES: usize = 3;
/// How many scenes this process has set up.
static SCENES: AtomicU8 = AtomicU8::new(0);
/// How often a node sends a byte to each peer.
const BEAT: Duration = Duration::from_millis(5);
/// Long enough for bytes to flow while a fault stands.
const A_WHILE: Duration = Duration::from_millis(200);
/// Long enough for a fault that does something again and again.
const A_LONG_WHILE: Duration = Duration::from_secs(2);
/// Longer than any test lives.
const FOR_EVER: Duration = Duration::from_secs(3600);

#[test]
fn guardian_process() {
    become_guardian_if_asked();
}

/// A node: accepts connections on one address, and sends a byte to each peer again and again. It ends at once when it
/// finds a poison file.
#[test]
fn node_process() {
    if !has_role("node") {
        return;
    }
    if std::path::Path::new(&variable("POISON")).exists() {
        std::process::exit(7);
    }
    for peer in variable("PEERS").split(',').filter(|peer| !peer.is_empty()) {
        let peer: SocketAddr = peer.parse().unwrap();
        std::thread::spawn(move || beat(peer));
    }
    for stream in TcpListener::bind(variable("LISTEN")).unwrap().incoming().flatten() {
        std::thread::spawn(move || listen(stream));
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn beat(peer: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(peer) {
            while stream.write_all(b".").is_ok() {
                std::thread::sleep(BEAT);
            }
        }
        std::thread::sleep(BEAT);
    }
}

fn listen(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// The test double of a system under test: real processes and links, and a leader that the test appoints.
struct Beating {
    processes: Arc<Processes>,
    links: Links,
    leader: Mutex<Option<NodeId>>,
    upstreams: BTreeMap<NodeId, SocketAddr>,
    directory: PathBuf,
    upgrade: Option<Upgrade>,
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

    fn unit(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn leader(&self) -> Option<NodeId> {
        self.leader.lock().unwrap().clone()
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

struct Scene {
    ground: Ground,
    cluster: Arc<Beating>,
    stop: watch::Sender<bool>,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self::not_started().await;
        for i in 1..=NODES {
            scene.cluster.processes.launch(&n(i)).await.unwrap();
        }
        scene.flows().await;
        scene
    }

    async fn not_started() -> Self {
        let ground = Ground::new().await;
        let links = Links::new(ground.processes.registry().clone()).await.unwrap();
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
        }
        let leader = Mutex::new(Some(n(1)));
        let upgrade = Some(other_executable(&ground).await);
        let (processes, directory) = (ground.processes.clone(), ground.directory.path().to_owned());
        let cluster = Beating { processes, links, leader, upstreams, directory, upgrade };
        Self { ground, cluster: Arc::new(cluster), stop: watch::Sender::new(false) }
    }

    /// Waits until bytes flow over every link between nodes.
    async fn flows(&self) {
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

    fn run(&self, faults: &[ScheduledFault]) -> tokio::task::JoinHandle<Summary> {
        let (faults, cluster) = (faults.to_vec(), self.cluster.clone());
        let (sink, stop) = (self.ground.sink.clone(), self.stop.subscribe());
        tokio::spawn(async move { run(&faults, cluster, sink, stop).await })
    }

    /// Runs faults to their end; the summary, and everything that was recorded.
    async fn run_whole(&mut self, faults: &[ScheduledFault]) -> (Summary, Vec<RunEvent>) {
        let summary = within(self.run(faults)).await.unwrap();
        let mut events = Vec::new();
        while let Ok(event) = self.ground.events.try_recv() {
            events.push(event);
        }
        (summary, events)
    }

    /// Waits until a fault reaches a phase; its detail.
    async fn phase(&mut self, index: u32, wanted: FaultPhase) -> String {
        let is_it = |event: &RunEvent| matches!(event, RunEvent::Fault { fault, phase, .. } if (*fault, *phase) == (index, wanted));
        match self.ground.next_event(is_it).await {
            RunEvent::Fault { detail, .. } => detail,
            other => panic!("{other:?}"),
        }
    }

    fn poison(&self) -> std::path::PathBuf {
        self.ground.directory.path().join("poison")
    }
}

impl Ground {
    async fn add_beating(&self, node: &NodeId, listen: SocketAddr, peers: &[SocketAddr]) {
        let own = std::env::current_exe().unwrap();
        let peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let poison = self.directory.path().join("poison").to_str().unwrap().to_owned();
        let variables = [
            (cluster::ROLE, "node".to_owned()),
            ("LISTEN", listen.to_string()),
            ("PEERS", peers),
            ("POISON", poison),
        ];
        let arguments = ["node", "node_process", "--exact", "--nocapture"];
        self.add_with(node, own.to_str().unwrap(), &arguments, &variables).await.unwrap();
    }
}

/// A copy of what the nodes execute.
async fn other_executable(ground: &Ground) -> Upgrade {
    let (own, path) = (std::env::current_exe().unwrap(), ground.directory.path().join("other"));
    std::fs::copy(&own, &path).unwrap();
    let (from, to) =
        (ground.processes.open(&own).await.unwrap(), ground.processes.open(&path).await.unwrap());
    Upgrade { from, to, image: Image::of_file(&path).unwrap(), path }
}

/// An executable shell script that is given to the nemesis `command`.
fn script(scene: &Scene, text: &str) -> String {
    let file = scene.cluster.directory.join("command.sh");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("command:{}", file.display())
}

/// An address that no other scene has, and nobody who dials or binds without a wish: those get 127.0.0.1.
fn own_address(scene: u8, node: usize) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let port = 20_000 + u16::from(scene) * 10 + u16::try_from(node).unwrap();
    SocketAddr::from(([127, 128 | (high >> 1), low, 1 + (high & 1)], port))
}

fn fault(at: Duration, duration: Duration, kind: Kind, selector: &str) -> ScheduledFault {
    let (kind, selector) = (kind.name().to_owned(), selector.to_owned());
    ScheduledFault { at: at.into(), duration: duration.into(), kind, selector, seed: 11 }
}

fn at_once(kind: Kind, selector: &str) -> ScheduledFault {
    fault(Duration::ZERO, A_WHILE, kind, selector)
}

/// The phases of a fault, in order, without repeated effects.
fn phases(events: &[RunEvent], index: u32) -> Vec<FaultPhase> {
    let of_fault = |event: &RunEvent| match event {
        RunEvent::Fault { fault, phase, .. } if *fault == index => Some(*phase),
        _ => None,
    };
    let mut phases: Vec<FaultPhase> = events.iter().filter_map(of_fault).collect();
    phases.dedup();
    phases
}

fn has_trouble(events: &[RunEvent]) -> Option<&RunEvent> {
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

const WHOLE_LIFE: [FaultPhase; 5] = [
    FaultPhase::Injected,
    FaultPhase::Evidenced,
    FaultPhase::Effect,
    FaultPhase::Healing,
    FaultPhase::Healed,
];

#[tokio::test]
async fn every_kind_lives_its_whole_life_and_leaves_nothing() {
    for (kind, selector, duration) in [
        (Kind::Kill, "leader", A_WHILE),
        (Kind::Kill, "all", A_WHILE),
        (Kind::Pause, "minority", A_WHILE),
        (Kind::Partition, "isolate-leader", A_WHILE),
        (Kind::Partition, "mute-one", A_WHILE),
        (Kind::Latency, "all", A_WHILE),
        (Kind::Term, "all", A_WHILE),
        (Kind::CrashLoop, "leader", A_LONG_WHILE),
        (Kind::RollingRestart, "all", A_LONG_WHILE),
        (Kind::Starve, "majority", A_LONG_WHILE),
        (Kind::Reset, "all", A_LONG_WHILE),
        (Kind::BlackHole, "isolate-leader", A_WHILE),
    ] {
        let mut scene = Scene::new().await;
        let (summary, events) = scene.run_whole(&[fault(Duration::ZERO, duration, kind, selector)]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{kind} {selector}: {events:#?}");
        assert_eq!(has_trouble(&events), None);
        assert_eq!(summary.unhealed, [""; 0]);
        let tally =
            Tally { planned: 1, injected: 1, evidenced: 1, effective: 1, healed: 1, ..Tally::default() };
        assert_eq!(summary.kinds, BTreeMap::from([(kind, tally)]));
        scene.flows().await;
    }
}

#[tokio::test]
async fn kill_gives_the_leader_another_process() {
    let mut scene = Scene::new().await;
    let before = scene.cluster.processes.identity(&n(1)).unwrap();
    let (_, events) = scene.run_whole(&[at_once(Kind::Kill, "leader")]).await;
    let after = scene.cluster.processes.identity(&n(1)).unwrap();
    assert_ne!(before, after);
    let ended = |event: &RunEvent| matches!(event, RunEvent::Exited { pid, licensed: true, .. } if *pid == before.pid);
    let started =
        |event: &RunEvent| matches!(event, RunEvent::Started { pid, generation: 1, .. } if *pid == after.pid);
    assert!(events.iter().position(ended).unwrap() < events.iter().position(started).unwrap());
}

/// How the processes of a node ended in the order of the ends, and whether that was licensed.
fn ends(events: &[RunEvent], of: &NodeId) -> Vec<(String, bool)> {
    let end = |event: &RunEvent| match event {
        RunEvent::Exited { node, status, licensed, .. } if node == of => Some((status.clone(), *licensed)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

#[tokio::test]
async fn asked_to_end_is_not_killed() {
    let mut scene = Scene::new().await;
    let (_, events) = scene.run_whole(&[at_once(Kind::Term, "leader")]).await;
    assert_eq!(ends(&events, &n(1)), [("signal 15".to_owned(), true)]);
}

#[tokio::test]
async fn error_on_the_way_out_is_a_crash() {
    let mut ground = Ground::new().await;
    ground.add_shell(&n(1), "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done").await.unwrap();
    ground.processes.launch(&n(1)).await.unwrap();
    let ready = || std::fs::read_to_string(ground.log(&n(1))).is_ok_and(|log| log.contains("ready"));
    eventually("the node traps the signal", ready).await;
    ground.processes.terminate(&n(1)).await.unwrap();
    let exited = ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert!(matches!(exited, RunEvent::Exited { licensed: false, .. }), "{exited:?}");
}

#[tokio::test]
async fn crash_loop_kills_a_node_many_times() {
    let mut scene = Scene::new().await;
    let faults = [fault(Duration::ZERO, A_LONG_WHILE, Kind::CrashLoop, "leader")];
    let (_, events) = scene.run_whole(&faults).await;
    let ends = ends(&events, &n(1));
    assert!(ends.len() > 3 && ends.iter().all(|end| *end == ("signal 9".to_owned(), true)), "{ends:?}");
}

#[tokio::test]
async fn rolling_restart_has_one_node_down_at_a_time() {
    let mut scene = Scene::new().await;
    let faults = [fault(Duration::ZERO, A_LONG_WHILE, Kind::RollingRestart, "all")];
    let (_, events) = scene.run_whole(&faults).await;
    let mut down = 0;
    for event in &events {
        match event {
            RunEvent::Exited { .. } => down += 1,
            RunEvent::Started { .. } => down -= 1,
            _ => {}
        }
        assert!(down <= 1, "{events:#?}");
    }
    assert!((1..=NODES).all(|i| ends(&events, &n(i)).len() == 1), "{events:#?}");
}

#[tokio::test]
async fn upgraded_nodes_execute_the_other_file_until_they_are_healed() {
    let mut scene = Scene::new().await;
    let image = |scene: &Scene, i| Image::of_process(scene.cluster.processes.identity(&n(i)).unwrap().pid);
    let before = image(&scene, 1).unwrap();
    let other = scene.cluster.upgrade.clone().unwrap().image;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Upgrade, "all")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    for _ in 1..NODES {
        scene.ground.next_event(|event| matches!(event, RunEvent::Started { .. })).await;
    }
    eventually("every node executes it", || (1..=NODES).all(|i| image(&scene, i).is_ok_and(|i| i == other)))
        .await;
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert!((1..=NODES).all(|i| image(&scene, i).unwrap() == before));
    scene.flows().await;
}

#[tokio::test]
async fn command_of_the_user_is_executed_at_start_and_end() {
    let mut scene = Scene::new().await;
    let kind = script(&scene, "echo $1 about $SHAKEDOWN_NODES at $SHAKEDOWN_ADDRESS_n1");
    let (summary, events) =
        scene.run_whole(&[ScheduledFault { kind, ..at_once(Kind::Kill, "leader") }]).await;
    assert_eq!(phases(&events, 0), WHOLE_LIFE, "{events:#?}");
    assert_eq!(has_trouble(&events), None);
    assert_eq!(summary.kinds[&Kind::Command].healed, 1);
    let said = |phase| {
        events.iter().find_map(|event| match event {
            RunEvent::Fault { phase: found, detail, .. } if *found == phase => Some(detail.clone()),
            _ => None,
        })
    };
    let address = scene.cluster.upstreams[&n(1)];
    assert_eq!(said(FaultPhase::Effect), Some(format!("start about n1 at {address}")));
    let end = said(FaultPhase::Healed).unwrap();
    assert!(end.ends_with(&format!("exit status 0 end about n1 at {address}")), "{end}");
    assert!(ends(&events, &n(1)).is_empty(), "a command is no node");
}

#[tokio::test]
async fn command_that_fails_is_a_fault_that_failed() {
    let mut scene = Scene::new().await;
    let kind = script(&scene, "test $1 = end || { echo no disk to fill; exit 3; }");
    let (_, events) = scene.run_whole(&[ScheduledFault { kind, ..at_once(Kind::Kill, "leader") }]).await;
    let said = "command.sh start: exit status 3; it printed: no disk to fill";
    let failed = |event: &RunEvent| matches!(event, RunEvent::Fault { phase: FaultPhase::Failed, detail, .. } if detail.ends_with(said));
    assert!(events.iter().any(failed), "{events:#?}");
}

#[tokio::test]
async fn starved_node_keeps_its_process_and_stands_still_for_a_part_of_the_time() {
    let mut scene = Scene::new().await;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Starve, "leader")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let count = || TaskCount::of(&scene.cluster.processes.tree(&n(1)));
    for _ in 0..3 {
        eventually("it stands still", || count().all_stopped()).await;
        eventually("it runs", || count().none_stopped()).await;
    }
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert!(scene.ground.events.try_recv().is_ok(), "something was recorded");
    assert!(count().none_stopped());
}

#[tokio::test]
async fn other_faults_leave_a_starved_node_alone() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, A_LONG_WHILE, Kind::Starve, "leader"),
        fault(A_WHILE, Duration::ZERO, Kind::Pause, "leader"),
    ];
    let (summary, events) = scene.run_whole(&faults).await;
    assert_eq!(has_trouble(&events), None);
    assert_eq!((summary.kinds[&Kind::Starve].healed, summary.kinds[&Kind::Pause].skipped), (1, 1));
}

#[tokio::test]
async fn bytes_in_a_black_hole_never_arrive() {
    let mut scene = Scene::new().await;
    let lost = |scene: &Scene| -> u64 {
        let stats = scene.cluster.links.stats();
        stats.values().map(|stats| stats.bytes_in - stats.bytes_out).sum()
    };
    let (_, events) = scene.run_whole(&[at_once(Kind::BlackHole, "isolate-leader")]).await;
    assert_eq!(phases(&events, 0), WHOLE_LIFE);
    let resets: u64 = scene.cluster.links.stats().values().map(|stats| stats.resets).sum();
    assert!(resets >= 2, "{resets} connections were reset");
    // Two peers and the leader itself send a byte every five milliseconds.
    eventually("what is lost does not come back", || lost(&scene) >= 20).await;
    scene.flows().await;
    assert!(lost(&scene) >= 20);
}

#[tokio::test]
async fn carried_out_schedule_can_be_carried_out_again() {
    let mut scene = Scene::new().await;
    let injected = |events: &[RunEvent]| -> String {
        let detail = |event: &RunEvent| match event {
            RunEvent::Fault { phase: FaultPhase::Injected, detail, .. } => Some(detail.clone()),
            _ => None,
        };
        events.iter().find_map(detail).unwrap()
    };
    for (kind, selector) in [(Kind::Kill, "one"), (Kind::Partition, "random-halves"), (Kind::Latency, "some")]
    {
        let planned = [at_once(kind, selector)];
        let (_, events) = scene.run_whole(&planned).await;
        let again = schedule::resolved(&planned, &events, events[0].time());
        let (_, events_again) = scene.run_whole(&again).await;
        assert_eq!(injected(&events), format!("{selector}: {}", injected(&events_again)));
    }
}

#[tokio::test]
async fn quorum_is_judged_when_a_fault_is_injected() {
    for (kind, selector, left) in [
        (Kind::Kill, "one", true),
        (Kind::Kill, "majority", false),
        (Kind::Pause, "leader", true),
        (Kind::Partition, "isolate-leader", true),
        (Kind::Partition, "majorities-ring", false),
        (Kind::Partition, "clients-one", true),
        (Kind::Latency, "all", true),
    ] {
        let mut scene = Scene::new().await;
        let (_, events) = scene.run_whole(&[fault(Duration::ZERO, Duration::ZERO, kind, selector)]).await;
        let judged = events.iter().find_map(|event| match event {
            RunEvent::Fault { leaves_quorum, phase: FaultPhase::Injected, .. } => *leaves_quorum,
            _ => None,
        });
        assert_eq!(judged, Some(left), "{kind} {selector}");
    }
}

#[tokio::test]
async fn change_of_leader_is_an_effect() {
    let mut scene = Scene::new().await;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Pause, "leader")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    *scene.cluster.leader.lock().unwrap() = Some(n(2));
    assert_eq!(scene.phase(0, FaultPhase::Effect).await, "n2 leads after n1");
    scene.stop.send_replace(true);
    within(handle).await.unwrap();
}

#[tokio::test]
async fn stopped_run_heals_at_once_and_skips_the_rest() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::Pause, "one"),
        fault(Duration::ZERO, FOR_EVER, Kind::Partition, "random-halves"),
        fault(FOR_EVER, FOR_EVER, Kind::Kill, "all"),
    ];
    let handle = scene.run(&faults);
    scene.phase(1, FaultPhase::Evidenced).await;
    scene.stop.send_replace(true);
    let skipped = scene.phase(2, FaultPhase::Skipped).await;
    assert!(skipped.contains("the load was over"), "{skipped}");
    let summary = within(handle).await.unwrap();
    assert_eq!(summary.unhealed, [""; 0]);
    assert_eq!((summary.kinds[&Kind::Pause].healed, summary.kinds[&Kind::Partition].healed), (1, 1));
    let tasks = |i| TaskCount::of(&scene.cluster.processes.tree(&n(i)));
    assert!((1..=NODES).all(|i| tasks(i).none_stopped()));
}

#[tokio::test]
async fn fault_without_a_leader_is_skipped() {
    let mut scene = Scene::new().await;
    *scene.cluster.leader.lock().unwrap() = None;
    let (summary, events) = scene.run_whole(&[at_once(Kind::Kill, "leader")]).await;
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
    assert_eq!(summary.kinds[&Kind::Kill].skipped, 1);
}

#[tokio::test]
async fn paused_node_can_be_killed_and_comes_back() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, Duration::from_secs(1), Kind::Pause, "leader"),
        fault(A_WHILE, A_WHILE, Kind::Kill, "leader"),
    ];
    let (summary, events) = scene.run_whole(&faults).await;
    assert_eq!(has_trouble(&events), None);
    assert_eq!((summary.kinds[&Kind::Pause].healed, summary.kinds[&Kind::Kill].healed), (1, 1));
    assert!(scene.cluster.processes.is_active(&n(1)));
    scene.flows().await;
}

#[tokio::test]
async fn overlapping_partitions_leave_links_open_only_at_the_end() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, Duration::from_secs(1), Kind::Partition, "isolate-leader"),
        fault(A_WHILE, Duration::ZERO, Kind::Partition, "isolate-leader"),
    ];
    let handle = scene.run(&faults);
    let healed = scene.phase(1, FaultPhase::Healed).await;
    assert_eq!(healed, "0 canaries passed; 4 links are still held by other faults");
    assert!(scene.cluster.links.rule(&Link::new(n(1), n(2))).held);
    assert!(within(handle).await.unwrap().unhealed.is_empty());
    assert_eq!(scene.cluster.links.rule(&Link::new(n(1), n(2))), Rule::default());
}

#[tokio::test]
async fn node_that_does_not_come_back_is_reported() {
    let mut scene = Scene::new().await;
    std::fs::write(scene.poison(), "").unwrap();
    let (summary, events) = scene.run_whole(&[at_once(Kind::Kill, "leader")]).await;
    let failed = |event: &RunEvent| matches!(event, RunEvent::RestartFailed { detail, .. } if detail.contains("exit status 7"));
    assert!(events.iter().any(failed), "{events:#?}");
    assert_eq!(summary.unhealed.len(), 1);
    assert!(summary.unhealed[0].contains("n1 did not come back"), "{:?}", summary.unhealed);
}

#[tokio::test]
async fn crash_is_not_licensed_and_is_healed_at_the_end() {
    let mut scene = Scene::new().await;
    let victim = scene.cluster.processes.identity(&n(2)).unwrap();
    assert!(victim.signal(rustix::process::Signal::KILL));
    let exited = scene.ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert!(matches!(exited, RunEvent::Exited { licensed: false, .. }));
    assert_eq!(heal_everything(&*scene.cluster, &scene.ground.sink).await, [""; 0]);
    assert_eq!(heal_everything(&*scene.cluster, &scene.ground.sink).await, [""; 0]);
    assert!(scene.cluster.processes.is_active(&n(2)));
}

#[tokio::test]
async fn lost_guardian_is_not_blamed_on_the_nodes() {
    let mut scene = Scene::new().await;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Kill, "leader")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let guardian = nemesis::process::identity(scene.cluster.processes.guardian_pid()).unwrap();
    assert!(guardian.signal(rustix::process::Signal::KILL));
    scene.ground.next_event(|event| matches!(event, RunEvent::Infrastructure { .. })).await;
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed.len(), NODES);
    while let Ok(event) = scene.ground.events.try_recv() {
        assert!(!matches!(event, RunEvent::RestartFailed { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn connection_that_avoids_the_links_is_found() {
    let mut scene = Scene::not_started().await;
    let direct = [scene.cluster.upstreams[&n(2)]];
    scene.ground.add_beating(&n(1), scene.cluster.upstreams[&n(1)], &direct).await;
    for i in [1, 2] {
        scene.cluster.processes.launch(&n(i)).await.unwrap();
    }
    eventually("the bypass is found", || !scene.cluster.links.audit().unwrap().is_empty()).await;
    let (_, events) = scene.run_whole(&[]).await;
    let found = |event: &RunEvent| matches!(event, RunEvent::Bypass { detail, .. } if detail.contains("n1"));
    assert!(events.iter().any(found), "{events:#?}");
}

#[tokio::test]
async fn dialler_that_is_no_node_is_refused_and_reported() {
    let scene = Scene::new().await;
    let links = &scene.cluster.links;
    let open = async |stranger| {
        let door = links.listen_attributed(&n(1), scene.cluster.upstreams[&n(1)], stranger).await.unwrap();
        tokio::net::TcpStream::connect(door).await.unwrap()
    };
    let mut refused = open(Stranger::IsRefused).await;
    let error = within(refused.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(links.strangers().count, 1);

    let _client = open(Stranger::IsClient).await;
    let link = Link::new(Endpoint::Clients, n(1));
    eventually("it counts as a client", || {
        links.stats().get(&link).is_some_and(|stats| stats.connections == 1)
    })
    .await;
}

#[tokio::test]
async fn cut_between_two_nodes_holds_their_bytes_only() {
    let scene = Scene::new().await;
    let cut = Link::new(n(1), n(2));
    scene.cluster.links.impose(FaultId(0), &cut, Rule::HOLD);
    let held = |link: &Link| scene.cluster.links.stats()[link].bytes_held;
    eventually("bytes wait", || held(&cut) > 0).await;
    assert!(scene.cluster.links.stats().iter().all(|(link, stats)| *link == cut || stats.bytes_held == 0));
}

#[tokio::test]
async fn planned_schedule_ends_with_a_whole_cluster() {
    let mut scene = Scene::new().await;
    let limit = Duration::from_secs(15);
    let alone = |kind: &Kind| ![Kind::Upgrade, Kind::Command].contains(kind);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(alone).collect();
    let nemeses: Vec<Nemesis> = kinds.iter().copied().map(Nemesis::from).collect();
    let faults = schedule::plan(&nemeses, 5, limit, Duration::from_millis(100), NODES);
    let (summary, events) = scene.run_whole(&faults).await;
    assert_eq!(has_trouble(&events), None);
    assert_eq!(summary.unhealed, [""; 0]);
    for kind in kinds {
        let tally = summary.kinds[&kind];
        assert_eq!(tally.planned, tally.skipped + tally.healed, "{kind}: {tally:?}");
        assert!(tally.evidenced > 0 && tally.evidenced == tally.injected, "{kind}: {tally:?}");
    }
    let times: Vec<Nanos> = events.iter().map(RunEvent::time).collect();
    assert!(!times.is_empty());
    scene.flows().await;
}
