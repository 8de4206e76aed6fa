//! The model that is checked: stateright's model of the actors, without what makes states differ that behave alike.
//!
//! Every reduction here keeps all behaviours that matter to the properties, which are about what nodes and clients have done:
//!
//! * The network keeps every message and delivers it at any time, in any order, as often as it likes. A message that is lost is one
//!   that is never delivered. stateright remembers the last delivery, which says nothing about the future: it is forgotten.
//! * A message that can never have an effect again is removed (`is_dead`), or one that the scope wants to be lost.
//! * A crashed server starts again before anything else happens. While it is down it does nothing, and messages to it
//!   are as good as late: a server that is slow to start is a server that is slow.
//! * Clients get their answers at once, and ask at the moment at which somebody who leads hears it. Operations that take longer
//!   overlap with more others, so more would be allowed.
//! * All servers are alike at the beginning, so that it is the first one that loses patience first.
//! * Nothing happens after a property was broken.

use std::sync::Arc;

use node::raft::{AppendReply, Body, Message, RoleName};
use stateright::actor::{ActorModel, ActorModelAction, ActorModelState, Envelope, Id, Network};
use stateright::{Model, Property};

use crate::actor::{Letter, Participant, State, Timer};
use crate::hashed::Hashed;
use crate::history::{History, log_matching};
use crate::node::Node;
use crate::scope::{Cue, Scope};

pub(crate) const ELECTION_SAFETY: &str = "election safety";
pub(crate) const LOG_MATCHING: &str = "log matching";
pub(crate) const LEADER_COMPLETENESS: &str = "leader completeness";
pub(crate) const STATE_MACHINE_SAFETY: &str = "state machine safety";
pub(crate) const LINEARIZABILITY: &str = "linearizability";
pub(crate) const ASSERTIONS: &str = "assertions of the core";

type Actors = ActorModel<Participant, Arc<Scope>, Hashed<History>>;
pub(crate) type World = ActorModelState<Participant, Hashed<History>>;
pub(crate) type Action = ActorModelAction<Letter, Timer, ()>;
pub(crate) type Path = stateright::Path<World, Action>;

/// A cluster within its scope.
#[derive(Clone)]
pub(crate) struct Cluster {
    scope: Arc<Scope>,
    actors: Actors,
    examples: Vec<Property<Self>>,
}

impl Cluster {
    pub(crate) fn new(scope: Scope) -> Self {
        let scope = Arc::new(scope);
        let server = |server| Participant::Server(server, scope.clone());
        let client = |operations: &Vec<_>| Participant::Client(operations.clone(), scope.servers);
        let actors = ActorModel::new(scope.clone(), Hashed::new(History::new()))
            .actors((0..scope.servers).map(server))
            .actors(scope.clients.iter().map(client))
            .max_crashes(usize::from(scope.crashes.min(1)))
            .record_msg_in(|_, history, envelope| invoked(history, envelope))
            .record_msg_out(|_, history, envelope| seen(history, envelope));
        Self { scope, actors, examples: Vec::new() }
    }

    /// Something that must be reached, or the scope does not show what it is meant to show.
    pub(crate) fn reaching(mut self, name: &'static str, condition: fn(&Self, &World) -> bool) -> Self {
        self.examples.push(Property::sometimes(name, condition));
        self
    }

    /// Whether the scope has this.
    fn allows(&self, world: &World, action: &Action) -> bool {
        if world.crashed.contains(&true) {
            return matches!(action, Action::Recover(_));
        }
        let node = |id: &Id| world.actor_states.get(usize::from(*id)).and_then(|state| state.node());
        match action {
            Action::Crash(id) => node(id).is_some() && crashes(world) < self.scope.crashes,
            Action::Timeout(id, timer) => {
                node(id).is_some_and(|node| self.may_fire(world, *id, node, *timer))
            }
            Action::Deliver { .. } | Action::Recover(_) => true,
            Action::Drop(_) | Action::SelectRandom { .. } => false,
        }
    }

    fn may_fire(&self, world: &World, id: Id, node: &Node, timer: Timer) -> bool {
        match timer {
            Timer::Patience if node.leads() => self.scope.check_quorum,
            Timer::Patience => node.term().0 < self.scope.terms && self.is_not_symmetric(world, id),
            Timer::Heartbeat => node.leads() && node.has_committed_everything(),
            Timer::Sync => node.has_pending_writes(),
            Timer::Change(_) => node.leads() && self.has_first_voters(node),
        }
    }

    fn has_first_voters(&self, node: &Node) -> bool {
        let members = node.core().log().members();
        !members.is_joint() && members.voters() == self.scope.founders().voters()
    }

    /// Whether it makes a difference which server loses patience.
    fn is_not_symmetric(&self, world: &World, id: Id) -> bool {
        let untouched = world.network.len() == self.scope.clients.len() * self.scope.servers
            && nodes(world).all(|node| node.term().0 == 0 && node.role() == RoleName::Follower);
        !untouched || usize::from(id) == 0 || crashes(world) > 0
    }

    /// Removes what does not matter.
    fn tidy(&self, mut world: World, action: Option<&Action>) -> World {
        if let Some(Action::Deliver { src, msg: Letter::Ask(_), .. }) = action {
            retain(&mut world, |letter| !(letter.src == *src && matches!(letter.msg, Letter::Ask(_))));
        }
        while let Some(Envelope { src, dst, msg }) = answer(&world) {
            let answered = self.actors.next_state(&world, Action::Deliver { src, dst, msg: msg.clone() });
            world = answered.expect("a client takes its answer");
            retain(&mut world, |letter| !(letter.dst == dst && letter.msg == msg));
        }
        let states = world.actor_states.clone();
        retain(&mut world, |letter| {
            let receiver = states.get(usize::from(letter.dst)).and_then(|state| state.node());
            match (&letter.msg, receiver) {
                (Letter::Peer(message), Some(receiver)) => !self.is_dead(message, receiver),
                (Letter::Ask(_), Some(_)) => true,
                _ => false,
            }
        });
        world
    }

    /// Whether a message can have no effect on its receiver any more, whatever happens to it: also after a crash, which takes it back to the
    /// term on its disk.
    fn is_dead(&self, message: &Message, receiver: &Node) -> bool {
        let durable = receiver.disk().hard_state.term;
        if message.term > durable {
            return false;
        }
        let is = |role: RoleName| receiver.term() == message.term && receiver.role() == role;
        match message.body {
            // These would only spread the term.
            Body::Outdated | Body::PreVoteReply { granted: false } | Body::VoteReply { granted: false } => {
                true
            }
            Body::PreVoteReply { granted: true } => message.term < durable,
            // Nobody becomes candidate or leader in a term twice.
            Body::VoteReply { granted: true } => !is(RoleName::Candidate),
            Body::HeartbeatReply { round } => round.0 == 0 || !is(RoleName::Leader),
            Body::AppendReply(AppendReply::Accepted { .. } | AppendReply::Rejected { .. })
            | Body::ChunkReply { .. } => !is(RoleName::Leader),
            Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::Append(_)
            | Body::Heartbeat { .. }
            | Body::Chunk(_) => message.term < durable && !self.scope.old_requests,
            Body::TimeoutNow => message.term < durable,
        }
    }

    fn perform(&self, mut world: World, cue: &Cue) -> World {
        match cue {
            Cue::Fire(server, timer) => {
                let next = self.actors.next_state(&world, Action::Timeout(Id::from(*server), *timer));
                self.tidy(next.expect("the prologue does something"), None)
            }
            Cue::Settle => {
                while let Some(next) = self.settle_one(&world) {
                    world = next;
                }
                world
            }
            Cue::Lose => {
                retain(&mut world, |letter| !matches!(letter.msg, Letter::Peer(_)));
                world
            }
        }
    }

    /// The first delivery or write that changes a server.
    fn settle_one(&self, world: &World) -> Option<World> {
        let mut actions = Vec::new();
        self.actors.actions(world, &mut actions);
        let settles = |action: &Action| match action {
            Action::Deliver { msg: Letter::Peer(_), .. } => true,
            Action::Timeout(_, timer) => *timer == Timer::Sync,
            _ => false,
        };
        let steps = actions.into_iter().filter(settles);
        let mut next = steps.filter_map(|action| {
            Some(self.tidy(self.actors.next_state(world, action.clone())?, Some(&action)))
        });
        next.find(|next| next.actor_states != world.actor_states)
    }
}

impl Model for Cluster {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let worlds = self.actors.init_states().into_iter().map(|world| self.tidy(world, None));
        worlds
            .map(|world| self.scope.prologue.iter().fold(world, |world, cue| self.perform(world, cue)))
            .collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if !is_broken(world) {
            self.actors.actions(world, actions);
            actions.retain(|action| self.allows(world, action));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let next = self.actors.next_state(world, action.clone())?;
        Some(self.tidy(next, Some(&action)))
    }

    fn format_action(&self, action: &Action) -> String {
        let name = |id: &Id| match usize::from(*id) {
            server if server < self.scope.servers => (server + 1).to_string(),
            client => format!("client {}", client - self.scope.servers + 1),
        };
        match action {
            Action::Deliver { src, dst, msg } => format!("{} -> {}: {msg:?}", name(src), name(dst)),
            Action::Timeout(id, timer) => format!("{}: {timer:?}", name(id)),
            Action::Crash(id) => format!("{}: crash", name(id)),
            Action::Recover(id) => format!("{}: restart", name(id)),
            Action::Drop(_) | Action::SelectRandom { .. } => format!("{action:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ELECTION_SAFETY, |_, world: &World| world.history.election_safety()),
            Property::always(LOG_MATCHING, |_, world: &World| logs_match(world)),
            Property::always(LEADER_COMPLETENESS, |_, world: &World| leaders_are_complete(world)),
            Property::always(STATE_MACHINE_SAFETY, |_, world: &World| world.history.state_machine_safety()),
            Property::always(LINEARIZABILITY, |_, world: &World| world.history.linearizable()),
            Property::always(ASSERTIONS, |_, world: &World| world.history.assertions_hold()),
        ];
        properties.extend(self.examples.iter().cloned());
        properties
    }
}

/// The servers.
pub(crate) fn nodes(world: &World) -> impl Iterator<Item = &Node> {
    world.actor_states.iter().filter_map(|state| state.node()).map(|node| &**node)
}

/// Whether every client has had all its answers.
pub(crate) fn clients_are_done(cluster: &Cluster, world: &World) -> bool {
    let clients = world.actor_states.iter().filter_map(|state| match **state {
        State::Client(done) => Some(done),
        State::Server(_) => None,
    });
    clients.zip(&cluster.scope.clients).all(|(done, operations)| done == operations.len())
}

/// Crashes so far.
pub(crate) fn crashes(world: &World) -> u8 {
    let starts = world.actor_storages.iter().flatten().map(|disk| disk.starts - 1);
    starts.sum::<u8>() + world.crashed.iter().filter(|&&crashed| crashed).count() as u8
}

fn logs_match(world: &World) -> bool {
    let all: Vec<&Node> = nodes(world).collect();
    let mut pairs =
        all.iter().enumerate().flat_map(|(n, one)| all[..n].iter().map(move |other| (one, other)));
    pairs.all(|(one, other)| log_matching(one, other))
}

fn leaders_are_complete(world: &World) -> bool {
    world.history.leader_completeness(nodes(world))
}

fn is_broken(world: &World) -> bool {
    let history = &world.history;
    let safe = history.election_safety() && history.state_machine_safety() && history.linearizable();
    !(safe && history.assertions_hold() && logs_match(world) && leaders_are_complete(world))
}

/// An answer on its way to a client.
fn answer(world: &World) -> Option<Envelope<Letter>> {
    let mut letters = world.network.iter_deliverable();
    letters.find(|letter| matches!(letter.msg, Letter::Done(_))).map(|letter| letter.to_cloned_msg())
}

fn retain(world: &mut World, keep: impl Fn(&Envelope<Letter>) -> bool) {
    match &mut world.network {
        Network::UnorderedDuplicating(letters, last) => {
            letters.retain(keep);
            *last = None;
        }
        Network::UnorderedNonDuplicating(_) | Network::Ordered(_) => unreachable!("the network duplicates"),
    }
}

fn invoked(history: &Hashed<History>, letter: Envelope<&Letter>) -> Option<Hashed<History>> {
    let Letter::Ask(operation) = letter.msg else {
        return None;
    };
    let mut history = History::clone(history);
    history.invoke(letter.src, *operation);
    Some(Hashed::new(history))
}

fn seen(history: &Hashed<History>, letter: Envelope<&Letter>) -> Option<Hashed<History>> {
    if matches!(letter.msg, Letter::Peer(_) | Letter::Ask(_)) {
        return None;
    }
    let mut next = History::clone(history);
    match letter.msg {
        Letter::Seen(sight) => next.see(sight),
        Letter::Done(read) => next.complete(letter.dst, *read),
        Letter::Peer(_) | Letter::Ask(_) => return None,
    }
    Some(Hashed::new(next))
}
