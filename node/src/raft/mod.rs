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
//! leadership in a round that started after the read arrived. A proposal is answered with the applied entry, or with
//! "unknown" when the leadership ends first; never with "failed" once it is in the log.
//!
//! # What it does not do
//! Compaction, membership change and client sessions.
//!
//! Start reading at [`Core::step`], then `election`, `follower`, `leader`, `reads`.

mod election;
mod follower;
mod interface;
mod leader;
mod log;
mod message;
mod outbox;
mod progress;
mod quorum;
mod reads;
mod types;

use std::collections::BTreeSet;

pub use self::interface::{Answer, Committed, Config, Effects, Input, Limits, Persist, RoleName, Status};
use self::leader::Leadership;
pub use self::log::Log;
pub use self::message::{Append, AppendReply, Body, Message};
use self::outbox::Outbox;
pub use self::quorum::Voters;
pub use self::types::{
    Entry, HardState, Index, IoId, Jitter, LogPosition, Millis, NODE_ID_BYTES, NodeId, Payload, RequestId,
    Round, Term,
};

#[derive(Clone, Debug)]
enum Role {
    Follower,
    PreCandidate { granted: BTreeSet<NodeId> },
    Candidate { granted: BTreeSet<NodeId> },
    Leader(Box<Leadership>),
}

/// The state of one node.
#[derive(Clone, Debug)]
pub struct Core {
    config: Config,
    /// Term and vote in memory; what is durable lags behind by the writes in flight.
    hard_state: HardState,
    log: Log,
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
}

impl Core {
    /// A node with what its storage gave back; empty for a new node.
    ///
    /// # Panics
    /// When the configuration does not list this node, or the log is newer than the term.
    pub fn new(config: Config, hard_state: HardState, log: Log, now: Millis, jitter: Jitter) -> Self {
        assert!(config.voters.contains(config.id), "invariant: a node is a member of its cluster");
        assert!(
            log.last().term <= hard_state.term,
            "invariant: the term is stored before entries of that term"
        );
        let mut core = Self {
            config,
            hard_state,
            log,
            commit: Index(0),
            applied: Index(0),
            role: Role::Follower,
            leader: None,
            leader_heard: now,
            now,
            last_tick: now,
            jitter,
            election_deadline: now,
            outbox: Outbox::default(),
        };
        core.reset_election_deadline();
        core
    }

    /// Takes in what happened until `now` and says what to do about it.
    pub fn step(&mut self, now: Millis, inputs: impl IntoIterator<Item = Input>) -> Effects {
        self.now = self.now.max(now);
        for input in inputs {
            self.take(input);
        }
        self.apply();
        self.answer_reads();
        self.open_read_round();
        self.replicate();
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
        Status { role, term, leader, commit: self.commit, applied: self.applied, last: self.log.last() }
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
        if gap >= self.config.election {
            return self.reset_election_deadline();
        }
        if self.now >= self.election_deadline {
            self.ask_for_pre_votes();
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        if from == self.config.id || !self.config.voters.contains(from) {
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
            Body::Vote { last } => self.on_vote(from, last),
            Body::VoteReply { granted } => self.on_vote_reply(from, granted),
            Body::Append(append) => self.on_append(from, append),
            Body::AppendReply(reply) => self.on_append_reply(from, reply),
            Body::Heartbeat { commit, round } => self.on_heartbeat(from, commit, round),
            Body::HeartbeatReply { round } => self.on_heartbeat_reply(from, round),
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

    fn send_to_peers(&mut self, body: &Body) {
        let peers: Vec<NodeId> = self.peers().collect();
        for peer in peers {
            self.send(peer, body.clone());
        }
    }

    fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.config.voters.iter().filter(|&id| id != self.config.id)
    }

    fn write(&mut self) {
        if self.log.has_unwritten() || self.outbox.has_hard_state() {
            let unwritten = self.log.take_unwritten();
            self.outbox.persist(self.hard_state, self.log.last_index(), unwritten);
        }
    }

    fn persisted(&mut self, io: IoId) {
        self.outbox.durable(io);
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
            let request = self.take_proposal(&entry);
            self.outbox.commit(Committed { entry, request });
        }
    }
}
