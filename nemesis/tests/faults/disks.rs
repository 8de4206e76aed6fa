//! Faults of disks, against nodes that write and wait for the disk all the time.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use history::{FaultPhase, RunEvent};
use nemesis::Kind;
use nemesis::process::TaskCount;

use crate::common::{n, within};
use crate::scene::*;

/// What a server that does not trust its disk exits with.
const IO_ERROR: i32 = 74;

/// Writes and saves again and again, and ends the process when the disk fails.
pub(crate) fn write(directory: &str) {
    let open = || OpenOptions::new().create(true).append(true).open(format!("{directory}/file"));
    let mut file = open().unwrap_or_else(|_| std::process::exit(IO_ERROR));
    loop {
        if writeln!(file, "a line").and_then(|()| file.sync_data()).is_err() {
            std::process::exit(IO_ERROR);
        }
        std::thread::sleep(BEAT);
    }
}

#[tokio::test]
async fn faults_of_disks_live_their_whole_lives_and_leave_nothing() {
    for (kind, selector) in [
        (Kind::Power, "leader"),
        (Kind::Power, "all"),
        (Kind::DiskError, "leader"),
        (Kind::DiskFull, "minority"),
        (Kind::SlowDisk, "all"),
    ] {
        let Some(mut scene) = Scene::with_disks().await else { return };
        let (summary, events) = scene.run_whole(&[fault(Duration::ZERO, A_LONG_WHILE, kind, selector)]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{kind} {selector}: {events:#?}");
        assert_eq!(has_trouble(&events), None);
        assert_eq!((summary.unhealed, summary.kinds[&kind].effective), (Vec::new(), 1));
        scene.flows().await;
    }
}

/// The same end without the fault is a crash.
#[tokio::test]
async fn server_that_ends_with_its_disk_is_excused() {
    for kind in [Kind::DiskError, Kind::DiskFull] {
        let Some(mut scene) = Scene::with_disks().await else { return };
        let (_, events) = scene.run_whole(&[fault(Duration::ZERO, A_LONG_WHILE, kind, "leader")]).await;
        let ended = |event: &RunEvent| matches!(event, RunEvent::Exited { status, licensed: true, .. } if status == "exit status 74");
        assert!(events.iter().any(ended), "{kind}: {events:#?}");
        let log = scene.ground.log(&n(1));
        assert!(!scene.cluster.processes.excused_parts(&log).is_empty());
    }
}

#[tokio::test]
async fn what_waits_for_its_disk_can_be_paused_and_killed() {
    let Some(mut scene) = Scene::with_disks().await else { return };
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::SlowDisk, "all"),
        fault(Duration::ZERO, A_WHILE, Kind::Pause, "one"),
        fault(A_LONG_WHILE, A_WHILE, Kind::Kill, "all"),
    ];
    let handle = scene.run(&faults);
    for fault in [0, 1] {
        scene.phase(fault, FaultPhase::Evidenced).await;
    }
    scene.phase(2, FaultPhase::Healed).await;
    scene.stop.send_replace(true);
    let summary = within(handle).await.unwrap();
    assert_eq!(summary.unhealed, [""; 0]);
    assert!((1..=NODES).all(|i| TaskCount::of(&scene.cluster.processes.tree(&n(i))).none_stopped()));
    let mut events = Vec::new();
    while let Ok(event) = scene.ground.events.try_recv() {
        events.push(event);
    }
    assert_eq!(has_trouble(&events), None);
}

#[tokio::test]
async fn nodes_without_disks_of_ours_are_passed_over() {
    let mut scene = Scene::new().await;
    let (summary, events) = scene.run_whole(&[at_once(Kind::Power, "one")]).await;
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
    assert_eq!(summary.kinds[&Kind::Power].skipped, 1);
}
