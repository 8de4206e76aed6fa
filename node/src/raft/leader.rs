//! The leading side: proposals, replication, commitment, and giving up without a quorum.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::membership::majority;
use super::message::{AppendReply, Body, Message};
use super::progress::{Progress, Source};
use super::reads::Reads;
use super::transfer::Handover;
use super::types::{Entry, Index, LogPosition, Millis, NodeId, Payload, RequestId, Round};
use super::{Answer, Core, Role};
use crate::mutant::mutant;

/// What a leader remembers; gone when its term ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leadership {
    /// Its view of every other member.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// How far its own log is durable. A leader is only one more follower of itself: it must not count what it has not
    /// stored (thesis, section 10.2.1).
    pub(super) own_durable: Index,
    /// Reads and their rounds.
    pub(super) reads: Reads,
    /// Who asked for the change of members that is under way.
    pub(super) change: Option<RequestId>,
    /// The hand-over that is under way.
    pub(super) handover: Option<Handover>,
    /// Snapshots that were begun to be sent.
    transfers: u64,
    last_heartbeat: Millis,
    /// Requests by the entry that carries them. The term is part of the key: another leader's entry at the same index
    /// is not an answer.
    proposals: BTreeMap<LogPosition, Proposal>,
    proposal_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Lets everything have happened at time zero.
    pub(super) fn forget_times(&mut self) {
        self.last_heartbeat = Millis(0);
        self.progress.values_mut().for_each(|progress| progress.heard = Millis(0));
        if let Some(handover) = &mut self.handover {
            handover.forget_time();
        }
    }
}

impl Core {
    pub(super) fn become_leader(&mut self) {
        self.role = Role::Leader(Box::new(Leadership {
            progress: BTreeMap::new(),
            own_durable: Index(0),
            reads: Reads::default(),
            change: None,
            handover: None,
            transfers: 0,
            last_heartbeat: self.now,
            proposals: BTreeMap::new(),
            proposal_bytes: 0,
        }));
        self.leader = Some(self.config.id);
        self.watch_members();
        if !mutant!(self.config, B22) {
            self.log.append(self.hard_state.term, Payload::Noop);
        }
    }

    /// Keeps a view of everybody who gets the log, and of nobody else.
    pub(super) fn watch_members(&mut self) {
        let peers: Vec<NodeId> = self.peers().collect();
        let (last, now) = (self.log.last_index(), self.now);
        if let Role::Leader(leadership) = &mut self.role {
            leadership.progress.retain(|peer, _| peers.contains(peer));
            for peer in peers {
                leadership.progress.entry(peer).or_insert_with(|| Progress::new(last, now));
            }
        }
    }

    /// Answers everything that waits for a leadership that has ended.
    pub(super) fn abandon(&mut self, leadership: Leadership) {
        #[cfg(feature = "mutants")]
        if mutant!(self.config, B7) {
            let by_index =
                |(position, proposal): (&LogPosition, &Proposal)| (position.index, proposal.request);
            self.orphans.extend(leadership.proposals.iter().map(by_index));
        }
        for proposal in leadership.proposals.into_values().filter(|_| !mutant!(self.config, B7)) {
            self.outbox.answer(proposal.request, Answer::UnknownOutcome);
        }
        for request in leadership.reads.into_requests() {
            self.outbox.answer(request, Answer::NoQuorum);
        }
        if let Some(request) = leadership.change {
            self.outbox.answer(request, Answer::UnknownOutcome);
        }
        if let Some(handover) = leadership.handover {
            self.outbox.answer(handover.request, Answer::Transferred);
        }
    }

    pub(super) fn propose(&mut self, request: RequestId, command: Bytes) {
        let Role::Leader(leadership) = &mut self.role else {
            return self.outbox.answer(request, Answer::NotLeader(self.leader));
        };
        let size_bytes = command.len();
        let limits = &self.config.limits;
        // Entries that come after those of the next leader's log would be lost with the leadership.
        let too_many =
            leadership.proposals.len() >= limits.pending_proposals || leadership.handover.is_some();
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
        #[cfg(feature = "mutants")]
        if let Some(request) = self.orphans.remove(&entry.index) {
            return Some(request);
        }
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
        if !self.log.members().agree(alive) {
            return self.become_follower(None);
        }
        if now.since(leadership.last_heartbeat) >= self.config.heartbeat {
            leadership.last_heartbeat = now;
            if self.config.lease_reads {
                leadership.reads.begin_round(now);
            }
            self.send_heartbeats();
            self.follow_up_heartbeats();
        }
        self.give_up_late_handover();
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
        self.send_to_followers(|progress, source, _, out| out.extend(progress.after_heartbeat(source)));
    }

    /// Sends every follower what it may get.
    pub(super) fn replicate(&mut self) {
        self.send_to_followers(|progress, source, transfers, out| {
            out.extend(std::iter::from_fn(|| progress.next_message(source, transfers)));
        });
    }

    /// Sends every follower what `say` puts out for it.
    fn send_to_followers(&mut self, say: impl Fn(&mut Progress, Source<'_>, &mut u64, &mut Vec<Body>)) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let Leadership { progress, transfers, .. } = &mut **leadership;
        let snapshot = self.snapshots.latest();
        let source = Source { log: &self.log, commit: self.commit, snapshot, limits: &self.config.limits };
        let term = self.hard_state.term;
        let mut bodies = Vec::new();
        for (&peer, progress) in progress {
            say(progress, source, transfers, &mut bodies);
            for body in bodies.drain(..) {
                self.outbox.send(peer, Message { term, body });
            }
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
                    self.hand_over_if_ready();
                }
            }
            AppendReply::Rejected { previous, hint } => {
                progress.rejected(previous, self.log.match_hint(hint).index);
                #[cfg(feature = "mutants")]
                if mutant!(self.config, B21) {
                    progress.set_back(previous, self.log.match_hint(hint).index);
                }
            }
        }
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: NodeId, round: Round) {
        if let Role::Leader(leadership) = &mut self.role
            && let Some(progress) = leadership.progress.get_mut(&from)
        {
            let round = if mutant!(self.config, C4) { leadership.reads.latest_round() } else { round };
            progress.confirmed = progress.confirmed.max(round);
        }
    }

    /// Commits what a majority has stored, provided that it is of the current term: an older entry can be on a majority
    /// and still be replaced (Raft, section 5.4.2, figure 8).
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leadership) = &self.role else {
            return;
        };
        let wrong = mutant!(self.config, B14);
        let needed = |voters: usize| if wrong { (voters / 2).max(1) } else { majority(voters) };
        let durable =
            |id: NodeId| leadership.progress.get(&id).map_or(leadership.own_durable, |peer| peer.matched);
        let members = self.log.members();
        #[cfg(feature = "mutants")]
        let members = match self.config.mutant {
            Some(crate::mutant::Mutant::F2) => &members.complete(),
            Some(crate::mutant::Mutant::F6) => &members.with_learners_voting(),
            _ => members,
        };
        let Some(stored) = members.reached_by(needed, durable) else {
            return;
        };
        let current = self.log.term_at(stored) == Some(self.hard_state.term) || mutant!(self.config, B1);
        if stored > self.commit && current {
            self.commit = stored;
        }
    }
}
