//! Puts events into an order of time in which equal stamps mean concurrent.
//!
//! Where the order of a file is what counts (Jepsen's formats), an operation that ends at the very time at which another
//! begins would seem to precede it. So, of the events of one stamp, invocations come first and completions last, as far
//! as every process still ends one operation before it begins the next.

use std::collections::BTreeMap;

use crate::{Event, EventKind, Nanos, Process};

/// The place of an event: its time, its place among the events of that time, and the order of arrival.
type Place = (Nanos, u32, u64);

/// The place, among the events of one time, of completions that nothing of the same process follows.
const LAST: u32 = u32::MAX;

/// Holds events back and gives them out in order.
#[derive(Debug)]
pub(super) struct Ordered<T> {
    events: BTreeMap<Place, (Event, T)>,
    /// The last event of a process: where it stands, and where it would stand if another followed it.
    last: BTreeMap<Process, (Place, u32)>,
    arrived: u64,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), last: BTreeMap::new(), arrived: 0 }
    }
}

impl<T> Ordered<T> {
    /// Takes an event, and what is to be known of it. The events of one process arrive in their order.
    pub(super) fn push(&mut self, event: Event, known: T) {
        let is_invoke = event.kind == EventKind::Invoke;
        let before = self.last.get(&event.process).filter(|(place, _)| place.0 == event.time).copied();
        let rank = match before {
            Some((place, rank)) => {
                self.move_up(place, rank);
                rank.saturating_add(1)
            }
            None => u32::from(!is_invoke),
        };
        let place = (event.time, if is_invoke { rank } else { LAST }, self.arrived);
        self.arrived += 1;
        self.last.insert(event.process, (place, rank));
        self.events.insert(place, (event, known));
    }

    /// The next event if it is earlier than `horizon`.
    pub(super) fn pop_before(&mut self, horizon: Nanos) -> Option<(Event, T)> {
        let first = self.events.first_entry().filter(|first| first.key().0 < horizon)?;
        Some(first.remove())
    }

    /// The next event.
    pub(super) fn pop(&mut self) -> Option<(Event, T)> {
        self.events.pop_first().map(|(_, held)| held)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// A completion that is followed, at the same time, by an operation of its process does not come last.
    fn move_up(&mut self, place: Place, rank: u32) {
        if let Some(held) = self.events.remove(&place) {
            self.events.insert((place.0, rank, place.2), held);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(time: u64, kind: EventKind, process: u32) -> Event {
        Event {
            index: 0,
            time: Nanos(time),
            kind,
            process: Process(process),
            node: None,
            f: "read".into(),
            key: None,
            value: Value::Null,
            intended: None,
            is_final: false,
            error: None,
        }
    }

    fn ordered(events: &[(u64, EventKind, u32)]) -> Vec<(u64, EventKind, u32)> {
        let mut ordered = Ordered::default();
        for (time, kind, process) in events {
            ordered.push(event(*time, *kind, *process), ());
        }
        std::iter::from_fn(|| ordered.pop())
            .map(|(event, ())| (event.time.0, event.kind, event.process.0))
            .collect()
    }

    #[test]
    fn at_one_time_invocations_come_before_completions() {
        use EventKind::{Invoke, Ok};
        let events = [(1, Invoke, 0), (2, Ok, 0), (2, Invoke, 1), (3, Ok, 1)];
        assert_eq!(ordered(&events), [(1, Invoke, 0), (2, Invoke, 1), (2, Ok, 0), (3, Ok, 1)]);
    }

    #[test]
    fn process_ends_one_operation_before_it_begins_the_next() {
        use EventKind::{Invoke, Ok};
        let events = [(1, Invoke, 0), (1, Invoke, 1), (2, Ok, 1), (2, Ok, 0), (2, Invoke, 0), (2, Ok, 0)];
        let expected = [(1, Invoke, 0), (1, Invoke, 1), (2, Ok, 0), (2, Invoke, 0), (2, Ok, 1), (2, Ok, 0)];
        assert_eq!(ordered(&events), expected);
    }

    #[test]
    fn only_what_lies_before_the_horizon_is_given_out() {
        let mut ordered = Ordered::default();
        ordered.push(event(5, EventKind::Invoke, 0), ());
        ordered.push(event(3, EventKind::Invoke, 1), ());
        assert_eq!(ordered.pop_before(Nanos(5)).map(|(event, ())| event.time.0), Some(3));
        assert_eq!(ordered.pop_before(Nanos(5)), None);
        assert_eq!(ordered.len(), 1);
    }
}
