//! Faults of disks, against nodes that write and wait for the disk all the time.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use history::{FaultPhase, RunEvent, ScheduledFault};
use nemesis::Kind;
use nemesis::process::TaskCount;

use crate::common::{n, within};
use crate::scene::*;

/// What a server that does not trust its disk exits with.
const IO_ERROR: i32 = 74;
/// What it exits with when it finds something else than it wrote.
const DATA_ERROR: i32 = 65;
/// The length of a record, two to a page.
const RECORD_BYTES: usize = 2048;

/// A seed that draws short writes.
const SHORT_WRITES_SEED: u64 = 3;
/// How long it takes to write some of them.
const SOME_RECORDS: Duration = Duration::from_millis(500);

/// Writes a log and saves every record of it, and ends the process when the disk fails, or shows that a record is wrong
/// which is not the last.
pub(crate) fn write(directory: &str) {
    let options = OpenOptions::new().create(true).read(true).write(true).truncate(false).clone();
    let file = options.open(format!("{directory}/file")).unwrap_or_else(failed);
    let first = records(&file).unwrap_or_else(failed);
    file.set_len((first * RECORD_BYTES) as u64).unwrap_or_else(failed);
    for number in first.. {
        let written = file.write_all_at(&record(number), (number * RECORD_BYTES) as u64);
        written.and_then(|()| file.sync_data()).unwrap_or_else(failed);
        std::thread::sleep(BEAT);
    }
}

fn failed<T>(_: std::io::Error) -> T {
    std::process::exit(IO_ERROR)
}

fn record(number: usize) -> [u8; RECORD_BYTES] {
    [u8::try_from(number % 255 + 1).unwrap(); RECORD_BYTES]
}

/// How many whole records a log has.
fn records(mut file: &File) -> std::io::Result<usize> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let is_right = |(number, bytes): &(usize, &[u8])| *bytes == record(*number);
    let whole = bytes.chunks(RECORD_BYTES).enumerate().take_while(is_right).count();
    if bytes.chunks(RECORD_BYTES).enumerate().skip(whole).any(|record| is_right(&record)) {
        std::process::exit(DATA_ERROR);
    }
    Ok(whole)
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

/// It must find out by itself: the harness kills it once and starts it.
#[tokio::test]
async fn server_with_checksums_finds_a_wrong_page_and_is_excused() {
    for (kind, selector) in
        [(Kind::BitFlip, "stored leader"), (Kind::BitFlip, "read one"), (Kind::Damage, "stale nodes n2")]
    {
        let Some(mut scene) = Scene::with_disks().await else { return };
        let flip = fault(SOME_RECORDS, A_LONG_WHILE, kind, selector);
        let (summary, events) = scene.run_whole(&[flip]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{selector}: {events:#?}");
        assert_eq!(has_trouble(&events), None);
        assert_eq!(summary.unhealed, [""; 0]);
        let ended = |event: &RunEvent| matches!(event, RunEvent::Exited { status, licensed: true, .. } if status == "exit status 65");
        assert!(events.iter().any(ended), "{selector}: {events:#?}");
        scene.flows().await;
    }
}

/// Only files whose path matches go wrong, and nothing does before later fsyncs have left it alone.
#[tokio::test]
async fn files_that_nobody_means_are_left_alone() {
    let Some(mut scene) = Scene::with_disks().await else { return };
    let elsewhere = ScheduledFault {
        kind: "bit-flip:^other$".to_owned(),
        ..fault(SOME_RECORDS, A_WHILE, Kind::BitFlip, "stored one")
    };
    let (_, events) = scene.run_whole(&[elsewhere]).await;
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
}

/// The server notices no damage at the tail, and what is older; it goes on with that.
#[tokio::test]
async fn damaged_data_is_what_a_node_goes_on_with() {
    for selector in ["truncate leader", "old-copy one"] {
        let Some(mut scene) = Scene::with_disks().await else { return };
        let damage = fault(SOME_RECORDS, A_WHILE, Kind::Damage, selector);
        let (summary, events) = scene.run_whole(&[damage]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{selector}: {events:#?}");
        assert_eq!((has_trouble(&events), summary.unhealed), (None, Vec::new()));
        scene.flows().await;
        let left = std::fs::read_dir(scene.ground.directory.path()).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let copies: Vec<String> =
            names.filter(|name| name.ends_with(".kept") || name.ends_with(".old")).collect();
        assert_eq!(copies, [""; 0], "{selector}");
    }
}

/// A node that cannot start with the damage gets back what it had.
#[tokio::test]
async fn node_that_cannot_start_with_its_damage_gets_its_data_back() {
    let Some(mut scene) = Scene::with_disks().await else { return };
    let handle = scene.run(&[fault(SOME_RECORDS, FOR_EVER, Kind::Damage, "truncate nodes n1")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let victim = scene.cluster.processes.identity(&n(1)).unwrap();
    assert!(victim.signal(rustix::process::Signal::KILL));
    within(scene.cluster.processes.ended(&n(1), victim)).await.unwrap();
    let kept = scene.ground.directory.path().join("n1.kept/file");
    let kept = std::fs::metadata(kept).unwrap().len();
    scene.stop.send_replace(true);
    let healed = scene.phase(0, FaultPhase::Healed).await;
    assert!(healed.starts_with("it has back what it had; "), "{healed}");
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    let file = std::fs::metadata(scene.ground.directory.path().join("1.disk/file")).unwrap();
    assert!(file.len() >= kept / RECORD_BYTES as u64 * RECORD_BYTES as u64);
}

/// Errors of other files leave a server alone, and so do short writes, which it must expect: an end would be a crash.
#[tokio::test]
async fn errors_of_other_files_and_short_writes_end_no_server() {
    for (kind, seed, words) in [
        ("disk-error:^other$", 11, "of files like ^other$"),
        ("disk-error", SHORT_WRITES_SEED, "is short"),
        ("disk-error:^file$", SHORT_WRITES_SEED, "writes of files like ^file$ is short"),
    ] {
        let Some(mut scene) = Scene::with_disks().await else { return };
        let planned = ScheduledFault {
            kind: kind.to_owned(),
            seed,
            ..fault(SOME_RECORDS, A_LONG_WHILE, Kind::DiskError, "one")
        };
        let (summary, events) = scene.run_whole(&[planned]).await;
        let tally = summary.kinds[&Kind::DiskError];
        assert_eq!((tally.evidenced, tally.healed), (1, 1), "{events:#?}");
        assert_eq!(tally.effective == 1, !kind.ends_with("other$"), "{kind}: {events:#?}");
        let injected = |event: &RunEvent| matches!(event, RunEvent::Fault { phase: FaultPhase::Injected, detail, .. } if detail.contains(words));
        assert!(events.iter().any(injected), "{kind}: {events:#?}");
        assert!(!events.iter().any(|event| matches!(event, RunEvent::Exited { .. })), "{kind}: {events:#?}");
        scene.flows().await;
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
