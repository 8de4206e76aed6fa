//! The task that owns the node: collects what happened, steps the core, performs its effects.
//!
//! # Order
//! Of the effects of one step the write is started first, then messages leave, then entries are applied, then requests are
//! answered. Nothing waits for the disk here: the core holds back what depends on it.
//!
//! # Batching
//! The task wakes up once, lets every other task that is ready run, and then takes all that has arrived: one step, one write,
//! one append per follower. Under load batches grow by themselves; without load nothing lingers.

use std::collections::BTreeSet;
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
use super::request::{MembersReport, Operation, Query, Reply, Request, StatusReport};
use super::snapshots::SnapshotThread;
use super::waiters::{Wait, Waiter, Waiters};
use crate::error::NodeError;
use crate::events::EventLog;
use crate::machine::{Machine, Proposal};
use crate::options::Options;
use crate::raft::{
    Answer, Change, Committed, Config, Core, Effects, Index, Input, IoId, Jitter, Log, LogPosition,
    Membership, Millis, NodeId, Payload, RequestId, RoleName, Snapshot, Status,
};
use crate::transport::Received;
use crate::wal::{Recovered, WalThread};

/// How often the core learns that time has passed.
const TICK: Duration = Duration::from_millis(10);
/// Requests or messages that one step takes; the rest waits for the next one.
const MAX_STEP_INPUTS: usize = 4_096;

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
    core: Core,
    machine: Machine,
    waiters: Waiters,
    wal: WalThread,
    snapshots: SnapshotThread,
    peers: Peers,
    log: EventLog,
    id: String,
    snapshot_entries: u64,
    /// What the last snapshot that was made stands for.
    snapshot_at: Index,
    /// The entry whose members the peers were learned from.
    members_since: Index,
    mutant: Option<String>,
    clock: Clock,
    next_tick: Instant,
    last_proposal: Instant,
    inputs: Vec<Input>,
    /// What the last event line said, to report changes only.
    reported: Status,
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
        let (base, members) = match &snapshot {
            Some(snapshot) => (snapshot.last, snapshot.members.clone()),
            None => (LogPosition::default(), options.founders()?),
        };
        let entries = Log::recovered(base, members, entries);
        let clock = Clock::start(&config);
        let core = Core::new(config, hard_state, entries, snapshot, Millis(0), jitter());
        let (reported, started) = (core.status(), Instant::now());
        log.info("started", json!({ "term": reported.term.0, "last_index": reported.last.index.0 }));
        Ok(Self {
            core,
            machine,
            waiters: Waiters::default(),
            wal,
            snapshots,
            peers,
            log,
            id,
            snapshot_entries: options.snapshot_entries.max(1),
            snapshot_at: base.index,
            members_since: Index(0),
            mutant: options.mutant.clone(),
            clock,
            next_tick: started + TICK,
            last_proposal: started,
            inputs: Vec::new(),
            reported,
        })
    }

    /// Runs until the inbox is closed.
    pub(crate) async fn run(&mut self, mut inbox: Inbox) {
        loop {
            tokio::select! {
                Some(io) = inbox.durable.recv() => self.inputs.push(Input::Persisted(io)),
                Some(last) = inbox.stored.recv() => self.inputs.push(Input::Stored(last)),
                Some((from, message)) = inbox.messages.recv() => self.inputs.push(Input::Receive { from, message }),
                Some(request) = inbox.requests.recv() => self.admit(request),
                () = sleep_until(self.next_tick) => {}
            }
            yield_now().await;
            self.collect(&mut inbox);
            self.tick();
            let inputs = std::mem::take(&mut self.inputs);
            // The time is read after everything has arrived: a read under a lease is of this moment, however long it takes to
            // answer it.
            let effects = self.core.step(self.clock.now(), inputs);
            self.perform(effects);
            self.learn_members();
            self.take_snapshot();
            self.report();
        }
    }

    fn collect(&mut self, inbox: &mut Inbox) {
        while let Ok(io) = inbox.durable.try_recv() {
            self.inputs.push(Input::Persisted(io));
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

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            if self.reported.role != RoleName::Leader {
                self.last_proposal = now;
            }
            self.inputs.push(Input::Tick { jitter: jitter() });
            self.waiters.expire(now);
        }
    }

    fn admit(&mut self, Request { operation, reply }: Request) {
        match operation {
            Operation::Write(action) => {
                let request = self.waiters.add(Wait::Write, reply);
                let proposal = Proposal { elapsed_ms: self.since_last_proposal(), action };
                self.inputs.push(Input::Propose { request, command: proposal.encode() });
            }
            Operation::Read(query) => {
                let request = self.waiters.add(Wait::Read(query), reply);
                self.inputs.push(Input::Read { request });
            }
            Operation::Change(change) => self.change(change, reply),
            Operation::Transfer(to) => {
                let request = self.waiters.add(Wait::Write, reply);
                self.inputs.push(Input::Transfer { request, to });
            }
            Operation::Members => drop(reply.send(Reply::Members(Box::new(self.members_report())))),
            Operation::ReadLocal(query) => drop(reply.send(self.look_up(&query))),
            Operation::Status => drop(reply.send(Reply::Status(Box::new(self.status_report())))),
        }
    }

    fn perform(&mut self, effects: Effects) {
        if let Some(write) = effects.persist {
            self.wal.write(write);
        }
        for (to, message) in effects.messages {
            self.peers.send(to, message);
        }
        if let Some(snapshot) = effects.store {
            self.snapshots.store(snapshot);
        }
        if let Some(snapshot) = effects.install {
            self.install(&snapshot);
        }
        for committed in effects.committed {
            self.apply(committed);
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
        self.machine = Machine::decode(snapshot.state.clone())
            .expect("invariant: a snapshot was encoded by this version, and its checksum was right");
        self.snapshot_at = snapshot.last.index;
        self.log.info("snapshot-installed", json!({ "last_index": snapshot.last.index.0 }));
    }

    /// Makes a snapshot when enough was applied since the last one.
    fn take_snapshot(&mut self) {
        let applied = self.core.status().applied;
        if applied.0 < self.snapshot_at.0 + self.snapshot_entries {
            return;
        }
        self.snapshot_at = applied;
        self.inputs.push(Input::Snapshot { applied, state: self.machine.encode() });
    }

    /// Makes new members reachable.
    fn learn_members(&mut self) {
        let since = self.core.log().members_since();
        if since != self.members_since {
            self.members_since = since;
            self.peers.learn(self.core.log().members());
        }
    }

    fn apply(&mut self, Committed { entry, request }: Committed) {
        self.machine.extend_digest(&entry);
        let position = LogPosition { term: entry.term, index: entry.index };
        let reply = match entry.payload {
            Payload::Noop | Payload::Members(_) => Reply::Changed,
            Payload::Command(command) => Reply::Applied(self.machine.perform(position, decode(command))),
        };
        if let Some(waiter) = request.and_then(|request| self.waiters.take(request)) {
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
            Query::Key(key) => Reply::Value(self.machine.get(key)),
            Query::Prefix(prefix) => Reply::Entries(self.machine.entries(prefix)),
        }
    }

    /// What mutant B6 tells the client before the entry is committed.
    #[cfg(feature = "mutants")]
    fn acknowledge_early(&self, index: crate::raft::Index) -> Reply {
        let entry = self.core.log().get(index).expect("invariant: the entry has just been appended");
        let Payload::Command(command) = &entry.payload else {
            unreachable!("invariant: clients propose commands")
        };
        let position = LogPosition { term: entry.term, index };
        Reply::Applied(self.machine.foretell(position, decode(command.clone())))
    }

    /// The other members.
    fn others(&self) -> Vec<String> {
        let members = self.core.log().members().members();
        names(&members).into_iter().filter(|id| *id != self.id).collect()
    }

    fn members_report(&self) -> MembersReport {
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

    /// Logs changes of leadership and term.
    fn report(&mut self) {
        let status = self.core.status();
        let key = |status: &Status| (status.term, status.leader, status.role == RoleName::Leader);
        if key(&status) == key(&self.reported) {
            return;
        }
        let event = match (self.reported.role, status.role, status.leader) {
            (_, RoleName::Leader, _) => "became-leader",
            (RoleName::Leader, _, _) => "stepped-down",
            (_, _, Some(_)) => "following",
            (_, _, None) => "leaderless",
        };
        let leader = status.leader.map(|leader| leader.to_string());
        self.log.info(event, json!({ "term": status.term.0, "leader": leader, "commit": status.commit.0 }));
        self.reported = status;
    }

    fn status_report(&self) -> StatusReport {
        let status = self.core.status();
        StatusReport {
            id: self.id.clone(),
            role: match status.role {
                RoleName::Follower => "follower",
                RoleName::PreCandidate => "pre-candidate",
                RoleName::Candidate => "candidate",
                RoleName::Leader => "leader",
            },
            term: status.term.0,
            leader: status.leader.map(|leader| leader.to_string()),
            commit: status.commit.0,
            applied: status.applied.0,
            applied_digest: self.machine.digest(),
            last_index: status.last.index.0,
            snapshot_index: status.base.index.0,
            peers: self.others(),
            version: env!("CARGO_PKG_VERSION"),
            mutant: self.mutant.clone(),
        }
    }
}

fn names(ids: &BTreeSet<NodeId>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn decode(command: bytes::Bytes) -> Proposal {
    Proposal::decode(command).expect("invariant: committed commands were encoded by this version")
}

/// The seeds of hash maps are the randomness that the standard library offers.
fn jitter() -> Jitter {
    Jitter(RandomState::new().hash_one(0_u8) as u16)
}
