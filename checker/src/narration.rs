//! The words that explanations share.

use history::{Operation, ValueId, Values};
use serde_json::Value;

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

/// What an operation of a function is called: `write`, `compare-and-set`.
pub(crate) fn deed(function: &str) -> &str {
    if function == "cas" { "compare-and-set" } else { function }
}

/// The value as people read it: shortened JSON, `nothing` for the absent value.
pub(crate) fn show_value(values: &Values, id: ValueId) -> String {
    match values.get(id) {
        None => "some other value".into(),
        Some(Value::Null) => "nothing".into(),
        Some(value) => shorten(&value),
    }
}

/// JSON, cut after some 60 characters: histories are hostile bytes, and a value may be a megabyte.
pub(crate) fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

/// How many characters of a value are shown.
const SHOWN_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_values_are_cut_for_people() {
        assert_eq!(shorten(&json!("é".repeat(1000))).chars().count(), SHOWN_CHARS + 1);
    }
}
