//! A write that is sent again is not done again, whoever is asked and whatever happened in between.

use crate::harness::{Answer, Cluster};

/// More writes than a snapshot stands for.
const MANY: usize = 250;

async fn register(cluster: &Cluster) -> u64 {
    loop {
        let leader = cluster.leader().await;
        match cluster.request(leader, "POST", "/sessions", b"").await {
            Some(answer) if answer.status == 200 => {
                return answer.json()["session"].as_u64().expect("a number");
            }
            _ => {}
        }
    }
}

/// Sends a request to whoever leads until it is answered for certain.
async fn ask(cluster: &Cluster, method: &str, path: &str, body: &str) -> Answer {
    loop {
        let leader = cluster.leader().await;
        match cluster.request(leader, method, path, body.as_bytes()).await {
            Some(answer) if ![421, 503].contains(&answer.status) => return answer,
            _ => {}
        }
    }
}

#[tokio::test]
async fn write_sent_again_to_the_next_leader_has_its_first_answer_and_is_not_done_again() {
    let mut cluster = Cluster::start(3).await;
    let session = register(&cluster).await;
    let path = format!("/kv/k?session={session}&sequence=1&expect_absent=true");
    let first = ask(&cluster, "PUT", &path, "mine").await;
    assert_eq!((first.status, first.json()["matched"].as_bool()), (200, Some(true)));
    cluster.put("k", "somebody else's").await;
    for number in 0..MANY {
        cluster.put("other", &number.to_string()).await;
    }

    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    assert_eq!(ask(&cluster, "PUT", &path, "mine").await.json(), first.json());
    assert_eq!(cluster.get("k").await, b"somebody else's");

    // Every node goes on from a snapshot, with the sessions in it.
    cluster.restart(leader).await;
    for position in 0..3 {
        cluster.kill(position).await;
    }
    for position in 0..3 {
        cluster.restart(position).await;
    }
    assert_eq!(ask(&cluster, "PUT", &path, "mine").await.json(), first.json());
    assert_eq!(cluster.get("k").await, b"somebody else's");
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_refused_with_the_reason() {
    let cluster = Cluster::start(1).await;
    let session = register(&cluster).await;
    for (query, status, word) in [
        (format!("session={}&sequence=1", session + 1), 410, "session-expired"),
        (format!("session={session}&sequence=2000"), 400, "too-far-ahead"),
        (format!("session={session}&sequence=1&answered=1"), 409, "already-answered"),
        (format!("session={session}"), 400, "bad-request"),
    ] {
        let answer = ask(&cluster, "DELETE", &format!("/kv/k?{query}"), "").await;
        assert_eq!(answer.error(), (status, word.to_owned()), "{query}");
    }
}
