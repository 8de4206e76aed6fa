//! One server: the shipped core, its disk, and the driver between them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use node::raft::{
    Answer, Body, Committed, Config, Core, Entry, HardState, Index, Input, Jitter, Log, LogPosition,
    Membership, Message, Millis, NodeId, Payload, Persist, RequestId, RoleName, Term,
};

use crate::hashed::Hashed;

/// A leader's sign of life is due after this time.
const HEARTBEAT: Millis = Millis(1);
/// The patience of a follower; that of a leader is twice as long.
pub(crate) const ELECTION: Millis = Millis(10);

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    /// How often the node has started from it.
    pub(crate) starts: u8,
}

impl Disk {
    fn after(&self, write: Persist) -> Self {
        let mut disk = self.clone();
        disk.hard_state = write.hard_state.unwrap_or(disk.hard_state);
        if let Some(from) = write.truncate_from {
            disk.entries.truncate(from.previous().0 as usize);
        }
        assert!(write.begin_after.is_none() && write.compact_to.is_none(), "nobody makes snapshots here");
        disk.entries.extend(write.entries);
        let contiguous = (1..).zip(&disk.entries).all(|(index, entry)| entry.index == Index(index));
        assert!(contiguous, "writes leave no gap");
        disk
    }
}

/// What a node does that others can see.
#[derive(Debug)]
pub(crate) enum Output {
    Send(NodeId, Message),
    Applied(Entry, Option<RequestId>),
    Led(Term),
    /// A read is answered, with what the register holds.
    Read(RequestId, Option<u8>),
    /// An assertion of the core failed: the process is gone for good.
    Failed,
}

/// One server between two steps. Its clock stands at zero whenever it waits (`Core::rebase`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    id: NodeId,
    core: Core,
    disk: Hashed<Disk>,
    /// Writes that are not durable, oldest first.
    pending: VecDeque<Persist>,
}

impl Node {
    pub(crate) fn start(config: Config, disk: Hashed<Disk>, founders: Membership) -> Self {
        let id = config.id;
        let log = Log::recovered(LogPosition::default(), founders, disk.entries.clone());
        let core = Core::new(config, disk.hard_state, log, None, Millis(0), Jitter(0));
        let mut node = Self { id, core, disk, pending: VecDeque::new() };
        node.core.rebase();
        node
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn disk(&self) -> &Hashed<Disk> {
        &self.disk
    }

    pub(crate) fn has_pending_writes(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn role(&self) -> RoleName {
        self.core.status().role
    }

    pub(crate) fn term(&self) -> Term {
        self.core.hard_state().term
    }

    pub(crate) fn leads(&self) -> bool {
        self.role() == RoleName::Leader
    }

    pub(crate) fn has_committed_everything(&self) -> bool {
        let status = self.core.status();
        status.commit == status.last.index
    }

    /// What the register holds after everything that was applied here.
    fn register(&self) -> Option<u8> {
        let applied = self.core.status().applied;
        let entry = |index| self.core.log().get(Index(index));
        let command = |index| match &entry(index)?.payload {
            Payload::Command(command) => command.first().copied(),
            Payload::Noop | Payload::Members(_) => None,
        };
        (1..=applied.0).rev().find_map(command)
    }

    /// A message or a request arrives. A follower takes it in when it has long lost patience with its leader, so that it never refuses a
    /// candidate for the sake of a leader: a refusal changes nothing, and could as well be a lost message. A leader
    /// has just heard from everybody.
    pub(crate) fn take(&mut self, input: Input) -> Vec<Output> {
        let now = if self.leads() { Millis(0) } else { ELECTION };
        self.step(now, [input])
    }

    /// A leader gives a sign of life.
    pub(crate) fn beat(&mut self) -> Vec<Output> {
        self.step(HEARTBEAT, [tick()])
    }

    /// A leader has heard from nobody for long.
    pub(crate) fn give_up(&mut self) -> Vec<Output> {
        self.step(Millis(2 * ELECTION.0), [tick()])
    }

    /// A node without a leader runs out of patience.
    pub(crate) fn lose_patience(&mut self) -> Vec<Output> {
        self.step(Millis(0), [tick()])
    }

    /// A node runs out of patience, and everybody would vote for it. What it asks them is lost.
    pub(crate) fn campaign(&mut self) -> Vec<Output> {
        let mut outputs = self.lose_patience();
        outputs.retain(|output| !matches!(output, Output::Send(..)));
        let (me, term) = (self.id, self.term());
        for voter in self.core.log().members().all_voters().into_iter().filter(|&voter| voter != me) {
            if self.role() == RoleName::PreCandidate {
                let message = Message { term, body: Body::PreVoteReply { granted: true } };
                outputs.extend(self.step(Millis(0), [Input::Receive { from: voter, message }]));
            }
        }
        outputs
    }

    /// The oldest write becomes durable.
    pub(crate) fn sync(&mut self) -> Vec<Output> {
        let Some(write) = self.pending.pop_front() else {
            return Vec::new();
        };
        let io = write.io;
        self.disk = Hashed::new(self.disk.after(write));
        self.step(Millis(0), [Input::Persisted(io)])
    }

    fn step(&mut self, now: Millis, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let led = self.leads().then(|| self.term());
        // A failed assertion ends the process.
        let Ok(effects) = catch_unwind(AssertUnwindSafe(|| self.core.step(now, inputs))) else {
            return vec![Output::Failed];
        };
        assert!(effects.store.is_none() && effects.install.is_none(), "nobody makes snapshots here");
        self.pending.extend(effects.persist);
        let mut outputs = Vec::new();
        outputs.extend(effects.messages.into_iter().map(|(to, message)| Output::Send(to, message)));
        let applied = |Committed { entry, request }| Output::Applied(entry, request);
        outputs.extend(effects.committed.into_iter().map(applied));
        let ready = |(request, answer)| (answer == Answer::ReadReady).then_some(request);
        let reads = effects.answers.into_iter().filter_map(ready);
        outputs.extend(reads.map(|request| Output::Read(request, self.register())));
        let leads = self.leads().then(|| self.term());
        outputs.extend(leads.filter(|_| leads != led).map(Output::Led));
        self.core.rebase();
        for (sequence, write) in (1..).zip(&mut self.pending) {
            write.io.sequence = sequence;
        }
        outputs
    }
}

fn tick() -> Input {
    Input::Tick { jitter: Jitter(0) }
}

/// A node with the patience that this file counts on.
pub(crate) fn config(id: NodeId) -> Config {
    Config::new(id, HEARTBEAT, ELECTION)
}
