//! Handing leadership over (thesis, section 3.10).
//!
//! The leader takes no more proposals, waits until the other one has its whole log, and asks it to start an election at once,
//! which nobody refuses for the sake of the old leader: so its lease ends for good. If that leads to nothing within an election timeout, the leader
//! goes on as if nothing had been.

use super::message::Body;
use super::types::{Millis, NodeId, RequestId};
use super::{Answer, Core, Role};

/// A hand-over that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handover {
    pub(super) request: RequestId,
    to: NodeId,
    /// When the leader takes proposals again.
    deadline: Millis,
    asked: bool,
}

impl Handover {
    /// Lets its time be up.
    pub(super) fn forget_time(&mut self) {
        self.deadline = Millis(0);
    }
}

impl Core {
    pub(super) fn transfer(&mut self, request: RequestId, to: Option<NodeId>) {
        let (me, now) = (self.config.id, self.now);
        let Role::Leader(leadership) = &mut self.role else {
            return self.outbox.answer(request, Answer::NotLeader(self.leader));
        };
        if leadership.handover.is_some() {
            return self.outbox.answer(request, Answer::Overloaded);
        }
        let members = self.log.members();
        let may_lead = |id: &NodeId| members.voters().contains(id) && *id != me;
        let alive = leadership
            .progress
            .iter()
            .filter(|(_, progress)| now.since(progress.heard) < self.config.election);
        let ahead = alive.filter(|(id, _)| may_lead(id)).max_by_key(|(_, progress)| progress.matched);
        let to = to.or(ahead.map(|(id, _)| *id));
        let Some(to) = to.filter(may_lead) else {
            return self.outbox.answer(request, Answer::NotTransferred);
        };
        let deadline = now.plus(self.config.election);
        leadership.handover = Some(Handover { request, to, deadline, asked: false });
        self.hand_over_if_ready();
    }

    /// Asks the next leader to take over once it has everything.
    pub(super) fn hand_over_if_ready(&mut self) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let Some(handover) = leadership.handover.as_mut().filter(|handover| !handover.asked) else {
            return;
        };
        let matched = leadership.progress.get(&handover.to).map(|progress| progress.matched);
        if matched == Some(self.log.last_index()) {
            handover.asked = true;
            let to = handover.to;
            // The question may arrive at any time in this term, and nobody who is asked for a vote then waits for a lease to end.
            leadership.reads.give_up_lease();
            self.send(to, Body::TimeoutNow);
        }
    }

    /// Goes on leading when nobody has taken over in time.
    pub(super) fn give_up_late_handover(&mut self) {
        let now = self.now;
        if let Role::Leader(leadership) = &mut self.role
            && let Some(handover) = leadership.handover.take_if(|handover| handover.deadline <= now)
        {
            self.outbox.answer(handover.request, Answer::NotTransferred);
        }
    }

    /// The leader hands over to this node.
    pub(super) fn on_timeout_now(&mut self, from: NodeId) {
        if self.leader == Some(from) && self.may_campaign() {
            self.campaign(true);
        }
    }
}
