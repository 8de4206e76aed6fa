//! The violations of locks that have a name: two holders at once, a token that did not grow, a release of a lock that nobody
//! held, and a refusal without a reason.

use super::super::telling::all_over;
use super::{Case, LockCall, MutexObject, MutexOp, MutexRet};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, MutexObject>) -> Option<String> {
    let teller = Teller { case };
    case.accused().find_map(|call| match call.ret? {
        MutexRet::Acquired(Some(0)) => Some(format!("{}, but tokens are positive", teller.result(call))),
        MutexRet::Acquired(_) => teller.token(call).or_else(|| teller.second_holder(call)),
        MutexRet::Released => teller.was_free(call),
        MutexRet::Refused if call.op == MutexOp::Acquire => teller.was_free(call),
        MutexRet::Refused => teller.was_held(call),
    })
}

fn takes(call: &LockCall) -> bool {
    call.op == MutexOp::Acquire && call.ret != Some(MutexRet::Refused)
}

fn frees(call: &LockCall) -> bool {
    call.op == MutexOp::Release && call.ret != Some(MutexRet::Refused)
}

fn token(call: &LockCall) -> Option<u64> {
    match call.ret {
        Some(MutexRet::Acquired(token)) => token,
        _ => None,
    }
}

struct Teller<'c> {
    case: &'c Case<'c, MutexObject>,
}

impl Teller<'_> {
    /// Somebody before was given a token that is not smaller.
    fn token(&self, call: &LockCall) -> Option<String> {
        let mine = token(call)?;
        let is_same = |other: &&LockCall| token(other) == Some(mine) && other.is_certain();
        if let Some(other) = self.case.others(call).find(is_same) {
            let (who, at) = (self.case.who_else(other, call), self.case.at(other));
            return Some(format!("{}, but {who} was given the same token{at}", self.result(call)));
        }
        let larger = self.case.earlier(call).filter(|other| token(other) > Some(mine));
        let larger = larger.max_by_key(|other| token(other))?;
        let (who, at) = (self.case.who_else(larger, call), self.case.at(larger));
        let larger = token(larger)?;
        Some(format!("{}, but {who} had already been given the larger token {larger}{at}", self.result(call)))
    }

    /// Somebody else held the lock, and nobody can have released it in between.
    fn second_holder(&self, call: &LockCall) -> Option<String> {
        let holder = self
            .case
            .others(call)
            .filter(|other| takes(other) && other.is_certain() && self.none_between(other, call, frees))
            .max_by_key(|other| other.end())?;
        let at = self.case.at(holder);
        Some(if holder.ended_before(call.start) {
            let (result, who) = (self.result(call), self.case.who_else(holder, call));
            format!("{result}, but {who} had acquired it{at}, and nobody had released it since")
        } else {
            let (who, me, when) = (self.case.who(holder), self.case.who(call), self.case.at(call));
            format!(
                "{who} acquired the lock{at} and {me} acquired it{when}, and nobody released it in between"
            )
        })
    }

    /// Nobody can have held the lock.
    fn was_free(&self, call: &LockCall) -> Option<String> {
        let mut acquires = self.case.others(call).filter(|other| takes(other));
        if acquires.all(|acquire| call.ended_before(acquire.start)) && !self.case.from_any_state {
            let later = match self.case.others(call).find(|other| takes(other)) {
                Some(_) => "nobody had acquired it by then",
                None => "nobody had acquired it",
            };
            return Some(format!("{}, but {later}", self.result(call)));
        }
        let is_free = |other: &&LockCall| {
            let is_proof = frees(other) || other.op == MutexOp::Release;
            is_proof && self.none_between(other, call, takes)
        };
        let release = self.case.earlier(call).filter(is_free).max_by_key(|other| other.end())?;
        let (who, at) = (self.case.who_else(release, call), self.case.at(release));
        let did = if frees(release) { "had released it" } else { "had already found it free" };
        Some(format!("{}, but {who} {did}{at}, and nobody had acquired it since", self.result(call)))
    }

    /// Somebody held the lock, and nobody can have released it.
    fn was_held(&self, call: &LockCall) -> Option<String> {
        let is_held = |other: &&LockCall| takes(other) && self.none_between(other, call, frees);
        let acquire = self.case.earlier(call).filter(is_held).max_by_key(|other| other.end())?;
        let (who, at) = (self.case.who_else(acquire, call), self.case.at(acquire));
        Some(format!(
            "{}, but {who} had acquired the lock{at}, and nobody had released it since",
            self.result(call)
        ))
    }

    /// Whether no operation of a kind can have taken effect between two others, in whichever order they come.
    fn none_between(&self, one: &LockCall, other: &LockCall, kind: impl Fn(&LockCall) -> bool) -> bool {
        let (first_start, last_end) =
            (one.start.min(other.start), one.end_or_never().max(other.end_or_never()));
        let is_between = |call: &&LockCall| {
            kind(call)
                && call.start <= last_end
                && call.position != one.position
                && call.position != other.position
        };
        all_over(self.case.core.iter().filter(is_between), first_start)
    }

    /// The result that is impossible: `process 3 (via n2) acquired the lock with token 5 at 14.203 s`.
    fn result(&self, call: &LockCall) -> String {
        let (who, at) = (self.case.who(call), self.case.at(call));
        match (call.op, call.ret) {
            (MutexOp::Acquire, Some(MutexRet::Refused)) => format!("{who} was refused the lock{at}"),
            (MutexOp::Acquire, _) => match token(call) {
                Some(token) => format!("{who} acquired the lock{at} with token {token}"),
                None => format!("{who} acquired the lock{at}"),
            },
            (MutexOp::Release, Some(MutexRet::Refused)) => {
                format!("{who} was told{at} that there is nothing to release")
            }
            (MutexOp::Release, _) => format!("{who} released the lock{at}"),
        }
    }
}
