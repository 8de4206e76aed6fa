//! Canaries of the switch: numbered datagrams from host to host, by sockets that live in the namespaces of the hosts.
//!
//! They carry no checksum (RFC 768), so that one in which a bit was flipped arrives, and shows it: a canary is its number,
//! written again and again. They are no effect of a fault on the system, and are not counted as such.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::NodeId;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::frame::CANARY_PORT;
use crate::Link;

/// Volley and number.
const LABEL_BYTES: usize = 12;
/// How often it is repeated.
const LABELS: usize = 16;
const CANARY_BYTES: usize = LABEL_BYTES * LABELS;
/// The pause between two canaries of a volley.
const VOLLEY_PAUSE: Duration = Duration::from_millis(1);
/// How long a copy of a canary is waited for when every one has arrived.
const COPY_WAIT: Duration = Duration::from_millis(25);
/// The pause before a probe that has not arrived is repeated: the last one may have been lost.
const REPEAT_PAUSE: Duration = Duration::from_millis(10);

/// A canary that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrival {
    number: u32,
    at: Instant,
    intact: bool,
}

/// What became of some canaries that were sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volley {
    /// How many there were.
    pub sent: usize,
    /// Never arrived.
    pub lost: usize,
    /// Arrived once more.
    pub twice: usize,
    /// Arrived behind one that was sent later.
    pub overtaken: usize,
    /// Arrived with a changed bit.
    pub damaged: usize,
    /// How long the fastest took.
    pub fastest: Option<Duration>,
}

impl Volley {
    /// All arrived once, whole and in their order.
    pub fn is_clean(&self) -> bool {
        self.lost + self.twice + self.overtaken + self.damaged == 0
    }

    fn of(sent: &[Instant], arrivals: &[Arrival]) -> Self {
        let mut seen = BTreeSet::new();
        let mut volley = Self { sent: sent.len(), ..Self::default() };
        for arrival in arrivals {
            volley.damaged += usize::from(!arrival.intact);
            if !seen.insert(arrival.number) {
                volley.twice += 1;
            } else if seen.last() != Some(&arrival.number) {
                volley.overtaken += 1;
            }
        }
        volley.lost = volley.sent - seen.len();
        volley.fastest = arrivals.iter().map(|arrival| arrival.took(sent)).min();
        volley
    }
}

impl Arrival {
    fn took(&self, sent: &[Instant]) -> Duration {
        sent.get(self.number as usize).map_or(Duration::ZERO, |sent| self.at.saturating_duration_since(*sent))
    }
}

/// Volleys that are under way, and who waits for them.
#[derive(Debug, Default)]
struct Flights(Mutex<HashMap<u64, mpsc::UnboundedSender<Arrival>>>);

impl Flights {
    // Every change is a single operation.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Arrival>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host that sends and receives canaries.
#[derive(Debug)]
struct Perch {
    address: Ipv4Addr,
    socket: Arc<UdpSocket>,
}

/// The canaries of all hosts.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    perches: HashMap<NodeId, Perch>,
    flights: Arc<Flights>,
    next_volley: AtomicU64,
    receivers: JoinSet<()>,
}

impl Canaries {
    /// Lets a host have canaries; the socket lives in its namespace.
    pub(super) fn settle(&mut self, host: NodeId, address: Ipv4Addr, socket: OwnedFd) -> io::Result<()> {
        leave_out_checksums(&socket)?;
        bind(&socket, address)?;
        let socket = Arc::new(UdpSocket::from_std(StdUdpSocket::from(socket))?);
        self.receivers.spawn(receive(Arc::clone(&socket), Arc::clone(&self.flights)));
        self.perches.insert(host, Perch { address, socket });
        Ok(())
    }

    /// Sends canaries until one arrives whole; how long that one took, or `None` when none did within `wait`.
    pub(super) async fn probe(&self, link: &Link, wait: Duration) -> io::Result<Option<Duration>> {
        let mut flight = self.take_off(link)?;
        let (deadline, mut sent) = (Instant::now() + wait, Vec::new());
        while Instant::now() < deadline {
            flight.send(&mut sent).await?;
            let next = deadline.min(Instant::now() + REPEAT_PAUSE);
            while let Ok(Some(arrival)) = timeout_at(next, flight.arrivals.recv()).await {
                if arrival.intact {
                    return Ok(Some(arrival.took(&sent)));
                }
            }
        }
        Ok(None)
    }

    /// Sends so many canaries, and waits for those that do not arrive no longer than `wait`.
    pub(super) async fn volley(&self, link: &Link, count: usize, wait: Duration) -> io::Result<Volley> {
        let mut flight = self.take_off(link)?;
        let (mut sent, mut arrivals) = (Vec::new(), Vec::new());
        for _ in 0..count {
            flight.send(&mut sent).await?;
            sleep(VOLLEY_PAUSE).await;
        }
        let mut deadline = Instant::now() + wait;
        let mut missing: BTreeSet<u32> = (0..).take(count).collect();
        while let Ok(Some(arrival)) = timeout_at(deadline, flight.arrivals.recv()).await {
            arrivals.push(arrival);
            if missing.remove(&arrival.number) && missing.is_empty() {
                deadline = deadline.min(Instant::now() + COPY_WAIT);
            }
        }
        Ok(Volley::of(&sent, &arrivals))
    }

    fn take_off(&self, link: &Link) -> io::Result<Flight<'_>> {
        let perch = |node: Option<&NodeId>| node.and_then(|node| self.perches.get(node));
        let (Some(from), Some(to)) = (perch(link.source.node()), perch(link.destination.node())) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{link} is no link of the switch")));
        };
        let volley = self.next_volley.fetch_add(1, Ordering::Relaxed);
        let (arrived, arrivals) = mpsc::unbounded_channel();
        self.flights.lock().insert(volley, arrived);
        let to = (to.address, CANARY_PORT).into();
        Ok(Flight { volley, from: Arc::clone(&from.socket), to, flights: &self.flights, arrivals })
    }
}

/// A volley under way.
struct Flight<'a> {
    volley: u64,
    from: Arc<UdpSocket>,
    to: SocketAddr,
    flights: &'a Flights,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

impl Flight<'_> {
    async fn send(&self, sent: &mut Vec<Instant>) -> io::Result<()> {
        let number = u32::try_from(sent.len()).map_err(io::Error::other)?;
        sent.push(Instant::now());
        self.from.send_to(&canary(self.volley, number), self.to).await.map(|_| ())
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.volley);
    }
}

fn canary(volley: u64, number: u32) -> Vec<u8> {
    [&volley.to_be_bytes()[..], &number.to_be_bytes()].concat().repeat(LABELS)
}

/// Volley and number, and whether no bit was changed.
fn read(canary: &[u8]) -> Option<(u64, u32, bool)> {
    let mut labels = canary.chunks_exact(LABEL_BYTES);
    let (first, second, third) = (labels.next()?, labels.next()?, labels.next()?);
    // One changed bit is in one of them at most.
    let label = if first == second { first } else { third };
    let (volley, number) = label.split_at(8);
    let intact = canary.len() == CANARY_BYTES && canary.chunks_exact(LABEL_BYTES).all(|other| other == label);
    Some((u64::from_be_bytes(volley.try_into().ok()?), u32::from_be_bytes(number.try_into().ok()?), intact))
}

async fn receive(socket: Arc<UdpSocket>, flights: Arc<Flights>) {
    let mut buffer = [0; CANARY_BYTES + 1];
    loop {
        // What went wrong with one is nothing to those behind it.
        let Ok(length) = socket.recv(&mut buffer).await else { continue };
        let Some((volley, number, intact)) = read(&buffer[..length]) else { continue };
        if let Some(waiting) = flights.lock().get(&volley) {
            // Who waited may have given up at this very moment.
            let _ = waiting.send(Arrival { number, at: Instant::now(), intact });
        }
    }
}

#[allow(unsafe_code, reason = "SO_NO_CHECK has no safe wrapper")]
fn leave_out_checksums(socket: &OwnedFd) -> io::Result<()> {
    let (yes, length) = (1, size_of::<libc::c_int>() as libc::socklen_t);
    let yes: *const libc::c_int = &raw const yes;
    // SAFETY: the value outlives the call and has the length that is told.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, yes.cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, address: Ipv4Addr) -> io::Result<()> {
    Ok(rustix::net::bind(socket, &SocketAddr::from((address, CANARY_PORT)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_wherever_a_bit_was_flipped() {
        let whole = canary(1 << 40, 77);
        assert_eq!(read(&whole), Some((1 << 40, 77, true)));
        for bit in 0..CANARY_BYTES * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&damaged), Some((1 << 40, 77, false)), "bit {bit}");
        }
        assert_eq!(read(&whole[..CANARY_BYTES - 1]), Some((1 << 40, 77, false)));
        assert_eq!(read(b"short"), None);
    }

    #[test]
    fn fates_of_a_volley_are_told_apart() {
        let begin = Instant::now();
        let arrival = |number, intact| Arrival { number, at: begin + Duration::from_millis(5), intact };
        let arrivals = [arrival(1, true), arrival(0, true), arrival(3, false), arrival(3, true)];
        let volley = Volley::of(&[begin; 5], &arrivals);
        let fastest = Some(Duration::from_millis(5));
        assert_eq!(volley, Volley { sent: 5, lost: 2, twice: 1, overtaken: 1, damaged: 1, fastest });
        assert!(Volley::of(&[begin; 2], &[arrival(0, true), arrival(1, true)]).is_clean());
    }
}
