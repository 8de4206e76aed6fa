//! Histories as rows that tests may change.

use history::{History, Nanos, NodeId, Operation, Outcome, Process};
use serde_json::Value;

/// Operations before they become columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) operations: Vec<Operation>,
}

impl Rows {
    /// The history that checkers judge.
    pub(crate) fn history(&self) -> History {
        History { header: None, operations: self.operations.iter().cloned().collect() }
    }
}

/// An operation that nobody completed yet.
pub(crate) fn operation(index: u64, process: u32, f: &str, input: Value) -> Operation {
    Operation {
        index,
        process: Process(process),
        node: Some(NodeId::numbered(process as usize % 3 + 1)),
        f: f.to_owned(),
        key: None,
        input,
        output: Value::Null,
        intended: Nanos(0),
        call: Nanos(0),
        ret: None,
        outcome: Outcome::Info,
        is_final: false,
        error: None,
    }
}
