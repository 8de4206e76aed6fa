//! Queues and stacks: what goes in comes out once, in an order that depends on the discipline.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use history::ValueId;

use super::{Effect, Model, SequentialSpec};

/// Which element leaves next.
pub trait Discipline: Debug + Clone + Copy + PartialEq + Eq + Hash + Default + Send + Sync {
    /// Whether the order of the elements in the state means anything.
    const ORDERED: bool;

    /// The position of an element that may leave now; `value` is the one that was observed.
    fn position(elements: &[ValueId], value: Option<ValueId>) -> Option<usize>;
}

/// First in, first out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FirstIn;

/// Last in, first out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LastIn;

/// Any element may leave: a queue that promises no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AnyOrder;

impl Discipline for FirstIn {
    const ORDERED: bool = true;

    fn position(elements: &[ValueId], value: Option<ValueId>) -> Option<usize> {
        let first = *elements.first()?;
        value.is_none_or(|value| value == first).then_some(0)
    }
}

impl Discipline for LastIn {
    const ORDERED: bool = true;

    fn position(elements: &[ValueId], value: Option<ValueId>) -> Option<usize> {
        let last = *elements.last()?;
        value.is_none_or(|value| value == last).then(|| elements.len() - 1)
    }
}

impl Discipline for AnyOrder {
    const ORDERED: bool = false;

    fn position(elements: &[ValueId], value: Option<ValueId>) -> Option<usize> {
        match value {
            Some(value) => elements.binary_search(&value).ok(),
            None => (!elements.is_empty()).then_some(0),
        }
    }
}

/// The elements that are in it; none at first. Oldest first, or ascending when the order means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Collection<D>(pub Vec<ValueId>, pub PhantomData<D>);

/// A queue, first in first out.
pub type Queue = Collection<FirstIn>;
/// A queue that promises no order.
pub type UnorderedQueue = Collection<AnyOrder>;
/// A stack.
pub type Stack = Collection<LastIn>;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionOp {
    /// Enqueue, or push.
    Insert(ValueId),
    /// Dequeue, or pop.
    Remove,
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionRet {
    /// It is in.
    Inserted,
    /// What came out.
    Removed(ValueId),
    /// Nothing was in it.
    Empty,
}

impl<D: Discipline> SequentialSpec for Collection<D> {
    type Op = CollectionOp;
    type Ret = CollectionRet;

    fn invoke(&mut self, op: &CollectionOp) -> CollectionRet {
        match *op {
            CollectionOp::Insert(value) if D::ORDERED => self.0.push(value),
            CollectionOp::Insert(value) => {
                let at = self.0.partition_point(|element| *element < value);
                self.0.insert(at, value);
            }
            CollectionOp::Remove => {
                let at = D::position(&self.0, None);
                return at.map_or(CollectionRet::Empty, |at| CollectionRet::Removed(self.0.remove(at)));
            }
        }
        CollectionRet::Inserted
    }

    fn is_valid_step(&mut self, op: &CollectionOp, ret: &CollectionRet) -> bool {
        match (op, ret) {
            (CollectionOp::Insert(_), CollectionRet::Inserted) => {
                self.invoke(op);
                true
            }
            (CollectionOp::Remove, CollectionRet::Empty) => self.0.is_empty(),
            (CollectionOp::Remove, CollectionRet::Removed(value)) => {
                let at = D::position(&self.0, Some(*value));
                at.map(|at| self.0.remove(at)).is_some()
            }
            _ => false,
        }
    }
}

impl<D: Discipline> Model for Collection<D> {
    fn effect(_op: &CollectionOp, ret: Option<&CollectionRet>) -> Effect {
        if ret == Some(&CollectionRet::Empty) { Effect::Pure } else { Effect::General }
    }
}
