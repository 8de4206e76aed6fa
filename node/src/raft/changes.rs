//! Changes of the members by joint consensus (Raft, section 6).
//!
//! The leader appends the joint members, under which both majorities must agree; when they are committed it appends the members
//! that shall be, and when those are committed the change is complete. Learners come and go in one step, because they count
//! for nothing. A leader that inherits an unfinished change finishes it. Members count as soon as they are in a log, and
//! as long as they are (`log`).
//!
//! A leader that leaves goes on until the change is committed, without counting itself, and then steps down.

use super::membership::{Change, Membership, Refusal};
use super::types::{Entry, Index, Payload, RequestId};
use super::{Answer, Core, Role};
use crate::mutant::mutant;

impl Core {
    pub(super) fn change(&mut self, request: RequestId, change: &Change) {
        let Role::Leader(leadership) = &self.role else {
            return self.outbox.answer(request, Answer::NotLeader(self.leader));
        };
        if leadership.handover.is_some() {
            return self.outbox.answer(request, Answer::Overloaded);
        }
        match self.changed_members(change) {
            Ok(members) => {
                self.append_members(members);
                if let Role::Leader(leadership) = &mut self.role {
                    leadership.change = Some(request);
                }
            }
            Err(refusal) => self.outbox.answer(request, Answer::Refused(refusal)),
        }
    }

    fn changed_members(&self, change: &Change) -> Result<Membership, Refusal> {
        // A leader of a later term may have committed members that this one will overwrite (Ongaro, raft-dev, 2015).
        let is_early = self.log.term_at(self.commit) != Some(self.hard_state.term);
        if is_early && !mutant!(self.config, F1) {
            return Err(Refusal::TooEarly);
        }
        if self.log.members_since() > self.commit && !mutant!(self.config, F7) {
            return Err(Refusal::Pending);
        }
        let before = self.log.members();
        let members =
            if mutant!(self.config, F7) { before.complete().begin(change)? } else { before.begin(change)? };
        let at_once =
            mutant!(self.config, F1) && members.voters().symmetric_difference(before.voters()).count() == 1;
        match change.promote.iter().find(|&&id| !self.has_caught_up(id)) {
            Some(&behind) => Err(Refusal::Behind(behind)),
            None if at_once => Ok(members.complete()),
            None => Ok(members),
        }
    }

    /// Whether a learner has nearly everything, so that the cluster does not wait for it when it counts.
    fn has_caught_up(&self, learner: super::NodeId) -> bool {
        let Role::Leader(leadership) = &self.role else {
            return false;
        };
        let progress = leadership.progress.get(&learner);
        let lag = |matched: Index| self.log.last_index().0.saturating_sub(matched.0);
        progress.is_some_and(|progress| {
            let heard = self.now.since(progress.heard) < self.config.election;
            heard && progress.matched > Index(0) && lag(progress.matched) <= self.config.limits.promotion_lag
        })
    }

    fn append_members(&mut self, members: Membership) {
        self.log.append(self.hard_state.term, Payload::Members(members));
        self.watch_members();
    }

    /// Goes on from joint members that are committed, also from those of an earlier leader.
    pub(super) fn complete_change(&mut self) {
        let committed = self.log.members_since() <= self.commit;
        if matches!(self.role, Role::Leader(_)) && committed && self.log.members().is_joint() {
            self.append_members(self.log.members().complete());
        }
    }

    /// Who asked for the change that this entry completes.
    pub(super) fn take_change(&mut self, entry: &Entry) -> Option<RequestId> {
        let completes = matches!(&entry.payload, Payload::Members(members) if !members.is_joint());
        match &mut self.role {
            Role::Leader(leadership) if completes => leadership.change.take(),
            _ => None,
        }
    }

    /// A leader that is no member any more has done its work when that is committed. Runs after the others were told.
    pub(super) fn leave_if_removed(&mut self) {
        let committed = self.log.members_since() <= self.commit;
        let removed = !self.log.members().votes(self.config.id);
        if matches!(self.role, Role::Leader(_)) && committed && removed {
            self.send_heartbeats();
            self.become_follower(None);
        }
    }
}
