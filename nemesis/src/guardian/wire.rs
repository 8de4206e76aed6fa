//! What orchestrator and guardian say to each other: one JSON object a line.
//!
//! The orchestrator sends [`Call`]s; the guardian answers each with one [`Message::Reply`] of the same number, in
//! order, and reports ends of nodes as [`Message::Exited`] when they happen. `exited` never precedes the reply
//! that announced the process.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use history::NodeId;
use serde::{Deserialize, Serialize};

use crate::clock::ClockFile;
use crate::process::Identity;

/// The longest line on the control socket, in bytes; environment and arguments of a node fit.
pub(super) const LINE_LIMIT_BYTES: usize = 4 << 20;

/// An executable that the guardian holds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Executable(pub(super) u32);

/// The account that a node runs as, for servers that refuse root. Supplementary groups are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How to start the process of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCommand {
    /// What to execute.
    pub executable: Executable,
    /// All arguments, the first of which is the name of the program.
    pub arguments: Vec<String>,
    /// The complete environment. The guardian adds [`crate::process::NODE_VARIABLE`].
    pub environment: Vec<(String, String)>,
    /// The working directory, which must exist.
    pub directory: PathBuf,
    /// Where standard output is appended.
    pub stdout: PathBuf,
    /// Where standard error is appended.
    pub stderr: PathBuf,
    /// Another account than the invoking one.
    pub account: Option<Account>,
    /// From where it takes its clocks, if they are to be wrong at times.
    pub clock: Option<ClockFile>,
}

impl NodeCommand {
    /// A command in the root directory with nothing in its environment, whose output nobody reads.
    pub fn new(executable: Executable, arguments: Vec<String>) -> Self {
        Self {
            executable,
            arguments,
            environment: Vec::new(),
            directory: "/".into(),
            stdout: "/dev/null".into(),
            stderr: "/dev/null".into(),
            account: None,
            clock: None,
        }
    }
}

/// What can be sent to all processes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeSignal {
    /// `SIGSTOP`.
    Stop,
    /// `SIGCONT`.
    Continue,
    /// `SIGTERM`.
    Terminate,
    /// `SIGKILL`.
    Kill,
}

impl From<NodeSignal> for rustix::process::Signal {
    fn from(signal: NodeSignal) -> Self {
        match signal {
            NodeSignal::Stop => Self::STOP,
            NodeSignal::Continue => Self::CONT,
            NodeSignal::Terminate => Self::TERM,
            NodeSignal::Kill => Self::KILL,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

impl ExitStatus {
    /// Ended by `SIGKILL`.
    pub const KILLED: Self = Self::Signal(libc::SIGKILL);

    /// Whether a process that was sent `SIGTERM` ends like this: by the signal, without an error, or with the exit status
    /// by which a runtime says that it was this signal.
    pub fn is_orderly(self) -> bool {
        const BY_SIGTERM: i32 = 128 + libc::SIGTERM;
        matches!(self, Self::Code(0 | BY_SIGTERM) | Self::Signal(libc::SIGTERM))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Who mounts the disks of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounter {
    /// The guardian, in a mount namespace of its own that only the nodes share.
    Guardian,
    /// `fusermount3`, where everybody sees the mount.
    Helper,
}

/// A numbered request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) request: Request,
}

/// What the orchestrator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// Open an executable and keep it.
    Open { path: PathBuf },
    /// Start the process of a node.
    Spawn { node: NodeId, command: NodeCommand },
    /// Signal the whole tree of a node.
    Signal { node: NodeId, signal: NodeSignal },
    /// Mount a file system that the orchestrator will serve.
    Mount { target: PathBuf, by_helper: bool },
    /// Unmount it.
    Unmount { target: PathBuf },
    /// Give a host a network namespace of its own, with a cable whose other end the orchestrator will hold.
    Attach { host: NodeId, address: Ipv4Addr },
    /// Open sockets in the network namespace of a host.
    Sockets { host: NodeId, transport: Transport, count: usize },
}

/// What a socket speaks, over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What the guardian says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    /// The answer to a call, or why it could not be done.
    Reply { number: u64, result: Result<Done, String> },
    /// The main process of a node ended, and nothing is left of its tree.
    Exited { node: NodeId, identity: Identity, status: ExitStatus },
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    /// The executable is open.
    Opened { executable: Executable },
    /// The process executes the program.
    Spawned { node: NodeId, identity: Identity },
    /// So many processes got the signal.
    Signalled { processes: usize },
    /// It is mounted, and the device was sent.
    Mounted { target: PathBuf, by: Mounter },
    /// It is not mounted any more.
    Unmounted,
    /// The host has its namespace, and the end of its cable was sent.
    Attached,
    /// The sockets were sent.
    Sockets,
}
