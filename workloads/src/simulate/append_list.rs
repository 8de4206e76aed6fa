//! Lists that only grow: half appends of integers that are all different, half reads of the whole list.
//!
//! A list that was given [`LENGTH_LIMIT`] elements is left alone, and its key moves on to a fresh one: `k3.0`,
//! `k3.1`, … So the file grows with the number of operations and not with its square.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::model::{Model, Turn};
use super::window::{Forgery, Phase, Window};

/// How many appends a list sees.
const LENGTH_LIMIT: u32 = 32;

/// The list that each key has come to.
pub(super) struct AppendList {
    lists: Vec<List>,
}

/// A list. Operations that are open when its key moves on hold on to its elements.
#[derive(Default)]
struct List {
    generation: u64,
    appends: u32,
    elements: Rc<RefCell<Vec<u64>>>,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    key: usize,
    generation: u64,
    elements: Rc<RefCell<Vec<u64>>>,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Append(u64),
    Read,
}

impl AppendList {
    pub(super) fn new(keys: usize) -> Self {
        Self { lists: std::iter::repeat_with(List::default).take(keys).collect() }
    }
}

impl Model for AppendList {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let list = &mut self.lists[turn.key];
        if list.appends == LENGTH_LIMIT {
            *list = List { generation: list.generation + 1, ..List::default() };
        }
        let deed = match turn.dice.below(2) {
            0 => Deed::Read,
            _ => {
                list.appends += 1;
                Deed::Append(turn.serial + 1)
            }
        };
        Call { key: turn.key, generation: list.generation, elements: Rc::clone(&list.elements), deed }
    }

    fn apply(&mut self, call: &Call) -> Value {
        match call.deed {
            Deed::Append(element) => {
                call.elements.borrow_mut().push(element);
                Value::Null
            }
            Deed::Read => Value::from(call.elements.borrow().as_slice()),
        }
    }

    fn function(&self, call: &Call) -> &'static str {
        match call.deed {
            Deed::Append(_) => "append",
            Deed::Read => "read",
        }
    }

    fn key(call: &Call) -> String {
        format!("k{}.{}", call.key, call.generation)
    }

    fn argument(call: &Call) -> Value {
        match call.deed {
            Deed::Append(element) => Value::from(element),
            Deed::Read => Value::Null,
        }
    }

    /// Why it is provable: an append returned before the read was invoked, and lists only grow, so its element
    /// must be in what is read.
    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let mut appended: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        for moment in window.moments() {
            let Some(observed) = moment.record.observed() else { continue };
            let call = &moment.record.call;
            let list = (call.key, call.generation);
            match (moment.phase, call.deed) {
                (Phase::Complete, Deed::Append(element)) => drop(appended.insert(list, element)),
                (Phase::Invoke, Deed::Read) if moment.record.ordinal >= from => {
                    if let Some(lie) = appended.get(&list).and_then(|element| cut_before(observed, *element))
                    {
                        return Some(Forgery::one(
                            moment.at,
                            lie,
                            "a read misses an element that was appended",
                        ));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The list as it was right before an element came.
fn cut_before(list: &Value, element: u64) -> Option<Value> {
    let elements = list.as_array()?;
    let at = elements.iter().position(|found| found.as_u64() == Some(element))?;
    Some(Value::from(&elements[..at]))
}
