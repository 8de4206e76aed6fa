//! Passes events on to the sink, and falsifies an observation at each place where a violation is wanted.
//!
//! Shortly before such a place it begins to hold events back, and asks the model for a lie that the held operations
//! prove, again and again while the window grows. When there is one, or when the window is full, it releases the
//! events. Guarantees: order and number of the events are those of a history without violations, no observation is
//! falsified twice, and a lie is never proven by another one, because windows do not overlap.

use std::collections::VecDeque;

use history::Event;

use super::model::Model;
use super::window::{Record, Window};
use super::{Simulation, Violation};

/// How many operations before its place a window begins.
const LEAD: u64 = 1024;
/// A window of so many operations is given up; the next one begins right after it.
const WINDOW_LIMIT: usize = 1 << 15;
/// After this part of the history has passed in vain, a blunt lie will do.
const BLUNT_AFTER_PART: u64 = 50;

pub(super) struct Editor<C, S> {
    sink: S,
    next_index: u64,
    window: Option<Window<C>>,
    /// Where violations are still wanted: numbers of invocations, ascending.
    places: VecDeque<u64>,
    /// When so many operations were invoked, the model is asked.
    next_try: u64,
    /// After how many more operations it is asked again.
    patience: u64,
    least_patience: u64,
    blunt_after: u64,
    violations: Vec<Violation>,
}

impl<C: Clone, S> Editor<C, S> {
    pub(super) fn new(simulation: &Simulation, sink: S) -> Self {
        // Operations that overlap prove nothing about each other, so the least window outlasts every client's
        // operation.
        let least_patience = 2 * u64::from(simulation.concurrency) + 8;
        Self {
            sink,
            next_index: 0,
            window: None,
            places: places(simulation),
            next_try: 0,
            patience: least_patience,
            least_patience,
            blunt_after: simulation.operations / BLUNT_AFTER_PART,
            violations: Vec::new(),
        }
    }

    /// The index of the next event.
    pub(super) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Whether events should be held back from the `ordinal`-th invocation on.
    pub(super) fn wants_window(&self, ordinal: u64) -> bool {
        self.window.is_none() && self.places.front().is_some_and(|place| ordinal + LEAD >= *place)
    }

    /// Begins to hold events back. `open` are the operations that have not returned.
    pub(super) fn begin(&mut self, ordinal: u64, open: Vec<Record<C>>) {
        let place = self.places.front().copied().unwrap_or(ordinal);
        self.window = Some(Window::new(open));
        self.patience = self.least_patience;
        self.next_try = ordinal.max(place) + self.patience;
    }
}

impl<C: Clone, E, S: FnMut(Event) -> Result<(), E>> Editor<C, S> {
    /// Takes an invocation; returns the position of its record when it is held back.
    pub(super) fn invoke(
        &mut self,
        event: Event,
        record: impl FnOnce() -> Record<C>,
    ) -> Result<Option<usize>, E> {
        self.next_index += 1;
        match &mut self.window {
            Some(window) => Ok(Some(window.invoke(record(), event))),
            None => (self.sink)(event).map(|()| None),
        }
    }

    /// Takes the completion of the operation with that record.
    pub(super) fn complete(&mut self, event: Event, record: Option<usize>) -> Result<(), E> {
        self.next_index += 1;
        match (&mut self.window, record) {
            (Some(window), Some(at)) => {
                window.complete(at, event);
                Ok(())
            }
            (None, None) => (self.sink)(event),
            _ => unreachable!("invariant: an open operation has a record exactly while there is a window"),
        }
    }

    /// Asks the model for a lie when it is time to; returns whether the window was released.
    pub(super) fn forge(&mut self, model: &impl Model<Call = C>, invoked: u64) -> Result<bool, E> {
        let (Some(window), Some(place)) = (&self.window, self.places.front()) else { return Ok(false) };
        if invoked < self.next_try {
            return Ok(false);
        }
        let (from, full) = (*place, window.len() >= WINDOW_LIMIT);
        if self.lie(model, from, invoked >= from + self.blunt_after) || full {
            return self.release().map(|()| true);
        }
        // Doubling keeps the work of all tries together linear.
        self.patience *= 2;
        self.next_try = invoked + self.patience;
        Ok(false)
    }

    /// The history is over: a lie anywhere in the window is better than none.
    pub(super) fn finish(mut self, model: &impl Model<Call = C>) -> Result<(u64, Vec<Violation>), E> {
        if let Some(place) = self.places.front().copied() {
            let _found = [place, place / 2, 0].into_iter().any(|from| self.lie(model, from, true));
        }
        self.release()?;
        Ok((self.next_index, self.violations))
    }

    /// Falsifies what the model proposes; returns whether it proposed anything.
    fn lie(&mut self, model: &impl Model<Call = C>, from: u64, bluntly: bool) -> bool {
        let Some(window) = &mut self.window else { return false };
        let blunt = || bluntly.then(|| model.forge_bluntly(window, from)).flatten();
        let Some(forgery) = model.forge(window, from).or_else(blunt) else { return false };
        window.falsify(&forgery);
        let operations = forgery.lies.iter().map(|(at, _)| window.record(*at).index).collect();
        self.violations.push(Violation { operations, what: forgery.what });
        self.places.pop_front();
        true
    }

    fn release(&mut self) -> Result<(), E> {
        let events = self.window.take().map(Window::into_events).unwrap_or_default();
        events.into_iter().try_for_each(&mut self.sink)
    }
}

/// The middles of as many equal parts of the last four fifths of the history: for one violation, at 60 %.
fn places(simulation: &Simulation) -> VecDeque<u64> {
    let parts = u64::from(simulation.violations);
    (0..parts).map(|part| simulation.operations * (2 * parts + 8 * part + 4) / (10 * parts)).collect()
}

#[cfg(test)]
mod tests {
    use checker::Spec;

    use super::*;
    use crate::simulate::SimulatedModel;

    fn spread(violations: u32) -> VecDeque<u64> {
        let (model, values) = (SimulatedModel::Of(Spec::Register), 0);
        places(&Simulation {
            model,
            operations: 1000,
            concurrency: 5,
            keys: 1,
            unknown_percent: 0.0,
            violations,
            values,
            seed: 0,
        })
    }

    #[test]
    fn violations_are_spread_around_sixty_percent() {
        assert!(spread(0).is_empty());
        assert_eq!(spread(1), [600]);
        assert_eq!(spread(2), [400, 800]);
        assert_eq!(spread(4), [300, 500, 700, 900]);
    }
}
