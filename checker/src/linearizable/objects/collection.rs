//! Queues and stacks as recorded objects: `enqueue` and `dequeue`, `push` and `pop`.
//!
//! Where all values are different, no search is needed: see [`super::super::collections`].

use std::marker::PhantomData;

use history::{Operations, ValueId, Values};
use rustc_hash::FxHashMap;

use super::super::calls::Call;
use super::super::object::{CallOf, Case, Object, Removal, ShortcutOf, Step, unknown_function};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::collection::{AnyOrder, Discipline, FirstIn, LastIn};
use crate::model::{Collection, CollectionOp, CollectionRet};
use crate::narration::show_value;

mod cases;

/// A call of a queue or a stack.
pub(crate) type CollectionCall = Call<CollectionOp, CollectionRet>;

/// What recorded operations of a discipline are called.
pub(crate) trait Words: Discipline {
    /// The object.
    const OBJECT: &'static str;
    /// The functions that insert and remove.
    const FUNCTIONS: [&'static str; 2];
    /// Both, for people.
    const KNOWN: &'static str;
}

impl Words for FirstIn {
    const OBJECT: &'static str = "queue";
    const FUNCTIONS: [&'static str; 2] = ["enqueue", "dequeue"];
    const KNOWN: &'static str = "`enqueue` and `dequeue`";
}

impl Words for AnyOrder {
    const OBJECT: &'static str = "unordered queue";
    const FUNCTIONS: [&'static str; 2] = ["enqueue", "dequeue"];
    const KNOWN: &'static str = "`enqueue` and `dequeue`";
}

impl Words for LastIn {
    const OBJECT: &'static str = "stack";
    const FUNCTIONS: [&'static str; 2] = ["push", "pop"];
    const KNOWN: &'static str = "`push` and `pop`";
}

/// A queue or a stack per key; `null` is observed where nothing was in it.
#[derive(Debug)]
pub(crate) struct CollectionObject<'a, D> {
    values: &'a Values,
    discipline: PhantomData<D>,
}

impl<'a, D: Words> CollectionObject<'a, D> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        Self { values: operations.values(), discipline: PhantomData }
    }
}

impl<D: Words> Object for CollectionObject<'_, D> {
    specified_by!(Collection<D>);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let [insert, remove] = D::FUNCTIONS;
        let op = match function(operations, at) {
            name if name == insert => CollectionOp::Insert(operations.input(at)),
            name if name == remove => CollectionOp::Remove,
            _ => return Err(unknown_function(operations, at, D::OBJECT, D::KNOWN)),
        };
        let output = operations.output(at);
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            CollectionOp::Insert(_) => Some(CollectionRet::Inserted),
            CollectionOp::Remove if output.is_absent() => Some(CollectionRet::Empty),
            CollectionOp::Remove => Some(CollectionRet::Removed(output)),
        };
        Ok(Step { op, ret })
    }

    /// All operations on a value can go together: without them the others see the same elements in the same order.
    fn removable(&self, calls: &[CollectionCall]) -> Vec<Removal> {
        let mut numbers: FxHashMap<ValueId, u32> = FxHashMap::default();
        let mut together = |value| {
            let next = numbers.len() as u32;
            Removal::Together(*numbers.entry(value).or_insert(next))
        };
        let removal = |call: &CollectionCall| match (call.op, call.ret) {
            (CollectionOp::Insert(value), _) | (_, Some(CollectionRet::Removed(value))) => together(value),
            (CollectionOp::Remove, Some(CollectionRet::Empty)) => Removal::Alone,
            (CollectionOp::Remove, _) => Removal::Kept,
        };
        calls.iter().map(removal).collect()
    }

    fn shortcut(&self, _calls: &[CollectionCall]) -> Option<ShortcutOf<Self>> {
        None
    }

    fn show_states(&self, states: &[Collection<D>]) -> String {
        let show = |state: &Collection<D>| super::append_list::show_list(self.values, &state.0);
        format!("the {} is {}", D::OBJECT, states.iter().map(show).collect::<Vec<_>>().join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        let [insert, remove] = D::FUNCTIONS;
        match (call.op, call.ret) {
            (CollectionOp::Insert(value), _) => format!("{insert} {}", show_value(self.values, value)),
            (CollectionOp::Remove, Some(CollectionRet::Removed(value))) => {
                format!("{remove} {}", show_value(self.values, value))
            }
            (CollectionOp::Remove, Some(CollectionRet::Empty)) => format!("{remove} nothing"),
            (CollectionOp::Remove, _) => remove.to_owned(),
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}
