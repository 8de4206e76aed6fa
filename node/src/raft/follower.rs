//! The receiving side of replication: check, repair, append, acknowledge.

use super::message::{Append, AppendReply, Body};
use super::types::{Entry, HardState, Index, LogPosition, NodeId, Round};
use super::{Core, Role};
use crate::mutant::mutant;

impl Core {
    /// Accepts `from` as the leader of the current term.
    pub(super) fn follow(&mut self, from: NodeId) {
        assert!(!matches!(self.role, Role::Leader(_)), "invariant: a term has one leader (election safety)");
        if mutant!(self.config, A8) && matches!(self.role, Role::Candidate { .. }) {
            self.set_hard_state(HardState { vote: None, ..self.hard_state });
        }
        self.become_follower(Some(from));
        self.leader_heard = self.now;
        self.reset_election_deadline();
    }

    pub(super) fn on_heartbeat(&mut self, from: NodeId, commit: Index, round: Round) {
        self.follow(from);
        // The leader limits `commit` to what this node has acknowledged as durable in this term.
        assert!(
            commit <= self.log.last_index(),
            "invariant: this node's log lacks entries that it acknowledged; its data was lost or replaced"
        );
        self.commit = self.commit.max(commit);
        self.send(from, Body::HeartbeatReply { round });
    }

    /// `AppendEntries` (Raft, figure 2, rules 2 to 5).
    pub(super) fn on_append(&mut self, from: NodeId, append: Append) {
        self.follow(from);
        if !self.has_previous(append.previous) {
            return self.reject_append(from, append.previous);
        }
        if mutant!(self.config, B3) && append.previous.index >= self.log.base().index {
            self.log.truncate_from(append.previous.index.next());
        }
        let base = self.log.base().index;
        // What the snapshot stands for is committed, so the leader has the same.
        let matched = Index(append.previous.index.0 + append.entries.len() as u64).max(base);
        for entry in append.entries.into_iter().filter(|entry| entry.index > base) {
            self.store_entry(entry);
        }
        // Entries after `matched` have not been compared with the leader's log and may conflict with it.
        let compared = if mutant!(self.config, B2) { self.log.last_index() } else { matched };
        self.commit = self.commit.max(append.commit.min(compared));
        let matched = if mutant!(self.config, B12) { self.log.last_index() } else { matched };
        let reply = Body::AppendReply(AppendReply::Accepted { matched });
        if mutant!(self.config, B8) {
            return self.send(from, reply);
        }
        self.send_when_durable(from, reply);
    }

    fn has_previous(&self, previous: LogPosition) -> bool {
        if mutant!(self.config, B5) {
            return previous.index <= self.log.last_index();
        }
        previous.index < self.log.base().index || self.log.term_at(previous.index) == Some(previous.term)
    }

    fn reject_append(&mut self, from: NodeId, previous: LogPosition) {
        let hint = self.log.match_hint(previous);
        let reply = AppendReply::Rejected { previous: previous.index, hint };
        self.send(from, Body::AppendReply(reply));
    }

    /// Appends an entry unless it is there already. Only a conflict removes anything: a late append must not cut off what
    /// a newer one brought.
    fn store_entry(&mut self, entry: Entry) {
        match self.log.term_at(entry.index) {
            Some(term) if term == entry.term => return,
            Some(_) => {
                assert!(entry.index > self.commit, "invariant: a committed entry is never replaced");
                #[cfg(feature = "mutants")]
                if mutant!(self.config, B4) {
                    return self.log.overwrite(entry);
                } else if mutant!(self.config, F5) {
                    self.log.truncate_all_but_members(entry.index);
                    return self.log.push(entry);
                }
                self.log.truncate_from(entry.index);
            }
            None => {}
        }
        self.log.push(entry);
    }
}
