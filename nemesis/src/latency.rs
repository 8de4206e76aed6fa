//! Makes links between nodes slow: every byte arrives later by a delay and a random jitter, in order.
//!
//! Delays are a part of the time in which the system notices a failure, so that they disturb without always
//! looking like a partition. Evidence: canaries take at least the delay. Healed: canaries pass again.

use std::collections::BTreeMap;
use std::time::Duration;

use history::NodeId;

use crate::canaries;
use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, LINKS_PREFIX, Request, Scope, Skip, list};
use crate::links::{FaultId, LinkStats, Rule};
use crate::partition::{links_by_name, nodes_of, reopen};
use crate::{Cluster, Link, Links, quorum};

/// The range of delays, in parts of the cluster's unit.
const DELAY_UNITS: (f64, f64) = (0.1, 0.8);

/// Slow links.
#[derive(Debug)]
pub(crate) struct Latency {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    rule: Rule,
    delayed_before: u64,
}

impl Fault for Latency {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let links = choose(request, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip(
                "all links that would be slow are cut by other faults, or there are none".into(),
            ));
        }
        let rule = draw_rule(cluster.unit(), &mut Dice::new(!request.seed));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let detail = format!("{}; {rule}", Scope::describe(request.selector, LINKS_PREFIX, &links));
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let delayed_before = delayed(&cluster.links().stats(), &links);
        Ok(Self { id: request.id, scope, links, rule, delayed_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for link in &self.links {
            cluster.links().impose(self.id, link, self.rule);
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let open = canaries::open_ones(cluster.links(), &self.links);
        prove_late(cluster.links(), &open, self.rule.delay).await
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let bytes = delayed(&cluster.links().stats(), &self.links) - self.delayed_before;
        (bytes > 0).then(|| format!("{bytes} bytes were late"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        reopen(cluster.links(), self.id, &self.links).await
    }
}

/// Proves by canaries that every one of these links, of which none is held, is late.
pub(crate) async fn prove_late(links: &Links, late: &[Link], delay: Duration) -> Result<String, FaultError> {
    let results = canaries::send(links, late, EVIDENCE_LIMIT).await?;
    let times: Vec<Duration> = results.values().flatten().copied().collect();
    match (times.iter().min(), times.iter().max()) {
        (Some(fastest), Some(slowest)) if *fastest >= delay => {
            Ok(format!("{} canaries took {fastest:.0?} to {slowest:.0?}", times.len()))
        }
        (Some(fastest), _) => Err(FaultError::NotProven(format!(
            "a canary took {fastest:.0?} over a link that should be late by {delay:?}"
        ))),
        (None, _) => Err(FaultError::NotProven(format!("no canary passed {}", list(late)))),
    }
}

/// The links between nodes that a selector means: `all`, `some`, `one`, those of the `leader`, or named ones.
pub(crate) async fn choose<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Vec<Link>, Skip> {
    let nodes = cluster.processes().nodes();
    let all = all_links(&nodes);
    match request.selector {
        "all" => Ok(all),
        "some" => {
            let mut some = Dice::new(request.seed).shuffled(&all);
            some.truncate(all.len().div_ceil(2));
            some.sort();
            Ok(some)
        }
        "one" => Ok(Dice::new(request.seed).pick(&all).cloned().into_iter().collect()),
        "leader" => {
            let leader = cluster.leader().await.ok_or_else(|| Skip("no leader is known".into()))?.into();
            Ok(all.into_iter().filter(|link| link.source == leader || link.destination == leader).collect())
        }
        named => links_by_name(named, &nodes).ok_or_else(|| request.unknown_selector()),
    }
}

/// Every ordered pair.
pub(crate) fn all_links(nodes: &[NodeId]) -> Vec<Link> {
    let pairs = nodes.iter().flat_map(|source| nodes.iter().map(move |destination| (source, destination)));
    pairs
        .filter(|(source, destination)| source != destination)
        .map(|(from, to)| Link::new(from, to))
        .collect()
}

/// A delay in whole milliseconds, and a jitter of up to as much.
pub(crate) fn draw_rule(unit: Duration, dice: &mut Dice) -> Rule {
    let delay = unit.mul_f64(dice.log_even(DELAY_UNITS.0, DELAY_UNITS.1));
    let whole =
        |duration: Duration| Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    Rule::late(whole(delay), whole(delay.mul_f64(dice.fraction())))
}

fn delayed(stats: &BTreeMap<Link, LinkStats>, links: &[Link]) -> u64 {
    links.iter().filter_map(|link| stats.get(link)).map(|stats| stats.bytes_delayed).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_and_jitter_stay_below_twice_the_unit() {
        let unit = Duration::from_millis(300);
        for seed in 0..200 {
            let rule = draw_rule(unit, &mut Dice::new(seed));
            assert!(rule.delay >= unit.mul_f64(0.09) && rule.latest() <= unit * 2, "{rule}");
            assert!(!rule.held);
        }
    }

    #[test]
    fn every_ordered_pair_is_a_link() {
        let nodes: Vec<NodeId> = (1..=3).map(NodeId::numbered).collect();
        assert_eq!(all_links(&nodes).len(), 6);
    }
}
