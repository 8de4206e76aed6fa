//! One operation map of Jepsen's family of formats, checked field by field.
//!
//! EDN and JSON agree once keywords are strings: `{:type :ok, :f :read}` and `{"type":"ok","f":"read"}` give the same
//! [`Record`]. Fields that are not listed in it are ignored: Jepsen lets every test add its own.

use serde::Deserialize;
use serde_json::Value;

use super::edn::Entries;
use super::edn_atom::{key_text, shortened};
use crate::{EventKind, Nanos, NodeId, Process};

/// A client's event as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) index: Option<u64>,
    pub(super) time: Option<u64>,
    pub(super) kind: EventKind,
    pub(super) process: Process,
    pub(super) f: String,
    pub(super) key: Option<String>,
    pub(super) value: Value,
    pub(super) error: Option<String>,
    pub(super) node: Option<NodeId>,
    pub(super) intended: Option<Nanos>,
    pub(super) is_final: bool,
    pub(super) marks: Marks,
}

/// What our own export adds to Jepsen's fields, so that nothing is lost on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    /// A `fail` that is an observed mismatch.
    pub(super) is_mismatch: bool,
    /// The value is what was observed, whatever it looks like.
    pub(super) is_observed: bool,
    /// Whether all values of the file are `[key value]`; on the first event.
    pub(super) independent: Option<bool>,
}

/// The fields of an operation map that mean something here, unchecked; `null` where one is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    process: Value,
    #[serde(rename = "type")]
    kind: Value,
    f: Value,
    value: Value,
    index: Value,
    time: Value,
    key: Value,
    error: Value,
    node: Value,
    #[serde(rename = "final?")]
    is_final: Value,
    intended: Value,
    mismatch: Value,
    observed: Value,
    independent: Value,
}

impl Fields {
    /// The fields among the entries of a map.
    pub(super) fn of(entries: Entries) -> Result<Self, String> {
        let mut fields = Self::default();
        for (name, value) in entries {
            match fields.field(&name) {
                Some(field) if field.is_null() => *field = value,
                Some(_) => return Err(format!("the operation has `{name}` twice")),
                None => {}
            }
        }
        Ok(fields)
    }

    /// The place of a field, if it means something.
    fn field(&mut self, name: &str) -> Option<&mut Value> {
        Some(match name {
            "process" => &mut self.process,
            "type" => &mut self.kind,
            "f" => &mut self.f,
            "value" => &mut self.value,
            "index" => &mut self.index,
            "time" => &mut self.time,
            "key" => &mut self.key,
            "error" => &mut self.error,
            "node" => &mut self.node,
            "final?" => &mut self.is_final,
            "intended" => &mut self.intended,
            "mismatch" => &mut self.mismatch,
            "observed" => &mut self.observed,
            "independent" => &mut self.independent,
            _ => return None,
        })
    }
}

/// The record of an operation map; `None` when it is not a client's.
pub(super) fn record(line: u64, fields: Fields) -> Result<Option<Record>, String> {
    let Some(process) = process(fields.process)? else { return Ok(None) };
    Ok(Some(Record {
        line,
        index: natural("index", &fields.index)?,
        time: natural("time", &fields.time)?,
        kind: kind(fields.kind)?,
        process,
        f: function(fields.f, &fields.value)?,
        key: text(fields.key),
        value: fields.value,
        error: text(fields.error),
        node: text(fields.node).map(NodeId),
        intended: natural("intended", &fields.intended)?.map(Nanos),
        is_final: fields.is_final == Value::Bool(true),
        marks: Marks {
            is_mismatch: fields.mismatch == Value::Bool(true),
            is_observed: fields.observed == Value::Bool(true),
            independent: fields.independent.as_bool(),
        },
    }))
}

/// The id of a client, or `None` for the nemesis and its like, which have a name instead of a number.
fn process(value: Value) -> Result<Option<Process>, String> {
    match value {
        Value::Number(number) => {
            let id = number.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| format!("process {number} is not a number from 0 to {}", u32::MAX))?;
            Ok(Some(Process(id)))
        }
        // A client whose number was written as a string must not be taken for a nemesis and skipped.
        Value::String(name) if !name.is_empty() && !name.contains(|c: char| c.is_ascii_digit()) => Ok(None),
        Value::Null => Err("the operation has no `process`".into()),
        other => Err(format!("process `{}` is not a number", shortened(&other.to_string()))),
    }
}

/// Reads `invoke`, `ok`, `fail` or `info`.
pub(super) fn kind(value: Value) -> Result<EventKind, String> {
    match value.as_str() {
        Some("invoke") => Ok(EventKind::Invoke),
        Some("ok") => Ok(EventKind::Ok),
        Some("fail") => Ok(EventKind::Fail),
        Some("info") => Ok(EventKind::Info),
        _ => Err(format!("type `{}` is none of invoke, ok, fail, info", shortened(&key_text(value)))),
    }
}

/// The function. Elle lets transactions go without: then the value is a list of `[function key value]`.
fn function(f: Value, value: &Value) -> Result<String, String> {
    let is_transaction = |value: &Value| {
        let steps = value.as_array().filter(|steps| !steps.is_empty());
        steps.is_some_and(|steps| steps.iter().all(|step| step.get(0).is_some_and(Value::is_string)))
    };
    match f {
        Value::String(name) => Ok(name),
        Value::Null if is_transaction(value) => Ok("txn".into()),
        Value::Null => Err("the operation has no function `f`".into()),
        other => Err(format!("function `{}` is not a name", shortened(&other.to_string()))),
    }
}

fn text(value: Value) -> Option<String> {
    (!value.is_null()).then(|| key_text(value))
}

/// A whole number from 0; Jepsen writes -1 where there is none.
fn natural(name: &str, value: &Value) -> Result<Option<u64>, String> {
    if value.is_null() || value.as_i64() == Some(-1) {
        return Ok(None);
    }
    let refuse = || format!("{name} `{}` is not a whole number from 0", shortened(&value.to_string()));
    value.as_u64().map(Some).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record_of(value: Value) -> Result<Option<Record>, String> {
        record(8, serde_json::from_value(value).unwrap())
    }

    fn reason(value: Value) -> String {
        record_of(value).unwrap_err()
    }

    #[test]
    fn fields_are_taken_over() {
        let value = json!({"index": 4, "time": 9, "type": "info", "process": 3, "f": "write", "value": [1, 2],
            "error": ["timeout", 5], "node": "n1", "op-index": 7, "final?": true});
        let record = record_of(value).unwrap().unwrap();
        assert_eq!((record.line, record.index, record.time), (8, Some(4), Some(9)));
        assert_eq!((record.kind, record.process, record.f.as_str()), (EventKind::Info, Process(3), "write"));
        assert_eq!((record.key, record.value), (None, json!([1, 2])));
        assert_eq!(record.error.as_deref(), Some("[\"timeout\",5]"));
        assert_eq!((record.node, record.is_final), (Some(NodeId("n1".into())), true));
    }

    #[test]
    fn operations_of_the_nemesis_are_not_records() {
        assert_eq!(record_of(json!({"process": "nemesis", "type": "info", "f": "start"})), Ok(None));
    }

    #[test]
    fn processes_are_numbers_of_32_bits() {
        for process in [
            json!(-1),
            json!(4_294_967_296_u64),
            json!(1.5),
            json!("3"),
            json!("client-3"),
            json!(null),
            json!([]),
        ] {
            let message = reason(json!({"process": process, "type": "ok", "f": "read"}));
            assert!(message.contains("process"), "{message}");
        }
    }

    #[test]
    fn transactions_may_go_without_function() {
        let steps = json!([["append", 1, 2], ["r", 1, null]]);
        let record = record_of(json!({"process": 0, "type": "invoke", "value": steps})).unwrap().unwrap();
        assert_eq!(record.f, "txn");
        assert!(reason(json!({"process": 0, "type": "invoke", "value": [1, 2]})).contains("no function"));
    }

    #[test]
    fn missing_time_is_written_as_minus_one() {
        let found = record_of(json!({"process": 0, "type": "ok", "f": "read", "time": -1})).unwrap().unwrap();
        assert_eq!(found.time, None);
        assert!(reason(json!({"process": 0, "type": "ok", "f": "read", "time": -2})).contains("time"));
        assert!(reason(json!({"process": 0, "type": "ok", "f": "read", "time": 0.5})).contains("time"));
    }

    #[test]
    fn unknown_types_are_refused() {
        assert!(reason(json!({"process": 0, "type": "maybe", "f": "read"})).contains("`maybe`"));
    }

    #[test]
    fn every_field_has_its_place() {
        let mut fields = Fields::default();
        let names =
            ["process", "type", "f", "value", "index", "time", "key", "error", "node", "final?", "intended"];
        for name in names.into_iter().chain(["mismatch", "observed", "independent"]) {
            let object = json!({name: 1});
            let mut expected: Fields = serde_json::from_value(object).unwrap();
            *fields.field(name).unwrap() = json!(1);
            assert_eq!(fields.field(name), expected.field(name), "{name}");
        }
        assert_eq!(fields.field("op-index"), None);
    }
}
