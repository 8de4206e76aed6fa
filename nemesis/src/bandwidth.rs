//! Makes links between nodes narrow: at most so many bytes pass in a second, all connections of a link together.
//!
//! Rates are drawn such that signs of life get through while entries, snapshots and what else is large crawls, and what is
//! small waits behind what is large. Nothing is lost: who sends more feels backpressure. Evidence: canaries of some size take at
//! least their size divided by the rate. Effect: bytes of nodes had to wait. Healed: canaries pass.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, Request, Scope, Skip, list};
use crate::latency::choose;
use crate::links::{FaultId, Rule};
use crate::partition::{nodes_of, reopen};
use crate::{Cluster, Link, canaries, quorum};

/// The range of rates, in bytes per second.
const RATES: (f64, f64) = (2_048.0, 65_536.0);
/// How long a canary keeps a link busy.
const CANARY_TIME: Duration = Duration::from_millis(100);

/// Narrow links.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    rate: NonZeroU32,
    slowed_before: u64,
}

impl Fault for Bandwidth {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let links = choose(request, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip(
                "all links that would be narrow are cut by other faults, or there are none".into(),
            ));
        }
        let rate = draw_rate(&mut Dice::new(!request.seed));
        let rule = Rule::narrow(rate);
        let detail = format!("{}; {rule}", Scope::describe(request.selector, LINKS_PREFIX, &links));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let slowed_before = slowed(cluster, &links);
        Ok(Self { id: request.id, scope, links, rate, slowed_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        canaries::all_pass(cluster.links(), &self.links, HEAL_LIMIT).await?;
        self.links.iter().for_each(|link| cluster.links().impose(self.id, link, Rule::narrow(self.rate)));
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let bytes = (f64::from(self.rate.get()) * CANARY_TIME.as_secs_f64()) as usize;
        let least = Duration::from_secs_f64(bytes as f64 / f64::from(self.rate.get()));
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        loop {
            let open = canaries::open_ones(cluster.links(), &self.links);
            let times = canaries::send_bytes(cluster.links(), &open, bytes, EVIDENCE_LIMIT).await?;
            let is_quick = |took: &Option<Duration>| took.is_some_and(|took| took < least);
            let quick = list(times.iter().filter(|(_, took)| is_quick(took)).map(|(link, _)| link));
            if !quick.is_empty() {
                return Err(FaultError::NotProven(format!(
                    "{bytes} bytes passed {quick} in less than {least:.0?}"
                )));
            }
            if let Some(slowest) = times.values().flatten().max() {
                return Ok(format!("canaries of {bytes} bytes took {least:.0?} to {slowest:.0?}"));
            }
            // Another fault may reset them again and again.
            if Instant::now() > deadline {
                return Err(FaultError::NotProven(format!("no canary passed {}", list(open))));
            }
        }
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let bytes = slowed(cluster, &self.links) - self.slowed_before;
        (bytes > 0).then(|| format!("{bytes} bytes had to wait for others"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        reopen(cluster.links(), self.id, &self.links).await
    }
}

fn draw_rate(dice: &mut Dice) -> NonZeroU32 {
    NonZeroU32::new(dice.log_even(RATES.0, RATES.1) as u32).expect("invariant: rates are positive")
}

fn slowed(cluster: &impl Cluster, links: &[Link]) -> u64 {
    let stats = cluster.links().stats();
    links.iter().filter_map(|link| stats.get(link)).map(|stats| stats.bytes_slowed).sum()
}
