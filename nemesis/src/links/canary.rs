//! Canaries: do bytes pass a link at this moment?
//!
//! A canary is a connection that the harness makes in the name of an endpoint, through a listener and a pump like any
//! other, to a silent receiver inside the harness. A probe writes a number into it and waits for that number to
//! come out. Canaries stay connected, so that a cut of one direction can be told from a cut of the other although
//! a new connection needs both. Their bytes are not counted as effects. The receiver knows which canaries are connected to
//! it, so each end can be asked whether the connection stands.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::registry::Loan;
use crate::{Link, Registry};

/// The bytes of one number.
pub(super) const NONCE_BYTES: usize = 8;
/// A number says which canary carries it, and which of its probes it is.
const PROBE_BITS: u32 = 32;
/// What nobody waits for.
const FILLER: u32 = u32::MAX;
/// How often it is looked whether the receiver knows of an end.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// An open canary. The loan is over when it closes.
#[derive(Debug)]
struct Canary {
    number: u32,
    next_probe: u32,
    stream: TcpStream,
    _loan: Loan,
}

impl Canary {
    fn nonce(&self, probe: u32) -> u64 {
        u64::from(self.number) << PROBE_BITS | u64::from(probe)
    }
}

/// A canary whose near end is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryEnds {
    /// No other canary has this number.
    pub number: u32,
    /// Whether the receiver is connected too.
    pub received: bool,
}

/// What the receiver knows.
#[derive(Debug, Default)]
struct Receiver(Mutex<Arrivals>);

#[derive(Debug, Default)]
struct Arrivals {
    /// Probes that were sent and did not arrive yet.
    awaited: HashMap<u64, oneshot::Sender<Instant>>,
    /// Canaries that are connected to the receiver.
    connected: HashSet<u32>,
    /// Canaries that were closed in order, until their ends are asked for.
    closed: HashSet<u32>,
}

impl Receiver {
    // Every change is a single operation.
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All canaries of a cluster.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    open: Mutex<HashMap<Link, Arc<AsyncMutex<Option<Canary>>>>>,
    receiver: Arc<Receiver>,
    next_number: AtomicU32,
}

impl Canaries {
    /// Receives probes at the far end of all links until aborted.
    pub(super) fn receive(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let receiver = Arc::clone(&self.receiver);
        async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(read_nonces(stream, Arc::clone(&receiver)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }
    }

    /// Sends some bytes over a link, a number at their end; returns how long they took, or `None` when they did not arrive
    /// within `wait`, or were reset with the connections of their pair.
    ///
    /// `door` is the listener for canaries in front of the destination.
    pub(super) async fn probe(
        &self,
        link: &Link,
        bytes: usize,
        door: SocketAddr,
        registry: &Registry,
        wait: Duration,
    ) -> io::Result<Option<Duration>> {
        let slot = self.slot(link);
        let mut slot = slot.lock().await;
        slot.take_if(|canary| !is_open(&canary.stream));
        let canary = match &mut *slot {
            Some(canary) => canary,
            none => match dial(link, door, registry).await? {
                Some((stream, loan)) => {
                    let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                    none.insert(Canary { number, next_probe: 0, stream, _loan: loan })
                }
                None => return Ok(None),
            },
        };
        let nonce = canary.nonce(canary.next_probe);
        canary.next_probe += 1;
        let fillers = bytes.div_ceil(NONCE_BYTES).saturating_sub(1);
        let mut text = canary.nonce(FILLER).to_be_bytes().repeat(fillers);
        text.extend(nonce.to_be_bytes());
        let (arrived, arrival) = oneshot::channel();
        self.receiver.lock().awaited.insert(nonce, arrived);
        let begin = Instant::now();
        // A canary that breaks here was reset with the connections of the pair: its probe does not arrive.
        let _ = canary.stream.write_all(&text).await;
        let arrival = timeout(wait, arrival).await;
        self.receiver.lock().awaited.remove(&nonce);
        Ok(arrival.ok().and_then(Result::ok).map(|at| at.saturating_duration_since(begin)))
    }

    /// The canary that is connected over a link, once nobody probes it.
    pub(super) async fn connected(&self, link: &Link) -> Option<CanaryEnds> {
        let slot = self.slots().get(link).cloned()?;
        let slot = slot.lock().await;
        let canary = slot.as_ref().filter(|canary| is_open(&canary.stream))?;
        let received = self.receiver.lock().connected.contains(&canary.number);
        Some(CanaryEnds { number: canary.number, received })
    }

    /// Closes the canary that is connected over a link; returns how long the receiver did not know, or `None` when there was
    /// none, or it was reset, or the receiver did not come to know within `wait`.
    pub(super) async fn close(&self, link: &Link, wait: Duration) -> Option<Duration> {
        let slot = self.slots().get(link).cloned()?;
        let canary = slot.lock().await.take()?;
        let (number, begin) = (canary.number, Instant::now());
        drop(canary);
        let known = async {
            while self.receiver.lock().connected.contains(&number) {
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(wait, known).await.ok()?;
        let took = begin.elapsed();
        self.receiver.lock().closed.remove(&number).then_some(took)
    }

    fn slot(&self, link: &Link) -> Arc<AsyncMutex<Option<Canary>>> {
        Arc::clone(self.slots().entry(link.clone()).or_default())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Link, Arc<AsyncMutex<Option<Canary>>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver says nothing, so a readable canary is one that was closed or reset.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Dials in the name of the source; `None` when the connections of the pair were reset meanwhile, this one among them.
pub(super) async fn dial(
    link: &Link,
    door: SocketAddr,
    registry: &Registry,
) -> io::Result<Option<(TcpStream, Loan)>> {
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

/// Reads numbers until the canary ends; it is known by the first one.
async fn read_nonces(mut stream: TcpStream, receiver: Arc<Receiver>) {
    let mut nonce = [0; NONCE_BYTES];
    let mut number = None;
    let end = loop {
        if let Err(error) = stream.read_exact(&mut nonce).await {
            break error.kind();
        }
        let nonce = u64::from_be_bytes(nonce);
        let mut arrivals = receiver.lock();
        let canary = *number.get_or_insert((nonce >> PROBE_BITS) as u32);
        arrivals.connected.insert(canary);
        if let Some(waiting) = arrivals.awaited.remove(&nonce) {
            // Who waited may have given up at this very moment.
            let _ = waiting.send(Instant::now());
        }
    };
    if let Some(number) = number {
        let mut arrivals = receiver.lock();
        arrivals.connected.remove(&number);
        if end == io::ErrorKind::UnexpectedEof {
            arrivals.closed.insert(number);
        }
    }
}
