//! Faults against three real processes that send bytes to each other by way of attributed links.

mod clocks;
#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod disks;
mod limits;
mod lines;
mod links;
mod members;
mod packets;
mod processes;
mod scenarios;
mod scene;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use cluster::has_role;
use common::{n, within};
use history::{FaultPhase, Nanos, RunEvent, ScheduledFault};
use nemesis::process::TaskCount;
use nemesis::runner::Tally;
use nemesis::scenario::Scripts;
use nemesis::schedule::{Quorum, Rhythm, Setting};
use nemesis::{Kind, Nemesis, heal_everything, schedule};
use scene::*;

/// What a node says to a peer before its first message, and a message: its length, and what it says.
const PREAMBLE: [u8; 3] = *b"hi!";
const MESSAGE: [u8; 5] = [1, 0, 0, 0, b'.'];

/// A node: accepts connections on one address, and looks at the clocks and sends a byte to each peer again and again. It
/// ends at once when it finds a poison file, and soon when it is no member any more. It writes to its directory for data.
#[test]
fn node_process() {
    if !has_role("node") {
        return;
    }
    if std::path::Path::new(&variable("POISON")).exists() {
        std::process::exit(7);
    }
    std::thread::spawn(|| disks::write(&variable("DATA")));
    std::thread::spawn(|| members::end_when_removed(&variable("FAREWELL")));
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
            let mut said = stream.write_all(&PREAMBLE);
            while said.and_then(|()| stream.write_all(&MESSAGE)).is_ok() {
                said = Ok(());
                std::hint::black_box((SystemTime::now(), Instant::now()));
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
        (Kind::Bandwidth, "all", A_WHILE),
        (Kind::HalfOpen, "from-leader", A_WHILE),
        (Kind::HalfOpen, "to-leader", A_WHILE),
        (Kind::SlowClose, "all", A_LONG_WHILE),
        (Kind::Message, "all", A_WHILE),
        (Kind::DescriptorLimit, "leader", A_WHILE),
        (Kind::Transfer, "leader", A_WHILE),
        (Kind::Membership, "remove leader", A_WHILE),
        (Kind::Wipe, "one", A_WHILE),
        (Kind::Clock, "all", A_WHILE),
        (Kind::ClockMonotonic, "all", A_WHILE),
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
async fn operation_is_done_to_a_node() {
    let mut scene = Scene::new().await;
    let compact = ScheduledFault { kind: "operation:compact".to_owned(), ..at_once(Kind::Command, "leader") };
    let (_, events) = scene.run_whole(&[compact]).await;
    assert_eq!(phases(&events, 0), WHOLE_LIFE);
    let done = |event: &RunEvent| matches!(event, RunEvent::Fault { phase: FaultPhase::Effect, detail, .. } if detail == "n1 did compact");
    assert!(events.iter().any(done), "{events:#?}");
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
        (Kind::Membership, "remove follower", true),
        (Kind::Wipe, "leader", true),
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
async fn fault_that_would_take_the_majority_beside_another_is_skipped_when_that_is_forbidden() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::Pause, "nodes n1"),
        fault(Duration::ZERO, FOR_EVER, Kind::Kill, "nodes n2"),
        fault(Duration::ZERO, FOR_EVER, Kind::Kill, "nodes n1"),
    ];
    let handle = scene.run_with(&faults, Quorum::Never);
    let skipped = scene.phase(1, FaultPhase::Skipped).await;
    assert!(skipped.contains("no majority would be left beside nodes n2"), "{skipped}");
    scene.phase(2, FaultPhase::Evidenced).await;
    assert!(scene.cluster.processes.is_active(&n(2)));
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
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
async fn planned_schedule_ends_with_a_whole_cluster() {
    let mut scene = Scene::new().await;
    let limit = Duration::from_secs(15);
    let alone = |kind: &Kind| *kind != Kind::Upgrade && !kind.takes_argument();
    let alone = |kind: &Kind| alone(kind) && !kind.needs_disks() && !kind.needs_switch();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(alone).collect();
    let nemeses: Vec<Nemesis> = kinds.iter().copied().map(Nemesis::from).collect();
    let setting = Setting {
        seed: 5,
        time_limit: limit,
        unit: Duration::from_millis(100),
        nodes: NODES,
        rhythm: Rhythm::default(),
        scripts: Scripts::default(),
    };
    let faults = schedule::plan(&nemeses, &setting);
    let (summary, events) = scene.run_whole(&faults).await;
    assert_eq!(has_trouble(&events), None);
    assert_eq!(summary.unhealed, [""; 0]);
    for kind in &kinds {
        let tally = summary.kinds[kind];
        assert_eq!(tally.planned, tally.skipped + tally.healed, "{kind}: {tally:?}");
        assert_eq!(tally.evidenced, tally.injected, "{kind}: {tally:?}");
        // One that is planned only once may find that its node is being changed by another fault.
        assert!(tally.evidenced > 0 || tally.planned == 1, "{kind}: {tally:?}");
    }
    let proven = summary.kinds.values().filter(|tally| tally.evidenced > 0).count();
    assert!(4 * proven >= 3 * kinds.len(), "{:#?}", summary.kinds);
    let times: Vec<Nanos> = events.iter().map(RunEvent::time).collect();
    assert!(!times.is_empty());
    scene.flows().await;
}
