//! Linearizable reads without writing: read index (thesis, section 6.4).
//!
//! A read remembers the commit index, a majority confirms that this node still led after the read arrived, and the read is
//! answered once that index is applied. Reads that wait share one round of heartbeats. A round confirms only the reads
//! that were there when it was sent: an answer to an older heartbeat says nothing about the time after it
//! (etcd-io/etcd#20418). Before an entry of the own term is committed the commit index may lag behind, so reads wait.

use std::collections::VecDeque;

use super::types::{Index, NodeId, RequestId, Round};
use super::{Answer, Core, Role};
use crate::mutant::mutant;

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

    fn open_round(&mut self, index: Index) {
        self.latest = Round(self.latest.0 + 1);
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

    /// Sends one round for all reads that wait.
    pub(super) fn open_read_round(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let reads = &mut leadership.reads;
        let current = self.log.term_at(self.commit) == Some(self.hard_state.term);
        if reads.waiting.is_empty() || reads.rounds.len() >= self.config.limits.read_rounds || !current {
            return;
        }
        reads.open_round(self.commit);
        self.send_heartbeats();
        // A single voter is its own majority and gets no answers.
        self.answer_reads();
    }

    /// Answers the reads of confirmed rounds. Runs after `apply`, so that the state is at least as new as their index.
    pub(super) fn answer_reads(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        if leadership.reads.rounds.is_empty() {
            return;
        }
        let (progress, latest) = (&leadership.progress, leadership.reads.latest);
        let round_of = |id: NodeId| progress.get(&id).map_or(latest, |peer| peer.confirmed);
        let Some(confirmed) = self.log.members().reached(round_of) else {
            return;
        };
        while let Some(round) = leadership.reads.take_confirmed(confirmed) {
            assert!(round.index <= self.applied, "invariant: committed entries are applied before reads");
            for request in round.requests {
                self.outbox.answer(request, Answer::ReadReady);
            }
        }
    }
}
