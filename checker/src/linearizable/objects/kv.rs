//! One key of a key-value store as a recorded object: `get`, `put`, `append`, `cas` and `delete`.
//!
//! The search does not carry strings around. What a string is matters only as far as somebody observed it: two strings that
//! are no beginning of anything that was ever observed behave alike for ever, because appending never makes them one. So a
//! state is a place in the sorted list of all observed strings (the first one that begins with it, and a length), or *dead*.
//! This is exact; strings are compared, never hashed. The plain model is [`crate::model::Kv`].

use history::{NameId, Operations, ValueId, Values};
use rustc_hash::FxHashMap;

use super::super::calls::Call;
use super::super::object::{
    CallOf, Case, InTime, Object, Removal, ShortcutOf, Step, malformed_input, malformed_output,
    unknown_function,
};
use super::register::{self, RegisterCall};
use super::{function, is_ok};
use crate::CheckError;
use crate::model::{Effect, Register, RegisterOp, RegisterRet};
use crate::narration::show_value;

mod cases;
#[cfg(test)]
mod tests;

/// What a key holds, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Text {
    /// Nothing.
    Absent,
    /// The first `len` bytes of an observed string.
    Beginning { of: u32, len: u32 },
    /// Something that nobody observed and that no append makes observable.
    Dead,
}

/// What a client asks. Strings are named by number, and by what they are as a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Get,
    Put(ValueId, Text),
    Append(ValueId),
    Cas { expected: (ValueId, Text), new: (ValueId, Text) },
    Delete,
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Got(ValueId, Text),
    Done,
    Swapped(bool),
}

/// A call on a key.
type KvCall = Call<Ask, Told>;

/// A string per key.
#[derive(Debug)]
pub(crate) struct KvObject<'a> {
    values: &'a Values,
    /// Every string that somebody observed or expected, sorted.
    observed: Vec<&'a str>,
    texts: FxHashMap<ValueId, Text>,
}

impl<'a> KvObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        let values = operations.values();
        let cas = operations.names().find("cas").unwrap_or(NameId::NONE);
        let mut observed = Vec::new();
        let mut written = Vec::new();
        for at in 0..operations.len() {
            observed.push(operations.output(at));
            match values.list(operations.input(at)) {
                Some(&[expected, new]) if operations.function(at) == cas => {
                    observed.push(expected);
                    written.push(new);
                }
                _ => written.push(operations.input(at)),
            }
        }
        let mut strings: Vec<&str> = distinct(&mut observed).filter_map(|id| values.str(id)).collect();
        strings.sort_unstable();
        strings.dedup();
        let mut object = Self { values, observed: strings, texts: FxHashMap::default() };
        observed.extend(written);
        let texts = distinct(&mut observed).filter_map(|id| Some((id, object.text(values.str(id)?))));
        object.texts = texts.collect();
        object
    }

    /// The state of a key that holds a string.
    fn text(&self, string: &str) -> Text {
        let of = self.observed.partition_point(|observed| *observed < string);
        match self.observed.get(of) {
            Some(observed) if observed.starts_with(string) => {
                Text::Beginning { of: of as u32, len: string.len() as u32 }
            }
            _ => Text::Dead,
        }
    }

    fn text_of(&self, id: ValueId) -> Text {
        if id.is_absent() { Text::Absent } else { self.texts.get(&id).copied().unwrap_or(Text::Dead) }
    }

    fn append(&self, state: Text, suffix: ValueId) -> Text {
        let suffix = self.values.str(suffix).unwrap_or_default();
        match state {
            Text::Dead => Text::Dead,
            Text::Absent => self.text(suffix),
            Text::Beginning { of, len } => self.longer(of as usize, len as usize, suffix),
        }
    }

    /// The first observed string that begins with the first `len` bytes of observed string `of` and then `suffix`.
    fn longer(&self, of: usize, len: usize, suffix: &str) -> Text {
        let prefix = &self.observed[of].as_bytes()[..len];
        let rest = |observed: &str| observed.as_bytes().strip_prefix(prefix).map(<[u8]>::to_vec);
        let from = &self.observed[of..];
        let is_before = |observed: &&str| match observed.as_bytes().strip_prefix(prefix) {
            Some(rest) => rest < suffix.as_bytes(),
            None => false,
        };
        let at = of + from.partition_point(is_before);
        let fits = |observed: &&&str| rest(observed).is_some_and(|rest| rest.starts_with(suffix.as_bytes()));
        match self.observed.get(at).filter(fits) {
            Some(_) => Text::Beginning { of: at as u32, len: (len + suffix.len()) as u32 },
            None => Text::Dead,
        }
    }

    fn suffix(&self, call: &KvCall) -> Option<&str> {
        match call.op {
            Ask::Append(id) => self.values.str(id),
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
fn observes(call: &KvCall) -> Option<(ValueId, Text)> {
    match (call.op, call.ret) {
        (_, Some(Told::Got(id, text))) => Some((id, text)),
        (Ask::Cas { expected, .. }, _) => Some(expected),
        _ => None,
    }
}

fn distinct(ids: &mut Vec<ValueId>) -> impl Iterator<Item = ValueId> + '_ {
    ids.sort_unstable();
    ids.dedup();
    ids.iter().copied()
}

impl Object for KvObject<'_> {
    type State = Text;
    type Op = Ask;
    type Ret = Told;

    fn initial(&self) -> Text {
        Text::Absent
    }

    fn step(&self, state: &Text, op: &Ask, ret: Option<&Told>) -> Option<Text> {
        match (*op, ret) {
            (Ask::Get, Some(Told::Got(_, text))) => (state == text).then_some(*state),
            (Ask::Get, _) => Some(*state),
            (Ask::Put(_, text), _) => Some(text),
            (Ask::Append(suffix), _) => Some(self.append(*state, suffix)),
            (Ask::Delete, _) => Some(Text::Absent),
            (Ask::Cas { expected: (_, expected), new: (_, new) }, ret) => {
                let matched = *state == expected;
                let fits = match ret {
                    Some(Told::Swapped(told)) => *told == matched,
                    _ => true,
                };
                fits.then_some(if matched { new } else { *state })
            }
        }
    }

    fn effect(&self, op: &Ask, ret: Option<&Told>) -> Effect {
        match (op, ret) {
            (Ask::Get, _) | (Ask::Cas { .. }, Some(Told::Swapped(false))) => Effect::Pure,
            (Ask::Put(..) | Ask::Delete, _) => Effect::Overwrite,
            _ => Effect::General,
        }
    }

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let (values, input, output) = (operations.values(), operations.input(at), operations.output(at));
        let is_text = |id: ValueId| values.str(id).is_some();
        let pair = |id| (id, self.text_of(id));
        let op = match function(operations, at) {
            "get" => Ask::Get,
            "delete" => Ask::Delete,
            "put" if is_text(input) => Ask::Put(input, self.text_of(input)),
            "append" if is_text(input) => Ask::Append(input),
            "put" | "append" => return Err(malformed_input(operations, at, "a string")),
            "cas" => match values.list(input) {
                Some(&[expected, new]) if is_text(new) && (expected.is_absent() || is_text(expected)) => {
                    Ask::Cas { expected: pair(expected), new: pair(new) }
                }
                _ => {
                    let expected = "a pair [expected, new] of strings; null expects nothing";
                    return Err(malformed_input(operations, at, expected));
                }
            },
            _ => {
                let known = "`get`, `put`, `append`, `cas` and `delete`";
                return Err(unknown_function(operations, at, "key", known));
            }
        };
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            Ask::Get if output.is_absent() || is_text(output) => {
                Some(Told::Got(output, self.text_of(output)))
            }
            Ask::Get => return Err(malformed_output(operations, at, "a string or null")),
            Ask::Cas { .. } => {
                let matched = values.bool(output);
                Some(Told::Swapped(
                    matched.ok_or_else(|| malformed_output(operations, at, "true (it matched) or false"))?,
                ))
            }
            Ask::Put(..) | Ask::Append(_) | Ask::Delete => Some(Told::Done),
        };
        Ok(Step { op, ret })
    }

    /// A read or a mismatch changes nothing. A string that nobody observes can go as it can from a register, unless an
    /// append may make it observable, or a mismatch needs the absence of another.
    fn removable(&self, calls: &[KvCall]) -> Vec<Removal> {
        let is_plain =
            |call: &KvCall| !matches!(call.op, Ask::Append(_)) && call.ret != Some(Told::Swapped(false));
        let all_plain = calls.iter().all(is_plain);
        let seen: rustc_hash::FxHashSet<ValueId> =
            calls.iter().filter_map(observes).map(|(id, _)| id).collect();
        let left = |call: &KvCall| match call.op {
            Ask::Put(id, _) | Ask::Cas { new: (id, _), .. } => Some(id),
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
        let suffixes: Vec<&str> = calls.iter().filter_map(|call| self.suffix(call)).collect();
        let mut starts: Vec<Text> = calls.iter().filter_map(observes).map(|(_, text)| text).collect();
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
                let text = &self.observed[of as usize][..len as usize];
                let shorter = suffixes.iter().filter_map(|suffix| text.strip_suffix(suffix));
                starts
                    .extend(shorter.filter(|shorter| shorter.len() < text.len()).map(|text| self.text(text)));
            }
            at += 1;
        }
        starts
    }

    fn simplify(&self, calls: &mut Vec<KvCall>, _start: &Text) {
        let mut removable = self.removable(calls).into_iter();
        calls.retain(|call| removable.next() != Some(Removal::Alone) || call.is_certain());
    }

    /// Gets and puts alone are a register.
    fn shortcut(&self, calls: &[KvCall], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        let as_register = |call: &KvCall| {
            let (op, ret) = match (call.op, call.ret) {
                (Ask::Put(id, _), ret) => (RegisterOp::Write(id), ret.map(|_| RegisterRet::Written)),
                (Ask::Get, Some(Told::Got(id, _))) => (RegisterOp::Read, Some(RegisterRet::Read(id))),
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
                let string = self.observed[*of as usize].as_bytes();
                format!("{:?}", String::from_utf8_lossy(&string[..*len as usize]))
            }
            Text::Dead => "a string that nobody read".to_owned(),
        };
        format!("the key holds {}", states.iter().map(show).collect::<Vec<_>>().join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        let asked = match call.op {
            Ask::Get => "get".to_owned(),
            Ask::Put(id, _) => format!("put {}", self.show(id)),
            Ask::Append(id) => format!("append {}", self.show(id)),
            Ask::Cas { expected, new } => format!("cas {} to {}", self.show(expected.0), self.show(new.0)),
            Ask::Delete => "delete".to_owned(),
        };
        match call.ret {
            Some(Told::Got(id, _)) => format!("{asked} {}", self.show(id)),
            Some(Told::Swapped(true)) => format!("{asked}, matched"),
            Some(Told::Swapped(false)) => format!("{asked}, not matched"),
            Some(Told::Done) | None => asked,
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}
