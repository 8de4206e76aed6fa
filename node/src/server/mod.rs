//! The server: everything that is not the protocol, wired together.
//!
//! One task owns the protocol core, the state machine and the requests that wait (`driver`); the tasks around it only
//! parse and pass on. Everything runs on one thread, except the write-ahead log: nodes of a test cluster share few cores, and
//! more threads would only add wake-ups.

mod clock;
mod driver;
mod peers;
mod reports;
mod request;
mod snapshots;
mod trace;
mod waiters;
mod watchers;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::driver::{Driver, Inbox, Tools};
use self::peers::Peers;
pub(crate) use self::request::{Operation, Query, Reply, Request, Watch};
use self::snapshots::SnapshotThread;
use crate::error::NodeError;
use crate::events::EventLog;
use crate::http;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::transport::Incoming;
use crate::wal::{Folder, RealDisk, Wal, WalConfig, WalThread};

/// Client requests that the driver has not seen yet; more are refused as overload.
const REQUEST_QUEUE: usize = 16_384;
/// Peer messages that the driver has not seen yet; more wait in the sockets.
const MESSAGE_QUEUE: usize = 4_096;
/// How long a node that is told to stop goes on to hand its leadership over and to answer what has been asked.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The two sockets of a node, bound and not yet served. Port 0 picks a free port.
#[derive(Debug)]
pub struct Listeners {
    client: TcpListener,
    peer: TcpListener,
}

impl Listeners {
    /// Binds both sockets.
    ///
    /// # Errors
    /// When an address is not available.
    pub async fn bind(client: SocketAddr, peer: SocketAddr) -> Result<Self, NodeError> {
        Ok(Self { client: bind("clients", client).await?, peer: bind("peers", peer).await? })
    }

    /// Where clients will be served.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn client_address(&self) -> Result<SocketAddr, NodeError> {
        address_of(&self.client)
    }

    /// Where messages of peers will be received.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn peer_address(&self) -> Result<SocketAddr, NodeError> {
        address_of(&self.peer)
    }
}

async fn bind(purpose: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Bind { purpose, address, source })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|source| NodeError::System { operation: "read a socket's address", source })
}

/// Completes when the process is asked to stop.
///
/// # Errors
/// When signal handlers cannot be installed.
pub fn termination() -> Result<impl Future<Output = ()>, NodeError> {
    let refused = |source| NodeError::System { operation: "handle signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs a node on sockets that are bound already, until `stop` completes. Then it accepts nobody any more, hands its
/// leadership over, answers what it has been asked, and ends; all of that within two seconds. Dropping the future kills
/// the node without ceremony; only writes that the log thread has begun are finished.
///
/// # Errors
/// When the options are wrong or the data directory cannot be used.
pub async fn serve(
    options: Options,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    options.check_mutant_support()?;
    let config = options.config()?;
    let peers = options.peers()?;
    let log = EventLog::new(config.id);
    let folder = Folder::new(RealDisk, &options.data);
    let wal_config = WalConfig::new(config.id);
    #[cfg(feature = "mutants")]
    let wal_config = WalConfig { mutant: config.mutant, ..wal_config };
    let (wal, recovered) = Wal::open(folder.clone(), wal_config)?;

    let (requests, requests_in) = mpsc::channel(REQUEST_QUEUE);
    let (messages, messages_in) = mpsc::channel(MESSAGE_QUEUE);
    let (durable, durable_in) = mpsc::unbounded_channel();
    // Nobody receives reports once the node is being stopped.
    let report = move |io| durable.send(io).unwrap_or_default();
    let metrics = Arc::new(Metrics::default());
    let wal = WalThread::spawn(wal, log, metrics.clone(), report);
    let (stored, stored_in) = mpsc::unbounded_channel();
    let report = move |last| stored.send(last).unwrap_or_default();
    let snapshots = SnapshotThread::spawn(folder, wal_config, log, report);
    let mut inbox =
        Inbox { requests: requests_in, messages: messages_in, durable: durable_in, stored: stored_in };

    log.info(
        "listening",
        json!({ "client": listeners.client_address()?, "peer": listeners.peer_address()? }),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(Incoming::new(config.id, messages, log).run(listeners.peer));
    let (stopping, is_stopping) = watch::channel(false);
    let service = http::Service::new(requests, metrics, log, http::Limits::of_this_process());
    let mut clients = JoinSet::new();
    clients.spawn(http::serve(listeners.client, service, is_stopping));

    let tools = Tools { wal, snapshots, peers: Peers::new(config.id, peers, log), log };
    let mut driver = Driver::new(config, &options, recovered, tools)?;
    tokio::select! {
        () = driver.run(&mut inbox) => {}
        () = stop => {
            log.info("stopping", json!({}));
            stopping.send_replace(true);
            let handed_over = driver.prepare_to_stop();
            let quiet = async {
                // Whether somebody else leads or not, nothing more can be done about it.
                let _ = handed_over.await;
                while clients.join_next().await.is_some() {}
            };
            tokio::select! {
                () = driver.run(&mut inbox) => {}
                () = quiet => {}
                () = sleep(STOP_LIMIT) => log.warn("stopped-without-answering-all", json!({})),
            }
        }
    }
    drop(driver);
    log.info("stopped", json!({}));
    Ok(())
}
