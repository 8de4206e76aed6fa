//! What the driver tells operators about the node.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::driver::Driver;
use super::request::{EntryReport, HashReport, LogReport, MembersReport, StatusReport};
use crate::codec::put_entry;
use crate::metrics::Gauges;
use crate::raft::{Entry, Index, Membership, NodeId, Payload, RoleName};

/// Entries in one part of the log.
const MAX_LOG_ENTRIES: u64 = 1_000;
/// Payload bytes after which a part of the log ends: they are all checksummed, and nothing else happens meanwhile.
const MAX_LOG_BYTES: usize = 8 << 20;

impl Driver {
    pub(super) fn status_report(&self) -> StatusReport {
        let status = self.core.status();
        StatusReport {
            id: self.id.clone(),
            role: name_of(status.role),
            term: status.term.0,
            leader: status.leader.map(|leader| leader.to_string()),
            commit: status.commit.0,
            applied: status.applied.0,
            applied_digest: self.machine.digest(),
            last_index: status.last.index.0,
            revision: self.machine.revision().0,
            snapshot_index: status.base.index.0,
            peers: self.others(),
            version: env!("CARGO_PKG_VERSION"),
            mutant: self.mutant.clone(),
        }
    }

    /// The other members.
    fn others(&self) -> Vec<String> {
        let members = self.core.log().members().members();
        names(&members).into_iter().filter(|id| *id != self.id).collect()
    }

    pub(super) fn members_report(&self) -> MembersReport {
        let (log, commit) = (self.core.log(), self.core.status().commit);
        let members: &Membership = log.members();
        let address = |(id, address): (&NodeId, &SocketAddr)| (id.to_string(), *address);
        MembersReport {
            voters: names(members.voters()),
            outgoing: names(members.outgoing()),
            learners: names(members.learners()),
            addresses: members.addresses().iter().map(address).collect(),
            index: log.members_since().0,
            committed: log.members_since() <= commit,
        }
    }

    /// Numbers of this moment.
    pub(super) fn gauges(&self) -> Gauges {
        let (status, members) = (self.core.status(), self.core.log().members());
        let sessions = self.machine.sessions();
        Gauges {
            counters: self.counters,
            role: name_of(status.role),
            has_leader: status.leader.is_some(),
            term: status.term.0,
            commit: status.commit.0,
            applied: status.applied.0,
            last: status.last.index.0,
            base: status.base.index.0,
            revision: self.machine.revision().0,
            keys: self.machine.keys(),
            sessions: sessions.count(),
            kept_answer_bytes: sessions.kept_bytes(),
            snapshot_bytes: self.core.snapshot_bytes(),
            voters: members.voters().len(),
            learners: members.learners().len(),
            waiting_requests: self.waiters.count(),
            lags: self.core.lags().into_iter().map(|(id, lag)| (id.to_string(), lag)).collect(),
        }
    }

    /// The kept entries from `from` to `to`, or fewer.
    pub(super) fn log_report(&self, from: Option<Index>, to: Option<Index>) -> LogReport {
        let (log, status) = (self.core.log(), self.core.status());
        let first = from.unwrap_or_default().max(log.base().index.next());
        let last = to.unwrap_or(log.last_index()).min(log.last_index());
        let (mut entries, mut next, mut size_bytes) = (Vec::new(), first, 0);
        while next <= last && next.0 - first.0 < MAX_LOG_ENTRIES && size_bytes < MAX_LOG_BYTES {
            let entry =
                log.get(next).expect("invariant: the log has everything between its base and its end");
            size_bytes += entry.payload.size_bytes();
            entries.push(report(entry));
            next = next.next();
        }
        LogReport {
            base: log.base().index.0,
            last: log.last_index().0,
            commit: status.commit.0,
            entries,
            next: (next <= last).then_some(next.0),
        }
    }

    /// The digests of the applied state.
    pub(super) fn hash_report(&self) -> HashReport {
        let applied = self.core.status().applied;
        HashReport {
            applied: applied.0,
            state_digest: self.machine.state_digest(applied, self.core.log().members_at(applied)),
            applied_digest: self.machine.digest(),
            revision: self.machine.revision().0,
            keys: self.machine.keys(),
            sessions: self.machine.sessions().count(),
        }
    }
}

fn report(entry: &Entry) -> EntryReport {
    let mut encoded = Vec::new();
    put_entry(&mut encoded, entry);
    EntryReport {
        index: entry.index.0,
        term: entry.term.0,
        kind: match &entry.payload {
            Payload::Noop => "noop",
            Payload::Command(_) => "command",
            Payload::Members(_) => "members",
        },
        size_bytes: entry.payload.size_bytes(),
        checksum: format!("{:08x}", crc32fast::hash(&encoded)),
    }
}

fn name_of(role: RoleName) -> &'static str {
    match role {
        RoleName::Follower => "follower",
        RoleName::PreCandidate => "pre-candidate",
        RoleName::Candidate => "candidate",
        RoleName::Leader => "leader",
    }
}

fn names(ids: &BTreeSet<NodeId>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
