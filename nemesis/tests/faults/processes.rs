//! Faults that change processes, and what is recorded of their ends.

use std::time::Duration;

use history::{FaultPhase, NodeId, RunEvent, ScheduledFault};
use nemesis::Kind;
use nemesis::process::{Image, TaskCount};

use crate::cluster::Ground;
use crate::common::{eventually, n, within};
use crate::scene::*;

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

/// A start or a kill that is cut off would leave a node of which nobody knows whether it runs.
#[tokio::test]
async fn fault_ends_between_two_of_its_steps() {
    let mut scene = Scene::new().await;
    for kind in [Kind::CrashLoop, Kind::RollingRestart] {
        for duration_ms in (0..60).step_by(3) {
            let duration = Duration::from_millis(duration_ms);
            let (summary, events) = scene.run_whole(&[fault(Duration::ZERO, duration, kind, "all")]).await;
            assert_eq!(
                (has_trouble(&events), summary.unhealed),
                (None, Vec::new()),
                "{kind} for {duration:?}"
            );
        }
    }
    scene.flows().await;
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
