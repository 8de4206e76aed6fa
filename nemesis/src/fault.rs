//! What every fault has in common: its kind, its life, and the ways in which it can go wrong.

use std::fmt;
use std::io;
use std::time::Duration;

use history::NodeId;
use tokio::sync::{mpsc, watch};

use crate::links::FaultId;
use crate::{Area, Cluster, ProcessError};

/// How long a mechanism may take to show that a fault stands.
pub(crate) const EVIDENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long a mechanism may take to show that a fault is gone.
pub(crate) const HEAL_LIMIT: Duration = Duration::from_secs(15);
/// How long a restarted node may take to answer.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(30);
/// How often something is looked at that takes time.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A kind of fault, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Processes are killed and started again.
    Kill,
    /// Processes stand still.
    Pause,
    /// Links hold their bytes.
    Partition,
    /// Links are slow.
    Latency,
    /// Processes are asked to end and started again.
    Term,
    /// Processes are killed again and again while they start.
    CrashLoop,
    /// One node after the other is restarted.
    RollingRestart,
    /// One node after the other is restarted with another executable, and back.
    Upgrade,
    /// Processes get a part of the processor only.
    Starve,
    /// Connections are reset again and again.
    Reset,
    /// Links lose their bytes, together with the connections.
    BlackHole,
    /// Links let few bytes pass in a second.
    Bandwidth,
    /// Connections have one end only.
    HalfOpen,
    /// Ends of connections arrive late.
    SlowClose,
    /// Single messages are lost, late, repeated or out of turn.
    Message,
    /// Processes get no more memory.
    MemoryLimit,
    /// Processes get no more descriptors.
    DescriptorLimit,
    /// Packets between nodes are lost, doubled, reordered, corrupted or late.
    Packet,
    /// Disks lose what was not saved, together with the processes.
    Power,
    /// Disks fail some operations.
    DiskError,
    /// Disks have no space left.
    DiskFull,
    /// Disks take long to save.
    SlowDisk,
    /// Disks flip bits.
    BitFlip,
    /// Data is damaged while a node is down.
    Damage,
    /// Leadership is handed over.
    Transfer,
    /// Something that an operator of the system does.
    Operation,
    /// Members leave the cluster and come back as new ones.
    Membership,
    /// Nodes lose everything that they have written.
    Wipe,
    /// Clocks show a wrong time of day.
    Clock,
    /// Monotonic clocks jump forwards or run fast.
    ClockMonotonic,
    /// A command of the user's.
    Command,
    /// A script of several steps.
    Scenario,
}

impl Kind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 32] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Latency,
        Self::Term,
        Self::CrashLoop,
        Self::RollingRestart,
        Self::Upgrade,
        Self::Starve,
        Self::Reset,
        Self::BlackHole,
        Self::Bandwidth,
        Self::HalfOpen,
        Self::SlowClose,
        Self::Message,
        Self::MemoryLimit,
        Self::DescriptorLimit,
        Self::Packet,
        Self::Power,
        Self::DiskError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::BitFlip,
        Self::Damage,
        Self::Transfer,
        Self::Operation,
        Self::Membership,
        Self::Wipe,
        Self::Clock,
        Self::ClockMonotonic,
        Self::Command,
        Self::Scenario,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Latency => "latency",
            Self::Term => "term",
            Self::CrashLoop => "crash-loop",
            Self::RollingRestart => "rolling-restart",
            Self::Upgrade => "upgrade",
            Self::Starve => "starve",
            Self::Reset => "reset",
            Self::BlackHole => "black-hole",
            Self::Bandwidth => "bandwidth",
            Self::HalfOpen => "half-open",
            Self::SlowClose => "slow-close",
            Self::Message => "message",
            Self::MemoryLimit => "memory-limit",
            Self::DescriptorLimit => "descriptor-limit",
            Self::Packet => "packet",
            Self::Power => "power",
            Self::DiskError => "disk-error",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
            Self::BitFlip => "bit-flip",
            Self::Damage => "damage",
            Self::Transfer => "transfer",
            Self::Operation => "operation",
            Self::Membership => "membership",
            Self::Wipe => "wipe",
            Self::Clock => "clock",
            Self::ClockMonotonic => "clock-monotonic",
            Self::Command => "command",
            Self::Scenario => "scenario",
        }
    }

    /// Whether it can be told what it is about: `kill:REGEX`.
    pub fn may_take_argument(self) -> bool {
        self.takes_pattern() || self.takes_argument()
    }

    /// Whether what it can be told is a regular expression.
    pub(crate) fn takes_pattern(self) -> bool {
        matches!(self, Self::Kill | Self::BitFlip | Self::DiskError)
    }

    /// Whether it must be told what it is about: `command:FILE`.
    pub fn takes_argument(self) -> bool {
        matches!(self, Self::Command | Self::Operation | Self::Scenario)
    }

    /// Whether the nodes' data must lie on disks of ours.
    pub fn needs_disks(self) -> bool {
        matches!(
            self,
            Self::Power | Self::DiskError | Self::DiskFull | Self::SlowDisk | Self::BitFlip | Self::Damage
        )
    }

    /// Whether messages between nodes must be told apart.
    pub fn needs_framing(self) -> bool {
        self == Self::Message
    }

    /// Whether the nodes must be joined by a switch of ours.
    pub fn needs_switch(self) -> bool {
        self == Self::Packet
    }

    /// Whether it is about connections as proxies see them, or about those that reach a node from loopback: a switch has
    /// neither.
    pub fn needs_links(self) -> bool {
        matches!(
            self,
            Self::Reset
                | Self::Bandwidth
                | Self::HalfOpen
                | Self::SlowClose
                | Self::Message
                | Self::DescriptorLimit
        )
    }

    /// The clocks that it is about, which nodes must have been given before they are started.
    pub fn clock(self) -> Option<Area> {
        match self {
            Self::Clock => Some(Area::Wall),
            Self::ClockMonotonic => Some(Area::Monotonic),
            _ => None,
        }
    }

    /// How it is written on the command line.
    pub fn usage(self) -> &'static str {
        match self {
            Self::Kill => "kill[:REGEX]",
            Self::BitFlip => "bit-flip[:REGEX]",
            Self::DiskError => "disk-error[:REGEX]",
            Self::Command => "command:FILE",
            Self::Operation => "operation:NAME",
            Self::Scenario => "scenario:NAME",
            other => other.name(),
        }
    }

    /// What it does, in a sentence.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Kill => {
                "kills the processes of nodes (SIGKILL), at any time or when a line of their output matches, and starts them again"
            }
            Self::Pause => "stops all tasks of nodes (SIGSTOP), and lets them go on",
            Self::Partition => {
                "holds the bytes between nodes, or between clients and a node, and delivers them later"
            }
            Self::Latency => "makes links between nodes slow and uneven",
            Self::Term => "asks the processes of nodes to end (SIGTERM), and starts them again",
            Self::CrashLoop => "kills the processes of nodes again and again while they start",
            Self::RollingRestart => "restarts one node after the other (SIGTERM), each when the last answers",
            Self::Upgrade => "restarts one node after the other with another executable, and back",
            Self::Starve => "lets nodes run for a small part of the time (SIGSTOP and SIGCONT in turns)",
            Self::Reset => "resets the connections between nodes again and again",
            Self::BlackHole => {
                "lets bytes and connections vanish between nodes, or between clients and a node"
            }
            Self::Bandwidth => "lets few bytes in a second pass between nodes",
            Self::HalfOpen => {
                "takes one end from the connections between nodes; the other end is told when it heals"
            }
            Self::SlowClose => {
                "closes connections between nodes, and lets the ends of connections arrive late"
            }
            Self::Message => "loses, delays, repeats and reorders single messages between nodes",
            Self::MemoryLimit => "lets nodes get no more memory than they have (RLIMIT_DATA)",
            Self::DescriptorLimit => {
                "lets nodes open no more files and connections than they have (RLIMIT_NOFILE)"
            }
            Self::Packet => {
                "lets packets between nodes be lost, doubled, reordered, corrupted or late, each direction for itself"
            }
            Self::Power => "fails the power of nodes: processes are killed, and writes without fsync lost",
            Self::DiskError => {
                "lets fsyncs or writes of nodes end with an I/O error, or writes be short; of files whose path matches"
            }
            Self::DiskFull => "leaves no space on the disks of nodes",
            Self::SlowDisk => "makes the fsyncs of nodes slow",
            Self::BitFlip => {
                "flips a bit on the disk of a node, in files whose path matches; a server without checksums is convicted"
            }
            Self::Damage => {
                "loses a write that was saved, cuts off the end of a file, or puts back an old copy of all data, while a node \
                 is down; most systems do not promise to survive that, so a violation may be the fault's"
            }
            Self::Transfer => "asks the leader to hand leadership over to another node",
            Self::Operation => "has a node do what its operator can ask for: compact, defragment, snapshot",
            Self::Membership => {
                "removes members from the cluster, and adds them again with empty data directories"
            }
            Self::Wipe => {
                "kills a node and empties its data directory; where the target offers no membership it comes back in place, \
                 and a violation may be the fault's own"
            }
            Self::Clock => "makes the wall clocks of nodes jump, drift, or jump to and fro",
            Self::ClockMonotonic => {
                "makes the monotonic clocks of nodes jump forwards or run fast; many runtimes then wait too long, so a \
                 violation may be theirs"
            }
            Self::Command => "executes `FILE start` and `FILE end`, with the chosen nodes in SHAKEDOWN_NODES",
            Self::Scenario => {
                "plays a script of faults that wait for the state of the cluster: one of those below, or a file"
            }
        }
    }

    /// What it needs of the machine.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Kill | Self::Pause | Self::Term | Self::CrashLoop | Self::RollingRestart | Self::Starve => {
                "nothing"
            }
            Self::MemoryLimit | Self::DescriptorLimit => "nothing",
            Self::Message => "a target that tells how it puts messages into connections",
            Self::Power
            | Self::DiskError
            | Self::DiskFull
            | Self::SlowDisk
            | Self::BitFlip
            | Self::Damage => "/dev/fuse, and root, unprivileged user namespaces or fusermount3",
            Self::Transfer | Self::Operation | Self::Membership => "a target that offers it",
            Self::Wipe => "nothing; safe where the target offers membership",
            Self::Packet => "--net switch: root or unprivileged user namespaces",
            Self::Command => "an executable file",
            Self::Clock | Self::ClockMonotonic => {
                "ptrace of own children, x86-64, a target that asks the vDSO for the time"
            }
            Self::Upgrade => "another executable of the target (--upgrade-to)",
            Self::Reset | Self::Bandwidth | Self::HalfOpen | Self::SlowClose => {
                "a target whose peer addresses can be set, so that links lie between"
            }
            Self::Partition | Self::Latency | Self::BlackHole | Self::Scenario => {
                "a target whose peer addresses can be set, so that links lie between, or --net switch"
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a fault could not be applied, proven or healed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// A process could not be changed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A canary could not be sent.
    #[error("cannot send a canary: {0}; is loopback usable?")]
    Canary(#[from] io::Error),
    /// A command of the user's did not do its part.
    #[error("{command}: {reason}")]
    Command {
        /// The file and the step.
        command: String,
        /// How it ended.
        reason: String,
    },
    /// The proof did not come.
    #[error("{0}")]
    NotProven(String),
    /// A node did not come back.
    #[error("{node} did not come back: {reason}")]
    NotReady {
        /// Which node.
        node: NodeId,
        /// What was seen instead.
        reason: String,
    },
}

/// Why a fault was not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip(pub(crate) String);

/// A fault as it was scheduled.
pub(crate) struct Request<'a> {
    pub(crate) id: FaultId,
    pub(crate) kind: Kind,
    /// What the kind is about, if it takes an argument.
    pub(crate) argument: Option<&'a str>,
    pub(crate) selector: &'a str,
    /// Drives every choice that the selector leaves open.
    pub(crate) seed: u64,
}

impl Request<'_> {
    /// The schedule was written by somebody else, or by another version.
    pub(crate) fn unknown_selector(&self) -> Skip {
        Skip(format!("this version knows no selector {:?}", self.selector))
    }
}

/// How a selector begins that names nodes, separated by blanks, instead of leaving the choice open.
pub(crate) const NODES_PREFIX: &str = "nodes ";
/// The same for links.
pub(crate) const LINKS_PREFIX: &str = "links ";

/// What a fault is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The nodes it is about.
    pub(crate) nodes: Vec<NodeId>,
    /// The shape, in words.
    pub(crate) detail: String,
    /// Whether a majority stays whole and connected.
    pub(crate) leaves_quorum: bool,
}

impl Scope {
    /// Says what a selector came to mean, in the form of a selector that leaves nothing open, and what else there is
    /// to know. [`crate::schedule::resolved`] reads it back.
    pub(crate) fn describe(
        selector: &str,
        prefix: &str,
        chosen: impl IntoIterator<Item = impl fmt::Display>,
    ) -> String {
        let chosen = chosen.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(" ");
        if selector.starts_with(prefix) {
            selector.to_owned()
        } else {
            format!("{selector}: {prefix}{chosen}")
        }
    }
}

/// The life of a fault: resolve, inject, evidence, act, effect, heal, in this order. One fault of a run is in the first
/// three steps at any time; the others of several overlap.
pub(crate) trait Fault: Sized + Send {
    /// Whether it is a script: over when its acts are, and effective only when it says so itself.
    const DIRECTED: bool = false;
    /// Whether it waits for its moment.
    const WAITS: bool = false;

    /// Decides whom it is about, by what is seen of the cluster at this moment.
    fn resolve<C: Cluster>(
        request: &Request<'_>,
        cluster: &C,
    ) -> impl Future<Output = Result<Self, Skip>> + Send;

    /// What it is about to do.
    fn scope(&self) -> &Scope;

    /// Waits for the moment at which it is to be injected, while other faults begin and end. What it is about may be
    /// clear only then.
    fn moment<C: Cluster>(
        &mut self,
        _cluster: &C,
        _standing: &Standing,
    ) -> impl Future<Output = Result<(), Skip>> + Send {
        std::future::ready(Ok(()))
    }

    /// Tells the mechanism.
    fn inject<C: Cluster>(&mut self, cluster: &C) -> impl Future<Output = Result<(), FaultError>> + Send;

    /// Proves from outside the mechanism that it stands.
    fn evidence<C: Cluster>(
        &mut self,
        cluster: &C,
    ) -> impl Future<Output = Result<String, FaultError>> + Send;

    /// What it goes on doing while it stands. It looks at `standing` between its steps, so that each of them is done
    /// whole.
    fn act<C: Cluster>(
        &mut self,
        _cluster: &C,
        _standing: &Standing,
    ) -> impl Future<Output = Result<(), FaultError>> + Send {
        std::future::ready(Ok(()))
    }

    /// What it meant to do and did not, and why.
    fn unfinished(&self) -> Option<String> {
        None
    }

    /// What it did to the system, as far as processes and links show it.
    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String>;

    /// Takes it back and proves that. Idempotent, and called after failed injections too.
    fn heal<C: Cluster>(&mut self, cluster: &C) -> impl Future<Output = Result<String, FaultError>> + Send;
}

/// Steps of a fault that wait to be recorded.
const STEPS_LIMIT: usize = 16;

/// Whether the time of a fault is over, and where it tells what it does meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    over: watch::Receiver<bool>,
    steps: Option<mpsc::Sender<String>>,
}

impl Standing {
    /// The first of the pair ends it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (ends, over) = watch::channel(false);
        (ends, Self { over, steps: None })
    }

    /// The same, with what the fault does.
    pub(crate) fn telling(self) -> (Self, mpsc::Receiver<String>) {
        let (sender, steps) = mpsc::channel(STEPS_LIMIT);
        (Self { steps: Some(sender), ..self }, steps)
    }

    /// Records a step.
    pub(crate) async fn tell(&self, step: String) {
        if let Some(steps) = &self.steps {
            // Who records lives as long as the fault.
            let _ = steps.send(step).await;
        }
    }

    /// Waits for some time; `false` when the fault's time is over before.
    pub(crate) async fn lasts(&self, pause: Duration) -> bool {
        let mut over = self.over.clone();
        // Who ends it lives as long as the fault.
        tokio::time::timeout(pause, over.wait_for(|over| *over)).await.is_err()
    }
}

/// Waits until something shows, looking at it again and again.
pub(crate) async fn until(limit: Duration, shows: impl Fn() -> bool) -> bool {
    let looks = async {
        while !shows() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(limit, looks).await.is_ok()
}

/// Names in a row: `n1, n2`.
pub(crate) fn list<T: fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}
