//! All orders of a handful of operations, tried one by one.
//!
//! This is the plain search of Wing and Gong with Lowe's memory of (operations done, state), without any of the rules
//! of the window. It confirms independently what the search proved, and it finds how far an order can get.

use rustc_hash::FxHashSet;

use super::object::{CallOf, Object};

/// The most operations that fit.
pub(super) const MAX_CALLS: usize = u128::BITS as usize;

/// The most (operations done, state) pairs that are tried, about 10 MB.
const MAX_NODES: usize = 100_000;

/// How far orders of some operations get.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Orders<M> {
    /// An order explains every result.
    Explained,
    /// No order does.
    Stuck(Prefix<M>),
}

/// The longest order of operations that explains their results.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefix<M> {
    /// The operations, as positions among the calls.
    pub order: Vec<usize>,
    /// The states in which these completed operations can leave the object, perhaps with some of unknown outcome.
    pub states: Vec<M>,
    /// The operations that could be next as far as real time is concerned; none of them can have its result.
    pub candidates: Vec<usize>,
}

/// Tries all orders from each of the states; `None` when there are too many. Among the longest, one without the
/// `culprit` is preferred.
pub(super) fn orders<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    starts: &[O::State],
    culprit: usize,
) -> Option<Orders<O::State>> {
    if calls.len() > MAX_CALLS {
        return None;
    }
    let mut walk = Walk::new(object, calls);
    for start in starts {
        walk.add(0, start.clone(), None);
    }
    let mut at = 0;
    while at < walk.nodes.len() {
        if walk.nodes.len() > MAX_NODES {
            return None;
        }
        walk.grow(at);
        at += 1;
    }
    Some(walk.conclude(culprit))
}

struct Walk<'a, O: Object> {
    object: &'a O,
    calls: &'a [CallOf<O>],
    completed: u128,
    nodes: Vec<Node<O::State>>,
    met: FxHashSet<(u128, O::State)>,
}

struct Node<S> {
    done: u128,
    state: S,
    /// The node before, and the call that led here.
    from: Option<(usize, usize)>,
}

impl<'a, O: Object> Walk<'a, O> {
    fn new(object: &'a O, calls: &'a [CallOf<O>]) -> Self {
        let completed = calls.iter().enumerate().filter(|(_, call)| call.is_certain());
        let completed = completed.fold(0, |set, (at, _)| set | 1 << at);
        Self { object, calls, completed, nodes: Vec::new(), met: FxHashSet::default() }
    }

    fn add(&mut self, done: u128, state: O::State, from: Option<(usize, usize)>) {
        if self.met.insert((done, state.clone())) {
            self.nodes.push(Node { done, state, from });
        }
    }

    fn grow(&mut self, at: usize) {
        let (done, state) = (self.nodes[at].done, self.nodes[at].state.clone());
        for call in self.candidates(done) {
            let asked = &self.calls[call];
            if let Some(next) = self.object.step(&state, &asked.op, asked.ret.as_ref()) {
                self.add(done | 1 << call, next, Some((at, call)));
            }
        }
    }

    /// What may be next: nothing that is left returned before it was called.
    /// An optional operation may be passed over, but then its time is over.
    fn candidates(&self, done: u128) -> Vec<usize> {
        let (taken, left): (Vec<usize>, Vec<usize>) =
            (0..self.calls.len()).partition(|at| done >> at & 1 == 1);
        let owed = left.iter().filter(|at| self.calls[**at].is_certain());
        let first_end = owed.filter_map(|at| self.calls[*at].end()).min();
        let last_start = taken.iter().map(|at| self.calls[*at].start).max();
        let is_open = |at: &usize| {
            let call = &self.calls[*at];
            first_end.is_none_or(|end| call.start <= end)
                && last_start.is_none_or(|start| start <= call.end_or_never())
        };
        left.into_iter().filter(is_open).collect()
    }

    fn conclude(self, culprit: usize) -> Orders<O::State> {
        let completed = |node: &Node<O::State>| (node.done & self.completed).count_ones();
        let most = self.nodes.iter().map(completed).max().unwrap_or(0);
        if most == self.completed.count_ones() {
            return Orders::Explained;
        }
        // Nodes come in the order of their lengths, so the first one uses the fewest operations of unknown outcome.
        let is_best = |node: &Node<O::State>| completed(node) == most;
        let without_culprit =
            self.nodes.iter().position(|node| is_best(node) && node.done >> culprit & 1 == 0);
        let best = without_culprit.or_else(|| self.nodes.iter().position(is_best)).unwrap_or(0);
        let known = self.nodes[best].done & self.completed;
        let mut states: Vec<O::State> = Vec::new();
        for node in self.nodes.iter().filter(|node| node.done & self.completed == known) {
            if !states.contains(&node.state) {
                states.push(node.state.clone());
            }
        }
        Orders::Stuck(Prefix {
            order: self.order(best),
            states,
            candidates: self.candidates(self.nodes[best].done),
        })
    }

    fn order(&self, mut at: usize) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some((before, call)) = self.nodes[at].from {
            order.push(call);
            at = before;
        }
        order.reverse();
        order
    }
}
