//! One connection between two endpoints: from the accept to its end.
//!
//! A connection is established to the destination only while both directions of the pair are open, as a handshake
//! needs both; until then the dialler's bytes wait in its socket. If it gave up meanwhile, nothing of it ever
//! arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lane::{Counters, Lane, count};
use super::pump::{Pump, PumpEnd};
use super::upstream::Upstream;

/// Connections of one link that wait for a cut to heal, at most; more are reset.
pub(super) const WAITING_LIMIT: u64 = 256;
/// How long the destination may take to accept; only a listener with a full backlog needs longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Where a connection goes, and by which links.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) upstream: Upstream,
    /// From the dialler.
    pub(super) forth: Lane,
    /// To the dialler.
    pub(super) back: Lane,
    /// Of the random numbers behind jitter.
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
    wait_for_both(route).await?;
    if gave_up(&dialler.stream).await {
        return Err(Broken::ByItself);
    }
    let dialled = timeout(CONNECT_LIMIT, route.upstream.connect()).await;
    let Ok(Ok(server)) = dialled else { return Err(Broken::Refused) };
    let mut server = Socket::new(server);
    let _counted = Open::count(&route.forth);
    exchange(&mut dialler.stream, &mut server.stream, route).await?;
    dialler.orderly = true;
    server.orderly = true;
    Ok(())
}

/// Waits until both directions are open at the same time.
async fn wait_for_both(route: &mut Route) -> Result<(), Broken> {
    if !route.forth.is_held() && !route.back.is_held() {
        return Ok(());
    }
    let _place = Place::take(route.forth.counters.clone()).ok_or(Broken::Refused)?;
    while route.forth.is_held() || route.back.is_held() {
        route.forth.opened().await;
        route.back.opened().await;
    }
    Ok(())
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
    let forth = Pump::new(route.forth.clone(), route.seed).run(from_dialler, to_server);
    let back = Pump::new(route.back.clone(), !route.seed).run(from_server, to_dialler);
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
