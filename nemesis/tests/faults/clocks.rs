//! Faults that change clocks.

use std::time::Duration;

use history::{FaultPhase, RunEvent};
use nemesis::{Area, Kind, Skew};

use crate::common::{eventually, n, within};
use crate::scene::*;

/// What was said of the first fault in a phase.
fn said(events: &[RunEvent], wanted: FaultPhase) -> String {
    let detail = |event: &RunEvent| match event {
        RunEvent::Fault { fault: 0, phase, detail, .. } if *phase == wanted => Some(detail.clone()),
        _ => None,
    };
    events.iter().find_map(detail).unwrap_or_default()
}

#[tokio::test]
async fn clocks_are_wrong_while_the_fault_stands_and_right_again() {
    let mut scene = Scene::new().await;
    for (kind, area) in [(Kind::Clock, Area::Wall), (Kind::ClockMonotonic, Area::Monotonic)] {
        let clocks: Vec<_> = (1..=NODES).map(|i| scene.cluster.processes.clock(&n(i)).unwrap()).collect();
        let handle = scene.run(&[fault(Duration::ZERO, FOR_EVER, kind, "all")]);
        let proof = scene.phase(0, FaultPhase::Evidenced).await;
        assert!(
            proof.starts_with(&format!("the {area} is wrong: n1 (a canary with its clock is off by ")),
            "{proof}"
        );
        assert!(clocks.iter().all(|clock| clock.skew(area) != Skew::default() && clock.is_seen(area)));
        let other = if area == Area::Wall { Area::Monotonic } else { Area::Wall };
        assert!(clocks.iter().all(|clock| clock.is_right(other)));
        scene.stop.send_replace(true);
        within(handle).await.unwrap();
        assert!(clocks.iter().all(|clock| clock.is_right(area) && clock.is_seen(area)));
        scene.stop.send_replace(false);
    }
}

#[tokio::test]
async fn node_that_does_not_ask_for_the_time_is_a_fault_that_failed() {
    let mut scene = Scene::not_started().await;
    // Who has no peers to talk to has nothing to do.
    scene.ground.add_beating(&n(1), scene.cluster.upstreams[&n(1)], &[]).await;
    let processes = scene.cluster.processes.clone();
    processes.give_clock(&n(1), &scene.cluster.directory.join("clock")).unwrap();
    for i in 1..=NODES {
        processes.launch(&n(i)).await.unwrap();
    }
    let listens = || std::net::TcpStream::connect(scene.cluster.upstreams[&n(1)]).is_ok();
    eventually("n1 listens", listens).await;
    let (summary, events) = scene.run_whole(&[at_once(Kind::Clock, "leader")]).await;
    let failed = said(&events, FaultPhase::Failed);
    assert!(failed.starts_with("n1 has not asked for the time since its wall clock was changed"), "{failed}");
    assert_eq!(phases(&events, 0).last(), Some(&FaultPhase::Healed), "{events:#?}");
    assert_eq!(summary.kinds[&Kind::Clock].evidenced, 0);
}

#[tokio::test]
async fn node_without_a_clock_of_its_own_is_left_alone() {
    let mut scene = Scene::not_started().await;
    for i in 1..=NODES {
        scene.ground.add_beating(&n(i), scene.cluster.upstreams[&n(i)], &[]).await;
    }
    // What was given before does not reach processes that are started without it.
    let (_, events) = scene.run_whole(&[at_once(Kind::Clock, "leader")]).await;
    let skipped = said(&events, FaultPhase::Skipped);
    assert!(skipped.ends_with("the nodes were started with the machine's clocks"), "{skipped}");
}

#[tokio::test]
async fn killed_node_comes_back_with_its_wrong_clock() {
    let mut scene = Scene::new().await;
    let handle = scene.run(&[
        fault(Duration::ZERO, FOR_EVER, Kind::Clock, "leader"),
        fault(A_WHILE, A_WHILE, Kind::Kill, "leader"),
        fault(A_WHILE, A_WHILE, Kind::Clock, "leader"),
    ]);
    scene.phase(1, FaultPhase::Healed).await;
    let clock = scene.cluster.processes.clock(&n(1)).unwrap();
    eventually("the new process asks for the time", || clock.is_seen(Area::Wall)).await;
    assert!(!clock.is_right(Area::Wall));
    scene.stop.send_replace(true);
    let summary = within(handle).await.unwrap();
    let tally = summary.kinds[&Kind::Clock];
    assert_eq!(
        (tally.healed, tally.effective, tally.skipped, tally.failed),
        (1, 1, 1, 0),
        "a clock is wrong in one way"
    );
    assert_eq!(summary.unhealed, [""; 0]);
}
