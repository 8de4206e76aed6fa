//! Histories as rows that tests may change.

use history::{History, Operation};

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
