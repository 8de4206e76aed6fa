//! Is there an order of the writes of every key that agrees with what is known of it and with all claims of a guarantee?
//!
//! Known order and claims are edges of one graph. An order exists exactly when no circle leads through two different
//! values: everything on a circle would have to be equally old. Circles are found as strongly connected components
//! (Tarjan, *Depth-first search and linear graph algorithms*, 1972), in linear time.
//!
//! Order in time would be quadratic as pairs. Every key has *moments* instead, one for each time at which a write became
//! known: a write leads to the moment at which it was known, moments to later ones, and the last moment before an
//! invocation to the write that was invoked.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::rules::{Claims, Source};
use super::trace::{Trace, WriteId};
use crate::meter::{Limit, Meter};

/// The number of a node: first the writes, then the links of pasts, then moments.
type Node = u32;

/// An edge that is no claim.
const KNOWN: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    from: Node,
    pub to: Node,
    /// The number of the claim, or [`KNOWN`].
    claim: u32,
}

impl Edge {
    pub(super) fn claim(&self) -> Option<usize> {
        (self.claim != KNOWN).then_some(self.claim as usize)
    }
}

/// Values that would have to be equally old, and the claims among them.
#[derive(Debug, Clone)]
pub(super) struct Circle {
    pub writes: Vec<WriteId>,
    pub claims: Vec<usize>,
}

/// The graph and its components.
#[derive(Debug, Default)]
pub(super) struct Order {
    writes: usize,
    edges: Vec<Edge>,
    /// Where the edges of a node begin.
    starts: Vec<u32>,
    components: Vec<u32>,
}

impl Order {
    pub(super) fn new(trace: &Trace, claims: &Claims, meter: &mut Meter) -> Result<Self, Limit> {
        let mut graph = Self { writes: trace.writes.len(), ..Self::default() };
        graph.add_claims(trace, claims);
        graph.check(meter, claims)?;
        let nodes = graph.add_known_order(trace, (trace.writes.len() + claims.links.len()) as Node);
        graph.check(meter, claims)?;
        graph.index(nodes as usize);
        graph.check(meter, claims)?;
        graph.components = components(&graph.edges, &graph.starts);
        graph.check(meter, claims)?;
        Ok(graph)
    }

    fn check(&self, meter: &mut Meter, claims: &Claims) -> Result<(), Limit> {
        let numbers = self.starts.capacity() + 3 * self.components.capacity();
        let claimed = size_of_val(claims.all.as_slice()) + size_of_val(claims.links.as_slice());
        let edges = self.edges.capacity() * size_of::<Edge>();
        meter.check_time()?;
        meter.check_memory((edges + claimed + numbers * size_of::<u32>()) as u64)
    }

    fn add(&mut self, from: Node, to: Node, claim: u32) {
        self.edges.push(Edge { from, to, claim });
    }

    fn add_claims(&mut self, trace: &Trace, claims: &Claims) {
        let first_link = trace.writes.len() as Node;
        for (at, link) in claims.links.iter().enumerate() {
            let node = first_link + at as Node;
            self.add(link.write, node, KNOWN);
            if let Some(before) = link.before {
                self.add(first_link + before, node, KNOWN);
            }
        }
        for (at, claim) in claims.all.iter().enumerate() {
            let from = match claim.source {
                Source::Own(write, _) => write,
                Source::Past(link, _) => first_link + link,
            };
            self.add(from, claim.target, at as u32);
        }
    }

    /// Adds what is known, with nodes from `next` on; answers the number of all nodes.
    fn add_known_order(&mut self, trace: &Trace, mut next: Node) -> Node {
        let mut of_keys: Vec<Vec<WriteId>> = vec![Vec::new(); trace.keys.len()];
        for (write, of) in trace.writes.iter().enumerate() {
            of_keys[of.key as usize].push(write as WriteId);
        }
        for (key, writes) in of_keys.iter_mut().enumerate() {
            if trace.is_versioned {
                writes.sort_unstable_by_key(|write| trace.writes[*write as usize].name);
                writes.windows(2).for_each(|pair| self.add(pair[0], pair[1], KNOWN));
            } else {
                let initial = trace.keys[key].1;
                writes.retain(|write| *write != initial);
                writes.iter().for_each(|write| self.add(initial, *write, KNOWN));
                self.add_sessions(trace, writes);
                next = self.add_moments(trace, writes, next);
            }
        }
        next
    }

    fn add_sessions(&mut self, trace: &Trace, writes: &mut [WriteId]) {
        writes.sort_unstable_by_key(|write| {
            let write = &trace.writes[*write as usize];
            (write.session, write.index)
        });
        for pair in writes.windows(2) {
            if trace.writes[pair[0] as usize].session == trace.writes[pair[1] as usize].session {
                self.add(pair[0], pair[1], KNOWN);
            }
        }
    }

    fn add_moments(&mut self, trace: &Trace, writes: &mut [WriteId], first: Node) -> Node {
        let of = |write: &WriteId| &trace.writes[*write as usize];
        writes.sort_unstable_by_key(|write| (of(write).known, *write));
        let known: Vec<WriteId> =
            writes.iter().copied().filter(|write| of(write).known_by != super::trace::NOBODY).collect();
        for (at, write) in known.iter().enumerate() {
            let moment = first + at as Node;
            self.add(*write, moment, KNOWN);
            if at > 0 {
                self.add(moment - 1, moment, KNOWN);
            }
        }
        for write in writes.iter() {
            let before = known.partition_point(|other| of(other).known < of(write).call);
            if let Some(last) = before.checked_sub(1) {
                self.add(first + last as Node, *write, KNOWN);
            }
        }
        first + known.len() as Node
    }

    fn index(&mut self, nodes: usize) {
        self.edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.claim));
        self.starts = vec![0; nodes + 1];
        self.edges.iter().for_each(|edge| self.starts[edge.from as usize + 1] += 1);
        for node in 0..nodes {
            self.starts[node + 1] += self.starts[node];
        }
    }

    fn edges_of(&self, node: Node) -> &[Edge] {
        edges_of(&self.edges, &self.starts, node)
    }

    /// What makes an order impossible, by the numbers of the first writes.
    pub(super) fn circles(&self) -> Vec<Circle> {
        let mut members: Vec<(u32, WriteId)> =
            (0..self.writes).map(|write| (self.components[write], write as WriteId)).collect();
        members.sort_unstable();
        let several = members.chunk_by(|one, other| one.0 == other.0).filter(|group| group.len() > 1);
        let mut circles: Vec<(u32, Circle)> = several
            .map(|group| {
                let writes = group.iter().map(|(_, write)| *write).collect();
                (group[0].0, Circle { writes, claims: Vec::new() })
            })
            .collect();
        if circles.is_empty() {
            return Vec::new();
        }
        for edge in &self.edges {
            let (from, to) = (self.components[edge.from as usize], self.components[edge.to as usize]);
            let Some(claim) = edge.claim().filter(|_| from == to) else { continue };
            if let Ok(at) = circles.binary_search_by_key(&from, |(component, _)| *component) {
                circles[at].1.claims.push(claim);
            }
        }
        let mut circles: Vec<Circle> = circles.into_iter().map(|(_, circle)| circle).collect();
        circles.sort_unstable_by_key(|circle| circle.writes[0]);
        circles
    }

    /// The shortest way from a write to the source of a claim, through another write, as the edges that are taken. Without
    /// that condition it would be no proof: a value may well be read again by a session that knows it.
    pub(super) fn way(&self, from: WriteId, to: Node) -> Option<Vec<Edge>> {
        // A place is a node, and whether another write has been passed.
        let mut reached_by: FxHashMap<(Node, bool), (Edge, bool)> = FxHashMap::default();
        let mut queue = VecDeque::from([(from, false)]);
        while let Some((node, passed)) = queue.pop_front() {
            for edge in self.edges_of(node) {
                let is_inside = self.components[edge.to as usize] == self.components[from as usize];
                let place = (edge.to, passed || self.write(edge.to).is_some_and(|write| write != from));
                if !is_inside || edge.to == from || reached_by.contains_key(&place) {
                    continue;
                }
                reached_by.insert(place, (*edge, passed));
                if place == (to, true) {
                    return Some(trace_back(&reached_by, from, place));
                }
                queue.push_back(place);
            }
        }
        None
    }

    /// The write of a node, when it is one.
    pub(super) fn write(&self, node: Node) -> Option<WriteId> {
        ((node as usize) < self.writes).then_some(node)
    }

    /// The node of a claim's source.
    pub(super) fn source(&self, source: Source) -> Node {
        match source {
            Source::Own(write, _) => write,
            Source::Past(link, _) => self.writes as Node + link,
        }
    }
}

fn trace_back(
    reached_by: &FxHashMap<(Node, bool), (Edge, bool)>,
    from: WriteId,
    to: (Node, bool),
) -> Vec<Edge> {
    let (mut way, mut place) = (Vec::new(), to);
    while place.0 != from {
        let (edge, passed) = reached_by[&place];
        way.push(edge);
        place = (edge.from, passed);
    }
    way.reverse();
    way
}

fn edges_of<'a>(edges: &'a [Edge], starts: &[u32], node: Node) -> &'a [Edge] {
    &edges[starts[node as usize] as usize..starts[node as usize + 1] as usize]
}

/// The number of its component for every node.
fn components(edges: &[Edge], starts: &[u32]) -> Vec<u32> {
    let nodes = starts.len() - 1;
    let mut tarjan =
        Tarjan { found: vec![0; nodes], lowest: vec![0; nodes], stack: Vec::new(), next: 1, done: 0 };
    for root in 0..nodes as Node {
        if tarjan.found[root as usize] == 0 {
            tarjan.visit(edges, starts, root);
        }
    }
    tarjan.lowest
}

/// Depth-first search without recursion: histories are long.
struct Tarjan {
    /// When a node was found, counted from 1; [`u32::MAX`] when its component is complete.
    found: Vec<u32>,
    /// The earliest node that it leads to; the number of its component once that is complete.
    lowest: Vec<u32>,
    stack: Vec<Node>,
    next: u32,
    done: u32,
}

impl Tarjan {
    fn visit(&mut self, edges: &[Edge], starts: &[u32], root: Node) {
        let mut path = vec![(root, 0_usize)];
        self.open(root);
        while let Some((node, taken)) = path.last_mut() {
            let node = *node;
            if let Some(edge) = edges_of(edges, starts, node).get(*taken) {
                *taken += 1;
                match self.found[edge.to as usize] {
                    0 => {
                        self.open(edge.to);
                        path.push((edge.to, 0));
                    }
                    u32::MAX => {}
                    found => self.lowest[node as usize] = self.lowest[node as usize].min(found),
                }
                continue;
            }
            path.pop();
            let lowest = self.lowest[node as usize];
            if lowest == self.found[node as usize] {
                self.close(node);
            } else if let Some((parent, _)) = path.last() {
                let parent = *parent as usize;
                self.lowest[parent] = self.lowest[parent].min(lowest);
            }
        }
    }

    fn open(&mut self, node: Node) {
        self.found[node as usize] = self.next;
        self.lowest[node as usize] = self.next;
        self.next += 1;
        self.stack.push(node);
    }

    fn close(&mut self, root: Node) {
        while let Some(node) = self.stack.pop() {
            self.found[node as usize] = u32::MAX;
            self.lowest[node as usize] = self.done;
            if node == root {
                break;
            }
        }
        self.done += 1;
    }
}
