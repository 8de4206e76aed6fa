//! Damage to the data of a node while it is down: the tail of a file is missing, or all of it is an old copy. (A single page
//! that is old is the business of `wrong_page`.)
//!
//! `truncate` cuts off the end of the file that was written last, which looks like an unfinished write; `old-copy` puts back
//! the data directory as it was at an earlier, orderly end of the same node, as an operator may who restores a backup. Most
//! systems promise nothing then: a node that comes back without what it acknowledged can make a majority forget it. So
//! nobody is damaged unless `damage` is asked for by name, and a violation may be the fault's own. One node at a time;
//! its ends are excused while the fault stands, and other faults leave its process alone.
//!
//! Evidence: checksums of all files, by a process on the disk, before and after. Healed: the node answers with what it has left; one that
//! ended gets back what it had when it was killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use history::NodeId;

use crate::dice::Dice;
use crate::disk_canary::DiskCanaries;
use crate::fault::{Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, until};
use crate::guardian::ExitStatus;
use crate::kill::{End, bring_up, bring_up_all};
use crate::process::Identity;
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// How much is cut off at most, in bytes.
const TAIL_BYTES: usize = 16 << 10;
/// How much newer than the old copy the data is, in parts of the cluster's unit.
const AGE_UNITS: (f64, f64) = (0.5, 4.0);
/// How long a node may take to find out what it lacks.
const FIND_OUT_UNITS: u32 = 3;
/// Prints what identifies all files of a directory.
const CHECKSUM: &str = "cd \"$0\" && find . -type f -exec cksum {} + | sort | cksum";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Truncate,
    OldCopy,
}

impl Form {
    const ALL: [Self; 2] = [Self::Truncate, Self::OldCopy];

    fn name(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::OldCopy => "old-copy",
        }
    }
}

/// Damage to the data of a node.
#[derive(Debug)]
pub(crate) struct Damage {
    form: Form,
    scope: Scope,
    victims: Victims,
    dice: Dice,
    canaries: DiskCanaries,
    killed: Option<(NodeId, Identity)>,
    /// A copy of what the node had when it was killed.
    kept: Option<PathBuf>,
    /// The process that was started with the damage.
    started: Option<Identity>,
}

impl Fault for Damage {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let (form, whom) = parse(request.selector).ok_or_else(|| request.unknown_selector())?;
        let processes = cluster.processes();
        let eligible = |node: &NodeId| processes.is_active(node) && processes.disk(node).is_some();
        let victims = Victims::choose(&Request { selector: whom, ..*request }, cluster, eligible).await?;
        let nodes = victims.nodes.clone();
        if nodes.len() != 1 {
            return Err(Skip("one node at a time can be damaged".to_owned()));
        }
        let prefix = format!("{} {NODES_PREFIX}", form.name());
        Ok(Self {
            form,
            scope: Scope {
                detail: Scope::describe(request.selector, &prefix, &nodes),
                leaves_quorum: quorum::is_left_after(cluster, &nodes, &[]),
                nodes,
            },
            victims,
            dice: Dice::new(!request.seed),
            canaries: DiskCanaries::new(request.id),
            killed: None,
            kept: None,
            started: None,
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
        let old = match self.form {
            Form::Truncate => None,
            Form::OldCopy => Some(self.grow_old(cluster, &node).await?),
        };
        let kept = self.copy(cluster, &node, "kept").await?;
        self.kept = Some(kept);
        let before = self.checksum(cluster, &node).await?;
        let seed = self.dice.seed();
        let done = match old {
            Some(old) => {
                let restore = move |data: &Path| replace(data, &old).and_then(|()| fs::remove_dir_all(&old));
                cluster.processes().offline(&node, restore).await?;
                "an old copy of its data was put back".to_owned()
            }
            None => cluster.processes().offline(&node, move |data| cut_tail(data, seed)).await?,
        };
        let after = self.checksum(cluster, &node).await?;
        if after == before {
            return Err(FaultError::NotProven(format!("{done}, but a canary on {node} sees no difference")));
        }
        cluster.processes().excuse(&node);
        self.started = Some(cluster.processes().launch(&node).await?);
        Ok(format!("ended: {ended}; {done}: cksum {after} instead of {before}"))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        let (started, (node, _)) = (self.started?, self.killed.as_ref()?);
        Some(match self.end_of(cluster, node, started) {
            Some(status) => format!("{node} ended with {status}"),
            None => format!("{node} goes on with what is left"),
        })
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let restored = match (self.kept.take(), self.killed.clone()) {
            (Some(kept), Some((node, _))) => restore(cluster, &node, kept).await,
            _ => Ok(""),
        };
        self.victims.turns.clear();
        let answering = bring_up_all(cluster, &self.scope.nodes).await;
        self.scope.nodes.iter().for_each(|node| cluster.processes().no_longer_excuse(node));
        Ok(format!("{}{}", restored?, answering?))
    }
}

/// Gives a node that ends what it had when it was killed; the copy is gone then. Many find out by what others tell them.
async fn restore(cluster: &impl Cluster, node: &NodeId, kept: PathBuf) -> Result<&'static str, FaultError> {
    let is_down = || cluster.processes().identity(node).is_none();
    let is_down = until(cluster.unit() * FIND_OUT_UNITS, is_down).await;
    if is_down {
        let copy = kept.clone();
        cluster.processes().offline(node, move |data| replace(data, &copy)).await?;
    }
    // A copy that stays is no trouble for anybody.
    let _ = fs::remove_dir_all(kept);
    Ok(if is_down { "it has back what it had; " } else { "" })
}

impl Damage {
    /// Copies the data of a node that is down, lets it write some more, and ends it once more; where the copy is.
    async fn grow_old(&mut self, cluster: &impl Cluster, node: &NodeId) -> Result<PathBuf, FaultError> {
        let copy = self.copy(cluster, node, "old").await?;
        bring_up(cluster, node).await?;
        let age = self.dice.log_even(AGE_UNITS.0, AGE_UNITS.1);
        tokio::time::sleep(cluster.unit().mul_f64(age)).await;
        let identity = End::Killed.ask(cluster, node).await?;
        End::Killed.seen(cluster, node, identity).await?;
        Ok(copy)
    }

    async fn copy(&self, cluster: &impl Cluster, node: &NodeId, what: &str) -> Result<PathBuf, FaultError> {
        let to = cluster.directory().join(format!("{node}.{what}"));
        let copy = to.clone();
        cluster.processes().offline(node, move |data| replace(&copy, data)).await?;
        Ok(to)
    }

    async fn checksum(&mut self, cluster: &impl Cluster, node: &NodeId) -> Result<String, FaultError> {
        let song = self.canaries.send(cluster, node, CHECKSUM, "").await?;
        match song.is_well {
            true => Ok(song.printed.trim().to_owned()),
            false => Err(FaultError::NotProven(format!("a canary on the disk of {node}: {}", song.printed))),
        }
    }

    fn end_of(&self, cluster: &impl Cluster, node: &NodeId, process: Identity) -> Option<ExitStatus> {
        let end = cluster.processes().last_end(node).filter(|(ended, _)| *ended == process);
        end.map(|(_, status)| status)
    }
}

/// `truncate one`: the damage, and whose data.
fn parse(selector: &str) -> Option<(Form, &str)> {
    let (form, whom) = selector.split_once(' ')?;
    Some((Form::ALL.into_iter().find(|known| known.name() == form)?, whom))
}

/// Makes a directory a copy of another.
fn replace(directory: &Path, by: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        }?;
    }
    let status = Command::new("cp").arg("-a").arg(by.join(".")).arg(directory).status()?;
    let failed = || io::Error::other(format!("cp -a {} {}: {status}", by.display(), directory.display()));
    if status.success() { Ok(()) } else { Err(failed()) }
}

/// Cuts the end off the file that was written last, from within what is not zero; says what was cut.
fn cut_tail(data: &Path, seed: u64) -> io::Result<String> {
    let mut files = Vec::new();
    walk(data, &mut files)?;
    files.sort();
    for (_, path) in files.iter().rev() {
        let bytes = fs::read(path)?;
        let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else { continue };
        let cut = 1 + Dice::new(seed).below(TAIL_BYTES.min(last + 1));
        let length = last + 1 - cut;
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(length as u64)?;
        let name = path.strip_prefix(data).unwrap_or(path).display();
        return Ok(format!("{name} ends at byte {length}, {cut} bytes early"));
    }
    Err(io::Error::other("there is no file that holds anything"))
}

/// All regular files, with the times at which they were written.
fn walk(directory: &Path, files: &mut Vec<(SystemTime, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (path, metadata) = {
            let entry = entry?;
            (entry.path(), entry.metadata()?)
        };
        if metadata.is_dir() {
            walk(&path, files)?;
        } else if metadata.is_file() {
            files.push((metadata.modified()?, path));
        }
    }
    Ok(())
}
