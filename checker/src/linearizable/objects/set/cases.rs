//! The violations of sets that have a name: an element that is missing, came back, came from nowhere or stands there twice,
//! and reads that disagree.

use history::ValueId;
use rustc_hash::FxHashSet;

use super::super::telling::{Verb, all_over};
use super::{Case, SetCall, SetObject, SetOp, SetRet};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, SetObject<'_>>) -> Option<String> {
    let teller = Teller { case };
    let elements = teller.elements();
    case.accused().find_map(|call| teller.accuse(call, &elements)).or_else(|| teller.disagreement())
}

/// Whether an element is there, as far as the operation says.
fn shows(call: &SetCall, element: ValueId) -> Option<bool> {
    match (&call.op, &call.ret) {
        (SetOp::Contains(asked), Some(SetRet::Contained(there))) => (*asked == element).then_some(*there),
        (SetOp::Read, Some(SetRet::Read(list))) => Some(list.binary_search(&element).is_ok()),
        _ => None,
    }
}

fn list(call: &SetCall) -> &[ValueId] {
    match &call.ret {
        Some(SetRet::Read(list)) => list,
        _ => &[],
    }
}

struct Teller<'c, 'a> {
    case: &'c Case<'c, SetObject<'a>>,
}

impl Teller<'_, '_> {
    /// The elements that somebody added, removed or asked for.
    fn elements(&self) -> Vec<ValueId> {
        let named = self.case.accused().filter_map(|call| match call.op {
            SetOp::Add(element) | SetOp::Remove(element) | SetOp::Contains(element) => Some(element),
            SetOp::Read => None,
        });
        let mut elements: Vec<ValueId> = named.collect();
        elements.sort_unstable();
        elements.dedup();
        elements
    }

    fn accuse(&self, call: &SetCall, elements: &[ValueId]) -> Option<String> {
        let about = |element: &ValueId| match shows(call, *element)? {
            true => self.back(call, *element),
            false => self.missing(call, *element),
        };
        self.twice(call)
            .or_else(|| self.never_added(call))
            .or_else(|| elements.iter().find_map(about))
            .or_else(|| self.shrunk(call))
            .or_else(|| elements.iter().find_map(|element| self.overtaken(call, *element, elements)))
    }

    /// A set has every element once.
    fn twice(&self, call: &SetCall) -> Option<String> {
        let both = list(call).windows(2).find(|pair| pair[0] == pair[1])?;
        let (who, at) = (self.case.who(call), self.case.at(call));
        Some(format!("{who} read a set with {} in it twice{at}", self.case.show(both[0])))
    }

    fn never_added(&self, call: &SetCall) -> Option<String> {
        let (operations, end) = (self.case.operations, call.end()?);
        let started = self.case.recorded("add").filter(|at| operations.call(*at) <= end);
        let added: FxHashSet<ValueId> = started.map(|at| operations.input(at)).collect();
        let seen = match (&call.op, &call.ret) {
            (SetOp::Contains(element), Some(SetRet::Contained(true))) => std::slice::from_ref(element),
            _ => list(call),
        };
        let element = *seen.iter().find(|element| !added.contains(element))?;
        let add = operations.names().find("add");
        let makes = |at: usize| Some(operations.function(at)) == add && operations.input(at) == element;
        let reason = self.case.never(end, &self.case.show(element), Verb::regular("added"), makes)?;
        Some(format!("{}, {reason}", self.saw(call, element)))
    }

    /// It was there before, and nobody can have removed it since.
    fn missing(&self, call: &SetCall, element: ValueId) -> Option<String> {
        let witness = self.present(element, |witness| witness.ended_before(call.start))?;
        let (saw, at) = (self.saw(call, element), self.case.at(witness));
        if witness.op == SetOp::Add(element) && !self.is_ever_seen(element) {
            let (shown, who) = (self.case.show(element), self.case.who(witness));
            return Some(format!(
                "the add of {shown} by {who}, acknowledged{at}, is lost: {saw}, and nobody ever saw it"
            ));
        }
        let removed = if self.case.recorded("remove").any(|at| self.case.operations.input(at) == element) {
            "nobody had removed it since"
        } else {
            "nobody ever removed it"
        };
        Some(format!("{saw}, but {}, and {removed}", self.did(witness, call)))
    }

    /// It was not there before, and nobody can have added it since.
    fn back(&self, call: &SetCall, element: ValueId) -> Option<String> {
        let adds = || self.case.others(call).filter(|other| other.op == SetOp::Add(element));
        let denies =
            |other: &&SetCall| other.op == SetOp::Remove(element) || shows(other, element) == Some(false);
        let witness = self
            .case
            .earlier(call)
            .filter(|witness| denies(witness) && all_over(adds(), witness.start))
            .max_by_key(|witness| witness.end())?;
        let did = match witness.op {
            SetOp::Remove(_) => self.did(witness, call),
            _ => format!(
                "{} had already found it missing{}",
                self.case.who_else(witness, call),
                self.case.at(witness)
            ),
        };
        Some(format!("{}, but {did}, and nobody had added it again", self.saw(call, element)))
    }

    /// A read lacks what another, earlier one has.
    fn shrunk(&self, call: &SetCall) -> Option<String> {
        if call.op != SetOp::Read {
            return None;
        }
        let lacking = |other: &SetCall| {
            list(other).iter().copied().find(|element| shows(call, *element) == Some(false))
        };
        self.case.earlier(call).filter_map(lacking).find_map(|element| self.missing(call, element))
    }

    /// A read has an element but not one that was there before the other was added.
    fn overtaken(&self, call: &SetCall, element: ValueId, elements: &[ValueId]) -> Option<String> {
        if shows(call, element) != Some(false) || call.op != SetOp::Read {
            return None;
        }
        let newer = elements.iter().copied().filter(|newer| shows(call, *newer) == Some(true));
        newer.into_iter().find_map(|newer| {
            let add = self.only_add(newer)?;
            let witness = self.present(element, |witness| witness.ended_before(add.start))?;
            Some(format!(
                "{} read the set with {} but without {}{}, although {}, before {} invoked the add of {} at {}",
                self.case.who(call),
                self.case.show(newer),
                self.case.show(element),
                self.case.at(call),
                self.did(witness, call),
                self.case.who_else(add, witness),
                self.case.show(newer),
                add.start
            ))
        })
    }

    /// Of a set that only grows, one of two reads contains the other.
    fn disagreement(&self) -> Option<String> {
        let reads: Vec<&SetCall> = self.case.accused().filter(|call| call.op == SetOp::Read).collect();
        let is_kept = |element: ValueId| self.case.core.iter().all(|call| call.op != SetOp::Remove(element));
        let alone = |one: &SetCall, other: &SetCall| {
            let lacks = |element: &ValueId| shows(other, *element) == Some(false) && is_kept(*element);
            list(one).iter().copied().find(lacks)
        };
        let pairs = reads
            .iter()
            .enumerate()
            .flat_map(|(at, one)| reads[..at].iter().map(move |other| (*one, *other)));
        pairs.into_iter().find_map(|(one, other)| {
            let (mine, yours) = (self.case.show(alone(one, other)?), self.case.show(alone(other, one)?));
            Some(format!(
                "{} read the set with {mine} but without {yours}{}, and {} read it with {yours} but without {mine}{}, so \
                 each of the two would have been added before the other",
                self.case.who(one),
                self.case.at(one),
                self.case.who(other),
                self.case.at(other)
            ))
        })
    }

    /// The latest operation that proves that an element was there, and that nobody can have removed it since.
    fn present(&self, element: ValueId, is_meant: impl Fn(&SetCall) -> bool) -> Option<&SetCall> {
        let removes = || self.case.core.iter().filter(|other| other.op == SetOp::Remove(element));
        let proves = |call: &&SetCall| call.op == SetOp::Add(element) || shows(call, element) == Some(true);
        let witnesses = self.case.core.iter().filter(|call| is_meant(call) && proves(call));
        witnesses
            .filter(|witness| all_over(removes(), witness.start))
            .max_by_key(|witness| (witness.op != SetOp::Add(element), witness.end()))
    }

    /// The operation that added an element, when there is only one.
    fn only_add(&self, element: ValueId) -> Option<&SetCall> {
        let mut adds = self.case.core.iter().filter(|call| call.op == SetOp::Add(element));
        adds.next().filter(|_| adds.next().is_none() && !self.case.from_any_state)
    }

    fn is_ever_seen(&self, element: ValueId) -> bool {
        let operations = self.case.operations;
        let in_list = |at: usize| {
            operations.values().list(operations.output(at)).is_some_and(|list| list.contains(&element))
        };
        let found = |at: usize| operations.input(at) == element && operations.output(at) == ValueId::TRUE;
        self.case.completed("read").any(in_list) || self.case.completed("contains").any(found)
    }

    /// What an earlier operation did to an element.
    fn did(&self, call: &SetCall, speaker: &SetCall) -> String {
        let (who, at) = (self.case.who_else(call, speaker), self.case.at(call));
        match call.op {
            SetOp::Add(element) => format!("{who} had added {}, acknowledged{at}", self.case.show(element)),
            SetOp::Remove(element) => {
                format!("{who} had removed {}, acknowledged{at}", self.case.show(element))
            }
            SetOp::Contains(_) => format!("{who} had already found it there{at}"),
            SetOp::Read => format!("{who} had already read it{at}"),
        }
    }

    /// What the accused operation observed of an element.
    fn saw(&self, call: &SetCall, element: ValueId) -> String {
        let (who, at, shown) = (self.case.who(call), self.case.at(call), self.case.show(element));
        match (&call.op, shows(call, element)) {
            (SetOp::Read, Some(true)) => format!("{who} read the set with {shown} in it{at}"),
            (SetOp::Read, _) => format!("{who} read the set without {shown}{at}"),
            (_, Some(true)) => format!("{who} found {shown} in the set{at}"),
            _ => format!("{who} did not find {shown} in the set{at}"),
        }
    }
}
