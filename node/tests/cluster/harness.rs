//! A cluster of real servers on free ports of one runtime, and a raw HTTP client for it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use node::server::{Listeners, serve};
use node::{NodeError, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Node {
    pub(crate) options: Options,
    task: Option<JoinHandle<Result<(), NodeError>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Node {
    /// The directory of the cluster is there as long as the node runs, which may be longer than its test: a node without a
    /// directory ends the process, and all other tests with it.
    fn start(options: Options, listeners: Listeners, directory: Arc<TempDir>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            if stopped.await.is_err() {
                // Whoever lets go of the sender kills the node by other means.
                std::future::pending::<()>().await;
            }
        };
        let served = serve(options.clone(), listeners, stopped);
        let task = tokio::spawn(async move {
            let _directory = directory;
            served.await
        });
        let task = Some(task);
        Self { options, task, stop: Some(stop) }
    }
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    directory: Arc<TempDir>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().expect("a word").to_owned())
    }
}

/// A free port of an address that is nobody else's. Connections begin at 127.0.0.1, so a node that is started again finds its ports free.
pub(crate) fn any_port() -> SocketAddr {
    let [high, low] = u16::try_from(std::process::id() % 0xfe00).expect("a small number").to_be_bytes();
    (Ipv4Addr::new(127, 1 + high, low, 1), 0).into()
}

impl Cluster {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_with(count: usize, adapt: impl Fn(&mut Options)) -> Self {
        let directory = Arc::new(TempDir::new().expect("a directory"));
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(Listeners::bind(any_port(), any_port()).await.expect("free ports"));
        }
        let name = |position: usize| format!("n{}", position + 1);
        let address = |listener: &Listeners| listener.peer_address().expect("a bound socket");
        let cluster: BTreeMap<String, SocketAddr> = listeners
            .iter()
            .enumerate()
            .map(|(position, listener)| (name(position), address(listener)))
            .collect();
        let mut nodes = Vec::new();
        for (position, listeners) in listeners.into_iter().enumerate() {
            let mut options = Options {
                id: name(position),
                data: directory.path().join(name(position)),
                client: listeners.client_address().expect("a bound socket"),
                peer: address(&listeners),
                cluster: cluster.clone(),
                join: false,
                snapshot_entries: 100,
                heartbeat: Duration::from_millis(20),
                election: Duration::from_millis(150),
                trace: None,
                lease_reads: false,
                mutant: None,
            };
            adapt(&mut options);
            nodes.push(Node::start(options, listeners, directory.clone()));
        }
        Self { nodes, directory }
    }

    /// Starts one more node, which waits to be added; returns its position.
    pub(crate) async fn join(&mut self) -> usize {
        let listeners = Listeners::bind(any_port(), any_port()).await.expect("free ports");
        let first = &self.nodes[0].options;
        let position = self.nodes.len();
        let id = format!("n{}", position + 1);
        let peer = listeners.peer_address().expect("a bound socket");
        let mut cluster = first.cluster.clone();
        cluster.insert(id.clone(), peer);
        let options = Options {
            data: first.data.with_file_name(&id),
            client: listeners.client_address().expect("a bound socket"),
            id,
            peer,
            cluster,
            join: true,
            ..first.clone()
        };
        self.nodes.push(Node::start(options, listeners, self.directory.clone()));
        position
    }

    /// Ends a node as a crash would: nothing more is sent, nobody is told.
    pub(crate) async fn kill(&mut self, position: usize) {
        let task = self.nodes[position].task.take().expect("a running node");
        task.abort();
        let _ = task.await;
    }

    /// Asks a node to stop, as SIGTERM does, and waits until it has.
    pub(crate) async fn stop(&mut self, position: usize) {
        let node = &mut self.nodes[position];
        node.stop.take().expect("a running node").send(()).expect("a node that listens");
        let task = node.task.take().expect("a running node");
        timeout(PATIENCE, task).await.expect("an end").expect("no panic").expect("an orderly end");
    }

    pub(crate) async fn restart(&mut self, position: usize) {
        let options = self.nodes[position].options.clone();
        let listeners = Listeners::bind(options.client, options.peer).await.expect("its own ports");
        self.nodes[position] = Node::start(options, listeners, self.directory.clone());
    }

    pub(crate) async fn request(
        &self,
        position: usize,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<Answer> {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        self.raw(position, &[head.as_bytes(), body].concat()).await
    }

    /// Sends bytes and reads one answer; `None` when the node is not there or says nothing.
    pub(crate) async fn raw(&self, position: usize, bytes: &[u8]) -> Option<Answer> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.nodes[position].options.client).await.ok()?;
            stream.write_all(bytes).await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            parse(&answer)
        };
        timeout(PATIENCE, exchange).await.expect("an answer or the end of the connection")
    }

    pub(crate) async fn status(&self, position: usize) -> Option<Value> {
        Some(self.request(position, "GET", "/status", b"").await?.json())
    }

    /// Waits until some running node says that it leads, and that an entry of its term is committed.
    pub(crate) async fn leader(&self) -> usize {
        let search = async {
            loop {
                for position in (0..self.nodes.len()).filter(|&position| self.nodes[position].task.is_some())
                {
                    if self.leads(position).await {
                        return position;
                    }
                }
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, search).await.expect("a leader")
    }

    /// A leader that answers a linearizable read has proved it.
    async fn leads(&self, position: usize) -> bool {
        matches!(
            self.request(position, "GET", "/kv/no-such-key", b"").await,
            Some(Answer { status: 404, .. })
        )
    }

    /// Sends a request to whoever leads until it is answered for certain. Only for what may be done twice.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let attempts = async {
            loop {
                let leader = self.leader().await;
                match self.request(leader, method, path, body.as_bytes()).await {
                    Some(answer) if ![421, 503].contains(&answer.status) => return answer,
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, attempts).await.expect("an answer")
    }

    /// Writes, at whichever node leads, until a write is acknowledged.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        let attempts = async {
            loop {
                let leader = self.leader().await;
                let answer = self.request(leader, "PUT", &format!("/kv/{key}"), value.as_bytes()).await;
                if answer.is_some_and(|answer| answer.status == 200) {
                    return;
                }
            }
        };
        timeout(PATIENCE, attempts).await.expect("an acknowledged write");
    }

    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let attempts = async {
            loop {
                let leader = self.leader().await;
                if let Some(Answer { status: 200, body, .. }) =
                    self.request(leader, "GET", &format!("/kv/{key}"), b"").await
                {
                    return body;
                }
            }
        };
        timeout(PATIENCE, attempts).await.expect("a confirmed read")
    }

    /// Waits until a node has applied `value` under `key`.
    pub(crate) async fn wait_for_local(&self, position: usize, key: &str, value: &str) {
        let path = format!("/kv/{key}?consistency=local");
        let wait = async {
            loop {
                match self.request(position, "GET", &path, b"").await {
                    Some(Answer { status: 200, body, .. }) if body == value.as_bytes() => return,
                    _ => sleep(POLL).await,
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("replication");
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).expect("a textual head").to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: answer[end + 4..].to_vec() })
}
