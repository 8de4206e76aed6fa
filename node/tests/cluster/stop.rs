//! An orderly stop: somebody else leads, everything is answered, and nothing is lost.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::harness::Cluster;

#[tokio::test]
async fn leader_that_stops_has_handed_its_leadership_over() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let old = cluster.leader().await;
    let term = cluster.status(old).await.expect("an answer")["term"].as_u64();
    cluster.stop(old).await;
    let mut terms = Vec::new();
    for position in (0..3).filter(|position| *position != old) {
        let status = cluster.status(position).await.expect("an answer");
        terms.push(status["term"].as_u64());
    }
    assert!(terms.iter().max() > Some(&term), "the next election began before the end: {term:?}, {terms:?}");
    assert_eq!(cluster.get("k").await, b"1");
    cluster.restart(old).await;
    cluster.put("k", "2").await;
    cluster.wait_for_local(old, "k", "2").await;
}

/// Writes one key after the other until nobody answers any more; returns those that were acknowledged.
async fn write_until_the_end(address: SocketAddr, acknowledged_so_far: watch::Sender<u64>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let head = format!("PUT /kv/w{number} HTTP/1.1\r\nhost: test\r\nconnection: close");
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(format!("{head}\r\ncontent-length: 1\r\n\r\nx").as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            (!answer.is_empty()).then_some(answer)
        };
        let Some(answer) = exchange.await else { break };
        if answer.starts_with("HTTP/1.1 200") {
            acknowledged.push(number);
            acknowledged_so_far.send_replace(acknowledged.len() as u64);
        }
    }
    acknowledged
}

#[tokio::test]
async fn writes_that_a_stopping_node_acknowledged_are_there() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let old = cluster.leader().await;
    let (acknowledged, mut so_far) = watch::channel(0);
    let writing = tokio::spawn(write_until_the_end(cluster.nodes[old].options.client, acknowledged));
    so_far.wait_for(|count| *count >= 20).await.expect("a writer");
    cluster.stop(old).await;
    let acknowledged = writing.await.expect("no panic");
    assert!(acknowledged.len() >= 20);
    for number in acknowledged {
        assert_eq!(cluster.get(&format!("w{number}")).await, b"x");
    }
}

#[tokio::test]
async fn single_node_and_follower_stop_at_once() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let leader = cluster.leader().await;
    cluster.stop((leader + 1) % 3).await;
    cluster.put("k", "2").await;
    let mut alone = Cluster::start(1).await;
    alone.put("k", "1").await;
    alone.stop(0).await;
    alone.restart(0).await;
    assert_eq!(alone.get("k").await, b"1");
}
