//! The violations of keys with strings that have a name: a string from nowhere, a stale get, a lost put or append, something
//! appended twice, a compare-and-set that cannot have had its outcome.

use history::ValueId;

use super::super::telling::{Verb, all_over};
use super::{Ask, Case, KvCall, KvObject, Told};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, KvObject<'_>>) -> Option<String> {
    let teller = Teller { case };
    let culprit = case.culprit;
    let Some(seen) = found(culprit) else { return teller.mismatch(culprit) };
    teller
        .never_written(culprit, seen)
        .or_else(|| teller.too_often(culprit, seen))
        .or_else(|| teller.stale(culprit, seen))
        .or_else(|| teller.lost_append(culprit, seen))
        .or_else(|| teller.matched_twice(seen))
        .or_else(|| teller.disagreement(culprit, seen))
}

/// What the key held, as far as a completed operation says.
fn found(call: &KvCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (Ask::Get, Some(Told::Got(seen))) => Some(seen),
        (Ask::Cas { expected, .. }, Some(Told::Swapped(true))) => Some(expected),
        _ => None,
    }
}

/// What the key holds just after a completed operation, as far as that does not depend on the state before.
fn leaves(call: &KvCall) -> Option<ValueId> {
    match (call.op, call.ret) {
        (Ask::Put(id), _) => Some(id),
        (Ask::Delete, _) => Some(ValueId::ABSENT),
        (Ask::Cas { new, .. }, Some(Told::Swapped(true))) => Some(new),
        _ => found(call),
    }
}

/// Whether it can change what the key holds.
fn changes(call: &KvCall) -> bool {
    call.op != Ask::Get && call.ret != Some(Told::Swapped(false))
}

struct Teller<'c, 'a> {
    case: &'c Case<'c, KvObject<'a>>,
}

impl Teller<'_, '_> {
    /// No operation that can have taken effect by then writes the string, and none appends its end.
    fn never_written(&self, call: &KvCall, seen: ValueId) -> Option<String> {
        let operations = self.case.operations;
        let values = operations.values();
        let seen_text = values.str(seen)?;
        let names = operations.names();
        let makes = |at: usize| match names.get(operations.function(at)).unwrap_or_default() {
            "put" => operations.input(at) == seen,
            "cas" => values.list(operations.input(at)).is_some_and(|pair| pair.get(1) == Some(&seen)),
            "append" => values.str(operations.input(at)).is_some_and(|end| seen_text.ends_with(end)),
            _ => false,
        };
        let verb = Verb { past: "wrote", participle: "written" };
        let reason = self.case.never(call.end()?, &self.case.show(seen), verb, makes)?;
        Some(format!("{}, {reason}", self.result(call)))
    }

    /// A character that only one append brought along is there twice, and so is what that append brought.
    fn too_often(&self, call: &KvCall, seen: ValueId) -> Option<String> {
        let seen_text = self.text(seen)?;
        let is_twice = |append: &&KvCall| {
            let Ask::Append(id) = append.op else { return false };
            let is_mark = |mark: char| seen_text.matches(mark).count() > 1 && self.occurrences(mark) == 1;
            self.text(id).is_some_and(|text| seen_text.matches(text).count() > 1 && text.chars().any(is_mark))
        };
        let append = self.case.others(call).find(is_twice)?;
        let Ask::Append(id) = append.op else { return None };
        let (text, who) = (self.case.show(id), self.case.who(append));
        Some(format!("{}, which contains {text} twice, but {who} appended it only once", self.result(call)))
    }

    /// How often a character occurs in everything that may have been written.
    fn occurrences(&self, mark: char) -> usize {
        let operations = self.case.operations;
        let count = |id: ValueId| self.text(id).map_or(0, |text| text.matches(mark).count());
        let inputs = ["put", "append"].into_iter().flat_map(|function| self.case.recorded(function));
        let plain: usize = inputs.map(|at| count(operations.input(at))).sum();
        let swapped =
            self.case.recorded("cas").filter_map(|at| operations.values().list(operations.input(at)));
        plain + swapped.filter_map(|pair| pair.get(1)).map(|id| count(*id)).sum::<usize>()
    }

    /// Something else was there after everything that can leave this had ended, and before the result was asked for.
    fn stale(&self, call: &KvCall, seen: ValueId) -> Option<String> {
        let others = || self.case.others(call).filter(|other| self.can_leave(other, seen));
        let newer = self
            .case
            .earlier(call)
            .filter(|newer| self.denies(newer, seen) && all_over(others(), newer.start))
            .max_by_key(|newer| (newer.end(), newer.op == Ask::Get))?;
        let at = newer.end()?;
        if self.is_lost(newer) {
            let (asked, text) = match newer.op {
                Ask::Append(id) => ("append", self.case.show(id)),
                Ask::Put(id) => ("put", self.case.show(id)),
                _ => return None,
            };
            return Some(format!(
                "the {asked} of {text} by {}, acknowledged at {at}, is lost: {}, and nobody ever read {text}",
                self.case.who(newer),
                self.result(call)
            ));
        }
        let since = match self.case.show(seen) {
            _ if !self.case.core.iter().any(|other| self.can_leave(other, seen)) => String::new(),
            _ if seen.is_absent() => ", and nobody had deleted it again".to_owned(),
            old => format!(", and nobody had written {old} again"),
        };
        Some(format!("{}, but {}{since}", self.result(call), self.did(newer, call)))
    }

    /// What was appended stays there as long as nothing replaces the whole string.
    fn lost_append(&self, call: &KvCall, seen: ValueId) -> Option<String> {
        let replaces = |other: &&KvCall| changes(other) && !matches!(other.op, Ask::Append(_));
        let is_missing = |append: &&KvCall| match append.op {
            Ask::Append(id) => {
                let text = self.text(id).unwrap_or_default();
                self.text(seen).is_none_or(|seen| !seen.contains(text))
            }
            _ => false,
        };
        let replacing = || self.case.others(call).filter(replaces);
        let mut appends = self.case.earlier(call).filter(is_missing);
        let append = appends.find(|append| all_over(replacing(), append.start))?;
        let Ask::Append(id) = append.op else { return None };
        Some(format!(
            "the append of {} by {}, acknowledged{}, is lost: {}, and nobody had replaced or deleted anything since",
            self.case.show(id),
            self.case.who(append),
            self.case.at(append),
            self.result(call)
        ))
    }

    /// Two compare-and-sets consumed what was there once.
    fn matched_twice(&self, seen: ValueId) -> Option<String> {
        let consumes = |call: &&KvCall| match call.op {
            Ask::Cas { new, .. } => call.is_certain() && found(call) == Some(seen) && new != seen,
            _ => false,
        };
        let both: Vec<&KvCall> = self.case.core.iter().filter(consumes).collect();
        let makers = self.case.core.iter().filter(|call| self.can_leave(call, seen)).count();
        let once = makers + usize::from(seen.is_absent()) == 1;
        match both[..] {
            [first, second] if once && !self.case.from_any_state => Some(format!(
                "the compare-and-sets of {}{} and of {}{} both found {} and replaced it, although it was there only once",
                self.case.who(first),
                self.case.at(first),
                self.case.who(second),
                self.case.at(second),
                self.case.show(seen)
            )),
            _ => None,
        }
    }

    /// Two gets saw different things at the same time, when nobody was writing either.
    fn disagreement(&self, call: &KvCall, seen: ValueId) -> Option<String> {
        let contradicts = |observer: &&KvCall| {
            let Some(Told::Got(other)) = observer.ret else { return false };
            let makers = self
                .case
                .others(call)
                .filter(|maker| self.can_leave(maker, seen) || self.can_leave(maker, other));
            observer.is_certain() && other != seen && all_over(makers, observer.start.min(call.start))
        };
        let observer = self.case.others(call).find(contradicts)?;
        let (saw, other, seen) =
            (self.did(observer, call), self.case.show(found(observer)?), self.case.show(seen));
        let result = self.result(call);
        Some(format!("{result}, but {saw}, and every write of {other} or {seen} had ended before"))
    }

    /// What was expected was there all the time.
    fn mismatch(&self, call: &KvCall) -> Option<String> {
        let (Ask::Cas { expected, .. }, Some(Told::Swapped(false))) = (call.op, call.ret) else {
            return None;
        };
        let writers = || self.case.others(call).filter(|other| changes(other));
        if expected.is_absent() && writers().next().is_none() && !self.case.from_any_state {
            return Some(format!("{}, but nothing had been written before", self.result(call)));
        }
        let leaves_it = |other: &&KvCall| leaves(other) == Some(expected);
        let newest = self.case.earlier(call).filter(leaves_it).max_by_key(|other| other.end())?;
        let others = writers().filter(|other| other.position != newest.position);
        let did = self.did(newest, call);
        all_over(others, newest.start)
            .then(|| format!("{}, but {did}, and nobody had changed it since", self.result(call)))
    }

    /// Whether the key can hold this just after the operation, and did not before.
    fn can_leave(&self, call: &KvCall, seen: ValueId) -> bool {
        match (call.op, self.text(seen)) {
            _ if !changes(call) => false,
            (Ask::Put(id), _) => id == seen,
            (Ask::Cas { new, .. }, _) => new == seen,
            (Ask::Append(id), Some(seen)) => seen.ends_with(self.text(id).unwrap_or_default()),
            (Ask::Delete, text) => text.is_none(),
            _ => false,
        }
    }

    /// Whether the key certainly holds something else just after the operation.
    fn denies(&self, call: &KvCall, seen: ValueId) -> bool {
        match call.op {
            Ask::Append(_) => !self.can_leave(call, seen),
            _ => leaves(call).is_some_and(|left| left != seen),
        }
    }

    /// An acknowledged write of something that no completed operation ever found.
    fn is_lost(&self, call: &KvCall) -> bool {
        let (Ask::Put(id) | Ask::Append(id)) = call.op else { return false };
        let (operations, text) = (self.case.operations, self.text(id).unwrap_or_default());
        let values = operations.values();
        let contains = |seen: ValueId| values.str(seen).is_some_and(|seen| seen.contains(text));
        let mut gets = self.case.completed("get").map(|at| operations.output(at));
        let mut swaps = self.case.completed("cas").filter(|at| operations.output(*at) == ValueId::TRUE);
        let expected = |at: usize| values.list(operations.input(at)).and_then(|pair| pair.first().copied());
        !gets.any(contains) && !swaps.any(|at| expected(at).is_some_and(contains))
    }

    /// What an earlier operation did: `process 2 had put "b", acknowledged at 2.400 s`.
    fn did(&self, call: &KvCall, speaker: &KvCall) -> String {
        let who = self.case.who_else(call, speaker);
        let at = self.case.at(call);
        match call.op {
            Ask::Get => {
                let seen = found(call).map_or_else(String::new, |seen| self.case.show(seen));
                let had = if call.ended_before(speaker.start) { "had already " } else { "" };
                format!("{who} {had}read {seen}{at}")
            }
            Ask::Put(id) => format!("{who} had put {}, acknowledged{at}", self.case.show(id)),
            Ask::Append(id) => format!("{who} had appended {}, acknowledged{at}", self.case.show(id)),
            Ask::Delete => format!("{who} had deleted the key, acknowledged{at}"),
            Ask::Cas { expected, new } => {
                let (expected, new) = (self.case.show(expected), self.case.show(new));
                format!("{who} had replaced {expected} by {new}, acknowledged{at}")
            }
        }
    }

    /// The result that is impossible: `process 3 (via n2) read "a" at 14.203 s`.
    fn result(&self, call: &KvCall) -> String {
        let (who, at) = (self.case.who(call), self.case.at(call));
        match (call.op, call.ret) {
            (Ask::Cas { expected, new }, ret) => {
                let (expected, new) = (self.case.show(expected), self.case.show(new));
                let matched = if ret == Some(Told::Swapped(true)) { "matched" } else { "did not match" };
                format!("the compare-and-set of {who} from {expected} to {new} {matched}{at}")
            }
            _ => format!("{who} read {}{at}", self.case.show(found(call).unwrap_or(ValueId::ABSENT))),
        }
    }

    fn text(&self, id: ValueId) -> Option<&str> {
        self.case.operations.values().str(id)
    }
}
