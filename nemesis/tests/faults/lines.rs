//! Kills that wait for a line of output.

use std::io::Write;
use std::time::Duration;

use history::{FaultPhase, ScheduledFault};
use nemesis::Kind;
use nemesis::schedule::{Quorum, resolved};

use crate::common::{n, within};
use crate::scene::*;

/// A kill of whoever it is on whose output `pattern` matches.
fn kill_at(pattern: &str, selector: &str, duration: Duration) -> ScheduledFault {
    let kind = format!("kill:{pattern}");
    ScheduledFault { kind, ..fault(Duration::ZERO, duration, Kind::Kill, selector) }
}

/// Writes lines to the output of a node, again and again, until it is aborted.
fn chatter(scene: &Scene, node: usize, line: &'static str) -> tokio::task::JoinHandle<()> {
    let log = scene.ground.log(&n(node));
    tokio::spawn(async move {
        loop {
            let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
            writeln!(file, "{line}").unwrap();
            tokio::time::sleep(BEAT).await;
        }
    })
}

#[tokio::test]
async fn node_is_killed_at_its_line_and_comes_back() {
    let mut scene = Scene::new().await;
    let before = scene.cluster.processes.identity(&n(2)).unwrap();
    let planned = [kill_at(r"elected in term \d+$", "any", FOR_EVER)];
    let handle = scene.run(&planned);
    let lines = [chatter(&scene, 2, "elected in term 7"), chatter(&scene, 1, "elected in term seven")];
    let injected = scene.phase(0, FaultPhase::Injected).await;
    assert_eq!(injected, "any: nodes n2");
    let proof = scene.phase(0, FaultPhase::Evidenced).await;
    let ended = format!("ended: n2 (pid {}) by signal 9 at the line \"elected in term 7\"", before.pid);
    assert_eq!(proof, ended);
    lines.iter().for_each(tokio::task::JoinHandle::abort);
    scene.stop.send_replace(true);
    let tally = within(handle).await.unwrap().kinds[&Kind::Kill];
    assert_eq!((tally.evidenced, tally.healed, tally.failed), (1, 1, 0));
    assert!(scene.cluster.processes.is_active(&n(2)));
    assert_ne!(scene.cluster.processes.identity(&n(2)), Some(before));
}

#[tokio::test]
async fn line_of_another_node_or_of_before_is_not_waited_for() {
    let mut scene = Scene::new().await;
    let early = chatter(&scene, 1, "ready early");
    let log = scene.ground.log(&n(1));
    crate::common::eventually("the early line is there", || {
        std::fs::read_to_string(&log).unwrap().contains("early")
    })
    .await;
    early.abort();
    assert!(early.await.unwrap_err().is_cancelled());
    let other = chatter(&scene, 3, "ready early");
    let (summary, events) = scene.run_whole(&[kill_at("^ready", "leader", A_WHILE)]).await;
    other.abort();
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
    assert_eq!(summary.kinds[&Kind::Kill].skipped, 1);
    assert_eq!(has_trouble(&events), None);
}

#[tokio::test]
async fn others_begin_and_end_while_a_line_is_waited_for() {
    let mut scene = Scene::new().await;
    let faults = [
        kill_at("never", "one", FOR_EVER),
        kill_at("now", "nodes n1", FOR_EVER),
        fault(Duration::ZERO, A_WHILE, Kind::Kill, "all"),
    ];
    let handle = scene.run(&faults);
    scene.phase(2, FaultPhase::Healed).await;
    let line = chatter(&scene, 1, "now");
    scene.phase(1, FaultPhase::Evidenced).await;
    line.abort();
    scene.stop.send_replace(true);
    let skipped = scene.phase(0, FaultPhase::Skipped).await;
    assert_eq!(skipped, "kill:never: no line that matches never came in time");
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
}

#[tokio::test]
async fn line_on_a_node_that_the_majority_needs_is_no_reason_when_that_is_forbidden() {
    let mut scene = Scene::new().await;
    let faults = [kill_at("now", "any", FOR_EVER), fault(A_WHILE, FOR_EVER, Kind::Pause, "nodes n1")];
    let handle = scene.run_with(&faults, Quorum::Never);
    scene.phase(1, FaultPhase::Evidenced).await;
    let line = chatter(&scene, 2, "now");
    let skipped = scene.phase(0, FaultPhase::Skipped).await;
    assert!(skipped.contains("no majority would be left beside any: nodes n2"), "{skipped}");
    line.abort();
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
}

#[tokio::test]
async fn kill_that_waited_can_be_carried_out_again_on_the_same_node() {
    let mut scene = Scene::new().await;
    let planned = [kill_at("now", "any", Duration::from_secs(20))];
    let handle = scene.run(&planned);
    let line = chatter(&scene, 3, "now");
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|event| !matches!(event, history::RunEvent::Fault { phase: FaultPhase::Evidenced, .. }))
    {
        events.push(within(scene.ground.events.recv()).await.unwrap());
    }
    line.abort();
    scene.stop.send_replace(true);
    within(handle).await.unwrap();
    let again = resolved(&planned, &events, events[0].time());
    assert_eq!((again[0].kind.as_str(), again[0].selector.as_str()), ("kill:now", "nodes n3"));
}
