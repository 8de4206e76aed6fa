//! Links: TCP proxies on loopback by which the nemesis controls who hears whom.
//!
//! A link is one *data direction* over all connections of a pair, whoever dialled; the pair is two nodes, or a node and the
//! clients. A rule holds the bytes of a link, makes them late or few in a second, makes the ends of streams late, takes one
//! end from connections, or loses, repeats and reorders single messages of a system that tells its [`Framing`]; the
//! connections of a pair can be reset and closed.
//!
//! Guarantees:
//! * Rules act at once, on existing connections too, in the middle of a stream.
//! * No byte is dropped from a stream that goes on, and none is reordered; messages, where a rule is about them, are
//!   dropped and reordered whole.
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
mod messages;
mod meter;
mod noise;
mod pump;
mod rule;
mod table;
mod trial;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use history::NodeId;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use canary::CanaryEnds;
pub use lane::LinkStats;
pub(crate) use lane::{Counters, Lane, count};
pub use listener::Stranger;
pub use messages::Framing;
pub use noise::{Noise, Rate};
pub use rule::{FaultId, Odds, Rule};
pub use table::Strangers;
pub use trial::Trial;

use crate::audit::{self, Bypass};
use crate::diag::SockDiag;
use crate::switch::{Switch, SwitchError, Volley};
use crate::{Endpoint, Link, Processes, Registry};
use canary::Canaries;
use listener::{Attribution, Door};
use table::Table;
use trial::Trials;
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
    /// Set when the messages of the system can be told apart.
    trials: OnceLock<Trials>,
    /// The same as `canary_doors`, for trials.
    trial_doors: tokio::sync::Mutex<BTreeMap<Endpoint, SocketAddr>>,
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
            trials: OnceLock::new(),
            trial_doors: tokio::sync::Mutex::default(),
            upstreams: Mutex::default(),
            tasks: Mutex::default(),
        };
        inner.tasks().spawn(inner.canaries.receive(receiver));
        Ok(Self(Arc::new(inner)))
    }

    /// Tells messages apart from now on, on listeners that are opened later. Nothing changes when it is known already.
    ///
    /// # Errors
    /// When loopback cannot be used.
    pub async fn set_framing(&self, framing: Framing) -> io::Result<()> {
        let (receiver, upstream) = bind().await?;
        let trials = Trials::new(framing, upstream);
        let receiving = trials.receive(receiver);
        if self.0.trials.set(trials).is_ok() {
            self.0.tasks().spawn(receiving);
        }
        Ok(())
    }

    /// How messages are told apart, if they are.
    pub fn framing(&self) -> Option<Framing> {
        self.0.trials.get().map(|trials| trials.framing)
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

    /// Closes every connection of the pair towards the destination of the link, in order and behind its bytes; what the
    /// destination then does about it is its own.
    pub fn close(&self, link: &Link) {
        self.0.table.close(link);
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
        self.probe_with(link, canary::NONCE_BYTES, wait).await
    }

    /// The same with so many bytes, rounded up to a multiple of eight; at a switch with few.
    ///
    /// # Errors
    /// When loopback cannot be used.
    pub async fn probe_with(
        &self,
        link: &Link,
        bytes: usize,
        wait: Duration,
    ) -> io::Result<Option<Duration>> {
        let wait = wait + self.rule(link).latest();
        if let Some(switch) = self.switch_of(link) {
            return switch.probe(link, wait).await;
        }
        let door = self.canary_door(&link.destination).await?;
        self.0.canaries.probe(link, bytes, door, &self.0.registry, wait).await
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

    /// The canary that is connected over a link at this moment; `None` when there is none.
    pub async fn canary(&self, link: &Link) -> Option<CanaryEnds> {
        self.0.canaries.connected(link).await
    }

    /// Closes the canary that is connected over a link. Returns how long the far end did not know of it; `None` when there
    /// was no canary, or longer than `wait`.
    pub async fn close_canary(&self, link: &Link, wait: Duration) -> Option<Duration> {
        self.0.canaries.close(link, wait).await
    }

    /// Sends so many messages over a link in a connection of their own, and says what became of them. `None` when the
    /// connection did not come to its end within `wait`, or messages cannot be told apart.
    ///
    /// # Errors
    /// When loopback cannot be used.
    pub async fn try_messages(
        &self,
        link: &Link,
        messages: u64,
        wait: Duration,
    ) -> io::Result<Option<Trial>> {
        let Some(trials) = self.0.trials.get() else { return Ok(None) };
        let framing = Some(trials.framing);
        let door = self.door_in(&self.0.trial_doors, &link.destination, trials.upstream, framing).await?;
        trials.send(link, messages, door, &self.0.registry, wait).await
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
        self.open_door(node.into(), upstream, how, self.framing()).await
    }

    async fn open_door(
        &self,
        destination: Endpoint,
        upstream: SocketAddr,
        attribution: Attribution,
        framing: Option<Framing>,
    ) -> io::Result<SocketAddr> {
        let (listener, address) = bind().await?;
        let door = Door {
            destination,
            upstream: self.upstream(upstream),
            attribution,
            framing,
            table: Arc::clone(&self.0.table),
            registry: self.0.registry.clone(),
            diag: Arc::clone(&self.0.diag),
        };
        self.0.tasks().spawn(door.serve(listener));
        Ok(address)
    }

    async fn canary_door(&self, destination: &Endpoint) -> io::Result<SocketAddr> {
        self.door_in(&self.0.canary_doors, destination, self.0.canary_upstream, None).await
    }

    /// A listener for connections of the harness, opened when it is asked for the first time.
    async fn door_in(
        &self,
        doors: &tokio::sync::Mutex<BTreeMap<Endpoint, SocketAddr>>,
        destination: &Endpoint,
        upstream: SocketAddr,
        framing: Option<Framing>,
    ) -> io::Result<SocketAddr> {
        let mut doors = doors.lock().await;
        if let Some(door) = doors.get(destination) {
            return Ok(*door);
        }
        let door = self.open_door(destination.clone(), upstream, Attribution::ByLoan, framing).await?;
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
