//! The simulation of time: whose turn it is, when operations take effect, when they return.
//!
//! Guarantees: stamps strictly grow, so no two events are concurrent by a tie; an operation takes effect after
//! its invocation, and before its return unless its outcome is unknown; a client has one operation open at a
//! time, and goes on as a new process after an unknown outcome.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::{Event, EventKind, Nanos, Process};
use serde_json::Value;

use super::editor::Editor;
use super::model::{Fate, Model, Turn};
use super::window::{Ending, Record};
use super::{Simulation, Summary, UNIT_NS, to_usize};
use crate::Stream;

/// The shortest operation.
const SHORTEST_NS: u64 = UNIT_NS / 5;
/// How much longer the longest one is.
const SPREAD_NS: u64 = UNIT_NS * 8 / 5;
/// An operation of unknown outcome takes effect so many durations after its invocation at the latest.
const LATE_DURATIONS: u64 = 4;
/// The stream of everything that clients draw.
const CLIENTS: u32 = 0;

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Invoke { client: usize },
    TakeEffect { slot: usize },
    Complete { slot: usize },
}

/// An operation that has not returned or not taken effect.
struct Open<C> {
    ordinal: u64,
    index: u64,
    client: usize,
    process: Process,
    invoked: u64,
    call: C,
    fate: Fate,
    /// What it observed, once it took effect.
    observed: Option<Value>,
    /// Whether its completion was recorded.
    completed: bool,
    /// Its position in the editor's window.
    record: Option<usize>,
}

impl<C> Open<C> {
    /// Whether nothing is to come of it.
    fn is_over(&self) -> bool {
        self.completed && (self.fate == Fate::Never || self.observed.is_some())
    }
}

impl<C: Clone> Open<C> {
    fn to_record(&self) -> Record<C> {
        Record {
            ordinal: self.ordinal,
            index: self.index,
            invoked: self.invoked,
            call: self.call.clone(),
            ending: Ending::Open,
        }
    }
}

pub(super) struct Engine<'a, M: Model, S, T> {
    simulation: &'a Simulation,
    think_time: Nanos,
    model: M,
    dice: Stream,
    /// What is to happen, by moment; the number keeps what falls on one moment in the order in which it was planned.
    agenda: BinaryHeap<Reverse<(u64, u64, Step)>>,
    planned: u64,
    slots: Vec<Option<Open<M::Call>>>,
    free: Vec<usize>,
    /// The process that each client is.
    processes: Vec<Process>,
    next_process: u32,
    /// The latest stamp.
    now: u64,
    invoked: u64,
    unknown: u64,
    editor: Editor<M::Call, S>,
    effects: T,
}

impl<'a, M: Model, E, S, T> Engine<'a, M, S, T>
where
    S: FnMut(Event) -> Result<(), E>,
    T: FnMut(u64, &Value),
{
    pub(super) fn new(simulation: &'a Simulation, think_time: Nanos, model: M, sink: S, effects: T) -> Self {
        Self {
            simulation,
            think_time,
            model,
            dice: Stream::of(simulation.seed, CLIENTS, 0),
            agenda: BinaryHeap::new(),
            planned: 0,
            slots: Vec::new(),
            free: Vec::new(),
            processes: (0..simulation.concurrency).map(Process).collect(),
            next_process: simulation.concurrency,
            now: 0,
            invoked: 0,
            unknown: 0,
            editor: Editor::new(simulation, sink),
            effects,
        }
    }

    /// Lets every client begin at once, and goes on until all operations have returned.
    pub(super) fn run(mut self) -> Result<Summary, E> {
        for client in 0..self.processes.len() {
            self.plan(0, Step::Invoke { client });
        }
        while let Some(Reverse((time, _, step))) = self.agenda.pop() {
            match step {
                Step::Invoke { client } if self.invoked < self.simulation.operations => {
                    self.invoke(client, time)?;
                }
                Step::Invoke { .. } => {}
                Step::TakeEffect { slot } => self.take_effect(slot),
                Step::Complete { slot } => self.complete(slot, time)?,
            }
        }
        let (events, violations) = self.editor.finish(&self.model)?;
        let span = Nanos(self.now);
        Ok(Summary { operations: self.invoked, unknown: self.unknown, events, span, violations })
    }

    fn plan(&mut self, time: u64, step: Step) {
        self.planned += 1;
        self.agenda.push(Reverse((time, self.planned, step)));
    }

    fn invoke(&mut self, client: usize, time: u64) -> Result<(), E> {
        let key = to_usize(self.dice.below(self.simulation.keys));
        let fate = self.draw_fate();
        let slot = self.free_slot();
        self.plan_operation(slot, time, fate);
        let serial = self.invoked;
        let call = self.model.invoke(Turn { client, key, serial, fate, dice: &mut self.dice });
        self.invoked += 1;
        self.unknown += u64::from(fate != Fate::Certain);
        if self.editor.wants_window(serial) {
            self.begin_window(serial);
        }
        let mut open = Open {
            ordinal: serial,
            index: self.editor.next_index(),
            client,
            process: self.processes[client],
            invoked: self.stamp(time),
            call,
            fate,
            observed: None,
            completed: false,
            record: None,
        };
        let event = self.event(&open, EventKind::Invoke, M::argument(&open.call));
        open.record = self.editor.invoke(event, || open.to_record())?;
        self.slots[slot] = Some(open);
        Ok(())
    }

    fn free_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    fn draw_fate(&mut self) -> Fate {
        if self.dice.fraction() * 100.0 >= self.simulation.unknown_percent {
            return Fate::Certain;
        }
        match self.dice.below(2) {
            0 => Fate::Never,
            _ => Fate::Late,
        }
    }

    fn plan_operation(&mut self, slot: usize, time: u64, fate: Fate) {
        let duration = SHORTEST_NS + self.dice.below(SPREAD_NS + 1);
        let latest = match fate {
            Fate::Certain => Some(duration),
            Fate::Late => Some(LATE_DURATIONS * duration),
            Fate::Never => None,
        };
        if let Some(latest) = latest {
            let delay = self.dice.below(latest + 1);
            self.plan(time + delay, Step::TakeEffect { slot });
        }
        self.plan(time + duration, Step::Complete { slot });
    }

    fn take_effect(&mut self, slot: usize) {
        let mut open = self.slots[slot].take().expect("invariant: a slot is kept until nothing is to come");
        let observed = self.model.apply(&open.call);
        (self.effects)(open.index, &observed);
        open.observed = Some(observed);
        self.put_back(slot, open);
    }

    fn complete(&mut self, slot: usize, time: u64) -> Result<(), E> {
        let mut open = self.slots[slot].take().expect("invariant: a slot is kept until nothing is to come");
        open.completed = true;
        self.stamp(time);
        let event = match (open.fate, &open.observed) {
            (Fate::Certain, Some(observed)) => self.event(&open, EventKind::Ok, observed.clone()),
            (Fate::Certain, None) => unreachable!("invariant: it takes effect before it returns"),
            (Fate::Late | Fate::Never, _) => self.event(&open, EventKind::Info, Value::Null),
        };
        self.editor.complete(event, open.record)?;
        if open.fate != Fate::Certain {
            self.processes[open.client] = Process(self.next_process);
            self.next_process += 1;
        }
        let pause = self.pause();
        self.plan(time + pause, Step::Invoke { client: open.client });
        self.put_back(slot, open);
        if self.editor.forge(&self.model, self.invoked)? {
            self.slots.iter_mut().flatten().for_each(|open| open.record = None);
        }
        Ok(())
    }

    /// Keeps an operation until nothing is to come of it.
    fn put_back(&mut self, slot: usize, open: Open<M::Call>) {
        if open.is_over() {
            self.free.push(slot);
        } else {
            self.slots[slot] = Some(open);
        }
    }

    fn pause(&mut self) -> u64 {
        match self.think_time {
            Nanos(0) => 0,
            Nanos(mean) => self.dice.below(2 * mean + 1),
        }
    }

    fn begin_window(&mut self, ordinal: u64) {
        let mut records = Vec::new();
        for open in self.slots.iter_mut().flatten().filter(|open| !open.completed) {
            open.record = Some(records.len());
            records.push(open.to_record());
        }
        self.editor.begin(ordinal, records);
    }

    /// The moment, or the next free one after it.
    fn stamp(&mut self, time: u64) -> u64 {
        self.now = time.max(self.now + 1);
        self.now
    }

    fn event(&self, open: &Open<M::Call>, kind: EventKind, value: Value) -> Event {
        Event {
            index: self.editor.next_index(),
            time: Nanos(self.now),
            kind,
            process: open.process,
            node: None,
            f: self.model.function(&open.call).to_owned(),
            key: Some(M::key(&open.call)),
            value,
            intended: None,
            is_final: false,
            error: None,
        }
    }
}
