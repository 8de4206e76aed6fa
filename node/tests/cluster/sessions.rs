//! A write that is sent again is not done again, whoever is asked and whatever happened in between.

use crate::harness::Cluster;

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

#[tokio::test]
async fn write_sent_again_to_the_next_leader_has_its_first_answer_and_is_not_done_again() {
    let mut cluster = Cluster::start(3).await;
    let session = register(&cluster).await;
    let path = format!("/kv/k?session={session}&sequence=1&expect_absent=true");
    let first = cluster.ask("PUT", &path, "mine").await;
    assert_eq!((first.status, first.json()["matched"].as_bool()), (200, Some(true)));
    cluster.put("k", "somebody else's").await;
    for number in 0..MANY {
        cluster.put("other", &number.to_string()).await;
    }

    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    assert_eq!(cluster.ask("PUT", &path, "mine").await.json(), first.json());
    assert_eq!(cluster.get("k").await, b"somebody else's");

    // Every node goes on from a snapshot, with the sessions in it.
    cluster.restart(leader).await;
    for position in 0..3 {
        cluster.kill(position).await;
    }
    for position in 0..3 {
        cluster.restart(position).await;
    }
    assert_eq!(cluster.ask("PUT", &path, "mine").await.json(), first.json());
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
        let answer = cluster.ask("DELETE", &format!("/kv/k?{query}"), "").await;
        assert_eq!(answer.error(), (status, word.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn transaction_sent_again_has_its_first_answer_with_what_it_read() {
    let mut cluster = Cluster::start(3).await;
    let session = register(&cluster).await;
    let path = format!("/txn?session={session}&sequence=1");
    let body = r#"{"then":[{"append":"l","value":"1"},{"read":"l"},{"read":"k"}]}"#;
    let first = cluster.ask("POST", &path, body).await;
    assert_eq!((first.status, first.json()["results"][1]["list"][0].as_str()), (200, Some("1")));
    cluster.put("k", "later").await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    assert_eq!(cluster.ask("POST", &path, body).await.json(), first.json());
    assert_eq!(cluster.get("l").await, br#"["1"]"#);
}

#[tokio::test]
async fn answers_that_nobody_said_to_have_are_kept_within_a_limit() {
    let cluster = Cluster::start(1).await;
    let session = register(&cluster).await;
    cluster.put("large", &"x".repeat(700 << 10)).await;
    let read = |sequence: u64, answered: u64| {
        (
            format!("/txn?session={session}&sequence={sequence}&answered={answered}"),
            r#"{"then":[{"read":"large"},{"append":"l","value":"x"}]}"#,
        )
    };
    for (sequence, answered, status) in [(1, 0, 200), (2, 0, 200), (3, 0, 429), (1, 0, 200), (3, 1, 200)] {
        let (path, body) = read(sequence, answered);
        let answer = cluster.ask("POST", &path, body).await;
        assert_eq!(answer.status, status, "{sequence}: {}", answer.head);
    }
    assert_eq!(cluster.get("l").await, br#"["x","x","x"]"#);
}
