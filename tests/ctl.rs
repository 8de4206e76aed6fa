//! `shakedown node ctl` against real nodes: it finds the leader, and says what to do when it cannot.

mod common;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use common::{SHAKEDOWN, said};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node as a process, killed with the test.
struct Node {
    process: Child,
    client: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Addresses that were free a moment ago. Their host is that of nobody else, and connections begin at 127.0.0.1, so they stay free.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let [high, low] = u16::try_from(std::process::id() % 0xfe00).unwrap().to_be_bytes();
    let host = Ipv4Addr::new(127, 1 + high, low, HOSTS.fetch_add(1, Ordering::Relaxed));
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind((host, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn start(dir: &Path, id: &str, client: SocketAddr, peer: SocketAddr, cluster: &str, more: &[&str]) -> Node {
    let process = Command::new(SHAKEDOWN)
        .args(["node", "--id", id, "--data"])
        .arg(dir.join(id))
        .args(["--client", &client.to_string(), "--peer", &peer.to_string(), "--cluster", cluster])
        // Nobody else shall lead because this machine has much to do.
        .args(["--election-ms", "500"])
        .args(more)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Node { process, client }
}

struct Cluster {
    dir: tempfile::TempDir,
    nodes: Vec<Node>,
    peers: Vec<String>,
    spare: Vec<SocketAddr>,
}

/// Three nodes, and addresses for a fourth.
fn cluster() -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let mut addresses = free_addresses(8);
    let spare = addresses.split_off(6);
    let peers: Vec<String> = (0..3).map(|n| format!("n{}={}", n + 1, addresses[n])).collect();
    let start = |n: usize| {
        start(dir.path(), &format!("n{}", n + 1), addresses[3 + n], addresses[n], &peers.join(","), &[])
    };
    let nodes = (0..3).map(start).collect();
    Cluster { dir, nodes, peers, spare }
}

fn ctl(at: &[SocketAddr], arguments: &[&str]) -> Output {
    let at: Vec<String> = at.iter().map(|address| format!("http://{address}")).collect();
    Command::new(SHAKEDOWN).args(["node", "ctl", "--at", &at.join(",")]).args(arguments).output().unwrap()
}

impl Cluster {
    fn all(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.client).collect()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = ctl(&self.all(), &[&["--json", "--timeout", "30s"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = ctl(&self.all(), &[&["--timeout", "30s"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The position of the leader, as the nodes see it.
    fn leader(&self) -> usize {
        let status = self.json(&["status"]);
        let roles = status.as_array().unwrap().iter().map(|row| row["status"]["role"] == "leader");
        roles.enumerate().find_map(|(position, leads)| leads.then_some(position)).expect("a leader")
    }
}

#[test]
fn data_is_written_read_compared_and_deleted_wherever_the_leader_is() {
    let cluster = cluster();
    let revision = cluster.json(&["put", "a/b", "one two"])["revision"].as_u64().expect("a revision");
    assert_eq!(cluster.text(&["get", "a/b"]), "one two\n");
    let read = cluster.json(&["get", "a/b"]);
    let expected = json!({
        "key": "a/b", "value": "one two", "version": 1,
        "revision": revision, "created": revision, "store_revision": revision,
    });
    assert_eq!(read, expected);
    let other = (revision + 1).to_string();
    let output = ctl(&cluster.all(), &["put", "a/b", "three", "--expect-revision", &other]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("nothing was changed"), "{}", said(&output));
    cluster.text(&["put", "a/b", "three", "--expect", "one two"]);

    let transaction = r#"{"guards":[{"key":"a/b","value":"three"}],"then":[{"append":"l","value":"x"}]}"#;
    assert_eq!(cluster.json(&["txn", transaction])["results"], json!([{ "length": 1 }]));
    assert_eq!(cluster.json(&["get", "l"])["list"], json!(["x"]));
    cluster.text(&["delete", "a/b"]);
    let absent = ctl(&cluster.all(), &["get", "a/b"]);
    assert_eq!(absent.status.code(), Some(1), "{}", said(&absent));
    assert!(said(&absent).contains("a/b is absent"), "{}", said(&absent));
}

#[test]
fn changes_are_printed_as_they_happen() {
    use std::io::BufRead;
    let cluster = cluster();
    let first = cluster.json(&["put", "w/1", "a"])["revision"].as_u64().expect("a revision");
    let at: Vec<String> = cluster.all().iter().map(ToString::to_string).collect();
    let mut watching = Command::new(SHAKEDOWN)
        .args(["node", "ctl", "--at", &at.join(","), "watch", "w/", "--from", &first.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["changes"][0]["value"], "a");
    cluster.text(&["put", "other", "x"]);
    cluster.text(&["put", "w/2", "b"]);
    assert_eq!(next()["changes"][0]["put"], "w%2F2");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn members_are_added_promoted_replaced_and_removed_and_leadership_moves() {
    let mut cluster = cluster();
    for number in 0..20 {
        cluster.text(&["put", "k", &number.to_string()]);
    }
    let (client, peer) = (cluster.spare[0], cluster.spare[1]);
    let known = format!("{},n4={peer}", cluster.peers.join(","));
    let n4 = start(cluster.dir.path(), "n4", client, peer, &known, &["--join"]);
    cluster.nodes.push(n4);
    cluster.text(&["add", &format!("n4={peer}")]);
    assert_eq!(cluster.json(&["members"])["learners"], json!(["n4"]));
    cluster.text(&["promote", "n4"]);
    assert_eq!(cluster.json(&["members"])["voters"], json!(["n1", "n2", "n3", "n4"]));
    cluster.text(&["remove", "n4"]);
    assert_eq!(cluster.json(&["members"])["voters"], json!(["n1", "n2", "n3"]));

    let leader = cluster.leader();
    let old = format!("n{}", leader + 1);
    let new = format!("n4={peer}");
    cluster.text(&["replace", &old, &new]);
    let voters = cluster.json(&["members"])["voters"].clone();
    assert!(voters.to_string().contains("n4") && !voters.to_string().contains(&old), "{voters}");
    cluster.text(&["replace", &old, &new]);
    assert_eq!(cluster.text(&["get", "k"]), "19\n");

    cluster.text(&["transfer", "n4"]);
    cluster.text(&["transfer", "n4"]);
    let start = Instant::now();
    while cluster.json(&["status"])[3]["status"]["role"] != "leader" {
        assert!(start.elapsed() < PATIENCE, "{}", cluster.json(&["status"]));
    }
    assert!(cluster.text(&["members"]).contains("voter"));
}

#[test]
fn errors_say_what_to_do_next() {
    let cluster = cluster();
    cluster.text(&["put", "k", "1"]);
    let leader = cluster.leader();
    let followers: Vec<_> = cluster
        .all()
        .into_iter()
        .enumerate()
        .filter_map(|(position, address)| (position != leader).then_some(address))
        .collect();
    let nobody = free_addresses(1);
    let name = format!("n{} leads", leader + 1);
    let all = cluster.all();
    let cases: [(&[SocketAddr], &[&str], i32, &str); 12] = [
        (&followers, &["put", "k", "2"], 5, &name),
        (&nobody, &["get", "k"], 5, "cannot reach"),
        (&nobody, &["put", "k", "2"], 5, "is a majority running?"),
        (&all, &["txn", "{"], 2, "not JSON"),
        (&all, &["txn", r#"{"then":[{"read":""}]}"#], 2, "the key is empty"),
        (&all, &["add", "n1"], 2, "n1 is a member already"),
        (&all, &["add", "n9"], 2, "say where it receives messages"),
        (&all, &["remove", "n9"], 2, "n9 is no member"),
        (&all, &["replace", "n9", "n8"], 2, "n9 is no member"),
        (&all, &["transfer", "n9"], 2, "still leads"),
        (&all, &["watch", "--from", "999999999", "--exact"], 2, "the key is empty"),
        (&all, &["put", "k", "1", "--expect-absent", "--expect", "2"], 2, "cannot be used with"),
    ];
    for (at, arguments, code, hint) in cases {
        let output = ctl(at, &[&["--timeout", "1s"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{arguments:?}: {}", said(&output));
    }
    let status = ctl(&[followers[0], nobody[0]], &["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    assert!(
        said(&status).contains("follower") && said(&status).contains("does not answer"),
        "{}",
        said(&status)
    );
}
