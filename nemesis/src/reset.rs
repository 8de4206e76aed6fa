//! Resets the connections between nodes, again and again while the fault stands.
//!
//! Both ends of a connection see `ECONNRESET`; bytes under way are lost with it. New connections are established at once.
//! Evidence: canaries that were connected are reset. Effect: connections of nodes were reset. Healed: canaries pass.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep};

use crate::canaries;
use crate::dice::Dice;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, LOOK_INTERVAL, Request, Scope, Skip,
    Standing,
};
use crate::latency::choose;
use crate::partition::nodes_of;
use crate::{Cluster, Link, Links, quorum};

/// The time between two resets, in parts of the cluster's unit.
const PAUSE_UNITS: (f64, f64) = (0.1, 1.5);

/// Resets of some pairs.
#[derive(Debug)]
pub(crate) struct Reset {
    scope: Scope,
    links: Vec<Link>,
    seed: u64,
    /// The canaries that were connected before.
    canaries: BTreeMap<Link, u32>,
    resets_before: u64,
}

impl Fault for Reset {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let links = choose(request, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip("all links that would be reset are cut by other faults".into()));
        }
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let detail = Scope::describe(request.selector, LINKS_PREFIX, &links);
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let resets_before = resets(cluster.links(), &links);
        Ok(Self { scope, links, seed: request.seed, canaries: BTreeMap::new(), resets_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        let links = cluster.links();
        canaries::all_pass(links, &self.links, HEAL_LIMIT).await?;
        for link in &self.links {
            if let Some(canary) = links.canary(link).await {
                self.canaries.insert(link.clone(), canary.number);
            }
        }
        self.links.iter().for_each(|link| links.reset(link));
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        if self.canaries.is_empty() {
            return Err(FaultError::NotProven("no canary was connected before the reset".into()));
        }
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        for (link, canary) in &self.canaries {
            // Another fault that is being healed may connect another canary meanwhile.
            while cluster.links().canary(link).await.is_some_and(|open| open.number == *canary) {
                if Instant::now() > deadline {
                    return Err(FaultError::NotProven(format!("a canary survived the reset of {link}")));
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(format!("{} canaries were reset", self.canaries.len()))
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        let mut dice = Dice::new(!self.seed);
        let mut pause = || cluster.unit().mul_f64(dice.log_even(PAUSE_UNITS.0, PAUSE_UNITS.1));
        while standing.lasts(pause()).await {
            self.links.iter().for_each(|link| cluster.links().reset(link));
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let reset = resets(cluster.links(), &self.links) - self.resets_before;
        (reset > 0).then(|| format!("{reset} connections were reset"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let passed = canaries::all_pass(cluster.links(), &self.links, HEAL_LIMIT).await?;
        Ok(format!("{passed} canaries passed"))
    }
}

fn resets(links: &Links, of: &[Link]) -> u64 {
    let stats = links.stats();
    of.iter().filter_map(|link| stats.get(link)).map(|stats| stats.resets).sum()
}
