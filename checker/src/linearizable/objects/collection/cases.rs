//! The violations of queues and stacks that have a name: an element from nowhere, delivered too often, lost, or delivered out
//! of order.

use history::{Outcome, ValueId};

use super::super::telling::{Verb, times};
use super::{Case, CollectionCall, CollectionObject, CollectionOp, CollectionRet, Words};

/// What happened, when it is one of these cases.
pub(super) fn headline<D: Words>(case: &Case<'_, CollectionObject<'_, D>>) -> Option<String> {
    let teller = Teller { case };
    case.accused()
        .find_map(|call| match call.ret? {
            CollectionRet::Removed(value) => teller
                .never_inserted(call, value)
                .or_else(|| teller.too_often(value))
                .or_else(|| teller.out_of_order(call, value)),
            CollectionRet::Empty => teller.not_empty(call),
            CollectionRet::Inserted => None,
        })
        .or_else(|| teller.never_empty())
}

/// `enqueued`, `pushed`, …
fn past(function: &'static str) -> &'static str {
    match function {
        "enqueue" => "enqueued",
        "dequeue" => "dequeued",
        "push" => "pushed",
        _ => "popped",
    }
}

/// Whether the second of two elements may not leave while the first is there.
fn first_leaves_first<D: Words>() -> bool {
    D::position(&[ValueId(0), ValueId(1)], Some(ValueId(1))).is_none()
}

/// Whether the first of two elements may not leave while the second is there.
fn last_leaves_first<D: Words>() -> bool {
    D::position(&[ValueId(0), ValueId(1)], Some(ValueId(0))).is_none()
}

struct Teller<'c, 'a, D: Words> {
    case: &'c Case<'c, CollectionObject<'a, D>>,
}

impl<D: Words> Teller<'_, '_, D> {
    fn never_inserted(&self, call: &CollectionCall, value: ValueId) -> Option<String> {
        let operations = self.case.operations;
        let insert = operations.names().find(D::FUNCTIONS[0]);
        let makes = |at: usize| Some(operations.function(at)) == insert && operations.input(at) == value;
        let verb = Verb::regular(past(D::FUNCTIONS[0]));
        let reason = self.case.never(call.end()?, &self.case.show(value), verb, makes)?;
        Some(format!("{}, {reason}", self.removed(call, value)))
    }

    /// More of it came out than went in.
    fn too_often(&self, value: ValueId) -> Option<String> {
        let operations = self.case.operations;
        let inserted =
            self.case.recorded(D::FUNCTIONS[0]).filter(|at| operations.input(*at) == value).count();
        let takes =
            |call: &&CollectionCall| call.ret == Some(CollectionRet::Removed(value)) && call.is_certain();
        let mut removes: Vec<&CollectionCall> = self.case.core.iter().filter(takes).collect();
        if removes.len() <= inserted || inserted == 0 {
            return None;
        }
        removes.sort_by_key(|call| (call.end(), call.position));
        let takers: Vec<String> =
            removes.iter().map(|call| format!("by {}{}", self.case.who(call), self.case.at(call))).collect();
        let [went_in, came_out] = D::FUNCTIONS.map(past);
        let shown = self.case.show(value);
        let (often, takers) = (times(removes.len()), takers.join(" and "));
        Some(format!("{shown} was {went_in} only {} but {came_out} {often}: {takers}", times(inserted)))
    }

    /// Another element had to leave before this one, and had not left.
    fn out_of_order(&self, call: &CollectionCall, value: ValueId) -> Option<String> {
        let blocked = |other: &&CollectionCall| match other.op {
            CollectionOp::Insert(blocker) => {
                blocker != value
                    && other.is_certain()
                    && self.precedes(other, call, value)
                    && self.stays(blocker, call)
            }
            CollectionOp::Remove => false,
        };
        let blocker = self.case.core.iter().filter(blocked).max_by_key(|other| other.end())?;
        let CollectionOp::Insert(element) = blocker.op else { return None };
        let insert = self.inserts(value).next()?;
        let (shown, other) = (self.case.show(value), self.case.show(element));
        let (came, asked, went_in) = (self.removed(call, value), D::FUNCTIONS[0], past(D::FUNCTIONS[0]));
        let (who, at, left) = (self.case.who(blocker), self.case.at(blocker), self.left_later(element, call));
        let reason = if first_leaves_first::<D>() {
            format!(
                "{other} was ahead of it: {who} had {went_in} {other}, acknowledged{at}, before {} invoked the {asked} of \
                 {shown} at {}",
                self.case.who_else(insert, blocker),
                insert.start
            )
        } else {
            format!("{other} was on top of it: {who} had {went_in} {other} after {shown}, acknowledged{at}")
        };
        Some(format!("{came}, but {reason}, and {left}"))
    }

    /// Whether the order of the insertions makes `blocker` leave first, if it is there when `call` removes `value`.
    fn precedes(&self, blocker: &CollectionCall, call: &CollectionCall, value: ValueId) -> bool {
        let first =
            first_leaves_first::<D>() && self.inserts(value).all(|insert| blocker.ended_before(insert.start));
        let is_below = |insert: &CollectionCall| insert.ended_before(blocker.start);
        first
            || last_leaves_first::<D>()
                && blocker.ended_before(call.start)
                && self.inserts(value).all(is_below)
    }

    /// It had gone in before, and cannot have come out.
    fn not_empty(&self, call: &CollectionCall) -> Option<String> {
        let is_there = |other: &&CollectionCall| match other.op {
            CollectionOp::Insert(value) => self.stays(value, call),
            CollectionOp::Remove => false,
        };
        let insert = self.case.earlier(call).filter(is_there).max_by_key(|other| other.end())?;
        let CollectionOp::Insert(value) = insert.op else { return None };
        let (who, at, shown) = (self.case.who(insert), self.case.at(insert), self.case.show(value));
        let found = format!("{} found the {} empty{}", self.case.who(call), D::OBJECT, self.case.at(call));
        let [went_in, came_out] = D::FUNCTIONS.map(past);
        if self.is_lost(value) {
            let insert = D::FUNCTIONS[0];
            let lost = format!("the {insert} of {shown} by {who}, acknowledged{at}, is lost");
            return Some(format!("{lost}: {found}, and nobody ever {came_out} {shown}"));
        }
        let who = self.case.who_else(insert, call);
        let left = self.left_later(value, call);
        Some(format!("{found}, but {who} had {went_in} {shown}, acknowledged{at}, and {left}"))
    }

    /// Something was in it all the time, though not the same element.
    fn never_empty(&self) -> Option<String> {
        let culprit = self.case.culprit;
        (culprit.ret == Some(CollectionRet::Empty)).then(|| {
            format!(
                "{} found the {} empty{}, but by the other results something was in it all the time since that {} was \
                 invoked at {}",
                self.case.who(culprit),
                D::OBJECT,
                self.case.at(culprit),
                D::FUNCTIONS[1],
                culprit.start
            )
        })
    }

    /// Whether nobody can have removed a value by the end of an operation.
    fn stays(&self, value: ValueId, call: &CollectionCall) -> bool {
        let (operations, end) = (self.case.operations, call.end_or_never());
        let may_take = |at: usize| operations.outcome(at) != Outcome::Ok || operations.output(at) == value;
        !self.case.recorded(D::FUNCTIONS[1]).any(|at| operations.call(at) <= end && may_take(at))
    }

    /// Nobody ever removed it, and everybody who tried to remove something knows what it was.
    fn is_lost(&self, value: ValueId) -> bool {
        let operations = self.case.operations;
        let may_take = |at: usize| operations.outcome(at) != Outcome::Ok || operations.output(at) == value;
        !self.case.recorded(D::FUNCTIONS[1]).any(may_take)
    }

    /// What became of a value that nobody had removed by the end of an operation.
    fn left_later(&self, value: ValueId, call: &CollectionCall) -> String {
        let (operations, remove) = (self.case.operations, D::FUNCTIONS[1]);
        let shown = self.case.show(value);
        let takes = |at: &usize| operations.output(*at) == value;
        match self.case.completed(remove).filter(takes).min_by_key(|at| operations.call(*at)) {
            Some(first) if operations.call(first) > call.end_or_never() => {
                let who = crate::narration::who(&operations.get(first));
                format!(
                    "the {remove} of {shown} by {who} was invoked only later, at {}",
                    operations.call(first)
                )
            }
            _ => format!("nobody had {} {shown} by then", past(remove)),
        }
    }

    fn inserts(&self, value: ValueId) -> impl Iterator<Item = &CollectionCall> {
        self.case.core.iter().filter(move |call| call.op == CollectionOp::Insert(value))
    }

    fn removed(&self, call: &CollectionCall, value: ValueId) -> String {
        let (who, at) = (self.case.who(call), self.case.at(call));
        format!("{who} {} {}{at}", past(D::FUNCTIONS[1]), self.case.show(value))
    }
}
