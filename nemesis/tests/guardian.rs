//! The guardian with real processes: what it starts, what it reports, and that nothing survives it.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use cluster::{Ground, MARK, has_role, role_command};
use common::{eventually, n, within};
use history::RunEvent;
use nemesis::guardian::ExitStatus;
use nemesis::process::{self, Identity, TaskCount};
use rustix::process::Signal;
use tokio::sync::mpsc;

/// A shell with a child, a daemon that left its session, and a main process that replaced the shell.
const MESSY: &str = "sleep 7711 & (setsid sleep 7712 &) ; exec sleep 7713";

/// The variable that names the file by which a mock orchestrator says that it lost its guardian.
const REPORT: &str = "SHAKEDOWN_TEST_REPORT";

/// Waits until the tree of `n1` consists of so many processes, of which so many sleep: no shell is about to start
/// another one, or to end.
async fn grown(ground: &Ground, processes: usize, sleepers: usize) {
    let sleeps = |process: &&Identity| {
        fs::read(format!("/proc/{}/cmdline", process.pid)).is_ok_and(|line| line.starts_with(b"sleep\0"))
    };
    eventually("the tree has grown", || {
        let tree = ground.processes.tree(&n(1));
        (tree.len(), tree.iter().filter(sleeps).count()) == (processes, sleepers)
    })
    .await;
}

#[tokio::test]
async fn start_and_crash_are_recorded_in_order() {
    let mut ground = Ground::new().await;
    ground.add_shell(&n(1), "echo out; exit 3").await.unwrap();
    let identity = ground.processes.launch(&n(1)).await.unwrap();
    let started = ground.next_event(|_| true).await;
    assert!(matches!(started, RunEvent::Started { generation: 0, pid, .. } if pid == identity.pid));
    let exited = ground.next_event(|_| true).await;
    let RunEvent::Exited { status, licensed, .. } = exited else { panic!("{exited:?}") };
    assert_eq!((status.as_str(), licensed), ("exit status 3", false));
    assert_eq!(fs::read_to_string(ground.log(&n(1))).unwrap(), "out\n");
}

#[tokio::test]
async fn killed_tree_ends_whole_and_its_end_is_licensed() {
    let mut ground = Ground::new().await;
    ground.add_shell(&n(1), MESSY).await.unwrap();
    let identity = ground.processes.launch(&n(1)).await.unwrap();
    grown(&ground, 3, 3).await;
    let tree = ground.processes.tree(&n(1));
    ground.processes.kill(&n(1)).await.unwrap();
    assert_eq!(ground.processes.ended(&n(1), identity).await.unwrap(), ExitStatus::KILLED);
    assert!(tree.iter().all(|process| !process.exists()));
    let exited = ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert!(matches!(exited, RunEvent::Exited { licensed: true, .. }));

    let next = ground.processes.launch(&n(1)).await.unwrap();
    assert_ne!(next, identity);
    let started = ground.next_event(|event| matches!(event, RunEvent::Started { .. })).await;
    assert!(matches!(started, RunEvent::Started { generation: 1, .. }));
}

#[tokio::test]
async fn node_that_ends_by_itself_takes_its_tree_along() {
    let mut ground = Ground::new().await;
    ground
        .add_shell(&n(1), "sleep 7711 & (setsid sleep 7712 &) ; read line < fifo; kill -9 $$")
        .await
        .unwrap();
    let fifo = ground.directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    ground.processes.launch(&n(1)).await.unwrap();
    grown(&ground, 3, 2).await;
    let tree = ground.processes.tree(&n(1));
    tokio::task::spawn_blocking(|| fs::write(fifo, "go\n")).await.unwrap().unwrap();
    let exited = ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert!(matches!(exited, RunEvent::Exited { licensed: false, .. }), "nobody asked for this signal 9");
    assert!(tree.iter().all(|process| !process.exists()));
}

#[tokio::test]
async fn pause_stops_every_task_of_the_tree_and_resume_undoes_it() {
    let ground = Ground::new().await;
    ground.add_shell(&n(1), MESSY).await.unwrap();
    ground.processes.launch(&n(1)).await.unwrap();
    grown(&ground, 3, 3).await;
    let count = || TaskCount::of(&ground.processes.tree(&n(1)));
    assert_eq!(ground.processes.pause(&n(1)).await.unwrap(), 3);
    eventually("all tasks are stopped", || count().all_stopped() && count().stopped == 3).await;
    assert_eq!(ground.processes.resume(&n(1)).await.unwrap(), 3);
    eventually("all tasks run", || count().none_stopped()).await;
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_the_reason() {
    let ground = Ground::new().await;
    let missing = ground.processes.open("/nonexistent/server".as_ref()).await.unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/server: No such file"), "{missing}");

    let data = ground.directory.path().join("not-a-program");
    fs::write(&data, "data").unwrap();
    ground.add(&n(1), data.to_str().unwrap(), &["x"]).await.unwrap();
    let refused = ground.processes.launch(&n(1)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot execute the program"), "{refused}");

    ground.add_shell(&n(2), "exec sleep 7713").await.unwrap();
    ground.processes.launch(&n(2)).await.unwrap();
    let twice = ground.processes.launch(&n(2)).await.unwrap_err();
    assert!(twice.to_string().contains("n2 is running already"), "{twice}");
}

#[tokio::test]
async fn replaced_script_does_not_change_a_restarted_node() {
    let mut ground = Ground::new().await;
    let script = ground.directory.path().join("server.sh");
    let install = |text: &str| {
        let fresh = script.with_extension("new");
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&fresh, &script).unwrap();
    };
    install("#!/bin/sh\necho old $1\n");
    ground.add(&n(1), script.to_str().unwrap(), &["server", "argument"]).await.unwrap();
    install("#!/bin/sh\necho new $1\n");
    ground.processes.launch(&n(1)).await.unwrap();
    ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert_eq!(fs::read_to_string(ground.log(&n(1))).unwrap(), "old argument\n");
}

#[tokio::test]
async fn node_starts_with_nothing_but_what_it_was_given() {
    let mut ground = Ground::new().await;
    let script = "ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; grep -E 'Sig(Blk|Ign)' /proc/self/status; env | grep -v ^_= | sort | sed 's/=.*//' | grep -v PWD";
    ground.add_shell(&n(1), script).await.unwrap();
    ground.processes.launch(&n(1)).await.unwrap();
    ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    let log = fs::read_to_string(ground.log(&n(1))).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    // `ls` adds the directory that it reads.
    assert_eq!(lines[..2], ["4", "/dev/null"], "{log}");
    assert_eq!(lines[2..4], ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"], "{log}");
    assert_eq!(lines[4..], ["PATH", "SHAKEDOWN_NODE"], "{log}");
}

#[tokio::test]
async fn shutdown_ends_stopped_nodes_too_and_licenses_their_ends() {
    let mut ground = Ground::new().await;
    for i in 1..=2 {
        ground.add_shell(&n(i), MESSY).await.unwrap();
        ground.processes.launch(&n(i)).await.unwrap();
    }
    ground.processes.pause(&n(2)).await.unwrap();
    let trees: Vec<Identity> = [n(1), n(2)].iter().flat_map(|node| ground.processes.tree(node)).collect();
    ground.processes.shutdown().await.unwrap();
    ground.processes.shutdown().await.unwrap();
    assert!(trees.iter().all(|process| !process.exists()));
    for _ in 1..=2 {
        let exited = ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
        assert!(matches!(exited, RunEvent::Exited { licensed: true, .. }));
    }
}

/// An orchestrator that starts, stops and kills messy nodes for ever. Its parent, a test, kills it or its guardian.
#[test]
fn orchestrator_process() {
    if has_role("orchestrator") {
        tokio::runtime::Runtime::new().unwrap().block_on(orchestrate());
    }
}

async fn orchestrate() {
    let mut ground = Ground::new().await;
    let mut events = std::mem::replace(&mut ground.events, mpsc::channel(1).1);
    // Fails at the moment at which the guardian is killed, which may be in any of its steps.
    let work = tokio::spawn(async move { start_and_stop_for_ever(&ground).await });
    while !matches!(events.recv().await, Some(RunEvent::Infrastructure { .. })) {}
    fs::write(std::env::var(REPORT).unwrap(), "the guardian died").unwrap();
    let _ = work.await;
    std::future::pending().await
}

async fn start_and_stop_for_ever(ground: &Ground) -> Result<(), Box<dyn Error + Send + Sync>> {
    for i in 1..=3 {
        ground.add_shell(&n(i), MESSY).await?;
    }
    let processes = &ground.processes;
    processes.launch(&n(3)).await?;
    loop {
        let running = [processes.launch(&n(1)).await?, processes.launch(&n(2)).await?];
        processes.pause(&n(2)).await?;
        for (i, identity) in [1, 2].into_iter().zip(running) {
            processes.kill(&n(i)).await?;
            processes.ended(&n(i), identity).await?;
        }
    }
}

/// Living processes that carry the mark of one test.
fn marked(mark: &str) -> Vec<Identity> {
    let entry = format!("{MARK}={mark}");
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|found| found == entry.as_bytes())
    };
    pids.filter(carries).filter_map(process::identity).collect()
}

/// The moments after the start at which something is killed: from the first steps on, through the spawning of nodes,
/// to full operation.
fn moments() -> impl Iterator<Item = Duration> {
    (0..25).map(|i| Duration::from_micros(400 * i * i))
}

fn start_orchestrator(mark: &str, report: &std::path::Path) -> std::process::Child {
    let mut command = role_command("orchestrator_process", "orchestrator");
    command.env(MARK, mark).env(REPORT, report).stdout(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test]
async fn killed_orchestrator_leaves_no_process() {
    for moment in moments() {
        let mark = format!("orchestrator-{}-{moment:?}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        let mut orchestrator = start_orchestrator(&mark, &directory.path().join("report"));
        // Not a wait for a condition: the moment is what is tested.
        tokio::time::sleep(moment).await;
        orchestrator.kill().unwrap();
        orchestrator.wait().unwrap();
        eventually("nothing survives the orchestrator", || marked(&mark).is_empty()).await;
    }
}

#[tokio::test]
async fn killed_guardian_leaves_no_process_and_is_noticed() {
    for moment in moments() {
        let mark = format!("guardian-{}-{moment:?}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report");
        let mut orchestrator = start_orchestrator(&mark, &report);
        let own = process::identity(orchestrator.id().cast_signed()).unwrap();
        let guardian = || process::children(own.pid).first().copied().and_then(process::identity);
        eventually("there is a guardian", || guardian().is_some()).await;
        let guardian = guardian().unwrap();
        // Not a wait for a condition: the moment is what is tested.
        tokio::time::sleep(moment).await;
        assert!(guardian.signal(Signal::KILL));
        eventually("only the orchestrator survives", || marked(&mark) == [own]).await;
        eventually("the orchestrator knows", || report.exists()).await;
        assert_eq!(process::descendants(own.pid).len(), 0, "not even zombies");
        orchestrator.kill().unwrap();
        orchestrator.wait().unwrap();
    }
}

#[tokio::test]
async fn other_guardians_survive_the_end_of_one() {
    let mut dying = Ground::new().await;
    let other = Ground::new().await;
    other.add_shell(&n(1), MESSY).await.unwrap();
    let survivor = other.processes.launch(&n(1)).await.unwrap();
    let guardian = process::identity(dying.processes.guardian_pid()).unwrap();
    assert!(guardian.signal(Signal::KILL));
    within(dying.next_event(|event| matches!(event, RunEvent::Infrastructure { .. }))).await;
    eventually("the loss is known", || dying.processes.guardian_died()).await;
    assert!(survivor.exists());
    assert_eq!(other.processes.identity(&n(1)), Some(survivor));
}
