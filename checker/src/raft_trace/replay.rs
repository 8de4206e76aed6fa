//! Replays what nodes did, and compares it with what all of them have done so far.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::{Position, Trace, TraceEntry, TraceEvent, file};
use crate::Anomaly;

/// Further anomalies of a kind prove nothing more.
const ANOMALIES_PER_KIND: usize = 3;

/// Term and digest of an entry.
type Content = (u64, u64);

/// A log after the index for which a snapshot stands.
#[derive(Debug, Clone, Default)]
struct Log {
    base: Position,
    entries: Vec<Content>,
}

impl Log {
    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    fn get(&self, index: u64) -> Option<Content> {
        let offset = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?).copied()
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.0 { Some(self.base.1) } else { self.get(index).map(|(term, _)| term) }
    }

    fn cut(&mut self, from: u64) {
        let kept = from.saturating_sub(self.base.0 + 1);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }
}

/// What is known of a committed entry.
struct Committed {
    content: Content,
    /// No leader of this term or an earlier one need have had it.
    term: u64,
}

/// What all nodes together have shown.
#[derive(Default)]
pub(super) struct Judge {
    damaged: bool,
    leaders: BTreeMap<u64, String>,
    /// By index and term: the digest, and the term of the entry before.
    entries: FxHashMap<(u64, u64), (u64, u64)>,
    committed: BTreeMap<u64, Committed>,
    applied: BTreeMap<u64, (String, String)>,
    anomalies: Vec<Anomaly>,
}

impl Judge {
    /// Everything that is wrong with the traces.
    pub(super) fn of(traces: &[Trace], damaged: bool) -> Vec<Anomaly> {
        let mut judge = Self { damaged, ..Self::default() };
        for trace in traces {
            let mut node = Replay::of(trace);
            for (line, event) in &trace.events {
                node.line = *line;
                judge.take(&mut node, event);
            }
        }
        // Only now is it known what was committed, and when.
        for trace in traces {
            judge.leaders_are_complete(trace);
        }
        judge.anomalies
    }

    fn take(&mut self, node: &mut Replay, event: &TraceEvent) {
        match event {
            TraceEvent::Begin { joins, term, vote, base, entries } => {
                if *joins {
                    node.granted.clear();
                    node.held = 0;
                }
                let mut stored = Log { base: *base, entries: Vec::new() };
                self.append(node, &mut stored, entries);
                if let Some(reason) = node.broken_promise(*term, vote.as_deref(), &stored)
                    && !self.damaged
                {
                    self.complain(node, "promise-broken", &reason);
                }
                node.begin(*term, vote.clone(), stored);
            }
            TraceEvent::Vote { term, vote } => self.vote(node, *term, vote.as_deref()),
            TraceEvent::Write { io, base, from, entries } => self.write(node, *io, *base, *from, entries),
            TraceEvent::Durable { io } => node.durable(*io),
            TraceEvent::Granted { term, to } => self.granted(node, *term, to),
            TraceEvent::Acknowledged { index, .. } => self.acknowledged(node, *index),
            TraceEvent::Lead { term } => self.lead(node, *term),
            TraceEvent::Commit { term, index } => self.commit(node, *term, *index),
            TraceEvent::Applied { index, digest } => self.applied(node, *index, digest),
        }
    }

    fn vote(&mut self, node: &mut Replay, term: u64, vote: Option<&str>) {
        let before = node.vote.as_deref();
        if term < node.term {
            let what = format!("went back from term {} to {term}", node.term);
            self.complain(node, "term-regressed", &what);
        } else if term == node.term && before.is_some() && before != vote {
            let vote = vote.unwrap_or("nobody");
            let what = format!("voted for {} in term {term}, then for {vote}", before.unwrap_or_default());
            self.complain(node, "second-vote", &what);
        }
        if term != node.term {
            node.leads = None;
        }
        (node.term, node.vote) = (term, vote.map(str::to_owned));
    }

    fn granted(&mut self, node: &mut Replay, term: u64, to: &str) {
        let first = node.granted.entry(term).or_insert_with(|| to.to_owned()).clone();
        // A node whose data is gone does not know whom it voted for.
        if first != to && !self.damaged {
            self.complain(
                node,
                "second-vote",
                &format!("gave its vote in term {term} to {first} and to {to}"),
            );
        }
    }

    fn acknowledged(&mut self, node: &mut Replay, index: u64) {
        if index > node.log.last() {
            let what = format!("acknowledged entry {index}, and its log ends at {}", node.log.last());
            self.complain(node, "out-of-order", &what);
        }
        node.held = node.held.max(index.min(node.log.last()));
    }

    fn write(
        &mut self,
        node: &mut Replay,
        io: u64,
        base: Option<Position>,
        from: Option<u64>,
        entries: &[TraceEntry],
    ) {
        let mut log = std::mem::take(&mut node.log);
        if let Some(base) = base {
            log = Log { base, entries: Vec::new() };
            node.forget_after(0);
        }
        if let Some(from) = from {
            if from <= node.commit {
                let what = format!("cut its log at {from}, and knew that {} is committed", node.commit);
                self.complain(node, "committed-truncated", &what);
            } else if node.leads == Some(node.term) {
                let what = format!("cut its log at {from} while it led term {}", node.term);
                self.complain(node, "leader-truncates", &what);
            }
            log.cut(from);
            node.forget_after(from - 1);
        }
        self.append(node, &mut log, entries);
        node.writes.push_back((io, log.last()));
        node.log = log;
    }

    /// Log matching.
    fn append(&mut self, node: &Replay, log: &mut Log, entries: &[TraceEntry]) {
        for &TraceEntry(index, term, digest) in entries {
            if index != log.last() + 1 {
                let what = format!("wrote entry {index} after entry {}", log.last());
                self.complain(node, "out-of-order", &what);
                return;
            }
            let before = log.term(index - 1).unwrap_or_default();
            let known = *self.entries.entry((index, term)).or_insert((digest, before));
            if known != (digest, before) {
                let what = format!(
                    "has an entry {index} of term {term} with digest {digest} after one of term {before}; elsewhere it has digest {} after one of term {}",
                    known.0, known.1
                );
                self.complain(node, "log-mismatch", &what);
            }
            log.entries.push((term, digest));
        }
    }

    /// Election safety.
    fn lead(&mut self, node: &mut Replay, term: u64) {
        node.leads = Some(term);
        let name = node.trace.node.to_string();
        let leader = self.leaders.entry(term).or_insert_with(|| name.clone()).clone();
        if leader != name {
            self.complain(node, "two-leaders", &format!("was elected in term {term}, as {leader} was"));
        }
    }

    fn commit(&mut self, node: &mut Replay, term: u64, index: u64) {
        if index > node.log.last() || index < node.commit {
            let what = format!(
                "moved its commit index from {} to {index} with a log up to {}",
                node.commit,
                node.log.last()
            );
            self.complain(node, "out-of-order", &what);
            return;
        }
        for index in node.commit + 1..=index {
            let Some(content) = node.log.get(index) else { continue };
            let known = self.committed.entry(index).or_insert(Committed { content, term });
            known.term = known.term.min(term);
            if known.content != content {
                let what = format!(
                    "committed an entry {index} of term {} (digest {}); elsewhere it is of term {} (digest {})",
                    content.0, content.1, known.content.0, known.content.1
                );
                self.complain(node, "commit-differs", &what);
                break;
            }
        }
        node.commit = index;
    }

    fn applied(&mut self, node: &mut Replay, index: u64, digest: &str) {
        if index > node.commit || index < node.applied {
            let what =
                format!("applied entry {index} after {} with commit index {}", node.applied, node.commit);
            self.complain(node, "out-of-order", &what);
        }
        node.applied = index;
        let name = node.trace.node.to_string();
        let (who, known) = self.applied.entry(index).or_insert_with(|| (name, digest.to_owned())).clone();
        if known != digest {
            let what = format!("has digest {digest} after entry {index}, where that of {who} was {known}");
            self.complain(node, "applied-differs", &what);
        }
    }

    fn leaders_are_complete(&mut self, trace: &Trace) {
        let mut node = Replay::of(trace);
        for (line, event) in &trace.events {
            node.line = *line;
            match event {
                TraceEvent::Begin { base, entries, .. } => {
                    node.log = Log { base: *base, entries: contents(entries) };
                }
                TraceEvent::Write { base, from, entries, .. } => {
                    if let Some(base) = base {
                        node.log = Log { base: *base, entries: Vec::new() };
                    }
                    from.iter().for_each(|from| node.log.cut(*from));
                    node.log.entries.extend(contents(entries));
                }
                TraceEvent::Lead { term } => self.is_complete(&node, *term),
                _ => {}
            }
        }
    }

    fn is_complete(&mut self, node: &Replay, term: u64) {
        let due = self.committed.range(node.log.base.0 + 1..);
        let missing = due
            .filter(|(_, committed)| committed.term < term)
            .find(|(index, committed)| node.log.get(**index) != Some(committed.content));
        if let Some((index, committed)) = missing {
            let what = format!(
                "was elected in term {term} without entry {index} of term {}, which was committed in term {} at the latest",
                committed.content.0, committed.term
            );
            self.complain(node, "leader-incomplete", &what);
        }
    }

    fn complain(&mut self, node: &Replay, kind: &str, what: &str) {
        if self.anomalies.iter().filter(|anomaly| anomaly.kind == kind).count() >= ANOMALIES_PER_KIND {
            return;
        }
        let name = &node.trace.node;
        self.anomalies.push(Anomaly {
            id: String::new(),
            kind: kind.to_owned(),
            explanation: format!("By its own trace node {name} {what} ({}:{}).", file(name), node.line),
            operations: Vec::new(),
            key: None,
            details: Vec::new(),
        });
    }
}

fn contents(entries: &[TraceEntry]) -> Vec<Content> {
    entries.iter().map(|&TraceEntry(_, term, digest)| (term, digest)).collect()
}

/// One node, up to a line of its trace.
struct Replay<'a> {
    trace: &'a Trace,
    line: u64,
    term: u64,
    vote: Option<String>,
    log: Log,
    commit: u64,
    applied: u64,
    leads: Option<u64>,
    /// Votes that left the node, by term, in all its processes.
    granted: BTreeMap<u64, String>,
    /// Writes that are not durable, with the last index of what is left of each.
    writes: VecDeque<(u64, u64)>,
    /// What the log holds up to here is promised to be there after a restart.
    held: u64,
    /// Whether a process of it has begun before.
    is_known: bool,
}

impl<'a> Replay<'a> {
    fn of(trace: &'a Trace) -> Self {
        Self {
            trace,
            line: 0,
            term: 0,
            vote: None,
            log: Log::default(),
            commit: 0,
            applied: 0,
            leads: None,
            granted: BTreeMap::new(),
            writes: VecDeque::new(),
            held: 0,
            is_known: false,
        }
    }

    fn begin(&mut self, term: u64, vote: Option<String>, stored: Log) {
        (self.commit, self.applied) = (stored.base.0, stored.base.0);
        (self.term, self.vote, self.log) = (term, vote, stored);
        self.held = self.log.last();
        self.leads = None;
        self.writes.clear();
        self.is_known = true;
    }

    /// A log that was cut need not come back as it was behind the cut; whether the cut is on the disk nobody knows yet.
    fn forget_after(&mut self, index: u64) {
        self.held = self.held.min(index);
        self.writes.iter_mut().for_each(|(_, last)| *last = (*last).min(index));
    }

    fn durable(&mut self, io: u64) {
        while let Some((_, last)) = self.writes.pop_front_if(|(write, _)| *write <= io) {
            self.held = self.held.max(last);
        }
    }

    /// What a process that goes on from this state has lost of what the one before has promised.
    fn broken_promise(&self, term: u64, vote: Option<&str>, stored: &Log) -> Option<String> {
        if !self.is_known {
            return None;
        }
        if let Some((granted, to)) = self.granted.last_key_value()
            && (term < *granted || term == *granted && vote != Some(to))
        {
            let vote = vote.unwrap_or("nobody");
            return Some(format!(
                "gave its vote in term {granted} to {to}, and after a restart was in term {term} with a vote for {vote}"
            ));
        }
        if stored.last() < self.held {
            return Some(format!(
                "had promised to hold entry {}, and after a restart its log ended at {}",
                self.held,
                stored.last()
            ));
        }
        let first = stored.base.0.max(self.log.base.0) + 1;
        let lost = (first..=self.held).find(|&index| stored.get(index) != self.log.get(index))?;
        Some(format!("had promised to hold entry {lost}, and after a restart has another one there"))
    }
}
