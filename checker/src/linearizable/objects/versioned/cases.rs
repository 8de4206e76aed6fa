//! The violations of versioned registers that have a name: a version that two writes made or that has two values, a version
//! from nowhere or older than one that was known, a compare-and-set that skipped a version or whose version was gone.

use history::{Outcome, ValueId};

use super::super::telling::all_over;
use super::{Case, VersionedCall, VersionedObject, VersionedOp, VersionedRet, written};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, VersionedObject<'_>>) -> Option<String> {
    let teller = Teller { case };
    let accuse = |call: &VersionedCall| {
        teller
            .two_values(call)
            .or_else(|| teller.never_made(call))
            .or_else(|| teller.backwards(call))
            .or_else(|| teller.not_larger(call))
            .or_else(|| teller.stale(call))
            .or_else(|| teller.skipped(call))
            .or_else(|| teller.mismatch(call))
    };
    case.accused().find_map(accuse)
}

/// The version that the register has just after the operation, and its value.
fn version(call: &VersionedCall) -> Option<(u64, ValueId)> {
    match (call.ret?, written(call)) {
        (VersionedRet::Read(value, version), _) => Some((version, value)),
        (VersionedRet::Written(version), Some(value)) => Some((version, value)),
        _ => None,
    }
}

/// The version that it wrote.
fn made(call: &VersionedCall) -> Option<u64> {
    match call.ret {
        Some(VersionedRet::Written(version)) => Some(version),
        _ => None,
    }
}

struct Teller<'c, 'a> {
    case: &'c Case<'c, VersionedObject<'a>>,
}

impl Teller<'_, '_> {
    /// Another operation says that the version has another value, or that it wrote it, too.
    fn two_values(&self, call: &VersionedCall) -> Option<String> {
        let (mine, value) = version(call)?;
        let contradicts = |other: &&VersionedCall| {
            let both_made = made(call).is_some() && made(other).is_some();
            version(other).is_some_and(|(theirs, other)| theirs == mine && (other != value || both_made))
        };
        let is_first = mine == 0 && value != ValueId::ABSENT;
        let other = self.case.others(call).filter(|other| other.is_certain()).find(contradicts);
        match other {
            Some(other) => {
                let (whose, at) = (self.case.who_else(other, call), self.case.at(other));
                let theirs = Self::did(other, &self.case.show(version(other)?.1), "that version");
                Some(format!("{}, but {whose} {theirs}{at}", self.result(call)))
            }
            None if is_first => Some(format!("{}, but version 0 is that of nothing", self.result(call))),
            None => None,
        }
    }

    /// Nobody can have written the version by then.
    fn never_made(&self, call: &VersionedCall) -> Option<String> {
        let Some(VersionedRet::Read(value, mine)) = call.ret else { return None };
        let (operations, end) = (self.case.operations, call.end()?);
        let positions = || ["write", "cas"].into_iter().flat_map(|function| self.case.recorded(function));
        let is_made = |at: usize| match operations.outcome(at) {
            Outcome::Ok => super::version(operations.values(), operations.output(at)) == Some(mine),
            _ => operations.call(at) <= end,
        };
        if mine == 0 && value.is_absent() {
            return None;
        }
        let maker = positions().find(|at| is_made(*at));
        let reason = match maker {
            None => "but nobody ever wrote that version".to_owned(),
            Some(at) if operations.call(at) > end => {
                let who = crate::narration::who(&operations.get(at));
                format!("but {who} invoked the write of that version only at {}", operations.call(at))
            }
            Some(_) => return None,
        };
        Some(format!("{}, {reason}", self.result(call)))
    }

    /// A larger version was known before the operation was invoked.
    fn backwards(&self, call: &VersionedCall) -> Option<String> {
        let (mine, _) = version(call)?;
        let is_larger = |other: &&VersionedCall| version(other).is_some_and(|(theirs, _)| theirs > mine);
        self.known(call, is_larger).map(|reason| format!("{}, but {reason}", self.result(call)))
    }

    /// The version that a compare-and-set wrote is not larger than the one that it replaced.
    fn not_larger(&self, call: &VersionedCall) -> Option<String> {
        let VersionedOp::Cas { expected, .. } = call.op else { return None };
        made(call)
            .is_some_and(|made| made <= expected)
            .then(|| format!("{}, which is not larger than the version it replaced", self.result(call)))
    }

    /// Another version lies between the one that was expected and the one that was written.
    fn skipped(&self, call: &VersionedCall) -> Option<String> {
        let (VersionedOp::Cas { expected, .. }, Some(mine)) = (call.op, made(call)) else { return None };
        let between = |other: &&VersionedCall| {
            version(other).is_some_and(|(theirs, _)| expected < theirs && theirs < mine) && other.is_certain()
        };
        let other = self.case.others(call).find(between)?;
        let (theirs, value) = version(other)?;
        let (whose, at) = (self.case.who_else(other, call), self.case.at(other));
        let did = Self::did(other, &self.case.show(value), &format!("version {theirs}"));
        Some(format!(
            "{}, but version {theirs} lies between: {whose} {did}{at}, so version {expected} had been replaced",
            self.result(call)
        ))
    }

    /// `wrote 5 as version 3`, or `read 5 in version 3`.
    fn did(call: &VersionedCall, value: &str, version: &str) -> String {
        if made(call).is_some() {
            format!("wrote {value} as {version}")
        } else {
            format!("read {value} in {version}")
        }
    }

    /// The version that a compare-and-set expected had been replaced before it was invoked.
    fn stale(&self, call: &VersionedCall) -> Option<String> {
        let (VersionedOp::Cas { expected, .. }, Some(_)) = (call.op, made(call)) else { return None };
        let is_larger = |other: &&VersionedCall| version(other).is_some_and(|(theirs, _)| theirs > expected);
        self.known(call, is_larger).map(|reason| format!("{}, but {reason}", self.result(call)))
    }

    /// The version that did not match was there all the time.
    fn mismatch(&self, call: &VersionedCall) -> Option<String> {
        let VersionedOp::Cas { expected, .. } = call.op else { return None };
        if call.ret != Some(VersionedRet::Mismatched) {
            return None;
        }
        let writers = || self.case.others(call).filter(|other| written(other).is_some());
        if expected == 0
            && writers().all(|writer| call.ended_before(writer.start))
            && !self.case.from_any_state
        {
            return Some(format!("{}, but nothing had been written before", self.result(call)));
        }
        let is_expected =
            |other: &&VersionedCall| version(other).is_some_and(|(theirs, _)| theirs == expected);
        let newest = self.case.earlier(call).filter(is_expected).max_by_key(|other| other.end())?;
        let others = writers().filter(|other| {
            other.position != newest.position
                && made(other).is_none_or(|made| made > expected)
                && !call.ended_before(other.start)
        });
        let verb = if made(newest).is_some() { "had written" } else { "had read" };
        let (who, at) = (self.case.who_else(newest, call), self.case.at(newest));
        all_over(others, newest.start).then(|| {
            format!(
                "{}, but {who} {verb} version {expected}{at}, and nobody had written anything since",
                self.result(call)
            )
        })
    }

    /// Who knew of such a version before an operation was invoked.
    fn known(&self, call: &VersionedCall, is_meant: impl Fn(&&VersionedCall) -> bool) -> Option<String> {
        let newer = self.case.earlier(call).filter(is_meant).max_by_key(|other| other.end())?;
        let (theirs, value) = version(newer)?;
        let (who, at, value) = (self.case.who_else(newer, call), self.case.at(newer), self.case.show(value));
        Some(if made(newer).is_some() {
            format!("{who} had written {value} as version {theirs}, acknowledged{at}")
        } else {
            format!("{who} had already read {value} in version {theirs}{at}")
        })
    }

    /// The result that is impossible: `process 3 (via n2) read 7 in version 12 at 14.203 s`.
    fn result(&self, call: &VersionedCall) -> String {
        let (who, at) = (self.case.who(call), self.case.at(call));
        let name = match self.recorded_cas(call) {
            Some(expected) => format!("the compare-and-set of {who} from version {expected}"),
            None => who,
        };
        match (call.ret, written(call)) {
            (Some(VersionedRet::Read(value, version)), _) => {
                format!("{name} read {} in version {version}{at}", self.case.show(value))
            }
            (Some(VersionedRet::Written(version)), Some(value)) => {
                format!("{name} wrote {} as version {version}{at}", self.case.show(value))
            }
            _ => format!("{name} did not match{at}"),
        }
    }

    /// The version that a recorded compare-and-set expected; relaxed ones are writes.
    fn recorded_cas(&self, call: &VersionedCall) -> Option<u64> {
        match super::op(self.case.operations, call.position as usize).ok()? {
            VersionedOp::Cas { expected, .. } => Some(expected),
            _ => None,
        }
    }
}
