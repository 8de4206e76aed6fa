//! Servers and clients as actors of stateright.

use std::borrow::Cow;
use std::sync::Arc;

use node::raft::{Input, Message, RequestId};
use stateright::actor::{Actor, Id, Out, model_timeout};

use crate::describe;
use crate::hashed::Hashed;
use crate::history::Sight;
use crate::node::{Disk, Node, Output};
use crate::scope::{Operation, Scope, node_id, server_of};

/// The address of the observer. What is sent there never enters the network.
pub(crate) const OBSERVER: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) enum Participant {
    Server(usize, Arc<Scope>),
    /// Does these operations one after the other, asking everybody until somebody leads.
    Client(Vec<Operation>, usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Server(Hashed<Node>),
    /// How many operations are done.
    Client(usize),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Letter {
    Peer(Hashed<Message>),
    Ask(Operation),
    /// The answer; that of a read has a value.
    Done(Option<Option<u8>>),
    Seen(Hashed<Sight>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// A server loses patience: a leader with its followers, all others with their leader.
    Patience,
    Heartbeat,
    /// The oldest write of a server becomes durable.
    Sync,
    /// An operator asks for one of the changes.
    Change(usize),
}

impl State {
    pub(crate) fn node(&self) -> Option<&Hashed<Node>> {
        match self {
            State::Server(node) => Some(node),
            State::Client(_) => None,
        }
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Letter::Peer(message) => f.write_str(&describe::message(message)),
            Letter::Ask(operation) => operation.fmt(f),
            Letter::Done(read) => write!(f, "done {read:?}"),
            Letter::Seen(sight) => sight.fmt(f),
        }
    }
}

impl Actor for Participant {
    type Msg = Letter;
    type Timer = Timer;
    type State = State;
    type Storage = Hashed<Disk>;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<Hashed<Disk>>, out: &mut Out<Self>) -> State {
        match self {
            Participant::Server(server, scope) => {
                let initial = || scope.disks.get(*server).cloned().unwrap_or_default();
                let disk = storage.as_ref().map_or_else(initial, |disk| Disk::clone(disk));
                let disk = Hashed::new(Disk { starts: disk.starts + 1, ..disk });
                out.save(disk.clone());
                for timer in timers(scope) {
                    out.set_timer(timer, model_timeout());
                }
                let node = Node::start(scope.config(*server), disk, scope.members(*server));
                State::Server(Hashed::new(node))
            }
            Participant::Client(operations, servers) => {
                ask(operations, 0, *servers, out);
                State::Client(0)
            }
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, from: Id, letter: Letter, out: &mut Out<Self>) {
        match (self, &**state, letter) {
            (Participant::Server(_, scope), State::Server(before), letter) => {
                let Some(input) = input(before, from, letter) else {
                    return;
                };
                let mut node = Node::clone(before);
                let outputs = node.take(input);
                finish(scope, node, outputs, state, out);
            }
            (Participant::Client(operations, servers), State::Client(done), Letter::Done(_)) => {
                let done = done + 1;
                ask(operations, done, *servers, out);
                *state = Cow::Owned(State::Client(done));
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, timer: &Timer, out: &mut Out<Self>) {
        out.set_timer(*timer, model_timeout());
        let (Participant::Server(_, scope), State::Server(before)) = (self, &**state) else {
            return;
        };
        let mut node = Node::clone(before);
        let outputs = match (timer, node.leads()) {
            (Timer::Patience, true) => node.give_up(),
            (Timer::Patience, false) if scope.pre_votes => node.lose_patience(),
            (Timer::Patience, false) => node.campaign(),
            (Timer::Heartbeat, true) => node.beat(),
            (Timer::Sync, _) => node.sync(),
            (Timer::Change(number), true) => {
                let change = scope.changes[*number].clone();
                node.take(Input::Change { request: RequestId(0), change })
            }
            (Timer::Heartbeat | Timer::Change(_), false) => return,
        };
        finish(scope, node, outputs, state, out);
    }
}

fn timers(scope: &Scope) -> Vec<Timer> {
    let mut timers = vec![Timer::Patience];
    timers.extend(scope.heartbeats.then_some(Timer::Heartbeat));
    timers.extend(scope.slow_disks.then_some(Timer::Sync));
    timers.extend((0..scope.changes.len()).map(Timer::Change));
    timers
}

fn ask(operations: &[Operation], done: usize, servers: usize, out: &mut Out<Participant>) {
    if let Some(&operation) = operations.get(done) {
        (0..servers).for_each(|server| out.send(Id::from(server), Letter::Ask(operation)));
    }
}

/// What a letter is to the core. Who does not lead would refuse a client, which asks somebody else.
fn input(node: &Node, from: Id, letter: Letter) -> Option<Input> {
    let request = RequestId(usize::from(from) as u64);
    match letter {
        Letter::Peer(message) => {
            Some(Input::Receive { from: node_id(usize::from(from)), message: Message::clone(&message) })
        }
        Letter::Ask(_) if !node.leads() => None,
        Letter::Ask(Operation::Put(value)) => Some(Input::Propose { request, command: vec![value].into() }),
        Letter::Ask(Operation::Get) => Some(Input::Read { request }),
        Letter::Done(_) | Letter::Seen(_) => None,
    }
}

/// Lets the world have what a step put out. A step that did nothing leaves the state as it is, so that the checker knows.
fn finish(
    scope: &Scope,
    mut node: Node,
    mut outputs: Vec<Output>,
    state: &mut Cow<'_, State>,
    out: &mut Out<Participant>,
) {
    while !scope.slow_disks && node.has_pending_writes() {
        outputs.extend(node.sync());
    }
    for output in outputs {
        emit(&node, output, out);
    }
    let State::Server(before) = &**state else {
        return;
    };
    if node.disk() != before.disk() {
        out.save(node.disk().clone());
    }
    let node = Hashed::new(node);
    if node != *before {
        *state = Cow::Owned(State::Server(node));
    }
}

fn emit(node: &Node, output: Output, out: &mut Out<Participant>) {
    let client = |request: RequestId| Id::from(request.0 as usize);
    let mut see = |sight| out.send(Id::from(OBSERVER), Letter::Seen(Hashed::new(sight)));
    match output {
        Output::Send(to, message) => {
            out.send(Id::from(server_of(to)), Letter::Peer(Hashed::new(message)));
        }
        Output::Applied(entry, request) => {
            let is_command = matches!(entry.payload, node::raft::Payload::Command(_));
            see(Sight::Applied(entry, node.term()));
            if let Some(request) = request.filter(|_| is_command) {
                out.send(client(request), Letter::Done(None));
            }
        }
        Output::Led(term) => see(Sight::Led(term, node.id())),
        Output::Read(request, value) => out.send(client(request), Letter::Done(Some(value))),
        Output::Failed => see(Sight::Failed),
    }
}
