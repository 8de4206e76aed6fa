//! The cluster of a run: real processes, spawned by the guardian, behind links that the nemesis controls.
//!
//! What the target knows (arguments, who leads, how a write is made) and what the nemesis knows (processes, links) meet
//! here and nowhere else.

mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use history::{NodeId, RunEvent, RunPaths};
use nemesis::guardian::{Executable, NodeCommand};
use nemesis::links::{Framing, Stranger};
use nemesis::process::Image;
use nemesis::{Area, Cluster, Disk, EventSink, Links, NodeStatus, Operation, Processes, Upgrade};
use targets::{
    ClientOptions, Launch, Leadership, Membership, Operator, Peering, Replica, StatusProbe, Target,
};
use tokio::sync::watch;
use workloads::{Completion, Reads, Request};

use super::address::{AddressBlock, Listens};
use super::logs;
use crate::binary::Binaries;
use crate::plan::{Net, Plan};

/// How long a cluster may take to commit its first write.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two attempts to write.
const WRITE_PAUSE: Duration = Duration::from_millis(20);
/// How long replicas may take to apply the same part of the log once nobody writes any more.
const REPLICA_LIMIT: Duration = Duration::from_secs(5);
/// How long nodes may take to ask for the time once the cluster works.
const CLOCK_LIMIT: Duration = Duration::from_secs(10);
/// How long a node may take to say who leads.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// How often the nodes are asked who leads.
const LEADER_PERIOD: Duration = Duration::from_millis(50);
/// The variable by which everything that belongs to a run can be found.
const RUN_VARIABLE: &str = "SHAKEDOWN_RUN_DIR";
/// The key of the harness's own writes, which no workload uses.
const OWN_KEY: &str = "shakedown";

/// A running cluster.
pub(crate) struct RunCluster {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) links: Links,
    /// Where clients reach each node: through the links.
    pub(crate) endpoints: BTreeMap<NodeId, SocketAddr>,
    nodes: Vec<NodeId>,
    /// Where the harness itself reaches each node, past the links.
    direct: BTreeMap<NodeId, SocketAddr>,
    probe: Box<dyn StatusProbe>,
    /// Who led when the nodes were asked last.
    leader: watch::Sender<Option<NodeId>>,
    upgrade: Option<Upgrade>,
    operator: Option<Box<dyn Operator>>,
    membership: Option<Box<dyn Membership>>,
    /// With what each node was started at first.
    launches: BTreeMap<NodeId, Launch>,
    /// The name by which nodes know their program.
    program: String,
    /// What every node is told beside what the target tells it.
    more_args: Vec<String>,
    /// The clocks that the nemesis makes wrong.
    clocks: Vec<Area>,
    paths: RunPaths,
    _addresses: AddressBlock,
}

impl RunCluster {
    /// Starts the guardian, the links and every node. The nodes may not be ready yet.
    pub(crate) async fn start(
        plan: &Plan,
        binaries: &Binaries,
        paths: &RunPaths,
        sink: &EventSink,
    ) -> anyhow::Result<Arc<Self>> {
        let target: Arc<dyn Target> = Arc::from(plan.target());
        let addresses = AddressBlock::claim()?;
        let mut guardian = Command::new(std::env::current_exe().context("cannot find this executable")?);
        guardian.arg("guardian").env(RUN_VARIABLE, &paths.dir);
        let processes = Processes::start(guardian, sink.clone()).await?;
        let executable = open(&processes, &binaries.target).await?;
        let upgrade = upgrade(&processes, executable, binaries).await?;
        let nodes = plan.node_ids();
        let links = match plan.net {
            Net::Links => Links::new(processes.registry().clone()).await.context("cannot set up links")?,
            Net::Switch => Links::switched(&processes, &nodes, plan.seed)
                .await
                .context("cannot set up the switch (--net switch; see `shakedown doctor`)")?,
        };
        if plan.nemeses()?.iter().any(|nemesis| nemesis.kind().needs_framing())
            && let Some(targets::Framing { preamble_bytes, header_bytes }) = target.framing()
        {
            let framing = Framing { preamble_bytes, header_bytes };
            links.set_framing(framing).await.context("cannot set up links")?;
        }
        let address = |i, node| links.address(node).unwrap_or_else(|| addresses.node(i));
        let listens: BTreeMap<NodeId, Listens> =
            (0..).zip(&nodes).map(|(i, node)| (node.clone(), Listens::at(address(i, node)))).collect();
        let (mut endpoints, mut direct) = (BTreeMap::new(), BTreeMap::new());
        for (node, listens) in &listens {
            endpoints.insert(node.clone(), links.listen_clients(node, listens.clients).await?);
            let past = match plan.net {
                Net::Links => listens.clients,
                Net::Switch => links.listen_past(listens.clients).await?,
            };
            direct.insert(node.clone(), past);
        }
        let probe = target.status_probe().context("cannot set up the status probe")?;
        let operator = target.operator().transpose().context("cannot set up operations")?;
        let membership = target.membership().transpose().context("cannot set up changes of members")?;
        let launches = launches(plan, &*target, &links, &listens, paths).await?;
        let program = binaries.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let cluster = Self {
            target,
            processes,
            links,
            endpoints,
            nodes,
            direct,
            probe,
            leader: watch::Sender::new(None),
            upgrade,
            operator,
            membership,
            launches,
            program,
            more_args: plan.node_args.clone(),
            clocks: plan.nemeses()?.iter().filter_map(|nemesis| nemesis.kind().clock()).collect(),
            paths: paths.clone(),
            _addresses: addresses,
        };
        cluster.launch_all(plan, executable).await?;
        Ok(Arc::new(cluster))
    }

    async fn launch_all(&self, plan: &Plan, executable: Executable) -> anyhow::Result<()> {
        let disks = plan.nemeses()?.iter().any(|nemesis| nemesis.kind().needs_disks());
        for (node, launch) in &self.launches {
            let directory = self.paths.node(node);
            let command = self.target.command(launch);
            let command = NodeCommand {
                executable,
                arguments: self.arguments(command.args),
                environment: self.environment(command.env),
                stdout: directory.join("stdout.log"),
                stderr: directory.join("stderr.log"),
                directory,
                account: None,
                clock: None,
            };
            let clock = command.directory.join("clock");
            self.processes.add(node.clone(), command);
            if disks {
                let backing = self.paths.node(node).join("disk");
                std::fs::create_dir(&backing)
                    .with_context(|| format!("cannot make {}", backing.display()))?;
                self.processes.set_disk(node, Disk::new(launch.data.clone(), backing, plan.disk()?));
            }
            if !self.clocks.is_empty() {
                let given =
                    std::path::absolute(&clock).and_then(|path| self.processes.give_clock(node, &path));
                given.with_context(|| format!("cannot write {}", clock.display()))?;
            }
        }
        for node in &self.nodes {
            self.processes.launch(node).await.with_context(|| format!("cannot start node {node}"))?;
        }
        Ok(())
    }

    /// All arguments of a node, the name of the program first.
    fn arguments(&self, arguments: Vec<String>) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(arguments).chain(self.more_args.clone()).collect()
    }

    /// What a node finds in its environment: little, and the same everywhere.
    fn environment(&self, more: BTreeMap<String, String>) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
        let fixed = [
            ("PATH", path),
            ("HOME", self.paths.dir.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            (RUN_VARIABLE, self.paths.dir.display().to_string()),
        ];
        fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(more).collect()
    }

    /// Waits until a write was committed; before that nothing means anything.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        for attempt in 0.. {
            let node = &self.nodes[attempt % self.nodes.len()];
            if self.write_through(node).await {
                return Ok(());
            }
            self.all_alive()?;
            if Instant::now() > deadline {
                return Err(anyhow!(
                    "no write was committed within {} s of the start; see nodes/*/stderr.log; that of {node} ends with: {}",
                    READY_LIMIT.as_secs(),
                    self.last_words(node)
                ));
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        unreachable!("invariant: the loop ends at its deadline")
    }

    /// Makes sure that every node asks for the time where the nemesis can change the answer.
    pub(crate) async fn clocks_can_be_changed(&self) -> anyhow::Result<()> {
        let told: Vec<_> = self
            .clocks
            .iter()
            .flat_map(|area| self.nodes.iter().map(move |node| (*area, node)))
            .filter_map(|(area, node)| Some((area, node, self.processes.clock(node)?)))
            .collect();
        // They are right already; but who sees that they were made right once more has asked again.
        told.iter().for_each(|(area, _, clock)| _ = clock.make_right(*area));
        let deadline = Instant::now() + CLOCK_LIMIT;
        for (area, node, clock) in &told {
            while !clock.is_seen(*area) {
                if Instant::now() > deadline {
                    return Err(anyhow!(
                        "the nemesis cannot change the {area} of {node}, which has not asked for the time within {} s: its \
                         program asks the kernel itself, or never, or is started by one that is no launch script; \
                         nodes/{node}/stderr.log ends with: {}",
                        CLOCK_LIMIT.as_secs(),
                        self.last_words(node)
                    ));
                }
                // A node that has nothing to do may have no reason to ask.
                self.leadership().await;
                tokio::time::sleep(WRITE_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Writes a value of the harness's own through one node; whether it was acknowledged.
    async fn write_through(&self, node: &NodeId) -> bool {
        let options = ClientOptions {
            home: node.clone(),
            endpoints: self.endpoints.clone(),
            reads: Reads::Linearizable,
            follow_hints: true,
        };
        let Ok(mut client) = self.target.client(&options) else { return false };
        let request = Request::Write { key: OWN_KEY.into(), value: 1 };
        matches!(client.invoke(&request).await, Completion::Ok(_))
    }

    /// How long it takes until a write is acknowledged again; `None` when that is longer than the limit.
    pub(crate) async fn recovery(&self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        for attempt in 0.. {
            if self.write_through(&self.nodes[attempt % self.nodes.len()]).await {
                return Some(start.elapsed());
            }
            if start.elapsed() > limit {
                return None;
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        None
    }

    /// An error with the last words of the first node that has ended.
    fn all_alive(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            if self.processes.identity(node).is_some() {
                continue;
            }
            let status =
                self.processes.last_end(node).map_or("no status".into(), |(_, status)| status.to_string());
            return Err(anyhow!(
                "node {node} ended with {status} before any write was acknowledged; nodes/{node}/stderr.log ends with: {}",
                self.last_words(node)
            ));
        }
        Ok(())
    }

    fn last_words(&self, node: &NodeId) -> String {
        let dir = self.paths.node(node);
        let tail = logs::tail(&dir.join("stderr.log"));
        if tail == "(empty)" { logs::tail(&dir.join("stdout.log")) } else { tail }
    }

    /// Asks every node at the same time who leads; the claim with the highest term counts.
    pub(crate) async fn leadership(&self) -> Option<(NodeId, Leadership)> {
        let asked: Vec<_> = self
            .direct
            .iter()
            .filter(|(node, _)| self.processes.is_active(node))
            .map(|(node, address)| (node.clone(), tokio::spawn(self.probe.leadership(*address))))
            .collect();
        let mut leader: Option<(NodeId, Leadership)> = None;
        for (node, answer) in asked {
            let Ok(Ok(Some(answer))) = tokio::time::timeout(PROBE_LIMIT, answer).await else { continue };
            if answer.leads && leader.as_ref().is_none_or(|(_, best)| answer.term > best.term) {
                leader = Some((node, answer));
            }
        }
        leader
    }

    /// What every replica holds, once all have applied the same part of the log; what is known when they do not come
    /// to that in time.
    pub(crate) async fn replicas(&self) -> Vec<(NodeId, Replica)> {
        let deadline = Instant::now() + REPLICA_LIMIT;
        loop {
            let mut replicas = Vec::new();
            for (node, address) in &self.direct {
                replicas.extend(self.probe.replica(*address).await.map(|replica| (node.clone(), replica)));
            }
            let level = replicas.windows(2).all(|pair| pair[0].1.applied == pair[1].1.applied);
            if (level && replicas.len() == self.nodes.len()) || Instant::now() > deadline {
                return replicas;
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }

    /// Records every change of leadership, and keeps the present leader for the nemesis, until it is aborted.
    pub(crate) async fn watch_leader(self: Arc<Self>, sink: EventSink) {
        let mut last = None;
        loop {
            let leader = self.leadership().await.map(|(node, answer)| (node, answer.term));
            if leader != last {
                let (node, term) = leader.clone().map_or((None, 0), |(node, term)| (Some(node), term));
                self.leader.send_replace(node.clone());
                sink.record(RunEvent::Leader { time: sink.now(), node, term }).await;
                last = leader;
            }
            tokio::time::sleep(LEADER_PERIOD).await;
        }
    }
}

/// With what each node is started.
async fn launches(
    plan: &Plan,
    target: &dyn Target,
    links: &Links,
    listens: &BTreeMap<NodeId, Listens>,
    paths: &RunPaths,
) -> anyhow::Result<BTreeMap<NodeId, Launch>> {
    let mut listeners = peer_listeners(target.peering(), links, listens).await?;
    let launch = |(node, listens): (&NodeId, &Listens)| {
        let launch = Launch {
            node: node.clone(),
            data: paths.node(node).join("data"),
            trace: paths.trace_plain(node),
            client_listen: listens.clients,
            peer_listen: listens.peers,
            peers: listeners.remove(node).unwrap_or_default(),
            mutant: plan.mutant.clone(),
            joins: None,
        };
        (node.clone(), launch)
    };
    Ok(listens.iter().map(launch).collect())
}

/// By which address each node reaches each other: a listener of the links, or the real one at a switch. Its own entry is
/// where it listens.
async fn peer_listeners(
    peering: Peering,
    links: &Links,
    listens: &BTreeMap<NodeId, Listens>,
) -> anyhow::Result<BTreeMap<NodeId, BTreeMap<NodeId, SocketAddr>>> {
    let mut shared = BTreeMap::new();
    if links.are_switched() {
        shared.extend(listens.iter().map(|(node, listens)| (node.clone(), listens.peers)));
        return Ok(listens.keys().map(|node| (node.clone(), shared.clone())).collect());
    }
    if peering == Peering::Advertised {
        for (node, listens) in listens {
            let address = links.listen_attributed(node, listens.peers, Stranger::IsRefused).await?;
            shared.insert(node.clone(), address);
        }
        return Ok(listens.keys().map(|node| (node.clone(), shared.clone())).collect());
    }
    let mut listeners = BTreeMap::new();
    for source in listens.keys() {
        let mut peers = BTreeMap::new();
        for (node, listens) in listens {
            let upstream = listens.peers;
            let address =
                if node == source { upstream } else { links.listen_pair(source, node, upstream).await? };
            peers.insert(node.clone(), address);
        }
        listeners.insert(source.clone(), peers);
    }
    Ok(listeners)
}

async fn open(processes: &Processes, path: &Path) -> anyhow::Result<Executable> {
    processes.open(path).await.with_context(|| format!("cannot open {}", path.display()))
}

/// What nodes are upgraded to, if the plan says so.
async fn upgrade(
    processes: &Processes,
    from: Executable,
    binaries: &Binaries,
) -> anyhow::Result<Option<Upgrade>> {
    let Some(path) = binaries.upgrade.clone() else { return Ok(None) };
    let to = open(processes, &path).await?;
    let image = Image::of_file(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(Some(Upgrade { from, to, image, path }))
}

impl Cluster for RunCluster {
    fn processes(&self) -> &Processes {
        &self.processes
    }

    fn links(&self) -> &Links {
        &self.links
    }

    fn directory(&self) -> &Path {
        &self.paths.dir
    }

    fn address(&self, node: &NodeId) -> Option<SocketAddr> {
        self.direct.get(node).copied()
    }

    fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade.clone()
    }

    async fn operate(&self, operation: &Operation, node: &NodeId) -> Result<String, String> {
        let operator = self.operator.as_ref().ok_or("this target offers no operations")?;
        let address = |node: &NodeId| {
            self.direct.get(node).copied().ok_or_else(|| format!("{node} is not a node of this cluster"))
        };
        match operation {
            Operation::Transfer { to } => operator.transfer(address(node)?, &self.peer(to)?).await,
            Operation::Add { node: member } => self.add_member(member, node).await,
            Operation::Remove { node: member } => self.remove_member(member, node).await,
            Operation::Promote { node: member } => self.promote_member(member, node).await,
            Operation::Named(name) => operator.operate(name, address(node)?).await,
        }
    }

    fn offers_membership(&self) -> bool {
        self.membership.is_some()
    }

    async fn members(&self, told_by: &NodeId) -> Result<BTreeSet<NodeId>, String> {
        self.list_members(told_by).await
    }

    fn arguments_to_join(&self, node: &NodeId, members: &BTreeSet<NodeId>) -> Vec<String> {
        self.joiner_arguments(node, members)
    }

    fn data(&self, node: &NodeId) -> PathBuf {
        self.launches[node].data.clone()
    }

    async fn settle(&self, nodes: &[NodeId], limit: Duration) -> Result<(), String> {
        self.apply_everything(nodes, limit).await
    }

    fn unit(&self) -> Duration {
        self.target.election_timeout()
    }

    async fn leader(&self) -> Option<NodeId> {
        self.leader.borrow().clone()
    }

    async fn status(&self, node: &NodeId) -> Option<NodeStatus> {
        let address = *self.direct.get(node)?;
        let leads = self.probe.leadership(address).await?.leads;
        Some(NodeStatus { leads, uncommitted: self.probe.uncommitted(address).await })
    }

    async fn wait_ready(&self, node: &NodeId, limit: Duration) -> Result<(), String> {
        let address =
            *self.direct.get(node).ok_or_else(|| format!("{node} is not a node of this cluster"))?;
        let deadline = Instant::now() + limit;
        loop {
            if self.probe.leadership(address).await.is_some() {
                return Ok(());
            }
            if self.processes.identity(node).is_none() {
                return Err(format!("it ended; its log ends with: {}", self.last_words(node)));
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "it gives no status at {address}; its log ends with: {}",
                    self.last_words(node)
                ));
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }
}
