//! What must come before what in every order that explains the reads of registers.
//!
//! Known at first: the order of every process; a write before the reads of it; a read of the initial value before every
//! write of the key; and the order of versions. When a read returns a write, every other write of the key comes either before
//! that write or after the read; so a write that comes before the read comes before the write that it read, and a write
//! that comes after the write that was read comes after the read. This is repeated until nothing new follows. A
//! circle proves that there is no order (Gibbons and Korach infer the same; that there is none proves nothing).
//!
//! What comes before an operation is kept as one number per process: how many of its operations do.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::access::{Access, Accesses, KeyAccesses, Naming, Place};
use crate::meter::{Limit, Meter, Pace};

/// The number of an operation: those of one process follow each other.
pub(super) type Node = u32;

/// Why one operation comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// They are of one process.
    Process,
    /// The second read what the first wrote.
    Read,
    /// The first read the initial value, and the second wrote.
    Initial,
    /// Their versions say so.
    Versions,
    /// The first comes before this read of what the second wrote.
    BeforeRead(Node),
    /// The first read this write, and the second, which wrote too, comes after that.
    Overwrites(Node),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub from: Node,
    pub to: Node,
    pub reason: Reason,
    /// What it follows from has smaller numbers.
    age: u32,
}

/// What was inferred.
pub(super) struct Saturation {
    /// The first node of every process, and the number of all.
    offsets: Vec<u32>,
    edges: Vec<Vec<Edge>>,
    /// For every node and every process: how many operations of the process come before it.
    before: Vec<u32>,
    /// The reads of every write.
    readers: FxHashMap<Place, Vec<Place>>,
    /// Per process whether its last operation is never needed.
    unneeded: Vec<bool>,
    /// Nodes on circles or behind them.
    unordered: Vec<Node>,
    added: u32,
}

/// The most nodes from which a short circle is looked for.
const MAX_STARTS: usize = 64;

impl Saturation {
    pub(super) fn new(accesses: &Accesses, meter: &mut Meter) -> Result<Self, Limit> {
        let mut offsets = vec![0];
        for length in &accesses.lengths {
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        let (nodes, sessions) = (offsets[offsets.len() - 1] as usize, accesses.lengths.len());
        let bytes = base_bytes(nodes, sessions);
        meter.check_memory(bytes)?;
        let mut saturation = Self {
            offsets,
            edges: vec![Vec::new(); nodes],
            before: vec![0; nodes * sessions],
            readers: FxHashMap::default(),
            unneeded: vec![false; sessions],
            unordered: Vec::new(),
            added: 0,
        };
        accesses.unneeded.iter().for_each(|session| saturation.unneeded[*session as usize] = true);
        accesses.keys.iter().for_each(|key| saturation.add_known(key, accesses.naming));
        loop {
            meter.check_time()?;
            meter.check_memory(bytes + saturation.bytes_of_edges())?;
            let before = saturation.added;
            if !saturation.propagate(meter)? || accesses.naming == Naming::Versions {
                break;
            }
            for key in &accesses.keys {
                saturation.infer(key, meter)?;
            }
            if saturation.added == before {
                break;
            }
        }
        Ok(saturation)
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        base_bytes(self.edges.len(), self.sessions()) + self.bytes_of_edges()
    }

    fn bytes_of_edges(&self) -> u64 {
        2 * u64::from(self.added) * size_of::<Edge>() as u64
    }

    pub(super) fn place(&self, node: Node) -> Place {
        let session = self.offsets.partition_point(|offset| *offset <= node) as u32 - 1;
        Place { session, index: node - self.offsets[session as usize] }
    }

    fn node(&self, place: Place) -> Node {
        self.offsets[place.session as usize] + place.index
    }

    fn sessions(&self) -> usize {
        self.offsets.len() - 1
    }

    fn before(&self, node: Node) -> &[u32] {
        let sessions = self.sessions();
        &self.before[node as usize * sessions..(node as usize + 1) * sessions]
    }

    /// Whether the next operation of a process can help, and everything that comes before it is done.
    pub(super) fn allows(&self, done: &[u32], session: u32) -> bool {
        let node = self.offsets[session as usize] + done[session as usize];
        let is_last = node + 1 == self.offsets[session as usize + 1];
        if is_last && self.unneeded[session as usize] {
            return false;
        }
        self.before(node).iter().zip(done).all(|(before, done)| before <= done)
    }

    /// Whether an operation other than `next` still has to read what a write wrote; it is written only once.
    pub(super) fn is_awaited(&self, write: Place, done: &[u32], next: Place) -> bool {
        let readers = self.readers.get(&write).map_or(&[][..], Vec::as_slice);
        readers.iter().any(|read| *read != next && done[read.session as usize] <= read.index)
    }

    fn comes_before(&self, one: Place, other: Place) -> bool {
        self.before(self.node(other))[one.session as usize] > one.index
    }

    fn add(&mut self, from: Place, to: Place, reason: Reason) {
        let (from, to) = (self.node(from), self.node(to));
        if from != to {
            self.added += 1;
            self.edges[from as usize].push(Edge { from, to, reason, age: self.added });
        }
    }

    fn add_known(&mut self, key: &KeyAccesses, naming: Naming) {
        let mut written: Vec<(u64, Place)> =
            key.all.iter().filter_map(|access| Some((access.write?, access.place))).collect();
        written.sort_unstable();
        if naming == Naming::Versions {
            written.windows(2).for_each(|pair| self.add(pair[0].1, pair[1].1, Reason::Versions));
        }
        for access in &key.all {
            let Some(read) = access.read else { continue };
            if let Some(writer) = key.writers.get(&read) {
                self.add(*writer, access.place, Reason::Read);
                self.readers.entry(*writer).or_default().push(access.place);
            }
            if naming == Naming::Versions {
                self.add_version(&written, access.place, read);
            }
        }
    }

    /// A read of a version comes after the writes of smaller ones and before those of larger ones.
    fn add_version(&mut self, written: &[(u64, Place)], read: Place, version: u64) {
        let newer = written.partition_point(|(other, _)| *other <= version);
        let older = newer.checked_sub(1).map(|at| written[at]).filter(|(other, _)| *other < version);
        if let Some((_, write)) = older {
            self.add(write, read, Reason::Versions);
        }
        let newer = written[newer..].iter().find(|(_, write)| *write != read);
        if let Some((_, write)) = newer {
            self.add(read, *write, Reason::Versions);
        }
    }

    /// Counts what comes before every operation; whether there is an order.
    fn propagate(&mut self, meter: &Meter) -> Result<bool, Limit> {
        let (nodes, sessions) = (self.edges.len(), self.sessions());
        let mut waits = vec![0_u32; nodes];
        for node in 0..nodes as Node {
            let place = self.place(node);
            waits[node as usize] += u32::from(place.index > 0);
            self.edges[node as usize].iter().for_each(|edge| waits[edge.to as usize] += 1);
        }
        let mut ready: Vec<Node> = (0..nodes as Node).filter(|node| waits[*node as usize] == 0).collect();
        let mut past = vec![0; sessions];
        let mut pace = Pace::new(meter);
        while let Some(node) = ready.pop() {
            pace.spend(sessions)?;
            let place = self.place(node);
            past.copy_from_slice(self.before(node));
            past[place.session as usize] = place.index + 1;
            let next = (node + 1 < self.offsets[place.session as usize + 1]).then_some(node + 1);
            let (edges, before) = (&self.edges[node as usize], &mut self.before);
            for to in edges.iter().map(|edge| edge.to).chain(next) {
                let counts = &mut before[to as usize * sessions..(to as usize + 1) * sessions];
                counts.iter_mut().zip(&past).for_each(|(count, past)| *count = (*count).max(*past));
                waits[to as usize] -= 1;
                if waits[to as usize] == 0 {
                    ready.push(to);
                }
            }
        }
        self.unordered = (0..nodes as Node).filter(|node| waits[*node as usize] > 0).collect();
        Ok(self.unordered.is_empty())
    }

    fn infer(&mut self, key: &KeyAccesses, meter: &Meter) -> Result<(), Limit> {
        let mut writes: FxHashMap<u32, Vec<Place>> = FxHashMap::default();
        for access in key.all.iter().filter(|access| access.write.is_some()) {
            writes.entry(access.place.session).or_default().push(access.place);
        }
        let mut by_session: Vec<Vec<Place>> = writes.into_values().collect();
        by_session.iter_mut().for_each(|writes| writes.sort_unstable());
        by_session.sort_unstable();
        let mut pace = Pace::new(meter);
        for access in &key.all {
            pace.spend(by_session.len())?;
            match access.read {
                Some(0) => by_session.iter().for_each(|writes| self.infer_initial(access, writes)),
                Some(name) => {
                    let Some(source) = key.writers.get(&name).copied() else { continue };
                    by_session.iter().for_each(|writes| self.infer_read(access, source, writes));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A read of the initial value comes before the first write of a process.
    fn infer_initial(&mut self, access: &Access, writes: &[Place]) {
        let first = writes.iter().find(|write| **write != access.place);
        if let Some(first) = first.filter(|first| !self.comes_before(access.place, **first)) {
            self.add(access.place, *first, Reason::Initial);
        }
    }

    /// What a read of `source` says about the writes of one process.
    fn infer_read(&mut self, access: &Access, source: Place, writes: &[Place]) {
        let read = access.place;
        let reached = self.before(self.node(read))[writes[0].session as usize];
        let earlier = writes.partition_point(|write| write.index < reached);
        let last = writes[..earlier].iter().rev().find(|write| **write != source && **write != read);
        if let Some(last) = last.filter(|last| !self.comes_before(**last, source)) {
            self.add(*last, source, Reason::BeforeRead(self.node(read)));
        }
        let later = writes.partition_point(|write| !self.comes_before(source, *write));
        let first = writes[later..].iter().find(|write| **write != read && **write != source);
        if let Some(first) = first.filter(|first| !self.comes_before(read, **first)) {
            self.add(read, *first, Reason::Overwrites(self.node(source)));
        }
    }

    /// A circle, when there is one; a short one when there is time.
    pub(super) fn circle(&self, meter: &Meter) -> Option<Vec<Edge>> {
        let starts = self.unordered.iter().take(MAX_STARTS).take_while(|_| meter.check_time().is_ok());
        let circles = starts.filter_map(|node| self.way(*node, *node, u32::MAX));
        circles.min_by_key(Vec::len).or_else(|| self.any_circle())
    }

    /// Every node on a circle or behind one has such a node directly before it, so going back leads into a circle.
    fn any_circle(&self) -> Option<Vec<Edge>> {
        let mut into: FxHashMap<Node, Edge> = FxHashMap::default();
        let unordered: FxHashSet<Node> = self.unordered.iter().copied().collect();
        for node in &self.unordered {
            for edge in self.edges_from(*node).filter(|edge| unordered.contains(&edge.to)) {
                into.entry(edge.to).or_insert(edge);
            }
        }
        let mut node = *self.unordered.first()?;
        for _ in &self.unordered {
            node = into.get(&node)?.from;
        }
        let mut circle = vec![into[&node]];
        while circle[circle.len() - 1].from != node {
            circle.push(into[&circle[circle.len() - 1].from]);
        }
        circle.reverse();
        Some(circle)
    }

    /// The shortest way from one operation to another over edges younger than `age`.
    pub(super) fn way(&self, from: Node, to: Node, age: u32) -> Option<Vec<Edge>> {
        let mut reached: FxHashMap<Node, Edge> = FxHashMap::default();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for edge in self.edges_from(node).filter(|edge| edge.age < age) {
                if reached.contains_key(&edge.to) {
                    continue;
                }
                reached.insert(edge.to, edge);
                if edge.to == to {
                    return Some(trace_back(&reached, from, to));
                }
                queue.push_back(edge.to);
            }
        }
        None
    }

    fn edges_from(&self, node: Node) -> impl Iterator<Item = Edge> + '_ {
        let place = self.place(node);
        let has_next = node + 1 < self.offsets[place.session as usize + 1];
        let next = has_next.then_some(Edge { from: node, to: node + 1, reason: Reason::Process, age: 0 });
        self.edges[node as usize].iter().copied().chain(next)
    }

    /// What an inferred edge follows from: a way between other operations.
    pub(super) fn ground(&self, edge: Edge) -> Vec<Edge> {
        match edge.reason {
            Reason::BeforeRead(read) => self.way(edge.from, read, edge.age).unwrap_or_default(),
            Reason::Overwrites(write) => self.way(write, edge.to, edge.age).unwrap_or_default(),
            Reason::Process | Reason::Read | Reason::Initial | Reason::Versions => Vec::new(),
        }
    }
}

/// Counts of what comes before, and per operation its edges, its readers and what is known of it as an access.
fn base_bytes(nodes: usize, sessions: usize) -> u64 {
    let per_node = size_of::<Vec<Edge>>() + 4 * size_of::<Place>() + 2 * size_of::<Access>();
    (nodes * (sessions * size_of::<u32>() + per_node)) as u64
}

fn trace_back(reached: &FxHashMap<Node, Edge>, from: Node, to: Node) -> Vec<Edge> {
    let mut way = vec![reached[&to]];
    while way[way.len() - 1].from != from {
        way.push(reached[&way[way.len() - 1].from]);
    }
    way.reverse();
    way
}
