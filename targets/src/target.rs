//! What every target offers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use history::NodeId;
use workloads::{Client, Reads};

use crate::{etcd::Etcd, raft::Raft};

/// Where a target's executable comes from when the user names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executable {
    /// The binary of shakedown itself.
    This,
    /// A program of the search path, with the package that brings it.
    InPath {
        /// Its name.
        name: &'static str,
        /// The Debian package.
        package: &'static str,
    },
}

/// Which peer addresses a node can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peering {
    /// Every node may dial every other by an address of its own: one listener per ordered pair of nodes.
    PerSource,
    /// Every node has one advertised address: connections are attributed when they are accepted.
    Advertised,
}

/// How nodes put messages into the connections between them, in the direction from who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// What the dialler says before its first message.
    pub preamble_bytes: usize,
    /// What stands in front of each message. It begins with the length of what follows it, as a little-endian number of 32
    /// bits.
    pub header_bytes: usize,
}

/// What a node needs to know to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Which node.
    pub node: NodeId,
    /// Its data directory.
    pub data: PathBuf,
    /// Where it may say, line by line, what its protocol does. No fault of a disk reaches it.
    pub trace: PathBuf,
    /// Where it listens for clients.
    pub client_listen: SocketAddr,
    /// Where it listens for peers.
    pub peer_listen: SocketAddr,
    /// By which address it reaches each node, its own included. Under [`Peering::Advertised`] the same for all nodes.
    pub peers: BTreeMap<NodeId, SocketAddr>,
    /// The mutant that the node shall be, where the target has some.
    pub mutant: Option<String>,
    /// The members, itself included, when it comes to a cluster that runs as a new one with an empty data directory; `None`
    /// when all nodes found the cluster together.
    pub joins: Option<BTreeSet<NodeId>>,
}

/// How a node is started, beside its executable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeCommand {
    /// The arguments, without the name of the program.
    pub args: Vec<String>,
    /// Variables beside the few that every node gets.
    pub env: BTreeMap<String, String>,
}

/// How a client of one process behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The node that the process is pinned to.
    pub home: NodeId,
    /// Where clients reach each node.
    pub endpoints: BTreeMap<NodeId, SocketAddr>,
    /// How reads are made.
    pub reads: Reads,
    /// Whether a request that its node refuses goes on to the node that is said to lead.
    pub follow_hints: bool,
}

/// What a node says about who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Whether it leads itself.
    pub leads: bool,
    /// Its term.
    pub term: u64,
}

/// What a node's replica holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// How much of the log it has applied.
    pub applied: u64,
    /// A digest of everything it holds, or of everything it applied, comparable between nodes at equal `applied`.
    pub digest: String,
}

/// A replica that is on its way; `None` when the node did not say, or was not at rest.
pub type ReplicaFuture = Pin<Box<dyn Future<Output = Option<Replica>> + Send>>;

/// A count that is on its way; `None` when the node did not give one.
pub type UncommittedFuture = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

/// An answer that is on its way; `None` when the node did not give one.
pub type LeadershipFuture = Pin<Box<dyn Future<Output = Option<Leadership>> + Send>>;

/// Asks nodes about themselves, over connections of the harness's own that no fault touches.
pub trait StatusProbe: Send + Sync {
    /// Asks the node that listens at `client`.
    fn leadership(&self, client: SocketAddr) -> LeadershipFuture;

    /// Asks it what its replica holds.
    fn replica(&self, client: SocketAddr) -> ReplicaFuture;

    /// Asks it how many entries of its log it does not know to be committed. Few systems tell.
    fn uncommitted(&self, _client: SocketAddr) -> UncommittedFuture {
        Box::pin(std::future::ready(None))
    }
}

/// What became of an operation: what it did, in words, or why it did nothing.
pub type OperationFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Does what an operator of the system does, over connections that no fault touches.
pub trait Operator: Send + Sync {
    /// Hands leadership over from the node that listens at `leader`, and returns when it was asked to.
    fn transfer(&self, leader: SocketAddr, to: &Peer) -> OperationFuture;

    /// Does one of the [`Target::operations`] to the node that listens at `node`.
    fn operate(&self, operation: &str, node: SocketAddr) -> OperationFuture;
}

/// A node, as an operator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: NodeId,
    /// What it advertises to the others.
    pub address: SocketAddr,
    /// Where it listens for clients.
    pub client: SocketAddr,
}

/// The members, on their way; or why they are not known.
pub type MembersFuture = Pin<Box<dyn Future<Output = Result<BTreeSet<NodeId>, String>> + Send>>;

/// Changes who belongs to the cluster, over connections that no fault touches.
pub trait Membership: Send + Sync {
    /// The members, by a linearizable read of `told_by`: everything that was committed before is in it. All members must
    /// be among `nodes`.
    fn members(&self, told_by: &Peer, nodes: &[Peer]) -> MembersFuture;

    /// Makes a node a member.
    fn add(&self, asked: &Peer, member: &Peer) -> OperationFuture;

    /// Makes it a member no more.
    fn remove(&self, asked: &Peer, member: &Peer) -> OperationFuture;

    /// Makes a member vote whose process runs. Refused while it cannot yet; where members vote from the start there is
    /// nothing to do.
    fn promote(&self, _asked: &Peer, member: &Peer) -> OperationFuture {
        Box::pin(std::future::ready(Ok(format!("{} votes", member.node))))
    }
}

/// A system under test. One file implements it per system.
pub trait Target: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for `list targets`.
    fn description(&self) -> &'static str;

    /// Where the executable comes from.
    fn executable(&self) -> Executable;

    /// The arguments that make the executable print its version; `None` when it is the suite's own.
    fn version_args(&self) -> Option<&'static [&'static str]>;

    /// Which peer addresses a node can be told.
    fn peering(&self) -> Peering;

    /// How nodes put messages into connections; `None` when single messages cannot be told apart.
    fn framing(&self) -> Option<Framing> {
        None
    }

    /// The time after which followers miss their leader. Fault durations scale with it.
    fn election_timeout(&self) -> Duration;

    /// How long a client waits for an answer.
    fn request_timeout(&self) -> Duration;

    /// How a node is started.
    fn command(&self, launch: &Launch) -> NodeCommand;

    /// Opens the client of a process.
    ///
    /// # Errors
    /// When the client cannot be set up; it does not connect yet.
    fn client(&self, options: &ClientOptions) -> Result<Box<dyn Client>, reqwest::Error>;

    /// A way to ask nodes who leads.
    ///
    /// # Errors
    /// When it cannot be set up.
    fn status_probe(&self) -> Result<Box<dyn StatusProbe>, reqwest::Error>;

    /// What an operator can do to it while it runs, by name, beside a transfer of leadership.
    fn operations(&self) -> &'static [&'static str] {
        &[]
    }

    /// A way to operate it; `None` when it offers none.
    ///
    /// # Errors
    /// When it cannot be set up.
    fn operator(&self) -> Option<Result<Box<dyn Operator>, reqwest::Error>> {
        None
    }

    /// A way to change its members; `None` when it offers none.
    ///
    /// # Errors
    /// When it cannot be set up.
    fn membership(&self) -> Option<Result<Box<dyn Membership>, reqwest::Error>> {
        None
    }

    /// Whether the target answers such reads at all.
    fn supports_reads(&self, reads: Reads) -> bool;

    /// What a node's log may never contain: the beginnings of panics and failed assertions.
    fn forbidden_log(&self) -> &'static [&'static str];
}

/// Every target, in the order of `list targets`.
pub fn all() -> Vec<Box<dyn Target>> {
    vec![Box::new(Raft), Box::new(Etcd)]
}

/// The target of that name.
pub fn find(name: &str) -> Option<Box<dyn Target>> {
    all().into_iter().find(|target| target.name() == name)
}
