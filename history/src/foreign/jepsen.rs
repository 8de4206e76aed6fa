//! From records, as Jepsen's family of formats has them, to events, as this crate means them.
//!
//! Gives every event index and time, splits `[key value]` tuples, and tells what a completion observed. The rules, and
//! why they only ever weaken, are in the documentation of [`super`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::edn_atom::key_text;
use super::record::{Marks, Record};
use crate::{Event, EventKind, Nanos, Process};

/// Functions whose completion observes nothing, or something other than their argument: a completion that repeats the
/// argument is an echo.
const ECHOING: [&str; 10] =
    ["write", "put", "append", "delete", "add", "remove", "enqueue", "push", "acquire", "release"];

/// Functions that are invoked without an argument.
const WITHOUT_ARGUMENT: [&str; 5] = ["read", "dequeue", "pop", "acquire", "release"];

/// An operation that is not complete.
#[derive(Debug)]
struct Open {
    key: Option<String>,
    /// The argument, where a completion may repeat it.
    argument: Option<Value>,
}

/// What the first record says about all others.
#[derive(Debug, Clone, Copy)]
struct Axis {
    has_times: bool,
    has_indices: bool,
}

/// Turns records into events.
#[derive(Debug)]
pub(super) struct Interpreter {
    independent: bool,
    axis: Option<Axis>,
    last_time: u64,
    taken: u64,
    open: BTreeMap<Process, Open>,
}

impl Interpreter {
    /// `independent`: whether every value is a `[key value]` tuple.
    pub(super) fn new(independent: bool) -> Self {
        Self { independent, axis: None, last_time: 0, taken: 0, open: BTreeMap::new() }
    }

    /// The event of the next record.
    pub(super) fn event(&mut self, mut record: Record) -> Result<Event, String> {
        let axis = *self
            .axis
            .get_or_insert(Axis { has_times: record.time.is_some(), has_indices: record.index.is_some() });
        let index = if axis.has_indices {
            record.index.ok_or("the operation has no `index`, although the first one has")?
        } else {
            self.taken
        };
        // An event without a time gets that of the event before it, and so is concurrent with it.
        let time = if axis.has_times { record.time.unwrap_or(0) } else { self.taken };
        self.last_time = self.last_time.max(time);
        self.taken += 1;
        if self.independent {
            self.split(&mut record)?;
        }
        if record.kind == EventKind::Invoke {
            self.invoke(&record)
        } else {
            self.complete(&mut record)
        }
        Ok(Event {
            index,
            time: Nanos(self.last_time),
            kind: record.kind,
            process: record.process,
            node: record.node,
            f: record.f,
            key: record.key,
            value: record.value,
            intended: record.intended,
            is_final: record.is_final,
            error: record.error,
        })
    }

    /// Makes key and value out of `[key value]`. A completion may leave it out, as crashed operations sometimes do.
    fn split(&self, record: &mut Record) -> Result<(), String> {
        let open = self.open.get(&record.process).filter(|_| record.kind != EventKind::Invoke);
        let key = match std::mem::take(&mut record.value) {
            Value::Array(mut pair) if pair.len() == 2 => {
                record.value = pair.pop().unwrap_or_default();
                pair.pop().map(key_text)
            }
            Value::Null if open.is_some() => open.and_then(|open| open.key.clone()),
            _ => return Err("the value must be `[key value]`, as it is in the operations before".into()),
        };
        if let Some(invoked) =
            open.and_then(|open| open.key.as_ref()).filter(|invoked| Some(*invoked) != key.as_ref())
        {
            let (process, key) = (record.process, key.unwrap_or_default());
            return Err(format!(
                "process {process} completes an operation on key {key} although it invoked one on {invoked}"
            ));
        }
        record.key = key;
        Ok(())
    }

    fn invoke(&mut self, record: &Record) {
        let argument = may_echo(&record.f).then(|| record.value.clone());
        self.open.insert(record.process, Open { key: record.key.clone(), argument });
    }

    fn complete(&mut self, record: &mut Record) {
        let argument = self.open.remove(&record.process).and_then(|open| open.argument);
        let value = std::mem::take(&mut record.value);
        (record.kind, record.value) =
            observation(&record.f, record.kind, value, argument.as_ref(), record.marks);
    }
}

/// Whether a completion of `f` may repeat the argument of its invocation.
pub(super) fn may_echo(f: &str) -> bool {
    f == "cas" || ECHOING.contains(&f)
}

/// What a completion says, given what Jepsen writes, and the argument of the invocation where it is known.
pub(super) fn observation(
    f: &str,
    kind: EventKind,
    value: Value,
    argument: Option<&Value>,
    marks: Marks,
) -> (EventKind, Value) {
    if marks.is_mismatch && kind == EventKind::Fail {
        return (EventKind::Ok, false.into());
    }
    if marks.is_observed {
        return (kind, value);
    }
    let is_echo = value.is_null() || argument == Some(&value);
    match (f, kind) {
        ("cas", EventKind::Ok) if is_echo => (kind, true.into()),
        _ if is_echo && may_echo(f) => (kind, Value::Null),
        _ => (kind, value),
    }
}

/// Whether an invocation shows that all values are, or are not, `[key value]` tuples; `None` when it could be either.
pub(super) fn shows_independence(record: &Record) -> Option<bool> {
    if let Some(independent) = record.marks.independent {
        return Some(independent);
    }
    if record.key.is_some() {
        return Some(false);
    }
    if record.kind != EventKind::Invoke {
        return None;
    }
    let Some([first, second]) = record.value.as_array().map(Vec::as_slice) else { return Some(false) };
    match record.f.as_str() {
        "cas" => {
            let is_pair = second.as_array().is_some_and(|pair| pair.len() == 2);
            match (is_pair, first.is_array()) {
                (false, _) => Some(false),
                (true, false) => Some(true),
                (true, true) => None,
            }
        }
        "txn" => Some(false),
        f if WITHOUT_ARGUMENT.contains(&f) => Some(second.is_null()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::record;
    use super::*;

    fn records(values: &[Value]) -> Vec<Record> {
        values
            .iter()
            .map(|value| record(1, serde_json::from_value(value.clone()).unwrap()).unwrap().unwrap())
            .collect()
    }

    fn events(independent: bool, values: &[Value]) -> Result<Vec<Event>, String> {
        let mut interpreter = Interpreter::new(independent);
        records(values).into_iter().map(|record| interpreter.event(record)).collect()
    }

    fn operation(kind: &str, process: u32, f: &str, value: Value) -> Value {
        json!({"type": kind, "process": process, "f": f, "value": value})
    }

    #[test]
    fn echoes_observe_nothing_and_matched_compare_and_sets_are_true() {
        let events = events(
            false,
            &[
                operation("invoke", 0, "write", json!(3)),
                operation("ok", 0, "write", json!(3)),
                operation("invoke", 0, "cas", json!([3, 4])),
                operation("ok", 0, "cas", json!([3, 4])),
                operation("invoke", 0, "cas", json!([3, 4])),
                operation("fail", 0, "cas", json!([3, 4])),
                operation("invoke", 0, "write", json!(5)),
                operation("ok", 0, "write", json!(17)),
                operation("invoke", 0, "txn", json!([["append", 1, 2]])),
                operation("ok", 0, "txn", json!([["append", 1, 2]])),
            ],
        )
        .unwrap();
        let completed: Vec<_> =
            events.iter().skip(1).step_by(2).map(|event| (event.kind, event.value.clone())).collect();
        assert_eq!(
            completed,
            [
                (EventKind::Ok, Value::Null),
                (EventKind::Ok, json!(true)),
                (EventKind::Fail, Value::Null),
                (EventKind::Ok, json!(17)),
                (EventKind::Ok, json!([["append", 1, 2]])),
            ]
        );
    }

    #[test]
    fn times_never_run_backwards() {
        let at = |process: u32, time: Value| json!({"type": "invoke", "process": process, "f": "read", "time": time});
        let events =
            events(false, &[at(0, json!(5)), at(1, json!(3)), at(2, json!(-1)), at(3, json!(9))]).unwrap();
        let times: Vec<u64> = events.iter().map(|event| event.time.0).collect();
        assert_eq!(times, [5, 5, 5, 9]);
    }

    #[test]
    fn events_are_numbered_when_the_first_has_no_index() {
        let read = |process: u32, index: Value| json!({"type": "invoke", "process": process, "f": "read", "index": index});
        let numbered = events(false, &[read(0, json!(-1)), read(1, json!(7))]).unwrap();
        assert_eq!(
            numbered.iter().map(|event| (event.index, event.time.0)).collect::<Vec<_>>(),
            [(0, 0), (1, 1)]
        );
        let own = events(false, &[read(0, json!(4)), read(1, json!(7))]).unwrap();
        assert_eq!(own[1].index, 7);
        assert!(events(false, &[read(0, json!(4)), read(1, json!(null))]).unwrap_err().contains("index"));
    }

    #[test]
    fn tuples_are_split_into_key_and_value() {
        let events = events(
            true,
            &[
                operation("invoke", 0, "read", json!([7, null])),
                operation("ok", 0, "read", json!([7, 3])),
                operation("invoke", 1, "cas", json!(["a", [1, 2]])),
                operation("info", 1, "cas", json!(null)),
            ],
        )
        .unwrap();
        let split: Vec<_> =
            events.iter().map(|event| (event.key.as_deref().unwrap(), event.value.clone())).collect();
        assert_eq!(split, [("7", json!(null)), ("7", json!(3)), ("a", json!([1, 2])), ("a", json!(null))]);
    }

    #[test]
    fn value_that_is_no_tuple_is_refused_among_tuples() {
        assert!(
            events(true, &[operation("invoke", 0, "write", json!(3))]).unwrap_err().contains("[key value]")
        );
        let other_key =
            [operation("invoke", 0, "read", json!([7, null])), operation("ok", 0, "read", json!([8, 3]))];
        assert!(events(true, &other_key).unwrap_err().contains("key 8"));
    }

    #[test]
    fn telling_invocations_show_independent_keys() {
        let shown =
            |f: &str, value: Value| shows_independence(&records(&[operation("invoke", 0, f, value)])[0]);
        assert_eq!(shown("read", json!([1, null])), Some(true));
        assert_eq!(shown("read", json!(null)), Some(false));
        assert_eq!(shown("cas", json!([1, [2, 3]])), Some(true));
        assert_eq!(shown("cas", json!([2, 3])), Some(false));
        assert_eq!(shown("cas", json!([[0, 1], [2, 3]])), None);
        assert_eq!(shown("write", json!([2, 3])), None);
        assert_eq!(shown("write", json!(3)), Some(false));
        assert_eq!(shown("txn", json!([["r", 1, null], ["r", 2, null]])), Some(false));
    }
}
