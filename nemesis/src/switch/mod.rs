//! A network of our own for nodes that cannot be proxied: each node lives in a network namespace with one cable, and the
//! other ends of all cables lie here.
//!
//! The guardian makes the namespaces and hands over a packet socket for each cable; a thread (`forward`) moves the frames
//! and does to those of a link what its [`crate::links::Rule`] says. The clients and the harness are a host too, on whose
//! packets nothing is done: they dial by sockets that the guardian opened in the namespace of that host.
//!
//! Guarantees: no packet goes from node to node but by this switch, whatever protocol and port it is of, because there is
//! no other way out of a namespace; rules act at once; a packet with a changed bit is found by the checksum of TCP or UDP,
//! and never reaches a program.
//!
//! What it does not do: IPv6, broadcast and multicast; the way to other networks; resets of connections.

mod canary;
mod forward;
mod frame;
mod path;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use history::NodeId;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;

use canary::Canaries;
pub use canary::Volley;
use forward::{Forwarding, Port};
use path::Path;

use crate::dice::Dice;
use crate::guardian::{GuardianError, Transport};
use crate::links::Lane;
use crate::{Endpoint, Link, Processes};

/// The network that all hosts are in; nobody outside their namespaces sees it.
const NETWORK: [u8; 3] = [10, 99, 0];
/// How many sockets of clients are opened at once.
const CLIENT_SOCKETS: usize = 32;
/// The host of the clients.
const CLIENTS: u8 = 254;

/// Why there is no switch.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The guardian could not make the namespaces.
    #[error(transparent)]
    Guardian(#[from] GuardianError),
    /// What it made could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running switch. It ends when it is dropped; the namespaces end with the guardian.
#[derive(Debug)]
pub(crate) struct Switch {
    processes: Arc<Processes>,
    addresses: BTreeMap<NodeId, Ipv4Addr>,
    canaries: Canaries,
    /// Sockets of the clients' host that nobody has used yet.
    unused: Arc<Mutex<Vec<OwnedFd>>>,
    _forwarding: Forwarding,
}

impl Switch {
    /// Attaches all nodes, before they are started; `lane` tells what is to be done on a link, and `seed` decides which packets
    /// are hit.
    pub(crate) async fn start(
        processes: Arc<Processes>,
        nodes: &[NodeId],
        seed: u64,
        lane: impl Fn(&Link) -> Lane,
    ) -> Result<Self, SwitchError> {
        let addresses: BTreeMap<NodeId, Ipv4Addr> =
            (1..CLIENTS).zip(nodes).map(|(host, node)| (node.clone(), address(host))).collect();
        assert_eq!(addresses.len(), nodes.len(), "invariant: clusters are small");
        let guardian = processes.guardian();
        let mut dice = Dice::new(seed);
        let mut canaries = Canaries::default();
        let mut ports = Vec::new();
        for (node, &address) in &addresses {
            let cable = guardian.attach(node, address).await?;
            for socket in guardian.sockets(node, Transport::Udp, 1).await? {
                canaries.settle(node.clone(), address, socket)?;
            }
            let mut path = |other: &NodeId| Path::new(lane(&Link::new(node, other)), dice.seed());
            let paths = addresses.keys().map(|other| (other != node).then(|| path(other)));
            ports.push(Port { address, cable, paths: paths.chain([None]).collect() });
        }
        let cable = guardian.attach(&clients(), address(CLIENTS)).await?;
        ports.push(Port { address: address(CLIENTS), cable, paths: no_paths(ports.len() + 1) });
        let forwarding = Forwarding::start(ports)?;
        Ok(Self { processes, addresses, canaries, unused: Arc::default(), _forwarding: forwarding })
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: &NodeId) -> Option<Ipv4Addr> {
        self.addresses.get(node).copied()
    }

    /// Whether this is the address of a host.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.values().any(|host| *host == address)
    }

    /// Dials a node as the clients do.
    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.client_socket().await.map_err(io::Error::other)?;
        TcpSocket::from_std_stream(StdTcpStream::from(socket)).connect(address).await
    }

    /// A connection may be given up at any time, but what the guardian was asked for must be taken; so a task does that.
    async fn client_socket(&self) -> Result<OwnedFd, GuardianError> {
        let (processes, unused) = (Arc::clone(&self.processes), Arc::clone(&self.unused));
        let opened = tokio::spawn(async move {
            let mut unused = unused.lock().await;
            if unused.is_empty() {
                let guardian = processes.guardian();
                unused.extend(guardian.sockets(&clients(), Transport::Tcp, CLIENT_SOCKETS).await?);
            }
            Ok(unused.pop().expect("invariant: some were opened"))
        });
        opened.await.unwrap_or(Err(GuardianError::Gone))
    }

    /// Sends a canary over a link between nodes, again and again until one arrives; how long that took, or `None` when
    /// none did within `wait`.
    pub(crate) async fn probe(&self, link: &Link, wait: Duration) -> io::Result<Option<Duration>> {
        self.canaries.probe(link, wait).await
    }

    /// Sends `count` canaries over a link between nodes, and looks at what arrives until `wait` after the last.
    pub(crate) async fn volley(&self, link: &Link, count: usize, wait: Duration) -> io::Result<Volley> {
        self.canaries.volley(link, count, wait).await
    }
}

fn no_paths(ports: usize) -> Vec<Option<Path>> {
    std::iter::repeat_with(|| None).take(ports).collect()
}

fn address(host: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, host)
}

fn clients() -> NodeId {
    NodeId(Endpoint::Clients.to_string())
}
