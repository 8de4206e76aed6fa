//! A violation in words: one sentence that names processes, nodes and times, then how far any order gets and why it
//! gets no further.

use history::{History, Operation};

use super::object::{Case, Object};
use super::orders::{Orders, Prefix, orders};
use super::partition::Partition;
use super::problem::Call;
use super::shrink::Core;
use crate::Anomaly;
use crate::narration::{count, who};

/// The kind of the anomalies.
const KIND: &str = "nonlinearizable";

/// The most lines about candidates; a core that needs more is not read anyway.
const MAX_CANDIDATE_LINES: usize = 24;

/// Puts a core into words.
pub(super) fn explain<O: Object>(
    object: &O,
    history: &History,
    partition: &Partition<O::Model>,
    core: &Core<O::Model>,
) -> Anomaly {
    let narrator = Narrator { object, operations: &history.operations, core };
    let of_key: Vec<&Operation> =
        history.operations.iter().filter(|operation| operation.key == partition.key).collect();
    let mut calls: Vec<&Call<O::Model>> = core.calls.iter().collect();
    calls.sort_by_key(|call| (call.start, call.position));
    Anomaly {
        id: String::new(),
        kind: KIND.to_owned(),
        explanation: narrator.sentence(partition.key.as_deref(), &of_key),
        operations: calls.iter().map(|call| narrator.recorded(call).index).collect(),
        key: partition.key.clone(),
        details: narrator.details(),
    }
}

struct Narrator<'a, O: Object> {
    object: &'a O,
    operations: &'a [Operation],
    core: &'a Core<O::Model>,
}

impl<O: Object> Narrator<'_, O> {
    fn recorded(&self, call: &Call<O::Model>) -> &Operation {
        &self.operations[call.position]
    }

    fn sentence(&self, key: Option<&str>, of_key: &[&Operation]) -> String {
        let culprit = &self.core.calls[self.core.culprit];
        let case = Case {
            operations: self.operations,
            of_key,
            core: &self.core.calls,
            culprit,
            from_any_state: self.core.from_any_state,
        };
        let place = key.map_or_else(String::new, |key| format!("key {key}: "));
        let headline = self.object.headline(&case).unwrap_or_else(|| self.general(culprit));
        let calls = match self.core.calls.len() {
            1 => "this operation cannot have this result".to_owned(),
            calls => format!("no order of the {calls} operations below explains all results"),
        };
        let past = if self.core.from_any_state { ", whatever happened before them" } else { "" };
        format!("{place}{headline}; {calls}{past}.")
    }

    fn general(&self, culprit: &Call<O::Model>) -> String {
        let operation = self.recorded(culprit);
        let end = culprit.end().map_or_else(String::new, |end| format!(" at {end}"));
        format!(
            "{} completed `{}`{end}, which contradicts the other results",
            who(operation),
            self.object.show_call(culprit)
        )
    }

    fn details(&self) -> Vec<String> {
        match orders(&self.core.calls, &self.core.starts, self.core.culprit) {
            Some(Orders::Stuck(prefix)) => self.stuck(&prefix),
            Some(Orders::Explained) | None => Vec::new(),
        }
    }

    fn stuck(&self, prefix: &Prefix<O::Model>) -> Vec<String> {
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
        let candidates = prefix.candidates.iter().take(MAX_CANDIDATE_LINES);
        lines.extend(candidates.map(|at| self.candidate(*at, &states)));
        lines
    }

    fn candidate(&self, at: usize, states: &str) -> String {
        let call = &self.core.calls[at];
        let what = format!("{}, by {},", self.short(at), who(self.recorded(call)));
        if call.done.is_some() {
            format!("{what} cannot be next: {states}")
        } else {
            format!("{what} may be next, but that makes none of the others possible")
        }
    }

    fn short(&self, at: usize) -> String {
        let call = &self.core.calls[at];
        format!("#{} {}", self.recorded(call).index, self.object.show_call(call))
    }
}
