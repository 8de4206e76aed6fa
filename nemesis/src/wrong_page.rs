//! Disks that return other bytes than were written: a flipped bit (`bit-flip`), or a page as it was before its last write (a
//! form of `damage`).
//!
//! The node is killed, a page goes wrong, and the node is started with a cold cache, because most of what a running server
//! reads comes from the kernel's memory. A flipped bit is stored (`stored`) or made up when the page is read (`read`); a
//! stale page (`stale`) is a write that was acknowledged and never reached the disk. One page of one node is wrong at a
//! time, and only pages that later fsyncs of the same file have left alone: a wrong tail of a log cannot be told from an
//! unfinished write.
//!
//! What a server owes: it must not serve a flipped bit, so it needs checksums. A stale page has the right ones, and takes
//! more: etcd 3.4 takes the zeros in it for the end of its log. A server may refuse to start or end: while such a fault
//! stands its ends and what it then logs are not held against it, and other faults leave its process alone.
//! `bit-flip:REGEX` confines the fault to files whose path, from the node's data directory, matches.
//!
//! Evidence is a canary: a process reads the page from the disk, before and after. Healed: what the node has not
//! written since is right again, and the node answers.

use std::sync::Arc;
use std::time::Instant;

use history::NodeId;
use regex_lite::Regex;

use crate::dice::Dice;
use crate::disk::{Corruption, Form, Trouble};
use crate::disk_canary::DiskCanaries;
use crate::fault::{EVIDENCE_LIMIT, Fault, FaultError, LOOK_INTERVAL, NODES_PREFIX, Request, Scope, Skip};
use crate::kill::{End, bring_up_all};
use crate::links::FaultId;
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// How seldom a read is wrong.
const ONE_IN: [usize; 3] = [1, 1, 2];
/// Prints what the disk returns, past the kernel's memory.
const READ_PAGE: &str = "dd if=\"$0\" iflag=direct bs=4096 skip=PAGE count=1 2>/dev/null | cksum";

/// A wrong page of a node.
#[derive(Debug)]
pub(crate) struct WrongPage {
    id: FaultId,
    form: Form,
    files: Option<Regex>,
    scope: Scope,
    victims: Victims,
    seed: u64,
    one_in: usize,
    canaries: DiskCanaries,
    killed: Option<(NodeId, Identity)>,
    corruption: Option<Arc<Corruption>>,
    /// What a canary read while the page was right.
    right: String,
    /// The process that was started with the wrong page, and how often the page had been read before.
    started: Option<Identity>,
    read_before: u64,
}

impl Fault for WrongPage {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let (form, whom) = parse(request.selector).ok_or_else(|| request.unknown_selector())?;
        let files = request.argument.map(Regex::new).transpose().map_err(|error| Skip(error.to_string()))?;
        let processes = cluster.processes();
        let eligible = |node: &NodeId| processes.is_active(node) && processes.disk(node).is_some();
        let victims = Victims::choose(&Request { selector: whom, ..*request }, cluster, eligible).await?;
        let [node] = &victims.nodes[..] else {
            return Err(Skip("one node at a time can have a wrong disk".to_owned()));
        };
        let mut dice = Dice::new(!request.seed);
        let one_in = *dice.pick(&ONE_IN).expect("invariant: there are some");
        let seed = dice.seed();
        let disk = processes.disk(node).ok_or_else(|| Skip(format!("{node} has no disk of ours")))?;
        let candidate = disk.choose_corruption(form, files.clone(), seed).await;
        if candidate.map_err(|error| Skip(error.to_string()))?.is_none() {
            return Err(Skip(format!("{node} has no page that later fsyncs left alone")));
        }
        let nodes = victims.nodes.clone();
        let prefix = format!("{} {NODES_PREFIX}", form.name());
        Ok(Self {
            id: request.id,
            form,
            files,
            scope: Scope {
                detail: Scope::describe(request.selector, &prefix, [node]),
                leaves_quorum: quorum::is_left_after(cluster, &nodes, &[]),
                nodes,
            },
            victims,
            seed,
            one_in,
            canaries: DiskCanaries::new(request.id),
            killed: None,
            corruption: None,
            right: String::new(),
            started: None,
            read_before: 0,
        })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        for node in &self.victims.nodes {
            self.killed = Some((node.clone(), End::Killed.ask(cluster, node).await?));
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let (node, identity) = self.killed.clone().expect("invariant: it was injected");
        let ended = End::Killed.seen(cluster, &node, identity).await?;
        let corruption = self.corrupt(cluster, &node).await?;
        let deadline = Instant::now() + EVIDENCE_LIMIT;
        let wrong = loop {
            let read = self.read(cluster, &node, &corruption).await?;
            if read != self.right {
                break read;
            }
            if Instant::now() > deadline {
                return Err(FaultError::NotProven(format!(
                    "{corruption}, but a canary on {node} reads it right"
                )));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        self.read_before = self.times_read(cluster, &node);
        cluster.processes().excuse(&node);
        self.started = Some(cluster.processes().launch(&node).await?);
        let right = &self.right;
        Ok(format!("ended: {ended}; {corruption}: cksum {wrong} instead of {right}"))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let (node, _) = self.killed.as_ref()?;
        let ended = cluster.processes().last_end(node).filter(|(ended, _)| Some(*ended) == self.started);
        let read = self.times_read(cluster, node).saturating_sub(self.read_before);
        match (ended, read) {
            (Some((_, status)), _) => Some(format!("{node} ended with {status}")),
            (None, 0) => None,
            (None, read) => Some(format!("{node} read it {read} times")),
        }
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let repaired = match (self.corruption.take(), self.killed.clone()) {
            (Some(corruption), Some((node, _))) => self.repair(cluster, &node, &corruption).await,
            _ => Ok(String::new()),
        };
        self.victims.turns.clear();
        let answering = bring_up_all(cluster, &self.scope.nodes).await;
        self.scope.nodes.iter().for_each(|node| cluster.processes().no_longer_excuse(node));
        Ok(format!("{}{}", repaired?, answering?))
    }
}

impl WrongPage {
    /// Draws a page and makes it wrong; the node is not running.
    async fn corrupt(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
    ) -> Result<Arc<Corruption>, FaultError> {
        let processes = cluster.processes();
        let chosen = processes.choose_corruption(node, self.form, self.files.clone(), self.seed).await?;
        let Some(corruption) = chosen.map(Arc::new) else {
            let reason = format!("{node} has no page any more that later fsyncs left alone");
            return Err(FaultError::NotProven(reason));
        };
        self.right = self.read(cluster, node, &corruption).await?;
        let trouble = Trouble::Corrupt { corruption: Arc::clone(&corruption), one_in: self.one_in };
        processes
            .disk(node)
            .iter()
            .for_each(|disk| disk.troubles().begin(self.id, trouble.clone(), self.seed));
        self.corruption = Some(Arc::clone(&corruption));
        processes.corrupt(node, &corruption).await?;
        Ok(corruption)
    }

    /// Ends a process that may know the wrong page, makes the page right, and proves that.
    async fn repair(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
        corruption: &Arc<Corruption>,
    ) -> Result<String, FaultError> {
        let processes = cluster.processes();
        if let Some(identity) = processes.identity(node) {
            let killed = processes.kill(node).await;
            // It may have ended by itself at this very moment, which is excused.
            if processes.ended(node, identity).await.is_err() {
                killed?;
            }
        }
        processes.disk(node).iter().for_each(|disk| _ = disk.troubles().end(self.id));
        if !processes.repair(node, corruption).await? {
            return Ok(format!("{node} has written the page since; "));
        }
        let read = self.read(cluster, node, corruption).await?;
        if read != self.right {
            return Err(FaultError::NotProven(format!("{corruption}, still")));
        }
        Ok(format!("a canary on {node} reads {read}; "))
    }

    async fn read(
        &mut self,
        cluster: &impl Cluster,
        node: &NodeId,
        corruption: &Corruption,
    ) -> Result<String, FaultError> {
        let script = READ_PAGE.replace("PAGE", &corruption.page.to_string());
        let song = self.canaries.send(cluster, node, &script, &corruption.path.to_string_lossy()).await?;
        Ok(song.printed.trim().to_owned())
    }

    fn times_read(&self, cluster: &impl Cluster, node: &NodeId) -> u64 {
        cluster.processes().disk(node).map_or(0, |disk| disk.troubles().hits(self.id))
    }
}

/// Whether a selector is about a page.
pub(crate) fn is_meant(selector: &str) -> bool {
    parse(selector).is_some()
}

/// `stored leader`: what goes wrong, and with whose disk.
fn parse(selector: &str) -> Option<(Form, &str)> {
    let (form, whom) = selector.split_once(' ')?;
    let form = Form::ALL.into_iter().find(|known| known.name() == form)?;
    Some((form, whom))
}
