//! Revisions, and transactions over several keys.

use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).expect("the header").parse().expect("a number")
}

async fn transact(cluster: &Cluster, body: &Value) -> Answer {
    cluster.ask("POST", "/txn", &body.to_string()).await
}

#[tokio::test]
async fn reading_tells_when_a_key_was_written_and_writing_can_insist_on_it() {
    let cluster = Cluster::start(3).await;
    let first = cluster.ask("PUT", "/kv/k", "1").await.json();
    let second = cluster.ask("PUT", "/kv/k", "2").await.json();
    assert_eq!(first["revision"], first["index"]);
    assert!(second["revision"].as_u64() > first["revision"].as_u64());

    let read = cluster.ask("GET", "/kv/k", "").await;
    let told =
        ["x-created-revision", "x-revision", "x-store-revision", "x-version"].map(|h| number(&read, h));
    let (created, modified) = (first["index"].as_u64().expect("one"), second["index"].as_u64().expect("one"));
    assert_eq!(told, [created, modified, modified, 2]);

    let stale = cluster.ask("PUT", &format!("/kv/k?expect_revision={created}"), "3").await.json();
    assert_eq!((&stale["matched"], &stale["revision"]), (&json!(false), &second["index"]));
    let other = cluster.ask("PUT", "/kv/other", "x").await.json();
    let fresh = cluster.ask("PUT", &format!("/kv/k?expect_revision={modified}"), "3").await.json();
    assert_eq!((&fresh["matched"], &fresh["revision"]), (&json!(true), &fresh["index"]));
    let absent = cluster.ask("GET", "/kv/nothing", "").await;
    assert_eq!(
        (absent.status, number(&absent, "x-store-revision")),
        (404, fresh["index"].as_u64().expect("one"))
    );
    assert!(other["revision"].as_u64() < fresh["revision"].as_u64());
    let kept = cluster.ask("DELETE", "/kv/k?expect=2", "").await.json();
    let gone = cluster.ask("DELETE", "/kv/k?expect=3", "").await.json();
    assert_eq!((&kept["matched"], &gone["matched"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn revisions_are_the_same_after_a_snapshot_and_a_restart() {
    let mut cluster = Cluster::start(1).await;
    let written = cluster.ask("PUT", "/kv/k", "1").await.json()["revision"].as_u64().expect("a revision");
    transact(&cluster, &json!({ "then": [{ "append": "l", "value": "a b" }] })).await;
    for number in 0..150 {
        cluster.put("other", &number.to_string()).await;
    }
    let before = cluster.ask("GET", "/debug/hash", "").await.json();
    cluster.kill(0).await;
    cluster.restart(0).await;
    let read = cluster.ask("GET", "/kv/k", "").await;
    assert_eq!((number(&read, "x-revision"), number(&read, "x-version")), (written, 1));
    assert_eq!(cluster.get("l").await, br#"["a%20b"]"#);
    let after = cluster.ask("GET", "/debug/hash", "").await.json();
    assert_eq!((&after["revision"], &after["keys"]), (&before["revision"], &before["keys"]));
}

#[tokio::test]
async fn transaction_checks_reads_and_writes_several_keys_at_once() {
    let cluster = Cluster::start(3).await;
    cluster.put("from", "10").await;
    let body = json!({
        "guards": [{ "key": "from", "value": "10" }, { "key": "to%2Fhere", "absent": true }],
        "then": [
            { "put": "from", "value": "7" },
            { "put": "to/here", "value": "%333" },
            { "append": "moves", "value": "3" },
            { "read": "to/here" },
        ],
        "else": [{ "read": "from" }, { "delete": "nothing" }],
    });
    let done = transact(&cluster, &body).await.json();
    let results = &done["results"];
    assert_eq!((done["matched"].as_bool(), &done["revision"]), (Some(true), &done["index"]));
    assert_eq!(results[0], json!({ "version": 2 }));
    assert_eq!(results[2], json!({ "length": 1 }));
    let read = json!({ "value": "33", "revision": done["index"], "created": done["index"], "version": 1 });
    assert_eq!(results[3], read);
    assert_eq!(cluster.get("to%2Fhere").await, b"33");

    let not_done = transact(&cluster, &body).await.json();
    assert_eq!((not_done["matched"].as_bool(), &not_done["revision"]), (Some(false), &done["revision"]));
    assert_eq!(
        (&not_done["results"][0]["value"], &not_done["results"][1]),
        (&json!("7"), &json!({ "deleted": false }))
    );

    let listing = cluster.ask("GET", "/kv?prefix=", "").await.json();
    assert_eq!(listing["entries"], json!([["from", "7"], ["moves", ["3"]], ["to%2Fhere", "33"]]));
}

#[tokio::test]
async fn transaction_that_cannot_be_done_is_refused_as_a_whole() {
    let cluster = Cluster::start(1).await;
    cluster.put("k", "1").await;
    cluster.put("large", &"x".repeat(1 << 20)).await;
    let first = json!({ "put": "first", "value": "1" });
    let large = json!({ "read": "large" });
    for (steps, status, word) in [
        (json!([first, { "append": "k", "value": "2" }]), 409, "not-a-list"),
        (json!([first, { "append": "l", "value": "x".repeat((1 << 20) - 3) }]), 413, "list-too-large"),
        (json!([first, large, large, large]), 413, "answer-too-large"),
        (json!([first, { "rename": "k" }]), 400, "bad-request"),
        (json!(vec![first.clone(); 129]), 413, "transaction-too-large"),
    ] {
        let answer = transact(&cluster, &json!({ "then": steps })).await;
        assert_eq!(answer.error(), (status, word.to_owned()));
    }
    let absent = cluster.ask("GET", "/kv/first", "").await;
    assert_eq!(absent.status, 404, "a refused transaction has done nothing");
    let follower_knows = cluster.ask("GET", "/kv/k", "").await;
    assert_eq!(follower_knows.body, b"1");
}
