//! A simulated history in memory, and its operations, paired without the help of the crate `history`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use history::{Event, EventKind, Nanos, Process};
use serde_json::Value;

use crate::simulate::{Simulation, Summary, simulate_traced};

/// What the simulator told, in the order in which it did.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// The event with that index.
    Event(usize),
    /// The operation whose invocation has that index took effect and observed that.
    Effect(u64, Value),
}

pub(super) struct Recorded {
    pub events: Vec<Event>,
    pub told: Vec<Told>,
    pub summary: Summary,
}

pub(super) fn record(simulation: &Simulation, think_time: Nanos) -> Recorded {
    let events = RefCell::new(Vec::new());
    let told = RefCell::new(Vec::new());
    let sink = |event: Event| -> Result<(), Infallible> {
        told.borrow_mut().push(Told::Event(events.borrow().len()));
        events.borrow_mut().push(event);
        Ok(())
    };
    let effects = |index, observed: &Value| told.borrow_mut().push(Told::Effect(index, observed.clone()));
    let Ok(summary) = simulate_traced(simulation, think_time, sink, effects);
    Recorded { events: events.into_inner(), told: told.into_inner(), summary }
}

/// An operation as a checker sees it.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub index: u64,
    pub f: String,
    pub key: String,
    pub argument: Value,
    pub call: u64,
    /// The latest moment of the effect: `u64::MAX` when the outcome is unknown.
    pub end: u64,
    /// `None` when the outcome is unknown.
    pub observed: Option<Value>,
}

impl Operation {
    pub(super) fn precedes(&self, other: &Self) -> bool {
        self.end < other.call
    }
}

impl Recorded {
    /// The operations in the order of their invocations.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut open: BTreeMap<Process, usize> = BTreeMap::new();
        let mut operations: Vec<Operation> = Vec::new();
        for event in &self.events {
            match event.kind {
                EventKind::Invoke => {
                    open.insert(event.process, operations.len());
                    operations.push(invocation(event));
                }
                EventKind::Ok => {
                    let operation = &mut operations[open[&event.process]];
                    operation.end = event.time.0;
                    operation.observed = Some(event.value.clone());
                }
                EventKind::Info => {}
                EventKind::Fail => panic!("nothing fails in a simulation: {event:?}"),
            }
        }
        operations
    }
}

fn invocation(event: &Event) -> Operation {
    Operation {
        index: event.index,
        f: event.f.clone(),
        key: event.key.clone().expect("every operation has a key"),
        argument: event.value.clone(),
        call: event.time.0,
        end: u64::MAX,
        observed: None,
    }
}
