//! The set as a recorded object: `add`, `remove`, `contains` and `read`.
//!
//! Operations on different elements do not touch each other, so a key without reads of the whole set falls into one
//! partition per element. A set that only grows and whose reads see all of it is decided as a chain: reads are ordered by what
//! they contain.

use history::{NameId, Operations, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::calls::Call;
use super::super::chain::{self, LAST_GROUP, Link};
use super::super::object::{
    CallOf, Case, Object, Removal, Shortcut, ShortcutOf, Step, malformed_output, unknown_function,
};
use super::append_list::{show_list, show_read};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::{Set, SetOp, SetRet};
use crate::narration::show_value;

mod cases;

/// A call of a set.
type SetCall = Call<SetOp, SetRet>;

/// A set per key.
#[derive(Debug)]
pub(crate) struct SetObject<'a> {
    operations: &'a Operations,
    /// Keys whose set is read as a whole.
    read_whole: FxHashSet<NameId>,
}

impl<'a> SetObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        let read = operations.names().find("read");
        let is_read = |at: &usize| Some(operations.function(*at)) == read && is_ok(operations, *at);
        let read_whole = (0..operations.len()).filter(is_read).map(|at| operations.key(at)).collect();
        Self { operations, read_whole }
    }
}

impl Object for SetObject<'_> {
    specified_by!(Set);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let op = match function(operations, at) {
            "add" => SetOp::Add(operations.input(at)),
            "remove" => SetOp::Remove(operations.input(at)),
            "contains" => SetOp::Contains(operations.input(at)),
            "read" => SetOp::Read,
            _ => {
                let known = "`add`, `remove`, `contains` and `read`";
                return Err(unknown_function(operations, at, "set", known));
            }
        };
        let (values, output) = (operations.values(), operations.output(at));
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            SetOp::Add(_) | SetOp::Remove(_) => Some(SetRet::Done),
            SetOp::Contains(_) => values.bool(output).map(SetRet::Contained),
            SetOp::Read => values.list(output).map(|list| {
                let mut list = list.to_vec();
                list.sort_unstable();
                SetRet::Read(list)
            }),
        };
        if ret.is_none() && is_ok(operations, at) {
            let expected = if op == SetOp::Read { "a list of elements" } else { "true or false" };
            return Err(malformed_output(operations, at, expected));
        }
        Ok(Step { op, ret })
    }

    fn part(&self, operations: &Operations, at: usize) -> ValueId {
        if self.read_whole.contains(&operations.key(at)) || function(operations, at) == "read" {
            ValueId::ABSENT
        } else {
            operations.input(at)
        }
    }

    fn shortcut(&self, calls: &[SetCall]) -> Option<ShortcutOf<Self>> {
        let grows = |call: &SetCall| matches!(call.op, SetOp::Add(_) | SetOp::Read);
        calls.iter().all(grows).then(|| decide_growing(calls))?
    }

    /// What changes an element can go when nobody sees the element.
    fn removable(&self, calls: &[SetCall]) -> Vec<Removal> {
        let mut seen: FxHashSet<ValueId> = FxHashSet::default();
        for call in calls {
            match (&call.op, &call.ret) {
                (SetOp::Contains(element), _) => _ = seen.insert(*element),
                (_, Some(SetRet::Read(list))) => seen.extend(list),
                _ => {}
            }
        }
        let mut numbers: FxHashMap<ValueId, u32> = FxHashMap::default();
        let mut removal = |call: &SetCall| match call.op {
            SetOp::Contains(_) | SetOp::Read => Removal::Alone,
            SetOp::Add(element) | SetOp::Remove(element) if seen.contains(&element) => Removal::Kept,
            SetOp::Add(element) | SetOp::Remove(element) => {
                let next = numbers.len() as u32;
                Removal::Together(*numbers.entry(element).or_insert(next))
            }
        };
        calls.iter().map(&mut removal).collect()
    }

    fn any_start(&self, calls: &[SetCall]) -> Vec<Set> {
        let mut elements = calls.iter().map(|call| match call.op {
            SetOp::Add(element) | SetOp::Remove(element) | SetOp::Contains(element) => Some(element),
            SetOp::Read => None,
        });
        match elements.next().flatten() {
            Some(only) if elements.all(|element| element == Some(only)) => {
                vec![Set::default(), Set(vec![only])]
            }
            _ => Vec::new(),
        }
    }

    fn show_states(&self, states: &[Set]) -> String {
        let sets: Vec<String> =
            states.iter().map(|state| show_list(self.operations.values(), &state.0)).collect();
        format!("the set is {}", sets.join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        let show = |element| show_value(self.operations.values(), element);
        match (&call.op, &call.ret) {
            (SetOp::Add(element), _) => format!("add {}", show(*element)),
            (SetOp::Remove(element), _) => format!("remove {}", show(*element)),
            (SetOp::Contains(element), Some(SetRet::Contained(there))) => {
                format!("contains {} = {there}", show(*element))
            }
            (SetOp::Contains(element), _) => format!("contains {}", show(*element)),
            (SetOp::Read, Some(SetRet::Read(list))) => show_read(self.operations, call.position, list),
            (SetOp::Read, _) => "read".to_owned(),
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}

/// What the order of the reads says.
type Found = Shortcut<SetOp, SetRet>;

/// Decides a set that only grows by the order of its reads; `None` when an element was added more than once.
fn decide_growing(calls: &[SetCall]) -> Option<Found> {
    let mut adds: FxHashMap<ValueId, &SetCall> = FxHashMap::default();
    let mut reads: Vec<(&SetCall, &[ValueId])> = Vec::new();
    for call in calls {
        match (&call.op, &call.ret) {
            (SetOp::Add(element), _) if adds.insert(*element, call).is_some() => return None,
            (SetOp::Read, Some(SetRet::Read(list))) => reads.push((call, list)),
            _ => {}
        }
    }
    reads.sort_by_key(|(call, list)| (list.len(), call.position));
    // For every element the smallest read that has it.
    let mut first_reads: FxHashMap<ValueId, (u64, u32)> = FxHashMap::default();
    let mut links = Vec::with_capacity(calls.len());
    let mut before: &[ValueId] = &[];
    for (call, list) in reads {
        for (at, element) in list.iter().enumerate() {
            if at > 0 && list[at - 1] == *element || !adds.contains_key(element) {
                return Some(about(calls, &[*element], &[call.position]));
            }
            first_reads.entry(*element).or_insert((list.len() as u64, call.position));
        }
        if first_reads.len() != list.len() {
            return Some(missing(calls, before, call, list, &first_reads));
        }
        links.push(Link::of(2 * list.len() as u64, call));
        before = list;
    }
    for (element, call) in &adds {
        match first_reads.get(element) {
            Some((size, _)) => links.push(Link::of(2 * size - 1, call)),
            None if call.is_certain() => links.push(Link::of(LAST_GROUP, call)),
            None => {}
        }
    }
    // Of two adds, the first read of what belongs earlier has it without the other.
    let witness = |add: u32| match calls.iter().find(|call| call.position == add)?.op {
        SetOp::Add(element) => first_reads.get(&element).map(|(_, read)| *read),
        _ => None,
    };
    let proof = |both: [u32; 2]| {
        let reads: Vec<u32> = both.into_iter().chain(witness(both[0])).collect();
        about(calls, &elements_between(calls, both), &reads)
    };
    Some(chain::conflict(links).map_or(Shortcut::Legal, proof))
}

/// A read lacks an element that a smaller read has: both, with one element that each has alone.
fn missing(
    calls: &[SetCall],
    before: &[ValueId],
    read: &SetCall,
    list: &[ValueId],
    first_reads: &FxHashMap<ValueId, (u64, u32)>,
) -> Found {
    let lacks = |list: &[ValueId], element: &ValueId| list.binary_search(element).is_err();
    let lost = before.iter().copied().find(|element| lacks(list, element));
    let other = lost.and_then(|element| Some(first_reads.get(&element)?.1));
    let seen_by = |list: &[ValueId]| match other.and_then(|at| calls.iter().find(|call| call.position == at))
    {
        Some(SetCall { ret: Some(SetRet::Read(smaller)), .. }) => {
            list.iter().copied().find(|element| lacks(smaller, element))
        }
        _ => None,
    };
    let elements: Vec<ValueId> = lost.into_iter().chain(seen_by(list)).collect();
    let reads: Vec<u32> = other.into_iter().chain([read.position]).collect();
    about(calls, &elements, &reads)
}

/// Elements that tell two operations apart: those that they add, and one that only one of two reads has.
fn elements_between(calls: &[SetCall], both: [u32; 2]) -> Vec<ValueId> {
    let meant: Vec<&SetCall> = calls.iter().filter(|call| both.contains(&call.position)).collect();
    let added = meant.iter().filter_map(|call| match call.op {
        SetOp::Add(element) => Some(element),
        _ => None,
    });
    let mut elements: Vec<ValueId> = added.collect();
    if let [SetCall { ret: Some(SetRet::Read(one)), .. }, SetCall { ret: Some(SetRet::Read(other)), .. }] =
        meant[..]
    {
        let (small, large) = if one.len() < other.len() { (one, other) } else { (other, one) };
        elements.extend(large.iter().find(|element| small.binary_search(element).is_err()));
    }
    elements
}

/// The history of some elements: their adds, and some reads without all other elements. Leaving an element out
/// everywhere never makes a history harder to explain.
fn about(calls: &[SetCall], elements: &[ValueId], reads: &[u32]) -> Found {
    let restricted = calls.iter().filter_map(|call| match (&call.op, &call.ret) {
        (SetOp::Add(element), _) => elements.contains(element).then(|| call.clone()),
        (SetOp::Read, Some(SetRet::Read(list))) if reads.contains(&call.position) => {
            let list = list.iter().copied().filter(|element| elements.contains(element)).collect();
            Some(call.with(call.op, Some(SetRet::Read(list))))
        }
        _ => None,
    });
    Shortcut::Illegal(restricted.collect())
}
