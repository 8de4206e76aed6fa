//! Depth-first search over how far every process has come.
//!
//! A node is the number of operations that every process has done, and the state of every key. Operations that change
//! nothing are done as soon as they are possible: doing one later never helps. Others are tried in the order of their
//! invocations, because most stores are nearly linearizable. Nodes without a way are remembered as numbers: positions and
//! the numbers of the states, which are kept once; nothing is decided by a hash.

use rustc_hash::FxHashMap;

use super::access::Place;
use super::nodes::Nodes;
use super::problem::{Item, Judgeable, Problem, StateOf};
use super::saturation::Saturation;
use crate::linearizable::object::Object;
use crate::meter::{Limit, Meter};

/// What a search found.
#[derive(Debug)]
pub(super) enum Answer<S> {
    /// Some order explains every result.
    Explained,
    /// No order does.
    Stuck(Stuck<S>),
}

/// How far the orders get that get furthest: per process the operations done, and the state of every key then.
#[derive(Debug)]
pub(super) struct Stuck<S> {
    pub done: Vec<u32>,
    pub states: Vec<S>,
}

/// Decides a problem. With `steps`, gives up with [`Limit::Steps`] after as many.
pub(super) fn search<J: Judgeable>(
    problem: &Problem<'_, J>,
    guide: Option<&Saturation>,
    steps: Option<u64>,
    meter: &mut Meter,
) -> Result<Answer<StateOf<J>>, Limit> {
    let mut search = Search::new(problem, guide);
    let answer = search.run(steps.unwrap_or(u64::MAX), meter);
    meter.check_memory(0)?;
    answer
}

/// What has to be put back.
struct Change<S> {
    session: u32,
    /// The key, its state before and who had left it, when the operation changed something.
    before: Option<(u32, S, Option<Place>)>,
}

/// What can be done next in a node.
struct Frame {
    /// How many changes there were when the node was entered.
    changes: usize,
    /// Sessions, and which of several possible results.
    moves: Vec<(u32, u32)>,
    tried: usize,
}

/// How much work there may be between two looks at the limits, and at most how many nodes are visited.
const WORK_PER_LOOK: usize = 1 << 20;
const MAX_STRIDE: usize = 256;

struct Search<'a, J: Judgeable> {
    problem: &'a Problem<'a, J>,
    guide: Option<&'a Saturation>,
    done: Vec<u32>,
    states: Vec<StateOf<J>>,
    /// The operation that left the state of every key.
    holders: Vec<Option<Place>>,
    changes: Vec<Change<StateOf<J>>>,
    frames: Vec<Frame>,
    /// Certain operations that are not done.
    left: usize,
    furthest: Option<(usize, Stuck<StateOf<J>>)>,
    numbers: FxHashMap<StateOf<J>, u32>,
    hopeless: Nodes,
    /// At most what a state owns on the heap, in bytes: every value of its key, if it owns anything.
    owned_bytes: usize,
}

impl<'a, J: Judgeable> Search<'a, J> {
    fn new(problem: &'a Problem<'a, J>, guide: Option<&'a Saturation>) -> Self {
        let certain =
            |session: &Vec<Item<J::Object>>| session.iter().filter(|item| item.call.is_certain()).count();
        Self {
            problem,
            guide,
            done: vec![0; problem.sessions.len()],
            states: vec![problem.object().initial(); problem.keys.len()],
            holders: vec![None; problem.keys.len()],
            changes: Vec::new(),
            frames: Vec::new(),
            left: problem.sessions.iter().map(certain).sum(),
            furthest: None,
            numbers: FxHashMap::default(),
            hopeless: Nodes::new(problem.sessions.len() + problem.keys.len()),
            owned_bytes: if std::mem::needs_drop::<StateOf<J>>() { 4 * problem.longest_key() } else { 0 },
        }
    }

    fn run(&mut self, steps: u64, meter: &mut Meter) -> Result<Answer<StateOf<J>>, Limit> {
        // In a node every process is asked whether everything that comes before its next operation is done.
        let (sessions, keys) = (self.problem.sessions.len(), self.problem.keys.len());
        let work_per_node = if self.guide.is_some() { sessions * sessions } else { sessions } + keys;
        let stride = (WORK_PER_LOOK / work_per_node.max(1)).clamp(1, MAX_STRIDE) as u64;
        let mut visited = 0_u64;
        meter.check_time()?;
        self.check_memory(meter)?;
        if self.enter() {
            return Ok(Answer::Explained);
        }
        loop {
            visited += 1;
            if visited.is_multiple_of(stride) {
                meter.count_steps(stride);
                meter.check_time()?;
                self.check_memory(meter)?;
            }
            if visited > steps {
                return Err(Limit::Steps);
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(self.give_up()) };
            let (floor, next) = (frame.changes, frame.moves.get(frame.tried).copied());
            frame.tried += 1;
            self.back_to(floor);
            match next {
                None => {
                    self.remember_furthest();
                    let node = self.node();
                    self.hopeless.insert(&node);
                    self.frames.pop();
                    let floor = self.frames.last().map_or(0, |frame| frame.changes);
                    self.back_to(floor);
                }
                Some((session, which)) => {
                    if self.take(session, which) && self.enter() {
                        return Ok(Answer::Explained);
                    }
                }
            }
        }
    }

    /// Does what changes nothing and opens the node, unless it is known to be hopeless; whether everything is done.
    fn enter(&mut self) -> bool {
        for session in 0..self.problem.sessions.len() as u32 {
            while self.next(session).is_some_and(|item| item.is_pure) && self.take(session, 0) {}
        }
        if self.left == 0 {
            return true;
        }
        if !self.hopeless.is_empty() {
            let node = self.node();
            if self.hopeless.contains(&node) {
                return false;
            }
        }
        let moves = self.moves();
        self.frames.push(Frame { changes: self.changes.len(), moves, tried: 0 });
        false
    }

    fn next(&self, session: u32) -> Option<&'a Item<J::Object>> {
        let session = session as usize;
        self.problem.sessions[session].get(self.done[session] as usize)
    }

    /// What is not pure and may be next: certain operations by their invocations, then those of unknown outcome.
    fn moves(&self) -> Vec<(u32, u32)> {
        let mut fronts: Vec<(bool, history::Nanos, u32, u32)> = Vec::new();
        for session in 0..self.problem.sessions.len() as u32 {
            let Some(item) = self.next(session).filter(|item| !item.is_pure) else { continue };
            let results = if item.call.ret.is_some() { 1 } else { self.results(item).len() };
            let is_unknown = !item.call.is_certain();
            fronts.extend((0..results as u32).map(|which| (is_unknown, item.call.start, session, which)));
        }
        fronts.sort_unstable();
        fronts.into_iter().map(|(_, _, session, which)| (session, which)).collect()
    }

    fn results(&self, item: &Item<J::Object>) -> Vec<Option<super::problem::RetOf<J>>> {
        self.problem.judgeable.results(&self.states[item.key as usize], &item.call.op)
    }

    /// Does the next operation of a session, with one of its possible results; whether it can have it here.
    fn take(&mut self, session: u32, which: u32) -> bool {
        let Some(item) = self.next(session) else { return false };
        if self.guide.is_some_and(|guide| !guide.allows(&self.done, session)) {
            return false;
        }
        let state = &self.states[item.key as usize];
        let next = if item.call.ret.is_some() {
            self.problem.object().step(state, &item.call.op, item.call.ret.as_ref())
        } else {
            let results = self.results(item);
            self.problem.object().step(state, &item.call.op, results[which as usize].as_ref())
        };
        let Some(next) = next else { return false };
        let mut change = Change { session, before: None };
        if next != *state {
            let (key, place) = (item.key as usize, Place { session, index: self.done[session as usize] });
            let awaited = |guide: &Saturation| {
                self.holders[key].is_some_and(|holder| guide.is_awaited(holder, &self.done, place))
            };
            if self.guide.is_some_and(awaited) {
                return false;
            }
            let state = std::mem::replace(&mut self.states[key], next);
            change.before = Some((item.key, state, self.holders[key].replace(place)));
        }
        self.changes.push(change);
        self.done[session as usize] += 1;
        self.left -= usize::from(item.call.is_certain());
        true
    }

    fn back_to(&mut self, changes: usize) {
        while self.changes.len() > changes {
            let Some(change) = self.changes.pop() else { return };
            let session = change.session as usize;
            self.done[session] -= 1;
            let item = &self.problem.sessions[session][self.done[session] as usize];
            self.left += usize::from(item.call.is_certain());
            if let Some((key, state, holder)) = change.before {
                (self.states[key as usize], self.holders[key as usize]) = (state, holder);
            }
        }
    }

    /// Positions and the numbers of the states.
    fn node(&mut self) -> Vec<u32> {
        let mut node = Vec::with_capacity(self.done.len() + self.states.len());
        node.extend_from_slice(&self.done);
        for state in &self.states {
            let number = match self.numbers.get(state) {
                Some(number) => *number,
                None => {
                    let number = self.numbers.len() as u32;
                    self.numbers.insert(state.clone(), number);
                    number
                }
            };
            node.push(number);
        }
        node
    }

    fn remember_furthest(&mut self) {
        if self.furthest.as_ref().is_none_or(|(left, _)| self.left < *left) {
            let stuck = Stuck { done: self.done.clone(), states: self.states.clone() };
            self.furthest = Some((self.left, stuck));
        }
    }

    fn give_up(&mut self) -> Answer<StateOf<J>> {
        let initial = || Stuck { done: self.done.clone(), states: self.states.clone() };
        Answer::Stuck(self.furthest.take().map_or_else(initial, |(_, stuck)| stuck))
    }

    fn check_memory(&self, meter: &mut Meter) -> Result<(), Limit> {
        let per_state = size_of::<StateOf<J>>() + self.owned_bytes;
        let kept = self.changes.len() + 2 * self.states.len() + self.numbers.len();
        let states = kept * per_state + self.numbers.capacity() * (size_of::<StateOf<J>>() + 8);
        let frames = self.frames.len() * (size_of::<Frame>() + 8 * self.done.len() + ALLOCATION_BYTES);
        let changes = self.changes.capacity() * size_of::<Change<StateOf<J>>>();
        meter.check_memory((states + self.hopeless.bytes() + frames + changes) as u64)
    }
}

/// What the allocator keeps beside a block.
const ALLOCATION_BYTES: usize = 16;
