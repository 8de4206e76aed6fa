//! Watching changes: in their order, without a gap, on every node.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};

/// A stream of changes.
struct Watching {
    stream: BufReader<TcpStream>,
    text: Vec<u8>,
}

impl Watching {
    async fn begin(cluster: &Cluster, position: usize, query: &str) -> Self {
        let mut stream =
            TcpStream::connect(cluster.nodes[position].options.client).await.expect("a connection");
        let head = format!("GET /watch?{query} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a socket that takes it");
        let mut watching = Self { stream: BufReader::new(stream), text: Vec::new() };
        let status = watching.header().await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        while !watching.header().await.is_empty() {}
        watching
    }

    async fn header(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await;
        read.expect("a line in time").expect("a line");
        line.trim_end().to_owned()
    }

    /// The next line; nothing at the end of the stream.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let length = usize::from_str_radix(&self.header().await, 16).expect("a chunk");
            let mut chunk = vec![0; length + 2];
            let read = timeout(PATIENCE, self.stream.read_exact(&mut chunk)).await;
            read.expect("a chunk in time").expect("a chunk");
            if length == 0 {
                return None;
            }
            self.text.extend_from_slice(&chunk[..length]);
        }
    }

    /// The next change; signs of life are passed over.
    async fn revision(&mut self) -> (u64, Value) {
        loop {
            let line = self.line().await.expect("a line");
            if let Some(revision) = line["revision"].as_u64() {
                return (revision, line["changes"].clone());
            }
            assert!(line["progress"].is_u64(), "{line}");
        }
    }

    async fn progress(&mut self) -> u64 {
        self.line().await.expect("a line")["progress"].as_u64().expect("progress")
    }
}

#[tokio::test]
async fn every_node_tells_all_changes_in_the_same_order() {
    let cluster = Cluster::start(3).await;
    cluster.put("a/before", "0").await;
    let mut watching = Vec::new();
    for position in 0..3 {
        cluster.wait_for_local(position, "a/before", "0").await;
        watching.push(Watching::begin(&cluster, position, "prefix=a%2F").await);
    }
    for watching in &mut watching {
        assert!(watching.progress().await > 0, "the first line says from where on");
    }
    cluster.put("a/1", "x").await;
    cluster.put("b", "not selected").await;
    let body = r#"{"then":[{"append":"a/l","value":"1"},{"delete":"a/1"},{"put":"c","value":"1"}]}"#;
    cluster.ask("POST", "/txn", body).await;
    cluster.ask("PUT", "/kv/a/1?expect=nothing", "mismatch").await;
    cluster.put("a/2", "y").await;

    let mut told = Vec::new();
    for watching in &mut watching {
        told.push([watching.revision().await, watching.revision().await, watching.revision().await]);
    }
    let [(one, first), (two, second), (three, third)] = told[0].clone();
    assert!(one < two && two < three);
    assert_eq!(first, json!([{ "put": "a%2F1", "value": "x", "created": one, "version": 1 }]));
    let appended = json!({ "append": "a%2Fl", "value": "1", "created": two, "version": 1 });
    let deleted = json!({ "delete": "a%2F1", "created": one, "version": 1 });
    assert_eq!(second, json!([appended, deleted]));
    assert_eq!(third, json!([{ "put": "a%2F2", "value": "y", "created": three, "version": 1 }]));
    assert!(told.iter().all(|same| *same == told[0]), "{told:?}");

    // Whoever begins later at some revision is told the rest.
    let mut late = Watching::begin(&cluster, 1, &format!("prefix=a/&from={}", one + 1)).await;
    assert!(late.progress().await < two);
    assert_eq!([late.revision().await, late.revision().await], [(two, second), (three, third)]);
}

#[tokio::test]
async fn watcher_under_load_misses_nothing_and_is_told_nothing_twice() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "-1").await;
    let follower = (cluster.leader().await + 1) % 3;
    cluster.wait_for_local(follower, "k", "-1").await;
    let mut watching = Watching::begin(&cluster, follower, "key=k").await;
    let writing = async {
        for number in 0..300 {
            cluster.put("k", &number.to_string()).await;
        }
    };
    let reading = async {
        let mut seen: Vec<(u64, i64)> = Vec::new();
        while seen.last().is_none_or(|last| last.1 < 299) {
            let (revision, changes) = watching.revision().await;
            let value = changes[0]["value"].as_str().expect("a value").parse().expect("a number");
            seen.push((revision, value));
        }
        seen
    };
    let ((), seen) = tokio::join!(writing, reading);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "revisions ascend: {seen:?}");
    // A write whose answer got lost in an election is done again, by this client, with another revision.
    let mut values: Vec<i64> = seen.iter().map(|(_, value)| *value).collect();
    assert!(values.is_sorted(), "{values:?}");
    values.dedup();
    assert_eq!(values, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn history_that_is_gone_is_refused_with_the_oldest_revision_that_is_there() {
    let mut cluster = Cluster::start(1).await;
    let first = cluster.ask("PUT", "/kv/k", "1").await.json()["revision"].as_u64().expect("a revision");
    for number in 0..150 {
        cluster.put("k", &number.to_string()).await;
    }
    Watching::begin(&cluster, 0, &format!("key=k&from={first}")).await;
    cluster.kill(0).await;
    cluster.restart(0).await;
    cluster.leader().await;
    let refused = cluster.ask("GET", &format!("/watch?key=k&from={first}"), "").await;
    assert_eq!(refused.error(), (410, "compacted".to_owned()));
    let oldest = refused.json()["oldest"].as_u64().expect("a revision");
    assert!(oldest > 100, "there was a snapshot: {oldest}");
    let mut watching = Watching::begin(&cluster, 0, &format!("key=k&from={oldest}")).await;
    assert_eq!(watching.revision().await.0, oldest);
}

#[tokio::test]
async fn slow_watcher_is_ended_and_told_so() {
    let cluster = Cluster::start(1).await;
    cluster.put("k", "first").await;
    let mut watching = Watching::begin(&cluster, 0, "key=k").await;
    watching.progress().await;
    let large = "x".repeat(1 << 20);
    // More than the history holds; what is in the sockets comes on top.
    for _ in 0..90 {
        cluster.put("k", &large).await;
    }
    let mut last = 0;
    let oldest = loop {
        let line = watching.line().await.expect("a last line");
        match line["revision"].as_u64() {
            Some(revision) => last = revision,
            None if line["end"] == "compacted" => break line["oldest"].as_u64().expect("a revision"),
            None => assert!(line["progress"].is_u64(), "{line}"),
        }
    };
    assert!(oldest > last + 1, "nothing was left out before: {last}, {oldest}");
    assert_eq!(watching.line().await, None);
}

#[tokio::test]
async fn watcher_of_a_node_that_gets_a_snapshot_is_ended_instead_of_missing_something() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let behind = (cluster.leader().await + 1) % 3;
    cluster.wait_for_local(behind, "k", "1").await;
    let revision = cluster.status(behind).await.expect("an answer")["revision"].as_u64().expect("one");
    cluster.kill(behind).await;
    for number in 0..250 {
        cluster.put("k", &number.to_string()).await;
    }
    cluster.restart(behind).await;
    // It is too late to tell whether the watcher is there before the snapshot or after it; both are right.
    let path = format!("/watch?key=k&from={}", revision + 1);
    let refused = async {
        loop {
            match cluster.request(behind, "GET", "/kv/k?consistency=local", b"").await {
                Some(answer) if answer.body == b"249" => break,
                _ => tokio::time::sleep(crate::harness::POLL).await,
            }
        }
        cluster.request(behind, "GET", &path, b"").await.expect("an answer")
    };
    let refused = timeout(PATIENCE, refused).await.expect("replication");
    assert_eq!(refused.error(), (410, "compacted".to_owned()));
}

#[tokio::test]
async fn revision_of_the_future_is_waited_for() {
    let cluster = Cluster::start(1).await;
    let now = cluster.ask("PUT", "/kv/k", "1").await.json()["revision"].as_u64().expect("a revision");
    let mut watching = Watching::begin(&cluster, 0, &format!("key=k&from={}", now + 3)).await;
    assert_eq!(watching.progress().await, now);
    for number in 0..4 {
        cluster.put("k", &number.to_string()).await;
    }
    assert_eq!(watching.revision().await.0, now + 3);
    assert_eq!(watching.revision().await.0, now + 4);
}
