//! The seam between recorded operations and models: an object says what an operation means, which operations may be
//! left out without inventing a violation, and how to talk about all of it.

use history::Operation;
use serde_json::Value;

use super::problem::Call;
use crate::CheckError;
use crate::model::Model;
use crate::model::values::shorten;

/// An object whose histories can be judged.
pub(crate) trait Object {
    /// Its sequential specification.
    type Model: Model;

    /// The state at the beginning.
    fn initial(&self) -> Self::Model;

    /// What an operation asks and, when its outcome is `ok`, what it observed.
    fn translate(&mut self, operation: &Operation) -> Result<Step<Self::Model>, CheckError>;

    /// Leaves out what cannot matter, and gives operations of unknown outcome the end that follows from the results of
    /// others. From `start`, the history that remains must be linearizable exactly when the given one is.
    fn simplify(&self, _calls: &mut Vec<Call<Self::Model>>, _start: &Self::Model) {}

    /// Decides simplified calls without a search, where the object has a way to; `None` when it does not apply.
    fn shortcut(&self, _calls: &[Call<Self::Model>]) -> Option<Shortcut> {
        None
    }

    /// For every call, whether leaving it out can only make the rest easier to explain.
    fn removable(&self, calls: &[Call<Self::Model>]) -> Vec<bool>;

    /// The states that have to be tried when nothing is known about what came before these calls.
    fn any_start(&self, calls: &[Call<Self::Model>]) -> Vec<Self::Model>;

    /// The states in words, such as `the register holds 3 or 5`.
    fn show_states(&self, states: &[Self::Model]) -> String;

    /// The operation and its result, such as `read 3`.
    fn show_call(&self, call: &Call<Self::Model>) -> String;

    /// What happened in plain words when the case is a typical one.
    fn headline(&self, case: &Case<'_, Self::Model>) -> Option<String>;
}

/// What a shortcut found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortcut {
    /// Some order explains every result.
    Legal,
    /// No order does, not even of the operations at these positions of the history.
    Illegal(Vec<usize>),
}

/// What an operation asks and what it observed; `ret` is `None` when that is unknown.
pub(crate) struct Step<M: Model> {
    pub op: M::Op,
    pub ret: Option<M::Ret>,
}

/// A violation as the narrator sees it.
pub(crate) struct Case<'a, M: Model> {
    /// The history, for processes, nodes and times.
    pub operations: &'a [Operation],
    /// Every operation on the key, also those that failed.
    pub of_key: &'a [&'a Operation],
    /// Operations that no order explains, by the times of their calls.
    pub core: &'a [Call<M>],
    /// The one whose return nothing survives.
    pub culprit: &'a Call<M>,
    /// Whether the core is illegal from every state, so that what came before was left out.
    pub from_any_state: bool,
}

impl<M: Model> Case<'_, M> {
    /// The recorded operation of a call.
    pub(crate) fn recorded(&self, call: &Call<M>) -> &Operation {
        &self.operations[call.position]
    }

    /// The process and the node it talks to: `process 3 (via n2)`.
    pub(crate) fn who(&self, call: &Call<M>) -> String {
        crate::narration::who(self.recorded(call))
    }
}

/// An argument that is not what the function takes.
pub(crate) fn malformed_input(operation: &Operation, expected: &'static str) -> CheckError {
    CheckError::MalformedInput {
        index: operation.index,
        function: operation.f.clone(),
        expected,
        found: found(&operation.input),
    }
}

/// An observation that the function cannot make.
pub(crate) fn malformed_output(operation: &Operation, expected: &'static str) -> CheckError {
    CheckError::MalformedOutput {
        index: operation.index,
        function: operation.f.clone(),
        expected,
        found: found(&operation.output),
    }
}

fn found(value: &Value) -> String {
    format!("`{}`", shorten(value))
}
