//! Garbage from clients and from peers, a directory that is not this node's: the healthy node goes on and loses nothing.
//!
//! Peers are not authenticated: a well-formed message of somebody who says to be a member is believed. What is sent here is
//! everything short of that.

use std::fs;
use std::path::Path;

use node::server::{Listeners, serve};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::harness::{Cluster, any_port};

const CASES: usize = 200;
/// The server answers or closes; if it wants more, the test has nothing more to say.
const LISTEN: Duration = Duration::from_millis(20);

/// Sends bytes, listens for a moment, and hangs up.
async fn throw(address: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("a node that accepts");
    // The node may hang up at any byte.
    let _ = stream.write_all(bytes).await;
    let _ = timeout(LISTEN, stream.read_to_end(&mut Vec::new())).await;
}

async fn throw_all(address: std::net::SocketAddr, cases: impl Strategy<Value = Vec<u8>>) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..CASES {
        let case = cases.new_tree(&mut runner).expect("a case").current();
        throw(address, &case).await;
    }
}

/// Requests that are nearly right: some bytes changed, some left out.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just("PUT /kv/k?expect=1&session=1&sequence=1 HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc"),
        Just("GET /kv/k?consistency=local HTTP/1.1\r\nhost: t\r\n\r\n"),
        Just("GET /kv?prefix=%20 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"),
        Just("GET /watch?prefix=a&from=1 HTTP/1.1\r\nhost: t\r\n\r\n"),
        Just("GET /debug/log?from=1&to=3 HTTP/1.1\r\nhost: t\r\n\r\n"),
        Just("POST /txn HTTP/1.1\r\nhost: t\r\ncontent-length: 24\r\n\r\n{\"then\":[{\"read\":\"k%20\"}]}"),
        Just("POST /txn HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        Just("DELETE /kv/k HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999\r\n\r\n"),
    ];
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (whole, vec(change, 0..4), any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(whole, changes, cut, is_cut)| {
            let mut bytes = whole.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

/// The deletion in the cases may delete nothing that the test looks for: it looks for other keys.
async fn is_whole(cluster: &Cluster) {
    assert_eq!(cluster.get("kept").await, b"v");
    cluster.put("more", "w").await;
    assert_eq!(cluster.get("more").await, b"w");
}

#[tokio::test]
async fn malformed_requests_are_refused_and_harm_nobody() {
    let cluster = Cluster::start(1).await;
    cluster.put("kept", "v").await;
    let client = cluster.nodes[0].options.client;
    throw_all(client, vec(any::<u8>(), 0..256)).await;
    throw_all(client, nearly_requests()).await;
    throw(client, &b"GET /kv/k HTTP/1.1\r\nx: y\r\n".repeat(50_000)).await;
    throw(client, format!("GET /kv/{} HTTP/1.1\r\n\r\n", "k".repeat(500_000)).as_bytes()).await;
    throw(client, format!("PUT /kv/k HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(900_000)).as_bytes()).await;
    for body in [&b"{\"then\":"[..], b"\xff\xfe", &b"[".repeat(100_000)] {
        let answer = cluster.request(0, "POST", "/txn", body).await.expect("an answer");
        assert_eq!(answer.error(), (400, "bad-request".to_owned()));
    }
    is_whole(&cluster).await;
}

const MAGIC: u32 = 0x5241_4654;
const VERSION: u32 = 3;

fn name(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn handshake(magic: u32, version: u32, from: &str, to: &str) -> Vec<u8> {
    let words = [magic.to_le_bytes(), version.to_le_bytes()].concat();
    let bytes = [&words[..], &name(from), &name(to)].concat();
    let checksum = crc32fast::hash(&bytes).to_le_bytes();
    [&bytes[..], &checksum].concat()
}

/// A frame with a right checksum around any bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body").to_le_bytes();
    [&length[..], &crc32fast::hash(body).to_le_bytes(), body].concat()
}

#[tokio::test]
async fn peers_that_talk_nonsense_are_disconnected_and_harm_nobody() {
    let cluster = Cluster::start(3).await;
    cluster.put("kept", "v").await;
    let leader = cluster.leader().await;
    let (me, peer) = (cluster.nodes[leader].options.id.clone(), cluster.nodes[leader].options.peer);
    let other = cluster.nodes[(leader + 1) % 3].options.id.clone();
    let known = handshake(MAGIC, VERSION, &other, &me);
    for wrong in [
        handshake(MAGIC + 1, VERSION, &other, &me),
        handshake(MAGIC, VERSION + 1, &other, &me),
        handshake(MAGIC, VERSION - 1, &other, &me),
        handshake(MAGIC, VERSION, &other, "n9"),
        handshake(MAGIC, VERSION, &me, &me),
        handshake(MAGIC, VERSION, "", &me),
        handshake(MAGIC, VERSION, "a b", &me),
        known[..known.len() - 1].to_vec(),
        [&known[..], &u32::MAX.to_le_bytes(), &[0; 8]].concat(),
        [&known[..], &frame(&[])[..7]].concat(),
    ] {
        throw(peer, &wrong).await;
    }
    throw_all(peer, vec(any::<u8>(), 0..128)).await;
    let after_handshake = |bytes: Vec<u8>| [&known[..], &bytes[..]].concat();
    throw_all(peer, vec(any::<u8>(), 0..256).prop_map(after_handshake)).await;
    // Right checksums, and kinds of messages that do not exist: decoding must refuse them, whatever else is in them.
    let unknown = (any::<u64>(), 14..=u8::MAX, vec(any::<u8>(), 0..128));
    let unknown = unknown.prop_map(|(term, kind, rest)| {
        let body = [&term.to_le_bytes()[..], &[kind], &rest].concat();
        [&known[..], &frame(&body)].concat()
    });
    throw_all(peer, unknown).await;
    is_whole(&cluster).await;
}

/// A start that must fail, and the reason.
async fn refusal(cluster: &Cluster, change: impl FnOnce(&mut node::Options)) -> String {
    let mut options = cluster.nodes[0].options.clone();
    change(&mut options);
    let listeners = Listeners::bind(any_port(), any_port()).await.expect("free ports");
    serve(options, listeners, async {}).await.expect_err("a refusal").to_string()
}

#[tokio::test]
async fn second_process_on_a_directory_is_refused_and_the_first_goes_on() {
    let cluster = Cluster::start(1).await;
    cluster.put("kept", "v").await;
    let reason = refusal(&cluster, |_| {}).await;
    assert!(reason.contains("locked by another process"), "{reason}");
    is_whole(&cluster).await;
}

/// Changes the version in the header of a file, and the checksum that covers it.
fn forge_version(path: &Path, version: u32, checked: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..checked]).to_le_bytes();
    bytes[checked..checked + 4].copy_from_slice(&checksum);
    fs::write(path, bytes).expect("a file that can be written");
}

fn file_with(directory: &Path, suffix: &str) -> std::path::PathBuf {
    let files = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.to_string_lossy().ends_with(suffix)).max().expect("a file of this kind")
}

#[tokio::test]
async fn directory_of_another_node_or_version_is_refused_with_the_way_out_and_stays_as_it_is() {
    let mut cluster = Cluster::start(1).await;
    cluster.put("kept", "v").await;
    for number in 0..250 {
        cluster.put("k", &number.to_string()).await;
    }
    cluster.stop(0).await;
    let directory = cluster.nodes[0].options.data.clone();

    let reason = refusal(&cluster, |options| {
        let address = options.cluster.remove("n1").expect("this node");
        options.cluster.insert("n2".to_owned(), address);
        options.id = "n2".to_owned();
    })
    .await;
    assert!(reason.contains("belongs to node n1, not to n2"), "{reason}");

    let snapshot = file_with(&directory, ".snapshot");
    let checked = fs::metadata(&snapshot).expect("a file").len() as usize - 4;
    forge_version(&snapshot, 1, checked);
    let reason = refusal(&cluster, |_| {}).await;
    assert!(reason.contains("format version 1") && reason.contains("use a matching server"), "{reason}");
    forge_version(&snapshot, 2, checked);

    // Magic, version, sequence, name: what the checksum of a segment covers.
    let (segment, checked) = (file_with(&directory, ".wal"), 8 + 4 + 8 + 16);
    forge_version(&segment, 2, checked);
    let reason = refusal(&cluster, |_| {}).await;
    assert!(reason.contains("format version 2") && reason.contains("use a matching server"), "{reason}");
    forge_version(&segment, 3, checked);

    cluster.restart(0).await;
    is_whole(&cluster).await;
}
