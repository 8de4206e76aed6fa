//! The seam between recorded operations and the search: an object says what an operation means, what it does to a state,
//! which operations may be left out without inventing a violation, and how to talk about all of it.

use std::fmt::Debug;
use std::hash::Hash;

use history::{Operation, Operations, ValueId};

use super::calls::Call;
use crate::CheckError;
use crate::model::Effect;
use crate::narration::shorten;

/// An object whose histories can be judged. It borrows the history, so that translating is cheap and can be repeated.
pub(crate) trait Object: Sync {
    /// What the object remembers.
    type State: Clone + Eq + Hash + Debug + Send + Sync;
    /// What a client asks.
    type Op: Clone + Eq + Hash + Debug + Send + Sync;
    /// What a client observes.
    type Ret: Clone + Eq + Hash + Debug + Send + Sync;

    /// What it holds beside the history that it borrows, in bytes.
    fn bytes(&self) -> u64 {
        0
    }

    /// The state at the beginning.
    fn initial(&self) -> Self::State;

    /// The state after an operation; `None` when it cannot have this result here. An unknown result is always possible.
    fn step(&self, state: &Self::State, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<Self::State>;

    /// What an operation with this result does wherever it is possible; [`Effect::General`] is always sound.
    fn effect(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Effect;

    /// What an operation asks and, when its outcome is `ok`, what it observed.
    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError>;

    /// The part of its key that the operation is about, where the object of a key falls into independent parts.
    fn part(&self, _operations: &Operations, _at: usize) -> ValueId {
        ValueId::ABSENT
    }

    /// Leaves out what cannot matter, and gives operations of unknown outcome the end that follows from the results of
    /// others. From `start`, the history that remains must be linearizable exactly when the given one is.
    fn simplify(&self, _calls: &mut Vec<CallOf<Self>>, _start: &Self::State) {}

    /// Decides simplified calls without a search, where the object has a way to; `None` when it does not apply.
    ///
    /// One that takes more than linear time asks now and then whether it is still in time, and gives up when it is not.
    fn shortcut(&self, _calls: &[CallOf<Self>], _in_time: &mut InTime<'_>) -> Option<ShortcutOf<Self>> {
        None
    }

    /// For every call, whether leaving it out can only make the rest easier to explain: from the state at the beginning,
    /// and from those of [`Self::any_start`].
    fn removable(&self, calls: &[CallOf<Self>]) -> Vec<Removal> {
        let is_pure = |call: &CallOf<Self>| self.effect(&call.op, call.ret.as_ref()) == Effect::Pure;
        calls.iter().map(|call| if is_pure(call) { Removal::Alone } else { Removal::Kept }).collect()
    }

    /// The states that have to be tried when nothing is known about what came before these calls; empty when there are
    /// too many to try.
    fn any_start(&self, _calls: &[CallOf<Self>]) -> Vec<Self::State> {
        Vec::new()
    }

    /// The states in words, such as `the register holds 3 or 5`.
    fn show_states(&self, states: &[Self::State]) -> String;

    /// The operation and its result, such as `read 3`.
    fn show_call(&self, call: &CallOf<Self>) -> String;

    /// What happened in plain words when the case is a typical one.
    fn headline(&self, _case: &Case<'_, Self>) -> Option<String> {
        None
    }
}

/// Whether there is time left.
pub(crate) type InTime<'a> = dyn FnMut() -> bool + 'a;

/// A call of an object.
pub(crate) type CallOf<O> = Call<<O as Object>::Op, <O as Object>::Ret>;

/// Whether a call may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Removal {
    /// The others may depend on it.
    Kept,
    /// Without it, the others are only easier to explain.
    Alone,
    /// The same together with all others of the same number.
    Together(u32),
}

/// What a shortcut found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortcut<P, R> {
    /// Some order explains every result.
    Legal,
    /// No order does, not even of these calls. They are the given ones or relaxations of them: some may be left out, or
    /// made to say less, in ways that never turn a linearizable history into another.
    Illegal(Vec<Call<P, R>>),
}

/// What a shortcut of an object found.
pub(crate) type ShortcutOf<O> = Shortcut<<O as Object>::Op, <O as Object>::Ret>;

impl<P, R> Shortcut<P, R> {
    /// The same finding about other calls.
    pub(crate) fn map<Q, S>(
        self,
        translate: impl FnOnce(Vec<Call<P, R>>) -> Vec<Call<Q, S>>,
    ) -> Shortcut<Q, S> {
        match self {
            Self::Legal => Shortcut::Legal,
            Self::Illegal(calls) => Shortcut::Illegal(translate(calls)),
        }
    }
}

impl<P: Clone, R: Clone> Shortcut<P, R> {
    /// The calls at some positions of the history prove it.
    pub(crate) fn illegal(calls: &[Call<P, R>], positions: &[u32]) -> Self {
        let is_meant = |call: &&Call<P, R>| positions.contains(&call.position);
        Self::Illegal(calls.iter().filter(is_meant).cloned().collect())
    }
}

/// What an operation asks and what it observed; `ret` is `None` when that is unknown.
pub(crate) struct Step<O: Object + ?Sized> {
    pub op: O::Op,
    pub ret: Option<O::Ret>,
}

/// A violation as the narrator sees it.
pub(crate) struct Case<'a, O: Object + ?Sized> {
    /// The history, for processes, nodes and times.
    pub operations: &'a Operations,
    /// The positions of every operation on the key, also of those that failed.
    pub of_key: &'a [u32],
    /// Operations that no order explains, by the times of their calls.
    pub core: &'a [CallOf<O>],
    /// The one whose return nothing survives.
    pub culprit: &'a CallOf<O>,
    /// Whether the core is illegal from every state, so that what came before was left out.
    pub from_any_state: bool,
}

impl<O: Object + ?Sized> Case<'_, O> {
    /// The process and the node it talks to: `process 3 (via n2)`.
    pub(crate) fn who(&self, call: &CallOf<O>) -> String {
        crate::narration::who(&self.operations.get(call.position as usize))
    }

    /// Every recorded operation on the key.
    pub(crate) fn recorded_of_key(&self) -> impl Iterator<Item = Operation> + Clone + '_ {
        self.of_key.iter().map(|at| self.operations.get(*at as usize))
    }
}

/// An argument that is not what the function takes.
pub(crate) fn malformed_input(operations: &Operations, at: usize, expected: &'static str) -> CheckError {
    CheckError::MalformedInput {
        index: operations.index(at),
        function: function(operations, at),
        expected,
        found: found(operations, operations.input(at)),
    }
}

/// An observation that the function cannot make.
pub(crate) fn malformed_output(operations: &Operations, at: usize, expected: &'static str) -> CheckError {
    CheckError::MalformedOutput {
        index: operations.index(at),
        function: function(operations, at),
        expected,
        found: found(operations, operations.output(at)),
    }
}

/// A function that the object does not have.
pub(crate) fn unknown_function(
    operations: &Operations,
    at: usize,
    object: &'static str,
    known: &'static str,
) -> CheckError {
    CheckError::UnknownFunction {
        index: operations.index(at),
        object,
        function: function(operations, at),
        known,
    }
}

fn function(operations: &Operations, at: usize) -> String {
    operations.names().get(operations.function(at)).unwrap_or_default().to_owned()
}

fn found(operations: &Operations, value: ValueId) -> String {
    format!("`{}`", shorten(&operations.values().get(value).unwrap_or_default()))
}
