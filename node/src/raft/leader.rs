//! The leading side: proposals, replication, commitment, and giving up without a quorum.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::{AppendReply, Body};
use super::progress::Progress;
use super::reads::Reads;
use super::types::{Entry, Index, LogPosition, Millis, NodeId, Payload, RequestId, Round};
use super::{Answer, Core, Role};
use crate::mutant::mutant;

/// What a leader remembers; gone when its term ends.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    /// Its view of every other voter.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// How far its own log is durable. A leader is only one more follower of itself: it must not count what it has not
    /// stored (thesis, section 10.2.1).
    pub(super) own_durable: Index,
    /// Reads and their rounds.
    pub(super) reads: Reads,
    last_heartbeat: Millis,
    /// Requests by the entry that carries them. The term is part of the key: another leader's entry at the same index
    /// is not an answer.
    proposals: BTreeMap<LogPosition, Proposal>,
    proposal_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Proposal {
    request: RequestId,
    size_bytes: usize,
}

impl Leadership {
    /// Notes that `from` answered in this term.
    pub(super) fn heard(&mut self, from: NodeId, now: Millis) {
        if let Some(progress) = self.progress.get_mut(&from) {
            progress.heard = now;
        }
    }
}

impl Core {
    pub(super) fn become_leader(&mut self) {
        let (last, now) = (self.log.last_index(), self.now);
        let progress = self.peers().map(|peer| (peer, Progress::new(last, now))).collect();
        self.role = Role::Leader(Box::new(Leadership {
            progress,
            own_durable: Index(0),
            reads: Reads::default(),
            last_heartbeat: now,
            proposals: BTreeMap::new(),
            proposal_bytes: 0,
        }));
        self.leader = Some(self.config.id);
        self.log.append(self.hard_state.term, Payload::Noop);
    }

    /// Answers everything that waits for a leadership that has ended.
    pub(super) fn abandon(&mut self, leadership: Leadership) {
        for proposal in leadership.proposals.into_values() {
            self.outbox.answer(proposal.request, Answer::UnknownOutcome);
        }
        for request in leadership.reads.into_requests() {
            self.outbox.answer(request, Answer::NoQuorum);
        }
    }

    pub(super) fn propose(&mut self, request: RequestId, command: Bytes) {
        let Role::Leader(leadership) = &mut self.role else {
            return self.outbox.answer(request, Answer::NotLeader(self.leader));
        };
        let size_bytes = command.len();
        let limits = &self.config.limits;
        let too_many = leadership.proposals.len() >= limits.pending_proposals;
        if too_many || leadership.proposal_bytes + size_bytes > limits.pending_bytes {
            return self.outbox.answer(request, Answer::Overloaded);
        }
        let position = self.log.append(self.hard_state.term, Payload::Command(command));
        #[cfg(feature = "mutants")]
        if mutant!(self.config, B6) {
            return self.outbox.answer(request, Answer::Appended(position.index));
        }
        leadership.proposal_bytes += size_bytes;
        leadership.proposals.insert(position, Proposal { request, size_bytes });
    }

    /// The request that waits for exactly this entry.
    pub(super) fn take_proposal(&mut self, entry: &Entry) -> Option<RequestId> {
        let Role::Leader(leadership) = &mut self.role else {
            return None;
        };
        let position = LogPosition { term: entry.term, index: entry.index };
        let proposal = leadership.proposals.remove(&position)?;
        leadership.proposal_bytes -= proposal.size_bytes;
        Some(proposal.request)
    }

    /// A leader's tick: give up without a quorum (check-quorum, thesis section 6.2), else give signs of life.
    ///
    /// Its patience is the longest election timeout that a follower may draw, so that a short delay does not cost the
    /// cluster a leader that nobody else has missed. Reads do not lean on it: each has its own round.
    pub(super) fn lead(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let (me, now, patience) = (self.config.id, self.now, Millis(2 * self.config.election.0));
        let alive = |id: NodeId| id == me || now.since(leadership.progress[&id].heard) < patience;
        if !self.config.voters.agree(alive) {
            return self.become_follower(None);
        }
        if now.since(leadership.last_heartbeat) >= self.config.heartbeat {
            leadership.last_heartbeat = now;
            self.send_heartbeats();
            self.follow_up_heartbeats();
        }
    }

    /// Sends a heartbeat with the latest read round to every follower.
    pub(super) fn send_heartbeats(&mut self) {
        let Role::Leader(leadership) = &self.role else {
            return;
        };
        let round = leadership.reads.latest_round();
        let heartbeats: Vec<(NodeId, Body)> = leadership
            .progress
            .iter()
            .map(|(&peer, progress)| {
                (peer, Body::Heartbeat { commit: self.commit.min(progress.matched), round })
            })
            .collect();
        for (peer, heartbeat) in heartbeats {
            self.send(peer, heartbeat);
        }
    }

    fn follow_up_heartbeats(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let mut appends = Vec::new();
        for (&peer, progress) in &mut leadership.progress {
            if let Some(append) = progress.after_heartbeat(&self.log, self.commit) {
                appends.push((peer, Body::Append(append)));
            }
        }
        for (peer, append) in appends {
            self.send(peer, append);
        }
    }

    /// Sends every follower what it may get.
    pub(super) fn replicate(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let mut appends = Vec::new();
        for (&peer, progress) in &mut leadership.progress {
            while let Some(append) = progress.next_append(&self.log, self.commit, &self.config.limits) {
                appends.push((peer, Body::Append(append)));
            }
        }
        for (peer, append) in appends {
            self.send(peer, append);
        }
    }

    pub(super) fn on_append_reply(&mut self, from: NodeId, reply: AppendReply) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let Some(progress) = leadership.progress.get_mut(&from) else {
            return;
        };
        match reply {
            AppendReply::Accepted { matched } => {
                assert!(matched <= self.log.last_index(), "invariant: followers have what this leader sent");
                if progress.accepted(matched) {
                    self.advance_commit();
                }
            }
            AppendReply::Rejected { previous, hint } => {
                progress.rejected(previous, self.log.match_hint(hint).index);
            }
        }
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: NodeId, round: Round) {
        if let Role::Leader(leadership) = &mut self.role
            && let Some(progress) = leadership.progress.get_mut(&from)
        {
            progress.confirmed = progress.confirmed.max(round);
        }
    }

    /// Commits what a majority has stored, provided that it is of the current term: an older entry can be on a majority
    /// and still be replaced (Raft, section 5.4.2, figure 8).
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leadership) = &self.role else {
            return;
        };
        let voters = &self.config.voters;
        let needed = if mutant!(self.config, B14) { (voters.count() / 2).max(1) } else { voters.majority() };
        let durable =
            |id: NodeId| leadership.progress.get(&id).map_or(leadership.own_durable, |peer| peer.matched);
        let stored = voters.reached_by(needed, durable);
        if stored > self.commit && self.log.term_at(stored) == Some(self.hard_state.term) {
            self.commit = stored;
        }
    }
}
