//! Faults that change links, and what is found beside the links.

use std::time::Duration;

use history::{FaultPhase, RunEvent};
use nemesis::links::{FaultId, Rule, Stranger};
use nemesis::{Endpoint, Kind, Link};
use tokio::io::AsyncReadExt;

use crate::common::{eventually, n, within};
use crate::scene::*;

#[tokio::test]
async fn bytes_in_a_black_hole_never_arrive() {
    let mut scene = Scene::new().await;
    let lost = |scene: &Scene| -> u64 {
        let stats = scene.cluster.links.stats();
        stats.values().map(|stats| stats.bytes_in - stats.bytes_out).sum()
    };
    let (_, events) = scene.run_whole(&[at_once(Kind::BlackHole, "isolate-leader")]).await;
    assert_eq!(phases(&events, 0), WHOLE_LIFE);
    let resets: u64 = scene.cluster.links.stats().values().map(|stats| stats.resets).sum();
    assert!(resets >= 2, "{resets} connections were reset");
    // Two peers and the leader itself send a byte every five milliseconds.
    eventually("what is lost does not come back", || lost(&scene) >= 20).await;
    scene.flows().await;
    assert!(lost(&scene) >= 20);
}

#[tokio::test]
async fn overlapping_partitions_leave_links_open_only_at_the_end() {
    let mut scene = Scene::new().await;
    let faults = [
        fault(Duration::ZERO, Duration::from_secs(1), Kind::Partition, "isolate-leader"),
        fault(A_WHILE, Duration::ZERO, Kind::Partition, "isolate-leader"),
    ];
    let handle = scene.run(&faults);
    let healed = scene.phase(1, FaultPhase::Healed).await;
    assert_eq!(healed, "0 canaries passed; 4 links are still held by other faults");
    assert!(scene.cluster.links.rule(&Link::new(n(1), n(2))).held);
    assert!(within(handle).await.unwrap().unhealed.is_empty());
    assert_eq!(scene.cluster.links.rule(&Link::new(n(1), n(2))), Rule::default());
}

#[tokio::test]
async fn connection_that_avoids_the_links_is_found() {
    let mut scene = Scene::not_started().await;
    let direct = [scene.cluster.upstreams[&n(2)]];
    scene.ground.add_beating(&n(1), scene.cluster.upstreams[&n(1)], &direct).await;
    for i in [1, 2] {
        scene.cluster.processes.launch(&n(i)).await.unwrap();
    }
    eventually("the bypass is found", || !scene.cluster.links.audit().unwrap().is_empty()).await;
    let (_, events) = scene.run_whole(&[]).await;
    let found = |event: &RunEvent| matches!(event, RunEvent::Bypass { detail, .. } if detail.contains("n1"));
    assert!(events.iter().any(found), "{events:#?}");
}

#[tokio::test]
async fn dialler_that_is_no_node_is_refused_and_reported() {
    let scene = Scene::new().await;
    let links = &scene.cluster.links;
    let open = async |stranger| {
        let door = links.listen_attributed(&n(1), scene.cluster.upstreams[&n(1)], stranger).await.unwrap();
        tokio::net::TcpStream::connect(door).await.unwrap()
    };
    let mut refused = open(Stranger::IsRefused).await;
    let error = within(refused.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(links.strangers().count, 1);

    let _client = open(Stranger::IsClient).await;
    let link = Link::new(Endpoint::Clients, n(1));
    eventually("it counts as a client", || {
        links.stats().get(&link).is_some_and(|stats| stats.connections == 1)
    })
    .await;
}

#[tokio::test]
async fn cut_between_two_nodes_holds_their_bytes_only() {
    let scene = Scene::new().await;
    let cut = Link::new(n(1), n(2));
    scene.cluster.links.impose(FaultId(0), &cut, Rule::HOLD);
    let held = |link: &Link| scene.cluster.links.stats()[link].bytes_held;
    eventually("bytes wait", || held(&cut) > 0).await;
    assert!(scene.cluster.links.stats().iter().all(|(link, stats)| *link == cut || stats.bytes_held == 0));
}
