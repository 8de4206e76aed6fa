//! Elections: pre-vote, vote, and the rules that keep a working leader in place.
//!
//! A node first asks whether it would win (thesis, section 9.6); only then does it start a new term. Neither question
//! gets a yes while the asked node hears from a leader (thesis, section 4.2.3), so a node that comes back from a
//! partition cannot depose a leader that works.

use std::collections::BTreeSet;

use super::message::Body;
use super::types::{HardState, LogPosition, Millis, NodeId, Term};
use super::{Core, Role};
use crate::mutant::mutant;

impl Core {
    /// Starts the timer anew, with the jitter of the latest tick.
    pub(super) fn reset_election_deadline(&mut self) {
        let election_ms = self.config.election.0;
        let extra_ms = (election_ms * u64::from(self.jitter.0)) >> 16;
        self.election_deadline = self.now.plus(Millis(election_ms + extra_ms));
    }

    /// Somebody in a later term asks for a vote while this node knows that the leader works. That must not even change
    /// the term.
    pub(super) fn is_disruption(&self, body: &Body) -> bool {
        let unasked = matches!(body, Body::PreVote { .. } | Body::Vote { transferred: false, .. });
        !mutant!(self.config, A15) && unasked && (self.leader_is_alive() || self.is_bound_by_lease())
    }

    fn leader_is_alive(&self) -> bool {
        let heard_lately = self.leader.is_some() && self.now.since(self.leader_heard) < self.config.election;
        matches!(self.role, Role::Leader(_)) || heard_lately
    }

    /// Where leaders have leases, whoever answers one promises to elect nobody else for an election timeout. A later term does
    /// not end the promise, nor does a restart: a node that has forgotten whom it answered keeps it from its start on.
    pub(super) fn is_bound_by_lease(&self) -> bool {
        self.config.lease_reads && self.now.since(self.leader_heard) < self.config.election
    }

    /// Moves to a later term, without a vote and without a leader.
    pub(super) fn adopt_term(&mut self, term: Term) {
        self.set_hard_state(HardState { term, vote: None });
        self.become_follower(None);
    }

    /// Follows `leader`, or waits for one.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>) {
        match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Follower => {}
            Role::PreCandidate { .. } | Role::Candidate { .. } => self.reset_election_deadline(),
            Role::Leader(leadership) => {
                self.reset_election_deadline();
                self.abandon(*leadership);
            }
        }
        self.leader = leader;
    }

    /// Voters miss a leader. So does one whose removal is not committed: it may have entries that the others need, and be the only
    /// one whom they can elect (thesis, section 4.2.2).
    pub(super) fn may_campaign(&self) -> bool {
        let (log, me) = (&self.log, self.config.id);
        log.members().votes(me) || log.members_at(self.commit).votes(me)
    }

    pub(super) fn ask_for_pre_votes(&mut self) {
        if mutant!(self.config, A15) {
            return self.campaign(false);
        }
        self.role = Role::PreCandidate { granted: BTreeSet::from([self.config.id]) };
        self.leader = None;
        self.reset_election_deadline();
        for voter in self.other_voters() {
            self.send(voter, Body::PreVote { last: self.log.last() });
        }
        self.campaign_if_welcome();
    }

    pub(super) fn on_pre_vote(&mut self, from: NodeId, last: LogPosition) {
        let granted = !self.leader_is_alive() && !self.is_bound_by_lease() && self.may_lead(last);
        self.send(from, Body::PreVoteReply { granted });
    }

    pub(super) fn on_pre_vote_reply(&mut self, from: NodeId, yes: bool) {
        if let (Role::PreCandidate { granted }, true) = (&mut self.role, yes) {
            granted.insert(from);
            self.campaign_if_welcome();
        }
    }

    fn campaign_if_welcome(&mut self) {
        if let Role::PreCandidate { granted } = &self.role
            && self.log.members().agree(|id| granted.contains(&id))
        {
            self.campaign(false);
        }
    }

    /// Starts a term and asks for votes, on its own or because the leader hands over. The questions wait until term and own vote are durable: a node that forgot
    /// its campaign could win the same term twice, with different logs.
    pub(super) fn campaign(&mut self, transferred: bool) {
        let term = self.hard_state.term.next();
        self.set_hard_state(HardState { term, vote: Some(self.config.id) });
        self.role = Role::Candidate { granted: BTreeSet::new() };
        self.reset_election_deadline();
        self.leader = None;
        for voter in self.other_voters() {
            self.send_when_durable(voter, Body::Vote { last: self.log.last(), transferred });
        }
    }

    fn other_voters(&self) -> BTreeSet<NodeId> {
        let mut voters = self.log.members().all_voters();
        voters.remove(&self.config.id);
        voters
    }

    pub(super) fn on_vote(&mut self, from: NodeId, last: LogPosition, transferred: bool) {
        let unbound = transferred || !self.is_bound_by_lease();
        let free = self.hard_state.vote.is_none_or(|candidate| candidate == from) && unbound;
        let free = free || mutant!(self.config, A7);
        if !free || !self.may_lead(last) {
            return self.send(from, Body::VoteReply { granted: false });
        }
        self.set_hard_state(HardState { vote: Some(from), ..self.hard_state });
        self.become_follower(self.leader);
        self.reset_election_deadline();
        self.send_when_durable(from, Body::VoteReply { granted: true });
    }

    pub(super) fn on_vote_reply(&mut self, from: NodeId, yes: bool) {
        if let (Role::Candidate { granted }, true) = (&mut self.role, yes) {
            let is_news = granted.insert(from);
            if mutant!(self.config, A5) && !is_news {
                let voters = self.log.members().all_voters();
                granted.extend(voters.into_iter().find(|id| !granted.contains(id)));
            }
            self.lead_if_elected();
        }
    }

    pub(super) fn lead_if_elected(&mut self) {
        if let Role::Candidate { granted } = &self.role
            && self.log.members().agree(|id| granted.contains(&id))
        {
            self.become_leader();
        }
    }

    /// Only a node that has every committed entry may lead (Raft, section 5.4.1).
    fn may_lead(&self, candidate: LogPosition) -> bool {
        let last = self.log.last();
        if mutant!(self.config, A10) {
            return candidate.index >= last.index;
        }
        if mutant!(self.config, A11) {
            return candidate.term >= last.term;
        }
        if mutant!(self.config, A12) {
            return candidate.term >= last.term && candidate.index >= last.index;
        }
        mutant!(self.config, A9) || candidate >= last
    }

    pub(super) fn set_hard_state(&mut self, state: HardState) {
        assert!(state.term >= self.hard_state.term, "invariant: the term never decreases");
        if state.term > self.hard_state.term {
            self.outbox.term_ended();
        }
        if state != self.hard_state {
            self.hard_state = state;
            self.outbox.hard_state_changed();
        }
    }
}
