//! Limits, with a driver that never replies: what is refused is refused here.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::events::EventLog;
use crate::machine::{Batch, Revision};
use crate::metrics::Metrics;
use crate::raft::{Index, NodeId};
use crate::server::{Operation, Reply, Request};

const PATIENCE: Duration = Duration::from_secs(30);
const SMALL: Limits = Limits { connections: 4, requests: 2, body_bytes: 64 << 10, watchers: 1 };

struct Fixture {
    address: SocketAddr,
    /// What reached the driver.
    requests: mpsc::Receiver<Request>,
    stopping: watch::Sender<bool>,
    server: JoinHandle<()>,
}

async fn start(limits: Limits) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (driver, requests) = mpsc::channel(16);
    let log = EventLog::new(NodeId::new("n1").expect("a legal name"));
    let (stopping, is_stopping) = watch::channel(false);
    let service = Service::new(driver, Arc::new(Metrics::default()), log, limits);
    let server = tokio::spawn(serve(listener, service, is_stopping));
    Fixture { address, requests, stopping, server }
}

impl Fixture {
    async fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let head = format!("{head} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("a socket that takes it");
        stream.write_all(body).await.expect("a socket that takes it");
        stream
    }

    /// Sends a request and waits until the driver has it.
    async fn open(&mut self, head: &str, body: &[u8]) -> (TcpStream, Request) {
        let stream = self.send(head, body).await;
        let request = timeout(PATIENCE, self.requests.recv()).await.expect("a request in time");
        (stream, request.expect("a server that lives"))
    }

    async fn refused(&self, head: &str, body: &[u8]) -> (u16, String) {
        refusal(&mut self.send(head, body).await).await
    }
}

/// Status and word of an error, the end of the connection not awaited.
async fn refusal(stream: &mut TcpStream) -> (u16, String) {
    let mut text = String::new();
    let body = timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        loop {
            if let Some(body) = text.split_once("\r\n\r\n").and_then(|(_, body)| body.parse::<Json>().ok()) {
                return body;
            }
            let read = stream.read(&mut buffer).await.expect("an answer");
            assert!(read > 0, "the connection ends after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
        }
    });
    let body = body.await.expect("an answer in time");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body["error"].as_str().expect("a word").to_owned())
}

fn too_much(word: &str) -> (u16, String) {
    (429, word.to_owned())
}

#[tokio::test]
async fn requests_at_a_time_are_bounded_and_operators_are_heard_all_the_same() {
    let mut fixture = start(SMALL).await;
    let (_first, one) = fixture.open("PUT /kv/a", b"1").await;
    let (_second, _two) = fixture.open("GET /kv/a", b"").await;
    assert_eq!(fixture.refused("PUT /kv/b", b"1").await, too_much("overloaded"));
    let (_status, asked) = fixture.open("GET /status", b"").await;
    assert!(matches!(asked.operation, Operation::Status));
    drop(one);
    // The first answer makes room; it may take a moment to be counted.
    let retried = async {
        loop {
            let mut stream = fixture.send("PUT /kv/b", b"1").await;
            tokio::select! {
                Some(request) = fixture.requests.recv() => return request,
                refused = refusal(&mut stream) => assert_eq!(refused, too_much("overloaded")),
            }
        }
    };
    timeout(PATIENCE, retried).await.expect("room");
}

#[tokio::test]
async fn bytes_of_bodies_at_a_time_are_bounded() {
    let mut fixture = start(Limits { requests: 4, ..SMALL }).await;
    let (_first, _one) = fixture.open("PUT /kv/a", &vec![b'x'; 60 << 10]).await;
    assert_eq!(fixture.refused("PUT /kv/b", &vec![b'x'; 8 << 10]).await, too_much("overloaded"));
    fixture.open("PUT /kv/b", b"small").await;
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_one_is_told_so() {
    let mut fixture = start(SMALL).await;
    let mut open = Vec::new();
    for _ in 0..SMALL.connections {
        open.push(fixture.open("GET /status", b"").await);
    }
    assert_eq!(fixture.refused("GET /status", b"").await, too_much("too-many-connections"));
}

#[tokio::test]
async fn watchers_are_bounded() {
    let mut fixture = start(SMALL).await;
    let (mut watcher, request) = fixture.open("GET /watch?prefix=", b"").await;
    assert_eq!(fixture.refused("GET /watch?key=k", b"").await, too_much("too-many-watchers"));
    let batch = Batch { changes: Vec::new(), next: Revision(8) };
    request.reply.send(Reply::Changes { batch, applied: Index(7) }).expect("a watcher that waits");
    let mut begin = vec![0; 64];
    watcher.read_exact(&mut begin).await.expect("an answer");
    assert!(begin.starts_with(b"HTTP/1.1 200 OK"), "{begin:?}");
    assert_eq!(fixture.refused("GET /watch?key=k", b"").await, too_much("too-many-watchers"));
}

#[tokio::test]
async fn everything_that_is_too_long_has_its_own_refusal() {
    let fixture = start(Limits { body_bytes: 8 << 20, ..SMALL }).await;
    let refused = async |head: &str, length: usize| {
        // The body is announced, and never sent.
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        let head = format!("{head} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a socket that takes it");
        refusal(&mut stream).await
    };
    let word = |status: u16, word: &str| (status, word.to_owned());
    assert_eq!(refused("PUT /kv/k", (1 << 20) + 1).await, word(413, "value-too-large"));
    assert_eq!(refused("POST /txn", (2 << 20) + 1).await, word(413, "transaction-too-large"));
    assert_eq!(refused("POST /members", (64 << 10) + 1).await, word(413, "order-too-large"));
    let long = format!("PUT /kv/{}", "k".repeat(1025));
    assert_eq!(refused(&long, 1).await, word(414, "key-too-long"));
}

#[tokio::test]
async fn stopping_answers_what_is_asked_and_accepts_nobody() {
    let mut fixture = start(SMALL).await;
    let idle = TcpStream::connect(fixture.address).await.expect("a connection");
    let (mut asking, request) = fixture.open("GET /kv/a", b"").await;
    fixture.stopping.send_replace(true);
    let refused = async {
        while TcpStream::connect(fixture.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.expect("a closed port");
    assert!(!fixture.server.is_finished(), "a request is not answered");
    request.reply.send(Reply::NoQuorum).expect("a client that waits");
    let mut answer = String::new();
    timeout(PATIENCE, asking.read_to_string(&mut answer)).await.expect("an end").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no-quorum"), "{answer}");
    timeout(PATIENCE, fixture.server).await.expect("an end").expect("no panic");
    drop(idle);
}

#[tokio::test]
async fn client_that_goes_while_it_watches_makes_room_for_another() {
    let mut fixture = start(SMALL).await;
    let (watcher, request) = fixture.open("GET /watch?prefix=", b"").await;
    let batch = Batch { changes: Vec::new(), next: Revision(8) };
    request.reply.send(Reply::Changes { batch, applied: Index(7) }).expect("a watcher that waits");
    let waiting = timeout(PATIENCE, fixture.requests.recv()).await.expect("it asks for more");
    drop(watcher);
    let again = async {
        loop {
            let mut stream = fixture.send("GET /watch?prefix=", b"").await;
            tokio::select! {
                Some(request) = fixture.requests.recv() => return request,
                refused = refusal(&mut stream) => assert_eq!(refused, too_much("too-many-watchers")),
            }
        }
    };
    timeout(PATIENCE, again).await.expect("room");
    drop(waiting);
}
