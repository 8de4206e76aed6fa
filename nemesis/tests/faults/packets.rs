//! Faults of nodes that a switch joins.

use std::time::Duration;

use history::{FaultPhase, RunEvent};
use nemesis::Kind;

use crate::scene::*;

/// What the proof of a fault says that was proven.
fn proof(events: &[RunEvent]) -> String {
    let proof = |event: &RunEvent| match event {
        RunEvent::Fault { phase: FaultPhase::Evidenced, detail, .. } => Some(detail.clone()),
        _ => None,
    };
    events.iter().find_map(proof).unwrap()
}

#[tokio::test]
async fn every_trouble_with_packets_lives_its_whole_life() {
    for (selector, shown) in [
        ("loss all", "were lost"),
        ("duplicate some", "came twice"),
        ("reorder leader", "were overtaken"),
        ("corrupt all", "were damaged"),
        ("delay one", "the fastest took"),
        ("mixture links n1→n2 n2→n3", "came twice"),
    ] {
        let Some(mut scene) = Scene::switched().await else { return };
        let troubled = fault(Duration::ZERO, A_LONG_WHILE, Kind::Packet, selector);
        let (summary, events) = scene.run_whole(&[troubled]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{selector}: {events:#?}");
        assert_eq!(has_trouble(&events), None);
        assert_eq!((summary.unhealed, summary.kinds[&Kind::Packet].effective), (Vec::new(), 1));
        let proof = proof(&events);
        assert!(proof.contains(shown) && !proof.contains(&format!(" 0 {shown}")), "{selector}: {proof}");
    }
}

#[tokio::test]
async fn faults_of_links_and_processes_live_their_whole_lives_at_a_switch() {
    for (kind, selector) in [
        (Kind::Partition, "isolate-leader"),
        (Kind::Partition, "mute-one"),
        (Kind::BlackHole, "halves"),
        (Kind::Latency, "all"),
        (Kind::Pause, "leader"),
    ] {
        let Some(mut scene) = Scene::switched().await else { return };
        let (summary, events) = scene.run_whole(&[fault(Duration::ZERO, A_LONG_WHILE, kind, selector)]).await;
        assert_eq!(phases(&events, 0), WHOLE_LIFE, "{kind} {selector}: {events:#?}");
        assert_eq!(has_trouble(&events), None);
        assert_eq!((summary.unhealed, summary.kinds[&kind].effective), (Vec::new(), 1));
    }
}

#[tokio::test]
async fn killed_node_answers_again_at_a_switch() {
    let Some(mut scene) = Scene::switched().await else { return };
    let faults =
        [fault(Duration::ZERO, A_LONG_WHILE, Kind::Packet, "loss all"), at_once(Kind::Kill, "leader")];
    let (summary, events) = scene.run_whole(&faults).await;
    assert_eq!(has_trouble(&events), None, "{events:#?}");
    assert_eq!((summary.kinds[&Kind::Kill].healed, summary.kinds[&Kind::Packet].healed), (1, 1));
}

#[tokio::test]
async fn links_carry_no_packets() {
    let mut scene = Scene::new().await;
    let (summary, events) = scene.run_whole(&[at_once(Kind::Packet, "loss all")]).await;
    assert_eq!(phases(&events, 0), [FaultPhase::Skipped]);
    assert_eq!(summary.kinds[&Kind::Packet].skipped, 1);
}
