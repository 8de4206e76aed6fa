//! Nodes that leave the cluster and come back with nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use history::{FaultPhase, NodeId, RunEvent, ScheduledFault};
use nemesis::{Cluster, Kind};

use crate::common::{eventually, n, within};
use crate::scene::*;

/// Ends the process when somebody writes the file, as servers do that find out that they were removed.
pub(crate) fn end_when_removed(farewell: &str) {
    while !std::path::Path::new(farewell).exists() {
        std::thread::sleep(BEAT);
    }
    std::process::exit(0);
}

/// A file that a node wrote before, which a new member must not find.
fn leave_a_trace(scene: &Scene, node: &NodeId) -> std::path::PathBuf {
    let trace = scene.cluster.data(node).join("trace");
    std::fs::write(&trace, "from the old member").unwrap();
    trace
}

fn arguments(scene: &Scene, node: &NodeId) -> String {
    let pid = scene.cluster.processes.identity(node).unwrap().pid;
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().replace('\0', " ")
}

fn members(scene: &Scene) -> Vec<NodeId> {
    scene.cluster.members.lock().unwrap().clone().unwrap().into_iter().collect()
}

fn unlicensed(event: &RunEvent) -> bool {
    matches!(event, RunEvent::Exited { licensed: false, .. })
}

#[tokio::test]
async fn removed_node_comes_back_as_a_new_member_with_nothing() {
    let mut scene = Scene::new().await;
    let trace = leave_a_trace(&scene, &n(1));
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Membership, "remove leader")]);
    let proof = scene.phase(0, FaultPhase::Evidenced).await;
    assert!(proof.contains("n1 is removed") && proof.contains(" lists n2, n3"), "{proof}");
    assert_eq!(members(&scene), [n(2), n(3)]);
    eventually("it ends by itself", || scene.cluster.processes.identity(&n(1)).is_none()).await;
    scene.stop.send_replace(true);
    let healed = scene.phase(0, FaultPhase::Healed).await;
    assert!(healed.ends_with("list n1, n2, n3"), "{healed}");
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert_eq!(members(&scene), [n(1), n(2), n(3)]);
    assert!(!trace.exists());
    assert!(arguments(&scene, &n(1)).contains("joins-n1 joins-n2 joins-n3"));
    assert!(!arguments(&scene, &n(2)).contains("joins"));
    scene.flows().await;
}

#[tokio::test]
async fn replaced_node_is_back_while_the_fault_stands() {
    let mut scene = Scene::new().await;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Membership, "replace nodes n2")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let acted = scene.phase(0, FaultPhase::Acted).await;
    assert!(acted.starts_with("n2 is back"), "{acted}");
    assert!(arguments(&scene, &n(2)).contains("joins-n1 joins-n2 joins-n3"));
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert!(scene.cluster.processes.is_active(&n(2)));
}

#[tokio::test]
async fn removal_that_does_not_happen_is_not_proven() {
    let mut scene = Scene::new().await;
    scene.cluster.is_stubborn.store(true, Ordering::Relaxed);
    let (cluster, sink) = (scene.cluster.clone(), scene.stop.clone());
    let handle = scene.run(&[at_once(Kind::Membership, "remove one")]);
    let failed = scene.phase(0, FaultPhase::Failed).await;
    assert!(
        failed.contains("lists it still") || failed.contains("answers linearizable reads still"),
        "{failed}"
    );
    cluster.is_stubborn.store(false, Ordering::Relaxed);
    sink.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert_eq!(members(&scene).len(), NODES);
}

#[tokio::test]
async fn other_faults_neither_choose_nor_start_a_node_that_is_away() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::Membership, "remove leader"),
        fault(A_WHILE, A_WHILE, Kind::Kill, "all"),
    ];
    let handle = scene.run(&faults);
    scene.phase(0, FaultPhase::Evidenced).await;
    let healed = scene.phase(1, FaultPhase::Healed).await;
    assert!(healed.contains("n2") && healed.contains("n3") && !healed.contains("n1"), "{healed}");
    assert!(scene.cluster.processes.identity(&n(1)).is_none());
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert!(scene.cluster.processes.is_active(&n(1)));
}

#[tokio::test]
async fn no_second_node_leaves_while_one_is_away() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::Membership, "remove leader"),
        fault(A_WHILE, A_WHILE, Kind::Wipe, "one"),
    ];
    let handle = scene.run(&faults);
    let skipped = scene.phase(1, FaultPhase::Skipped).await;
    assert!(skipped.contains("n1 is no member at this moment"), "{skipped}");
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
}

#[tokio::test]
async fn end_of_a_removed_process_is_nobodys_crash_and_later_ones_are() {
    let mut scene = Scene::new().await;
    let (_, events) = scene.run_whole(&[at_once(Kind::Membership, "remove leader")]).await;
    assert!(!events.iter().any(unlicensed), "{events:#?}");
    let process = scene.cluster.processes.identity(&n(1)).unwrap();
    assert!(process.signal(rustix::process::Signal::KILL));
    let exited = scene.ground.next_event(|event| matches!(event, RunEvent::Exited { .. })).await;
    assert!(unlicensed(&exited), "{exited:?}");
}

#[tokio::test]
async fn wiped_node_is_killed_and_finds_nothing_of_what_it_wrote() {
    for mut scene in [Scene::new().await, Scene::without_membership().await] {
        *scene.cluster.status.lock().unwrap() = Some(nemesis::NodeStatus { leads: false, uncommitted: None });
        let before = scene.cluster.processes.identity(&n(1)).unwrap();
        let trace = leave_a_trace(&scene, &n(1));
        let (summary, events) = scene.run_whole(&[at_once(Kind::Wipe, "leader")]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{events:#?}");
        assert_eq!((has_trouble(&events), summary.unhealed), (None, Vec::new()));
        assert_ne!(scene.cluster.processes.identity(&n(1)), Some(before));
        assert!(!trace.exists());
        assert_eq!(arguments(&scene, &n(1)).contains("joins"), scene.cluster.offers_membership());
        scene.flows().await;
    }
}

#[tokio::test]
async fn disk_of_ours_is_emptied_too() {
    let Some(mut scene) = Scene::with_disks().await else { return };
    let backing = scene.ground.directory.path().join("1.disk");
    let written = || std::fs::metadata(backing.join("file")).map_or(0, |metadata| metadata.len());
    eventually("it has written something", || written() > 1000).await;
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::Wipe, "leader")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    assert_eq!(std::fs::read_dir(&backing).unwrap().count(), 0);
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    eventually("it writes again", || written() > 0).await;
}

#[tokio::test]
async fn node_is_wiped_in_place_only_when_all_others_are_whole() {
    let mut scene = Scene::without_membership().await;
    let faults = [
        fault(Duration::ZERO, FOR_EVER, Kind::Partition, "links n1→n2"),
        fault(A_WHILE, A_WHILE, Kind::Wipe, "nodes n3"),
    ];
    let handle = scene.run(&faults);
    let skipped = scene.phase(1, FaultPhase::Skipped).await;
    assert!(skipped.contains("n1→n2 is cut"), "{skipped}");
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
}

/// A leader remembers what the node once acknowledged.
#[tokio::test]
async fn leader_is_restarted_before_a_node_comes_back_in_place() {
    let mut scene = Scene::without_membership().await;
    *scene.cluster.status.lock().unwrap() = Some(nemesis::NodeStatus { leads: true, uncommitted: None });
    let before = [2, 3].map(|i| scene.cluster.processes.identity(&n(i)));
    let (_, events) = scene.run_whole(&[at_once(Kind::Wipe, "nodes n1")]).await;
    assert_eq!((phases(&events, 0), has_trouble(&events)), (WHOLE_LIFE.to_vec(), None));
    let after = [2, 3].map(|i| scene.cluster.processes.identity(&n(i)));
    assert!(before[0] != after[0] && before[1] != after[1], "both said that they lead");
}

#[tokio::test]
async fn target_without_membership_has_none_to_change() {
    let mut scene = Scene::without_membership().await;
    let (_, events) = scene.run_whole(&[at_once(Kind::Membership, "remove one")]).await;
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
}

#[tokio::test]
async fn scenario_removes_and_adds_and_leaves_everybody_a_member() {
    let mut scene = Scene::new().await;
    let script = "wait leader as L; pick 2 followers as A B; remove A; kill B; start B; add A at L; remove A at L; \
                  try remove B at L; sleep 1 unit";
    let scenario = ScheduledFault {
        kind: "scenario:a".to_owned(),
        ..fault(Duration::ZERO, FOR_EVER, Kind::Scenario, script)
    };
    let (summary, events) = scene.run_whole(&[scenario]).await;
    assert_eq!((has_trouble(&events), summary.unhealed), (None, Vec::new()), "{events:#?}");
    assert_eq!(summary.kinds[&Kind::Scenario].effective, 1, "{events:#?}");
    assert_eq!(members(&scene).len(), NODES);
    assert!(arguments(&scene, &n(2)).contains("joins") && arguments(&scene, &n(3)).contains("joins"));
    scene.flows().await;
}
