//! Canaries: do bytes pass a link at this moment?
//!
//! A canary is a connection that the harness makes in the name of an endpoint, through a listener and a pump like any
//! other, to a silent receiver inside the harness. A probe writes a number into it and waits for that number to
//! come out. Canaries stay connected, so that a cut of one direction can be told from a cut of the other although
//! a new connection needs both. Their bytes are not counted as effects.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::registry::Loan;
use crate::{Link, Registry};

/// The bytes of one probe.
const NONCE_BYTES: usize = 8;

/// An open canary. The loan is over when it closes.
#[derive(Debug)]
struct Canary {
    number: u64,
    stream: TcpStream,
    _loan: Loan,
}

/// Probes that were sent and did not arrive yet.
#[derive(Debug, Default)]
struct Arrivals(Mutex<HashMap<u64, oneshot::Sender<Instant>>>);

impl Arrivals {
    // Every change is a single operation.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All canaries of a cluster.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    open: Mutex<HashMap<Link, Arc<AsyncMutex<Option<Canary>>>>>,
    arrivals: Arc<Arrivals>,
    next_nonce: AtomicU64,
    next_number: AtomicU64,
}

impl Canaries {
    /// Receives probes at the far end of all links until aborted.
    pub(super) fn receive(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let arrivals = Arc::clone(&self.arrivals);
        async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(read_nonces(stream, Arc::clone(&arrivals)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }
    }

    /// Sends a number over a link; returns how long it took, or `None` when it did not arrive within `wait`,
    /// or was reset with the connections of its pair.
    ///
    /// `door` is the listener for canaries in front of the destination.
    pub(super) async fn probe(
        &self,
        link: &Link,
        door: SocketAddr,
        registry: &Registry,
        wait: Duration,
    ) -> io::Result<Option<Duration>> {
        let slot = Arc::clone(self.slots().entry(link.clone()).or_default());
        let mut slot = slot.lock().await;
        slot.take_if(|canary| !is_open(&canary.stream));
        let canary = match &mut *slot {
            Some(canary) => canary,
            none => match dial(link, door, registry).await? {
                Some((stream, loan)) => {
                    let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                    none.insert(Canary { number, stream, _loan: loan })
                }
                None => return Ok(None),
            },
        };
        let nonce = self.next_nonce.fetch_add(1, Ordering::Relaxed);
        let (arrived, arrival) = oneshot::channel();
        self.arrivals.lock().insert(nonce, arrived);
        let begin = Instant::now();
        // A canary that breaks here was reset with the connections of the pair: its probe does not arrive.
        let _ = canary.stream.write_all(&nonce.to_be_bytes()).await;
        let arrival = timeout(wait, arrival).await;
        self.arrivals.lock().remove(&nonce);
        Ok(arrival.ok().and_then(Result::ok).map(|at| at.saturating_duration_since(begin)))
    }

    /// The number of the canary that is connected over a link, once nobody probes it.
    pub(super) async fn connected(&self, link: &Link) -> Option<u64> {
        let slot = self.slots().get(link).cloned()?;
        let slot = slot.lock().await;
        slot.as_ref().filter(|canary| is_open(&canary.stream)).map(|canary| canary.number)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Link, Arc<AsyncMutex<Option<Canary>>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver says nothing, so a readable canary is one that was closed or reset.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Opens a canary; `None` when the connections of the pair were reset meanwhile, this one among them.
async fn dial(link: &Link, door: SocketAddr, registry: &Registry) -> io::Result<Option<(TcpStream, Loan)>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let loan = registry.lend(socket.local_addr()?, link.source.clone());
    match socket.connect(door).await {
        Ok(stream) => Ok(Some((stream, loan))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_nonces(mut stream: TcpStream, arrivals: Arc<Arrivals>) {
    let mut nonce = [0; NONCE_BYTES];
    while stream.read_exact(&mut nonce).await.is_ok() {
        if let Some(waiting) = arrivals.lock().remove(&u64::from_be_bytes(nonce)) {
            // Who waited may have given up at this very moment.
            let _ = waiting.send(Instant::now());
        }
    }
}
