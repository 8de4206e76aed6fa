//! The words that explanations share.

use history::Operation;

/// The process and the node it talks to: `process 3 (via n2)`.
pub(crate) fn who(operation: &Operation) -> String {
    match &operation.node {
        Some(node) => format!("process {} (via {node})", operation.process),
        None => format!("process {}", operation.process),
    }
}

/// `1 operation`, `2 operations`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
