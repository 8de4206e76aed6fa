//! Scripts of faults: what their steps do, and what becomes of a script that cannot go on.

use std::time::Duration;

use history::{FaultPhase, RunEvent, ScheduledFault};
use nemesis::process::TaskCount;
use nemesis::runner::Tally;
use nemesis::{Endpoint, Kind, Link, NodeStatus};

use crate::common::{eventually, n, within};
use crate::scene::*;

/// A scenario that is this script.
fn scenario(script: &str, duration: Duration) -> ScheduledFault {
    ScheduledFault {
        kind: "scenario:a".to_owned(),
        ..fault(Duration::ZERO, duration, Kind::Scenario, script)
    }
}

/// What was recorded of a phase of the only fault.
fn details(events: &[RunEvent], of: FaultPhase) -> Vec<String> {
    let detail = |event: &RunEvent| match event {
        RunEvent::Fault { phase, detail, .. } if *phase == of => Some(detail.clone()),
        _ => None,
    };
    events.iter().filter_map(detail).collect()
}

#[tokio::test]
async fn every_step_is_proven_and_recorded_and_the_scenario_is_over_after_the_last() {
    let mut scene = Scene::new().await;
    let script = "wait leader as L; pick follower as F; others as R; cut clients -> L; isolate F; slow L -> R by 30ms; \
                  sleep 0.1..0.2 units; reset L <-> R; heal L -> R; kill F; pause R; resume R; start F; term L; heal";
    let (summary, events) = scene.run_whole(&[scenario(script, FOR_EVER)]).await;
    assert_eq!(has_trouble(&events), None);
    assert_eq!(summary.unhealed, [""; 0]);
    let tally = Tally { planned: 1, injected: 1, evidenced: 1, effective: 1, healed: 1, ..Tally::default() };
    assert_eq!(summary.kinds[&Kind::Scenario], tally);
    let injected = details(&events, FaultPhase::Injected);
    assert!(injected[0].contains("L is n1"), "{injected:?}");
    assert_eq!(details(&events, FaultPhase::Evidenced), ["cut clients -> L: 1 canaries were stopped"]);
    let acted = details(&events, FaultPhase::Acted);
    let seen = [
        "isolate F: 4 canaries were stopped",
        "slow L -> R by 30ms: 1 canaries took 3",
        "sleep 0.1..0.2 units: 1",
        "reset L <-> R: 2 canaries were reset",
        "heal L -> R: 1 canaries passed",
        "kill F: n",
        "pause R: n",
        "resume R: n",
        "start F: n",
        "term L: n1 (pid ",
        "heal: ",
    ];
    assert_eq!(acted.len(), seen.len(), "{acted:#?}");
    for (acted, seen) in acted.iter().zip(seen) {
        assert!(acted.starts_with(seen), "{acted} is not {seen}");
    }
    assert_eq!(details(&events, FaultPhase::Effect), ["all 15 steps were done"]);
    scene.flows().await;
}

#[tokio::test]
async fn steps_do_what_they_say() {
    let mut scene = Scene::new().await;
    let script = "wait leader as L; others as R; cut L -> R; pause R; kill L; wait uncommitted on L";
    let handle = scene.run(&[scenario(script, FOR_EVER)]);
    scene.phase(0, FaultPhase::Evidenced).await;
    let (processes, links) = (scene.cluster.processes.clone(), scene.cluster.links.clone());
    let tasks = |i| TaskCount::of(&processes.tree(&n(i)));
    eventually("the others stand still", || tasks(2).all_stopped() && tasks(3).all_stopped()).await;
    eventually("the leader is gone", || processes.identity(&n(1)).is_none()).await;
    for (from, to, held) in [(1, 2, true), (1, 3, true), (2, 1, false), (2, 3, false)] {
        assert_eq!(links.rule(&Link::new(n(from), n(to))).held, held, "n{from} to n{to}");
    }
    assert!(!links.rule(&Link::new(Endpoint::Clients, n(1))).held);
    scene.stop.send_replace(true);
    assert_eq!(within(handle).await.unwrap().unhealed, [""; 0]);
    assert!((1..=NODES).all(|i| processes.is_active(&n(i)) && tasks(i).none_stopped()));
    scene.flows().await;
}

#[tokio::test]
async fn waits_end_when_the_cluster_says_so() {
    let mut scene = Scene::new().await;
    let script =
        "wait leader as L; pause L; wait new leader as M; wait uncommitted on M; wait M leads; kill M";
    let handle = scene.run(&[scenario(script, FOR_EVER)]);
    scene.phase(0, FaultPhase::Evidenced).await;
    *scene.cluster.leader.lock().unwrap() = Some(n(3));
    assert_eq!(scene.phase(0, FaultPhase::Acted).await, "wait new leader as M: n3 leads");
    *scene.cluster.status.lock().unwrap() = Some(NodeStatus { leads: false, uncommitted: Some(7) });
    let uncommitted = scene.phase(0, FaultPhase::Acted).await;
    assert_eq!(uncommitted, "wait uncommitted on M: n3 holds 7 entries that may not be committed");
    *scene.cluster.status.lock().unwrap() = Some(NodeStatus { leads: true, uncommitted: Some(0) });
    assert_eq!(scene.phase(0, FaultPhase::Acted).await, "wait M leads: n3 leads");
    assert_eq!(within(handle).await.unwrap().kinds[&Kind::Scenario].effective, 1);
}

#[tokio::test]
async fn scenario_that_cannot_go_on_is_skipped_with_the_reason_and_has_no_effect() {
    for (script, phases_seen, reason) in [
        (
            "wait leader as L; pick 3 followers as A B C; kill A",
            &[FaultPhase::Skipped][..],
            "3 followers are wanted, but there are 2",
        ),
        (
            "needs 5 nodes; wait leader as L; kill L",
            &[FaultPhase::Skipped],
            "it needs 5 nodes, and there are 3",
        ),
        (
            "wait leader as L; pause L; wait new leader as M; kill M",
            &[
                FaultPhase::Injected,
                FaultPhase::Evidenced,
                FaultPhase::Skipped,
                FaultPhase::Healing,
                FaultPhase::Healed,
            ],
            "step 3 of 4, `wait new leader as M`: nobody else leads, and the time was over",
        ),
        (
            "wait leader as L; kill L; wait uncommitted on L",
            &[
                FaultPhase::Injected,
                FaultPhase::Evidenced,
                FaultPhase::Skipped,
                FaultPhase::Healing,
                FaultPhase::Healed,
            ],
            "the target does not say what it has not committed",
        ),
    ] {
        let mut scene = Scene::new().await;
        *scene.cluster.status.lock().unwrap() = Some(NodeStatus { leads: false, uncommitted: None });
        let (summary, events) = scene.run_whole(&[scenario(script, A_WHILE)]).await;
        assert_eq!(phases(&events, 0), phases_seen, "{events:#?}");
        let skipped = details(&events, FaultPhase::Skipped);
        assert!(skipped[0].ends_with(reason), "{skipped:?} is not {reason}");
        let tally = summary.kinds[&Kind::Scenario];
        assert_eq!((tally.skipped, tally.effective, tally.failed), (1, 0, 0));
        scene.flows().await;
    }
}

#[tokio::test]
async fn change_of_leader_is_no_effect_of_a_scenario() {
    let mut scene = Scene::new().await;
    let handle =
        scene.run(&[scenario("wait leader as L; kill L; wait new leader as M; wait M leads", A_LONG_WHILE)]);
    scene.phase(0, FaultPhase::Evidenced).await;
    *scene.cluster.leader.lock().unwrap() = Some(n(2));
    scene.phase(0, FaultPhase::Skipped).await;
    let tally = within(handle).await.unwrap().kinds[&Kind::Scenario];
    assert_eq!((tally.effective, tally.healed), (0, 1));
}

#[tokio::test]
async fn quorum_is_left_when_few_nodes_are_harmed() {
    for (script, left) in [
        ("wait leader as L; others as R; cut R -> L; kill L", true),
        ("wait leader as L; others as R; kill R", false),
    ] {
        let mut scene = Scene::new().await;
        let (_, events) = scene.run_whole(&[scenario(script, A_WHILE)]).await;
        let judged = events.iter().find_map(|event| match event {
            RunEvent::Fault { leaves_quorum, phase: FaultPhase::Injected, .. } => *leaves_quorum,
            _ => None,
        });
        assert_eq!(judged, Some(left), "{script}");
    }
}
