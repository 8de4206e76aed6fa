//! Lets the ends of connections between nodes arrive late, while their bytes pass.
//!
//! Who closes a connection and dials anew has both for a while: the peer reads what is left in the old one beside what comes by
//! the new one, and learns late that a process is gone. Servers close few connections by themselves, so the fault closes some,
//! again and again: the source of a link is told at once, and what it does about it reaches the destination late.
//!
//! Evidence: other canaries are closed, and their receivers do not know for at least that long. Effect: ends of connections of nodes
//! were late. Healed: canaries pass.

use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, Request, Scope, Skip, Standing, list,
};
use crate::latency::choose;
use crate::links::{FaultId, Rule};
use crate::partition::{nodes_of, reopen};
use crate::{Cluster, Link, canaries, quorum};

/// How late ends are, in parts of the cluster's unit.
const LATE_UNITS: (f64, f64) = (0.3, 3.0);
/// The time between two closes, in parts of the cluster's unit.
const PAUSE_UNITS: (f64, f64) = (0.3, 2.0);

/// Late ends.
#[derive(Debug)]
pub(crate) struct SlowClose {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    late: Duration,
    dice: Dice,
    late_ends_before: u64,
}

impl Fault for SlowClose {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let links = choose(request, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip(
                "all links whose ends would be late are cut by other faults, or there are none".into(),
            ));
        }
        let mut dice = Dice::new(!request.seed);
        let late = cluster.unit().mul_f64(dice.log_even(LATE_UNITS.0, LATE_UNITS.1));
        let late = Duration::from_millis(u64::try_from(late.as_millis()).unwrap_or(u64::MAX));
        let chosen = Scope::describe(request.selector, LINKS_PREFIX, &links);
        let detail = format!("{chosen}; {}", Rule::late_ends(late));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let late_ends_before = late_ends(cluster, &links);
        Ok(Self { id: request.id, scope, links, late, dice, late_ends_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        canaries::all_pass(cluster.links(), &self.links, HEAL_LIMIT).await?;
        for link in &self.links {
            cluster.links().impose(self.id, link, Rule::late_ends(self.late));
            cluster.links().close(&link.reversed());
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        loop {
            let open = canaries::open_ones(cluster.links(), &self.links);
            let times = canaries::close(cluster.links(), &open, EVIDENCE_LIMIT).await?;
            let times: Vec<Duration> = times.into_values().flatten().collect();
            match (times.iter().min(), times.iter().max()) {
                (Some(first), Some(last)) if *first >= self.late => {
                    return Ok(format!(
                        "the ends of {} canaries took {first:.0?} to {last:.0?}",
                        times.len()
                    ));
                }
                (Some(first), _) => {
                    let (first, late) = (format!("{first:.0?}"), self.late);
                    let what = format!("the end of a canary took {first} and should be late by {late:?}");
                    return Err(FaultError::NotProven(what));
                }
                (None, _) if Instant::now() > deadline => {
                    let what = format!("no canary could be closed on {}", list(&self.links));
                    return Err(FaultError::NotProven(what));
                }
                // Another fault may reset them again and again.
                (None, _) => _ = canaries::all_pass(cluster.links(), &self.links, HEAL_LIMIT).await?,
            }
        }
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        let unit = cluster.unit();
        while standing.lasts(unit.mul_f64(self.dice.log_even(PAUSE_UNITS.0, PAUSE_UNITS.1))).await {
            if let Some(link) = self.dice.pick(&self.links) {
                cluster.links().close(&link.reversed());
            }
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let ends = late_ends(cluster, &self.links) - self.late_ends_before;
        (ends > 0).then(|| format!("{ends} ends of connections were late"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        reopen(cluster.links(), self.id, &self.links).await
    }
}

fn late_ends(cluster: &impl Cluster, links: &[Link]) -> u64 {
    let stats = cluster.links().stats();
    links.iter().filter_map(|link| stats.get(link)).map(|stats| stats.late_ends).sum()
}
