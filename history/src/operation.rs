//! A history as checkers see it: operations with a beginning and, if anybody knows it, an end.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Event, EventKind, Header, Nanos, NodeId, Operations, Process, ValueId};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened, with what it observed.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows; it may still happen at any time.
    Info,
}

/// One operation of a client. Public fields: a checker may build histories by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The index of the invocation in the recorded file. It names the operation in verdicts and reports.
    pub index: u64,
    /// Whose operation it is.
    pub process: Process,
    /// The node that the client is pinned to.
    pub node: Option<NodeId>,
    /// The function: `read`, `write`, `cas`, `add`, …
    pub f: String,
    /// The key of the independent object.
    pub key: Option<String>,
    /// The argument, `null` when there is none.
    pub input: Value,
    /// What was observed; `null` unless the outcome is `ok`.
    pub output: Value,
    /// When the generator meant it to start.
    pub intended: Nanos,
    /// When it was invoked.
    pub call: Nanos,
    /// When its completion was stamped; `None` when there was none. An `info` completion does *not* bound the effect.
    pub ret: Option<Nanos>,
    /// How it ended. Without a completion it is [`Outcome::Info`].
    pub outcome: Outcome,
    /// Part of the final phase.
    pub is_final: bool,
    /// Why it failed or is unknown.
    pub error: Option<String>,
}

impl Operation {
    /// The end of the operation for the real-time order: `None` when it may take effect for ever.
    pub fn effective_end(&self) -> Option<Nanos> {
        match self.outcome {
            Outcome::Ok | Outcome::Fail => self.ret,
            Outcome::Info => None,
        }
    }
}

/// Operations in the order of their invocations in the file, with the header when there was one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The first line of the file.
    pub header: Option<Header>,
    /// The operations, by ascending index.
    pub operations: Operations,
}

/// Why a sequence of events is not a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A completion of a process that has no open operation.
    #[error("process {0} completes an operation that it never invoked")]
    CompletionWithoutInvoke(Process),
    /// A second invocation while one is open.
    #[error("process {0} invokes an operation while its previous one is still open")]
    OverlappingInvoke(Process),
    /// An operation after one of unknown outcome.
    #[error(
        "process {0} is used again after an operation of unknown outcome (`info`); \
         such a process must never be reused, because its old operation may still take effect"
    )]
    ReusedAfterInfo(Process),
    /// A completion that names another function or key than its invocation.
    #[error("process {0} completes `{2}` although it invoked `{1}`")]
    DifferentFunction(Process, String, String),
    /// Time ran backwards between invocation and completion.
    #[error("process {0} completes at {2} an operation that it invoked later, at {1}")]
    TimeRunsBackwards(Process, Nanos, Nanos),
    /// An index that does not grow.
    #[error("event index {1} follows {0}; indices must grow")]
    IndexNotGrowing(u64, u64),
}

#[derive(Debug, Clone, Copy)]
enum ProcessState {
    Open(usize),
    Idle,
    Retired,
}

/// Pairs events into operations, one event at a time.
#[derive(Debug, Default)]
pub struct Pairing {
    operations: Operations,
    processes: FxHashMap<Process, ProcessState>,
    last_index: Option<u64>,
}

impl Pairing {
    /// Takes the next event of the file; the position of the operation that it completes, if it does.
    ///
    /// # Errors
    /// When the event breaks a rule of histories; nothing is taken then.
    pub fn push(&mut self, event: Event) -> Result<Option<usize>, PairError> {
        if let Some(last) = self.last_index.filter(|last| event.index <= *last) {
            return Err(PairError::IndexNotGrowing(last, event.index));
        }
        let index = event.index;
        let completed = match event.kind {
            EventKind::Invoke => {
                self.invoke(event)?;
                None
            }
            EventKind::Ok => Some(self.complete(event, Outcome::Ok)?),
            EventKind::Fail => Some(self.complete(event, Outcome::Fail)?),
            EventKind::Info => Some(self.complete(event, Outcome::Info)?),
        };
        self.last_index = Some(index);
        Ok(completed)
    }

    /// The operations so far; those without a completion are `info`.
    pub fn finish(self, header: Option<Header>) -> History {
        History { header, operations: self.operations }
    }

    /// The operations so far.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// The positions of operations without a completion, ascending.
    pub fn open(&self) -> Vec<usize> {
        let mut open: Vec<usize> = self
            .processes
            .values()
            .filter_map(|state| match state {
                ProcessState::Open(at) => Some(*at),
                ProcessState::Idle | ProcessState::Retired => None,
            })
            .collect();
        open.sort_unstable();
        open
    }

    /// Forgets every operation that was completed, so that a history can be read that is longer than the memory. What is
    /// open gets new positions, and its values new numbers. Returns what was there before.
    pub fn forget_completed(&mut self) -> Operations {
        let open = self.open();
        let before = std::mem::take(&mut self.operations);
        for (new, old) in open.into_iter().enumerate() {
            let process = before.process(old);
            self.operations.push(&before.get(old));
            self.processes.insert(process, ProcessState::Open(new));
        }
        before
    }

    /// The number of a value.
    pub fn intern(&mut self, value: &Value) -> ValueId {
        self.operations.intern(value)
    }

    fn invoke(&mut self, event: Event) -> Result<(), PairError> {
        match self.processes.get(&event.process) {
            Some(ProcessState::Open(_)) => return Err(PairError::OverlappingInvoke(event.process)),
            Some(ProcessState::Retired) => return Err(PairError::ReusedAfterInfo(event.process)),
            Some(ProcessState::Idle) | None => {}
        }
        self.processes.insert(event.process, ProcessState::Open(self.operations.len()));
        self.operations.push(&Operation {
            index: event.index,
            process: event.process,
            node: event.node,
            f: event.f,
            key: event.key,
            input: event.value,
            output: Value::Null,
            intended: event.intended.unwrap_or(event.time),
            call: event.time,
            ret: None,
            outcome: Outcome::Info,
            is_final: event.is_final,
            error: None,
        });
        Ok(())
    }

    fn complete(&mut self, event: Event, outcome: Outcome) -> Result<usize, PairError> {
        let at = match self.processes.get(&event.process) {
            Some(ProcessState::Open(at)) => *at,
            Some(ProcessState::Retired) => return Err(PairError::ReusedAfterInfo(event.process)),
            Some(ProcessState::Idle) | None => return Err(PairError::CompletionWithoutInvoke(event.process)),
        };
        let function = self.operations.names().get(self.operations.function(at)).unwrap_or_default();
        let key = self.operations.names().get(self.operations.key(at));
        if function != event.f || key != event.key.as_deref() {
            return Err(PairError::DifferentFunction(event.process, function.to_owned(), event.f));
        }
        let call = self.operations.call(at);
        if event.time < call {
            return Err(PairError::TimeRunsBackwards(event.process, call, event.time));
        }
        let output = if outcome == Outcome::Ok { &event.value } else { &Value::Null };
        self.operations.complete(at, event.time, outcome, output, event.error.as_deref());
        let state = if outcome == Outcome::Info { ProcessState::Retired } else { ProcessState::Idle };
        self.processes.insert(event.process, state);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: u64, kind: EventKind, process: u32) -> Event {
        Event {
            index,
            time: Nanos(index * 10),
            kind,
            process: Process(process),
            node: None,
            f: "write".into(),
            key: None,
            value: Value::from(1),
            intended: None,
            is_final: false,
            error: None,
        }
    }

    fn push_all(events: Vec<Event>) -> Result<History, PairError> {
        let mut pairing = Pairing::default();
        for event in events {
            pairing.push(event)?;
        }
        Ok(pairing.finish(None))
    }

    #[test]
    fn invocation_without_completion_is_of_unknown_outcome() {
        let history = push_all(vec![event(0, EventKind::Invoke, 1)]).unwrap();
        assert_eq!(history.operations.outcome(0), Outcome::Info);
        assert_eq!(history.operations.get(0).effective_end(), None);
    }

    #[test]
    fn process_of_unknown_outcome_may_not_be_used_again() {
        let events = vec![
            event(0, EventKind::Invoke, 1),
            event(1, EventKind::Info, 1),
            event(2, EventKind::Invoke, 1),
        ];
        assert_eq!(push_all(events), Err(PairError::ReusedAfterInfo(Process(1))));
    }

    #[test]
    fn late_completion_after_info_is_refused() {
        let events =
            vec![event(0, EventKind::Invoke, 1), event(1, EventKind::Info, 1), event(2, EventKind::Ok, 1)];
        assert_eq!(push_all(events), Err(PairError::ReusedAfterInfo(Process(1))));
    }

    #[test]
    fn completion_without_invocation_is_refused() {
        assert_eq!(
            push_all(vec![event(0, EventKind::Ok, 1)]),
            Err(PairError::CompletionWithoutInvoke(Process(1)))
        );
    }

    #[test]
    fn two_open_operations_of_a_process_are_refused() {
        let events = vec![event(0, EventKind::Invoke, 1), event(1, EventKind::Invoke, 1)];
        assert_eq!(push_all(events), Err(PairError::OverlappingInvoke(Process(1))));
    }

    #[test]
    fn completion_before_its_invocation_is_refused() {
        let mut late = event(1, EventKind::Ok, 1);
        late.time = Nanos(5);
        let mut first = event(0, EventKind::Invoke, 1);
        first.time = Nanos(6);
        assert_eq!(
            push_all(vec![first, late]),
            Err(PairError::TimeRunsBackwards(Process(1), Nanos(6), Nanos(5)))
        );
    }

    #[test]
    fn failed_operation_observes_nothing() {
        let history = push_all(vec![event(0, EventKind::Invoke, 1), event(1, EventKind::Fail, 1)]).unwrap();
        assert_eq!(history.operations.get(0).output, Value::Null);
        assert_eq!(history.operations.ret(0), Some(Nanos(10)));
    }

    #[test]
    fn what_was_completed_can_be_forgotten_while_the_rest_goes_on() {
        let mut pairing = Pairing::default();
        for (index, kind, process) in [
            (0, EventKind::Invoke, 1),
            (1, EventKind::Invoke, 2),
            (2, EventKind::Invoke, 3),
            (3, EventKind::Info, 3),
            (4, EventKind::Ok, 1),
        ] {
            pairing.push(event(index, kind, process)).unwrap();
        }
        assert_eq!(pairing.open(), vec![1]);
        let before = pairing.forget_completed();
        assert_eq!((before.len(), pairing.operations().len(), pairing.open()), (3, 1, vec![0]));
        assert_eq!(pairing.push(event(5, EventKind::Ok, 2)), Ok(Some(0)));
        assert_eq!(pairing.operations().get(0).ret, Some(Nanos(50)));
        assert_eq!(
            pairing.push(event(6, EventKind::Invoke, 3)),
            Err(PairError::ReusedAfterInfo(Process(3))),
            "who was retired stays so"
        );
    }

    #[test]
    fn indices_must_grow() {
        let events = vec![event(4, EventKind::Invoke, 1), event(4, EventKind::Invoke, 2)];
        assert_eq!(push_all(events), Err(PairError::IndexNotGrowing(4, 4)));
    }
}
