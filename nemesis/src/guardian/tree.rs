//! Signals to whole trees, and the end of all descendants.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, WaitOptions, wait};

use crate::process::{self, Identity};

/// How often a tree is read while it keeps growing. A tree that is being stopped or killed settles within a few.
const READINGS_LIMIT: usize = 200;
/// How long dying processes are left alone before the next look.
const PAUSE: Duration = Duration::from_millis(2);

/// The pid of the calling process.
pub(super) fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// Signals every process of a tree, again and again, until a reading shows no process that has not had the signal:
/// a tree may fork while it is being read. Returns those that got it.
pub(super) fn signal_until_stable(
    signal: Signal,
    tree: impl Fn() -> BTreeSet<Identity>,
) -> BTreeSet<Identity> {
    let mut reached = BTreeSet::new();
    for _ in 0..READINGS_LIMIT {
        let fresh: Vec<Identity> = tree().difference(&reached).copied().collect();
        if fresh.is_empty() {
            break;
        }
        fresh.iter().for_each(|process| _ = process.signal(signal));
        reached.extend(fresh);
    }
    reached
}

/// Kills all descendants of the calling process, which must be a child subreaper without other business, until none
/// is left. `SIGKILL` also ends processes that are stopped.
pub(super) fn kill_descendants() {
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let left = process::descendants(own_pid());
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| _ = process.signal(Signal::KILL));
        thread::sleep(PAUSE);
    }
}
