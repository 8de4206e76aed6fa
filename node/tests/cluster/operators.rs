//! What operators see: metrics, the log, the digest of the state.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, PATIENCE, POLL};

/// The samples of `GET /metrics`, each checked to be what Prometheus reads.
async fn metrics(cluster: &Cluster, position: usize) -> BTreeMap<String, f64> {
    let answer = cluster.request(position, "GET", "/metrics", b"").await.expect("an answer");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let text = String::from_utf8(answer.body).expect("text");
    let mut family = String::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            family = rest.split(' ').nth(1).expect("a name").to_owned();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        assert!(name.starts_with(&family), "{name} is not of {family}");
        assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{name} twice");
    }
    samples
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let cluster = Cluster::start(3).await;
    cluster.put("k", "1").await;
    let leader = cluster.leader().await;
    let before = metrics(&cluster, leader).await;
    for number in 0..10 {
        cluster.put("k", &number.to_string()).await;
    }
    cluster.request(leader, "GET", "/kv/k?consistency=weak", b"").await;
    let after = metrics(&cluster, leader).await;
    let grown = |name: &str| after[name] - before[name];
    assert_eq!(grown("raft_http_answers_total{status=\"400\"}"), 1.0);
    assert!(grown("raft_proposals_total") >= 10.0);
    assert!(grown("raft_http_answers_total{status=\"200\"}") >= 10.0);
    assert!(grown("raft_commit_index") >= 10.0);
    assert!(grown("raft_log_sync_seconds_count") >= 1.0);
    assert_eq!(after["raft_log_sync_seconds_bucket{le=\"+Inf\"}"], after["raft_log_sync_seconds_count"]);
    assert_eq!((after["raft_keys"], after["raft_role{role=\"leader\"}"]), (1.0, 1.0));
    assert_eq!((after["raft_members{kind=\"voter\"}"], after["raft_watchers"]), (3.0, 0.0));
    let lags = after.keys().filter(|name| name.starts_with("raft_peer_lag_entries")).count();
    assert_eq!(lags, 2, "one for every follower");
    let follower = metrics(&cluster, (leader + 1) % 3).await;
    assert_eq!((follower["raft_role{role=\"leader\"}"], follower["raft_has_leader"]), (0.0, 1.0));
}

async fn get(cluster: &Cluster, position: usize, path: &str) -> Value {
    cluster.request(position, "GET", path, b"").await.expect("an answer").json()
}

/// Waits until all nodes have applied the same, and returns what each says of it.
async fn hashes(cluster: &Cluster) -> Vec<Value> {
    let wait = async {
        loop {
            let mut hashes = Vec::new();
            for position in 0..cluster.nodes.len() {
                hashes.push(get(cluster, position, "/debug/hash").await);
            }
            if hashes.iter().all(|hash| hash["applied"] == hashes[0]["applied"]) {
                return hashes;
            }
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("replication")
}

#[tokio::test]
async fn nodes_that_have_applied_the_same_have_the_same_digest_whether_from_the_log_or_a_snapshot() {
    let mut cluster = Cluster::start(3).await;
    let session = cluster.ask("POST", "/sessions", "").await.json()["session"].as_u64().expect("a session");
    let path = format!("/txn?session={session}&sequence=1");
    cluster.ask("POST", &path, r#"{"then":[{"append":"l","value":"1"},{"read":"l"}]}"#).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.kill(away).await;
    for number in 0..250 {
        cluster.put(&format!("k{}", number % 7), &number.to_string()).await;
    }
    cluster.restart(away).await;
    let first = hashes(&cluster).await;
    assert!(first.iter().all(|hash| *hash == first[0]), "{first:?}");
    cluster.put("k0", "other").await;
    let second = hashes(&cluster).await;
    assert!(second.iter().all(|hash| *hash == second[0]), "{second:?}");
    assert_ne!(first[0]["state_digest"], second[0]["state_digest"]);
    let snapshot = get(&cluster, away, "/status").await["snapshot_index"].as_u64();
    assert!(snapshot > Some(0), "the node that was away got a snapshot");
}

#[tokio::test]
async fn log_is_shown_part_by_part_and_is_the_same_everywhere() {
    let cluster = Cluster::start(3).await;
    for number in 0..20 {
        cluster.put("k", &number.to_string()).await;
    }
    hashes(&cluster).await;
    let mut logs = Vec::new();
    for position in 0..3 {
        let log = get(&cluster, position, "/debug/log?to=20").await;
        let entries = log["entries"].as_array().expect("entries").clone();
        assert_eq!((entries.len(), &log["next"]), (20, &Value::Null));
        assert_eq!(entries[0]["kind"], "noop");
        assert!(
            entries.iter().any(|entry| entry["kind"] == "command" && entry["size_bytes"].as_u64() > Some(0))
        );
        logs.push(entries);
    }
    assert!(logs.iter().all(|log| *log == logs[0]));
    let part = get(&cluster, 0, "/debug/log?from=5&to=6").await;
    assert_eq!(part["entries"].as_array().map(|entries| &entries[..]), Some(&logs[0][4..6]));
    let nothing = get(&cluster, 0, "/debug/log?from=99999").await;
    assert_eq!(nothing["entries"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn long_log_is_shown_within_a_limit() {
    let cluster = Cluster::start(1).await;
    let large = "x".repeat(1 << 20);
    for _ in 0..10 {
        cluster.put("k", &large).await;
    }
    let log = get(&cluster, 0, "/debug/log").await;
    let shown = log["entries"].as_array().expect("entries").len() as u64;
    let next = log["next"].as_u64().expect("more");
    assert!(shown < 10 && next == shown + 1, "{shown} {next}");
    let rest = get(&cluster, 0, &format!("/debug/log?from={next}")).await;
    assert_eq!((rest["entries"][0]["index"].as_u64(), &rest["next"]), (Some(next), &Value::Null));
}
