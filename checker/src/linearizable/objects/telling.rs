//! What the headlines of all objects are made of: who, when, and what had certainly happened before.
//!
//! A headline accuses one operation and names the few others that make its result impossible. It is said only when those
//! operations prove it, whatever else is in the history. So the functions here speak about operations that are certain, and
//! about every recorded operation of the key where a sentence says "nobody".

use history::{Nanos, Outcome, ValueId};

use super::super::object::{CallOf, Case, Object};
use crate::narration::{deed, show_value, who};

/// Verbs for what makes a value appear.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verb {
    /// As in "nobody ever wrote it".
    pub past: &'static str,
    /// As in "it was never written".
    pub participle: &'static str,
}

impl Verb {
    /// A verb whose two forms are the same.
    pub(super) const fn regular(past: &'static str) -> Self {
        Self { past, participle: past }
    }
}

/// The most operations among which pairs that contradict each other are looked for.
const MAX_COMPARED: usize = 300;

impl<O: Object + ?Sized> Case<'_, O> {
    /// The value as people read it.
    pub(super) fn show(&self, value: ValueId) -> String {
        show_value(self.operations.values(), value)
    }

    /// When it completed: ` at 14.203 s`.
    pub(super) fn at(&self, call: &CallOf<O>) -> String {
        call.end().map_or_else(String::new, |end| format!(" at {end}"))
    }

    /// Who did it, after a sentence about `speaker`: `it` when it is the same process.
    pub(super) fn who_else(&self, call: &CallOf<O>, speaker: &CallOf<O>) -> String {
        let process = |call: &CallOf<O>| self.operations.get(call.position as usize).process;
        if process(call) == process(speaker) { "it".to_owned() } else { self.who(call) }
    }

    /// The completed operations, the culprit first and then the latest first.
    pub(super) fn accused(&self) -> impl Iterator<Item = &CallOf<O>> {
        let mut calls: Vec<&CallOf<O>> = self.core.iter().filter(|call| call.is_certain()).collect();
        let is_other = |call: &CallOf<O>| call.position != self.culprit.position;
        calls.sort_by_key(|call| (is_other(call), std::cmp::Reverse((call.end(), call.position))));
        calls.truncate(MAX_COMPARED);
        calls.into_iter()
    }

    /// The operations of the core besides one.
    pub(super) fn others(&self, call: &CallOf<O>) -> impl Iterator<Item = &CallOf<O>> {
        let position = call.position;
        self.core.iter().filter(move |other| other.position != position)
    }

    /// Those that had certainly happened before an operation was invoked.
    pub(super) fn earlier(&self, call: &CallOf<O>) -> impl Iterator<Item = &CallOf<O>> {
        let start = call.start;
        self.core.iter().filter(move |other| other.ended_before(start))
    }

    /// The positions of the recorded operations of the key that call a function and may have happened.
    pub(super) fn recorded(&self, function: &str) -> impl Iterator<Item = usize> {
        let called = self.operations.names().find(function);
        let positions = self.of_key.iter().map(|at| *at as usize);
        positions.filter(move |at| {
            Some(self.operations.function(*at)) == called && self.operations.outcome(*at) != Outcome::Fail
        })
    }

    /// The same, and they certainly have happened.
    pub(super) fn completed(&self, function: &str) -> impl Iterator<Item = usize> {
        self.recorded(function).filter(|at| self.operations.outcome(*at) == Outcome::Ok)
    }

    /// Why a value cannot have been there by `end`, when no recorded operation that `makes` it can have taken effect by
    /// then.
    pub(super) fn never(
        &self,
        end: Nanos,
        shown: &str,
        verb: Verb,
        makes: impl Fn(usize) -> bool,
    ) -> Option<String> {
        let makers = || self.of_key.iter().map(|at| *at as usize).filter(|at| makes(*at));
        let is_failed = |at: &usize| self.operations.outcome(*at) == Outcome::Fail;
        let who = |at: usize| who(&self.operations.get(at));
        let first = makers().filter(|at| !is_failed(at)).min_by_key(|at| self.operations.call(*at));
        if let Some(first) = first {
            let call = self.operations.call(first);
            let (who, deed) = (who(first), deed(super::function(self.operations, first)));
            let later =
                format!("but {shown} was {} only later: {who} invoked the {deed} at {call}", verb.participle);
            return (call > end).then_some(later);
        }
        Some(match makers().next() {
            Some(failed) => {
                let (who, call) = (who(failed), self.operations.call(failed));
                format!(
                    "but {shown} was never {}: {who} tried to at {call} and definitely failed",
                    verb.participle
                )
            }
            None => format!("but nobody ever {} {shown}", verb.past),
        })
    }
}

/// Whether none of the calls can have taken effect at `since` or later.
pub(super) fn all_over<'c, P: 'c, R: 'c>(
    mut calls: impl Iterator<Item = &'c super::super::calls::Call<P, R>>,
    since: Nanos,
) -> bool {
    calls.all(|call| call.ended_before(since))
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{number} times"),
    }
}
