//! What the leader knows about one follower, and how much it may send to it.
//!
//! A follower is *probed* with one append at a time until a position is found on which both logs agree, then
//! *replicated* to with a pipeline of appends that is bounded in messages and bytes (thesis, section 10.2.1). Nothing
//! here waits for a timer: a lost message is noticed by the empty append that follows a heartbeat.

use std::collections::VecDeque;

use super::Limits;
use super::log::Log;
use super::message::Append;
use super::types::{Index, LogPosition, Millis, Round};

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Looking for the last common entry; `waiting` while an append is unanswered.
    Probe { waiting: bool },
    /// Sending ahead of the acknowledgements.
    Replicate,
}

/// One append that has not been acknowledged.
#[derive(Clone, Copy, Debug)]
struct Inflight {
    last: Index,
    size_bytes: usize,
}

/// The leader's view of one follower.
#[derive(Clone, Debug)]
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

    /// The next append to send, if the follower may get one.
    pub(crate) fn next_append(&mut self, log: &Log, commit: Index, limits: &Limits) -> Option<Append> {
        if !self.may_send(log, limits) {
            return None;
        }
        let append = Append {
            previous: self.previous(log),
            entries: log.slice(self.next, limits.append_bytes),
            commit,
        };
        self.active = true;
        match &mut self.mode {
            Mode::Probe { waiting } => *waiting = true,
            Mode::Replicate => self.note_sent(&append),
        }
        Some(append)
    }

    /// What follows a heartbeat: an empty append that reveals a lost one or repeats an unanswered probe. It carries no
    /// entries because the follower may be dead.
    pub(crate) fn after_heartbeat(&mut self, log: &Log, commit: Index) -> Option<Append> {
        let quiet = !std::mem::take(&mut self.active);
        let owes = self.matched < log.last_index();
        (quiet && owes).then(|| Append { previous: self.previous(log), entries: Vec::new(), commit })
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
        self.mode = Mode::Replicate;
        news
    }

    /// The follower lacks `previous`; `hint` is the best guess at the last common entry. Answers to appends that are no
    /// longer the question change nothing.
    pub(crate) fn rejected(&mut self, previous: Index, hint: Index) {
        let stale = match self.mode {
            Mode::Probe { .. } => previous != self.next.previous(),
            Mode::Replicate => previous <= self.matched,
        };
        if stale {
            return;
        }
        self.next = previous.min(hint.next()).max(self.matched.next());
        self.mode = Mode::Probe { waiting: false };
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    fn may_send(&self, log: &Log, limits: &Limits) -> bool {
        match self.mode {
            Mode::Probe { waiting } => !waiting,
            Mode::Replicate => self.next <= log.last_index() && self.has_room(limits),
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.inflight.len() < limits.inflight_messages && self.inflight_bytes < limits.inflight_bytes
    }

    fn previous(&self, log: &Log) -> LogPosition {
        log.position(self.next.previous()).expect("invariant: the leader has what it sent")
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
    use crate::raft::types::{Payload, Term};

    fn log(length: u64) -> Log {
        let mut log = Log::recovered(Vec::new());
        for _ in 0..length {
            log.append(Term(1), Payload::Command(vec![0; 100].into()));
        }
        log
    }

    fn limits() -> Limits {
        Limits { append_bytes: 1, inflight_messages: 2, ..Limits::default() }
    }

    #[test]
    fn probe_sends_one_append_at_a_time() {
        let (log, mut progress) = (log(3), Progress::new(Index(2), Millis(0)));
        assert!(progress.next_append(&log, Index(0), &limits()).is_some());
        assert!(progress.next_append(&log, Index(0), &limits()).is_none());
        progress.accepted(Index(3));
        assert!(progress.next_append(&log, Index(0), &limits()).is_none(), "the follower has everything");
    }

    #[test]
    fn pipeline_is_bounded_in_messages() {
        let (log, mut progress) = (log(9), Progress::new(Index(9), Millis(0)));
        progress.accepted(Index(0));
        progress.next = Index(1);
        let sent = std::iter::from_fn(|| progress.next_append(&log, Index(0), &limits())).count();
        assert_eq!(sent, 2);
        progress.accepted(Index(1));
        assert!(progress.next_append(&log, Index(0), &limits()).is_some());
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
        assert!(progress.next_append(&log, Index(0), &limits()).is_some());
        assert!(progress.after_heartbeat(&log, Index(0)).is_none(), "an append has just been sent");
        let append = progress.after_heartbeat(&log, Index(0)).expect("a quiet follower that owes an answer");
        assert_eq!((append.previous.index, append.entries.len()), (Index(2), 0));
    }
}
