//! What a perfect observer has seen, and the properties of Raft, figure 3, in its terms.

use std::collections::BTreeSet;

use node::raft::{Entry, NodeId, Term};
use stateright::actor::Id;
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use crate::node::Node;
use crate::scope::Operation;

/// What a server did that matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    /// Somebody began to lead.
    Led(Term, NodeId),
    /// Somebody in this term applied this entry.
    Applied(Entry, Term),
    /// An assertion of the core failed.
    Failed,
}

/// Everything that was seen so far.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct History {
    leaders: BTreeSet<(Term, NodeId)>,
    /// What was applied first anywhere, and the term of the leader that committed it.
    committed: Vec<(Entry, Term)>,
    contradiction: bool,
    failed: bool,
    linearizable: bool,
    register: LinearizabilityTester<Id, Register<Option<u8>>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            leaders: BTreeSet::new(),
            committed: Vec::new(),
            contradiction: false,
            failed: false,
            linearizable: true,
            register: LinearizabilityTester::new(Register(None)),
        }
    }

    pub(crate) fn see(&mut self, sight: &Sight) {
        match sight {
            Sight::Led(term, node) => drop(self.leaders.insert((*term, *node))),
            Sight::Applied(entry, term) => match self.committed.get(entry.index.previous().0 as usize) {
                Some((known, _)) => self.contradiction |= known != entry,
                None => self.committed.push((entry.clone(), *term)),
            },
            Sight::Failed => self.failed = true,
        }
    }

    /// A client's request has reached somebody who leads.
    pub(crate) fn invoke(&mut self, client: Id, operation: Operation) {
        let operation = match operation {
            Operation::Put(value) => RegisterOp::Write(Some(value)),
            Operation::Get => RegisterOp::Read,
        };
        self.register.on_invoke(client, operation).expect("a client does one thing at a time");
    }

    /// An answer is given; that of a read has a value.
    pub(crate) fn complete(&mut self, client: Id, read: Option<Option<u8>>) {
        let result = read.map_or(RegisterRet::WriteOk, RegisterRet::ReadOk);
        self.register.on_return(client, result).expect("only what was asked is answered");
        self.linearizable = self.register.is_consistent();
    }

    /// In how many terms something was committed.
    pub(crate) fn terms(&self) -> usize {
        self.committed.iter().map(|(_, term)| term).collect::<BTreeSet<_>>().len()
    }

    /// How many entries were committed.
    pub(crate) fn entries(&self) -> usize {
        self.committed.len()
    }

    /// At most one leader can be elected in a given term.
    pub(crate) fn election_safety(&self) -> bool {
        let terms: BTreeSet<Term> = self.leaders.iter().map(|(term, _)| *term).collect();
        terms.len() == self.leaders.len()
    }

    /// An entry that is committed in a term is in the logs of the leaders of all later terms.
    pub(crate) fn leader_completeness<'a>(&self, mut nodes: impl Iterator<Item = &'a Node>) -> bool {
        let has = |node: &Node, (entry, term): &(Entry, Term)| {
            *term >= node.term() || node.core().log().get(entry.index) == Some(entry)
        };
        nodes.all(|node| !node.leads() || self.committed.iter().all(|committed| has(node, committed)))
    }

    /// No two servers apply different entries for the same index.
    pub(crate) fn state_machine_safety(&self) -> bool {
        !self.contradiction
    }

    /// What clients saw is what one register could have answered.
    pub(crate) fn linearizable(&self) -> bool {
        self.linearizable
    }

    /// No assertion of the core has failed.
    pub(crate) fn assertions_hold(&self) -> bool {
        !self.failed
    }
}

/// If two logs have an entry with the same index and term, they are the same up to there.
pub(crate) fn log_matching(one: &Node, other: &Node) -> bool {
    let (one, other) = (one.core().log(), other.core().log());
    let last = one.last_index().min(other.last_index());
    let mut indices = (1..=last.0).rev().map(node::raft::Index);
    let Some(matching) = indices.find(|&index| one.term_at(index) == other.term_at(index)) else {
        return true;
    };
    one.get(matching) == other.get(matching) && indices.all(|index| one.get(index) == other.get(index))
}
