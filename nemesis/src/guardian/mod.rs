//! The guardian: a small process between the orchestrator and the nodes, so that no node outlives a run.
//!
//! [`serve`] is that process; [`Guardian`] is the orchestrator's end of its control socket.
//!
//! Guarantees:
//! * When the orchestrator ends in any way, the guardian kills everything below it and ends.
//! * When the guardian is killed, nodes die by their parent-death signal, and whatever they leave behind is
//!   inherited by the orchestrator, which is a child subreaper too and kills it. The orchestrator hears of it as
//!   [`GuardianEvent::Died`].
//! * An executable is opened once and executed by descriptor: replacing the file during a run changes nothing. (Writing
//!   *into* the file does.) A script runs too, but sees `/dev/fd/N` as its own name; one that looks for files beside
//!   itself must be an argument of its interpreter.
//! * The end of a node is reported when nothing of its tree is left.
//!
//! What it does not do: protect against an orchestrator and a guardian that are killed at the same instant while a node has
//! processes that left its tree; restart nodes; apply faults other than signals. It uses no pid namespace, so nodes
//! see the pids that the orchestrator sees.

mod descriptors;
mod following;
mod helper;
mod mounts;
mod namespaces;
mod networks;
mod orphans;
mod rtnetlink;
mod server;
mod session;
mod sys;
mod tree;
mod wire;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use history::NodeId;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub use server::serve;
pub(crate) use wire::Transport;
pub use wire::{Account, Executable, ExitStatus, Mounter, NodeCommand, NodeSignal};

use crate::process::Identity;
use session::{Order, Session};
use wire::{Done, Request};

/// Requests that wait for the control socket.
const ORDERS_LIMIT: usize = 64;
/// Events that wait for their reader; the guardian's socket waits when there are more.
const EVENTS_LIMIT: usize = 256;
/// How long the guardian may take to answer: a fork and an exec on a starved machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long the guardian may take to kill everything at the end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Why the guardian did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    /// The guardian's process could not be started.
    #[error("cannot start the guardian: {0}")]
    Start(#[source] io::Error),
    /// The guardian says no.
    #[error("{0}")]
    Refused(String),
    /// The guardian is no more; nothing that it started is left.
    #[error("the guardian is gone; the run cannot go on")]
    Gone,
    /// The guardian did not answer.
    #[error("the guardian did not answer within {} s; is the machine paused?", ANSWER_LIMIT.as_secs())]
    Silent,
}

/// What the guardian reports unasked, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardianEvent {
    /// A node executes its program.
    Spawned {
        /// Which node.
        node: NodeId,
        /// Its main process.
        identity: Identity,
    },
    /// The main process of a node ended and nothing of its tree is left.
    Exited {
        /// Which node.
        node: NodeId,
        /// Its main process.
        identity: Identity,
        /// How it ended.
        status: ExitStatus,
    },
    /// The guardian ended although nobody asked for it. Everything below it was killed.
    Died {
        /// How it ended, and what was cleaned up.
        detail: String,
    },
}

/// The orchestrator's end of the control socket. Dropping it ends the guardian and everything below it.
#[derive(Debug)]
pub struct Guardian {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<bool>,
    pid: i32,
    /// By which descriptors come; locked from the request to its arrival.
    descriptors: Arc<Mutex<StdUnixStream>>,
}

impl Guardian {
    /// Starts the guardian: `command` must run [`serve`] before it does anything else. Its standard input becomes the
    /// control socket, its standard output another.
    ///
    /// The calling process becomes a child subreaper. Processes that it starts by other ways must stay in its
    /// session; those that left it are taken for orphans of a guardian when one dies.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub async fn start(mut command: Command) -> Result<(Self, mpsc::Receiver<GuardianEvent>), GuardianError> {
        orphans::inherit_orphans().map_err(GuardianError::Start)?;
        let (ours, theirs) = StdUnixStream::pair().map_err(GuardianError::Start)?;
        let (descriptors, their_descriptors) = StdUnixStream::pair().map_err(GuardianError::Start)?;
        command.stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(their_descriptors));
        let (child, registration) = orphans::start_registered(command).map_err(GuardianError::Start)?;
        let pid = registration.pid();
        let socket = nonblocking(ours).map_err(GuardianError::Start)?;
        let (orders, incoming) = mpsc::channel(ORDERS_LIMIT);
        let (events, reported) = mpsc::channel(EVENTS_LIMIT);
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            Session::new(socket, incoming, events).run(child, registration).await;
            end.send_replace(true);
        });
        let descriptors = Arc::new(Mutex::new(descriptors));
        Ok((Self { orders, ended, pid, descriptors }, reported))
    }

    /// The pid of the guardian.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Opens an executable for good.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, path: &Path) -> Result<Executable, GuardianError> {
        match self.ask(Request::Open { path: path.to_owned() }).await? {
            Done::Opened { executable } => Ok(executable),
            other => unreachable!("invariant: the guardian answers what was asked, not {other:?}"),
        }
    }

    /// Starts the process of a node and returns once it executes the program.
    ///
    /// # Errors
    /// When the node is running already, or the program cannot be executed; the reason names the step.
    pub async fn spawn(&self, node: &NodeId, command: NodeCommand) -> Result<Identity, GuardianError> {
        match self.ask(Request::Spawn { node: node.clone(), command }).await? {
            Done::Spawned { identity, .. } => Ok(identity),
            other => unreachable!("invariant: the guardian answers what was asked, not {other:?}"),
        }
    }

    /// Signals every process of a node's tree and says how many there were. The signals are sent by the parent of
    /// the node, which has not waited for it, so the pid cannot mean somebody else.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn signal(&self, node: &NodeId, signal: NodeSignal) -> Result<usize, GuardianError> {
        match self.ask(Request::Signal { node: node.clone(), signal }).await? {
            Done::Signalled { processes } => Ok(processes),
            other => unreachable!("invariant: the guardian answers what was asked, not {other:?}"),
        }
    }

    /// Mounts a file system, and returns the device on which it is to be served, and who mounted it: the guardian, so that
    /// only it and its nodes see it, or the helper if that is not possible, or wanted.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub async fn mount(&self, target: &Path, by_helper: bool) -> Result<(OwnedFd, Mounter), GuardianError> {
        let request = Request::Mount { target: target.to_owned(), by_helper };
        match self.ask_for_descriptors(request, 1).await? {
            (mut device, Done::Mounted { by, .. }) => {
                Ok((device.pop().expect("invariant: there is one"), by))
            }
            (_, other) => unreachable!("invariant: the guardian answers what was asked, not {other:?}"),
        }
    }

    /// Unmounts a file system.
    ///
    /// # Errors
    /// When somebody uses it.
    pub async fn unmount(&self, target: &Path) -> Result<(), GuardianError> {
        match self.ask(Request::Unmount { target: target.to_owned() }).await? {
            Done::Unmounted => Ok(()),
            other => unreachable!("invariant: the guardian answers what was asked, not {other:?}"),
        }
    }

    /// Gives a host a network namespace of its own, in which a node of this name will be born. The result is a packet socket
    /// at the other end of its only cable: what is sent into it reaches the host, and the host's frames come out.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub(crate) async fn attach(&self, host: &NodeId, address: Ipv4Addr) -> Result<OwnedFd, GuardianError> {
        self.ask_for_descriptor(Request::Attach { host: host.clone(), address }).await
    }

    /// Sockets that live in the network namespace of a host, whoever uses them. Each call costs a process, each socket
    /// little. Once asked for they must be waited for: what comes is taken in the order in which it was asked for.
    ///
    /// # Errors
    /// When the host was never attached.
    pub(crate) async fn sockets(
        &self,
        host: &NodeId,
        transport: Transport,
        count: usize,
    ) -> Result<Vec<OwnedFd>, GuardianError> {
        let request = Request::Sockets { host: host.clone(), transport, count };
        Ok(self.ask_for_descriptors(request, count).await?.0)
    }

    /// Ends the guardian in an orderly way: every node is killed, stopped or not, and its end reported. Idempotent.
    ///
    /// # Errors
    /// When something is still there after the limit.
    pub async fn shutdown(&self) -> Result<(), GuardianError> {
        // A session that is gone has ended already.
        let _ = self.orders.send(Order::End).await;
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(END_LIMIT, ended.wait_for(|&ended| ended)).await;
        waited.map(|_| ()).map_err(|_| GuardianError::Silent)
    }

    async fn ask_for_descriptor(&self, request: Request) -> Result<OwnedFd, GuardianError> {
        let (mut received, _) = self.ask_for_descriptors(request, 1).await?;
        Ok(received.pop().expect("invariant: there is one"))
    }

    async fn ask_for_descriptors(
        &self,
        request: Request,
        count: usize,
    ) -> Result<(Vec<OwnedFd>, Done), GuardianError> {
        let descriptors = self.descriptors.lock().await;
        let done = self.ask(request).await?;
        // They were sent before the answer, so nothing waits here.
        let received = descriptors::receive(&descriptors, count);
        received.map(|received| (received, done)).map_err(|error| GuardianError::Refused(error.to_string()))
    }

    async fn ask(&self, request: Request) -> Result<Done, GuardianError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Ask { request, reply }).await.map_err(|_| GuardianError::Gone)?;
        let answered = tokio::time::timeout(ANSWER_LIMIT, answer).await.map_err(|_| GuardianError::Silent)?;
        answered.map_err(|_| GuardianError::Gone)?.map_err(GuardianError::Refused)
    }
}

fn nonblocking(socket: StdUnixStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
