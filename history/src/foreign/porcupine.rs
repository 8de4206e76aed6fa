//! The key-value logs that Porcupine ships, where an absent key is the empty string.
//!
//! A `get` of `""` becomes `null` and a `put` of `""` becomes `delete`. An `append` of `""` would make an
//! absent key present in our model and leave it absent in theirs; it is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::record::Record;
use crate::{EventKind, Process};

/// The functions of this format.
pub(super) const FUNCTIONS: [&str; 3] = ["get", "put", "append"];

/// Rewrites records so that absence is `null`.
#[derive(Debug, Default)]
pub(super) struct Absence {
    /// Whose open operation is a `put` that became a `delete`.
    deleting: BTreeSet<Process>,
}

impl Absence {
    pub(super) fn rewrite(&mut self, record: &mut Record) -> Result<(), String> {
        if !FUNCTIONS.contains(&record.f.as_str()) {
            return Err(format!("function `{}` is none of {}", record.f, FUNCTIONS.join(", ")));
        }
        if record.key.is_none() {
            return Err("the operation has no `key`".into());
        }
        let is_empty = record.value.as_str() == Some("");
        match (record.f.as_str(), record.kind) {
            ("get", _) if is_empty => record.value = Value::Null,
            ("append", _) if is_empty => {
                return Err("`append` of an empty string cannot be told from none".into());
            }
            ("put", EventKind::Invoke) if is_empty => {
                self.deleting.insert(record.process);
                delete(record);
            }
            ("put", EventKind::Invoke) | ("get" | "append", _) => {}
            _ if self.deleting.remove(&record.process) => delete(record),
            _ => {}
        }
        Ok(())
    }
}

fn delete(record: &mut Record) {
    record.f = "delete".into();
    record.value = Value::Null;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::record;
    use super::*;

    fn rewritten(values: &[Value]) -> Result<Vec<(String, Value)>, String> {
        let mut absence = Absence::default();
        values
            .iter()
            .map(|value| {
                let mut record = record(1, serde_json::from_value(value.clone()).unwrap())?.unwrap();
                absence.rewrite(&mut record)?;
                Ok((record.f, record.value))
            })
            .collect()
    }

    fn operation(kind: &str, f: &str, value: Value) -> Value {
        json!({"type": kind, "process": 0, "f": f, "key": "k", "value": value})
    }

    #[test]
    fn empty_strings_are_absence() {
        let found = rewritten(&[
            operation("invoke", "get", json!(null)),
            operation("ok", "get", json!("")),
            operation("invoke", "put", json!("")),
            operation("ok", "put", json!("")),
            operation("invoke", "put", json!("x")),
            operation("ok", "put", json!("x")),
        ])
        .unwrap();
        let functions: Vec<&str> = found.iter().map(|(f, _)| f.as_str()).collect();
        assert_eq!(functions, ["get", "get", "delete", "delete", "put", "put"]);
        assert_eq!(found[1].1, Value::Null);
        assert_eq!(found[3].1, Value::Null);
    }

    #[test]
    fn other_functions_missing_keys_and_empty_appends_are_refused() {
        assert!(rewritten(&[operation("invoke", "append", json!(""))]).is_err());
        assert!(rewritten(&[operation("invoke", "cas", json!([1, 2]))]).is_err());
        assert!(rewritten(&[json!({"type": "ok", "process": 0, "f": "get"})]).is_err());
    }
}
