//! Whole servers in one process: real sockets, real disks, raw HTTP.
//!
//! Nothing here measures time: tests wait for conditions, and give up after a generous limit.

mod data;
mod harness;
mod hostile;
mod members;
mod operators;
mod sessions;
mod stop;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use node::Options;
use node::server::{Listeners, serve};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use self::harness::{Cluster, any_port};

#[tokio::test]
async fn values_are_written_read_compared_and_deleted() {
    let cluster = Cluster::start(3).await;
    cluster.put("a%20b/c", "one").await;
    assert_eq!(cluster.get("a%20b%2Fc").await, b"one");

    let leader = cluster.leader().await;
    let put = async |query: &str, body: &str| {
        let path = format!("/kv/k{query}");
        let answer = cluster.request(leader, "PUT", &path, body.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["matched"].as_bool().expect("an outcome")
    };
    assert!(!put("?expect=", "1").await, "an absent key has no value");
    assert!(put("?expect_absent=true", "1").await);
    assert!(!put("?expect_absent=true", "2").await);
    assert!(!put("?expect=2", "3").await);
    assert!(put("?expect=1", "2+2").await);
    assert!(put("?expect=2%2B2", "").await);
    assert_eq!(cluster.get("k").await, b"");

    let deleted = cluster.request(leader, "DELETE", "/kv/k", b"").await.expect("an answer");
    assert_eq!(deleted.json()["matched"], true);
    let absent = cluster.request(leader, "GET", "/kv/k", b"").await.expect("an answer");
    assert_eq!(absent.error(), (404, "absent".to_owned()));
}

#[tokio::test]
async fn servers_with_leases_read_what_was_written_also_when_their_leader_is_gone() {
    let mut cluster = Cluster::start_with(3, |options| options.lease_reads = true).await;
    for value in ["1", "2", "3"] {
        cluster.put("k", value).await;
        assert_eq!(cluster.get("k").await, value.as_bytes());
    }
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    assert_eq!(cluster.get("k").await, b"3");
    cluster.put("k", "4").await;
    cluster.restart(leader).await;
    assert_eq!(cluster.get("k").await, b"4");
}

#[tokio::test]
async fn follower_names_the_leader_and_answers_local_reads() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "v").await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.wait_for_local(follower, "k", "v").await;
    for (method, path) in [("PUT", "/kv/k"), ("GET", "/kv/k"), ("DELETE", "/kv/k")] {
        let answer = cluster.request(follower, method, path, b"").await.expect("an answer");
        assert_eq!(answer.error(), (421, "not-leader".to_owned()));
        let name = &cluster.nodes[leader].options.id;
        assert_eq!(answer.json()["leader"], name.as_str());
        assert!(answer.head.contains(&format!("x-raft-leader: {name}")), "{}", answer.head);
    }
    let status = cluster.status(follower).await.expect("an answer");
    assert_eq!((status["role"].as_str(), status["mutant"].as_str()), (Some("follower"), None));
    assert_eq!(status["peers"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn cluster_goes_on_without_its_leader_and_takes_it_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("before", "1").await;
    let old = cluster.leader().await;
    cluster.kill(old).await;

    cluster.put("after", "2").await;
    assert_eq!(cluster.get("before").await, b"1");
    assert_ne!(cluster.leader().await, old);

    cluster.restart(old).await;
    cluster.wait_for_local(old, "before", "1").await;
    cluster.wait_for_local(old, "after", "2").await;
}

#[tokio::test]
async fn acknowledged_writes_survive_the_restart_of_all_nodes() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..20 {
        cluster.put(&format!("k{number}"), &number.to_string()).await;
    }
    for position in 0..3 {
        cluster.kill(position).await;
    }
    for position in 0..3 {
        cluster.restart(position).await;
    }
    for number in 0..20 {
        assert_eq!(cluster.get(&format!("k{number}")).await, number.to_string().as_bytes());
    }
}

#[tokio::test]
async fn leader_without_followers_admits_that_it_does_not_know() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("k", "v").await;
    let leader = cluster.leader().await;
    cluster.kill((leader + 1) % 3).await;
    cluster.kill((leader + 2) % 3).await;

    let (write, read) = tokio::join!(
        cluster.request(leader, "PUT", "/kv/k", b"w"),
        cluster.request(leader, "GET", "/kv/k", b""),
    );
    assert_eq!(write.expect("an answer").error(), (503, "unknown-outcome".to_owned()));
    assert_eq!(read.expect("an answer").error(), (503, "no-quorum".to_owned()));

    // It has stepped down, so whatever comes next is refused for certain.
    let refused = cluster.request(leader, "PUT", "/kv/k", b"x").await.expect("an answer");
    assert_eq!(refused.error(), (421, "not-leader".to_owned()));
    let local = cluster.request(leader, "GET", "/kv/k?consistency=local", b"").await.expect("an answer");
    assert_eq!(local.body, b"v");
}

#[tokio::test]
async fn single_node_is_its_own_majority() {
    let mut cluster = Cluster::start(1).await;
    cluster.put("k", "v").await;
    cluster.kill(0).await;
    cluster.restart(0).await;
    assert_eq!(cluster.get("k").await, b"v");
}

#[tokio::test]
async fn nonsense_is_refused_and_does_no_harm() {
    let cluster = Cluster::start(1).await;
    cluster.put("k", "v").await;
    for (method, path, expected) in [
        ("GET", "/", (404, "no-such-path")),
        ("GET", "/kv", (400, "bad-request")),
        ("GET", "/kv/", (400, "bad-key")),
        ("GET", "/kv/%zz", (400, "bad-request")),
        ("GET", "/kv/k?consistency=weak", (400, "bad-request")),
        ("POST", "/kv/k", (405, "method-not-allowed")),
        ("PUT", "/status", (405, "method-not-allowed")),
    ] {
        let answer = cluster.request(0, method, path, b"").await.expect("an answer");
        assert_eq!(answer.error(), (expected.0, expected.1.to_owned()), "{method} {path}");
    }
    for garbage in [
        &b"\x00\xff\x00\xff\r\n\r\n"[..],
        b"PUT /kv/k HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(cluster.nodes[0].options.client).await.expect("a connection");
        stream.write_all(garbage).await.expect("a socket that takes it");
        let mut peer = TcpStream::connect(cluster.nodes[0].options.peer).await.expect("a connection");
        peer.write_all(&garbage.repeat(10)).await.expect("a socket that takes it");
    }
    assert_eq!(cluster.get("k").await, b"v");
}

#[tokio::test]
async fn largest_value_is_accepted_and_a_larger_one_refused() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let largest = vec![b'x'; 1 << 20];
    let accepted = cluster.request(leader, "PUT", "/kv/k", &largest).await.expect("an answer");
    assert_eq!(accepted.status, 200);
    assert_eq!(cluster.get("k").await, largest);

    let larger = vec![b'y'; (1 << 20) + 1];
    let refused = cluster.request(leader, "PUT", "/kv/k", &larger).await;
    // The connection may be closed while the client still writes.
    assert!(refused.is_none_or(|answer| answer.error() == (413, "value-too-large".to_owned())));
    assert_eq!(cluster.get("k").await, largest);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let cluster = Cluster::start(1).await;
    cluster.put("a", "1").await;
    let requests = "PUT /kv/a HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n2\
                    GET /kv/a HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answers = cluster.raw(0, requests.as_bytes()).await.expect("answers");
    let text = String::from_utf8(answers.body).expect("text");
    assert!(text.starts_with("{\"index\"") && text.ends_with("\r\n\r\n2"), "{text}");
}

async fn refusal(options: Options) -> String {
    let listeners = Listeners::bind(any_port(), any_port()).await.expect("free ports");
    serve(options, listeners, async {}).await.expect_err("wrong options").to_string()
}

#[tokio::test]
async fn wrong_options_are_refused_with_the_reason() {
    let data = TempDir::new().expect("a directory");
    let good = Options {
        id: "n1".to_owned(),
        data: data.path().join("n1"),
        client: any_port(),
        peer: any_port(),
        cluster: BTreeMap::from([("n1".to_owned(), any_port())]),
        join: false,
        snapshot_entries: 100,
        heartbeat: Duration::from_millis(20),
        election: Duration::from_millis(150),
        trace: None,
        lease_reads: false,
        mutant: None,
    };
    let stranger = Options { id: "n9".to_owned(), ..good.clone() };
    assert!(refusal(stranger).await.contains("n9 is not in the cluster (n1)"));
    let hasty = Options { election: Duration::from_millis(30), ..good.clone() };
    assert!(refusal(hasty).await.contains("at least three heartbeats"));
    let mutant = Options { mutant: Some("Z99".to_owned()), ..good.clone() };
    assert!(refusal(mutant).await.contains("Z99"));

    let listeners = Listeners::bind(any_port(), any_port()).await.expect("free ports");
    let taken = listeners.client_address().expect("a bound socket");
    let error = Listeners::bind(taken, any_port()).await.expect_err("a port in use").to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("in use"), "{error}");

    serve(good.clone(), listeners, async {}).await.expect("a node that stops at once");
    let foreign =
        Options { id: "n2".to_owned(), cluster: BTreeMap::from([("n2".to_owned(), any_port())]), ..good };
    assert!(refusal(foreign).await.contains("belongs to node n1, not to n2"));
}
