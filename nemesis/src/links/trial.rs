//! Trials: what becomes of messages on a link at this moment?
//!
//! A trial is a connection like a canary's, in the framing of the system's own messages: so many numbered messages go in, the
//! stream is ended, and what comes out at the far end is compared with them. Its messages are not counted as effects.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::canary::dial;
use super::messages::Framing;
use crate::{Link, Registry};

/// The number of the trial and that of the message.
const MESSAGE_BYTES: usize = 16;

/// What became of the messages of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trial {
    /// That never arrived.
    pub lost: usize,
    /// That arrived once more.
    pub repeated: usize,
    /// That arrived after one that was sent later.
    pub overtaken: usize,
    /// How long the slowest took.
    pub slowest: Duration,
}

impl Trial {
    fn of(sent: u64, begin: Instant, arrivals: &[Arrival]) -> Self {
        let mut seen = BTreeSet::new();
        let mut trial = Self::default();
        for Arrival { message, at } in arrivals {
            trial.slowest = trial.slowest.max(at.saturating_duration_since(begin));
            if !seen.insert(*message) {
                trial.repeated += 1;
            } else if seen.last() > Some(message) {
                trial.overtaken += 1;
            }
        }
        trial.lost = usize::try_from(sent).unwrap_or(usize::MAX) - seen.len();
        trial
    }
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    message: u64,
    at: Instant,
}

/// Trials that have not come to their end.
type Awaited = HashMap<u64, oneshot::Sender<Vec<Arrival>>>;

/// All trials of a cluster whose messages can be told apart.
#[derive(Debug)]
pub(super) struct Trials {
    pub(super) framing: Framing,
    /// Where the connections end.
    pub(super) upstream: SocketAddr,
    awaited: Arc<Mutex<Awaited>>,
    next: AtomicU64,
}

impl Trials {
    pub(super) fn new(framing: Framing, upstream: SocketAddr) -> Self {
        Self { framing, upstream, awaited: Arc::default(), next: AtomicU64::default() }
    }

    /// Receives messages at the far end of all links until aborted.
    pub(super) fn receive(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let (framing, awaited) = (self.framing, Arc::clone(&self.awaited));
        async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        let awaited = Arc::clone(&awaited);
                        connections.spawn(async move {
                            let (trial, arrivals) = read_messages(stream, framing).await?;
                            // Who waited may have given up at this very moment.
                            lock(&awaited).remove(&trial)?.send(arrivals).ok()
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }
    }

    /// Sends so many messages over a link; `None` when the connection did not come to its end within `wait`.
    pub(super) async fn send(
        &self,
        link: &Link,
        messages: u64,
        door: SocketAddr,
        registry: &Registry,
        wait: Duration,
    ) -> io::Result<Option<Trial>> {
        let Some((mut stream, _loan)) = dial(link, door, registry).await? else { return Ok(None) };
        let trial = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = vec![0; self.framing.preamble_bytes];
        for message in 0..messages {
            text.extend(self.framing.frame(&[trial.to_be_bytes(), message.to_be_bytes()].concat()));
        }
        let (over, arrived) = oneshot::channel();
        lock(&self.awaited).insert(trial, over);
        let begin = Instant::now();
        let exchange = async {
            stream.write_all(&text).await.ok()?;
            stream.shutdown().await.ok()?;
            tokio::select! {
                arrivals = arrived => arrivals.ok(),
                () = broken(&mut stream) => None,
            }
        };
        let arrivals = timeout(wait, exchange).await.ok().flatten();
        lock(&self.awaited).remove(&trial);
        Ok(arrivals.map(|arrivals| Trial::of(messages, begin, &arrivals)))
    }
}

/// Waits until a connection is reset; the far end says nothing.
async fn broken(stream: &mut TcpStream) {
    if stream.read(&mut [0]).await.is_ok() {
        std::future::pending().await
    }
}

// Every change is a single operation.
fn lock(awaited: &Mutex<Awaited>) -> MutexGuard<'_, Awaited> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads to the end of the stream; the trial that it was, if any message arrived and the stream was ended in order.
async fn read_messages(stream: TcpStream, framing: Framing) -> Option<(u64, Vec<Arrival>)> {
    let mut stream = BufReader::new(stream);
    let mut framed = vec![0; framing.preamble_bytes];
    stream.read_exact(&mut framed).await.ok()?;
    framed.resize(framing.header_bytes + MESSAGE_BYTES, 0);
    let (mut trial, mut arrivals) = (None, Vec::new());
    loop {
        if let Err(error) = stream.read_exact(&mut framed).await {
            // A connection that was reset says nothing of what would have come.
            let is_over = error.kind() == io::ErrorKind::UnexpectedEof;
            return trial.filter(|_| is_over).map(|trial| (trial, arrivals));
        }
        let number =
            |at: usize| framed[framing.header_bytes + at..].first_chunk().copied().map(u64::from_be_bytes);
        trial = trial.or(number(0));
        arrivals.extend(number(8).map(|message| Arrival { message, at: Instant::now() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_compared_with_what_was_sent() {
        let begin = Instant::now();
        let arrivals = [0, 2, 1, 1, 4].map(|message| Arrival { message, at: begin });
        let trial = Trial { lost: 2, repeated: 1, overtaken: 1, slowest: Duration::ZERO };
        assert_eq!(Trial::of(6, begin, &arrivals), trial);
    }
}
