//! Histories by simulating a collection: legal by construction.

use std::collections::VecDeque;

use super::{Act, Kind, Op, UNKNOWN};

/// The generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a simulation is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) operations: u64,
    pub(super) clients: u64,
    /// The most time units between two stamps of an operation.
    pub(super) longest: u64,
    pub(super) unknown_percent: u64,
    /// Below this depth there are more inserts than removes, above it fewer.
    pub(super) depth: usize,
}

/// An operation that was called; `effect` is `None` if it never happens.
#[derive(Debug, Clone, Copy)]
struct Call {
    start: u64,
    effect: Option<u64>,
    end: u64,
}

/// A legal history in the order of operations taking effect.
pub(super) fn simulate(kind: Kind, shape: Shape, random: &mut Random) -> Vec<Op> {
    let mut calls = calls(shape, random);
    calls.sort_by_key(|call| call.effect.unwrap_or(call.start));
    let mut simulation = Simulation { kind, inside: VecDeque::new(), values: 0 };
    let act = |call: Call| {
        let inserts = random.chance(if simulation.inside.len() < shape.depth { 65 } else { 35 });
        let act = if inserts { simulation.insert(call) } else { simulation.remove(call, random) };
        Op { act, start: call.start, end: call.end }
    };
    calls.into_iter().map(act).collect()
}

/// A collection and how many values were inserted.
struct Simulation {
    kind: Kind,
    inside: VecDeque<u32>,
    values: u32,
}

impl Simulation {
    fn insert(&mut self, call: Call) -> Act {
        if call.effect.is_some() {
            self.inside.push_back(self.values);
        }
        self.values += 1;
        Act::Insert(self.values - 1)
    }

    fn remove(&mut self, call: Call, random: &mut Random) -> Act {
        let taken = call.effect.and_then(|_| self.take(random));
        if call.end == UNKNOWN { Act::Taker } else { taken.map_or(Act::Nothing, Act::Remove) }
    }

    fn take(&mut self, random: &mut Random) -> Option<u32> {
        match self.kind {
            Kind::Fifo => self.inside.pop_front(),
            Kind::Bag if self.inside.is_empty() => None,
            Kind::Bag => self.inside.swap_remove_back(random.below(self.inside.len() as u64) as usize),
            Kind::Stack => self.inside.pop_back(),
        }
    }
}

/// Clients that call one operation after the other. After one of unknown outcome a client goes on as
/// another process.
fn calls(shape: Shape, random: &mut Random) -> Vec<Call> {
    let mut clocks: Vec<u64> = (0..shape.clients).map(|_| random.below(shape.longest + 1)).collect();
    let mut calls = Vec::new();
    for _ in 0..shape.operations {
        let client = (0..clocks.len()).min_by_key(|client| clocks[*client]).expect("there is a client");
        let start = clocks[client];
        let effect = start + random.below(shape.longest + 1);
        let end = effect + random.below(shape.longest + 1);
        clocks[client] = end + random.below(2);
        if !random.chance(shape.unknown_percent) {
            calls.push(Call { start, effect: Some(effect), end });
            continue;
        }
        clocks[client] = effect;
        let late = effect + random.below(4 * shape.longest + 1);
        calls.push(Call { start, effect: random.chance(50).then_some(late), end: UNKNOWN });
    }
    calls
}
