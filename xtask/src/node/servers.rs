//! How the servers are started, and what they say about themselves.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::bench::version;

/// Nodes of a cluster.
pub(crate) const NODES: u8 = 3;
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// How long a node may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(1);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Our Raft server, over HTTP/1.1.
    Shakedown,
    /// etcd, over gRPC.
    Etcd,
}

/// A server and where its program is.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) system: System,
    pub(crate) path: PathBuf,
}

/// Where one node is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) data: PathBuf,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) leads: bool,
    /// Whether it knows a leader.
    pub(crate) follows_somebody: bool,
    pub(crate) applied: u64,
}

impl System {
    /// What the generator has to speak.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Shakedown => "http",
            Self::Etcd => "grpc",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shakedown => "shakedown",
            Self::Etcd => "etcd",
        }
    }

    /// Asks a node.
    pub(crate) fn status(self, client: SocketAddr) -> anyhow::Result<Status> {
        match self {
            Self::Shakedown => shakedown_status(&ask(client, "GET", "/status", "")?),
            Self::Etcd => etcd_status(&ask(client, "POST", "/v3/maintenance/status", "{}")?),
        }
        .with_context(|| format!("{client} said something else than its status"))
    }
}

impl Program {
    pub(crate) fn new(system: System, path: PathBuf) -> Self {
        Self { system, path }
    }

    /// What the program says of its version.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let said = version(Command::new(&self.path).arg("--version"));
        let said = said.with_context(|| format!("{} cannot be started", self.path.display()))?;
        Ok(said.replace(" Version:", ""))
    }

    /// What to call a node with. Timeouts, batches and snapshots are the defaults of both.
    pub(crate) fn arguments(&self, node: &Place, all: &[Place]) -> Vec<String> {
        let members = |scheme: &str| {
            all.iter()
                .map(|place| format!("{}={scheme}{}", place.name, place.peer))
                .collect::<Vec<_>>()
                .join(",")
        };
        let Place { name, client, peer, data } = node;
        let data = data.display();
        match self.system {
            System::Shakedown => format!(
                "node --id {name} --data {data} --client {client} --peer {peer} --cluster {}",
                members("")
            ),
            System::Etcd => format!(
                "--name {name} --data-dir {data} --listen-client-urls http://{client} --advertise-client-urls http://{client} \
                 --listen-peer-urls http://{peer} --initial-advertise-peer-urls http://{peer} --initial-cluster {} \
                 --initial-cluster-state new --initial-cluster-token bench --logger zap --log-level error",
                members("http://")
            ),
        }
        .split(' ')
        .map(str::to_owned)
        .collect()
    }

    /// Places for a cluster. Ports are the same for all, addresses are not: those of loopback belong to nobody.
    pub(crate) fn places(&self, directory: &Path) -> Vec<Place> {
        let block = match self.system {
            System::Shakedown => 101,
            System::Etcd => 102,
        };
        // Two benchmarks at the same time would be wrong, but should not meet.
        let process = (std::process::id() % 250 + 1) as u8;
        let place = |node: u8| {
            let ip = Ipv4Addr::new(127, block, process, node);
            let name = format!("n{node}");
            let data = directory.join(&name);
            Place { name, client: (ip, CLIENT_PORT).into(), peer: (ip, PEER_PORT).into(), data }
        };
        (1..=NODES).map(place).collect()
    }
}

/// One request over a connection of its own.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, STATUS_LIMIT)?;
    stream.set_read_timeout(Some(STATUS_LIMIT))?;
    let length = body.len();
    // HTTP/1.0 has no chunks.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {}", head.lines().next().unwrap_or_default());
    Ok(serde_json::from_str(body)?)
}

fn shakedown_status(status: &Value) -> Option<Status> {
    Some(Status {
        leads: status["role"] == "leader",
        follows_somebody: status["leader"].is_string(),
        applied: status["applied"].as_u64()?,
    })
}

/// etcd's gateway writes 64-bit numbers as text, and leaves out what is zero.
fn etcd_status(status: &Value) -> Option<Status> {
    let leader = status["leader"].as_str();
    Some(Status {
        leads: leader.is_some() && leader == status["header"]["member_id"].as_str(),
        follows_somebody: leader.is_some(),
        applied: status["raftAppliedIndex"].as_str()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_servers_say_who_leads() {
        let ours = json!({ "role": "leader", "leader": "n1", "applied": 7 });
        let expected = Status { leads: true, follows_somebody: true, applied: 7 };
        assert_eq!(shakedown_status(&ours), Some(expected.clone()));
        let theirs = json!({ "header": { "member_id": "17" }, "leader": "17", "raftAppliedIndex": "7" });
        assert_eq!(etcd_status(&theirs), Some(expected));
        let lonely = json!({ "header": { "member_id": "17" }, "raftAppliedIndex": "7" });
        assert_eq!(etcd_status(&lonely), Some(Status { leads: false, follows_somebody: false, applied: 7 }));
        assert_eq!(etcd_status(&json!({})), None);
    }

    #[test]
    fn every_node_is_told_of_every_other() {
        for system in [System::Shakedown, System::Etcd] {
            let program = Program::new(system, "/bin/server".into());
            let places = program.places(Path::new("/data"));
            let arguments = program.arguments(&places[1], &places).join(" ");
            assert!(places.iter().all(|place| arguments.contains(&place.peer.to_string())), "{arguments}");
            assert!(arguments.contains("/data/n2") && !arguments.contains("/data/n1"), "{arguments}");
        }
    }
}
