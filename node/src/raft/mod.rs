//! The protocol core: inputs in, effects out, no I/O.
//!
//! [`Core::step`] takes the time and everything that happened since the last call, and returns what the driver has to do.
//! The core reads no clock, draws no random number, does no I/O and iterates over no hash map: the same calls give the
//! same effects.
//!
//! # Order
//! The driver performs the [`Effects`] of one step in this order: start the write, send the messages, apply the entries,
//! answer the requests. It does not wait for the write: a leader sends entries while it writes them itself (thesis,
//! section 10.2.1). What depends on durability (votes, acknowledgements of appends, a leader's own part in a commit) the
//! core holds back until [`Input::Persisted`] reports the write. Writes must become durable in the order in which they
//! were issued.
//!
//! # What it guarantees
//! The safety properties of Raft, figure 3, and linearizable reads: a read is answered only after a majority has confirmed the
//! leadership in a round that started after the read arrived, or, if that is wanted and clocks can be trusted, has promised to elect
//! nobody else before now. A proposal is answered with the applied entry, or with
//! "unknown" when the leadership ends first; never with "failed" once it is in the log.
//!
//! # What it does not do
//! Client sessions: they are a part of the state machine.
//!
//! Start reading at [`Core::step`], then `election`, `follower`, `leader`, `reads`, `changes`, `snapshots`, `transfer`.

mod canonical;
mod changes;
mod election;
mod follower;
mod interface;
mod leader;
mod log;
mod membership;
mod message;
mod outbox;
mod progress;
mod reads;
mod report;
mod snapshots;
mod transfer;
mod types;

use std::collections::BTreeSet;

pub use self::interface::{Answer, Committed, Config, Effects, Input, Limits, Persist, RoleName, Status};
use self::leader::Leadership;
pub use self::log::Log;
pub use self::membership::{Change, Membership, Refusal};
pub use self::message::{Append, AppendReply, Body, Chunk, Message};
use self::outbox::Outbox;
use self::snapshots::Snapshots;
pub use self::types::{
    Entry, HardState, Index, IoId, Jitter, LogPosition, Millis, NODE_ID_BYTES, NodeId, Payload, RequestId,
    Round, Snapshot, Term,
};
use crate::mutant::mutant;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    Follower,
    PreCandidate { granted: BTreeSet<NodeId> },
    Candidate { granted: BTreeSet<NodeId> },
    Leader(Box<Leadership>),
}

/// The state of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    config: Config,
    /// Term and vote in memory; what is durable lags behind by the writes in flight.
    hard_state: HardState,
    log: Log,
    snapshots: Snapshots,
    commit: Index,
    applied: Index,
    role: Role,
    /// The leader of the current term.
    leader: Option<NodeId>,
    /// When that leader last gave a sign of life.
    leader_heard: Millis,
    now: Millis,
    last_tick: Millis,
    jitter: Jitter,
    /// When a node without a living leader asks for votes.
    election_deadline: Millis,
    outbox: Outbox,
    /// Clients of proposals of earlier leaderships, by index; only mutant B7 keeps them.
    #[cfg(feature = "mutants")]
    orphans: std::collections::BTreeMap<Index, RequestId>,
}

impl Core {
    /// A node with what its storage gave back; a new node has an empty log that names the first members, or nobody if it waits
    /// to be added. A log that begins after a snapshot comes with it.
    ///
    /// # Panics
    /// When the log is newer than the term, or begins later than the snapshot.
    pub fn new(
        config: Config,
        hard_state: HardState,
        log: Log,
        snapshot: Option<Snapshot>,
        now: Millis,
        jitter: Jitter,
    ) -> Self {
        #[cfg(feature = "mutants")]
        let (hard_state, log) = Self::forgetting(&config, hard_state, log);
        let applied = snapshot.as_ref().map_or(LogPosition::default(), |snapshot| snapshot.last);
        assert!(log.base().index <= applied.index, "invariant: a snapshot stands for what the log lacks");
        assert!(
            log.last().term <= hard_state.term,
            "invariant: the term is stored before entries of that term"
        );
        let mut core = Self {
            config,
            hard_state,
            log,
            snapshots: Snapshots::recovered(snapshot),
            commit: applied.index,
            applied: applied.index,
            role: Role::Follower,
            leader: None,
            leader_heard: now,
            now,
            last_tick: now,
            jitter,
            election_deadline: now,
            outbox: Outbox::default(),
            #[cfg(feature = "mutants")]
            orphans: std::collections::BTreeMap::new(),
        };
        core.reset_election_deadline();
        core
    }

    /// What mutants have left of what was recovered.
    #[cfg(feature = "mutants")]
    fn forgetting(config: &Config, hard_state: HardState, mut log: Log) -> (HardState, Log) {
        if mutant!(config, F10) {
            log.truncate_from(log.base().index.next());
        }
        let stored = log.last().term;
        let forgets = mutant!(config, F10) || mutant!(config, A2) && stored < hard_state.term;
        (if forgets { HardState { term: stored, vote: None } } else { hard_state }, log)
    }

    /// Takes in what happened until `now` and says what to do about it.
    pub fn step(&mut self, now: Millis, inputs: impl IntoIterator<Item = Input>) -> Effects {
        self.now = self.now.max(now);
        for input in inputs {
            self.take(input);
        }
        self.apply();
        self.complete_change();
        self.answer_reads();
        self.open_read_round();
        self.replicate();
        self.leave_if_removed();
        self.write();
        self.outbox.release();
        self.outbox.take()
    }

    /// A summary for people and tests.
    pub fn status(&self) -> Status {
        let role = match self.role {
            Role::Follower => RoleName::Follower,
            Role::PreCandidate { .. } => RoleName::PreCandidate,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        };
        let (term, leader) = (self.hard_state.term, self.leader);
        let (last, base) = (self.log.last(), self.log.base());
        Status { role, term, leader, commit: self.commit, applied: self.applied, last, base }
    }

    /// What this node does wrong.
    #[cfg(feature = "mutants")]
    pub fn mutant(&self) -> Option<crate::mutant::Mutant> {
        self.config.mutant
    }

    /// The log in memory.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Term and vote in memory.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick { jitter } => self.tick(jitter),
            Input::Receive { from, message } => self.receive(from, message),
            Input::Persisted(io) => self.persisted(io),
            Input::Propose { request, command } => self.propose(request, command),
            Input::Read { request } => self.read(request),
            Input::Change { request, change } => self.change(request, &change),
            Input::Transfer { request, to } => self.transfer(request, to),
            Input::Snapshot { applied, state } => self.snapshot(applied, state),
            Input::Stored(last) => self.stored(last),
        }
    }

    fn tick(&mut self, jitter: Jitter) {
        self.jitter = jitter;
        let gap = self.now.since(self.last_tick);
        self.last_tick = self.now;
        if matches!(self.role, Role::Leader(_)) {
            return self.lead();
        }
        // A process that was stopped cannot tell the leader's silence from its own.
        if gap >= self.config.election || !self.may_campaign() {
            return self.reset_election_deadline();
        }
        if self.now >= self.election_deadline {
            self.ask_for_pre_votes();
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        // Whoever speaks is heard, also if this node does not know it as a member: it may lack the entry that says so (thesis,
        // section 4.1). Only answers of members count.
        if from == self.config.id {
            return;
        }
        if message.term > self.hard_state.term {
            if self.is_disruption(&message.body) {
                return;
            }
            self.adopt_term(message.term);
        }
        if message.term < self.hard_state.term {
            if message.body.is_request() {
                self.send(from, Body::Outdated);
            }
            return;
        }
        self.receive_in_term(from, message.body);
    }

    fn receive_in_term(&mut self, from: NodeId, body: Body) {
        if let Role::Leader(leadership) = &mut self.role {
            leadership.heard(from, self.now);
        }
        match body {
            Body::PreVote { last } => self.on_pre_vote(from, last),
            Body::PreVoteReply { granted } => self.on_pre_vote_reply(from, granted),
            Body::Vote { last, transferred } => self.on_vote(from, last, transferred),
            Body::VoteReply { granted } => self.on_vote_reply(from, granted),
            Body::Append(append) => self.on_append(from, append),
            Body::AppendReply(reply) => self.on_append_reply(from, reply),
            Body::Heartbeat { commit, round } => self.on_heartbeat(from, commit, round),
            Body::HeartbeatReply { round } => self.on_heartbeat_reply(from, round),
            Body::Chunk(chunk) => self.on_chunk(from, chunk),
            Body::ChunkReply { transfer, received } => self.on_chunk_reply(from, transfer, received),
            Body::TimeoutNow => self.on_timeout_now(from),
            Body::Outdated => {}
        }
    }

    fn send(&mut self, to: NodeId, body: Body) {
        self.outbox.send(to, Message { term: self.hard_state.term, body });
    }

    /// Sends once everything that this node knows by then is durable.
    fn send_when_durable(&mut self, to: NodeId, body: Body) {
        let message = Message { term: self.hard_state.term, body };
        self.outbox.hold(to, message, self.log.has_unwritten());
    }

    /// Everybody else who gets the log.
    fn peers(&self) -> impl Iterator<Item = NodeId> + use<> {
        let me = self.config.id;
        self.log.members().members().into_iter().filter(move |&id| id != me)
    }

    fn write(&mut self) {
        if self.log.has_unwritten() || self.outbox.has_changes() {
            let unwritten = self.log.take_unwritten();
            let vote = self.hard_state.vote.filter(|_| !mutant!(self.config, A1));
            let stored = HardState { vote, ..self.hard_state };
            self.outbox.persist(stored, self.log.last_index(), unwritten);
            if mutant!(self.config, B11)
                && let Role::Leader(leadership) = &mut self.role
            {
                leadership.own_durable = self.log.last_index();
            }
        }
    }

    fn persisted(&mut self, io: IoId) {
        self.outbox.durable(io);
        #[cfg(feature = "mutants")]
        if mutant!(self.config, B17) {
            self.outbox.durable_up_to(io.last);
        }
        if io.term != self.hard_state.term {
            return;
        }
        match &mut self.role {
            Role::Candidate { granted } => {
                granted.insert(self.config.id);
                self.lead_if_elected();
            }
            Role::Leader(leadership) => {
                leadership.own_durable = leadership.own_durable.max(io.last);
                self.advance_commit();
            }
            Role::Follower | Role::PreCandidate { .. } => {}
        }
    }

    fn apply(&mut self) {
        while self.applied < self.commit {
            self.applied = self.applied.next();
            let entry =
                self.log.get(self.applied).expect("invariant: a committed entry is in the log").clone();
            let request = self.take_proposal(&entry).or_else(|| self.take_change(&entry));
            self.outbox.commit(Committed { entry, request });
            // Applying never lags behind in this core, so the mutant that does not wait for it makes it slow.
            #[cfg(feature = "mutants")]
            if mutant!(self.config, C5) {
                break;
            }
        }
    }
}
