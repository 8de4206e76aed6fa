//! The versioned register as a recorded object: `read`, `write` and `cas`.
//!
//! Versions say in which order the effects happened, so nearly every history is decided as a chain.

use std::collections::BTreeSet;

use history::{Operations, ValueId, Values};
use rustc_hash::FxHashMap;

mod mismatches;

use super::super::calls::Call;
use super::super::chain::{self, Link};
use super::super::object::{
    CallOf, Case, InTime, Object, Removal, Shortcut, ShortcutOf, Step, malformed_input, malformed_output,
    unknown_function,
};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::versioned::Version;
use crate::model::{VersionedOp, VersionedRegister, VersionedRet};
use crate::narration::show_value;

mod cases;

/// A call of a versioned register.
type VersionedCall = Call<VersionedOp, VersionedRet>;

/// What the order of the versions says.
type Found = Shortcut<VersionedOp, VersionedRet>;

/// A versioned register per key.
#[derive(Debug)]
pub(crate) struct VersionedObject<'a> {
    operations: &'a Operations,
}

impl<'a> VersionedObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        Self { operations }
    }

    fn show(&self, value: ValueId) -> String {
        show_value(self.operations.values(), value)
    }
}

impl Object for VersionedObject<'_> {
    specified_by!(VersionedRegister);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let op = op(operations, at)?;
        let ret = is_ok(operations, at).then(|| ret(op, operations, at)).transpose()?;
        Ok(Step { op, ret })
    }

    /// A write of unknown outcome is the one that was read, when nobody else can have written the value.
    fn simplify(&self, calls: &mut Vec<VersionedCall>, start: &VersionedRegister) {
        let mut writers: FxHashMap<ValueId, u32> = FxHashMap::default();
        let mut read: FxHashMap<ValueId, u64> = FxHashMap::default();
        writers.insert(start.value, 1);
        for call in calls.iter() {
            if let Some(value) = written(call) {
                *writers.entry(value).or_insert(0) += 1;
            }
            if let Some(VersionedRet::Read(value, version)) = call.ret {
                read.entry(value).or_insert(version);
            }
        }
        for call in calls.iter_mut().filter(|call| !call.is_certain()) {
            let value = written(call).filter(|value| writers.get(value) == Some(&1));
            if let Some(version) = value.and_then(|value| read.get(&value)) {
                call.ret = Some(VersionedRet::Written(*version));
            }
        }
    }

    /// Without a mismatch less is known of the versions, and without a read that nobody needs.
    fn removable(&self, calls: &[VersionedCall]) -> Vec<Removal> {
        let only_restricts = |call: &VersionedCall| written(call).is_none();
        calls.iter().map(|call| if only_restricts(call) { Removal::Alone } else { Removal::Kept }).collect()
    }

    fn shortcut(&self, calls: &[VersionedCall], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        decide(calls).or_else(|| {
            let guessed = decide(&with_guesses(calls)?)?;
            (guessed == Shortcut::Legal).then_some(guessed)
        })
    }

    fn show_states(&self, states: &[VersionedRegister]) -> String {
        let show = |state: &VersionedRegister| match &state.version {
            Version::Is(version) => format!("{} (version {version})", self.show(state.value)),
            Version::Above { bound, except } => {
                let except: Vec<String> = except.iter().map(|version| format!(", not {version}")).collect();
                format!("{} (a version above {bound}{})", self.show(state.value), except.concat())
            }
        };
        format!("the register holds {}", states.iter().map(show).collect::<Vec<_>>().join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        let asked = match call.op {
            VersionedOp::Read => "read".to_owned(),
            VersionedOp::Write(value) => match op(self.operations, call.position as usize) {
                Ok(VersionedOp::Cas { expected, .. }) => {
                    format!("cas version {expected} to {}", self.show(value))
                }
                _ => format!("write {}", self.show(value)),
            },
            VersionedOp::Cas { expected, new } => format!("cas version {expected} to {}", self.show(new)),
        };
        match call.ret {
            Some(VersionedRet::Read(value, version)) => {
                format!("{asked} {} (version {version})", self.show(value))
            }
            Some(VersionedRet::Written(version)) => format!("{asked}, which became version {version}"),
            Some(VersionedRet::Mismatched) => format!("{asked}, not matched"),
            None => asked,
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}

fn op(operations: &Operations, at: usize) -> Result<VersionedOp, CheckError> {
    let (values, input) = (operations.values(), operations.input(at));
    match function(operations, at) {
        "read" => Ok(VersionedOp::Read),
        "write" => Ok(VersionedOp::Write(input)),
        "cas" => match values.list(input) {
            Some(&[expected, new]) if version(values, expected).is_some() => {
                Ok(VersionedOp::Cas { expected: version(values, expected).unwrap_or_default(), new })
            }
            _ => Err(malformed_input(operations, at, "a pair [expected version, new]")),
        },
        _ => Err(unknown_function(operations, at, "versioned register", "`read`, `write` and `cas`")),
    }
}

fn ret(op: VersionedOp, operations: &Operations, at: usize) -> Result<VersionedRet, CheckError> {
    let (values, output) = (operations.values(), operations.output(at));
    let found = match op {
        VersionedOp::Read => match values.list(output) {
            Some(&[value, of]) => version(values, of).map(|version| VersionedRet::Read(value, version)),
            _ => None,
        },
        VersionedOp::Cas { .. } if output == ValueId::FALSE => Some(VersionedRet::Mismatched),
        VersionedOp::Write(_) | VersionedOp::Cas { .. } => version(values, output).map(VersionedRet::Written),
    };
    let expected = match op {
        VersionedOp::Read => "a pair [value, version]",
        VersionedOp::Write(_) => "the version that was written",
        VersionedOp::Cas { .. } => "the version that was written, or false",
    };
    found.ok_or_else(|| malformed_output(operations, at, expected))
}

fn version(values: &Values, id: ValueId) -> Option<u64> {
    values.integer(id).and_then(|integer| u64::try_from(integer).ok())
}

fn written(call: &VersionedCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (_, Some(VersionedRet::Mismatched)) | (VersionedOp::Read, _) => None,
        (VersionedOp::Write(value), _) | (VersionedOp::Cas { new: value, .. }, _) => Some(value),
    }
}

/// Which write made a version: its value, and its position in the history.
type Writers = FxHashMap<u64, (ValueId, u32)>;

/// The position of the initial value, which no operation wrote.
const NOWHERE: u32 = u32::MAX;

/// Decides by the order of the versions; `None` when a version is not known to belong to a write, or when a mismatch has
/// to find its place.
fn decide(calls: &[VersionedCall]) -> Option<Found> {
    let mut writers = Writers::from_iter([(0, (ValueId::ABSENT, NOWHERE))]);
    for call in calls {
        let (Some(value), Some(VersionedRet::Written(version))) = (written(call), call.ret) else { continue };
        if let Some((_, other)) = writers.insert(version, (value, call.position)) {
            return Some(proof(calls, &[other, call.position], NOWHERE));
        }
    }
    let has_unknown = calls.iter().any(|call| written(call).is_some() && call.ret.is_none());
    let mut links = Vec::with_capacity(calls.len());
    for call in calls {
        match call.ret {
            Some(VersionedRet::Written(version)) => links.push(Link::of(2 * version, call)),
            Some(VersionedRet::Read(value, version)) => {
                match writers.get(&version) {
                    Some((written, _)) if *written == value => {}
                    Some((_, writer)) => return Some(proof(calls, &[*writer, call.position], NOWHERE)),
                    None if has_unknown => return None,
                    None => return Some(proof(calls, &[call.position], NOWHERE)),
                }
                links.push(Link::of(2 * version + 1, call));
            }
            Some(VersionedRet::Mismatched) | None => {}
        }
    }
    let conflict = || Some(with_writers(calls, &writers, chain::conflict(links)?));
    skipped(calls, &writers).or_else(conflict).or_else(|| mismatches::decide(calls, &writers))
}

/// The calls with guesses for versions that were replaced but that no known operation wrote: each is given to the earliest
/// operation of unknown outcome that can have written it. Guesses can show that a history is legal, never that it is not.
fn with_guesses(calls: &[VersionedCall]) -> Option<Vec<VersionedCall>> {
    let written_version = |call: &VersionedCall| match call.ret {
        Some(VersionedRet::Written(version)) => Some(version),
        _ => None,
    };
    let mut known: BTreeSet<u64> = calls.iter().filter_map(written_version).chain([0]).collect();
    let replaced = |call: &VersionedCall| match (call.op, written_version(call)) {
        (VersionedOp::Cas { expected, .. }, Some(_)) if !known.contains(&expected) => Some(expected),
        _ => None,
    };
    let orphans: BTreeSet<u64> = calls.iter().filter_map(replaced).collect();
    let mut guessed = calls.to_vec();
    let is_free = |call: &VersionedCall| written(call).is_some() && call.ret.is_none();
    let mut free: Vec<usize> = (0..calls.len()).filter(|at| is_free(&calls[*at])).collect();
    free.sort_by_key(|at| calls[*at].start);
    for orphan in orphans {
        let before = *known.range(..orphan).next_back()?;
        let fits = |at: &usize| match calls[*at].op {
            VersionedOp::Cas { expected, .. } => expected == before,
            _ => true,
        };
        let taken = free.remove(free.iter().position(fits)?);
        guessed[taken].ret = Some(VersionedRet::Written(orphan));
        known.insert(orphan);
    }
    Some(guessed)
}

/// A compare-and-set that replaced a version which was not the one before its own.
fn skipped(calls: &[VersionedCall], writers: &Writers) -> Option<Found> {
    let mut versions: Vec<u64> = writers.keys().copied().collect();
    versions.sort_unstable();
    calls.iter().find_map(|call| {
        let (VersionedOp::Cas { expected, .. }, Some(VersionedRet::Written(version))) = (call.op, call.ret)
        else {
            return None;
        };
        let before = *versions[..versions.partition_point(|known| *known < version)].last()?;
        let writer = |version| writers.get(&version).map_or(NOWHERE, |writer| writer.1);
        let positions = [writer(expected), writer(before), call.position];
        (before > expected || version <= expected).then(|| proof(calls, &positions, call.position))
    })
}

/// The operations that exclude the order of their versions, with the writes of what they read.
fn with_writers(calls: &[VersionedCall], writers: &Writers, both: [u32; 2]) -> Found {
    let version = |call: &VersionedCall| match call.ret {
        Some(VersionedRet::Read(_, version)) if both.contains(&call.position) => Some(version),
        _ => None,
    };
    let written = calls.iter().filter_map(version).filter_map(|version| Some(writers.get(&version)?.1));
    proof(calls, &written.chain(both).collect::<Vec<_>>(), NOWHERE)
}

/// The calls at some positions. All compare-and-sets but one are made to say no more than that they wrote their version, so
/// that what they replaced can be left out.
fn proof(calls: &[VersionedCall], positions: &[u32], whole: u32) -> Found {
    let is_named = |call: &VersionedCall| positions.contains(&call.position);
    // Only a read says that an operation of unknown outcome happened, and with which version.
    let told: Vec<u64> = calls
        .iter()
        .filter(|call| is_named(call) && !call.is_certain())
        .filter_map(|call| match call.ret {
            Some(VersionedRet::Written(version)) => Some(version),
            _ => None,
        })
        .collect();
    let tells = |call: &VersionedCall| matches!(call.ret, Some(VersionedRet::Read(_, version)) if told.contains(&version));
    let is_meant = |call: &&VersionedCall| is_named(call) || tells(call);
    let relaxed = |call: &VersionedCall| match call.op {
        VersionedOp::Cas { new, .. } if call.position != whole => {
            call.with(VersionedOp::Write(new), call.ret)
        }
        _ => call.clone(),
    };
    Shortcut::Illegal(calls.iter().filter(is_meant).map(relaxed).collect())
}
