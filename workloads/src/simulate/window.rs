//! The part of a history in which a violation is sought: its events, held back, and what they say.
//!
//! Guarantees: every operation that was open at any time since the window began has a record, and moments are in the
//! order of their stamps. What happened before is not in the window; a proof that needs it is none.

use history::{Event, EventKind};
use serde_json::Value;

/// What became of an operation so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// It has not returned.
    Open,
    /// It was given up.
    Unknown,
    /// It returned.
    Returned {
        /// The stamp.
        at: u64,
        /// What it observed.
        observed: Value,
        /// The position of its completion among the events of the window.
        event: usize,
    },
}

/// An operation as a checker sees it.
#[derive(Debug, Clone)]
pub(super) struct Record<C> {
    /// How many operations of the history were invoked before.
    pub ordinal: u64,
    /// The index of its invocation in the history.
    pub index: u64,
    /// The stamp of its invocation.
    pub invoked: u64,
    /// Function, key and arguments.
    pub call: C,
    /// What became of it.
    pub ending: Ending,
}

impl<C> Record<C> {
    /// What it observed, if it is known to have happened.
    pub(super) fn observed(&self) -> Option<&Value> {
        match &self.ending {
            Ending::Returned { observed, .. } => Some(observed),
            Ending::Open | Ending::Unknown => None,
        }
    }

    /// The latest moment at which it may take effect.
    pub(super) fn end(&self) -> u64 {
        match self.ending {
            Ending::Returned { at, .. } => at,
            Ending::Open | Ending::Unknown => u64::MAX,
        }
    }

    /// Whether it certainly took effect before the other was invoked.
    pub(super) fn precedes<D>(&self, other: &Record<D>) -> bool {
        self.end() < other.invoked
    }
}

/// Which of its two events an operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is invoked.
    Invoke,
    /// It returns, or its client gives it up.
    Complete,
}

/// An event of the window.
pub(super) struct Moment<'a, C> {
    /// The position of the operation among the records.
    pub at: usize,
    /// The operation, with all that the window knows of it.
    pub record: &'a Record<C>,
    /// Which of its events this is.
    pub phase: Phase,
}

/// Lies, and what they amount to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Forgery {
    /// Which records observe something else, and what.
    pub lies: Vec<(usize, Value)>,
    /// What is wrong then, in words.
    pub what: &'static str,
}

impl Forgery {
    /// A single lie.
    pub(super) fn one(at: usize, lie: Value, what: &'static str) -> Self {
        Self { lies: vec![(at, lie)], what }
    }
}

/// Consecutive events of a history and the operations that they belong to.
pub(super) struct Window<C> {
    records: Vec<Record<C>>,
    /// How many of the records were invoked before the window began.
    adopted: usize,
    moments: Vec<(usize, Phase)>,
    events: Vec<Event>,
}

impl<C> Window<C> {
    /// Begins with the operations that are open.
    pub(super) fn new(open: Vec<Record<C>>) -> Self {
        Self { adopted: open.len(), records: open, moments: Vec::new(), events: Vec::new() }
    }

    /// Takes an invocation; returns the position of its record.
    pub(super) fn invoke(&mut self, record: Record<C>, event: Event) -> usize {
        let at = self.records.len();
        self.records.push(record);
        self.hold(at, Phase::Invoke, event);
        at
    }

    /// Takes a completion.
    pub(super) fn complete(&mut self, at: usize, event: Event) {
        self.records[at].ending = match event.kind {
            EventKind::Ok => {
                let observed = event.value.clone();
                Ending::Returned { at: event.time.0, observed, event: self.events.len() }
            }
            _ => Ending::Unknown,
        };
        self.hold(at, Phase::Complete, event);
    }

    fn hold(&mut self, at: usize, phase: Phase, event: Event) {
        self.moments.push((at, phase));
        self.events.push(event);
    }

    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The operation at a position.
    pub(super) fn record(&self, at: usize) -> &Record<C> {
        &self.records[at]
    }

    /// The operations that were open when the window began.
    pub(super) fn adopted(&self) -> &[Record<C>] {
        &self.records[..self.adopted]
    }

    /// The events in the order of time.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment<'_, C>> {
        let moment = |&(at, phase): &(usize, Phase)| Moment { at, record: &self.records[at], phase };
        self.moments.iter().map(moment)
    }

    /// Writes the lies into the events.
    pub(super) fn falsify(&mut self, forgery: &Forgery) {
        for (at, lie) in &forgery.lies {
            let Ending::Returned { event, .. } = self.records[*at].ending else {
                unreachable!("invariant: only what returned is falsified");
            };
            self.events[event].value.clone_from(lie);
        }
    }

    /// The events, to be released.
    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }
}
