//! The growing list as a recorded object: `append` and `read`.
//!
//! Every read shows the order of the elements, so a history of different elements is decided as a chain.

use history::{Operations, ValueId, Values};
use rustc_hash::FxHashMap;

use super::super::calls::Call;
use super::super::chain::{self, LAST_GROUP, Link};
use super::super::object::{
    CallOf, Case, InTime, Object, Shortcut, ShortcutOf, Step, malformed_output, unknown_function,
};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::{AppendList, AppendListOp, AppendListRet};
use crate::narration::{count, show_value};

mod cases;

/// A call of a growing list.
type ListCall = Call<AppendListOp, AppendListRet>;

/// The most elements of a list that are shown.
const SHOWN_ELEMENTS: usize = 12;

/// A growing list per key.
#[derive(Debug)]
pub(crate) struct AppendListObject<'a> {
    operations: &'a Operations,
}

impl<'a> AppendListObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        Self { operations }
    }
}

/// A list in words, the end of it when it is long.
pub(super) fn show_list(values: &Values, list: &[ValueId]) -> String {
    let hidden = list.len().saturating_sub(SHOWN_ELEMENTS);
    let shown: Vec<String> = list[hidden..].iter().map(|element| show_value(values, *element)).collect();
    match hidden {
        0 => format!("[{}]", shown.join(", ")),
        _ => format!("[{hidden} more, {}]", shown.join(", ")),
    }
}

/// A read in words. An explanation may be about some of the elements that were read; then the others are counted.
pub(super) fn show_read(operations: &Operations, position: u32, list: &[ValueId]) -> String {
    let values = operations.values();
    let read = values.list(operations.output(position as usize)).map_or(0, <[ValueId]>::len);
    let others = match read.saturating_sub(list.len()) {
        0 => return format!("read {}", show_list(values, list)),
        1 => "another element".to_owned(),
        others => count(others, "other element"),
    };
    if list.is_empty() {
        format!("read {others}")
    } else {
        format!("read {} and {others}", show_list(values, list))
    }
}

impl Object for AppendListObject<'_> {
    specified_by!(AppendList);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let op = match function(operations, at) {
            "append" => AppendListOp::Append(operations.input(at)),
            "read" => AppendListOp::Read,
            _ => return Err(unknown_function(operations, at, "growing list", "`append` and `read`")),
        };
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            AppendListOp::Append(_) => Some(AppendListRet::Appended),
            AppendListOp::Read if operations.output(at).is_absent() => Some(AppendListRet::Read(Vec::new())),
            AppendListOp::Read => match operations.values().list(operations.output(at)) {
                Some(list) => Some(AppendListRet::Read(list.to_vec())),
                None => return Err(malformed_output(operations, at, "a list of elements")),
            },
        };
        Ok(Step { op, ret })
    }

    /// An append of unknown outcome that nobody saw may never have happened, if anything was read at all after it; one
    /// that was seen stays.
    fn simplify(&self, calls: &mut Vec<ListCall>, _start: &AppendList) {
        let longest = longest_read(calls).map(|(_, list)| list.to_vec()).unwrap_or_default();
        let seen: FxHashMap<ValueId, ()> = longest.into_iter().map(|element| (element, ())).collect();
        calls.retain(|call| match call.op {
            AppendListOp::Append(element) => call.is_certain() || seen.contains_key(&element),
            AppendListOp::Read => true,
        });
    }

    fn shortcut(&self, calls: &[ListCall], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        decide(calls)
    }

    fn show_states(&self, states: &[AppendList]) -> String {
        let lists: Vec<String> =
            states.iter().map(|state| show_list(self.operations.values(), &state.0)).collect();
        format!("the list is {}", lists.join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        match (&call.op, &call.ret) {
            (AppendListOp::Append(element), _) => {
                format!("append {}", show_value(self.operations.values(), *element))
            }
            (AppendListOp::Read, Some(AppendListRet::Read(list))) => {
                show_read(self.operations, call.position, list)
            }
            (AppendListOp::Read, _) => "read".to_owned(),
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}

fn longest_read(calls: &[ListCall]) -> Option<(u32, &[ValueId])> {
    let read = |call: &'_ ListCall| match &call.ret {
        Some(AppendListRet::Read(list)) => Some((call.position, list.len())),
        _ => None,
    };
    let (position, _) = calls.iter().filter_map(read).max_by_key(|(_, len)| *len)?;
    calls.iter().find(|call| call.position == position).and_then(|call| match &call.ret {
        Some(AppendListRet::Read(list)) => Some((position, list.as_slice())),
        _ => None,
    })
}

/// What the order of the elements says.
type Found = Shortcut<AppendListOp, AppendListRet>;

/// Decides by the order that the longest read shows; `None` when an element was appended more than once.
fn decide(calls: &[ListCall]) -> Option<Found> {
    let mut appends: FxHashMap<ValueId, u32> = FxHashMap::default();
    for call in calls {
        if let AppendListOp::Append(element) = call.op
            && appends.insert(element, call.position).is_some()
        {
            return None;
        }
    }
    let (longest_at, longest) = longest_read(calls).unwrap_or_default();
    let mut places: FxHashMap<ValueId, u64> = FxHashMap::default();
    for (place, element) in longest.iter().enumerate() {
        if !appends.contains_key(element) || places.insert(*element, place as u64).is_some() {
            return Some(about(calls, &[*element], &[longest_at]));
        }
    }
    let mut links = Vec::with_capacity(calls.len());
    for call in calls {
        match (&call.op, &call.ret) {
            (AppendListOp::Append(element), _) => {
                let group = places.get(element).map_or(LAST_GROUP, |place| 2 * place + 1);
                links.push(Link::of(group, call));
            }
            (_, Some(AppendListRet::Read(list))) => {
                if let Some(elements) = disagreement(list, longest) {
                    return Some(about(calls, &elements, &[call.position, longest_at]));
                }
                links.push(Link::of(2 * list.len() as u64, call));
            }
            _ => {}
        }
    }
    let proof = |both| about(calls, &elements_between(calls, longest, both), &[both[0], both[1], longest_at]);
    Some(chain::conflict(links).map_or(Shortcut::Legal, proof))
}

/// The first elements in which a list is not the beginning of another.
fn disagreement(list: &[ValueId], longest: &[ValueId]) -> Option<Vec<ValueId>> {
    let place = list.iter().zip(longest).position(|(one, other)| one != other)?;
    Some(vec![list[place], longest[place]])
}

/// Elements that tell two operations apart: those that they append, and of a read the last that it saw and the first that
/// it did not see.
fn elements_between(calls: &[ListCall], longest: &[ValueId], both: [u32; 2]) -> Vec<ValueId> {
    let meant = calls.iter().filter(|call| both.contains(&call.position));
    let elements = meant.flat_map(|call| match (&call.op, &call.ret) {
        (AppendListOp::Append(element), _) => vec![*element],
        (_, Some(AppendListRet::Read(list))) => {
            list.last().copied().into_iter().chain(longest.get(list.len()).copied()).collect()
        }
        _ => Vec::new(),
    });
    elements.collect()
}

/// The history of some elements: their appends, and some reads without all other elements. Leaving an element out
/// everywhere never makes a history harder to explain.
fn about(calls: &[ListCall], elements: &[ValueId], reads: &[u32]) -> Found {
    let restricted = calls.iter().filter_map(|call| match (&call.op, &call.ret) {
        (AppendListOp::Append(element), _) => elements.contains(element).then(|| call.clone()),
        (AppendListOp::Read, Some(AppendListRet::Read(list))) if reads.contains(&call.position) => {
            let list = list.iter().copied().filter(|element| elements.contains(element)).collect();
            Some(call.with(call.op, Some(AppendListRet::Read(list))))
        }
        _ => None,
    });
    Shortcut::Illegal(restricted.collect())
}
