//! One connection between two endpoints: from the accept to its end.
//!
//! A connection is established to the destination only while both directions of the pair are open, as a handshake
//! needs both; until then the dialler's bytes wait in its socket. If it gave up meanwhile, nothing of it ever
//! arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lane::{Counters, Lane, count};
use super::messages::Framing;
use super::pump::{Pump, PumpEnd};
use super::upstream::Upstream;

/// Connections of one link that wait for a cut to heal, at most; more are reset.
pub(super) const WAITING_LIMIT: u64 = 256;
/// How long the destination may take to accept; only a listener with a full backlog needs longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How much is read at once from a connection that has no other end.
const SWALLOWED_BYTES: usize = 16 << 10;

/// Where a connection goes, and by which links.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) upstream: Upstream,
    /// From the dialler.
    pub(super) forth: Lane,
    /// To the dialler.
    pub(super) back: Lane,
    /// Of what the dialler says, where that is known.
    pub(super) framing: Option<Framing>,
    /// Of the random numbers behind jitter and the fates of messages.
    pub(super) seed: u64,
}

/// Why a connection is reset instead of closed.
enum Broken {
    ByRule,
    Refused,
    /// One of its sockets broke, or its dialler gave up.
    ByItself,
}

/// A socket that is reset when it is dropped, unless it was closed in an orderly way.
pub(super) struct Socket {
    stream: TcpStream,
    orderly: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, orderly: false }
    }

    /// Our end of it.
    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.orderly {
            // Fails only on a socket that is broken already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(dialler: Socket, mut route: Route) {
    // Waiting for a reset with the route's own receivers would borrow the lanes that the pumps need.
    let (mut forth, mut back) = (route.forth.clone(), route.back.clone());
    let ended = tokio::select! {
        biased;
        () = forth.reset() => Err(Broken::ByRule),
        () = back.reset() => Err(Broken::ByRule),
        ended = establish(dialler, &mut route) => ended,
    };
    match ended {
        Err(Broken::ByRule) => count(&forth.counters.resets, 1),
        Err(Broken::Refused) => count(&forth.counters.refused, 1),
        Ok(()) | Err(Broken::ByItself) => {}
    }
}

async fn establish(mut dialler: Socket, route: &mut Route) -> Result<(), Broken> {
    // One that did not have to wait and is closed by now has only said all that it wants to say.
    if wait_for_both(route).await? && gave_up(&dialler.stream).await {
        return Err(Broken::ByItself);
    }
    let dialled = timeout(CONNECT_LIMIT, route.upstream.connect()).await;
    let Ok(Ok(server)) = dialled else { return Err(Broken::Refused) };
    let mut server = Socket::new(server);
    let _counted = Open::count(&route.forth);
    let (mut forth, mut back) = (route.forth.clone(), route.back.clone());
    let (left, lane) = tokio::select! {
        biased;
        () = forth.halved() => {
            drop(server);
            (dialler, &mut forth)
        }
        () = back.halved() => {
            drop(dialler);
            (server, &mut back)
        }
        ended = exchange(&mut dialler.stream, &mut server.stream, route) => {
            ended?;
            dialler.orderly = true;
            server.orderly = true;
            return Ok(());
        }
    };
    outlive(left, lane).await;
    Ok(())
}

/// Keeps one end of a connection that has no other: what it sends goes nowhere, and it hears nothing, until it is reset.
async fn outlive(mut end: Socket, lane: &mut Lane) {
    count(&lane.counters.halved, 1);
    let counters = Arc::clone(&lane.counters);
    let swallow = async {
        let mut buffer = vec![0; SWALLOWED_BYTES];
        // Nobody answers an end of the stream either.
        while let Ok(bytes @ 1..) = end.stream.read(&mut buffer).await {
            count(&counters.bytes_lost, bytes);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = lane.mended() => {}
        () = swallow => {}
    }
}

/// Waits until both directions are open at the same time; whether they were not.
async fn wait_for_both(route: &mut Route) -> Result<bool, Broken> {
    if !route.forth.is_held() && !route.back.is_held() {
        return Ok(false);
    }
    let _place = Place::take(route.forth.counters.clone()).ok_or(Broken::Refused)?;
    while route.forth.is_held() || route.back.is_held() {
        route.forth.opened().await;
        route.back.opened().await;
    }
    Ok(true)
}

/// Whether the dialler closed while it waited.
async fn gave_up(dialler: &TcpStream) -> bool {
    let known = timeout(Duration::ZERO, dialler.ready(Interest::READABLE)).await;
    matches!(known, Ok(Ok(readiness)) if readiness.is_read_closed())
}

/// Moves bytes both ways until both streams end, or one of the sockets breaks.
async fn exchange(dialler: &mut TcpStream, server: &mut TcpStream, route: &Route) -> Result<(), Broken> {
    for socket in [&*dialler, &*server] {
        socket.set_nodelay(true).map_err(|_| Broken::ByItself)?;
    }
    let (from_dialler, to_dialler) = dialler.split();
    let (from_server, to_server) = server.split();
    let forth = Pump::new(route.forth.clone(), route.framing, route.seed).run(from_dialler, to_server);
    let back = Pump::new(route.back.clone(), None, !route.seed).run(from_server, to_dialler);
    match tokio::try_join!(forth, back) {
        Ok((PumpEnd::Finished, PumpEnd::Finished)) => Ok(()),
        Ok(_) | Err(_) => Err(Broken::ByItself),
    }
}

/// An established connection, as long as it lasts.
struct Open(Arc<Counters>);

impl Open {
    fn count(lane: &Lane) -> Self {
        count(&lane.counters.connections, 1);
        Self(Arc::clone(&lane.counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        count(&self.0.ended, 1);
    }
}

/// A place among the connections that wait for a cut to heal.
struct Place(Arc<Counters>);

impl Place {
    fn take(counters: Arc<Counters>) -> Option<Self> {
        let before = counters.waiting.fetch_add(1, Ordering::Relaxed);
        count(&counters.waited, 1);
        let place = Self(counters);
        (before < WAITING_LIMIT).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
