//! Accepts connections in front of a node, and finds out in whose name each one was made.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use super::connection::{Route, Socket, serve};
use super::messages::Framing;
use super::table::Table;
use super::upstream::Upstream;
use crate::diag::SockDiag;
use crate::{Endpoint, Registry, process};

/// How long the process behind a connection is looked for. A node that was started a moment ago may dial before it
/// is registered.
const OWNER_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked for.
const OWNER_INTERVAL: Duration = Duration::from_millis(10);
/// How long a listener rests after a failed accept, such as for lack of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(20);

/// What an attributed listener does with a connection from a process that belongs to no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Resets and reports it: only nodes dial here.
    IsRefused,
    /// Counts it as a client: nodes and clients dial the same port.
    IsClient,
}

/// How a listener knows in whose name a connection was made.
#[derive(Debug, Clone)]
pub(super) enum Attribution {
    /// Only one dials here.
    Always(Endpoint),
    /// By the process that dialled.
    ByProcess(Stranger),
    /// By the address that the harness lent; such connections are canaries and are not counted.
    ByLoan,
}

/// One listener in front of one node.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) destination: Endpoint,
    pub(super) upstream: Upstream,
    pub(super) attribution: Attribution,
    /// Of what nodes say when they dial here.
    pub(super) framing: Option<Framing>,
    pub(super) table: Arc<Table>,
    pub(super) registry: Registry,
    pub(super) diag: Arc<Mutex<SockDiag>>,
}

/// Who dialled, as far as it is known right after the accept.
enum Dialler {
    Known(Endpoint),
    /// The inode of the dialler's socket, whose owner must be found.
    Socket(u64),
    /// It closed before it could be asked for.
    Vanished,
}

impl Door {
    /// Accepts until the task is aborted, which resets every connection that is open.
    pub(super) async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut connections),
                    Err(_) => sleep(ACCEPT_REST).await,
                },
                Some(ended) = connections.join_next() => propagate_panic(ended),
            }
        }
    }

    /// Asks the kernel who dialled, at once, because the answer is lost when the dialler closes.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let dialler = self.dialler(&stream, peer);
        let door = self.clone();
        connections.spawn(async move {
            let socket = Socket::new(stream);
            if let Some(endpoint) = door.resolve(dialler, peer, &socket).await {
                let (forth, back) = door.lanes(&endpoint);
                let framing = door.framing.filter(|_| endpoint.node().is_some());
                let (upstream, seed) = (door.upstream.clone(), door.table.next_seed());
                let route = Route { upstream, forth, back, framing, seed };
                serve(socket, route).await;
            }
        });
    }

    fn dialler(&self, stream: &TcpStream, peer: SocketAddr) -> Dialler {
        match &self.attribution {
            Attribution::Always(endpoint) => Dialler::Known(endpoint.clone()),
            Attribution::ByLoan => self.registry.borrower(peer).map_or(Dialler::Vanished, Dialler::Known),
            Attribution::ByProcess(_) => {
                match stream.local_addr().and_then(|local| self.inode(peer, local)) {
                    Ok(Some(inode)) => Dialler::Socket(inode),
                    Ok(None) => Dialler::Vanished,
                    Err(error) => {
                        self.table.report_stranger(format!("{peer} dialled {}: {error}", self.destination));
                        Dialler::Vanished
                    }
                }
            }
        }
    }

    async fn resolve(&self, dialler: Dialler, peer: SocketAddr, accepted: &Socket) -> Option<Endpoint> {
        let inode = match dialler {
            Dialler::Known(endpoint) => return Some(endpoint),
            Dialler::Vanished => return None,
            Dialler::Socket(inode) => inode,
        };
        let is_client = matches!(self.attribution, Attribution::ByProcess(Stranger::IsClient));
        if is_client && process::sockets(std::process::id().cast_signed()).contains(&inode) {
            return Some(Endpoint::Clients);
        }
        let begin = Instant::now();
        while begin.elapsed() < OWNER_LIMIT {
            if let Some(node) = self.registry.owner(inode) {
                return Some(node.into());
            }
            // A dialler that closed, or was killed, after it was asked for is no stranger.
            let still = accepted.local_addr().and_then(|local| self.inode(peer, local));
            if !matches!(still, Ok(Some(now)) if now == inode) {
                return None;
            }
            sleep(OWNER_INTERVAL).await;
        }
        if is_client {
            return Some(Endpoint::Clients);
        }
        self.table.report_stranger(format!(
            "a process that belongs to no node dialled {} from {peer} (socket {inode}) and was refused",
            self.destination
        ));
        None
    }

    fn inode(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
        // Each question is answered within the lock, so a panic leaves no half-read answer that matters.
        self.diag.lock().unwrap_or_else(PoisonError::into_inner).inode(local, remote)
    }

    fn lanes(&self, dialler: &Endpoint) -> (super::lane::Lane, super::lane::Lane) {
        match self.attribution {
            Attribution::ByLoan => self.table.uncounted_lanes(dialler, &self.destination),
            Attribution::Always(_) | Attribution::ByProcess(_) => {
                self.table.lanes(dialler, &self.destination)
            }
        }
    }
}

/// A connection that broke an invariant must not pass for one that ended.
fn propagate_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
