//! Processes as the kernel shows them: trees, task states, identities.
//!
//! Everything here is read from `/proc` and serves as evidence from outside the mechanism that applied a fault.
//! A process is named by pid *and* start time, because pids are used again. Trees are read without stopping
//! them, so a tree that forks is complete only when two readings agree; callers that need completeness repeat.
//! Nothing here sends a signal or waits for a child, except [`Identity::signal`].

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use history::NodeId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// The environment variable by which a process is known to belong to a node although its parents are gone.
pub const NODE_VARIABLE: &str = "SHAKEDOWN_NODE";

/// A process, safe against the reuse of its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine booted.
    pub start_time: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} started at tick {}", self.pid, self.start_time)
    }
}

impl Identity {
    /// Whether the process still exists, as a zombie or alive.
    pub fn exists(&self) -> bool {
        identity(self.pid) == Some(*self)
    }

    /// Sends a signal to exactly this process; `false` when it is gone.
    ///
    /// The descriptor pins the process before its start time is compared, so that the signal cannot reach a
    /// stranger who got the pid in between.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        self.exists() && pidfd_send_signal(pinned, signal).is_ok()
    }
}

/// A file that is executed, by device and inode: the same through every name and descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    device: u64,
    inode: u64,
}

impl Image {
    /// The file at a path.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    /// The file that this is known of.
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// What a process executes; of a script that is its interpreter.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of_process(pid: i32) -> io::Result<Self> {
        Self::of_file(Path::new(&format!("/proc/{pid}/exe")))
    }
}

/// What one line of `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state letter: `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// The session that the process belongs to.
    pub session: i32,
    /// Clock ticks since the machine booted.
    pub start_time: u64,
}

impl Stat {
    /// Reads the line of a process or of a task. The name in parentheses may itself contain parentheses and
    /// blanks, so fields are counted from the last `)`.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The state of a process; `None` when there is none.
pub fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Who has this pid at this moment.
pub fn identity(pid: i32) -> Option<Identity> {
    stat(pid).map(|stat| Identity { pid, start_time: stat.start_time })
}

/// The children of all threads of a process, zombies included.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()
        })
        .collect()
}

/// All descendants of a process, without itself, zombies included.
pub fn descendants(pid: i32) -> BTreeSet<Identity> {
    let mut found = BTreeSet::new();
    let mut open = children(pid);
    while let Some(pid) = open.pop() {
        if let Some(identity) = identity(pid)
            && found.insert(identity)
        {
            open.extend(children(pid));
        }
    }
    found
}

/// The whole tree of a node: its main process, all descendants, and the processes that the guardian adopted after
/// their parents had ended (a server that forks twice to become a daemon).
pub fn tree(node: &NodeId, main: i32, guardian: i32) -> BTreeSet<Identity> {
    let mut found = descendants(main);
    found.extend(identity(main));
    found.extend(strays(node, main, guardian));
    found
}

/// What is left of a node's tree beside its main process and that one's descendants.
pub fn strays(node: &NodeId, main: i32, guardian: i32) -> BTreeSet<Identity> {
    let mut found = BTreeSet::new();
    for pid in children(guardian).into_iter().filter(|&pid| pid != main && belongs(pid, node, main)) {
        found.extend(descendants(pid));
        found.extend(identity(pid));
    }
    found
}

/// Whether an adopted process once descended from a node. The main process of a node leads a session of its own;
/// who left that session still carries the node's name in its environment, and who did both is no longer known.
pub(crate) fn belongs(pid: i32, node: &NodeId, main: i32) -> bool {
    let mark = format!("{NODE_VARIABLE}={node}");
    let marked =
        |environment: Vec<u8>| environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes());
    stat(pid).is_some_and(|stat| stat.session == main)
        || fs::read(format!("/proc/{pid}/environ")).is_ok_and(marked)
}

/// The state letters of all tasks (threads) of a process.
pub fn task_states(pid: i32) -> Vec<char> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let texts = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    texts.filter_map(|text| Stat::parse(&text)).map(|stat| stat.state).collect()
}

/// The inodes of all sockets that a process has open; empty when its descriptors cannot be read.
pub fn sockets(pid: i32) -> BTreeSet<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter_map(|target| socket_inode(target.to_str()?)).collect()
}

/// The inode in `socket:[4711]`, which is what a descriptor of a socket links to.
pub(crate) fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// How many tasks of a tree are stopped, and how many could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCount {
    /// Processes that were looked at.
    pub processes: usize,
    /// Tasks in state `T` or `t`.
    pub stopped: usize,
    /// Tasks in any other state, except those that ended.
    pub running: usize,
}

impl TaskCount {
    /// Counts the tasks of a tree.
    pub fn of(tree: &BTreeSet<Identity>) -> Self {
        let mut count = Self { processes: tree.len(), ..Self::default() };
        for state in tree.iter().flat_map(|process| task_states(process.pid)) {
            match state {
                'T' | 't' => count.stopped += 1,
                'Z' | 'X' => {}
                _ => count.running += 1,
            }
        }
        count
    }

    /// Whether nothing of the tree can run, and there is something.
    pub fn all_stopped(&self) -> bool {
        self.stopped > 0 && self.running == 0
    }

    /// Whether nothing of the tree is stopped.
    pub fn none_stopped(&self) -> bool {
        self.stopped == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_last_parenthesis() {
        let text = "17 (a) R (b) S 1 17 16 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', session: 16, start_time: 4711 }));
    }

    #[test]
    fn own_process_exists_and_another_start_time_does_not() {
        let own = identity(std::process::id().cast_signed()).unwrap();
        assert!(own.exists());
        assert!(!Identity { start_time: own.start_time + 1, ..own }.exists());
    }

    #[test]
    fn child_is_a_descendant_and_its_tasks_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let found = identity(pid).unwrap();
        assert!(descendants(std::process::id().cast_signed()).contains(&found));
        let count = TaskCount::of(&BTreeSet::from([found]));
        assert_eq!((count.processes, count.stopped, count.running), (1, 0, 1));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found.exists());
    }
}
