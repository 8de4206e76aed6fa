//! Cuts links between nodes, or between clients and a node, by holding their bytes.
//!
//! Guarantees: after `heal` every link that no other fault holds passes bytes again, and no byte was dropped from a stream
//! that was not reset. One partition in two resets the connections of the pairs of nodes that it cuts, and
//! a stranded leader always loses them. A *black hole* is a cut whose bytes never arrive: the connections seem alive while it
//! stands, and when it is healed they are reset with everything that waited in them. Nodes that are
//! cut off from each other stay reachable for clients, unless clients are what is cut. It does not reorder packets.
//!
//! Where a switch joins the nodes it is their packets that do not arrive; whoever sent them sends them again, so a black hole
//! is a cut like any other, except for clients.
//!
//! Evidence: canaries sent in the name of the source, which passed before, do not arrive. Healed: they do.

use std::collections::BTreeMap;

use history::NodeId;

use crate::canaries::{self, CANARY_WAIT};
use crate::dice::Dice;
use crate::fault::{Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, Request, Scope, Skip, list};
use crate::grudges::{self, Grudges};
use crate::links::{FaultId, LinkStats, Rule};
use crate::{Cluster, Kind, Link, Links, quorum};

/// One partition in so many resets connections.
const RESETS_ONE_IN: usize = 2;

/// A partition of some shape.
#[derive(Debug)]
pub(crate) struct Partition {
    id: FaultId,
    scope: Scope,
    cut: Vec<Link>,
    manner: Manner,
    /// How many canaries passed before the cut.
    passed_before: usize,
    stats_before: BTreeMap<Link, LinkStats>,
}

/// What becomes of the connections of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Their bytes wait, and arrive when the cut heals.
    Holds,
    /// They are reset when the cut begins.
    Resets,
    /// Their packets are lost, on a switch.
    Drops,
    /// Their bytes are lost, and they are reset when the cut heals.
    Loses,
}

impl Manner {
    fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds bytes",
            Self::Resets => "resets connections",
            Self::Drops => "drops packets",
            Self::Loses => "loses bytes",
        }
    }

    fn draw(request: &Request<'_>, links: &Links) -> Self {
        let resets = || request.selector == "strand-leader" || Dice::new(!request.seed).one_in(RESETS_ONE_IN);
        match request.kind {
            Kind::BlackHole => Self::Loses,
            _ if links.are_switched() => Self::Drops,
            _ if resets() => Self::Resets,
            _ => Self::Holds,
        }
    }
}

impl Fault for Partition {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let nodes = cluster.processes().nodes();
        let grudges = shape(request, cluster, &nodes).await?;
        if grudges.is_empty() {
            return Err(Skip(format!("{} nodes cannot be parted like that", nodes.len())));
        }
        let manner = Manner::draw(request, cluster.links());
        let cut: Vec<Link> = grudges.into_iter().collect();
        let leaves_quorum = quorum::is_left_after(cluster, &[], &cut);
        let chosen = Scope::describe(request.selector, LINKS_PREFIX, &cut);
        let detail = format!("{chosen}; {}", manner.words());
        let scope = Scope { nodes: nodes_of(&cut), detail, leaves_quorum };
        Ok(Self { id: request.id, scope, cut, manner, passed_before: 0, stats_before: BTreeMap::new() })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        let links = cluster.links();
        self.passed_before = canaries::all_pass(links, &self.cut, HEAL_LIMIT).await?;
        self.stats_before = links.stats();
        for link in &self.cut {
            links.impose(self.id, link, Rule::HOLD);
        }
        if self.manner == Manner::Resets {
            let between_nodes =
                |link: &&Link| link.source.node().is_some() && link.destination.node().is_some();
            self.cut.iter().filter(between_nodes).for_each(|link| links.reset(link));
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let results = canaries::send(cluster.links(), &self.cut, CANARY_WAIT).await?;
        let leaky = list(results.iter().filter(|(_, took)| took.is_some()).map(|(link, _)| link));
        if !leaky.is_empty() {
            return Err(FaultError::NotProven(format!("a canary passed {leaky}, which should be cut")));
        }
        Ok(format!("{} canaries were stopped; {} had passed before", results.len(), self.passed_before))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let after = cluster.links().stats();
        let grown = |read: fn(&LinkStats) -> u64| -> u64 {
            let of = |stats: &BTreeMap<Link, LinkStats>, link: &Link| stats.get(link).map_or(0, read);
            self.cut.iter().map(|link| of(&after, link) - of(&self.stats_before, link)).sum()
        };
        let (bytes, waited) = (grown(|stats| stats.bytes_held), grown(|stats| stats.waited));
        let resets = grown(|stats| stats.resets);
        (bytes + waited + resets > 0).then(|| {
            let fate = if cluster.links().are_switched() { "held or dropped" } else { "held" };
            format!("{bytes} bytes were {fate}, {waited} new connections had to wait, {resets} connections were reset")
        })
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        if self.manner == Manner::Loses {
            // A connection looks for resets before it looks at its rule, so nothing that waited gets out.
            self.cut.iter().for_each(|link| cluster.links().reset(link));
        }
        reopen(cluster.links(), self.id, &self.cut).await
    }
}

/// Takes back what a fault wanted of links, and sees to it that bytes pass.
pub(crate) async fn reopen(links: &Links, fault: FaultId, cut: &[Link]) -> Result<String, FaultError> {
    links.lift(fault);
    let passed = canaries::all_pass(links, cut, HEAL_LIMIT).await?;
    let held = cut.len() - passed.min(cut.len());
    let others =
        if held > 0 { format!("; {held} links are still held by other faults") } else { String::new() };
    Ok(format!("{passed} canaries passed{others}"))
}

async fn shape<C: Cluster>(request: &Request<'_>, cluster: &C, nodes: &[NodeId]) -> Result<Grudges, Skip> {
    let order = grudges::shuffled(nodes, request.seed);
    let one = order.first().ok_or_else(|| Skip("there are no nodes".into()))?;
    let wants_leader = request.selector.contains("leader") || request.selector == "follower-minority";
    let leader = if wants_leader { cluster.leader().await } else { None };
    let leader = || leader.clone().ok_or_else(|| Skip("no leader is known".into()));
    Ok(match request.selector {
        "halves" => grudges::halves(nodes),
        "random-halves" => grudges::halves(&order),
        "isolate-one" => grudges::isolate(one, nodes),
        "isolate-leader" => grudges::isolate(&leader()?, nodes),
        "strand-leader" => grudges::strand(&leader()?, nodes),
        "follower-minority" => grudges::minority_without(&leader()?, &order),
        "leader-minority" => grudges::minority_of(&leader()?, &order),
        "majorities-ring" => grudges::majorities_ring(&order),
        "bridge" => grudges::bridge(&order),
        "deaf-one" => grudges::deaf(one, nodes),
        "deaf-leader" => grudges::deaf(&leader()?, nodes),
        "mute-one" => grudges::mute(one, nodes),
        "mute-leader" => grudges::mute(&leader()?, nodes),
        "clients-one" => grudges::cut_clients(one),
        "clients-leader" => grudges::cut_clients(&leader()?),
        named => links_by_name(named, nodes).ok_or_else(|| request.unknown_selector())?.into_iter().collect(),
    })
}

/// The links that a selector names, if it does.
pub(crate) fn links_by_name(selector: &str, nodes: &[NodeId]) -> Option<Vec<Link>> {
    let names = selector.strip_prefix(LINKS_PREFIX)?.split(' ');
    let links: Vec<Link> = names.map(|name| name.parse().ok()).collect::<Option<_>>()?;
    nodes_of(&links).iter().all(|node| nodes.contains(node)).then_some(links)
}

/// The nodes at both ends of some links.
pub(crate) fn nodes_of(links: &[Link]) -> Vec<NodeId> {
    let ends = links.iter().flat_map(|link| [link.source.node(), link.destination.node()]);
    let mut nodes: Vec<NodeId> = ends.flatten().cloned().collect();
    nodes.sort();
    nodes.dedup();
    nodes
}
