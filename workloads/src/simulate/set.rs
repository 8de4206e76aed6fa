//! Sets of integers: add, remove and contains of one element, in thirds.
//!
//! Every key has a pool of elements in use; an operation takes one of them. After [`USES`] operations an
//! element makes room for a fresh one, which is larger than all before, so that contention stays while every
//! element has a short life. Whole sets are not read: their size would make the file quadratic.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::model::{Model, Turn, key_name};
use super::settled::Settled;
use super::window::{Forgery, Phase, Record, Window};

/// How many operations an element sees.
const USES: u32 = 12;

/// Many sets, empty at first.
pub(super) struct Set {
    pools: Vec<Pool>,
    size: u64,
}

#[derive(Clone, Default)]
struct Pool {
    slots: Vec<Slot>,
    elements: u64,
}

/// An element in use. Operations that are open when it retires hold on to its state.
#[derive(Clone)]
struct Slot {
    element: u64,
    uses: u32,
    present: Rc<Cell<bool>>,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    key: usize,
    element: u64,
    /// Nobody invoked an operation on the element before.
    first: bool,
    present: Rc<Cell<bool>>,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Add,
    Remove,
    Contains,
}

impl Set {
    pub(super) fn new(keys: usize, size: u64) -> Self {
        Self { pools: vec![Pool::default(); keys], size }
    }
}

impl Pool {
    /// The element in a slot, which is replaced when it was used enough.
    fn used(&mut self, slot: usize) -> Slot {
        while self.slots.len() <= slot {
            let fresh = self.fresh();
            self.slots.push(fresh);
        }
        if self.slots[slot].uses == USES {
            self.slots[slot] = self.fresh();
        }
        self.slots[slot].uses += 1;
        self.slots[slot].clone()
    }

    fn fresh(&mut self) -> Slot {
        self.elements += 1;
        Slot { element: self.elements, uses: 0, present: Rc::default() }
    }
}

impl Model for Set {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let slot = usize::try_from(turn.dice.below(self.size)).expect("invariant: the pool is in memory");
        let Slot { element, uses, present } = self.pools[turn.key].used(slot);
        let deed = match turn.dice.below(3) {
            0 => Deed::Add,
            1 => Deed::Remove,
            _ => Deed::Contains,
        };
        Call { key: turn.key, element, first: uses == 1, present, deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        match call.deed {
            Deed::Add => call.present.set(true),
            Deed::Remove => call.present.set(false),
            Deed::Contains => return Value::Bool(call.present.get()),
        }
        Value::Null
    }

    fn function(&self, call: &Call) -> &'static str {
        match call.deed {
            Deed::Add => "add",
            Deed::Remove => "remove",
            Deed::Contains => "contains",
        }
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(call: &Call) -> Value {
        Value::from(call.element)
    }

    /// Why it is provable: only elements are looked at whose first operation is in the window, so that
    /// everything that was ever done to them is. Then see [`Settled`].
    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let mut elements: BTreeMap<(usize, u64), Element> = BTreeMap::new();
        for moment in window.moments() {
            let name = (moment.record.call.key, moment.record.call.element);
            if moment.phase == Phase::Invoke && moment.record.call.first {
                elements.insert(name, Element::default());
            }
            let Some(element) = elements.get_mut(&name) else { continue };
            element.learn(moment.record, moment.phase);
            if moment.phase == Phase::Complete
                && moment.record.ordinal >= from
                && let Some((lie, what)) = element.contradiction(moment.record)
            {
                return Some(Forgery::one(moment.at, Value::Bool(lie), what));
            }
        }
        None
    }
}

/// What is certain of an element: presence is caused by `add` and undone by `remove`, absence the other way round.
#[derive(Default)]
struct Element {
    present: Settled,
    absent: Settled,
}

impl Element {
    fn learn(&mut self, record: &Record<Call>, phase: Phase) {
        match record.call.deed {
            Deed::Add => {
                self.present.cause(record, phase);
                self.absent.undo(record, phase);
            }
            Deed::Remove => {
                self.absent.cause(record, phase);
                self.present.undo(record, phase);
            }
            Deed::Contains => {}
        }
    }

    /// What a `contains` cannot have observed.
    fn contradiction(&self, record: &Record<Call>) -> Option<(bool, &'static str)> {
        if !matches!(record.call.deed, Deed::Contains) || record.observed().is_none() {
            None
        } else if self.present.throughout(record) {
            Some((false, "an element that was added and not removed is missing"))
        } else if self.absent.throughout(record) {
            Some((true, "an element that was removed and not added again is there"))
        } else {
            None
        }
    }
}
