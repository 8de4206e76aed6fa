//! Takes one end from connections: the destination is told by a reset that they are gone, the source is not told anything.
//!
//! That is what is left after a machine restarted, or a firewall forgot, behind the back of a peer: the source believes that the
//! connection stands and what it sends goes nowhere, until its connections are reset when the fault heals. New connections
//! work meanwhile, so who notices by itself can help itself. Nothing is dropped from a connection that goes on.
//!
//! Evidence: canaries that were connected at both ends are connected at the source only. Effect: connections of nodes lost an
//! end. Healed: new canaries pass, and no old one is left.

use std::collections::BTreeMap;

use history::NodeId;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, LOOK_INTERVAL, Request, Scope, Skip,
};
use crate::latency::all_links;
use crate::links::{FaultId, LinkStats, Rule};
use crate::partition::{links_by_name, nodes_of, reopen};
use crate::{Cluster, Endpoint, Link, canaries, quorum};

/// Connections with one end.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    /// The canaries that were connected before.
    canaries: BTreeMap<Link, u32>,
    before: (u64, u64),
}

impl Fault for HalfOpen {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let links = choose(request, cluster).await?;
        let is_new = |link: &Link| !cluster.links().rule(link).half_open;
        let links: Vec<Link> =
            canaries::open_ones(cluster.links(), &links).into_iter().filter(is_new).collect();
        if links.is_empty() {
            return Err(Skip(
                "all links that would be half-open are so already, or cut by other faults".into(),
            ));
        }
        // What is sent into the connections that stand is lost, and nobody has to notice.
        let leaves_quorum = quorum::is_left_after(cluster, &[], &links);
        let detail = Scope::describe(request.selector, LINKS_PREFIX, &links);
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let before = halved(cluster, &links);
        Ok(Self { id: request.id, scope, links, canaries: BTreeMap::new(), before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        self.halve(cluster).await
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        loop {
            let proven = self.proven(cluster, deadline).await?;
            if proven > 0 {
                return Ok(format!("{proven} canaries are connected at their sources only"));
            }
            if Instant::now() > deadline {
                return Err(FaultError::NotProven("no canary was connected at its source only".into()));
            }
            // Another fault reset the canaries at this very moment, and the connections with them.
            cluster.links().lift(self.id);
            self.halve(cluster).await?;
        }
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let (halved, lost) = halved(cluster, &self.links);
        let (halved, lost) = (halved - self.before.0, lost - self.before.1);
        (halved > 0).then(|| format!("{halved} connections lost an end, and {lost} bytes with them"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let passed = reopen(cluster.links(), self.id, &self.links).await?;
        for (link, number) in &self.canaries {
            let left = cluster.links().canary(link).await.filter(|canary| canary.number == *number);
            if left.is_some_and(|canary| !canary.received) {
                return Err(FaultError::NotProven(format!("a canary over {link} still has one end")));
            }
        }
        Ok(passed)
    }
}

impl HalfOpen {
    async fn halve(&mut self, cluster: &impl Cluster) -> Result<(), FaultError> {
        let links = cluster.links();
        canaries::all_pass(links, &self.links, HEAL_LIMIT).await?;
        for link in &self.links {
            if let Some(canary) = links.canary(link).await.filter(|canary| canary.received) {
                self.canaries.insert(link.clone(), canary.number);
            }
        }
        self.links.iter().for_each(|link| links.impose(self.id, link, Rule::HALF_OPEN));
        Ok(())
    }

    /// How many of the canaries that were connected are so at their sources only; the others were reset at both ends.
    async fn proven(&self, cluster: &impl Cluster, deadline: Instant) -> Result<usize, FaultError> {
        let mut proven = 0;
        for (link, number) in &self.canaries {
            let same = async || cluster.links().canary(link).await.filter(|canary| canary.number == *number);
            while let Some(canary) = same().await {
                if !canary.received {
                    proven += 1;
                    break;
                }
                if Instant::now() > deadline {
                    return Err(FaultError::NotProven(format!("a canary over {link} kept both ends")));
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(proven)
    }
}

/// One direction of some pairs: `from-leader` (the leader believes that connections stand), `to-leader`, `some`, or named
/// links.
async fn choose<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Vec<Link>, Skip> {
    let nodes = cluster.processes().nodes();
    let leader = async || cluster.leader().await.ok_or_else(|| Skip("no leader is known".into()));
    let all = || all_links(&nodes).into_iter();
    match request.selector {
        "from-leader" => {
            let leader: Endpoint = leader().await?.into();
            Ok(all().filter(|link| link.source == leader).collect())
        }
        "to-leader" => {
            let leader: Endpoint = leader().await?.into();
            Ok(all().filter(|link| link.destination == leader).collect())
        }
        "some" => Ok(some(&nodes, &mut Dice::new(request.seed))),
        named => links_by_name(named, &nodes).ok_or_else(|| request.unknown_selector()),
    }
}

/// One direction of half of the pairs.
fn some(nodes: &[NodeId], dice: &mut Dice) -> Vec<Link> {
    let pairs: Vec<Link> =
        all_links(nodes).into_iter().filter(|link| link.source < link.destination).collect();
    let mut chosen = dice.shuffled(&pairs);
    chosen.truncate(pairs.len().div_ceil(2));
    chosen.iter().map(|link| if dice.one_in(2) { link.reversed() } else { link.clone() }).collect()
}

/// Connections that lost an end, and bytes that were lost with them.
fn halved(cluster: &impl Cluster, links: &[Link]) -> (u64, u64) {
    let stats = cluster.links().stats();
    let sum = |read: fn(&LinkStats) -> u64| links.iter().filter_map(|link| stats.get(link)).map(read).sum();
    (sum(|stats| stats.halved), sum(|stats| stats.bytes_lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_pairs_lose_one_end_each() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId::numbered).collect();
        for seed in 0..50 {
            let links = some(&nodes, &mut Dice::new(seed));
            assert_eq!(links.len(), 5);
            assert!(links.iter().all(|link| !links.contains(&link.reversed())));
        }
    }
}
