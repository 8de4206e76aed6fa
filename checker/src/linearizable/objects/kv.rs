//! One key of a key-value store as a recorded object: `get`, `put`, `append`, `cas` and `delete`.
//!
//! The search does not carry strings around: a state is a place in the sorted list of all observed strings ([`texts`]).
//! The plain model is [`crate::model::Kv`].

use history::{NameId, Names, Operations, ValueId, Values};
use rustc_hash::FxHashSet;

use super::super::calls::Call;
use super::super::object::{
    CallOf, Case, InTime, Object, Removal, ShortcutOf, Step, malformed_input, malformed_output,
    unknown_function,
};
use super::is_ok;
use super::register::{self, RegisterCall};
use crate::CheckError;
use crate::model::{Effect, Register, RegisterOp, RegisterRet};
use crate::narration::show_value;

mod cases;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use texts::Text;
use texts::Texts;

/// What a client asks. Strings are named by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Get,
    Put(ValueId),
    Append(ValueId),
    Cas { expected: ValueId, new: ValueId },
    Delete,
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Got(ValueId),
    Done,
    Swapped(bool),
}

/// A call on a key.
type KvCall = Call<Ask, Told>;

/// A string per key.
#[derive(Debug)]
pub(crate) struct KvObject<'a> {
    values: &'a Values,
    texts: Texts<'a>,
    functions: Functions,
}

/// The numbers of the functions that the history calls.
#[derive(Debug)]
pub(crate) struct Functions {
    get: Option<NameId>,
    put: Option<NameId>,
    append: Option<NameId>,
    cas: Option<NameId>,
    delete: Option<NameId>,
}

impl Functions {
    pub(crate) fn of(names: &Names) -> Self {
        let find = |name| names.find(name);
        Self {
            get: find("get"),
            put: find("put"),
            append: find("append"),
            cas: find("cas"),
            delete: find("delete"),
        }
    }

    /// What an operation asks and, when it is `ok`, what it observed.
    pub(crate) fn translate(
        &self,
        operations: &Operations,
        at: usize,
        is_text: impl Fn(ValueId) -> bool,
    ) -> Result<(Ask, Option<Told>), CheckError> {
        let (values, input, output) = (operations.values(), operations.input(at), operations.output(at));
        let function = Some(operations.function(at));
        let op = if function == self.get {
            Ask::Get
        } else if function == self.delete {
            Ask::Delete
        } else if function == self.put && is_text(input) {
            Ask::Put(input)
        } else if function == self.append && is_text(input) {
            Ask::Append(input)
        } else if function == self.put || function == self.append {
            return Err(malformed_input(operations, at, "a string"));
        } else if function == self.cas {
            match values.list(input) {
                Some(&[expected, new]) if is_text(new) && (expected.is_absent() || is_text(expected)) => {
                    Ask::Cas { expected, new }
                }
                _ => {
                    let expected = "a pair [expected, new] of strings; null expects nothing";
                    return Err(malformed_input(operations, at, expected));
                }
            }
        } else {
            let known = "`get`, `put`, `append`, `cas` and `delete`";
            return Err(unknown_function(operations, at, "key", known));
        };
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            Ask::Get if output.is_absent() || is_text(output) => Some(Told::Got(output)),
            Ask::Get => return Err(malformed_output(operations, at, "a string or null")),
            Ask::Cas { .. } => {
                let matched = values.bool(output);
                Some(Told::Swapped(
                    matched.ok_or_else(|| malformed_output(operations, at, "true (it matched) or false"))?,
                ))
            }
            Ask::Put(_) | Ask::Append(_) | Ask::Delete => Some(Told::Done),
        };
        Ok((op, ret))
    }
}

impl<'a> KvObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        let (values, functions) = (operations.values(), Functions::of(operations.names()));
        let mut is_observed = vec![false; values.len()];
        let mut observe = |id: ValueId| {
            if let Some(is_observed) = is_observed.get_mut(id.0 as usize) {
                *is_observed = true;
            }
        };
        for at in 0..operations.len() {
            observe(operations.output(at));
            if Some(operations.function(at)) == functions.cas
                && let Some([expected, _]) = values.list(operations.input(at))
            {
                observe(*expected);
            }
        }
        Self { values, texts: Texts::new(values, &is_observed), functions }
    }

    fn append(&self, state: Text, suffix: ValueId) -> Text {
        match state {
            Text::Dead => Text::Dead,
            Text::Absent => self.texts.of(suffix),
            Text::Beginning { of, len } => {
                let suffix = self.values.str(suffix).unwrap_or_default();
                self.texts.longer(of, len, suffix.as_bytes())
            }
        }
    }

    fn suffix(&self, call: &KvCall) -> Option<&[u8]> {
        match call.op {
            Ask::Append(id) => self.values.str(id).map(str::as_bytes),
            _ => None,
        }
    }

    fn show(&self, id: ValueId) -> String {
        show_value(self.values, id)
    }
}

/// The most states that are tried where the past is forgotten.
const MAX_STARTS: usize = 64;

/// What a key must hold for the call to have its result, or to do anything; or what it must not hold.
fn observes(call: &KvCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (_, Some(Told::Got(id))) => Some(id),
        (Ask::Cas { expected, .. }, _) => Some(expected),
        _ => None,
    }
}

impl Object for KvObject<'_> {
    type State = Text;
    type Op = Ask;
    type Ret = Told;

    fn bytes(&self) -> u64 {
        self.texts.bytes()
    }

    fn initial(&self) -> Text {
        Text::Absent
    }

    fn step(&self, state: &Text, op: &Ask, ret: Option<&Told>) -> Option<Text> {
        match (*op, ret) {
            (Ask::Get, Some(Told::Got(id))) => (*state == self.texts.of(*id)).then_some(*state),
            (Ask::Get, _) => Some(*state),
            (Ask::Put(id), _) => Some(self.texts.of(id)),
            (Ask::Append(suffix), _) => Some(self.append(*state, suffix)),
            (Ask::Delete, _) => Some(Text::Absent),
            (Ask::Cas { expected, new }, ret) => {
                let matched = *state == self.texts.of(expected);
                let fits = match ret {
                    Some(Told::Swapped(told)) => *told == matched,
                    _ => true,
                };
                fits.then_some(if matched { self.texts.of(new) } else { *state })
            }
        }
    }

    fn effect(&self, op: &Ask, ret: Option<&Told>) -> Effect {
        match (op, ret) {
            (Ask::Get, _) | (Ask::Cas { .. }, Some(Told::Swapped(false))) => Effect::Pure,
            (Ask::Put(_) | Ask::Delete, _) => Effect::Overwrite,
            _ => Effect::General,
        }
    }

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let (op, ret) = self.functions.translate(operations, at, |id| self.texts.is_text(id))?;
        Ok(Step { op, ret })
    }

    /// A read or a mismatch changes nothing. A string that nobody observes can go as it can from a register, unless an
    /// append may make it observable, or a mismatch needs the absence of another.
    fn removable(&self, calls: &[KvCall]) -> Vec<Removal> {
        let is_plain =
            |call: &KvCall| !matches!(call.op, Ask::Append(_)) && call.ret != Some(Told::Swapped(false));
        let all_plain = calls.iter().all(is_plain);
        let observed = || calls.iter().filter_map(observes).collect();
        let seen: FxHashSet<ValueId> = if all_plain { observed() } else { FxHashSet::default() };
        let left = |call: &KvCall| match call.op {
            Ask::Put(id) | Ask::Cas { new: id, .. } => Some(id),
            Ask::Delete => Some(ValueId::ABSENT),
            Ask::Get | Ask::Append(_) => None,
        };
        let is_unseen = |call: &KvCall| all_plain && left(call).is_some_and(|id| !seen.contains(&id));
        let is_pure = |call: &KvCall| self.effect(&call.op, call.ret.as_ref()) == Effect::Pure;
        let removal = |call| if is_pure(call) || is_unseen(call) { Removal::Alone } else { Removal::Kept };
        calls.iter().map(removal).collect()
    }

    /// What was observed, with and without what was appended, and one string that nobody observed.
    fn any_start(&self, calls: &[KvCall]) -> Vec<Text> {
        let suffixes: Vec<&[u8]> = calls.iter().filter_map(|call| self.suffix(call)).collect();
        let mut starts: Vec<Text> = calls.iter().filter_map(observes).map(|id| self.texts.of(id)).collect();
        starts.extend([Text::Absent, Text::Dead]);
        let mut at = 0;
        while at < starts.len() {
            if starts[..at].contains(&starts[at]) {
                starts.swap_remove(at);
                continue;
            }
            if at >= MAX_STARTS {
                return Vec::new();
            }
            if let Text::Beginning { of, len } = starts[at] {
                let text = self.texts.bytes_of(of, len);
                let shorter = suffixes.iter().filter_map(|suffix| text.strip_suffix(*suffix));
                let shorter = shorter.filter(|shorter| shorter.len() < text.len());
                starts.extend(shorter.map(|text| self.texts.text(text)));
            }
            at += 1;
        }
        starts
    }

    fn simplify(&self, calls: &mut Vec<KvCall>, _start: &Text) {
        if calls.iter().all(KvCall::is_certain) {
            return;
        }
        let mut removable = self.removable(calls).into_iter();
        calls.retain(|call| removable.next() != Some(Removal::Alone) || call.is_certain());
    }

    /// Gets and puts alone are a register.
    fn shortcut(&self, calls: &[KvCall], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        let as_register = |call: &KvCall| {
            let (op, ret) = match (call.op, call.ret) {
                (Ask::Put(id), ret) => (RegisterOp::Write(id), ret.map(|_| RegisterRet::Written)),
                (Ask::Get, Some(Told::Got(id))) => (RegisterOp::Read, Some(RegisterRet::Read(id))),
                _ => return None,
            };
            Some(call.with(op, ret))
        };
        let mut calls_of_register = calls.iter().map(as_register).collect::<Option<Vec<RegisterCall>>>()?;
        register::simplify(&mut calls_of_register, &Register::default());
        let found = register::shortcut(&calls_of_register)?;
        Some(found.map(|proof| {
            let positions: Vec<u32> = proof.iter().map(|call| call.position).collect();
            calls.iter().filter(|call| positions.contains(&call.position)).cloned().collect()
        }))
    }

    fn show_states(&self, states: &[Text]) -> String {
        let show = |state: &Text| match state {
            Text::Absent => "nothing".to_owned(),
            Text::Beginning { of, len } => {
                format!("{:?}", String::from_utf8_lossy(self.texts.bytes_of(*of, *len)))
            }
            Text::Dead => "a string that nobody read".to_owned(),
        };
        format!("the key holds {}", states.iter().map(show).collect::<Vec<_>>().join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        let asked = match call.op {
            Ask::Get => "get".to_owned(),
            Ask::Put(id) => format!("put {}", self.show(id)),
            Ask::Append(id) => format!("append {}", self.show(id)),
            Ask::Cas { expected, new } => format!("cas {} to {}", self.show(expected), self.show(new)),
            Ask::Delete => "delete".to_owned(),
        };
        match call.ret {
            Some(Told::Got(id)) => format!("{asked} {}", self.show(id)),
            Some(Told::Swapped(true)) => format!("{asked}, matched"),
            Some(Told::Swapped(false)) => format!("{asked}, not matched"),
            Some(Told::Done) | None => asked,
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}
