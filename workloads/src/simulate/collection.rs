//! Queues, unordered queues and stacks of integers that are all different: half insertions, half removals;
//! removing from an empty one gives `null`. The number of elements wanders between none and four per client.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::model::{Model, Turn, key_name};
use super::window::{Forgery, Moment, Phase, Record, Window};
use crate::Stream;

/// A collection that holds so many elements per client is only removed from.
const ELEMENTS_PER_CLIENT: usize = 4;
/// How many earlier removals of a key are tried as partners of a removal, so that a search stays linear.
const PARTNERS: usize = 1024;
/// The stream of the draws of unordered removals.
const REMOVALS: u32 = 1;

/// Which element leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Fifo,
    Lifo,
    Any,
}

/// Many collections, empty at first.
pub(super) struct Collection {
    order: Order,
    keys: Vec<VecDeque<u64>>,
    limit: usize,
    dice: Stream,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    key: usize,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Insert(u64),
    Remove,
}

impl Collection {
    pub(super) fn new(order: Order, keys: usize, clients: usize, seed: u64) -> Self {
        let limit = clients * ELEMENTS_PER_CLIENT;
        Self { order, keys: vec![VecDeque::new(); keys], limit, dice: Stream::of(seed, REMOVALS, 0) }
    }

    fn remove(&mut self, key: usize) -> Option<u64> {
        let elements = &mut self.keys[key];
        match self.order {
            Order::Fifo => elements.pop_front(),
            Order::Lifo => elements.pop_back(),
            Order::Any if elements.is_empty() => None,
            Order::Any => {
                let at = self.dice.below(elements.len() as u64);
                elements.swap_remove_back(usize::try_from(at).expect("invariant: below the length"))
            }
        }
    }
}

impl Model for Collection {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let inserts = turn.dice.below(2) == 0 && self.keys[turn.key].len() < self.limit;
        let deed = if inserts { Deed::Insert(turn.serial + 1) } else { Deed::Remove };
        Call { key: turn.key, deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        match call.deed {
            Deed::Insert(element) => {
                self.keys[call.key].push_back(element);
                Value::Null
            }
            Deed::Remove => self.remove(call.key).map_or(Value::Null, Value::from),
        }
    }

    fn function(&self, call: &Call) -> &'static str {
        match (self.order, call.deed) {
            (Order::Lifo, Deed::Insert(_)) => "push",
            (Order::Lifo, Deed::Remove) => "pop",
            (_, Deed::Insert(_)) => "enqueue",
            (_, Deed::Remove) => "dequeue",
        }
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(call: &Call) -> Value {
        match call.deed {
            Deed::Insert(element) => Value::from(element),
            Deed::Remove => Value::Null,
        }
    }

    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        match self.order {
            Order::Fifo => {
                swapped(window, from, "two elements leave in the wrong order", |one, two| (one, two))
            }
            Order::Lifo => {
                swapped(window, from, "two elements leave in the wrong order", |one, two| (two, one))
            }
            Order::Any => delivered_twice(window, from),
        }
    }
}

/// A removal that returned an element.
fn removal<'a>(moment: &Moment<'a, Call>) -> Option<(&'a Record<Call>, u64)> {
    match moment.record.call.deed {
        Deed::Remove => Some((moment.record, moment.record.observed()?.as_u64()?)),
        Deed::Insert(_) => None,
    }
}

/// A removal gives an element that an earlier one gave already.
///
/// Why it is provable: every element is inserted by one operation, so it leaves at most once, whatever the unknown
/// operations did.
fn delivered_twice(window: &Window<Call>, from: u64) -> Option<Forgery> {
    let mut given: BTreeMap<usize, u64> = BTreeMap::new();
    for moment in window.moments() {
        let Some((record, element)) = removal(&moment) else { continue };
        match (moment.phase, given.get(&record.call.key)) {
            (Phase::Complete, _) => drop(given.insert(record.call.key, element)),
            (Phase::Invoke, Some(earlier)) if record.ordinal >= from => {
                return Some(Forgery::one(moment.at, Value::from(*earlier), "an element is delivered twice"));
            }
            (Phase::Invoke, _) => {}
        }
    }
    None
}

/// Two removals, one after the other, give each other's element.
///
/// `inserted` puts the elements that two consecutive removals truly gave into the order of their insertion.
///
/// Why it is provable: one insertion returned before the other was invoked, the other before the first removal
/// was invoked, and that returned before the second removal was invoked. So both elements are there at the
/// first removal (each leaves but once, at its own removal), and it is certain which of them is nearer to the
/// exit: it stays until the second removal, and the other one leaves before it.
fn swapped(
    window: &Window<Call>,
    from: u64,
    what: &'static str,
    inserted: impl Fn(u64, u64) -> (u64, u64),
) -> Option<Forgery> {
    let insertions = insertions(window);
    let in_order = |first: &Record<Call>, one: u64, two: u64| {
        let (older, newer) = inserted(one, two);
        let (Some(older), Some(newer)) = (insertions.get(&older), insertions.get(&newer)) else {
            return false;
        };
        older.precedes(newer) && newer.precedes(first)
    };
    let mut returned: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
    for moment in window.moments() {
        let Some((second, two)) = removal(&moment) else { continue };
        let earlier = returned.entry(second.call.key).or_default();
        if moment.phase == Phase::Complete {
            earlier.push((moment.at, two));
            continue;
        }
        let fits = |&&(at, one): &&(usize, u64)| {
            let first = window.record(at);
            first.ordinal >= from && in_order(first, one, two)
        };
        if let Some(&(first, one)) = earlier.iter().rev().take(PARTNERS).find(fits) {
            return Some(Forgery {
                lies: vec![(first, Value::from(two)), (moment.at, Value::from(one))],
                what,
            });
        }
    }
    None
}

/// The insertions that returned, by element.
fn insertions(window: &Window<Call>) -> BTreeMap<u64, &Record<Call>> {
    let returned = window.moments().filter(|moment| moment.phase == Phase::Complete);
    returned
        .filter_map(|moment| match moment.record.call.deed {
            Deed::Insert(element) => moment.record.observed().map(|_| (element, moment.record)),
            Deed::Remove => None,
        })
        .collect()
}
