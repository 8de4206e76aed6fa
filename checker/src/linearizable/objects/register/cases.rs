//! The violations of registers that have a name: a value from nowhere, a stale read, a lost write, a compare-and-set
//! that cannot have had its outcome. Each sentence is said only when the operations it names prove the violation.

use history::{Nanos, Operation, Outcome, ValueId};

use super::{Case, RegisterCall, RegisterObject, RegisterOp, RegisterRet, is_mismatch, observes, written};
use crate::narration::{deed, show_value, who};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, RegisterObject<'_>>) -> Option<String> {
    let teller = Teller { case };
    match observes(case.culprit) {
        Some(value) => {
            let twice = || teller.matched_twice(value);
            teller
                .never_written(value)
                .or_else(|| teller.stale(value))
                .or_else(twice)
                .or_else(|| teller.disagreement(value))
        }
        None if is_mismatch(case.culprit) => teller.mismatch(),
        None => None,
    }
}

struct Teller<'c, 'a> {
    case: &'c Case<'c, RegisterObject<'a>>,
}

impl Teller<'_, '_> {
    /// Nothing that took effect before the result can have written the value.
    fn never_written(&self, value: ValueId) -> Option<String> {
        let is_written = self.case.core.iter().any(|call| written(call) == Some(value));
        if value == ValueId::ABSENT || is_written || self.case.from_any_state {
            return None;
        }
        let mut writers = self.case.recorded_of_key().filter(|operation| self.writes(operation, value));
        let shown = self.show(value);
        let reason = match writers.clone().find(|operation| operation.outcome != Outcome::Fail) {
            Some(first) if first.call > self.case.culprit.end()? => {
                let (who, deed, at) = (who(&first), deed(&first.f), first.call);
                format!("but {shown} was written only later: {who} invoked the {deed} at {at}")
            }
            Some(_) => format!("but nothing that took effect by then can have written {shown}"),
            None => match writers.next() {
                Some(failed) => {
                    let (who, at) = (who(&failed), failed.call);
                    format!("but {shown} was never written: {who} tried to at {at} and definitely failed")
                }
                None => format!("but nobody ever wrote {shown}"),
            },
        };
        Some(format!("{}, {reason}", self.result()))
    }

    /// Another value was there after the last write of this one had ended, and before the result was asked for.
    fn stale(&self, value: ValueId) -> Option<String> {
        let newer = self.newer_than(value, |call| written(call) == Some(value))?;
        let seen = self.show(self.leaves(newer)?);
        let at = newer.end()?;
        if self.is_lost(newer) {
            let lost =
                format!("the write of {seen} by {}, acknowledged at {at}, is lost", self.case.who(newer));
            return Some(format!("{lost}: {}, and nobody ever read {seen}", self.result()));
        }
        let (who, old) = (self.case.who_else(newer, self.case.culprit), self.show(value));
        let is_replaced = self.case.core.iter().any(|call| written(call) == Some(value));
        let reason = match (newer.op, is_replaced) {
            (RegisterOp::Read, true) => {
                format!("{who} had already read {seen}, which had replaced {old}, at {at}")
            }
            (RegisterOp::Read, false) => format!("{who} had already read {seen} at {at}"),
            (_, true) => format!("{who} had replaced {old} by {seen}, acknowledged at {at}"),
            (_, false) => format!("{who} had written {seen}, acknowledged at {at}"),
        };
        let since = if is_replaced || value == ValueId::ABSENT {
            String::new()
        } else {
            format!(", and nobody had written {old} again")
        };
        Some(format!("{}, but {reason}{since}", self.result()))
    }

    /// Two observers saw different values at the same time, after the last write of either had ended.
    fn disagreement(&self, value: ValueId) -> Option<String> {
        let culprit = self.case.culprit;
        let writes_either = |call: &RegisterCall, other: ValueId| {
            call.position != culprit.position && written(call).is_some_and(|new| new == value || new == other)
        };
        let contradicts = |call: &&RegisterCall| {
            let Some(RegisterRet::Read(other)) = call.ret else { return false };
            let first_start = call.start.min(culprit.start);
            let mut writers = self.case.core.iter().filter(|writer| writes_either(writer, other));
            other != value && writers.all(|writer| ended_before(writer, first_start))
        };
        let observer = self.case.core.iter().find(contradicts)?;
        let (other, at) = (self.show(observes(observer)?), observer.end()?);
        let saw = format!("{} read {other} at {at}", self.case.who(observer));
        let value = self.show(value);
        Some(format!("{}, but {saw}, and every write of {other} or {value} had ended before", self.result()))
    }

    /// Two operations consumed a value that was there once.
    fn matched_twice(&self, value: ValueId) -> Option<String> {
        let consumes = |call: &RegisterCall| {
            matches!(call.op, RegisterOp::Cas { new, .. } if new != value) && observes(call) == Some(value)
        };
        let both: Vec<&RegisterCall> =
            self.case.core.iter().filter(|call| call.is_certain() && consumes(call)).collect();
        let writers = self.case.core.iter().filter(|call| written(call) == Some(value)).count();
        let once = writers + usize::from(value == ValueId::ABSENT) == 1;
        match both[..] {
            [first, second] if once && !self.case.from_any_state => Some(format!(
                "the compare-and-sets of {}{} and of {}{} both found {} and replaced it, although it was there only once",
                self.case.who(first),
                self.case.at(first),
                self.case.who(second),
                self.case.at(second),
                self.show(value)
            )),
            _ => None,
        }
    }

    /// The expected value was there all the time.
    fn mismatch(&self) -> Option<String> {
        let RegisterOp::Cas { expected, .. } = self.case.culprit.op else { return None };
        let changes = |call: &RegisterCall| written(call).is_some_and(|value| value != expected);
        if expected == ValueId::ABSENT && !self.case.core.iter().any(changes) && !self.case.from_any_state {
            return Some(format!("{}, but nothing had been written before", self.result()));
        }
        let confirmed = |call: &&RegisterCall| self.leaves(call) == Some(expected);
        let newest = self.ended_before_culprit().filter(confirmed).max_by_key(|call| call.end())?;
        if self.case.core.iter().filter(|call| changes(call)).any(|call| !ended_before(call, newest.start)) {
            return None;
        }
        let (who, at) = (self.case.who(newest), newest.end()?);
        Some(format!(
            "{}, but {who} had left {} there at {at}, and nothing else was written since",
            self.result(),
            self.show(expected)
        ))
    }

    /// The latest operation that proves another value than `value`, after everything that `writes` it had ended.
    fn newer_than(&self, value: ValueId, writes: impl Fn(&RegisterCall) -> bool) -> Option<&RegisterCall> {
        let culprit = self.case.culprit.position;
        let writers = || self.case.core.iter().filter(|call| call.position != culprit && writes(call));
        self.ended_before_culprit()
            .filter(|call| self.leaves(call).is_some_and(|left| left != value))
            .filter(|call| writers().all(|writer| ended_before(writer, call.start)))
            .max_by_key(|call| (call.end(), call.op == RegisterOp::Read))
    }

    fn ended_before_culprit(&self) -> impl Iterator<Item = &RegisterCall> {
        self.case.core.iter().filter(|call| ended_before(call, self.case.culprit.start))
    }

    /// What the register holds just after a completed operation.
    fn leaves(&self, call: &RegisterCall) -> Option<ValueId> {
        written(call).or_else(|| observes(call))
    }

    /// An acknowledged write of a value that no completed operation ever observed.
    fn is_lost(&self, call: &RegisterCall) -> bool {
        let RegisterOp::Write(value) = call.op else { return false };
        let Some(json) = self.case.operations.values().get(value) else { return false };
        !self.case.recorded_of_key().filter(|operation| operation.outcome == Outcome::Ok).any(|operation| {
            match operation.f.as_str() {
                "read" => operation.output == json,
                "cas" => operation.output == true && operation.input[0] == json,
                _ => false,
            }
        })
    }

    fn writes(&self, operation: &Operation, value: ValueId) -> bool {
        let Some(json) = self.case.operations.values().get(value) else { return false };
        match operation.f.as_str() {
            "write" => operation.input == json,
            "cas" => operation.input[1] == json,
            _ => false,
        }
    }

    /// The culprit's result: `process 3 (via n2) read 12 at 14.203 s`.
    fn result(&self) -> String {
        let culprit = self.case.culprit;
        let who = self.case.who(culprit);
        let at = culprit.end().map_or_else(String::new, |end| format!(" at {end}"));
        match culprit.op {
            RegisterOp::Cas { expected, new } => {
                let (expected, new) = (self.show(expected), self.show(new));
                let matched = if is_mismatch(culprit) { "did not match" } else { "matched" };
                format!("the compare-and-set of {who} from {expected} to {new} {matched}{at}")
            }
            _ => {
                let value = observes(culprit).map_or_else(String::new, |value| self.show(value));
                format!("{who} read {value}{at}")
            }
        }
    }

    fn show(&self, value: ValueId) -> String {
        show_value(self.case.operations.values(), value)
    }
}

fn ended_before(call: &RegisterCall, moment: Nanos) -> bool {
    call.ended_before(moment)
}
