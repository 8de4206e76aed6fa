//! Links: TCP proxies on loopback by which the nemesis controls who hears whom.
//!
//! A link is one *data direction* over all connections of a pair, whoever dialled; the pair is two nodes, or a node and the
//! clients. A rule holds the bytes of a link or makes them late, and the connections of a pair can be reset.
//!
//! Guarantees:
//! * Rules act at once, on existing connections too, in the middle of a stream.
//! * No byte is dropped from a stream that is not reset, and none is reordered.
//! * While any direction of a pair is held, new connections of the pair are not established.
//! * Faults that overlap add up: a link is open when the last of them was lifted.
//!
//! With a switch ([`Links::switched`]) the links between nodes are directions of a network of packets instead, and obey the
//! same rules; what is held there is lost. Clients reach the nodes through proxies all the same.
//!
//! What a proxy cannot do: drop or reorder packets, lose a handshake (the dialler's connect succeeds, and then nothing
//! comes), let a connection die of missing keepalives, carry UDP. Connections that avoid the links are found by
//! [`Links::audit`], not prevented.

mod canary;
mod connection;
mod lane;
mod listener;
mod noise;
mod pump;
mod rule;
mod table;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::NodeId;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use lane::LinkStats;
pub(crate) use lane::{Counters, Lane, count};
pub use listener::Stranger;
pub use noise::{Noise, Rate};
pub use rule::{FaultId, Rule};
pub use table::Strangers;

use crate::audit::{self, Bypass};
use crate::diag::SockDiag;
use crate::switch::{Switch, SwitchError, Volley};
use crate::{Endpoint, Link, Processes, Registry};
use canary::Canaries;
use listener::{Attribution, Door};
use table::Table;
use upstream::Upstream;

/// All links of a cluster. Copies are the same links; when the last one is dropped, listeners and connections are closed.
#[derive(Debug, Clone)]
pub struct Links(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Arc<Table>,
    /// What joins the nodes, unless they are on loopback.
    switch: Option<Arc<Switch>>,
    registry: Registry,
    diag: Arc<Mutex<SockDiag>>,
    canaries: Canaries,
    /// Where canaries end.
    canary_upstream: SocketAddr,
    /// The listeners for canaries, by destination.
    canary_doors: tokio::sync::Mutex<BTreeMap<Endpoint, SocketAddr>>,
    /// The real addresses behind the listeners.
    upstreams: Mutex<BTreeMap<SocketAddr, NodeId>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Links {
    /// No links yet; `registry` tells which process belongs to which node.
    ///
    /// # Errors
    /// When loopback or `NETLINK_SOCK_DIAG` cannot be used.
    pub async fn new(registry: Registry) -> io::Result<Self> {
        Self::with(registry, Arc::default(), None).await
    }

    /// The same for nodes that a switch of ours joins, each in a network namespace of its own: they find each other at
    /// [`Links::address`], and must not have been started. `seed` decides which packets a noisy link hits.
    ///
    /// # Errors
    /// When this machine does not allow it.
    pub async fn switched(
        processes: &Arc<Processes>,
        nodes: &[NodeId],
        seed: u64,
    ) -> Result<Self, SwitchError> {
        let table = Arc::new(Table::default());
        let lane = |link: &Link| table.lanes(&link.source, &link.destination).0;
        let switch = Switch::start(Arc::clone(processes), nodes, seed, lane).await?;
        Ok(Self::with(processes.registry().clone(), table, Some(Arc::new(switch))).await?)
    }

    async fn with(registry: Registry, table: Arc<Table>, switch: Option<Arc<Switch>>) -> io::Result<Self> {
        let (receiver, canary_upstream) = bind().await?;
        let inner = Inner {
            table,
            switch,
            registry,
            diag: Arc::new(Mutex::new(SockDiag::open()?)),
            canaries: Canaries::default(),
            canary_upstream,
            canary_doors: tokio::sync::Mutex::default(),
            upstreams: Mutex::default(),
            tasks: Mutex::default(),
        };
        inner.tasks().spawn(inner.canaries.receive(receiver));
        Ok(Self(Arc::new(inner)))
    }

    /// Opens the address by which `source` alone reaches `destination`.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn listen_pair(
        &self,
        source: &NodeId,
        destination: &NodeId,
        upstream: SocketAddr,
    ) -> io::Result<SocketAddr> {
        self.listen(destination, upstream, Attribution::Always(source.into())).await
    }

    /// Opens the address by which every other node reaches `destination`; who dialled is found at the accept.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn listen_attributed(
        &self,
        destination: &NodeId,
        upstream: SocketAddr,
        stranger: Stranger,
    ) -> io::Result<SocketAddr> {
        self.listen(destination, upstream, Attribution::ByProcess(stranger)).await
    }

    /// Opens the address by which clients reach `destination`.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn listen_clients(&self, destination: &NodeId, upstream: SocketAddr) -> io::Result<SocketAddr> {
        self.listen(destination, upstream, Attribution::Always(Endpoint::Clients)).await
    }

    /// Opens an address at which a node is reached past all links, whatever any fault wants.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn listen_past(&self, upstream: SocketAddr) -> io::Result<SocketAddr> {
        let (listener, address) = bind().await?;
        let upstream = self.upstream(upstream);
        self.0.tasks().spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((mut dialler, _)) = listener.accept() => {
                        let upstream = upstream.clone();
                        connections.spawn(async move {
                            // What breaks at one end breaks at the other.
                            if let Ok(mut node) = upstream.connect().await {
                                let _ = copy_bidirectional(&mut dialler, &mut node).await;
                            }
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(address)
    }

    /// The address of a node in the network of the switch, if there is one: every node reaches it there, at any port.
    pub fn address(&self, node: &NodeId) -> Option<Ipv4Addr> {
        self.0.switch.as_ref()?.address(node)
    }

    /// Whether a switch joins the nodes.
    pub fn are_switched(&self) -> bool {
        self.0.switch.is_some()
    }

    /// Adds what a fault wants of a link.
    pub fn impose(&self, fault: FaultId, link: &Link, rule: Rule) {
        self.0.table.impose(fault, link, rule);
    }

    /// Takes back everything that a fault wanted. Idempotent.
    pub fn lift(&self, fault: FaultId) {
        self.0.table.lift(fault);
    }

    /// Opens every link, whatever any fault wanted. Idempotent.
    pub fn heal_all(&self) {
        self.0.table.heal_all();
    }

    /// What a link does at this moment.
    pub fn rule(&self, link: &Link) -> Rule {
        self.0.table.rule(link)
    }

    /// Resets every connection of the pair, whoever dialled.
    pub fn reset(&self, link: &Link) {
        // Every connection watches both of its directions, so one is enough.
        self.0.table.reset(link);
    }

    /// What happened on every link so far.
    pub fn stats(&self) -> BTreeMap<Link, LinkStats> {
        self.0.table.stats()
    }

    /// Connections that were refused because nobody knows who dialled.
    pub fn strangers(&self) -> Strangers {
        self.0.table.strangers()
    }

    /// Sends a canary over a link. Returns how long it took, or `None` when it did not arrive within `wait`, to which the
    /// delay of the link is added. The first probe of a link needs both directions open, later ones
    /// do not.
    ///
    /// # Errors
    /// When loopback cannot be used.
    pub async fn probe(&self, link: &Link, wait: Duration) -> io::Result<Option<Duration>> {
        let wait = wait + self.rule(link).latest();
        if let Some(switch) = self.switch_of(link) {
            return switch.probe(link, wait).await;
        }
        let door = self.canary_door(&link.destination).await?;
        self.0.canaries.probe(link, door, &self.0.registry, wait).await
    }

    /// Sends `count` canaries over a link of the switch, one after the other, and looks at what arrives until `wait` after the
    /// last, to which the delay of the link is added.
    ///
    /// # Errors
    /// When the link is not one of a switch.
    pub async fn volley(&self, link: &Link, count: usize, wait: Duration) -> io::Result<Volley> {
        let wait = wait + self.rule(link).latest();
        let no_switch = || io::Error::new(io::ErrorKind::Unsupported, format!("no switch carries {link}"));
        self.switch_of(link).ok_or_else(no_switch)?.volley(link, count, wait).await
    }

    /// The canary that is connected over a link at this moment, by a number that no other has; `None` when there is none.
    pub async fn canary(&self, link: &Link) -> Option<u64> {
        self.0.canaries.connected(link).await
    }

    /// Looks for connections between nodes that avoid the links.
    ///
    /// # Errors
    /// When the kernel does not list its sockets.
    pub fn audit(&self) -> io::Result<Vec<Bypass>> {
        let upstreams = self.0.upstreams().clone();
        audit::audit(&self.0.registry, &upstreams)
    }

    /// The switch, if it carries this link.
    fn switch_of(&self, link: &Link) -> Option<&Switch> {
        let between_nodes = link.source.node().is_some() && link.destination.node().is_some();
        self.0.switch.as_deref().filter(|_| between_nodes)
    }

    fn upstream(&self, address: SocketAddr) -> Upstream {
        let is_attached = |switch: &&Arc<Switch>| switch.has(address.ip());
        Upstream { address, switch: self.0.switch.as_ref().filter(is_attached).cloned() }
    }

    async fn listen(&self, node: &NodeId, upstream: SocketAddr, how: Attribution) -> io::Result<SocketAddr> {
        self.0.upstreams().insert(upstream, node.clone());
        self.open_door(node.into(), upstream, how).await
    }

    async fn open_door(
        &self,
        destination: Endpoint,
        upstream: SocketAddr,
        attribution: Attribution,
    ) -> io::Result<SocketAddr> {
        let (listener, address) = bind().await?;
        let door = Door {
            destination,
            upstream: self.upstream(upstream),
            attribution,
            table: Arc::clone(&self.0.table),
            registry: self.0.registry.clone(),
            diag: Arc::clone(&self.0.diag),
        };
        self.0.tasks().spawn(door.serve(listener));
        Ok(address)
    }

    async fn canary_door(&self, destination: &Endpoint) -> io::Result<SocketAddr> {
        let mut doors = self.0.canary_doors.lock().await;
        if let Some(door) = doors.get(destination) {
            return Ok(*door);
        }
        let door = self.open_door(destination.clone(), self.0.canary_upstream, Attribution::ByLoan).await?;
        doors.insert(destination.clone(), door);
        Ok(door)
    }
}

impl Inner {
    // Both are changed by single operations only.
    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstreams(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, NodeId>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
