//! What of this machine the nemesis can use, found out by trying.
//!
//! Mechanisms that faults stand on are tried in a throw-away process or socket.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use history::NodeId;
use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::clock::{NodeClock, canary};
use crate::diag::SockDiag;
use crate::disk::{Disk, Promises};
use crate::fault::until;
use crate::guardian::{Guardian, GuardianEvent, Mounter, NodeCommand, NodeSignal};
use crate::links::{FaultId, Rule};
use crate::process::{self, Identity, TaskCount};
use crate::{EventSink, Link, Links, Processes};

/// How long a probe may take to show.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a message is waited for that must not come.
const CUT_WAIT: Duration = Duration::from_millis(100);
/// Events of a probe that nobody reads.
const EVENTS_LIMIT: usize = 16;
/// A program that does nothing for a while.
const IDLER: &str = "sleep";

/// What was found out about one mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The mechanism.
    pub mechanism: &'static str,
    /// What stands on it.
    pub used_for: &'static str,
    /// Whether it works here.
    pub available: bool,
    /// What was seen.
    pub detail: String,
    /// What to do when it does not work; empty when it does.
    pub remedy: &'static str,
}

/// What a probe of a mechanism is about.
struct Mechanism {
    name: &'static str,
    used_for: &'static str,
    remedy: &'static str,
}

impl Mechanism {
    fn found(&self, result: Result<String, String>) -> Probe {
        let available = result.is_ok();
        let remedy = if available { "" } else { self.remedy };
        let detail = result.unwrap_or_else(|reason| reason);
        Probe { mechanism: self.name, used_for: self.used_for, available, detail, remedy }
    }
}

const GUARDIAN: Mechanism = Mechanism {
    name: "guardian",
    used_for: "every run: it starts nodes and ends them",
    remedy: "needs Linux 5.11, a readable /proc, and permission to fork; a sandbox may forbid prctl or pidfd_open",
};
const PAUSE: Mechanism = Mechanism {
    name: "pause",
    used_for: "pause",
    remedy: "/proc must show the processes of this user (mount option hidepid)",
};
const PARENT_DEATH: Mechanism = Mechanism {
    name: "parent-death signal",
    used_for: "every run: nodes do not survive a killed guardian",
    remedy: "a sandbox may forbid prctl; end leftover nodes by hand after a crash of the suite",
};
const LOOPBACK: Mechanism =
    Mechanism { name: "loopback", used_for: "every fault of links", remedy: "bring the interface lo up" };
const SOCK_DIAG: Mechanism = Mechanism {
    name: "sock_diag",
    used_for: "every fault of links: which node dialled; the audit of connections; descriptor-limit",
    remedy: "needs NETLINK_SOCK_DIAG (module tcp_diag) and a readable /proc/PID/fd",
};
const CLOCK: Mechanism = Mechanism {
    name: "clock",
    used_for: "clock, clock-monotonic",
    remedy: "needs x86-64 and ptrace of own children: set kernel.yama.ptrace_scope to 0 or 1; give a container \
             SYS_PTRACE, or a seccomp profile that allows ptrace",
};
const FUSE: Mechanism = Mechanism {
    name: "disks (FUSE)",
    used_for: "power, disk-error, disk-full, slow-disk, bit-flip",
    remedy: "needs /dev/fuse, readable and writable (containers must be given the device), and root, unprivileged user \
             namespaces (kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone, \
             user.max_user_namespaces), or fusermount3 (Debian: fuse3)",
};
const SWITCH: Mechanism = Mechanism {
    name: "network namespaces (switch)",
    used_for: "--net switch, and with it packet",
    remedy: "needs the kernel module veth, and root or unprivileged user namespaces \
             (kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone, \
             user.max_user_namespaces, user.max_net_namespaces); give a container NET_ADMIN and SYS_ADMIN, or a seccomp profile that allows unshare",
};
const USER_NAMESPACES: Mechanism = Mechanism {
    name: "user namespaces",
    used_for: "disks without root, unless fusermount3 mounts them; the switch without root",
    remedy: "allow unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns, \
             kernel.unprivileged_userns_clone, user.max_user_namespaces)",
};

/// Tries everything. What `guardian` makes must run [`crate::guardian::serve`], as for a run.
pub async fn examine(guardian: impl Fn() -> Command) -> Vec<Probe> {
    let mut probes = examine_processes(guardian()).await;
    probes.push(LOOPBACK.found(loopback()));
    probes.push(SOCK_DIAG.found(sock_diag()));
    probes.push(CLOCK.found(clock(guardian()).await));
    probes.push(FUSE.found(disks(guardian()).await));
    probes.push(SWITCH.found(switch(guardian()).await));
    probes.push(USER_NAMESPACES.found(user_namespaces()));
    probes
}

async fn examine_processes(guardian: Command) -> Vec<Probe> {
    let started = start_idler(guardian).await;
    let Ok((guardian, mut events, node)) = started else {
        let reason = started.err().unwrap_or_default();
        let nothing = || Err("not tried, because the guardian does not work".to_owned());
        return vec![GUARDIAN.found(Err(reason)), PAUSE.found(nothing()), PARENT_DEATH.found(nothing())];
    };
    let seen = format!("started and listed {node}");
    let pause = pause(&guardian, node).await;
    let parent_death = parent_death(&guardian, node).await;
    // Ends once the guardian is gone and everything below it with it.
    while !matches!(events.recv().await, Some(GuardianEvent::Died { .. }) | None) {}
    vec![GUARDIAN.found(Ok(seen)), PAUSE.found(pause), PARENT_DEATH.found(parent_death)]
}

type Started = (Guardian, tokio::sync::mpsc::Receiver<GuardianEvent>, Identity);

async fn start_idler(command: Command) -> Result<Started, String> {
    let (guardian, events) = Guardian::start(command).await.map_err(|error| error.to_string())?;
    let program = find_program(IDLER).ok_or_else(|| format!("there is no {IDLER} in PATH to try with"))?;
    let executable = guardian.open(&program).await.map_err(|error| error.to_string())?;
    let command = NodeCommand::new(executable, vec![IDLER.into(), "60".into()]);
    let identity = guardian.spawn(&idler(), command).await.map_err(|error| error.to_string())?;
    if process::descendants(guardian.pid()).contains(&identity) {
        Ok((guardian, events, identity))
    } else {
        Err(format!("{identity} is not listed below the guardian; is CONFIG_PROC_CHILDREN missing?"))
    }
}

fn idler() -> NodeId {
    NodeId("doctor".into())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

async fn pause(guardian: &Guardian, node: Identity) -> Result<String, String> {
    guardian.signal(&idler(), NodeSignal::Stop).await.map_err(|error| error.to_string())?;
    let count = || TaskCount::of(&[node].into());
    if until(LIMIT, || count().all_stopped()).await {
        Ok("a stopped process shows state T in /proc".into())
    } else {
        Err(format!("a stopped process shows {:?}", process::task_states(node.pid)))
    }
}

/// Kills the guardian above a stopped node, which must end all the same.
async fn parent_death(guardian: &Guardian, node: Identity) -> Result<String, String> {
    let above = process::identity(guardian.pid()).ok_or("the guardian ended by itself")?;
    above.signal(Signal::KILL);
    if until(LIMIT, || !node.exists()).await {
        Ok("a node ended with its killed guardian".into())
    } else {
        Err(format!("{node} survived its killed guardian"))
    }
}

fn loopback() -> Result<String, String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| format!("bound {address}")).map_err(|error| format!("cannot bind 127.0.0.1: {error}"))
}

fn sock_diag() -> Result<String, String> {
    match finds_own_connection() {
        Ok(true) => Ok("found the process behind a connection".into()),
        Ok(false) => Err("the process behind an open connection is not found".into()),
        Err(error) => Err(format!("cannot ask the kernel for a socket: {error}")),
    }
}

fn finds_own_connection() -> io::Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _dialler = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, peer) = listener.accept()?;
    let inode = SockDiag::open()?.inode(peer, accepted.local_addr()?)?;
    Ok(inode.is_some_and(|inode| process::sockets(std::process::id().cast_signed()).contains(&inode)))
}

/// Sets the clock of a process back by a day and lets it tell the time.
async fn clock(guardian: Command) -> Result<String, String> {
    let file = std::env::temp_dir().join(format!("shakedown-doctor-{}.clock", std::process::id()));
    let seen = wrong_clock(guardian, &file).await;
    // Nothing is left to be done about a file that cannot be removed.
    let _ = fs::remove_file(&file);
    seen.map(|off| format!("a process read a clock that is off by {off}"))
}

async fn wrong_clock(guardian: Command, file: &Path) -> Result<String, String> {
    let processes = processes(guardian).await?;
    let clock = NodeClock::create(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let seen = canary::send_a_day_back(&processes, &idler(), &clock).await;
    processes.shutdown().await.map_err(|error| error.to_string())?;
    seen.map_err(|error| error.to_string())
}

/// Processes whose events nobody reads.
async fn processes(guardian: Command) -> Result<Arc<Processes>, String> {
    let (events, _recorded) = mpsc::channel(EVENTS_LIMIT);
    let sink = EventSink::new(history::Clock::start(), events);
    Processes::start(guardian, sink).await.map_err(|error| error.to_string())
}

/// Tries a switch between two network namespaces: a message passes, none passes a cut, and one passes after it.
///
/// # Errors
/// Says why this machine has no such networks.
pub async fn switch(guardian: Command) -> Result<String, String> {
    let processes = processes(guardian).await?;
    let tried = try_switch(&processes).await;
    processes.shutdown().await.map_err(|error| error.to_string())?;
    tried
}

async fn try_switch(processes: &Arc<Processes>) -> Result<String, String> {
    let nodes = [1, 2].map(NodeId::numbered);
    let links = Links::switched(processes, &nodes, 0).await.map_err(|error| error.to_string())?;
    let link = Link::new(&nodes[0], &nodes[1]);
    let passes = async |wait| links.probe(&link, wait).await.map_err(|error| error.to_string());
    let took = passes(LIMIT).await?.ok_or("no message passed from one namespace to the other")?;
    links.impose(FaultId(0), &link, Rule::HOLD);
    if passes(CUT_WAIT).await?.is_some() {
        return Err("a message passed a link that was cut".into());
    }
    links.lift(FaultId(0));
    passes(LIMIT).await?.ok_or("no message passed after the cut was healed")?;
    Ok(format!("a message passed between two namespaces in {took:.0?}, none while they were cut off"))
}

/// Tries a disk of our own: mounts it, lets a process write to it, fails its power, and looks at what is left.
///
/// # Errors
/// Says why this machine has no such disks.
pub async fn disks(guardian: Command) -> Result<String, String> {
    let directory =
        std::env::temp_dir().join(format!("shakedown-doctor-{}-{:p}", std::process::id(), &guardian));
    let tried = try_disk(guardian, &directory).await;
    // What is left of it is no trouble for the next try.
    let _ = fs::remove_dir_all(&directory);
    tried
}

async fn try_disk(guardian: Command, directory: &Path) -> Result<String, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (data, backing) = (directory.join("data"), directory.join("disk"));
    fs::create_dir_all(&data).and_then(|()| fs::create_dir_all(&backing)).map_err(|error| say(&error))?;
    let (guardian, mut events) = Guardian::start(guardian).await.map_err(|error| say(&error))?;
    let disk = Disk::new(data.clone(), backing.clone(), Promises::default());
    disk.mount(&guardian).await.map_err(|error| say(&error))?;
    let program = find_program("sh").ok_or("there is no sh in PATH to try with")?;
    let executable = guardian.open(&program).await.map_err(|error| say(&error))?;
    let arguments = ["sh", "-c", "echo seen > data/file"].map(String::from).to_vec();
    let command = NodeCommand { directory: directory.to_owned(), ..NodeCommand::new(executable, arguments) };
    guardian.spawn(&idler(), command).await.map_err(|error| say(&error))?;
    while !matches!(events.recv().await, Some(GuardianEvent::Exited { .. }) | None) {}
    let seen = fs::read_to_string(backing.join("file")).unwrap_or_default() == "seen\n";
    let by = disk.mounter().await;
    let loss = disk.cut(&guardian, 0).await.map_err(|error| say(&error))?;
    guardian.shutdown().await.map_err(|error| say(&error))?;
    if seen && loss.pages + loss.kept == 1 {
        let how = if by == Some(Mounter::Helper) { "by fusermount3" } else { "in a namespace of its own" };
        Ok(format!("mounted one {how}; what a process wrote without fsync was found at risk"))
    } else {
        Err(format!("what a process wrote was not found on it ({loss})"))
    }
}

fn user_namespaces() -> Result<String, String> {
    for (file, forbidden) in [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ] {
        if setting(file).as_deref() == Some(forbidden) {
            return Err(format!("{file} is {forbidden}"));
        }
    }
    if Path::new("/proc/self/ns/user").exists() {
        Ok("nothing in /proc/sys forbids them".into())
    } else {
        Err("the kernel has none".into())
    }
}

fn setting(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
