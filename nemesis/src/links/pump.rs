//! One direction of one connection: reads from one socket, keeps bytes as long as the rule wants, writes to the other.
//!
//! Guarantees: bytes arrive in order and none is dropped; the end of the stream, or its reset, waits behind the bytes and
//! obeys the rule like them, so that nothing crosses a cut, not even the news that a process died. What waits
//! is bounded by [`QUEUE_LIMIT_BYTES`]; then the source feels backpressure.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::lane::{Lane, count};
use super::rule::Rule;

/// What one direction of one connection keeps at most. At a delay of 300 ms it lets 13 MB/s pass.
pub(super) const QUEUE_LIMIT_BYTES: usize = 4 << 20;
/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// How a direction came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PumpEnd {
    /// The source ended the stream, and the destination got all of it.
    Finished,
    /// The destination's socket broke. The source hears of it by way of the other direction, and its rule.
    Unwritable,
}

/// The source's socket broke, and the rule lets the destination know: the connection is to be reset.
#[derive(Debug)]
pub(super) struct Reset;

enum Piece {
    Bytes(Vec<u8>),
    /// The source will send nothing more.
    End,
    /// The source's socket broke.
    Reset,
}

struct Waiting {
    piece: Piece,
    /// How much of it was written.
    written: usize,
    /// Not before; `None` = at once.
    release: Option<Instant>,
    /// Whether it was counted as held.
    held: bool,
}

pub(super) struct Pump {
    lane: Lane,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    /// Nothing more is read.
    source_ended: bool,
    total_in: u64,
    total_out: u64,
    dice: Pcg64,
}

/// What can be done about the first piece that waits.
enum Front {
    Nothing,
    Later(Instant),
    Due,
}

impl Pump {
    pub(super) fn new(lane: Lane, seed: u64) -> Self {
        let dice = Pcg64::seed_from_u64(seed);
        let queue = VecDeque::new();
        Self { lane, queue, queued_bytes: 0, source_ended: false, total_in: 0, total_out: 0, dice }
    }

    /// Moves bytes until the stream ends or breaks.
    pub(super) async fn run(
        mut self,
        mut source: impl AsyncRead + Unpin,
        mut destination: impl AsyncWrite + Unpin,
    ) -> Result<PumpEnd, Reset> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let rule = *self.lane.rule.borrow_and_update();
            self.count_held(rule);
            let front = self.front(rule);
            let reads = !self.source_ended && self.queued_bytes < QUEUE_LIMIT_BYTES;
            tokio::select! {
                // A cut acts before the next byte, and what waits goes out before more comes in.
                biased;
                changed = self.lane.rule.changed() => changed.map_err(|_| Reset)?,
                wrote = write_front(&mut self.queue, &mut destination), if matches!(front, Front::Due) => {
                    if let Some(end) = self.wrote(wrote) {
                        return end;
                    }
                }
                () = sleep_until(front.time()), if matches!(front, Front::Later(_)) => {}
                read = source.read(&mut buffer), if reads => self.take(read.map(|n| &buffer[..n]), rule),
            }
        }
    }

    fn front(&self, rule: Rule) -> Front {
        match self.queue.front() {
            None => Front::Nothing,
            Some(_) if rule.held => Front::Nothing,
            Some(Waiting { release: Some(at), .. }) if *at > Instant::now() => Front::Later(*at),
            Some(_) => Front::Due,
        }
    }

    /// Queues what was read.
    fn take(&mut self, read: io::Result<&[u8]>, rule: Rule) {
        let piece = match read {
            Ok([]) => Piece::End,
            Ok(bytes) => Piece::Bytes(bytes.to_vec()),
            Err(_) => Piece::Reset,
        };
        let release = self.release(rule);
        match &piece {
            Piece::Bytes(bytes) => {
                self.queued_bytes += bytes.len();
                self.total_in += bytes.len() as u64;
                count(&self.lane.counters.bytes_in, bytes.len());
                if release.is_some() {
                    count(&self.lane.counters.bytes_delayed, bytes.len());
                }
            }
            Piece::End | Piece::Reset => self.source_ended = true,
        }
        self.queue.push_back(Waiting { piece, written: 0, release, held: false });
    }

    /// When the next piece may go: never before the one that waits in front of it.
    fn release(&mut self, rule: Rule) -> Option<Instant> {
        let before = self.queue.back().and_then(|last| last.release);
        if rule.latest().is_zero() {
            return before;
        }
        let late = rule.delay + part_of(rule.jitter, self.dice.next_u32());
        before.max(Some(Instant::now() + late))
    }

    fn count_held(&mut self, rule: Rule) {
        if !rule.held {
            return;
        }
        for waiting in self.queue.iter_mut().rev().take_while(|waiting| !waiting.held) {
            waiting.held = true;
            if let Piece::Bytes(bytes) = &waiting.piece {
                count(&self.lane.counters.bytes_held, bytes.len() - waiting.written);
            }
        }
    }

    /// Accounts for what was written of the first piece; says whether that was the end.
    fn wrote(&mut self, wrote: io::Result<usize>) -> Option<Result<PumpEnd, Reset>> {
        let Ok(count_out) = wrote else { return Some(Ok(PumpEnd::Unwritable)) };
        let front = self.queue.front_mut()?;
        match &front.piece {
            Piece::Bytes(bytes) => {
                front.written += count_out;
                let done = front.written == bytes.len();
                self.queued_bytes -= count_out;
                self.total_out += count_out as u64;
                count(&self.lane.counters.bytes_out, count_out);
                if done {
                    self.queue.pop_front();
                }
                None
            }
            Piece::End => {
                assert_eq!(self.total_in, self.total_out, "invariant: an ended stream was delivered whole");
                Some(Ok(PumpEnd::Finished))
            }
            Piece::Reset => Some(Err(Reset)),
        }
    }
}

impl Front {
    fn time(&self) -> Instant {
        match self {
            Self::Later(at) => *at,
            Self::Nothing | Self::Due => Instant::now(),
        }
    }
}

/// Writes what it can of the first piece. Dropping the future between two polls loses nothing: the only
/// wait is the one for room in the socket.
async fn write_front(
    queue: &mut VecDeque<Waiting>,
    destination: &mut (impl AsyncWrite + Unpin),
) -> io::Result<usize> {
    match queue.front() {
        Some(Waiting { piece: Piece::Bytes(bytes), written, .. }) => {
            destination.write(&bytes[*written..]).await
        }
        Some(Waiting { piece: Piece::End, .. }) => destination.shutdown().await.map(|()| 0),
        Some(Waiting { piece: Piece::Reset, .. }) | None => Ok(0),
    }
}

/// `numerator` of 2^32 parts of a duration.
fn part_of(whole: Duration, numerator: u32) -> Duration {
    whole.mul_f64(f64::from(numerator) / f64::from(u32::MAX))
}
