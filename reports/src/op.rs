//! Operations in words: short labels for drawings, full rows for tables.

use history::{Operation, Outcome};
use serde_json::Value;

use crate::load::outcome_word;
use crate::text::{clip, clip_label, span, stamp, value};

/// How long a value in a table may be, in characters.
const VALUE_CHARACTERS: usize = 160;

/// One row of a table of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpRow {
    /// The index of the invocation.
    pub(crate) index: u64,
    pub(crate) process: String,
    pub(crate) node: String,
    pub(crate) function: String,
    pub(crate) key: String,
    pub(crate) input: String,
    /// What was observed, or in words why nothing was.
    pub(crate) output: String,
    /// Whether `output` is a value.
    pub(crate) observed: bool,
    pub(crate) start: String,
    pub(crate) end: String,
    /// How long it took, or why there is no answer.
    pub(crate) took: String,
    pub(crate) outcome: &'static str,
    /// Why it failed or is unknown.
    pub(crate) error: String,
    /// Part of the final phase.
    pub(crate) is_final: bool,
}

impl OpRow {
    /// The row of an operation.
    pub(crate) fn of(operation: &Operation) -> Self {
        let shown =
            |v: &Value| if v.is_null() { "–".to_owned() } else { clip(&value(v), VALUE_CHARACTERS) };
        let output = match operation.outcome {
            Outcome::Ok if observes(operation) => clip(&value(&operation.output), VALUE_CHARACTERS),
            Outcome::Ok => "acknowledged".to_owned(),
            Outcome::Fail => "not done".to_owned(),
            Outcome::Info => "unknown".to_owned(),
        };
        Self {
            index: operation.index,
            process: operation.process.to_string(),
            node: operation.node.as_ref().map_or_else(|| "–".to_owned(), |node| clip(&node.0, 40)),
            function: clip(&operation.f, 40),
            key: operation.key.as_deref().map_or_else(|| "–".to_owned(), |key| clip(key, 60)),
            input: shown(&operation.input),
            output,
            observed: operation.outcome == Outcome::Ok && observes(operation),
            start: stamp(operation.call),
            end: operation.ret.map_or_else(|| "never".to_owned(), stamp),
            took: operation
                .ret
                .map_or_else(|| "–".to_owned(), |ret| span(ret.saturating_sub(operation.call))),
            outcome: outcome_word(operation.outcome),
            error: operation.error.as_deref().map_or_else(String::new, |error| clip(error, VALUE_CHARACTERS)),
            is_final: operation.is_final,
        }
    }
}

/// Whether an acknowledged operation tells more than that it happened.
fn observes(operation: &Operation) -> bool {
    !operation.output.is_null() || operation.input.is_null()
}

/// A label such as `w 15`, `r → 12` or `cas 1→2 ✗`. The key is in front when `with_key`.
pub(crate) fn label(operation: &Operation, with_key: bool) -> String {
    let key = operation.key.as_deref().filter(|_| with_key);
    let key = key.map_or_else(String::new, |key| format!("{}: ", clip_label(key, 10)));
    format!("{key}{}", body(operation))
}

fn body(operation: &Operation) -> String {
    let short = |v: &Value| clip_label(&value(v), 14);
    if let ("cas", Value::Array(pair)) = (operation.f.as_str(), &operation.input)
        && let [expected, new] = &pair[..]
    {
        let mark = match &operation.output {
            Value::Bool(true) => " ✓",
            Value::Bool(false) => " ✗",
            _ => "",
        };
        return format!("cas {}→{}{mark}{}", short(expected), short(new), doubt(operation));
    }
    let f = match operation.f.as_str() {
        "read" => "r".to_owned(),
        "write" => "w".to_owned(),
        other => clip_label(other, 14),
    };
    let input =
        if operation.input.is_null() { String::new() } else { format!(" {}", short(&operation.input)) };
    let output = match operation.outcome {
        Outcome::Ok if observes(operation) => format!(" → {}", short(&operation.output)),
        _ => String::new(),
    };
    format!("{f}{input}{output}{}", doubt(operation))
}

fn doubt(operation: &Operation) -> &'static str {
    match operation.outcome {
        Outcome::Ok => "",
        Outcome::Fail => " failed",
        Outcome::Info => " ?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::{Nanos, Process};
    use serde_json::json;

    fn operation(f: &str, input: Value, output: Value, outcome: Outcome) -> Operation {
        Operation {
            index: 0,
            process: Process(1),
            node: None,
            f: f.into(),
            key: Some("x".into()),
            input,
            output,
            intended: Nanos(0),
            call: Nanos(0),
            ret: None,
            outcome,
            is_final: false,
            error: None,
        }
    }

    #[test]
    fn labels_are_short_and_tell_what_was_observed() {
        let of = |f, input, output, outcome| label(&operation(f, input, output, outcome), false);
        assert_eq!(of("write", json!(15), Value::Null, Outcome::Ok), "w 15");
        assert_eq!(of("read", Value::Null, json!(12), Outcome::Ok), "r → 12");
        assert_eq!(of("read", Value::Null, Value::Null, Outcome::Ok), "r → null");
        assert_eq!(of("cas", json!([1, 2]), json!(false), Outcome::Ok), "cas 1→2 ✗");
        assert_eq!(of("add", json!(7), Value::Null, Outcome::Info), "add 7 ?");
        assert_eq!(label(&operation("read", Value::Null, json!(1), Outcome::Ok), true), "x: r → 1");
    }
}
