//! shakedown's own Raft server, as a black box: a process with sockets and an HTTP API.
//!
//! It promises linearizability. A follower refuses with a hint at the leader, and a refusal is definite, so the client
//! may send the same operation to the hinted node; it sends nothing twice whose effect is in doubt. Local reads are
//! answered from the memory of the node that is asked, and may be stale: asking for them is a way to see a violation.

mod operator;

use std::net::SocketAddr;
use std::time::Duration;

use history::NodeId;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use workloads::http::{self, Answer};
use workloads::outcome::{Exchange, completion};
use workloads::{Client, Completion, Reads, Request};

use self::operator::RaftOperator;
use crate::target::{LeadershipFuture, Membership, Operator, ReplicaFuture, StatusProbe, UncommittedFuture};
use crate::{ClientOptions, Executable, Framing, Launch, Leadership, NodeCommand, Peering, Replica, Target};

/// How often a request follows a hint at the leader.
const HOPS: u32 = 2;
/// How long a status may take on loopback.
const STATUS_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a change of members, a hand-over, or a linearizable read may take.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Set elements are keys with this prefix.
const SET_PREFIX: &str = "set.";
/// The room that a node's name has in a handshake.
const NODE_NAME_BYTES: usize = 16;

/// The target `raft`.
#[derive(Debug, Clone, Copy)]
pub struct Raft;

impl Target for Raft {
    fn name(&self) -> &'static str {
        "raft"
    }

    fn description(&self) -> &'static str {
        "shakedown's own Raft server (`shakedown node`); linearizable"
    }

    fn executable(&self) -> Executable {
        Executable::This
    }

    fn version_args(&self) -> Option<&'static [&'static str]> {
        None
    }

    fn peering(&self) -> Peering {
        Peering::PerSource
    }

    fn framing(&self) -> Option<Framing> {
        // A handshake of magic, version, two names and checksum; then length, checksum and message, again and again.
        Some(Framing { preamble_bytes: 4 + 4 + 2 * NODE_NAME_BYTES + 4, header_bytes: 4 + 4 })
    }

    fn election_timeout(&self) -> Duration {
        // Timeouts are drawn from 150 to 300 ms; the shortest of several counts.
        Duration::from_millis(200)
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn command(&self, launch: &Launch) -> NodeCommand {
        let cluster: Vec<String> =
            launch.peers.iter().map(|(node, address)| format!("{node}={address}")).collect();
        let mut args = vec![
            "node".to_owned(),
            "--id".to_owned(),
            launch.node.to_string(),
            "--data".to_owned(),
            launch.data.display().to_string(),
            "--client".to_owned(),
            launch.client_listen.to_string(),
            "--peer".to_owned(),
            launch.peer_listen.to_string(),
            "--cluster".to_owned(),
            cluster.join(","),
        ];
        args.extend(["--trace".to_owned(), launch.trace.display().to_string()]);
        if launch.joins.is_some() {
            args.push("--join".to_owned());
        }
        if let Some(mutant) = &launch.mutant {
            args.extend(["--mutant".to_owned(), mutant.clone()]);
        }
        NodeCommand { args, ..NodeCommand::default() }
    }

    fn client(&self, options: &ClientOptions) -> Result<Box<dyn Client>, reqwest::Error> {
        let http = http::client(self.request_timeout())?;
        Ok(Box::new(RaftClient { http, options: options.clone() }))
    }

    fn status_probe(&self) -> Result<Box<dyn StatusProbe>, reqwest::Error> {
        Ok(Box::new(RaftStatus { http: http::client(STATUS_TIMEOUT)? }))
    }

    fn operator(&self) -> Option<Result<Box<dyn Operator>, reqwest::Error>> {
        Some(http::client(OPERATOR_TIMEOUT).map(|http| Box::new(RaftOperator { http }) as Box<dyn Operator>))
    }

    fn membership(&self) -> Option<Result<Box<dyn Membership>, reqwest::Error>> {
        Some(
            http::client(OPERATOR_TIMEOUT).map(|http| Box::new(RaftOperator { http }) as Box<dyn Membership>),
        )
    }

    fn supports_reads(&self, _reads: Reads) -> bool {
        true
    }

    fn forbidden_log(&self) -> &'static [&'static str] {
        &["panicked at", "invariant:", "\"level\":\"fatal\""]
    }
}

struct RaftClient {
    http: reqwest::Client,
    options: ClientOptions,
}

impl Client for RaftClient {
    fn invoke<'a>(&'a mut self, request: &'a Request) -> workloads::client::Pending<'a> {
        Box::pin(async move {
            match self.send(request).await.and_then(|answer| read_answer(request, &answer)) {
                Ok(value) => Completion::Ok(value),
                Err(exchange) => completion(request.is_read(), exchange),
            }
        })
    }
}

impl RaftClient {
    /// Asks the home node, and follows its hint when it refuses because another node leads.
    async fn send(&self, request: &Request) -> Result<Answer, Exchange> {
        let mut node = self.options.home.clone();
        for hop in 0.. {
            let address = self.options.endpoints[&node];
            let answer = http::exchange(self.build(request, address)).await?;
            let hint = answer.leader.clone().map(NodeId);
            match hint {
                Some(leader)
                    if answer.status == 421
                        && self.options.follow_hints
                        && hop < HOPS
                        && leader != node
                        && self.options.endpoints.contains_key(&leader) =>
                {
                    node = leader;
                }
                _ => return Ok(answer),
            }
        }
        unreachable!("invariant: the last hop returns")
    }

    fn build(&self, request: &Request, address: SocketAddr) -> RequestBuilder {
        let consistency = self.options.reads.name();
        let key_url = |key: &str| format!("http://{address}/kv/{key}");
        match request {
            Request::Read { key } => self.http.get(format!("{}?consistency={consistency}", key_url(key))),
            Request::Write { key, value } => self.http.put(key_url(key)).body(value.to_string()),
            Request::Cas { key, expected, new } => {
                self.http.put(format!("{}?expect={expected}", key_url(key))).body(new.to_string())
            }
            Request::Add { element } => {
                self.http.put(key_url(&format!("{SET_PREFIX}{element}"))).body(element.to_string())
            }
            Request::ReadAll => {
                self.http.get(format!("http://{address}/kv?prefix={SET_PREFIX}&consistency={consistency}"))
            }
        }
    }
}

#[derive(Deserialize)]
struct Written {
    matched: Option<bool>,
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<(String, String)>,
}

/// What a whole answer says, or why it says nothing.
fn read_answer(request: &Request, answer: &Answer) -> Result<Value, Exchange> {
    let unreadable =
        || Exchange::Unreadable(String::from_utf8_lossy(&answer.body).chars().take(80).collect());
    let integer = |text: &str| text.parse::<i64>().map(Value::from).map_err(|_| unreadable());
    match (request, answer.status) {
        (Request::Read { .. }, 200) => integer(std::str::from_utf8(&answer.body).map_err(|_| unreadable())?),
        (Request::Read { .. }, 404) => Ok(Value::Null),
        (Request::Write { .. } | Request::Add { .. }, 200) => Ok(Value::Null),
        (Request::Cas { .. }, 200) => {
            let written: Written = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
            written.matched.map(Value::Bool).ok_or_else(unreadable)
        }
        (Request::ReadAll, 200) => {
            let read: Entries = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
            read.entries.iter().map(|(_, value)| integer(value)).collect()
        }
        _ => Err(answer.rejected()),
    }
}

struct RaftStatus {
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Status {
    role: String,
    term: u64,
    applied: u64,
    applied_digest: String,
    commit: u64,
    last_index: u64,
}

impl RaftStatus {
    fn status(&self, client: SocketAddr) -> impl Future<Output = Option<Status>> + use<> {
        let request = self.http.get(format!("http://{client}/status"));
        async move { serde_json::from_slice(&http::exchange(request).await.ok()?.body).ok() }
    }
}

impl StatusProbe for RaftStatus {
    fn leadership(&self, client: SocketAddr) -> LeadershipFuture {
        let status = self.status(client);
        Box::pin(async move {
            let status = status.await?;
            Some(Leadership { leads: status.role == "leader", term: status.term })
        })
    }

    fn replica(&self, client: SocketAddr) -> ReplicaFuture {
        let status = self.status(client);
        Box::pin(async move {
            let Status { applied, applied_digest, .. } = status.await?;
            Some(Replica { applied, digest: applied_digest })
        })
    }

    fn uncommitted(&self, client: SocketAddr) -> UncommittedFuture {
        let status = self.status(client);
        Box::pin(async move {
            let Status { commit, last_index, .. } = status.await?;
            Some(last_index.saturating_sub(commit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, leader: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn mismatch_is_an_observation_and_not_a_failure() {
        let cas = Request::Cas { key: "k".into(), expected: 1, new: 2 };
        assert_eq!(read_answer(&cas, &answer(200, r#"{"matched":false}"#)), Ok(Value::Bool(false)));
        assert_eq!(read_answer(&cas, &answer(200, r#"{"matched":true,"index":4}"#)), Ok(Value::Bool(true)));
    }

    #[test]
    fn absent_key_reads_as_null_but_a_refusal_is_no_observation() {
        let read = Request::Read { key: "k".into() };
        assert_eq!(read_answer(&read, &answer(404, "")), Ok(Value::Null));
        assert_eq!(read_answer(&read, &answer(200, "17")), Ok(Value::from(17)));
        assert!(matches!(read_answer(&read, &answer(421, "")), Err(Exchange::Rejected(421, _))));
        assert!(matches!(read_answer(&read, &answer(200, "x")), Err(Exchange::Unreadable(_))));
    }

    #[test]
    fn set_is_read_as_the_list_of_its_elements() {
        let body = r#"{"entries":[["set.1","1"],["set.20","20"]]}"#;
        assert_eq!(read_answer(&Request::ReadAll, &answer(200, body)), Ok(serde_json::json!([1, 20])));
    }
}
