//! Nodes come and go, leaders hand over, snapshots stand for what was long ago.

use serde_json::{Value, json};

use crate::harness::Cluster;

/// More writes than a snapshot stands for.
const MANY: usize = 250;

async fn order(cluster: &Cluster, path: &str, body: &Value) -> (u16, Value) {
    let leader = cluster.leader().await;
    let answer = cluster.request(leader, "POST", path, body.to_string().as_bytes()).await.expect("an answer");
    (answer.status, answer.json())
}

/// Orders a change until it is done; refusals are for now only.
async fn change(cluster: &Cluster, body: Value) {
    loop {
        match order(cluster, "/members", &body).await {
            (200, _) => return,
            (409, answer) => assert_eq!(answer["error"], "change-refused"),
            (421 | 503, _) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn voters(cluster: &Cluster, position: usize) -> Value {
    let answer = cluster.request(position, "GET", "/members", b"").await.expect("an answer");
    answer.json()["voters"].clone()
}

#[tokio::test]
async fn node_joins_an_old_cluster_by_a_snapshot_and_takes_the_place_of_another() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..MANY {
        cluster.put("k", &number.to_string()).await;
    }
    let new = cluster.join().await;
    let address = cluster.nodes[new].options.peer;
    change(&cluster, json!({ "add": { "n4": address } })).await;
    change(&cluster, json!({ "promote": ["n4"], "remove": ["n1"] })).await;
    cluster.wait_for_local(new, "k", &(MANY - 1).to_string()).await;
    assert_eq!(voters(&cluster, cluster.leader().await).await, json!(["n2", "n3", "n4"]));

    // With node 2 gone the new one must vote, or nothing would be committed.
    cluster.kill(0).await;
    cluster.kill(1).await;
    cluster.put("k", "by the others").await;
    let status = cluster.status(new).await.expect("an answer");
    assert!(status["snapshot_index"].as_u64() > Some(0), "it got every entry: {status}");

    cluster.kill(new).await;
    cluster.restart(new).await;
    cluster.put("k", "after a restart").await;
    cluster.wait_for_local(new, "k", "after a restart").await;
}

#[tokio::test]
async fn removed_leader_leaves_a_cluster_that_works() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let leader = cluster.leader().await;
    let name = cluster.nodes[leader].options.id.clone();
    change(&cluster, json!({ "remove": [name] })).await;
    cluster.put("k", "2").await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert_eq!(voters(&cluster, next).await.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let leader = cluster.leader().await;
    let to = (leader + 1) % 3;
    let name = cluster.nodes[to].options.id.clone();
    assert_eq!(
        order(&cluster, "/leader", &json!({ "to": name })).await,
        (200, json!({ "transferred": true }))
    );
    cluster.put("k", "2").await;
    assert_eq!(cluster.leader().await, to);
    let (status, answer) = order(&cluster, "/leader", &json!({ "to": "n9" })).await;
    assert_eq!((status, answer["error"].as_str()), (409, Some("not-transferred")));
}

#[tokio::test]
async fn change_that_makes_no_sense_is_refused_with_the_reason() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    for (body, status, detail) in [
        (json!({ "remove": ["n9"] }), 409, "n9 is no member"),
        (json!({ "promote": ["n1"] }), 409, "no learner"),
        (json!({ "add": { "n1": null } }), 409, "n1 is a member already"),
        (json!({ "remove": ["n1", "n2", "n3"] }), 409, "nobody would be left"),
        (json!({}), 409, "changes nothing"),
        (json!({ "add": { "n4": null } }), 400, "n4 is not known here"),
        (json!({ "delete": ["n1"] }), 400, "unknown field `delete`"),
    ] {
        let (answered, answer) = order(&cluster, "/members", &body).await;
        assert_eq!(answered, status, "{body}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains(detail)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn restarted_cluster_goes_on_from_its_snapshots() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..MANY {
        cluster.put(&format!("key{number}"), &number.to_string()).await;
    }
    for position in 0..3 {
        cluster.wait_for_local(position, "key249", "249").await;
    }
    for position in 0..3 {
        cluster.kill(position).await;
    }
    for position in 0..3 {
        cluster.restart(position).await;
    }
    assert_eq!(cluster.get("key0").await, b"0");
    assert_eq!(cluster.get("key249").await, b"249");
    cluster.put("more", "1").await;
    let (leader, mut digests) = (cluster.leader().await, Vec::new());
    for position in 0..3 {
        cluster.wait_for_local(position, "more", "1").await;
        let status = cluster.status(position).await.expect("an answer");
        assert!(status["snapshot_index"].as_u64() > Some(0), "{status}");
        digests.push((status["applied"].clone(), status["applied_digest"].clone()));
    }
    let own = digests[leader].clone();
    assert!(digests.iter().all(|digest| digest.0 != own.0 || digest.1 == own.1), "{digests:?}");
}
