//! Performs the steps of a script on a cluster, each with its proof, and undoes what they did.

use std::collections::{BTreeMap, BTreeSet};

use history::NodeId;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::script::{LinkChange, MemberChange, ProcessChange, Script, Side, Span, Step, Way};
use crate::canaries::{self, CANARY_WAIT};
use crate::dice::Dice;
use crate::fault::{EVIDENCE_LIMIT, FaultError, HEAL_LIMIT, LOOK_INTERVAL, Standing, list, until};
use crate::kill::{End, bring_up};
use crate::latency::{all_links, prove_late};
use crate::links::{FaultId, Rule};
use crate::pause::resume;
use crate::process::{Identity, TaskCount};
use crate::{Cluster, Endpoint, Link, Operation, grudges, members};

/// How long the answer to a request that is only tried is waited for, as a part of the unit.
const TRY_SHARE: u32 = 4;

/// Why a step was not done.
#[derive(Debug)]
pub(super) enum Halt {
    /// What it needs is not there, which is nobody's fault.
    NotNow(String),
    /// It was done and could not be proven, or could not be done.
    Failed(FaultError),
}

impl<E: Into<FaultError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Who plays which part, and what stands.
pub(super) struct Stage {
    id: FaultId,
    cast: BTreeMap<String, Vec<NodeId>>,
    /// The leader that was waited for last.
    leader: Option<NodeId>,
    /// The links that were changed and not yet healed.
    changed: BTreeSet<Link>,
    down: BTreeSet<NodeId>,
    paused: BTreeMap<NodeId, Identity>,
    /// Those that are no members, or may be none, with the right to change their processes.
    away: BTreeMap<NodeId, OwnedMutexGuard<()>>,
    dice: Dice,
}

impl Stage {
    pub(super) fn new(id: FaultId, seed: u64) -> Self {
        Self {
            id,
            cast: BTreeMap::new(),
            leader: None,
            changed: BTreeSet::new(),
            down: BTreeSet::new(),
            paused: BTreeMap::new(),
            away: BTreeMap::new(),
            dice: Dice::new(seed),
        }
    }

    /// Who plays which part: `L is n3, R is n1 n2`.
    pub(super) fn cast(&self) -> String {
        list(self.cast.iter().map(|(name, nodes)| {
            let nodes: Vec<&str> = nodes.iter().map(|node| node.0.as_str()).collect();
            format!("{name} is {}", nodes.join(" "))
        }))
    }

    /// Sees to it that a canary is connected over every link that the script may change, because a link that is
    /// held lets none connect.
    pub(super) async fn prepare<C: Cluster>(&self, cluster: &C, script: &Script) -> Result<(), FaultError> {
        let nodes = cluster.processes().nodes();
        let mut links = all_links(&nodes);
        if script.steps.iter().any(|line| line.step.is_about_clients()) {
            links.extend(nodes.iter().flat_map(|node| Link::both(Endpoint::Clients, node)));
        }
        canaries::all_pass(cluster.links(), &links, HEAL_LIMIT).await.map(|_| ())
    }

    /// Performs a step and says what was seen of it.
    pub(super) async fn perform<C: Cluster>(
        &mut self,
        cluster: &C,
        step: &Step,
        standing: &Standing,
    ) -> Result<String, Halt> {
        match step {
            Step::WaitLeader { new, name } => self.wait_leader(cluster, *new, name, standing).await,
            Step::WaitLeads(name) => self.wait_leads(cluster, name, standing).await,
            Step::WaitUncommitted(name) => self.wait_uncommitted(cluster, name, standing).await,
            Step::Pick(names) => self.pick(cluster, names),
            Step::Others(name) => self.others(cluster, name),
            Step::Links(change, ways) => self.change_links(cluster, *change, ways).await,
            Step::Isolate(names) => self.isolate(cluster, names).await,
            Step::Process(change, names) => self.change_processes(cluster, *change, names).await,
            Step::Members(change) => self.change_members(cluster, change, standing).await,
            Step::Sleep(span) => self.sleep(cluster, *span, standing).await,
            Step::HealLinks => Ok(self.heal_links(cluster).await?),
            Step::Heal => Ok(self.heal(cluster).await?),
        }
    }

    async fn wait_leader<C: Cluster>(
        &mut self,
        cluster: &C,
        new: bool,
        name: &str,
        standing: &Standing,
    ) -> Result<String, Halt> {
        loop {
            let leader = cluster.leader().await.filter(|leader| cluster.processes().is_active(leader));
            if let Some(leader) = leader.filter(|leader| !new || self.leader.as_ref() != Some(leader)) {
                self.leader = Some(leader.clone());
                self.cast.insert(name.to_owned(), vec![leader.clone()]);
                return Ok(format!("{leader} leads"));
            }
            let what = if new { "nobody else leads" } else { "nobody leads" };
            again(standing, || what.to_owned()).await?;
        }
    }

    async fn wait_leads<C: Cluster>(
        &mut self,
        cluster: &C,
        name: &str,
        standing: &Standing,
    ) -> Result<String, Halt> {
        let node = self.only(name)?.clone();
        while !cluster.status(&node).await.is_some_and(|status| status.leads) {
            again(standing, || format!("{node} does not lead")).await?;
        }
        self.leader = Some(node.clone());
        Ok(format!("{node} leads"))
    }

    async fn wait_uncommitted<C: Cluster>(
        &mut self,
        cluster: &C,
        name: &str,
        standing: &Standing,
    ) -> Result<String, Halt> {
        let node = self.only(name)?.clone();
        loop {
            if let Some(status) = cluster.status(&node).await {
                match status.uncommitted {
                    Some(0) => {}
                    Some(entries) => {
                        return Ok(format!("{node} holds {entries} entries that may not be committed"));
                    }
                    None => {
                        return Err(Halt::NotNow("the target does not say what it has not committed".into()));
                    }
                }
            }
            again(standing, || format!("{node} has nothing that is not committed")).await?;
        }
    }

    fn pick<C: Cluster>(&mut self, cluster: &C, names: &[String]) -> Result<String, Halt> {
        let free: Vec<NodeId> =
            self.unnamed(cluster).into_iter().filter(|node| self.leader.as_ref() != Some(node)).collect();
        let picked = self.dice.shuffled(&free);
        if picked.len() < names.len() {
            return Err(Halt::NotNow(format!(
                "{} followers are wanted, but there are {}",
                names.len(),
                picked.len()
            )));
        }
        self.cast.extend(names.iter().cloned().zip(picked.into_iter().map(|node| vec![node])));
        Ok(self.cast())
    }

    fn others<C: Cluster>(&mut self, cluster: &C, name: &str) -> Result<String, Halt> {
        let rest = self.unnamed(cluster);
        if rest.is_empty() {
            return Err(Halt::NotNow("every node has a name already".into()));
        }
        self.cast.insert(name.to_owned(), rest);
        Ok(self.cast())
    }

    async fn isolate<C: Cluster>(&mut self, cluster: &C, names: &[String]) -> Result<String, Halt> {
        let nodes = cluster.processes().nodes();
        let isolated = self.nodes(names)?;
        let links: BTreeSet<Link> = isolated.iter().flat_map(|node| grudges::isolate(node, &nodes)).collect();
        self.cut(cluster, links.into_iter().collect()).await
    }

    async fn change_links<C: Cluster>(
        &mut self,
        cluster: &C,
        change: LinkChange,
        ways: &[Way],
    ) -> Result<String, Halt> {
        let links = self.links(ways)?;
        match change {
            LinkChange::Cut => self.cut(cluster, links).await,
            LinkChange::Slow(span) => self.slow(cluster, links, span).await,
            LinkChange::Reset => reset(cluster, &links).await,
            LinkChange::Heal => {
                for link in &links {
                    cluster.links().impose(self.id, link, Rule::default());
                    self.changed.remove(link);
                }
                let passed = canaries::all_pass(cluster.links(), &links, HEAL_LIMIT).await?;
                Ok(format!("{passed} canaries passed"))
            }
        }
    }

    async fn cut<C: Cluster>(&mut self, cluster: &C, links: Vec<Link>) -> Result<String, Halt> {
        for link in &links {
            cluster.links().impose(self.id, link, Rule::HOLD);
        }
        self.changed.extend(links.iter().cloned());
        let results = canaries::send(cluster.links(), &links, CANARY_WAIT).await.map_err(FaultError::from)?;
        let leaky = list(results.iter().filter(|(_, took)| took.is_some()).map(|(link, _)| link));
        if leaky.is_empty() {
            Ok(format!("{} canaries were stopped", results.len()))
        } else {
            Err(FaultError::NotProven(format!("a canary passed {leaky}, which should be cut")).into())
        }
    }

    async fn slow<C: Cluster>(&mut self, cluster: &C, links: Vec<Link>, span: Span) -> Result<String, Halt> {
        let delay = span.length(cluster.unit(), self.dice.fraction());
        let rule = Rule::late(delay, std::time::Duration::ZERO);
        for link in &links {
            cluster.links().impose(self.id, link, rule);
        }
        self.changed.extend(links.iter().cloned());
        Ok(prove_late(cluster.links(), &links, delay).await?)
    }

    async fn change_processes<C: Cluster>(
        &mut self,
        cluster: &C,
        change: ProcessChange,
        names: &[String],
    ) -> Result<String, Halt> {
        let mut seen = Vec::new();
        for node in self.nodes(names)? {
            if self.away.contains_key(&node) {
                return Err(Halt::NotNow(format!("{node} is no member, or may be none")));
            }
            let _turn = cluster.processes().turn(&node).await?;
            seen.push(match change {
                ProcessChange::Kill => self.end(cluster, &node, End::Killed).await?,
                ProcessChange::Term => self.end(cluster, &node, End::Orderly).await?,
                ProcessChange::Start => {
                    let identity = bring_up(cluster, &node).await?;
                    self.down.remove(&node);
                    format!("{node} ({identity}) answers")
                }
                ProcessChange::Pause => self.pause(cluster, &node).await?,
                ProcessChange::Resume => match self.paused.remove(&node) {
                    Some(identity) => resume(cluster.processes(), &node, identity).await?,
                    None => return Err(Halt::NotNow(format!("{node} was not paused by an earlier step"))),
                },
            });
        }
        Ok(list(seen))
    }

    async fn end<C: Cluster>(&mut self, cluster: &C, node: &NodeId, end: End) -> Result<String, Halt> {
        let processes = cluster.processes();
        let can_end =
            if end == End::Killed { processes.identity(node).is_some() } else { processes.is_active(node) };
        if !can_end {
            return Err(Halt::NotNow(format!("{node} does not run at this moment")));
        }
        self.down.insert(node.clone());
        self.paused.remove(node);
        let identity = end.ask(cluster, node).await?;
        Ok(end.seen(cluster, node, identity).await?)
    }

    async fn pause<C: Cluster>(&mut self, cluster: &C, node: &NodeId) -> Result<String, Halt> {
        let processes = cluster.processes();
        let running = processes.identity(node).filter(|_| processes.is_active(node));
        let identity = running.ok_or_else(|| Halt::NotNow(format!("{node} does not run at this moment")))?;
        self.paused.insert(node.clone(), identity);
        processes.pause(node).await?;
        let count = || TaskCount::of(&processes.tree(node));
        if until(EVIDENCE_LIMIT, || count().all_stopped()).await {
            Ok(format!("{node} ({} tasks) stands still", count().stopped))
        } else {
            let running = count().running;
            Err(FaultError::NotProven(format!("{running} tasks of {node} were not stopped")).into())
        }
    }

    async fn change_members<C: Cluster>(
        &mut self,
        cluster: &C,
        change: &MemberChange,
        standing: &Standing,
    ) -> Result<String, Halt> {
        if !cluster.offers_membership() {
            return Err(Halt::NotNow("the target offers no changes of members".into()));
        }
        let node = self.only(&change.node)?.clone();
        let at = change.at.as_ref().map(|at| self.only(at).cloned()).transpose()?;
        if change.adds && !self.away.contains_key(&node) {
            return Err(Halt::NotNow(format!("{node} was not removed by an earlier step")));
        }
        match (change, at) {
            (MemberChange { only_tried: true, adds, .. }, Some(at)) => {
                let operation = if *adds {
                    Operation::Add { node: node.clone() }
                } else {
                    self.takes(cluster, &node).await?;
                    members::may_leave(cluster, &node);
                    Operation::Remove { node: node.clone() }
                };
                Ok(self.try_once(cluster, &operation, &at, standing).await?)
            }
            (MemberChange { adds: true, .. }, at) => {
                let back = members::rejoin(cluster, &node, at.as_ref()).await?;
                self.away.remove(&node);
                Ok(back)
            }
            (_, at) => {
                self.takes(cluster, &node).await?;
                let change = members::leave(cluster, &node, at.as_ref()).await?;
                Ok(members::gone(cluster, &node, &change).await?)
            }
        }
    }

    /// Takes the right to change the process of a node until it is a member again.
    async fn takes<C: Cluster>(&mut self, cluster: &C, node: &NodeId) -> Result<(), Halt> {
        if !self.away.contains_key(node) {
            let turn = cluster.processes().turn(node).await?;
            if !cluster.processes().is_active(node) {
                return Err(Halt::NotNow(format!("{node} does not run at this moment")));
            }
            self.away.insert(node.clone(), turn);
        }
        Ok(())
    }

    /// Asks for a change of members and does not wait long for the answer, which may never come.
    async fn try_once<C: Cluster>(
        &self,
        cluster: &C,
        operation: &Operation,
        at: &NodeId,
        standing: &Standing,
    ) -> Result<String, Halt> {
        let answer = tokio::select! {
            answer = cluster.operate(operation, at) => answer,
            lasts = standing.lasts(cluster.unit() / TRY_SHARE) => match lasts {
                true => return Ok(format!("{at} was asked, and has not answered yet")),
                false => return Err(Halt::NotNow("the time was over".into())),
            },
        };
        Ok(answer.unwrap_or_else(|error| format!("{at} was asked, and did not: {error}")))
    }

    async fn sleep<C: Cluster>(
        &mut self,
        cluster: &C,
        span: Span,
        standing: &Standing,
    ) -> Result<String, Halt> {
        let length = span.length(cluster.unit(), self.dice.fraction());
        if standing.lasts(length).await {
            Ok(format!("{length:.0?}"))
        } else {
            Err(Halt::NotNow("the time was over".into()))
        }
    }

    async fn heal_links<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        cluster.links().lift(self.id);
        let links: Vec<Link> = std::mem::take(&mut self.changed).into_iter().collect();
        let passed = canaries::all_pass(cluster.links(), &links, HEAL_LIMIT).await?;
        Ok(format!("{passed} canaries passed"))
    }

    /// Undoes everything. Idempotent.
    pub(super) async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut healed = vec![self.heal_links(cluster).await?];
        let processes = cluster.processes();
        for (node, identity) in std::mem::take(&mut self.paused) {
            let _turn = processes.turn(&node).await?;
            healed.push(resume(processes, &node, identity).await?);
        }
        // Who was removed comes first: of those that only may have been, some are still needed for a majority.
        let (removed, tried): (Vec<NodeId>, Vec<NodeId>) =
            self.away.keys().cloned().partition(|node| processes.identity(node).is_none());
        for node in removed.iter().chain(&tried) {
            healed.push(members::rejoin(cluster, node, None).await?);
            self.away.remove(node);
        }
        for node in std::mem::take(&mut self.down) {
            let _turn = processes.turn(&node).await?;
            healed.push(format!("{node} ({}) answers", bring_up(cluster, &node).await?));
        }
        Ok(list(healed))
    }

    fn unnamed<C: Cluster>(&self, cluster: &C) -> Vec<NodeId> {
        let named: BTreeSet<&NodeId> = self.cast.values().flatten().collect();
        cluster.processes().nodes().into_iter().filter(|node| !named.contains(node)).collect()
    }

    /// The node of a name that must stand for one.
    fn only(&self, name: &str) -> Result<&NodeId, Halt> {
        match self.cast.get(name).map(Vec::as_slice) {
            Some([node]) => Ok(node),
            _ => Err(Halt::NotNow(format!("{name} is not a single node"))),
        }
    }

    fn nodes(&self, names: &[String]) -> Result<Vec<NodeId>, Halt> {
        let of = |name: &String| self.cast.get(name).ok_or_else(|| Halt::NotNow(format!("nobody is {name}")));
        let nodes: BTreeSet<NodeId> =
            names.iter().map(of).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().cloned().collect();
        Ok(nodes.into_iter().collect())
    }

    fn links(&self, ways: &[Way]) -> Result<Vec<Link>, Halt> {
        let ends = |sides: &[Side]| -> Result<Vec<Endpoint>, Halt> {
            let mut ends = Vec::new();
            for side in sides {
                match side {
                    Side::Clients => ends.push(Endpoint::Clients),
                    Side::Named(name) => {
                        ends.extend(self.nodes(std::slice::from_ref(name))?.into_iter().map(Endpoint::Node))
                    }
                }
            }
            Ok(ends)
        };
        let mut links = BTreeSet::new();
        for way in ways {
            for from in ends(&way.from)? {
                let others = ends(&way.to)?.into_iter().filter(|to| *to != from);
                links.extend(others.map(|to| Link::new(from.clone(), to)));
            }
        }
        if links.is_empty() {
            Err(Halt::NotNow("no link is between them".into()))
        } else {
            Ok(links.into_iter().collect())
        }
    }
}

/// Waits a moment before something is looked at again.
async fn again(standing: &Standing, reason: impl FnOnce() -> String) -> Result<(), Halt> {
    if standing.lasts(LOOK_INTERVAL).await {
        Ok(())
    } else {
        Err(Halt::NotNow(format!("{}, and the time was over", reason())))
    }
}

/// Resets connections; canaries that were connected are proof.
async fn reset<C: Cluster>(cluster: &C, over: &[Link]) -> Result<String, Halt> {
    if cluster.links().are_switched() {
        return Err(Halt::NotNow("a switch cannot reset connections; play it with --net links".into()));
    }
    let links = cluster.links();
    let mut canaries = Vec::new();
    for link in over {
        canaries.extend(links.canary(link).await.map(|canary| (link, canary)));
    }
    over.iter().for_each(|link| links.reset(link));
    let deadline = Instant::now() + EVIDENCE_LIMIT;
    for (link, canary) in &canaries {
        while links.canary(link).await == Some(*canary) {
            if Instant::now() > deadline {
                return Err(FaultError::NotProven(format!("a canary survived the reset of {link}")).into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
    Ok(format!("{} canaries were reset", canaries.len()))
}
