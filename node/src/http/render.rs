//! Data as JSON. Keys, values and elements are percent-encoded text, because JSON has no bytes.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::percent;
use crate::machine::{Change, List, Revision, StepResult, Stored, Transacted, Value, What};
use crate::raft::LogPosition;

/// The answer to a single write. Written by hand: this is the most frequent answer of all.
pub(super) fn written(position: LogPosition, revision: Revision, matched: bool) -> String {
    let mut body = String::with_capacity(96);
    let LogPosition { term, index } = position;
    let (index, term, revision) = (index.0, term.0, revision.0);
    let _ =
        write!(body, "{{\"index\":{index},\"term\":{term},\"revision\":{revision},\"matched\":{matched}}}");
    body
}

/// The answer to a transaction.
pub(super) fn transacted(position: LogPosition, revision: Revision, transacted: &Transacted) -> Json {
    let results: Vec<Json> = transacted.results.iter().map(step_result).collect();
    json!({
        "index": position.index.0,
        "term": position.term.0,
        "revision": revision.0,
        "matched": transacted.matched,
        "results": results,
    })
}

fn step_result(result: &StepResult) -> Json {
    match result {
        StepResult::Read(None) => json!({ "absent": true }),
        StepResult::Read(Some(Stored { value, created, modified, version, .. })) => {
            let (created, modified) = (created.0, modified.0);
            let (name, content) = match value {
                Value::Raw(bytes) => ("value", percent::encode(bytes).into()),
                Value::List(elements) => ("list", list(elements)),
            };
            json!({ name: content, "revision": modified, "created": created, "version": version })
        }
        StepResult::Put { version } => json!({ "version": version }),
        StepResult::Deleted { existed } => json!({ "deleted": existed }),
        StepResult::Appended { length } => json!({ "length": length }),
    }
}

/// The elements of a list.
pub(super) fn list(list: &List) -> Json {
    list.elements().map(percent::encode).collect()
}

/// Keys and what they have.
pub(super) fn listing(entries: &[(Bytes, Value)]) -> Json {
    let pair = |(key, value): &(Bytes, Value)| {
        let value = match value {
            Value::Raw(bytes) => Json::from(percent::encode(bytes)),
            Value::List(elements) => list(elements),
        };
        json!([percent::encode(key), value])
    };
    json!({ "entries": entries.iter().map(pair).collect::<Vec<_>>() })
}

/// One change, for watchers.
pub(super) fn change(Change { key, what, created, version }: &Change) -> Json {
    let key = percent::encode(key);
    let (created, version) = (created.0, version);
    match what {
        What::Put(value) => {
            json!({ "put": key, "value": percent::encode(value), "created": created, "version": version })
        }
        What::Appended(element) => {
            json!({ "append": key, "value": percent::encode(element), "created": created, "version": version })
        }
        What::Deleted => json!({ "delete": key, "created": created, "version": version }),
    }
}
