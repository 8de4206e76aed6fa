//! The register as a recorded object: `read`, `write` and `cas`.

use history::{Nanos, Operations, Outcome, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::calls::Call;
use super::super::object::{
    Case, InTime, Object, Removal, ShortcutOf, Step, malformed_input, malformed_output, unknown_function,
};
use crate::CheckError;
use crate::model::{Effect, Model, Register, RegisterOp, RegisterRet};
use crate::narration::show_value;

mod cases;
mod zones;

use zones::Found;

/// A call of a register.
pub(super) type RegisterCall = Call<RegisterOp, RegisterRet>;

/// A register per key. `null` is read where nothing was written; it can be expected but not be written.
#[derive(Debug)]
pub(crate) struct RegisterObject<'a> {
    operations: &'a Operations,
}

impl<'a> RegisterObject<'a> {
    pub(crate) fn new(operations: &'a Operations) -> Self {
        Self { operations }
    }
}

impl Object for RegisterObject<'_> {
    type State = Register;
    type Op = RegisterOp;
    type Ret = RegisterRet;

    fn initial(&self) -> Register {
        Register::default()
    }

    fn step(&self, state: &Register, op: &RegisterOp, ret: Option<&RegisterRet>) -> Option<Register> {
        state.step(op, ret)
    }

    fn effect(&self, op: &RegisterOp, ret: Option<&RegisterRet>) -> Effect {
        Register::effect(op, ret)
    }

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let op = op(operations, at)?;
        let is_ok = operations.outcome(at) == Outcome::Ok;
        let ret = is_ok.then(|| ret(op, operations, at)).transpose()?;
        Ok(Step { op, ret })
    }

    fn simplify(&self, calls: &mut Vec<RegisterCall>, start: &Register) {
        simplify(calls, start);
    }

    fn shortcut(&self, calls: &[RegisterCall], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        shortcut(calls)
    }

    fn removable(&self, calls: &[RegisterCall]) -> Vec<Removal> {
        removable(calls)
    }

    fn any_start(&self, calls: &[RegisterCall]) -> Vec<Register> {
        let mut values: Vec<ValueId> = calls.iter().filter_map(observes).collect();
        values.extend(calls.iter().filter(|call| is_mismatch(call)).filter_map(expected));
        values.push(OTHER);
        values.sort_unstable();
        values.dedup();
        values.into_iter().map(Register).collect()
    }

    fn show_states(&self, states: &[Register]) -> String {
        let values: Vec<String> = states.iter().map(|state| self.show(state.0)).collect();
        format!("the register holds {}", values.join(" or "))
    }

    fn show_call(&self, call: &RegisterCall) -> String {
        let show = |value| self.show(value);
        let asked = match call.op {
            RegisterOp::Read => "read".to_owned(),
            RegisterOp::Write(value) => format!("write {}", show(value)),
            RegisterOp::Cas { expected, new } => format!("cas {} to {}", show(expected), show(new)),
        };
        match call.ret {
            Some(RegisterRet::Read(value)) => format!("{asked} {}", show(value)),
            Some(RegisterRet::Swapped(true)) => format!("{asked}, matched"),
            Some(RegisterRet::Swapped(false)) => format!("{asked}, not matched"),
            Some(RegisterRet::Written) | None => asked,
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}

/// A value that no operation names.
const OTHER: ValueId = ValueId(u32::MAX >> 1);

impl RegisterObject<'_> {
    fn show(&self, value: ValueId) -> String {
        show_value(self.operations.values(), value)
    }
}

fn op(operations: &Operations, at: usize) -> Result<RegisterOp, CheckError> {
    let (values, input) = (operations.values(), operations.input(at));
    match operations.names().get(operations.function(at)).unwrap_or_default() {
        "read" => Ok(RegisterOp::Read),
        "write" if input.is_absent() => Err(malformed_input(operations, at, "a value other than null")),
        "write" => Ok(RegisterOp::Write(input)),
        "cas" => match values.list(input) {
            Some(&[expected, new]) if !new.is_absent() => Ok(RegisterOp::Cas { expected, new }),
            _ => {
                Err(malformed_input(operations, at, "a pair [expected, new] whose second value is not null"))
            }
        },
        _ => Err(unknown_function(operations, at, "register", "`read`, `write` and `cas`")),
    }
}

fn ret(op: RegisterOp, operations: &Operations, at: usize) -> Result<RegisterRet, CheckError> {
    let output = operations.output(at);
    match op {
        RegisterOp::Read => Ok(RegisterRet::Read(output)),
        RegisterOp::Write(_) => Ok(RegisterRet::Written),
        RegisterOp::Cas { .. } => match operations.values().bool(output) {
            Some(matched) => Ok(RegisterRet::Swapped(matched)),
            None => Err(malformed_output(operations, at, "true (it matched) or false")),
        },
    }
}

/// What may be left out, and ends for writes of unknown outcome that were seen.
pub(super) fn simplify(calls: &mut Vec<RegisterCall>, start: &Register) {
    if calls.iter().all(RegisterCall::is_certain) {
        return;
    }
    let mut removable = removable(calls).into_iter();
    calls.retain(|call| removable.next() != Some(Removal::Alone) || call.is_certain());
    if !calls.iter().any(is_cas) {
        give_ends(calls, start.0);
    }
}

/// Decides simplified calls where no search is needed.
pub(super) fn shortcut(calls: &[RegisterCall]) -> Option<Found> {
    zones::from_nowhere(calls).or_else(|| zones::decide(calls))
}

/// Reads and mismatches change nothing. An effect can go when no operation needs the value that it leaves: nothing
/// but blind writes and operations of unknown outcome can follow it then, and they fit as well without it. A
/// mismatch needs the *absence* of a value, so one of them anywhere forbids that.
fn removable(calls: &[RegisterCall]) -> Vec<Removal> {
    let observed: FxHashSet<ValueId> = calls.iter().filter_map(observes).collect();
    let any_mismatch = calls.iter().any(is_mismatch);
    let is_unseen = |call| !any_mismatch && written(call).is_some_and(|value| !observed.contains(&value));
    let is_pure = |call: &RegisterCall| Register::effect(&call.op, call.ret.as_ref()) == Effect::Pure;
    let removal = |call| if is_pure(call) || is_unseen(call) { Removal::Alone } else { Removal::Kept };
    calls.iter().map(removal).collect()
}

/// The value that the register holds when the call has changed it.
fn written(call: &RegisterCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (RegisterOp::Write(value), _) => Some(value),
        (RegisterOp::Cas { .. }, Some(RegisterRet::Swapped(false))) | (RegisterOp::Read, _) => None,
        (RegisterOp::Cas { new, .. }, _) => Some(new),
    }
}

/// The value that the register must hold for the call to have its result, or (outcome unknown) to do anything.
fn observes(call: &RegisterCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (RegisterOp::Read, Some(RegisterRet::Read(value))) => Some(value),
        (RegisterOp::Cas { .. }, Some(RegisterRet::Swapped(false))) => None,
        (RegisterOp::Cas { expected, .. }, _) => Some(expected),
        _ => None,
    }
}

fn expected(call: &RegisterCall) -> Option<ValueId> {
    match call.op {
        RegisterOp::Cas { expected, .. } => Some(expected),
        _ => None,
    }
}

fn is_cas(call: &RegisterCall) -> bool {
    matches!(call.op, RegisterOp::Cas { .. })
}

fn is_mismatch(call: &RegisterCall) -> bool {
    call.ret == Some(RegisterRet::Swapped(false))
}

/// A write of unknown outcome whose value was read has happened, if nobody else writes that value: by the end of the
/// first read of it. With a compare-and-set the value could come from elsewhere, so there must be none.
fn give_ends(calls: &mut [RegisterCall], start: ValueId) {
    let mut first_reads: FxHashMap<ValueId, Nanos> = FxHashMap::default();
    let mut writers: FxHashMap<ValueId, u32> = FxHashMap::default();
    writers.insert(start, 1);
    for call in calls.iter() {
        if let (Some(value), Some(end), true) = (observes(call), call.end(), call.is_certain()) {
            first_reads.entry(value).and_modify(|at| *at = end.min(*at)).or_insert(end);
        }
        if let Some(value) = written(call) {
            *writers.entry(value).or_insert(0) += 1;
        }
    }
    for call in calls.iter_mut().filter(|call| !call.is_certain()) {
        let value = written(call).filter(|value| writers.get(value) == Some(&1));
        let read = value.and_then(|value| first_reads.get(&value).copied());
        if let Some(read) = read.filter(|read| *read >= call.start) {
            call.happens_by(read.min(call.end_or_never()));
        }
    }
}
