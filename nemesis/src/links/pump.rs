//! One direction of one connection: reads from one socket, keeps bytes as long as the rule wants, writes to the other.
//!
//! Guarantees: bytes arrive in order and none is dropped, unless the rule is about single messages; the end of the stream, or
//! its reset, waits behind the bytes and obeys the rule like them, so that nothing crosses a cut, not even the news that a
//! process died. What waits is bounded by [`QUEUE_LIMIT_BYTES`], and to the bytes of a second when the link is
//! narrow; then the source feels backpressure.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::lane::{Lane, closed, count};
use super::messages::{Framing, Messages};
use super::meter::Quantum;
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
    /// What was queued and what was written, in all.
    total_queued: u64,
    total_out: u64,
    /// What a narrow link lets pass next.
    quantum: Option<Quantum>,
    /// Of a stream whose messages can be told apart.
    messages: Option<Messages>,
    dice: Pcg64,
}

/// What can be done about the first piece that waits.
enum Front {
    Nothing,
    Later(Instant),
    Due,
}

impl Pump {
    pub(super) fn new(lane: Lane, framing: Option<Framing>, seed: u64) -> Self {
        Self {
            lane,
            queue: VecDeque::new(),
            queued_bytes: 0,
            source_ended: false,
            total_queued: 0,
            total_out: 0,
            quantum: None,
            messages: framing.map(Messages::new),
            dice: Pcg64::seed_from_u64(seed),
        }
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
            self.take_due_messages(rule);
            self.count_held(rule);
            let front = self.front(rule);
            let next = self.next_time(&front);
            let reads = !self.source_ended && self.waiting_bytes() < queue_limit(rule);
            tokio::select! {
                // A cut acts before the next byte, and what waits goes out before more comes in.
                biased;
                changed = self.lane.rule.changed() => changed.map_err(|_| Reset)?,
                () = closed(&mut self.lane.closes) => {
                    // Not the source ends the stream, so nothing that it does is late.
                    self.end(Piece::End, Rule { end_delay: Duration::ZERO, ..rule });
                }
                wrote = write_front(&mut self.queue, self.quantum, &mut destination), if matches!(front, Front::Due) => {
                    if let Some(end) = self.wrote(wrote) {
                        return end;
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                read = source.read(&mut buffer), if reads => match read {
                    Ok(0) => self.end(Piece::End, rule),
                    Ok(count) => self.take(&buffer[..count], rule),
                    Err(_) => self.end(Piece::Reset, rule),
                },
            }
        }
    }

    fn front(&mut self, rule: Rule) -> Front {
        let now = Instant::now();
        let Some(front) = self.queue.front().filter(|_| !rule.held) else { return Front::Nothing };
        if let Some(at) = front.release.filter(|at| *at > now) {
            return Front::Later(at);
        }
        let (Some(rate), Piece::Bytes(bytes)) = (rule.rate, &front.piece) else {
            self.quantum = None;
            return Front::Due;
        };
        let waiting = bytes.len() - front.written;
        let quantum = self.quantum.get_or_insert_with(|| {
            let quantum = self.lane.meter.reserve(rate, waiting, now);
            count(&self.lane.counters.bytes_slowed, quantum.bytes);
            quantum
        });
        if quantum.at > now { Front::Later(quantum.at) } else { Front::Due }
    }

    /// When something can be done that cannot be done now.
    fn next_time(&self, front: &Front) -> Option<Instant> {
        let later = match front {
            Front::Later(at) => Some(*at),
            Front::Nothing | Front::Due => None,
        };
        let message = self.messages.as_ref().and_then(Messages::next_due);
        later.into_iter().chain(message).min()
    }

    fn waiting_bytes(&self) -> usize {
        self.queued_bytes + self.messages.as_ref().map_or(0, Messages::aside_bytes)
    }

    /// Queues what was read.
    fn take(&mut self, bytes: &[u8], rule: Rule) {
        count(&self.lane.counters.bytes_in, bytes.len());
        let Some(messages) = &mut self.messages else { return self.queue_bytes(bytes.to_vec(), None, rule) };
        let going = messages.take(bytes, rule.messages, &mut self.dice);
        count(&self.lane.counters.messages, going.hit);
        self.queue_bytes(going.bytes, None, rule);
    }

    fn take_due_messages(&mut self, rule: Rule) {
        if let Some(messages) = &mut self.messages {
            let due = messages.due(Instant::now());
            self.queue_bytes(due, None, rule);
        }
    }

    fn queue_bytes(&mut self, bytes: Vec<u8>, earliest: Option<Instant>, rule: Rule) {
        if bytes.is_empty() {
            return;
        }
        let release = self.release(rule.delay, rule.jitter).max(earliest);
        self.queued_bytes += bytes.len();
        self.total_queued += bytes.len() as u64;
        if release.is_some() {
            count(&self.lane.counters.bytes_delayed, bytes.len());
        }
        self.queue.push_back(Waiting { piece: Piece::Bytes(bytes), written: 0, release, held: false });
    }

    /// Queues the end of the stream behind everything that came before it.
    fn end(&mut self, piece: Piece, rule: Rule) {
        if std::mem::replace(&mut self.source_ended, true) {
            return;
        }
        let left = self.messages.as_mut().map(Messages::finish);
        left.into_iter().flatten().for_each(|(bytes, due)| self.queue_bytes(bytes, due, rule));
        count(&self.lane.counters.late_ends, usize::from(!rule.end_delay.is_zero()));
        let release = self.release(rule.delay + rule.end_delay, rule.jitter);
        self.queue.push_back(Waiting { piece, written: 0, release, held: false });
    }

    /// When the next piece may go: never before the one that waits in front of it.
    fn release(&mut self, delay: Duration, jitter: Duration) -> Option<Instant> {
        let before = self.queue.back().and_then(|last| last.release);
        if (delay + jitter).is_zero() {
            return before;
        }
        let late = delay + part_of(jitter, self.dice.next_u32());
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
                self.quantum = self.quantum.and_then(|quantum| quantum.without(count_out));
                self.queued_bytes -= count_out;
                self.total_out += count_out as u64;
                count(&self.lane.counters.bytes_out, count_out);
                if done {
                    self.queue.pop_front();
                }
                None
            }
            Piece::End => {
                assert_eq!(
                    self.total_queued, self.total_out,
                    "invariant: an ended stream was delivered whole"
                );
                Some(Ok(PumpEnd::Finished))
            }
            Piece::Reset => Some(Err(Reset)),
        }
    }
}

/// What may wait on a link.
fn queue_limit(rule: Rule) -> usize {
    rule.rate.map_or(QUEUE_LIMIT_BYTES, |rate| QUEUE_LIMIT_BYTES.min(rate.get() as usize))
}

/// Writes what it can and may of the first piece. Dropping the future between two polls loses nothing: the only
/// wait is the one for room in the socket.
async fn write_front(
    queue: &mut VecDeque<Waiting>,
    quantum: Option<Quantum>,
    destination: &mut (impl AsyncWrite + Unpin),
) -> io::Result<usize> {
    match queue.front() {
        Some(Waiting { piece: Piece::Bytes(bytes), written, .. }) => {
            let waiting = &bytes[*written..];
            let most = quantum.map_or(waiting.len(), |quantum| quantum.bytes.min(waiting.len()));
            destination.write(&waiting[..most]).await
        }
        Some(Waiting { piece: Piece::End, .. }) => destination.shutdown().await.map(|()| 0),
        Some(Waiting { piece: Piece::Reset, .. }) | None => Ok(0),
    }
}

/// `numerator` of 2^32 parts of a duration.
fn part_of(whole: Duration, numerator: u32) -> Duration {
    whole.mul_f64(f64::from(numerator) / f64::from(u32::MAX))
}
