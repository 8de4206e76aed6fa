//! The task that owns the node: collects what happened, steps the core, performs its effects.
//!
//! # Order
//! Of the effects of one step the write is started first, then messages leave, then entries are applied, then requests are
//! answered. Nothing waits for the disk here: the core holds back what depends on it.
//!
//! # Batching
//! The task wakes up once, lets every other task that is ready run, and then takes all that has arrived: one step, one write,
//! one append per follower. Under load batches grow by themselves; without load nothing lingers.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::clock::Clock;
use super::peers::Peers;
use super::request::{Operation, Query, Reply, Request};
use super::snapshots::SnapshotThread;
use super::trace::Trace;
use super::waiters::{Wait, Waiter, Waiters};
use super::watchers::Watchers;
use crate::error::NodeError;
use crate::events::EventLog;
use crate::machine::{Machine, Proposal};
use crate::metrics::Counters;
use crate::options::Options;
use crate::raft::{
    Answer, Change, Committed, Config, Core, Effects, HardState, Index, Input, IoId, Jitter, Log,
    LogPosition, Millis, NodeId, RequestId, RoleName, Snapshot, Status,
};
use crate::transport::Received;
use crate::wal::{Recovered, WalThread};

/// How often the core learns that time has passed.
const TICK: Duration = Duration::from_millis(10);
/// Requests or messages that one step takes; the rest waits for the next one.
const MAX_STEP_INPUTS: usize = 4_096;
/// What a listing may have.
const MAX_LISTING_BYTES: usize = 64 << 20;

/// A snapshot is made when so many bytes were applied since the last one, however few entries they were: the log is in
/// memory until then.
const SNAPSHOT_BYTES: usize = 64 << 20;

/// Where everything arrives.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) requests: Receiver<Request>,
    pub(crate) messages: Receiver<Received>,
    /// Reports of the log thread; there is at most one per write that was started.
    pub(crate) durable: UnboundedReceiver<IoId>,
    /// Snapshots that are durable; there is at most one at a time.
    pub(crate) stored: UnboundedReceiver<LogPosition>,
}

/// What the driver works with.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) wal: WalThread,
    pub(crate) snapshots: SnapshotThread,
    pub(crate) peers: Peers,
    pub(crate) log: EventLog,
}

/// The owner of the node's state.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(super) core: Core,
    pub(super) machine: Machine,
    pub(super) waiters: Waiters,
    watchers: Watchers,
    wal: WalThread,
    snapshots: SnapshotThread,
    peers: Peers,
    log: EventLog,
    trace: Trace,
    pub(super) id: String,
    snapshot_entries: u64,
    /// What the last snapshot that was made stands for.
    snapshot_at: Index,
    /// Payload bytes that were applied since then.
    applied_bytes: usize,
    /// The entry whose members the peers were learned from.
    members_since: Index,
    pub(super) mutant: Option<String>,
    clock: Clock,
    next_tick: Instant,
    last_proposal: Instant,
    inputs: Vec<Input>,
    pub(super) counters: Counters,
    /// What the last event line said, to report changes only.
    reported: Status,
    /// The vote of the last event line.
    reported_vote: HardState,
    /// Whether watchers are let go.
    is_stopping: bool,
    /// How far the watchers were told.
    told: Index,
}

impl Driver {
    /// A driver that goes on from what was recovered; an empty log begins with the `founders`.
    ///
    /// # Errors
    /// When the stored state cannot be read.
    pub(crate) fn new(
        config: Config,
        options: &Options,
        recovered: Recovered,
        tools: Tools,
    ) -> Result<Self, NodeError> {
        let id = config.id.to_string();
        let Tools { wal, snapshots, peers, log } = tools;
        let Recovered { hard_state, snapshot, entries } = recovered;
        let machine = snapshot.as_ref().map_or(Ok(Machine::default()), |s| Machine::decode(s.state.clone()));
        let machine = machine.map_err(|error| NodeError::State { reason: error.to_string() })?;
        #[cfg(feature = "mutants")]
        let machine = machine.with_mutant(config.mutant);
        let (base, members) = match &snapshot {
            Some(snapshot) => (snapshot.last, snapshot.members.clone()),
            None => (LogPosition::default(), options.founders()?),
        };
        let entries = Log::recovered(base, members, entries);
        let clock = Clock::start(&config);
        let core = Core::new(config, hard_state, entries, snapshot, Millis(0), jitter());
        let (reported, started) = (core.status(), Instant::now());
        let trace = Trace::begin(options.trace.as_deref(), &core, options.join, log)
            .map_err(|source| NodeError::System { operation: "write the trace", source })?;
        let reported_vote = core.hard_state();
        log.info("started", json!({ "term": reported.term.0, "last_index": reported.last.index.0 }));
        Ok(Self {
            core,
            machine,
            waiters: Waiters::default(),
            watchers: Watchers::default(),
            wal,
            snapshots,
            peers,
            log,
            trace,
            id,
            snapshot_entries: options.snapshot_entries.max(1),
            snapshot_at: base.index,
            applied_bytes: 0,
            members_since: Index(0),
            mutant: options.mutant.clone(),
            clock,
            next_tick: started + TICK,
            last_proposal: started,
            inputs: Vec::new(),
            counters: Counters::default(),
            reported,
            reported_vote,
            is_stopping: false,
            told: base.index,
        })
    }

    /// Runs until it is dropped, which loses nothing that has arrived.
    pub(crate) async fn run(&mut self, inbox: &mut Inbox) {
        loop {
            tokio::select! {
                Some(io) = inbox.durable.recv() => self.durable(io),
                Some(last) = inbox.stored.recv() => self.inputs.push(Input::Stored(last)),
                Some((from, message)) = inbox.messages.recv() => self.inputs.push(Input::Receive { from, message }),
                Some(request) = inbox.requests.recv() => self.admit(request),
                () = sleep_until(self.next_tick) => {}
            }
            yield_now().await;
            self.collect(inbox);
            self.tick();
            let inputs = std::mem::take(&mut self.inputs);
            // The time is read after everything has arrived: a read under a lease is of this moment, however long it takes to
            // answer it.
            let effects = self.core.step(self.clock.now(), inputs);
            self.trace.stepped(&self.core, &effects);
            self.perform(effects);
            self.tell_watchers();
            self.learn_members();
            self.take_snapshot();
            self.report();
        }
    }

    /// Begins to stop: watchers are let go, and somebody else is asked to lead. Completes when that is settled; until then,
    /// and as long as requests are to be answered, the driver must be run.
    pub(crate) fn prepare_to_stop(&mut self) -> oneshot::Receiver<Reply> {
        self.watchers.end();
        self.is_stopping = true;
        let (reply, replied) = oneshot::channel();
        let request = self.waiters.add(Wait::Write, reply);
        self.inputs.push(Input::Transfer { request, to: None });
        replied
    }

    fn collect(&mut self, inbox: &mut Inbox) {
        while let Ok(io) = inbox.durable.try_recv() {
            self.durable(io);
        }
        while self.inputs.len() < MAX_STEP_INPUTS
            && let Ok((from, message)) = inbox.messages.try_recv()
        {
            self.inputs.push(Input::Receive { from, message });
        }
        while self.inputs.len() < 2 * MAX_STEP_INPUTS
            && let Ok(request) = inbox.requests.try_recv()
        {
            self.admit(request);
        }
    }

    fn durable(&mut self, io: IoId) {
        self.trace.durable(io);
        self.inputs.push(Input::Persisted(io));
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            if self.reported.role != RoleName::Leader {
                self.last_proposal = now;
            }
            self.inputs.push(Input::Tick { jitter: jitter() });
            self.waiters.expire(now);
            self.watchers.tell(&self.machine, self.core.status().applied, now);
        }
    }

    fn admit(&mut self, Request { operation, reply }: Request) {
        match operation {
            Operation::Write(action) => {
                self.counters.proposals += 1;
                let request = self.waiters.add(Wait::Write, reply);
                let proposal = Proposal { elapsed_ms: self.since_last_proposal(), action };
                let command = proposal.encode();
                #[cfg(feature = "mutants")]
                if let Some(applied) = self.machine.known(&command) {
                    let waiter = self.waiters.take(request).expect("invariant: it has just been added");
                    return waiter.reply(Reply::Applied(applied));
                }
                self.inputs.push(Input::Propose { request, command });
            }
            Operation::Read(query) => {
                self.counters.reads += 1;
                let request = self.waiters.add(Wait::Read(query), reply);
                self.inputs.push(Input::Read { request });
            }
            Operation::Change(change) => self.change(change, reply),
            Operation::Transfer(to) => {
                let request = self.waiters.add(Wait::Write, reply);
                self.inputs.push(Input::Transfer { request, to });
            }
            Operation::ReadLocal(query) => {
                self.counters.local_reads += 1;
                let _ = reply.send(self.look_up(&query));
            }
            Operation::Watch(watch) if !self.is_stopping => {
                self.watchers.ask(watch, reply, &self.machine, self.core.status().applied);
            }
            Operation::Watch(_) => {}
            Operation::Members => drop(reply.send(Reply::Members(Box::new(self.members_report())))),
            Operation::Status => drop(reply.send(Reply::Status(Box::new(self.status_report())))),
            Operation::Metrics => drop(reply.send(Reply::Metrics(Box::new(self.gauges())))),
            Operation::Log { from, to } => {
                drop(reply.send(Reply::Log(Box::new(self.log_report(from, to)))));
            }
            Operation::Hash => drop(reply.send(Reply::Hash(Box::new(self.hash_report())))),
        }
    }

    fn tell_watchers(&mut self) {
        let applied = self.core.status().applied;
        if applied != self.told && !self.watchers.is_empty() {
            self.watchers.tell(&self.machine, applied, Instant::now());
        }
        self.told = applied;
    }

    fn perform(&mut self, effects: Effects) {
        if let Some(write) = effects.persist {
            self.wal.write(write);
        }
        for (to, message) in effects.messages {
            self.peers.send(to, message);
        }
        if let Some(snapshot) = effects.store {
            self.log.info(
                "storing-snapshot",
                json!({ "last_index": snapshot.last.index.0, "bytes": snapshot.state.len() }),
            );
            self.snapshots.store(snapshot);
        }
        if let Some(snapshot) = effects.install {
            self.install(&snapshot);
        }
        let applied = self.core.status().applied;
        let has_applied = !effects.committed.is_empty();
        for committed in effects.committed {
            self.apply(&committed);
        }
        if has_applied {
            self.trace.applied(applied, || self.machine.digest());
        }
        for (request, answer) in effects.answers {
            self.answer(request, answer);
        }
    }

    fn change(&mut self, change: Change, reply: oneshot::Sender<Reply>) {
        let unreachable = |(id, address): (&NodeId, &Option<SocketAddr>)| {
            (address.is_none() && !self.peers.knows(*id)).then_some(*id)
        };
        if let Some(id) = change.add.iter().find_map(unreachable) {
            return drop(reply.send(Reply::NoAddress(id)));
        }
        let request = self.waiters.add(Wait::Write, reply);
        self.inputs.push(Input::Change { request, change });
    }

    /// Replaces the state by one that another node has applied.
    fn install(&mut self, snapshot: &Snapshot) {
        let machine = Machine::decode(snapshot.state.clone())
            .expect("invariant: a snapshot was encoded by this version, and its checksum was right");
        #[cfg(feature = "mutants")]
        let machine = machine.with_mutant(self.core.mutant());
        self.machine = machine;
        self.snapshot_at = snapshot.last.index;
        self.counters.snapshots_installed += 1;
        self.applied_bytes = 0;
        self.log.info("snapshot-installed", json!({ "last_index": snapshot.last.index.0 }));
    }

    /// Makes a snapshot when enough was applied since the last one.
    fn take_snapshot(&mut self) {
        let applied = self.core.status().applied;
        let is_due = applied.0 >= self.snapshot_at.0 + self.snapshot_entries;
        if !is_due && self.applied_bytes < SNAPSHOT_BYTES {
            return;
        }
        self.snapshot_at = applied;
        self.counters.snapshots_made += 1;
        self.applied_bytes = 0;
        self.inputs.push(Input::Snapshot { applied, state: self.machine.encode() });
    }

    /// Makes new members reachable.
    fn learn_members(&mut self) {
        let since = self.core.log().members_since();
        if since != self.members_since {
            self.members_since = since;
            self.peers.learn(self.core.log().members());
            self.log.info("members", json!(self.members_report()));
        }
    }

    fn apply(&mut self, committed: &Committed) {
        self.counters.applied_entries += 1;
        self.applied_bytes += committed.entry.payload.size_bytes();
        let reply = self.machine.take(committed).map_or(Reply::Changed, Reply::Applied);
        if let Some(waiter) = committed.request.and_then(|request| self.waiters.take(request)) {
            waiter.reply(reply);
        }
    }

    /// What a proposal adds to the log time. A leader counts from the moment when it began to lead: what was before has been
    /// counted by the leader before.
    fn since_last_proposal(&mut self) -> u64 {
        let now = Instant::now();
        let last = std::mem::replace(&mut self.last_proposal, now);
        now.duration_since(last).as_millis() as u64
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        let Some(waiter) = self.waiters.take(request) else {
            return;
        };
        let reply = match answer {
            Answer::ReadReady => self.read(&waiter),
            Answer::NotLeader(leader) => Reply::NotLeader(leader),
            Answer::Overloaded => Reply::Overloaded,
            Answer::UnknownOutcome => Reply::UnknownOutcome,
            Answer::NoQuorum => Reply::NoQuorum,
            Answer::Refused(refusal) => Reply::Refused(refusal),
            Answer::Transferred => Reply::Transferred,
            Answer::NotTransferred => Reply::NotTransferred,
            #[cfg(feature = "mutants")]
            Answer::Appended(index) => self.acknowledge_early(index),
        };
        waiter.reply(reply);
    }

    fn read(&self, waiter: &Waiter) -> Reply {
        match &waiter.wait {
            Wait::Read(query) => self.look_up(query),
            Wait::Write => unreachable!("invariant: only reads become ready to read"),
        }
    }

    fn look_up(&self, query: &Query) -> Reply {
        match query {
            Query::Key(key) => {
                Reply::Value { found: self.machine.get(key), revision: self.machine.revision() }
            }
            Query::Prefix(prefix) => {
                let entries = self.machine.entries(prefix, MAX_LISTING_BYTES);
                Reply::Entries { entries, revision: self.machine.revision() }
            }
        }
    }

    /// What mutant B6 tells the client before the entry is committed.
    #[cfg(feature = "mutants")]
    fn acknowledge_early(&self, index: crate::raft::Index) -> Reply {
        let entry = self.core.log().get(index).expect("invariant: the entry has just been appended");
        let crate::raft::Payload::Command(command) = &entry.payload else {
            unreachable!("invariant: clients propose commands")
        };
        let position = LogPosition { term: entry.term, index };
        let proposal = Proposal::decode(command.clone());
        let proposal = proposal.expect("invariant: proposals were encoded by this version");
        Reply::Applied(self.machine.foretell(position, proposal))
    }

    /// Logs votes, and changes of leadership, role and term.
    fn report(&mut self) {
        let (status, vote) = (self.core.status(), self.core.hard_state());
        if vote != self.reported_vote {
            self.reported_vote = vote;
            if let Some(candidate) = vote.vote {
                self.log.info("voted", json!({ "term": vote.term.0, "for": candidate.as_str() }));
            }
        }
        let key = |status: &Status| (status.term, status.leader, status.role);
        if key(&status) == key(&self.reported) {
            return;
        }
        if status.leader != self.reported.leader {
            self.counters.leader_changes += 1;
        }
        let event = match (self.reported.role, status.role, status.leader) {
            (_, RoleName::Leader, _) => {
                self.counters.leaderships += 1;
                "became-leader"
            }
            (RoleName::Leader, _, _) => "stepped-down",
            (_, RoleName::PreCandidate, _) => "asking-for-pre-votes",
            (_, RoleName::Candidate, _) => "asking-for-votes",
            (_, _, Some(_)) => "following",
            (_, _, None) => "leaderless",
        };
        let leader = status.leader.map(|leader| leader.to_string());
        self.log.info(event, json!({ "term": status.term.0, "leader": leader, "commit": status.commit.0 }));
        self.reported = status;
    }
}

/// The seeds of hash maps are the randomness that the standard library offers.
fn jitter() -> Jitter {
    Jitter(RandomState::new().hash_one(0_u8) as u16)
}
