//! Does something to single packets between nodes, where a switch of ours joins them: loses, doubles, reorders, corrupts or
//! delays them, or all of that, in each direction for itself.
//!
//! Rates are chosen so that TCP gets through most of the time. A corrupted packet is lost for its receiver, because its
//! checksum is wrong. Evidence: numbered canaries without checksums, of which some are lost, come twice, are overtaken, come
//! damaged, or come late, on every link. Healed: canaries arrive once, whole and in order.

use std::collections::BTreeMap;
use std::fmt;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::canaries::{self, CANARY_WAIT};
use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, LINKS_PREFIX, Request, Scope, Skip, list};
use crate::latency::{choose, draw_rule};
use crate::links::{FaultId, Noise, Rate, Rule};
use crate::partition::nodes_of;
use crate::{Cluster, Link, Links, Volley, quorum};

/// Canaries that are sent over a link before it is looked what became of them.
const CANARIES: usize = 50;
/// The rates of a single trouble, in percent.
const LOSS_PERCENT: (usize, usize) = (5, 30);
const DUPLICATION_PERCENT: (usize, usize) = (5, 50);
const REORDERING_PERCENT: (usize, usize) = (5, 50);
const CORRUPTION_PERCENT: (usize, usize) = (5, 25);
/// In a mixture each is this much rarer.
const MIXTURE_DIVISOR: usize = 3;

/// What is done to packets, as selectors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Loss,
    Duplicate,
    Reorder,
    Corrupt,
    Delay,
    Mixture,
}

impl Trouble {
    const ALL: [Self; 6] =
        [Self::Loss, Self::Duplicate, Self::Reorder, Self::Corrupt, Self::Delay, Self::Mixture];

    fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Corrupt => "corrupt",
            Self::Delay => "delay",
            Self::Mixture => "mixture",
        }
    }

    /// Reads a selector: a trouble, and which links it is about.
    fn split(selector: &str) -> Option<(Self, &str)> {
        let (name, links) = selector.split_once(' ')?;
        Self::ALL.into_iter().find(|trouble| trouble.name() == name).map(|trouble| (trouble, links))
    }

    fn draw(self, unit: std::time::Duration, dice: &mut Dice) -> Rule {
        let divisor = if self == Self::Mixture { MIXTURE_DIVISOR } else { 1 };
        let mut rate = |of: Self, (low, high): (usize, usize)| {
            let percent = (low + dice.below(high - low + 1)).div_ceil(divisor);
            let happens = self == of || self == Self::Mixture;
            if happens { Rate::percent(u32::try_from(percent).unwrap_or(100)) } else { Rate::default() }
        };
        let noise = Noise {
            loss: rate(Self::Loss, LOSS_PERCENT),
            duplication: rate(Self::Duplicate, DUPLICATION_PERCENT),
            reordering: rate(Self::Reorder, REORDERING_PERCENT),
            corruption: rate(Self::Corrupt, CORRUPTION_PERCENT),
        };
        let late = if self == Self::Delay { draw_rule(unit, dice) } else { Rule::default() };
        late.and(Rule::noisy(noise))
    }
}

/// Trouble with the packets of some links.
#[derive(Debug)]
pub(crate) struct Packet {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    rule: Rule,
    hit_before: u64,
}

impl Fault for Packet {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        if !cluster.links().are_switched() {
            return Err(Skip("links carry no packets; run with --net switch".into()));
        }
        let (trouble, which) = Trouble::split(request.selector).ok_or_else(|| request.unknown_selector())?;
        let links = choose(&Request { selector: which, ..*request }, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip("all links that would be troubled are cut by other faults".into()));
        }
        let rule = trouble.draw(cluster.unit(), &mut Dice::new(!request.seed));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let prefix = format!("{} {LINKS_PREFIX}", trouble.name());
        let detail = format!("{}; {rule}", Scope::describe(request.selector, &prefix, &links));
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let hit_before = hit(cluster.links(), &links);
        Ok(Self { id: request.id, scope, links, rule, hit_before })
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
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        let mut left = canaries::open_ones(cluster.links(), &self.links);
        let mut shown: BTreeMap<Link, Seen> = BTreeMap::new();
        while !left.is_empty() {
            for (link, volley) in volleys(cluster.links(), &left).await? {
                shown.entry(link).or_default().add(&volley);
            }
            left.retain(|link| !shown.get(link).is_some_and(|seen| seen.proves(&self.rule)));
            if !left.is_empty() && Instant::now() > deadline {
                let seen = list(left.iter().filter_map(|link| Some(format!("{link}: {}", shown.get(link)?))));
                return Err(FaultError::NotProven(format!("canaries do not show {}: {seen}", self.rule)));
            }
        }
        Ok(shown.values().fold(Seen::default(), Seen::and).to_string())
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let hit = hit(cluster.links(), &self.links) - self.hit_before;
        (hit > 0).then(|| format!("{hit} packets of nodes were hit"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let links = cluster.links();
        links.lift(self.id);
        let deadline = Instant::now() + HEAL_LIMIT;
        let is_quiet = |link: &&Link| links.rule(link) == Rule::default();
        let mut left: Vec<Link> = self.links.iter().filter(is_quiet).cloned().collect();
        let healed = left.len();
        while !left.is_empty() {
            let fired = volleys(links, &left).await?;
            left = fired.into_iter().filter(|(_, volley)| !volley.is_clean()).map(|(link, _)| link).collect();
            // Another fault may have begun meanwhile.
            left.retain(|link| is_quiet(&link));
            if !left.is_empty() && Instant::now() > deadline {
                let what = format!("nothing is done to {}, but canaries do not arrive whole", list(&left));
                return Err(FaultError::NotProven(what));
            }
        }
        Ok(format!("canaries arrived once, whole and in order over {healed} links"))
    }
}

/// What canaries of a link have shown so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen(Volley);

impl Seen {
    fn add(&mut self, volley: &Volley) {
        *self = std::mem::take(self).and(&Self(volley.clone()));
    }

    fn and(self, other: &Self) -> Self {
        let (one, other) = (self.0, &other.0);
        Self(Volley {
            sent: one.sent + other.sent,
            lost: one.lost + other.lost,
            twice: one.twice + other.twice,
            overtaken: one.overtaken + other.overtaken,
            damaged: one.damaged + other.damaged,
            fastest: [one.fastest, other.fastest].into_iter().flatten().min(),
        })
    }

    /// Whether everything has shown that the rule asks for.
    fn proves(&self, rule: &Rule) -> bool {
        let shows = |rate: Rate, count: usize| rate.is_never() || count > 0;
        shows(rule.noise.loss, self.0.lost)
            && shows(rule.noise.duplication, self.0.twice)
            && shows(rule.noise.reordering, self.0.overtaken)
            && shows(rule.noise.corruption, self.0.damaged)
            && self.0.fastest.is_some_and(|fastest| fastest >= rule.delay)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Volley { sent, lost, twice, overtaken, damaged, fastest } = &self.0;
        write!(f, "of {sent} canaries {lost} were lost, {twice} came twice, {overtaken} were overtaken, ")?;
        write!(f, "{damaged} were damaged; the fastest took {:.1?}", fastest.unwrap_or_default())
    }
}

/// A volley of canaries over each link at once.
async fn volleys(links: &Links, over: &[Link]) -> Result<BTreeMap<Link, Volley>, FaultError> {
    let mut flying = JoinSet::new();
    for link in over {
        let (links, link) = (links.clone(), link.clone());
        flying.spawn(async move {
            let volley = links.volley(&link, CANARIES, CANARY_WAIT).await;
            (link, volley)
        });
    }
    let mut landed = BTreeMap::new();
    while let Some(volley) = flying.join_next().await {
        let (link, volley) = volley.map_err(std::io::Error::other)?;
        landed.insert(link, volley?);
    }
    Ok(landed)
}

/// Packets of nodes that something was done to.
fn hit(links: &Links, of: &[Link]) -> u64 {
    let stats = links.stats();
    of.iter().filter_map(|link| stats.get(link)).map(|stats| stats.packets_hit).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_selector_of_the_schedule_names_a_trouble() {
        assert_eq!(Trouble::split("loss links n1→n2 n2→n1"), Some((Trouble::Loss, "links n1→n2 n2→n1")));
        assert_eq!(Trouble::split("mixture all"), Some((Trouble::Mixture, "all")));
        assert_eq!(Trouble::split("noise all"), None);
        assert_eq!(Trouble::split("loss"), None);
    }

    #[test]
    fn every_trouble_needs_its_own_proof() {
        let clean = Volley { sent: CANARIES, fastest: Some(Duration::from_micros(50)), ..Volley::default() };
        for trouble in Trouble::ALL {
            let rule = trouble.draw(Duration::from_millis(300), &mut Dice::new(3));
            assert_ne!(rule, Rule::default());
            assert!(!Seen(clean.clone()).proves(&rule), "{trouble:?}");
            let fastest = Some(rule.delay);
            let all = Volley { sent: 50, lost: 1, twice: 1, overtaken: 1, damaged: 1, fastest };
            assert!(Seen(all).proves(&rule), "{trouble:?}");
        }
    }
}
