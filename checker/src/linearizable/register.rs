//! The register as a recorded object: `read`, `write` and `cas`.

use history::{Nanos, Operation, Outcome};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::object::{Case, Object, Shortcut, Step, malformed_input, malformed_output};
use super::problem::Call;
use crate::CheckError;
use crate::model::{Effect, Register, RegisterOp, RegisterRet, ValueId, Values};

mod cases;
mod zones;

/// A register per key. `null` is read where nothing was written; it can be expected but not be written.
#[derive(Debug, Default)]
pub(crate) struct RegisterObject {
    values: Values,
}

impl Object for RegisterObject {
    type Model = Register;

    fn initial(&self) -> Register {
        Register::default()
    }

    fn translate(&mut self, operation: &Operation) -> Result<Step<Register>, CheckError> {
        let op = self.op(operation)?;
        let is_ok = operation.outcome == Outcome::Ok;
        let ret = is_ok.then(|| self.ret(op, operation)).transpose()?;
        Ok(Step { op, ret })
    }

    fn simplify(&self, calls: &mut Vec<Call<Register>>, start: &Register) {
        let mut removable = self.removable(calls).into_iter();
        calls.retain(|call| !removable.next().unwrap_or(false) || call.is_certain());
        if !calls.iter().any(is_cas) {
            give_ends(calls, start.0);
        }
    }

    fn shortcut(&self, calls: &[Call<Register>]) -> Option<Shortcut> {
        zones::from_nowhere(calls).or_else(|| zones::decide(calls))
    }

    /// Reads and mismatches change nothing. An effect can go when no operation needs the value that it leaves: nothing
    /// but blind writes and operations of unknown outcome can follow it then, and they fit as well without it. A
    /// mismatch needs the *absence* of a value, so one of them anywhere forbids that.
    fn removable(&self, calls: &[Call<Register>]) -> Vec<bool> {
        let observed: FxHashSet<ValueId> = calls.iter().filter_map(observes).collect();
        let any_mismatch = calls.iter().any(is_mismatch);
        let is_unseen = |call| !any_mismatch && written(call).is_some_and(|value| !observed.contains(&value));
        calls.iter().map(|call| call.effect() == Effect::Pure || is_unseen(call)).collect()
    }

    fn any_start(&self, calls: &[Call<Register>]) -> Vec<Register> {
        let mut values: Vec<ValueId> = calls.iter().filter_map(observes).collect();
        values.extend(calls.iter().filter(|call| is_mismatch(call)).filter_map(expected));
        values.push(OTHER);
        values.sort_unstable();
        values.dedup();
        values.into_iter().map(Register).collect()
    }

    fn show_states(&self, states: &[Register]) -> String {
        let values: Vec<String> = states.iter().map(|state| self.values.show(state.0)).collect();
        format!("the register holds {}", values.join(" or "))
    }

    fn show_call(&self, call: &Call<Register>) -> String {
        let show = |value| self.values.show(value);
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

    fn headline(&self, case: &Case<'_, Register>) -> Option<String> {
        cases::headline(self, case)
    }
}

/// A value that no operation names.
const OTHER: ValueId = ValueId(u32::MAX);

impl RegisterObject {
    fn op(&mut self, operation: &Operation) -> Result<RegisterOp, CheckError> {
        match operation.f.as_str() {
            "read" => Ok(RegisterOp::Read),
            "write" if operation.input.is_null() => {
                Err(malformed_input(operation, "a value other than null"))
            }
            "write" => Ok(RegisterOp::Write(self.values.intern(&operation.input))),
            "cas" => match operation.input.as_array().map(Vec::as_slice) {
                Some([expected, new]) if !new.is_null() => {
                    let (expected, new) = (self.values.intern(expected), self.values.intern(new));
                    Ok(RegisterOp::Cas { expected, new })
                }
                _ => Err(malformed_input(operation, "a pair [expected, new] whose second value is not null")),
            },
            _ => Err(CheckError::UnknownFunction {
                index: operation.index,
                object: "register",
                function: operation.f.clone(),
                known: "`read`, `write` and `cas`",
            }),
        }
    }

    fn ret(&mut self, op: RegisterOp, operation: &Operation) -> Result<RegisterRet, CheckError> {
        match (op, &operation.output) {
            (RegisterOp::Read, value) => Ok(RegisterRet::Read(self.values.intern(value))),
            (RegisterOp::Write(_), _) => Ok(RegisterRet::Written),
            (RegisterOp::Cas { .. }, Value::Bool(matched)) => Ok(RegisterRet::Swapped(*matched)),
            (RegisterOp::Cas { .. }, _) => Err(malformed_output(operation, "true (it matched) or false")),
        }
    }
}

/// The value that the register holds when the call has changed it.
fn written(call: &Call<Register>) -> Option<ValueId> {
    match (call.op, call.ret) {
        (RegisterOp::Write(value), _) => Some(value),
        (RegisterOp::Cas { .. }, Some(RegisterRet::Swapped(false))) | (RegisterOp::Read, _) => None,
        (RegisterOp::Cas { new, .. }, _) => Some(new),
    }
}

/// The value that the register must hold for the call to have its result, or (outcome unknown) to do anything.
fn observes(call: &Call<Register>) -> Option<ValueId> {
    match (call.op, call.ret) {
        (RegisterOp::Read, Some(RegisterRet::Read(value))) => Some(value),
        (RegisterOp::Cas { .. }, Some(RegisterRet::Swapped(false))) => None,
        (RegisterOp::Cas { expected, .. }, _) => Some(expected),
        _ => None,
    }
}

fn expected(call: &Call<Register>) -> Option<ValueId> {
    match call.op {
        RegisterOp::Cas { expected, .. } => Some(expected),
        _ => None,
    }
}

fn is_cas(call: &Call<Register>) -> bool {
    matches!(call.op, RegisterOp::Cas { .. })
}

fn is_mismatch(call: &Call<Register>) -> bool {
    call.ret == Some(RegisterRet::Swapped(false))
}

/// A write of unknown outcome whose value was read has happened, if nobody else writes that value: by the end of the
/// first read of it. With a compare-and-set the value could come from elsewhere, so there must be none.
fn give_ends(calls: &mut [Call<Register>], start: ValueId) {
    let mut first_reads: FxHashMap<ValueId, Nanos> = FxHashMap::default();
    let mut writers: FxHashMap<ValueId, u32> = FxHashMap::default();
    writers.insert(start, 1);
    for call in calls.iter() {
        if let (Some(value), Some(end)) = (observes(call), call.end) {
            first_reads.entry(value).and_modify(|at| *at = end.min(*at)).or_insert(end);
        }
        if let Some(value) = written(call) {
            *writers.entry(value).or_insert(0) += 1;
        }
    }
    for call in calls.iter_mut().filter(|call| !call.is_certain()) {
        let value = written(call).filter(|value| writers.get(value) == Some(&1));
        call.end = value.and_then(|value| first_reads.get(&value).copied()).filter(|end| *end >= call.start);
    }
}
