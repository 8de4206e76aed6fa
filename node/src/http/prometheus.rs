//! `GET /metrics`: counters and gauges in the text format of Prometheus.

use std::fmt::{Display, Write};

use crate::metrics::{Gauges, Metrics, STATUSES, SYNC_BOUNDS_US};

/// What the HTTP side knows.
pub(super) struct Clients {
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) watchers: usize,
}

/// All metrics as text.
pub(super) fn text(gauges: &Gauges, metrics: &Metrics, clients: &Clients) -> String {
    let mut page = Page::default();
    protocol(&mut page, gauges);
    state(&mut page, gauges);
    work(&mut page, gauges, metrics, clients);
    syncs(&mut page, metrics);
    page.0
}

fn protocol(page: &mut Page, gauges: &Gauges) {
    let counters = &gauges.counters;
    page.family("raft_term", "gauge", "The current term.").value(gauges.term);
    page.family("raft_role", "gauge", "1 for the role of this node.");
    for role in ["follower", "pre-candidate", "candidate", "leader"] {
        page.labelled("role", role, u8::from(role == gauges.role));
    }
    let help = "Whether this node knows a leader.";
    page.family("raft_has_leader", "gauge", help).value(u8::from(gauges.has_leader));
    let help = "Changes of the leader that this node knows of, to none included.";
    page.family("raft_leader_changes_total", "counter", help).value(counters.leader_changes);
    let help = "How often this node began to lead.";
    page.family("raft_leaderships_total", "counter", help).value(counters.leaderships);
    page.family("raft_commit_index", "gauge", "The last entry known to be committed.").value(gauges.commit);
    page.family("raft_applied_index", "gauge", "The last entry that was applied.").value(gauges.applied);
    page.family("raft_last_index", "gauge", "The last entry of the log.").value(gauges.last);
    let help = "Entries of the log in memory.";
    page.family("raft_log_entries", "gauge", help).value(gauges.last - gauges.base);
    let help = "The entry up to which a snapshot stands for the log.";
    page.family("raft_snapshot_index", "gauge", help).value(gauges.base);
    page.family("raft_snapshot_bytes", "gauge", "Size of the stored snapshot.").value(gauges.snapshot_bytes);
    let help = "Snapshots that this node made of its own state.";
    page.family("raft_snapshots_made_total", "counter", help).value(counters.snapshots_made);
    let help = "Snapshots of other nodes that replaced the state.";
    page.family("raft_snapshots_installed_total", "counter", help).value(counters.snapshots_installed);
    page.family("raft_members", "gauge", "Members of the cluster by kind.");
    page.labelled("kind", "voter", gauges.voters);
    page.labelled("kind", "learner", gauges.learners);
    let help = "Entries that a peer is not known to have; on the leader only.";
    page.family("raft_peer_lag_entries", "gauge", help);
    for (peer, lag) in &gauges.lags {
        page.labelled("peer", peer, lag);
    }
}

fn state(page: &mut Page, gauges: &Gauges) {
    page.family("raft_revision", "gauge", "The last entry that changed data.").value(gauges.revision);
    page.family("raft_keys", "gauge", "Keys that have something.").value(gauges.keys);
    page.family("raft_sessions", "gauge", "Client sessions.").value(gauges.sessions);
    let help = "Bytes of answers that are kept for sessions.";
    page.family("raft_session_answer_bytes", "gauge", help).value(gauges.kept_answer_bytes);
    let help = "Entries that were applied since the start.";
    page.family("raft_applied_entries_total", "counter", help).value(gauges.counters.applied_entries);
}

fn work(page: &mut Page, gauges: &Gauges, metrics: &Metrics, clients: &Clients) {
    let counters = &gauges.counters;
    page.family("raft_proposals_total", "counter", "Writes that clients asked for.")
        .value(counters.proposals);
    page.family("raft_reads_total", "counter", "Reads that clients asked for.");
    page.labelled("consistency", "linearizable", counters.reads);
    page.labelled("consistency", "local", counters.local_reads);
    page.family("raft_http_answers_total", "counter", "Answers to clients by status.");
    for (status, count) in STATUSES.iter().zip(metrics.answers()) {
        page.labelled("status", status, count);
    }
    page.family("raft_http_connections", "gauge", "Connections of clients.").value(clients.connections);
    page.family("raft_http_requests", "gauge", "Requests that are being worked on.").value(clients.requests);
    page.family("raft_watchers", "gauge", "Streams of changes.").value(clients.watchers);
    let help = "Requests that wait for the protocol.";
    page.family("raft_waiting_requests", "gauge", help).value(gauges.waiting_requests);
}

fn syncs(page: &mut Page, metrics: &Metrics) {
    let help = "Payload bytes that were written to the log.";
    page.family("raft_log_written_bytes_total", "counter", help).value(metrics.log_written_bytes());
    let help = "How long a batch of the log took to be durable.";
    page.family("raft_log_sync_seconds", "histogram", help);
    let counts = metrics.syncs();
    for (bound_us, count) in SYNC_BOUNDS_US.iter().zip(counts) {
        page.sample("_bucket", Some(("le", &(*bound_us as f64 / 1e6))), count);
    }
    let all = counts[SYNC_BOUNDS_US.len()];
    page.sample("_bucket", Some(("le", &"+Inf")), all);
    page.sample("_sum", None, metrics.sync_time().as_secs_f64());
    page.sample("_count", None, all);
}

/// The text so far, and the name of the family in it that gets samples.
#[derive(Default)]
struct Page(String, &'static str);

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.1 = name;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self
    }

    fn value(&mut self, value: impl Display) {
        self.sample("", None, value);
    }

    fn labelled(&mut self, label: &str, of: impl Display, value: impl Display) {
        self.sample("", Some((label, &of)), value);
    }

    // Labels are names of nodes, roles and numbers: nothing in them has to be escaped.
    fn sample(&mut self, suffix: &str, label: Option<(&str, &dyn Display)>, value: impl Display) {
        let name = self.1;
        let _ = match label {
            Some((label, of)) => writeln!(self.0, "{name}{suffix}{{{label}=\"{of}\"}} {value}"),
            None => writeln!(self.0, "{name}{suffix} {value}"),
        };
    }
}
