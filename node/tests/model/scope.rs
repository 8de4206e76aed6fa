//! What a cluster of the model may do.

use std::collections::BTreeSet;

use node::raft::{Change, Config, Entry, HardState, Index, Limits, Membership, NodeId, Payload, Term};

use crate::actor::Timer;
use crate::node::{Disk, config};

/// Bounds, and where to begin.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) servers: usize,
    /// The first so many servers found the cluster.
    pub(crate) founders: usize,
    /// No election beyond this term.
    pub(crate) terms: u64,
    /// Crashes of all servers together.
    pub(crate) crashes: u8,
    /// Writes stay unfinished for as long as it may be; else they are durable at once.
    pub(crate) slow_disks: bool,
    /// Pre-votes are asked for and answered; else they are granted at once, always. The second is more than the first allows: a pre-vote
    /// only ever prevents an election.
    pub(crate) pre_votes: bool,
    /// Leaders give signs of life when all that they have is committed, so that others learn it.
    pub(crate) heartbeats: bool,
    /// An append carries one entry, and waits for the answer to the one before it.
    pub(crate) one_by_one: bool,
    /// Leaders that hear from nobody give up.
    pub(crate) check_quorum: bool,
    /// Requests of old terms are delivered, and answered with the new term; else they are lost. That leaves out leaders that step down
    /// because of such an answer, and nothing else: all others learn the term from the requests of that term.
    pub(crate) old_requests: bool,
    /// What each client does, one after the other.
    pub(crate) clients: Vec<Vec<Operation>>,
    /// What operators want, from whoever leads, until the voters change.
    pub(crate) changes: Vec<Change>,
    /// What is on the disks at the beginning.
    pub(crate) disks: Vec<Disk>,
    /// What happens before the beginning.
    pub(crate) prologue: Vec<Cue>,
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<node::Mutant>,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Put(u8),
    Get,
}

/// One step of a prologue.
#[derive(Clone, Debug)]
pub(crate) enum Cue {
    /// A timer of a server fires.
    Fire(usize, Timer),
    /// Messages between servers arrive and writes become durable until nothing happens any more.
    Settle,
    /// Messages on their way are lost.
    Lose,
}

impl Scope {
    /// A cluster of founders that are all new, in which nothing happens but elections, up to so many terms.
    pub(crate) fn elections(servers: usize, terms: u64) -> Self {
        Self {
            servers,
            founders: servers,
            terms,
            crashes: 0,
            slow_disks: false,
            pre_votes: false,
            heartbeats: false,
            one_by_one: false,
            check_quorum: false,
            old_requests: true,
            clients: Vec::new(),
            changes: Vec::new(),
            disks: Vec::new(),
            prologue: Vec::new(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Somebody founded the cluster alone or with others, leads it, and has added the rest as learners by the first change.
    pub(crate) fn with_learners(servers: usize, founders: usize, terms: u64) -> Self {
        let learners: Vec<usize> = (founders..servers).collect();
        let fire = |timer| [Cue::Fire(0, timer), Cue::Settle];
        let mut prologue = [fire(Timer::Patience), fire(Timer::Change(0))].concat();
        prologue.push(Cue::Lose);
        Self {
            founders,
            changes: vec![change(&learners, &[], &[])],
            prologue,
            ..Self::elections(servers, terms)
        }
    }

    /// An operator wants this, too.
    pub(crate) fn changing(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// The first server leads, and everybody has the entry that opens its term.
    pub(crate) fn led(self) -> Self {
        let prologue = vec![Cue::Fire(0, Timer::Patience), Cue::Settle, Cue::Lose];
        Self { prologue, ..self }
    }

    pub(crate) fn config(&self, server: usize) -> Config {
        let config = config(node_id(server));
        let one_by_one = Limits { append_bytes: 1, inflight_messages: 1, ..config.limits };
        Config {
            limits: if self.one_by_one { one_by_one } else { config.limits },
            #[cfg(feature = "mutants")]
            mutant: self.mutant,
            ..config
        }
    }

    /// Who founded the cluster.
    pub(crate) fn founders(&self) -> Membership {
        Membership::of_voters((0..self.founders).map(node_id))
    }

    /// The members that a server with an empty log knows of.
    pub(crate) fn members(&self, server: usize) -> Membership {
        if server < self.founders { self.founders() } else { Membership::default() }
    }
}

/// The name of a server.
pub(crate) fn node_id(server: usize) -> NodeId {
    NodeId::new(&(server + 1).to_string()).expect("a number is a legal name")
}

/// The server of this name.
pub(crate) fn server_of(id: NodeId) -> usize {
    id.as_str().parse::<usize>().expect("names are numbers here") - 1
}

/// A disk in `term`, with a vote, and with entries of these terms.
#[cfg_attr(not(feature = "mutants"), expect(dead_code, reason = "only mutants begin in the middle"))]
pub(crate) fn disk(term: u64, vote: Option<usize>, entries: &[u64]) -> Disk {
    let entry = |(index, &term)| Entry { index: Index(index), term: Term(term), payload: Payload::Noop };
    let hard_state = HardState { term: Term(term), vote: vote.map(node_id) };
    Disk { hard_state, entries: (1..).zip(entries).map(entry).collect(), starts: 0 }
}

/// Learners come, vote, or go.
pub(crate) fn change(add: &[usize], promote: &[usize], remove: &[usize]) -> Change {
    let ids = |servers: &[usize]| servers.iter().copied().map(node_id).collect::<BTreeSet<_>>();
    let add = ids(add).into_iter().map(|id| (id, None)).collect();
    Change { add, promote: ids(promote), remove: ids(remove) }
}
