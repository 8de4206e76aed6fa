//! etcd 3.4 and later through its HTTP/JSON gateway (`/v3/kv/*`).
//!
//! It promises strict serializability for key-value requests; serializable reads are answered from the memory of the
//! node that is asked and may be stale. Every member advertises one peer address, so the links attribute connections
//! when they are accepted: members that are given different peer lists refuse to form a cluster.
//!
//! It can add and remove members. A snapshot is restored into a new cluster of its own (`etcdctl snapshot restore` writes new
//! ids and drops what came later), so a restore is no operation on a cluster that clients use, and there is none here.
//!
//! 3.4.20 to 3.4.41 have a known rare stale read after a pause (etcd #20418); a run that finds it reports it like any
//! other violation.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use history::NodeId;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use workloads::http::{self, Answer};
use workloads::outcome::{Exchange, completion};
use workloads::{Client, Completion, Reads, Request};

use crate::target::{
    LeadershipFuture, MembersFuture, Membership, OperationFuture, Operator, Peer, ReplicaFuture, StatusProbe,
};
use crate::{ClientOptions, Executable, Launch, Leadership, NodeCommand, Peering, Replica, Target};

/// etcd's heartbeat interval; its default of 100 ms makes short runs wait for elections most of the time.
const HEARTBEAT_MS: u64 = 50;
/// etcd's election timeout, ten heartbeats as its documentation advises.
const ELECTION_MS: u64 = 500;
/// How long a status may take on loopback.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an operation may take: a defragmentation blocks its node.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a change of members, or a linearizable read, may take. A node without a quorum does not answer.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(2);
/// Set elements are keys with this prefix.
const SET_PREFIX: &str = "set/";
/// The end of the range of that prefix: its last byte plus one.
const SET_PREFIX_END: &str = "set0";

/// The target `etcd`.
#[derive(Debug, Clone, Copy)]
pub struct Etcd;

impl Target for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn description(&self) -> &'static str {
        "etcd 3.4 and later over its JSON gateway; linearizable (`--read-consistency local` = serializable reads)"
    }

    fn executable(&self) -> Executable {
        Executable::InPath { name: "etcd", package: "etcd-server" }
    }

    fn version_args(&self) -> Option<&'static [&'static str]> {
        Some(&["--version"])
    }

    fn peering(&self) -> Peering {
        Peering::Advertised
    }

    fn election_timeout(&self) -> Duration {
        Duration::from_millis(ELECTION_MS)
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn command(&self, launch: &Launch) -> NodeCommand {
        // A new member must name exactly the members there are.
        let is_member = |node: &NodeId| launch.joins.as_ref().is_none_or(|members| members.contains(node));
        let members = launch.peers.iter().filter(|(node, _)| is_member(node));
        let cluster: Vec<String> =
            members.map(|(node, address)| format!("{node}=http://{address}")).collect();
        let advertised = launch.peers[&launch.node];
        let settings = [
            ("name", launch.node.to_string()),
            ("data-dir", launch.data.display().to_string()),
            ("listen-client-urls", format!("http://{}", launch.client_listen)),
            ("advertise-client-urls", format!("http://{}", launch.client_listen)),
            ("listen-peer-urls", format!("http://{}", launch.peer_listen)),
            ("initial-advertise-peer-urls", format!("http://{advertised}")),
            ("initial-cluster", cluster.join(",")),
            ("initial-cluster-state", if launch.joins.is_some() { "existing" } else { "new" }.to_owned()),
            ("initial-cluster-token", "shakedown".to_owned()),
            ("heartbeat-interval", HEARTBEAT_MS.to_string()),
            ("election-timeout", ELECTION_MS.to_string()),
            // The check wants every member connected for five seconds, so with faults around nothing would ever change.
            // It protects the quorum, which the nemesis does itself.
            ("strict-reconfig-check", "false".to_owned()),
            ("logger", "zap".to_owned()),
        ];
        let args = settings.into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
        NodeCommand { args, ..NodeCommand::default() }
    }

    fn client(&self, options: &ClientOptions) -> Result<Box<dyn Client>, reqwest::Error> {
        let http = http::client(self.request_timeout())?;
        let address = options.endpoints[&options.home];
        Ok(Box::new(EtcdClient { http, address, serializable: options.reads == Reads::Local }))
    }

    fn status_probe(&self) -> Result<Box<dyn StatusProbe>, reqwest::Error> {
        Ok(Box::new(EtcdStatus { http: http::client(STATUS_TIMEOUT)? }))
    }

    fn operations(&self) -> &'static [&'static str] {
        &["compact", "defragment", "snapshot"]
    }

    fn operator(&self) -> Option<Result<Box<dyn Operator>, reqwest::Error>> {
        Some(http::client(OPERATION_TIMEOUT).map(|http| Box::new(EtcdOperator { http }) as Box<dyn Operator>))
    }

    fn membership(&self) -> Option<Result<Box<dyn Membership>, reqwest::Error>> {
        Some(
            http::client(MEMBERSHIP_TIMEOUT)
                .map(|http| Box::new(EtcdOperator { http }) as Box<dyn Membership>),
        )
    }

    fn supports_reads(&self, _reads: Reads) -> bool {
        true
    }

    fn forbidden_log(&self) -> &'static [&'static str] {
        &["panic:", "fatal error:", "runtime error:", "\"level\":\"panic\"", "\"level\":\"fatal\""]
    }
}

struct EtcdClient {
    http: reqwest::Client,
    address: SocketAddr,
    serializable: bool,
}

impl Client for EtcdClient {
    fn invoke<'a>(&'a mut self, request: &'a Request) -> workloads::client::Pending<'a> {
        Box::pin(async move {
            let answer = http::exchange(self.build(request)).await;
            match answer.and_then(|answer| read_answer(request, &answer)) {
                Ok(value) => Completion::Ok(value),
                Err(exchange) => completion(request.is_read(), exchange),
            }
        })
    }
}

impl EtcdClient {
    fn build(&self, request: &Request) -> RequestBuilder {
        let (path, body) = body(request, self.serializable);
        self.http.post(format!("http://{}/v3/kv/{path}", self.address)).json(&body)
    }
}

fn encode(text: impl ToString) -> String {
    BASE64.encode(text.to_string())
}

/// The path and the JSON of a request. Keys and values are base64 in etcd's gateway.
fn body(request: &Request, serializable: bool) -> (&'static str, Value) {
    match request {
        Request::Read { key } => ("range", json!({"key": encode(key), "serializable": serializable})),
        Request::Write { key, value } => ("put", json!({"key": encode(key), "value": encode(value)})),
        Request::Cas { key, expected, new } => (
            "txn",
            json!({
                "compare": [{"target": "VALUE", "result": "EQUAL", "key": encode(key), "value": encode(expected)}],
                "success": [{"requestPut": {"key": encode(key), "value": encode(new)}}],
            }),
        ),
        Request::Add { element } => {
            ("put", json!({"key": encode(format!("{SET_PREFIX}{element}")), "value": encode(element)}))
        }
        Request::ReadAll => (
            "range",
            json!({"key": encode(SET_PREFIX), "range_end": encode(SET_PREFIX_END), "serializable": serializable}),
        ),
    }
}

/// The gateway leaves out fields that hold their default: no `kvs` means none, no `succeeded` means false. The header
/// is always there, and tells an answer of etcd from anything else.
#[derive(Deserialize)]
struct Response {
    #[serde(rename = "header")]
    _header: Value,
    #[serde(default)]
    kvs: Vec<KeyValue>,
    #[serde(default)]
    succeeded: bool,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
}

impl KeyValue {
    fn integer(&self) -> Option<i64> {
        String::from_utf8(BASE64.decode(&self.value).ok()?).ok()?.parse().ok()
    }
}

/// What a whole answer says, or why it says nothing.
fn read_answer(request: &Request, answer: &Answer) -> Result<Value, Exchange> {
    if answer.status != 200 {
        return Err(answer.rejected());
    }
    let unreadable =
        || Exchange::Unreadable(String::from_utf8_lossy(&answer.body).chars().take(80).collect());
    let response: Response = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let integer = |kv: &KeyValue| kv.integer().map(Value::from).ok_or_else(unreadable);
    match request {
        Request::Read { .. } => response.kvs.first().map_or(Ok(Value::Null), integer),
        Request::ReadAll => response.kvs.iter().map(integer).collect(),
        Request::Write { .. } | Request::Add { .. } => Ok(Value::Null),
        Request::Cas { .. } => Ok(Value::Bool(response.succeeded)),
    }
}

struct EtcdStatus {
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Status {
    header: StatusHeader,
    #[serde(default)]
    leader: String,
    #[serde(default, rename = "raftTerm")]
    raft_term: String,
}

#[derive(Deserialize)]
struct StatusHeader {
    #[serde(default)]
    member_id: String,
}

impl StatusProbe for EtcdStatus {
    fn leadership(&self, client: SocketAddr) -> LeadershipFuture {
        let request = self.http.post(format!("http://{client}/v3/maintenance/status")).json(&json!({}));
        Box::pin(async move {
            let answer = http::exchange(request).await.ok()?;
            let status: Status = serde_json::from_slice(&answer.body).ok()?;
            let leads = !status.leader.is_empty() && status.leader == status.header.member_id;
            Some(Leadership { leads, term: status.raft_term.parse().unwrap_or(0) })
        })
    }

    fn replica(&self, client: SocketAddr) -> ReplicaFuture {
        let request = self.http.post(format!("http://{client}/v3/maintenance/hash")).json(&json!({}));
        Box::pin(async move {
            let answer = http::exchange(request).await.ok()?;
            let hash: Hash = serde_json::from_slice(&answer.body).ok()?;
            let applied = hash.header.revision.parse().ok()?;
            Some(Replica { applied, digest: format!("{:08x}", hash.hash) })
        })
    }
}

/// The hash of all keys and values up to a revision (`HashKV`).
#[derive(Deserialize)]
struct Hash {
    header: HashHeader,
    hash: u64,
}

#[derive(Deserialize)]
struct HashHeader {
    revision: String,
}

#[derive(Clone)]
struct EtcdOperator {
    http: reqwest::Client,
}

impl Operator for EtcdOperator {
    fn transfer(&self, leader: SocketAddr, to: &Peer) -> OperationFuture {
        let (operator, to) = (self.clone(), to.client);
        Box::pin(async move {
            let status = operator.ask(to, "maintenance/status", &json!({})).await?;
            let member = status["header"]["member_id"].as_str().ok_or("the status names no member")?;
            operator.ask(leader, "maintenance/transfer-leadership", &json!({"targetID": member})).await?;
            Ok(format!("leadership goes to member {member}"))
        })
    }

    fn operate(&self, operation: &str, node: SocketAddr) -> OperationFuture {
        let (operator, operation) = (self.clone(), operation.to_owned());
        Box::pin(async move {
            match operation.as_str() {
                "compact" => operator.compact(node).await,
                "defragment" => {
                    operator.ask(node, "maintenance/defragment", &json!({})).await?;
                    Ok("defragmented".to_owned())
                }
                "snapshot" => {
                    let bytes = operator.send(node, "maintenance/snapshot", &json!({})).await?.len();
                    Ok(format!("a snapshot of {bytes} bytes was read (base64, with remarks)"))
                }
                other => Err(format!("etcd knows no operation {other:?}")),
            }
        })
    }
}

impl Membership for EtcdOperator {
    fn members(&self, told_by: &Peer, nodes: &[Peer]) -> MembersFuture {
        let (operator, node, nodes) = (self.clone(), told_by.client, nodes.to_vec());
        Box::pin(async move {
            // The list comes from the memory of the node; a linearizable read before makes it current.
            operator.ask(node, "kv/range", &json!({"key": encode("k"), "count_only": true})).await?;
            let listed = operator.list_members(node).await?;
            listed.iter().map(|member| member.node(&nodes)).collect()
        })
    }

    fn add(&self, asked: &Peer, member: &Peer) -> OperationFuture {
        let (operator, node, peer) = (self.clone(), asked.client, member.address);
        Box::pin(async move {
            let urls = json!({"peerURLs": [format!("http://{peer}")]});
            let added = operator.ask(node, "cluster/member/add", &urls).await?;
            let id = added["member"]["ID"].as_str().ok_or("the answer names no member")?;
            Ok(format!("{peer} is member {id}"))
        })
    }

    fn remove(&self, asked: &Peer, member: &Peer) -> OperationFuture {
        let (operator, node, peer) = (self.clone(), asked.client, member.address);
        Box::pin(async move {
            let members = operator.list_members(node).await?;
            let member = members.iter().find(|member| member.peer() == Ok(peer));
            let id = &member.ok_or_else(|| format!("{peer} is no member"))?.id;
            operator.ask(node, "cluster/member/remove", &json!({"ID": id})).await?;
            Ok(format!("member {id} at {peer} is removed"))
        })
    }
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

/// A member; its name is empty until it was started.
#[derive(Deserialize)]
struct Member {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
}

impl Member {
    /// Which of some nodes it is, by what it advertises.
    fn node(&self, nodes: &[Peer]) -> Result<NodeId, String> {
        let address = self.peer()?;
        let node = nodes.iter().find(|node| node.address == address);
        node.map(|node| node.node.clone())
            .ok_or_else(|| format!("a member advertises {address}, which is no node's"))
    }

    /// The only address that it advertises.
    fn peer(&self) -> Result<SocketAddr, String> {
        let address = |url: &String| url.strip_prefix("http://")?.parse().ok();
        match &self.peer_urls[..] {
            [url] => address(url).ok_or_else(|| format!("member {} advertises {url}", self.id)),
            urls => Err(format!("member {} advertises {urls:?}", self.id)),
        }
    }
}

impl EtcdOperator {
    /// The members as far as the node knows.
    async fn list_members(&self, node: SocketAddr) -> Result<Vec<Member>, String> {
        let path = "cluster/member/list";
        let answer = self.send(node, path, &json!({})).await?;
        let listed: Members = serde_json::from_slice(&answer).map_err(|error| format!("{path}: {error}"))?;
        Ok(listed.members)
    }

    /// Forgets everything before the present revision.
    async fn compact(&self, node: SocketAddr) -> Result<String, String> {
        let present = self.ask(node, "kv/range", &json!({"key": encode("k"), "count_only": true})).await?;
        let revision = present["header"]["revision"].as_str().ok_or("the answer names no revision")?;
        self.ask(node, "kv/compaction", &json!({"revision": revision})).await?;
        Ok(format!("compacted to revision {revision}"))
    }

    async fn ask(&self, node: SocketAddr, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.send(node, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| format!("{path}: {error}"))
    }

    async fn send(&self, node: SocketAddr, path: &str, body: &Value) -> Result<Vec<u8>, String> {
        let request = self.http.post(format!("http://{node}/v3/{path}")).json(body);
        let answer = http::exchange(request).await.map_err(|failed| format!("{path}: {failed:?}"))?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(format!("{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, leader: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn fields_that_the_gateway_leaves_out_mean_their_defaults() {
        let header = r#"{"header":{"revision":"3"}}"#;
        let cas = Request::Cas { key: "k".into(), expected: 1, new: 2 };
        assert_eq!(read_answer(&cas, &answer(200, header)), Ok(Value::Bool(false)));
        assert_eq!(read_answer(&Request::Read { key: "k".into() }, &answer(200, header)), Ok(Value::Null));
        assert_eq!(read_answer(&Request::ReadAll, &answer(200, header)), Ok(json!([])));
    }

    #[test]
    fn answer_without_header_is_no_answer_of_etcd() {
        let write = Request::Write { key: "k".into(), value: 2 };
        assert!(matches!(read_answer(&write, &answer(200, "{}")), Err(Exchange::Unreadable(_))));
        assert!(matches!(read_answer(&write, &answer(503, "{}")), Err(Exchange::Rejected(503, _))));
    }

    #[test]
    fn members_are_known_by_what_they_advertise() {
        let text = r#"{"header":{"member_id":"13"},"members":[
            {"ID":"1726716185390713526","name":"n2","peerURLs":["http://127.0.0.2:2380"],"clientURLs":["http://127.0.0.2:2379"]},
            {"ID":"4919374818554738628","peerURLs":["http://127.0.0.3:2380"]},
            {"ID":"7","peerURLs":["https://elsewhere"]}]}"#;
        let members = serde_json::from_str::<Members>(text).unwrap().members;
        let peers: Vec<Result<SocketAddr, String>> = members.iter().map(Member::peer).collect();
        let address = |text: &str| Ok(text.parse::<SocketAddr>().unwrap());
        assert_eq!(peers[..2], [address("127.0.0.2:2380"), address("127.0.0.3:2380")]);
        assert_eq!(peers[2], Err("member 7 advertises https://elsewhere".to_owned()));
        assert_eq!(members[1].id, "4919374818554738628");
    }

    #[test]
    fn joiner_comes_to_the_members_there_are() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (one, two) = (address("127.0.0.1:2380"), address("127.0.0.2:2380"));
        let launch = Launch {
            node: NodeId::numbered(2),
            data: "data".into(),
            trace: "trace".into(),
            client_listen: two,
            peer_listen: two,
            peers: [(1, one), (2, two), (3, two)].map(|(n, peer)| (NodeId::numbered(n), peer)).into(),
            mutant: None,
            joins: Some([1, 2].map(NodeId::numbered).into()),
        };
        let args = Etcd.command(&launch).args;
        let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
        assert!(has("--initial-cluster-state=existing"), "{args:?}");
        assert!(has("--initial-cluster=n1=http://127.0.0.1:2380,n2=http://127.0.0.2:2380"), "{args:?}");
    }

    #[test]
    fn values_are_base64_both_ways() {
        let (path, sent) = body(&Request::Write { key: "k".into(), value: 42 }, false);
        assert_eq!((path, sent), ("put", json!({"key": "aw==", "value": "NDI="})));
        let body = r#"{"header":{},"kvs":[{"key":"aw==","value":"NDI="}]}"#;
        assert_eq!(read_answer(&Request::Read { key: "k".into() }, &answer(200, body)), Ok(Value::from(42)));
    }
}
