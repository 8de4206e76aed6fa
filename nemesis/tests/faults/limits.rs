//! Limits of memory and of descriptors, on nodes that start a thread for each connection.

use std::fs;
use std::time::Duration;

use history::{FaultPhase, RunEvent};
use nemesis::Kind;

use crate::common::{eventually, n, within};
use crate::scene::*;

/// The soft limit on the descriptors of a node, and how many it has open.
fn descriptors(scene: &Scene, node: usize) -> (String, usize) {
    let pid = scene.cluster.processes.identity(&n(node)).unwrap().pid;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap().to_owned();
    (soft, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

#[tokio::test]
async fn node_without_descriptors_goes_on_when_it_gets_them_back() {
    let mut scene = Scene::new().await;
    let (before, main) = (descriptors(&scene, 1).0, scene.cluster.processes.identity(&n(1)));
    let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, Kind::DescriptorLimit, "leader")]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let has_all_it_may = || {
        let (limit, open) = descriptors(&scene, 1);
        limit.parse().is_ok_and(|limit: usize| open == limit) && limit != before
    };
    eventually("it has all that it may have", has_all_it_may).await;
    assert_eq!(descriptors(&scene, 2).0, before, "the others are not limited");
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert_eq!(descriptors(&scene, 1).0, before);
    assert_eq!(scene.cluster.processes.identity(&n(1)), main, "it has not ended");
    eventually("it has accepted what waited", || descriptors(&scene, 1).1 < 64).await;
    scene.flows().await;
}

/// The same end without the fault is a crash.
#[tokio::test]
async fn node_without_memory_is_excused_and_started_again() {
    let mut scene = Scene::new().await;
    let main = scene.cluster.processes.identity(&n(1));
    let (summary, events) =
        scene.run_whole(&[fault(Duration::ZERO, A_LONG_WHILE, Kind::MemoryLimit, "leader")]).await;
    assert_eq!(phases(&events, 0), WHOLE_LIFE, "{events:#?}");
    assert_eq!(has_trouble(&events), None);
    assert_eq!(summary.unhealed, [""; 0]);
    let ended = |event: &RunEvent| matches!(event, RunEvent::Exited { licensed: true, .. });
    assert_eq!(events.iter().filter(|event| ended(event)).count(), 1, "{events:#?}");
    assert_ne!(scene.cluster.processes.identity(&n(1)), main);
    let log = scene.ground.log(&n(1));
    assert!(!scene.cluster.processes.excused_parts(&log).is_empty());
    scene.flows().await;
}
