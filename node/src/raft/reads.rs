//! Linearizable reads without writing: read index (thesis, section 6.4), and leases as an option (section 6.4.1).
//!
//! A read remembers the commit index, a majority confirms that this node still led after the read arrived, and the read is
//! answered once that index is applied. Reads that wait share one round of heartbeats. A round confirms only the reads
//! that were there when it was sent: an answer to an older heartbeat says nothing about the time after it
//! (etcd-io/etcd#20418). Before an entry of the own term is committed the commit index may lag behind, so reads wait.
//!
//! # Leases
//! With `Config::lease_reads` every heartbeat is a round of its own. Whoever answers it promises to elect nobody else for an
//! election timeout (`Core::is_bound_by_lease`), so a leader whose round a majority has answered reads from its own state for
//! nearly that long, **counted from when the round was sent**, and without asking anybody. Reads beyond the lease take the
//! way above.
//!
//! **What this assumes of clocks:** within an election timeout the clocks of any two nodes advance at rates that differ by at
//! most [`DRIFT_PERCENT`] percent, and go on while the machine sleeps. What time it is does not matter, and the clock must
//! not follow the time of day. Where that is broken, reads may be stale; nothing else depends on it.
//!
//! A lease ends with the leadership, and when the leader asks another to take over: voters do not keep their promise then, and the
//! question may be late (tikv/raft-rs#234). A leader goes without a lease for the rest of that term.

use std::collections::VecDeque;

use super::types::{Index, Millis, NodeId, RequestId, Round};
use super::{Answer, Core, Role};
use crate::mutant::mutant;

/// How much the rates of two clocks may differ.
const DRIFT_PERCENT: u64 = 10;
/// Times are whole milliseconds, at both ends of a span and at two nodes.
const ROUNDING_MS: u64 = 2;

/// The reads of one leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// Arrived after the latest round was sent.
    waiting: Vec<RequestId>,
    /// Sent and not yet confirmed, oldest first.
    rounds: VecDeque<ReadRound>,
    latest: Round,
    /// Reads in `rounds`.
    in_rounds: usize,
    /// When the rounds were sent that a lease may begin with, oldest first.
    sent: VecDeque<(Round, Millis)>,
    /// When the latest round was sent that a majority has answered.
    lease_began: Option<Millis>,
    gave_up_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReadRound {
    round: Round,
    /// The commit index when the round was sent.
    index: Index,
    requests: Vec<RequestId>,
}

impl Reads {
    /// The number of the last round that was sent.
    pub(super) fn latest_round(&self) -> Round {
        self.latest
    }

    /// Every read that has no answer.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.rounds.into_iter().flat_map(|round| round.requests).chain(self.waiting)
    }

    fn count(&self) -> usize {
        self.waiting.len() + self.in_rounds
    }

    /// Numbers a round that is about to be sent.
    pub(super) fn begin_round(&mut self, now: Millis) {
        self.latest = Round(self.latest.0 + 1);
        self.sent.push_back((self.latest, now));
    }

    /// Uses no lease any more.
    pub(super) fn give_up_lease(&mut self) {
        self.gave_up_lease = true;
    }

    /// A majority has answered this round.
    fn extend_lease(&mut self, confirmed: Round) {
        while let Some((_, sent)) = self.sent.pop_front_if(|(round, _)| *round <= confirmed) {
            self.lease_began = Some(sent);
        }
    }

    fn has_lease(&self, now: Millis, election: Millis) -> bool {
        let lasts = Millis((election.0 * (100 - DRIFT_PERCENT) / 100).saturating_sub(ROUNDING_MS));
        !self.gave_up_lease && self.lease_began.is_some_and(|began| now.since(began) < lasts)
    }

    fn open_round(&mut self, index: Index, now: Millis) {
        self.begin_round(now);
        let requests = std::mem::take(&mut self.waiting);
        self.in_rounds += requests.len();
        self.rounds.push_back(ReadRound { round: self.latest, index, requests });
    }

    fn take_confirmed(&mut self, confirmed: Round) -> Option<ReadRound> {
        self.rounds.front().filter(|round| round.round <= confirmed)?;
        let round = self.rounds.pop_front()?;
        self.in_rounds -= round.requests.len();
        Some(round)
    }
}

impl Core {
    pub(super) fn read(&mut self, request: RequestId) {
        #[cfg(feature = "mutants")]
        if mutant!(self.config, C10)
            && self.applied == self.snapshots.latest().map_or(Index(0), |latest| latest.last.index)
        {
            return self.outbox.answer(request, Answer::ReadReady);
        }
        let Role::Leader(leadership) = &mut self.role else {
            return self.outbox.answer(request, Answer::NotLeader(self.leader));
        };
        if mutant!(self.config, C1) {
            return self.outbox.answer(request, Answer::ReadReady);
        }
        if leadership.reads.count() >= self.config.limits.pending_reads {
            return self.outbox.answer(request, Answer::Overloaded);
        }
        leadership.reads.waiting.push(request);
    }

    /// Answers all reads that wait under the lease, or sends one round for them. Runs after `apply`.
    pub(super) fn open_read_round(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let reads = &mut leadership.reads;
        let current = self.log.term_at(self.commit) == Some(self.hard_state.term) || mutant!(self.config, C3);
        if reads.waiting.is_empty() || !current {
            return;
        }
        if self.config.lease_reads && reads.has_lease(self.now, self.config.election) {
            for request in reads.waiting.drain(..) {
                self.outbox.answer(request, Answer::ReadReady);
            }
            return;
        }
        if reads.rounds.len() >= self.config.limits.read_rounds {
            return;
        }
        reads.open_round(self.commit, self.now);
        self.send_heartbeats();
        // A single voter is its own majority and gets no answers.
        self.answer_reads();
    }

    /// Answers the reads of confirmed rounds. Runs after `apply`, so that the state is at least as new as their index.
    pub(super) fn answer_reads(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        if leadership.reads.sent.is_empty() {
            return;
        }
        let (progress, latest) = (&leadership.progress, leadership.reads.latest);
        let round_of = |id: NodeId| progress.get(&id).map_or(latest, |peer| peer.confirmed);
        let Some(confirmed) = self.log.members().reached(round_of) else {
            return;
        };
        leadership.reads.extend_lease(confirmed);
        while let Some(round) = leadership.reads.take_confirmed(confirmed) {
            let is_applied = round.index <= self.applied || mutant!(self.config, C5);
            assert!(is_applied, "invariant: committed entries are applied before reads");
            for request in round.requests {
                self.outbox.answer(request, Answer::ReadReady);
            }
        }
    }
}
