//! What a killed guardian leaves behind, and its end.
//!
//! The orchestrator is a child subreaper, so it inherits the children of a guardian that died. They are told from its
//! other children by their session: a guardian begins one of its own, and nothing below it can return to the
//! orchestrator's. Trees of guardians that are alive (several runs in one process) are left alone.

use std::collections::BTreeSet;
use std::io;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::process::Child;

use super::tree::own_pid;
use crate::process::{self, Identity, stat};

/// How long dying processes are left alone before the next look.
const PAUSE: Duration = Duration::from_millis(2);
/// How long orphans are killed again and again before they are given up: a process in an uninterruptible system call
/// does not die sooner.
const KILL_LIMIT: Duration = Duration::from_secs(15);

/// The guardians of this process that are alive.
static ALIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn alive() -> MutexGuard<'static, BTreeSet<i32>> {
    // The set is consistent after every single operation on it.
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process the heir of processes whose parents ended.
pub(super) fn inherit_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// A living guardian, until dropped.
pub(super) struct Registration(i32);

impl Registration {
    pub(super) fn pid(&self) -> i32 {
        self.0
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        alive().remove(&self.0);
    }
}

/// Starts a guardian and registers it in one step, so that no search for orphans finds it unregistered.
pub(super) fn start_registered(command: Command) -> io::Result<(Child, Registration)> {
    let mut alive = alive();
    let child = tokio::process::Command::from(command).spawn()?;
    let pid = child.id().ok_or(io::ErrorKind::NotFound)?.cast_signed();
    alive.insert(pid);
    Ok((child, Registration(pid)))
}

/// Kills everything that dead guardians left behind, until nothing is left or the limit is reached; returns how many
/// processes that were.
pub(super) async fn kill_orphans() -> usize {
    let mut killed = BTreeSet::new();
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < KILL_LIMIT {
        let left = orphans();
        if left.is_empty() {
            break;
        }
        left.iter().for_each(|process| _ = process.signal(Signal::KILL));
        killed.extend(left);
        tokio::time::sleep(PAUSE).await;
    }
    killed.len()
}

/// The orphans and their descendants. Those that ended are collected on the way: an ended parent hands its children
/// over before it can be collected, so none is missed between two looks.
fn orphans() -> BTreeSet<Identity> {
    let alive = alive();
    let own_session = stat(own_pid()).map(|stat| stat.session);
    let mut found = BTreeSet::new();
    for pid in process::children(own_pid()) {
        let Some(stat) = stat(pid) else { continue };
        if alive.contains(&pid) || Some(stat.session) == own_session {
            continue;
        }
        found.insert(Identity { pid, start_time: stat.start_time });
        found.extend(process::descendants(pid));
        if let Some(pid) = Pid::from_raw(pid) {
            // Only pids that are known not to be anybody else's children are waited for.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
    found
}
