//! What the generator can be asked to do, and what it answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One job.
#[derive(Debug, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub(crate) enum Job {
    /// Write every key once.
    Fill(Fill),
    /// Operate for a while, and measure.
    Load(Load),
    /// Write as soon as somebody acknowledges. Prints `ready` when it begins, and its answer at the first acknowledgement.
    FirstWrite(FirstWrite),
    /// Kill the leader, and measure for how long nothing is acknowledged.
    Outage(Outage),
}

/// How to talk to the servers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// shakedown's own API over HTTP/1.1, a connection per client.
    Http,
    /// etcd's `KV` service, clients share up to [`crate::connection::MAX_GRPC_CONNECTIONS`] connections.
    Grpc,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// A durable write of one key.
    Put,
    /// A linearizable read of one key.
    Get,
}

/// The data.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Space {
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Fill {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    pub(crate) space: Space,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) space: Space,
    pub(crate) warm_up_ms: u64,
    pub(crate) measure_ms: u64,
    /// The processes of the servers.
    pub(crate) processes: Vec<u32>,
}

/// What a load came to, within the measured window.
#[derive(Debug, Serialize)]
pub(crate) struct Loaded {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Processor time of the servers.
    pub(crate) servers_cpu_seconds: f64,
    /// Processor time of the generator.
    pub(crate) generator_cpu_seconds: f64,
    /// Processor time that the whole machine spent, on whatever.
    pub(crate) machine_cpu_seconds: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FirstWrite {
    pub(crate) protocol: Protocol,
    pub(crate) addresses: Vec<SocketAddr>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outage {
    pub(crate) protocol: Protocol,
    /// The process that is killed, and where it serves clients.
    pub(crate) leader: u32,
    pub(crate) leader_address: SocketAddr,
    pub(crate) survivors: Vec<SocketAddr>,
}
