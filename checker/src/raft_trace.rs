//! Do the nodes' own accounts of what they did fit the promises of Raft?
//!
//! A Raft server that writes an event trace (`shakedown node --trace`; the lines are those of [`TraceEvent`]) tells more than its clients
//! can see: an election that should not have been, an entry that two nodes have different, a vote that a restart made
//! forget. Most of it hurts nobody in the run at hand, and all of it loses data some day.
//!
//! The properties are those of figure 3 of the Raft paper, and the promises on which its proof rests:
//!
//! | anomaly | what was broken |
//! |---|---|
//! | `two-leaders` | election safety: at most one leader in a term |
//! | `leader-truncates` | leader append-only |
//! | `log-mismatch` | log matching: index and term determine an entry and, by induction, all before it |
//! | `leader-incomplete` | leader completeness: what was committed in an earlier term is in the log of every leader |
//! | `commit-differs` | state machine safety: nobody commits another entry at the same index |
//! | `applied-differs` | state machine safety: who applied the same entries has the same state |
//! | `committed-truncated` | what a node knows to be committed stays |
//! | `term-regressed` | terms never go back |
//! | `second-vote` | one vote in a term |
//! | `promise-broken` | what was acknowledged, or reported to be on the disk, is there after a restart |
//! | `out-of-order` | nobody applies what is not committed, commits or acknowledges what is not in the log, or leaves a gap in it |
//!
//! Nodes' clocks are not needed: terms order what has to be ordered.

mod replay;

use std::io::{self, BufRead};

use history::NodeId;
use serde::Deserialize;

use self::replay::Judge;
use crate::{CheckOutcome, CheckResult, Finding};

/// The name of the check.
pub const NAME: &str = "raft-trace";

/// One line of a node's trace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum TraceEvent {
    /// A process goes on from what was stored.
    Begin {
        /// Nothing is stored, and the process waits to be added as a new member.
        #[serde(default)]
        joins: bool,
        /// The stored term.
        term: u64,
        /// The stored vote.
        vote: Option<String>,
        /// Index and term for which a snapshot stands.
        base: Position,
        /// The stored entries after it.
        entries: Vec<TraceEntry>,
    },
    /// Term and vote, from now on.
    Vote {
        /// The term.
        term: u64,
        /// For whom this node voted in it.
        vote: Option<String>,
    },
    /// The log changes in memory.
    Write {
        /// Who reports that it is durable.
        io: u64,
        /// It begins anew after this.
        base: Option<Position>,
        /// It is cut before this index.
        from: Option<u64>,
        /// It goes on with these.
        #[serde(default)]
        entries: Vec<TraceEntry>,
    },
    /// All writes up to this one are durable.
    Durable {
        /// The write.
        io: u64,
    },
    /// A vote leaves the node.
    Granted {
        /// The term.
        term: u64,
        /// The candidate.
        to: String,
    },
    /// An acknowledgement leaves the node.
    Acknowledged {
        /// The leader's term.
        term: u64,
        /// The leader.
        to: String,
        /// The log matches the leader's up to here, durably.
        index: u64,
    },
    /// The node was elected.
    Lead {
        /// The term.
        term: u64,
    },
    /// The node knows a commit index.
    Commit {
        /// In which term it learned of it.
        term: u64,
        /// The index.
        index: u64,
    },
    /// The state after an entry.
    Applied {
        /// The entry.
        index: u64,
        /// A digest of everything applied.
        digest: String,
    },
}

/// Index and term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Position(pub u64, pub u64);

/// Index, term and digest of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct TraceEntry(pub u64, pub u64, pub u64);

/// The trace of one node.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The node.
    pub node: NodeId,
    /// What it says, with the numbers of the lines.
    pub events: Vec<(u64, TraceEvent)>,
    /// The first line that says nothing, although nobody was killed while writing it.
    pub unreadable: Option<u64>,
}

impl Trace {
    /// Reads a trace. A line that is not whole is that of a process that was killed; the next process begins a new line.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn read(node: NodeId, input: impl BufRead) -> io::Result<Self> {
        let mut trace = Self { node, events: Vec::new(), unreadable: None };
        let mut torn = None;
        for (number, line) in (1..).zip(input.split(b'\n')) {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let event = serde_json::from_slice(&line).ok();
            if !matches!(event, Some(TraceEvent::Begin { .. })) {
                trace.unreadable = trace.unreadable.or(torn);
            }
            torn = event.is_none().then_some(number);
            trace.events.extend(event.map(|event| (number, event)));
        }
        Ok(trace)
    }
}

/// Judges the traces of all nodes of a run. After `damaged` data, changed behind a node's back, promises may be broken.
pub fn raft_trace(traces: &[Trace], damaged: bool) -> Finding {
    let anomalies = Judge::of(traces, damaged);
    let unreadable =
        traces.iter().find_map(|trace| trace.unreadable.map(|line| format!("{}:{line}", file(&trace.node))));
    let outcome = match (&unreadable, anomalies.is_empty()) {
        (_, false) => CheckOutcome::Violation,
        (Some(_), true) => CheckOutcome::Unknown,
        (None, true) => CheckOutcome::Valid,
    };
    let excuse = damaged.then(|| "data was damaged on purpose: what it held was not asked for".to_owned());
    let result = CheckResult {
        name: NAME.to_owned(),
        outcome,
        examined: traces.iter().map(|trace| trace.events.len() as u64).sum(),
        duration_ms: 0,
        peak_memory_bytes: 0,
        note: unreadable.map(|place| format!("{place} cannot be read")).or(excuse),
    };
    Finding { result, anomalies }
}

fn file(node: &NodeId) -> String {
    format!("nodes/{node}/trace.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(nodes: &[&str]) -> Vec<Trace> {
        let read = |(i, text): (usize, &&str)| Trace::read(NodeId::numbered(i + 1), text.as_bytes()).unwrap();
        nodes.iter().enumerate().map(read).collect()
    }

    fn kinds(nodes: &[&str]) -> Vec<String> {
        let finding = raft_trace(&traces(nodes), false);
        assert_eq!(finding.result.outcome == CheckOutcome::Valid, finding.anomalies.is_empty());
        finding.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    const BEGIN: &str = r#"{"event":"begin","term":0,"vote":null,"base":[0,0],"entries":[]}
"#;

    fn begun(lines: &str) -> String {
        format!("\n{BEGIN}{}\n", lines.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n"))
    }

    /// A leader of term 1 that commits two entries.
    fn leader() -> String {
        begun(
            r#"{"event":"vote","term":1,"vote":"n1"}
            {"event":"write","io":1}
            {"event":"durable","io":1}
            {"event":"write","io":2,"entries":[[1,1,11],[2,1,12]]}
            {"event":"lead","term":1}
            {"event":"durable","io":2}
            {"event":"commit","term":1,"index":2}
            {"event":"applied","index":2,"digest":"aa"}"#,
        )
    }

    fn follower(more: &str) -> String {
        begun(&format!(
            r#"{{"event":"vote","term":1,"vote":"n1"}}
            {{"event":"write","io":1}}
            {{"event":"durable","io":1}}
            {{"event":"granted","term":1,"to":"n1"}}
            {{"event":"write","io":2,"entries":[[1,1,11],[2,1,12]]}}
            {{"event":"durable","io":2}}
            {{"event":"acknowledged","term":1,"to":"n1","index":2}}
            {more}"#
        ))
    }

    #[test]
    fn right_traces_are_right_also_when_a_process_was_killed_in_a_line() {
        let restarted = format!(
            "{}{{\"event\":\"ackn\n{}",
            follower("").trim_end(),
            r#"{"event":"begin","term":1,"vote":"n1","base":[1,1],"entries":[[2,1,12]]}
{"event":"commit","term":1,"index":2}
{"event":"applied","index":2,"digest":"aa"}
"#
        );
        let restarted = restarted.replace("}{\"event\":\"ackn", "}\n{\"event\":\"ackn");
        assert_eq!(kinds(&[&leader(), &restarted]), [""; 0]);
    }

    #[test]
    fn line_that_nobody_was_killed_in_makes_the_check_unknown() {
        let broken = leader().replace(r#"{"event":"lead","term":1}"#, "{\"event\":\"le");
        let finding = raft_trace(&traces(&[&broken]), false);
        assert_eq!(finding.result.outcome, CheckOutcome::Unknown);
        assert_eq!(finding.result.note.as_deref(), Some("nodes/n1/trace.jsonl:7 cannot be read"));
    }

    #[test]
    fn two_leaders_of_a_term_are_found() {
        assert_eq!(kinds(&[&leader(), &follower(r#"{"event":"lead","term":1}"#)]), ["two-leaders"]);
    }

    #[test]
    fn leader_that_cuts_its_log_is_found() {
        let cut = leader()
            .replace(r#"{"event":"commit","term":1,"index":2}"#, r#"{"event":"write","io":3,"from":2}"#)
            .replace(r#"{"event":"applied","index":2,"digest":"aa"}"#, "");
        assert_eq!(kinds(&[&cut]), ["leader-truncates"]);
    }

    #[test]
    fn entries_of_one_name_that_differ_are_found() {
        assert_eq!(kinds(&[&leader(), &follower("").replace("[2,1,12]", "[2,1,13]")]), ["log-mismatch"]);
    }

    #[test]
    fn same_entry_after_different_ones_is_found() {
        let other = follower("").replace("[1,1,11]", "[1,0,11]");
        assert_eq!(kinds(&[&leader(), &other]), ["log-mismatch"]);
    }

    #[test]
    fn leader_that_lacks_what_was_committed_is_found() {
        let lacking = begun(
            r#"{"event":"vote","term":2,"vote":"n2"}
            {"event":"write","io":1,"entries":[[1,2,99]]}
            {"event":"lead","term":2}"#,
        );
        assert_eq!(kinds(&[&leader(), &lacking]), ["leader-incomplete"]);
        // What was committed only later, it need not have had.
        let earlier = lacking.replace("\"term\":2", "\"term\":1").replace("[1,2,99]", "[1,0,99]");
        assert_eq!(kinds(&[&leader(), &earlier]), ["two-leaders"]);
    }

    #[test]
    fn different_commits_and_states_are_found() {
        let differs = begun(
            r#"{"event":"write","io":1,"entries":[[1,0,99]]}
            {"event":"commit","term":1,"index":1}"#,
        );
        assert_eq!(kinds(&[&leader(), &differs]), ["commit-differs"]);
        let state = r#"{"event":"commit","term":1,"index":2}
            {"event":"applied","index":2,"digest":"bb"}"#;
        assert_eq!(kinds(&[&leader(), &follower(state)]), ["applied-differs"]);
    }

    #[test]
    fn node_that_cuts_off_what_it_knows_to_be_committed_is_found() {
        let cut = r#"{"event":"commit","term":1,"index":2}
            {"event":"vote","term":2,"vote":null}
            {"event":"write","io":3,"from":2}"#;
        assert_eq!(kinds(&[&leader(), &follower(cut)]), ["committed-truncated"]);
    }

    #[test]
    fn term_that_goes_back_and_second_vote_are_found() {
        assert_eq!(kinds(&[&follower(r#"{"event":"vote","term":0,"vote":null}"#)]), ["term-regressed"]);
        assert_eq!(kinds(&[&follower(r#"{"event":"vote","term":1,"vote":"n2"}"#)]), ["second-vote"]);
        let twice = r#"{"event":"granted","term":1,"to":"n3"}"#;
        assert_eq!(kinds(&[&follower(twice)]), ["second-vote"]);
    }

    fn restarted(begin: &str) -> Vec<String> {
        kinds(&[&follower(&format!(r#"{{"event":"begin",{begin}}}"#))])
    }

    #[test]
    fn what_was_promised_is_there_after_a_restart() {
        assert_eq!(restarted(r#""term":1,"vote":"n1","base":[0,0],"entries":[[1,1,11],[2,1,12]]"#), [""; 0]);
        assert_eq!(restarted(r#""term":1,"vote":"n1","base":[2,1],"entries":[]"#), [""; 0]);
        assert_eq!(restarted(r#""term":2,"vote":null,"base":[0,0],"entries":[[1,1,11],[2,1,12]]"#), [""; 0]);
        for lost in [
            r#""term":1,"vote":"n1","base":[0,0],"entries":[[1,1,11]]"#,
            r#""term":1,"vote":"n1","base":[1,1],"entries":[]"#,
            r#""term":1,"vote":null,"base":[0,0],"entries":[[1,1,11],[2,1,12]]"#,
            r#""term":0,"vote":null,"base":[0,0],"entries":[[1,1,11],[2,1,12]]"#,
        ] {
            assert_eq!(restarted(lost), ["promise-broken"], "{lost}");
        }
        let wiped = r#""term":0,"vote":null,"base":[0,0],"entries":[]"#;
        assert_eq!(restarted(wiped), ["promise-broken"]);
        assert_eq!(restarted(&format!(r#""joins":true,{wiped}"#)), [""; 0]);
        let wiped = follower(&format!(r#"{{"event":"begin",{wiped}}}"#));
        assert_eq!(raft_trace(&traces(&[&wiped]), true).anomalies, []);
    }

    #[test]
    fn what_was_not_on_the_disk_may_be_lost_and_what_was_cut_off_may_come_back() {
        let more = r#"{"event":"vote","term":2,"vote":null}
            {"event":"write","io":3,"from":2,"entries":[[2,2,22],[3,2,23]]}
            {"event":"begin","term":1,"vote":"n1","base":[0,0],"entries":[[1,1,11],[2,1,12]]}"#;
        assert_eq!(kinds(&[&follower(more)]), [""; 0]);
        let lost = more.replace("[[1,1,11],[2,1,12]]}", "[]}");
        assert_eq!(kinds(&[&follower(&lost)]), ["promise-broken"]);
    }

    #[test]
    fn what_is_not_committed_is_not_applied() {
        assert_eq!(kinds(&[&follower(r#"{"event":"applied","index":2,"digest":"aa"}"#)]), ["out-of-order"]);
        assert_eq!(kinds(&[&follower(r#"{"event":"commit","term":1,"index":3}"#)]), ["out-of-order"]);
        let more = r#"{"event":"acknowledged","term":1,"to":"n1","index":3}"#;
        assert_eq!(kinds(&[&follower(more)]), ["out-of-order"]);
    }
}
