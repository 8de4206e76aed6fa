//! Loses, delays, repeats and reorders single messages between nodes, of a system that tells how it puts them into connections.
//!
//! A protocol over an unreliable network must bear all of it, and few see it over TCP, where connections break instead. One
//! message in so many is hit, on each link by chance; the connections stay as they are, and so does the order of the other
//! messages. What a dialler says before its first message is left alone.
//!
//! Evidence: of numbered messages in the same framing some are lost, late, repeated or overtaken at the far end of every link.
//! Effect: messages of nodes were hit. Healed: of numbered messages all arrive once and in order, unless another fault
//! of this kind stands.

use tokio::time::Instant;

use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, LINKS_PREFIX, Request, Scope, Skip, list};
use crate::latency::choose;
use crate::links::{FaultId, Odds, Rule, Trial};
use crate::partition::{nodes_of, reopen};
use crate::{Cluster, Link, canaries, quorum};

/// One message in so many is hit.
const ONE_IN: (f64, f64) = (3.0, 20.0);
/// How late a message is, in parts of the cluster's unit.
const LATE_UNITS: (f64, f64) = (0.1, 2.0);
/// A trial has so many times as many messages as it takes for one to be hit.
const TRIAL_HITS: u64 = 16;

/// What happens to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Lost,
    Repeated,
    Swapped,
    Late,
}

impl Manner {
    const ALL: [Self; 4] = [Self::Lost, Self::Repeated, Self::Swapped, Self::Late];

    fn odds(self, one_in: u16) -> Odds {
        match self {
            Self::Lost => Odds { lost: one_in, ..Odds::NONE },
            Self::Repeated => Odds { repeated: one_in, ..Odds::NONE },
            Self::Swapped => Odds { swapped: one_in, ..Odds::NONE },
            Self::Late => Odds { late: one_in, ..Odds::NONE },
        }
    }

    fn shows_in(self, trial: &Trial, odds: Odds) -> bool {
        match self {
            Self::Lost => trial.lost > 0,
            Self::Repeated => trial.repeated > 0,
            Self::Swapped => trial.overtaken > 0,
            Self::Late => trial.overtaken > 0 && trial.slowest >= odds.late_by,
        }
    }
}

/// Trouble with messages.
#[derive(Debug)]
pub(crate) struct Messages {
    id: FaultId,
    scope: Scope,
    links: Vec<Link>,
    manners: Vec<Manner>,
    one_in: u16,
    odds: Odds,
    hit_before: u64,
}

impl Fault for Messages {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        if cluster.links().framing().is_none() {
            return Err(Skip("the system does not tell how it puts messages into connections".into()));
        }
        let links = choose(request, cluster).await?;
        if canaries::open_ones(cluster.links(), &links).is_empty() {
            return Err(Skip(
                "all links that would be hit are cut by other faults, or there are none".into(),
            ));
        }
        let mut dice = Dice::new(!request.seed);
        let (manners, one_in) = draw(&mut dice);
        let odds =
            Odds { late_by: cluster.unit().mul_f64(dice.log_even(LATE_UNITS.0, LATE_UNITS.1)), ..Odds::NONE };
        let rule = manners.iter().map(|manner| Rule::messages(manner.odds(one_in)));
        let odds = rule.fold(Rule::messages(odds), Rule::and).messages;
        let detail = format!("{}; {odds}", Scope::describe(request.selector, LINKS_PREFIX, &links));
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let scope = Scope { nodes: nodes_of(&links), detail, leaves_quorum };
        let hit_before = hit(cluster, &links);
        Ok(Self { id: request.id, scope, links, manners, one_in, odds, hit_before })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        self.links.iter().for_each(|link| cluster.links().impose(self.id, link, Rule::messages(self.odds)));
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let shows = |trial: &Trial| self.manners.iter().all(|manner| manner.shows_in(trial, self.odds));
        let trials = self.trials(cluster, |_| true, shows).await?;
        if trials.is_empty() {
            return Err(FaultError::NotProven(format!("no message passed {}", list(&self.links))));
        }
        let sum = |read: fn(&Trial) -> usize| trials.iter().map(read).sum::<usize>();
        let (lost, repeated, overtaken) =
            (sum(|trial| trial.lost), sum(|trial| trial.repeated), sum(|trial| trial.overtaken));
        let sent = self.trial_messages() * trials.len() as u64;
        Ok(format!(
            "of {sent} numbered messages {lost} were lost, {repeated} repeated, {overtaken} overtaken"
        ))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let hit = hit(cluster, &self.links) - self.hit_before;
        (hit > 0).then(|| format!("{hit} messages were hit"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let passed = reopen(cluster.links(), self.id, &self.links).await?;
        let whole = |trial: &Trial| trial.lost + trial.repeated + trial.overtaken == 0;
        let is_whole = |rule: Rule| rule.messages == Odds::NONE;
        let trials = self.trials(cluster, is_whole, whole).await?;
        Ok(format!("{passed}; numbered messages pass {} links in order", trials.len()))
    }
}

impl Messages {
    fn trial_messages(&self) -> u64 {
        u64::from(self.one_in) * TRIAL_HITS
    }

    /// Sends numbered messages over every link until what comes out is as wanted, as long as nobody holds the link and its
    /// rule is of interest.
    async fn trials(
        &self,
        cluster: &impl Cluster,
        is_of_interest: fn(Rule) -> bool,
        is_wanted: impl Fn(&Trial) -> bool,
    ) -> Result<Vec<Trial>, FaultError> {
        let links = cluster.links();
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        let mut trials = Vec::new();
        let mut left = self.links.clone();
        loop {
            left = canaries::open_ones(links, &left);
            left.retain(|link| is_of_interest(links.rule(link)));
            if left.is_empty() {
                return Ok(trials);
            }
            let results =
                canaries::send_messages(links, &left, self.trial_messages(), EVIDENCE_LIMIT).await?;
            for (link, trial) in results {
                if let Some(trial) = trial.filter(&is_wanted) {
                    trials.push(trial);
                    left.retain(|other| *other != link);
                } else if Instant::now() > deadline {
                    return Err(FaultError::NotProven(format!("numbered messages over {link}: {trial:?}")));
                }
            }
        }
    }
}

/// One manner, or all of them, and how often it hits.
fn draw(dice: &mut Dice) -> (Vec<Manner>, u16) {
    let one_in = dice.log_even(ONE_IN.0, ONE_IN.1) as u16;
    let one = dice.pick(&Manner::ALL).copied().expect("invariant: there are some");
    if dice.one_in(1 + Manner::ALL.len()) { (Manner::ALL.to_vec(), one_in) } else { (vec![one], one_in) }
}

fn hit(cluster: &impl Cluster, links: &[Link]) -> u64 {
    let stats = cluster.links().stats();
    links.iter().filter_map(|link| stats.get(link)).map(|stats| stats.messages).sum()
}
