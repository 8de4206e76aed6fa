//! A violation in words: one sentence that names processes, nodes and times, then how far any order gets and why it
//! gets no further.

use history::{Operation, Operations};

use super::object::{CallOf, Case, Object};
use super::orders::{Orders, Prefix, orders};
use super::partition::Partition;
use super::shrink::Core;
use crate::Anomaly;
use crate::narration::{count, who};

/// The kind of the anomalies.
pub(super) const KIND: &str = "nonlinearizable";

/// The most operations that are listed. Repeated values with many unknown outcomes have violations that only the whole
/// history of a key proves; then the last operations stand for it.
const MAX_LISTED: usize = 24;

/// The most operations among which a typical case is looked for, which compares all with all.
const MAX_COMPARED: usize = 1 << 14;

/// Puts a core into words.
pub(super) fn explain<O: Object>(
    object: &O,
    operations: &Operations,
    partition: &Partition,
    core: &Core<O>,
) -> Anomaly {
    let narrator = Narrator { object, operations, core };
    let key = partition.key(operations);
    let mut calls: Vec<&CallOf<O>> = core.calls.iter().collect();
    calls.sort_by_key(|call| (call.start, call.position));
    let listed = &calls[calls.len().saturating_sub(MAX_LISTED)..];
    Anomaly {
        id: String::new(),
        kind: KIND.to_owned(),
        explanation: narrator.sentence(key, &partition.positions),
        operations: listed.iter().map(|call| operations.index(call.position as usize)).collect(),
        key: key.map(str::to_owned),
        details: narrator.details(),
    }
}

struct Narrator<'a, O: Object> {
    object: &'a O,
    operations: &'a Operations,
    core: &'a Core<O>,
}

impl<O: Object> Narrator<'_, O> {
    fn recorded(&self, call: &CallOf<O>) -> Operation {
        self.operations.get(call.position as usize)
    }

    fn sentence(&self, key: Option<&str>, of_key: &[u32]) -> String {
        let culprit = &self.core.calls[self.core.culprit];
        let case = Case {
            operations: self.operations,
            of_key,
            core: &self.core.calls,
            culprit,
            from_any_state: self.core.from_any_state,
        };
        let place = key.map_or_else(String::new, |key| format!("key {key}: "));
        let headline = (self.core.calls.len() <= MAX_COMPARED).then(|| self.object.headline(&case)).flatten();
        let headline = headline.unwrap_or_else(|| self.general(culprit));
        let calls = match self.core.calls.len() {
            1 => "this operation cannot have this result".to_owned(),
            calls if calls <= MAX_LISTED => {
                format!("no order of the {calls} operations below explains all results")
            }
            calls => format!(
                "no order of the {calls} operations up to then, of which the last {MAX_LISTED} are below, explains all \
                 results"
            ),
        };
        let past = if self.core.from_any_state { ", whatever happened before them" } else { "" };
        format!("{place}{headline}; {calls}{past}.")
    }

    fn general(&self, culprit: &CallOf<O>) -> String {
        let operation = self.recorded(culprit);
        let end = culprit.end().map_or_else(String::new, |end| format!(" at {end}"));
        format!(
            "{} completed `{}`{end}, which contradicts the other results",
            who(&operation),
            self.object.show_call(culprit)
        )
    }

    fn details(&self) -> Vec<String> {
        if self.core.calls.len() > MAX_LISTED {
            return Vec::new();
        }
        match orders(self.object, &self.core.calls, &self.core.starts, self.core.culprit) {
            Some(Orders::Stuck(prefix)) => self.stuck(&prefix),
            Some(Orders::Explained) | None => Vec::new(),
        }
    }

    fn stuck(&self, prefix: &Prefix<O::State>) -> Vec<String> {
        let total = count(self.core.calls.len(), "operation");
        let states = self.object.show_states(&prefix.states);
        let mut lines = if prefix.order.is_empty() {
            vec![format!("longest legal prefix: empty, 0 of {total}"), format!("at first {states}")]
        } else {
            let steps: Vec<String> = prefix.order.iter().map(|at| self.short(*at)).collect();
            let steps = steps.join(", then ");
            vec![
                format!("longest legal prefix, {} of {total}: {steps}", prefix.order.len()),
                format!("then {states}"),
            ]
        };
        let candidates = prefix.candidates.iter().take(MAX_LISTED);
        lines.extend(candidates.map(|at| self.candidate(prefix, *at, &states)));
        lines
    }

    fn candidate(&self, prefix: &Prefix<O::State>, at: usize, states: &str) -> String {
        let call = &self.core.calls[at];
        let what = format!("{}, by {},", self.short(at), who(&self.recorded(call)));
        if prefix.states.iter().any(|state| self.object.step(state, &call.op, call.ret.as_ref()).is_some()) {
            format!("{what} may be next, but that makes none of the others possible")
        } else {
            let place = if prefix.order.is_empty() { "first" } else { "next" };
            format!("{what} cannot be {place}: {states}")
        }
    }

    fn short(&self, at: usize) -> String {
        let call = &self.core.calls[at];
        format!("#{} {}", self.recorded(call).index, self.object.show_call(call))
    }
}
