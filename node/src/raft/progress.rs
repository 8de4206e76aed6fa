//! What the leader knows about one follower, and how much it may send to it.
//!
//! A follower is *probed* with one append at a time until a position is found on which both logs agree, then
//! *replicated* to with a pipeline of appends that is bounded in messages and bytes (thesis, section 10.2.1). A follower that
//! lacks what the log no longer has gets a *snapshot*, part by part. Nothing here waits for a timer: a lost message is
//! noticed by the empty append, or the empty part, that follows a heartbeat.

use std::collections::VecDeque;

use super::Limits;
use super::log::Log;
use super::message::{Append, Body, Chunk};
use super::types::{Index, Millis, Round, Snapshot};

/// How entries are sent to a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Mode {
    /// Looking for the last common entry; `waiting` while an append is unanswered.
    Probe { waiting: bool },
    /// Sending ahead of the acknowledgements.
    Replicate,
    /// Sending what stands for entries that are gone.
    Snapshot(Transfer),
}

/// A snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Transfer {
    number: u64,
    snapshot: Snapshot,
    checksum: u32,
    /// Bytes that have arrived.
    received: u64,
    /// Whether the part after those is unanswered.
    waiting: bool,
}

impl Transfer {
    /// The next part, at most so many bytes of it.
    fn chunk(&self, limit_bytes: usize) -> Chunk {
        let size_bytes = self.snapshot.state.len();
        let from = usize::try_from(self.received).map_or(size_bytes, |from| from.min(size_bytes));
        let to = size_bytes.min(from + limit_bytes);
        Chunk {
            transfer: self.number,
            last: self.snapshot.last,
            members: self.snapshot.members.clone(),
            size_bytes: size_bytes as u64,
            checksum: self.checksum,
            offset: from as u64,
            data: self.snapshot.state.slice(from..to),
        }
    }
}

/// What a leader sends from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) log: &'a Log,
    pub(crate) commit: Index,
    /// What stands for the entries that the log no longer has.
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(crate) limits: &'a Limits,
}

/// One append that has not been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inflight {
    last: Index,
    size_bytes: usize,
}

/// The leader's view of one follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// Highest index known to be durable at the follower and equal to the leader's.
    pub(crate) matched: Index,
    /// The latest read round that the follower has confirmed.
    pub(crate) confirmed: Round,
    /// When the follower last answered anything in this term.
    pub(crate) heard: Millis,
    next: Index,
    mode: Mode,
    inflight: VecDeque<Inflight>,
    inflight_bytes: usize,
    /// Whether an append went out since the last heartbeat.
    active: bool,
}

impl Progress {
    /// The state at the start of a leadership: assume that the follower has everything (Raft, figure 2).
    pub(crate) fn new(last: Index, now: Millis) -> Self {
        Self {
            matched: Index(0),
            confirmed: Round(0),
            heard: now,
            next: last.next(),
            mode: Mode::Probe { waiting: false },
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            active: false,
        }
    }

    /// The next message to send, if the follower may get one. `transfers` counts those of this leadership.
    pub(crate) fn next_message(&mut self, source: Source<'_>, transfers: &mut u64) -> Option<Body> {
        if !self.may_send(source) {
            return None;
        }
        self.active = true;
        if let Mode::Snapshot(transfer) = &mut self.mode {
            transfer.waiting = true;
            return Some(Body::Chunk(transfer.chunk(source.limits.chunk_bytes)));
        }
        let Some(previous) = source.log.position(self.next.previous()) else {
            return Some(self.begin_snapshot(source, transfers));
        };
        let entries = source.log.slice(self.next, source.limits.append_bytes);
        let append = Append { previous, entries, commit: source.commit };
        match &mut self.mode {
            Mode::Probe { waiting } => *waiting = true,
            Mode::Replicate => self.note_sent(&append),
            Mode::Snapshot(_) => unreachable!("invariant: a snapshot is sent in chunks"),
        }
        Some(Body::Append(append))
    }

    fn begin_snapshot(&mut self, source: Source<'_>, transfers: &mut u64) -> Body {
        let snapshot = source.snapshot.expect("invariant: a snapshot stands for what the log lacks").clone();
        *transfers += 1;
        let checksum = crc32fast::hash(&snapshot.state);
        let transfer = Transfer { number: *transfers, snapshot, checksum, received: 0, waiting: true };
        let chunk = transfer.chunk(source.limits.chunk_bytes);
        self.forget_inflight();
        self.mode = Mode::Snapshot(transfer);
        Body::Chunk(chunk)
    }

    /// What follows a heartbeat: an empty append that reveals a lost one or repeats an unanswered probe, or an empty part of a
    /// snapshot that asks how much of it has arrived. It carries nothing because the follower may be dead.
    pub(crate) fn after_heartbeat(&mut self, source: Source<'_>) -> Option<Body> {
        let quiet = !std::mem::take(&mut self.active);
        let owes = self.matched < source.log.last_index();
        if !quiet || !owes {
            return None;
        }
        if let Mode::Snapshot(transfer) = &self.mode {
            return Some(Body::Chunk(transfer.chunk(0)));
        }
        // What the log no longer has cannot be asked for; the next message begins a snapshot.
        let Some(previous) = source.log.position(self.next.previous()) else {
            self.mode = Mode::Probe { waiting: false };
            self.forget_inflight();
            return None;
        };
        Some(Body::Append(Append { previous, entries: Vec::new(), commit: source.commit }))
    }

    /// So many bytes of a snapshot have arrived.
    pub(crate) fn chunk_received(&mut self, number: u64, received: u64) {
        if let Mode::Snapshot(transfer) = &mut self.mode
            && transfer.number == number
        {
            transfer.received = received;
            // The last part is answered by the acknowledgement that the whole is stored.
            transfer.waiting = received >= transfer.snapshot.state.len() as u64;
        }
    }

    /// The follower's log matches up to `matched`. Returns whether that is news.
    pub(crate) fn accepted(&mut self, matched: Index) -> bool {
        while self.inflight.front().is_some_and(|append| append.last <= matched) {
            let done = self.inflight.pop_front().expect("invariant: the front was just seen");
            self.inflight_bytes -= done.size_bytes;
        }
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        match &self.mode {
            // An answer to an earlier append does not end the transfer.
            Mode::Snapshot(transfer) if self.matched < transfer.snapshot.last.index => {}
            Mode::Snapshot(_) => {
                self.next = self.matched.next();
                self.mode = Mode::Replicate;
            }
            Mode::Probe { .. } | Mode::Replicate => self.mode = Mode::Replicate,
        }
        news
    }

    /// The follower lacks `previous`; `hint` is the best guess at the last common entry. Answers to appends that are no
    /// longer the question change nothing.
    pub(crate) fn rejected(&mut self, previous: Index, hint: Index) {
        let stale = match self.mode {
            Mode::Probe { .. } => previous != self.next.previous(),
            Mode::Replicate => previous <= self.matched,
            Mode::Snapshot(_) => true,
        };
        if stale {
            return;
        }
        self.next = previous.min(hint.next()).max(self.matched.next());
        self.mode = Mode::Probe { waiting: false };
        self.forget_inflight();
    }

    /// What control B21 does after every refusal, however late: send again what the follower may have.
    #[cfg(feature = "mutants")]
    pub(crate) fn set_back(&mut self, previous: Index, hint: Index) {
        self.next = previous.min(hint.next());
        self.mode = Mode::Probe { waiting: false };
        self.forget_inflight();
    }

    fn forget_inflight(&mut self) {
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    fn may_send(&self, source: Source<'_>) -> bool {
        match &self.mode {
            Mode::Probe { waiting } => !waiting,
            Mode::Replicate => self.next <= source.log.last_index() && self.has_room(source.limits),
            Mode::Snapshot(transfer) => !transfer.waiting,
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.inflight.len() < limits.inflight_messages && self.inflight_bytes < limits.inflight_bytes
    }

    fn note_sent(&mut self, append: &Append) {
        let size_bytes = append.entries.iter().map(|entry| entry.payload.size_bytes()).sum();
        let last = Index(append.previous.index.0 + append.entries.len() as u64);
        self.inflight.push_back(Inflight { last, size_bytes });
        self.inflight_bytes += size_bytes;
        self.next = last.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::membership::Membership;
    use crate::raft::types::{LogPosition, Payload, Term};

    fn log(length: u64) -> Log {
        let mut log = Log::recovered(LogPosition::default(), Membership::default(), Vec::new());
        for _ in 0..length {
            log.append(Term(1), Payload::Command(vec![0; 100].into()));
        }
        log
    }

    const LIMITS: Limits =
        Limits { append_bytes: 1, inflight_messages: 2, chunk_bytes: 4, ..Limits::DEFAULT };

    fn source(log: &Log) -> Source<'_> {
        Source { log, commit: Index(0), snapshot: None, limits: &LIMITS }
    }

    fn next(progress: &mut Progress, log: &Log) -> Option<Body> {
        progress.next_message(source(log), &mut 0)
    }

    #[test]
    fn probe_sends_one_append_at_a_time() {
        let (log, mut progress) = (log(3), Progress::new(Index(2), Millis(0)));
        assert!(next(&mut progress, &log).is_some());
        assert!(next(&mut progress, &log).is_none());
        progress.accepted(Index(3));
        assert!(next(&mut progress, &log).is_none(), "the follower has everything");
    }

    #[test]
    fn pipeline_is_bounded_in_messages() {
        let (log, mut progress) = (log(9), Progress::new(Index(9), Millis(0)));
        progress.accepted(Index(0));
        progress.next = Index(1);
        let sent = std::iter::from_fn(|| next(&mut progress, &log)).count();
        assert_eq!(sent, 2);
        progress.accepted(Index(1));
        assert!(next(&mut progress, &log).is_some());
    }

    #[test]
    fn late_rejection_does_not_move_next_below_matched() {
        let mut progress = Progress::new(Index(9), Millis(0));
        progress.accepted(Index(7));
        progress.rejected(Index(5), Index(0));
        assert_eq!(progress.next, Index(10));
        progress.rejected(Index(9), Index(0));
        assert_eq!(progress.next, Index(8));
    }

    #[test]
    fn heartbeat_reveals_a_lost_append() {
        let (log, mut progress) = (log(2), Progress::new(Index(1), Millis(0)));
        progress.accepted(Index(1));
        assert!(next(&mut progress, &log).is_some());
        assert!(progress.after_heartbeat(source(&log)).is_none(), "an append has just been sent");
        let Some(Body::Append(append)) = progress.after_heartbeat(source(&log)) else {
            panic!("a quiet follower owes an answer");
        };
        assert_eq!((append.previous.index, append.entries.len()), (Index(2), 0));
    }

    /// A log of six entries of which the first four are gone, and what stands for them.
    fn compacted() -> (Log, Snapshot) {
        let mut log = log(6);
        log.take_unwritten();
        let last = LogPosition { term: Term(1), index: Index(4) };
        log.compact(last);
        let (members, state) = (Membership::default(), "0123456789".into());
        (log, Snapshot { last, members, state })
    }

    #[test]
    fn follower_that_lacks_what_is_gone_gets_a_snapshot_part_by_part_and_then_the_rest() {
        let (log, snapshot) = compacted();
        let mut progress = Progress::new(Index(6), Millis(0));
        progress.rejected(Index(6), Index(2));
        let mut transfers = 0;
        let mut parts = Vec::new();
        let mut send = |progress: &mut Progress| {
            let source = Source { snapshot: Some(&snapshot), ..source(&log) };
            progress.next_message(source, &mut transfers)
        };
        while let Some(Body::Chunk(chunk)) = send(&mut progress) {
            assert!(send(&mut progress).is_none(), "one part at a time");
            progress.chunk_received(chunk.transfer, chunk.offset + chunk.data.len() as u64);
            parts.push(chunk.data);
        }
        assert_eq!(parts.concat(), b"0123456789");
        progress.accepted(Index(4));
        let Some(Body::Append(append)) = send(&mut progress) else { panic!("the rest follows") };
        assert_eq!((append.previous.index, append.entries[0].index), (Index(4), Index(5)));
    }

    #[test]
    fn lost_part_is_asked_for_after_a_heartbeat_and_answers_to_other_transfers_mean_nothing() {
        let (log, snapshot) = compacted();
        let source = Source { snapshot: Some(&snapshot), ..source(&log) };
        let mut progress = Progress::new(Index(6), Millis(0));
        progress.rejected(Index(6), Index(2));
        let Some(Body::Chunk(first)) = progress.next_message(source, &mut 7) else { panic!("a part") };
        progress.chunk_received(first.transfer + 1, 8);
        assert!(progress.after_heartbeat(source).is_none(), "a part has just been sent");
        let Some(Body::Chunk(empty)) = progress.after_heartbeat(source) else { panic!("a question") };
        assert_eq!((empty.transfer, empty.offset, empty.data.len()), (first.transfer, 0, 0));
        progress.chunk_received(first.transfer, 0);
        assert_eq!(progress.next_message(source, &mut 7), Some(Body::Chunk(first)));
    }
}
