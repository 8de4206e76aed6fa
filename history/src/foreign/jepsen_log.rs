//! The lines of a Jepsen log: `INFO  jepsen.util - 0 :invoke :write 3`.
//!
//! Columns are process, type, function, value and, where there is one, an error, separated by tabs or spaces; whatever
//! stands before `jepsen.util` (level, time stamp, thread) is ignored. A line that shows no operation is other output of
//! the test and skipped; a line that looks like an operation and cannot be read is an error, because an operation
//! that is silently lost could turn a legal history into an illegal one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::edn::Forms;
use super::record::{Marks, Record, kind};
use super::source::Next;
use crate::file::{Lines, ReadError};
use crate::{EventKind, Process};

/// The logger that writes operations.
const LOGGER: &str = "jepsen.util";

/// The columns that make a line an operation.
const TYPES: [&str; 4] = [":invoke", ":ok", ":fail", ":info"];

pub(super) struct LogLines {
    path: PathBuf,
    lines: Lines,
}

impl LogLines {
    pub(super) fn new(path: &Path, lines: Lines) -> Self {
        Self { path: path.to_owned(), lines }
    }

    /// The next line: a client's record, or `None` when it is something else.
    pub(super) fn next(&mut self) -> Result<Next<Option<Record>>, ReadError> {
        // A number at the end of the file may be the beginning of a longer one: without a line break it is not whole.
        while let Some(text) = self.lines.next(|_| false)? {
            if !text.trim_ascii().is_empty() {
                let line = self.lines.line();
                return Ok(Next::Item(line, record(&self.path, line, &text)?));
            }
        }
        Ok(self.lines.torn().cloned().map_or(Next::End, Next::Torn))
    }
}

/// The record of one line; `None` when it is not a client's operation.
pub(super) fn record(path: &Path, line: u64, text: &str) -> Result<Option<Record>, ReadError> {
    let error = |reason: String| ReadError::Line { path: path.to_owned(), line, reason };
    let (by_logger, message) = message(text);
    let (process, rest) = column(message);
    let (kind_text, rest) = column(rest);
    if process.starts_with(':') && !process.contains(|c: char| c.is_ascii_digit()) {
        return Ok(None);
    }
    if !TYPES.contains(&kind_text) {
        let is_number = process.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let looks_like_one = by_logger && is_number && kind_text.starts_with(':');
        if looks_like_one || text.split_ascii_whitespace().any(|word| TYPES.contains(&word)) {
            return Err(error("expected `process :type :function value`".into()));
        }
        return Ok(None);
    }
    let process = process.parse().map_err(|_| {
        error(format!(
            "process `{}` is not a number from 0 to {}",
            super::edn_atom::shortened(process),
            u32::MAX
        ))
    })?;
    let kind = kind(kind_text[1..].into()).map_err(error)?;
    let (f, rest) = column(rest);
    let f = f.strip_prefix(':').filter(|name| !name.is_empty());
    let f = f.ok_or_else(|| error("the function is missing".into()))?.to_owned();
    let (value, error) = value(path, line, kind, rest)?;
    Ok(Some(Record {
        line,
        index: None,
        time: None,
        kind,
        process: Process(process),
        f,
        key: None,
        value,
        error,
        node: None,
        intended: None,
        is_final: false,
        marks: Marks::default(),
    }))
}

/// What was logged, and whether it was by the logger of operations, which other words (`jepsen.util$retry`) may contain.
fn message(text: &str) -> (bool, &str) {
    let after = text.split_once(LOGGER).map(|(_, after)| after);
    match after.filter(|after| after.starts_with([' ', '\t', ':'])) {
        Some(after) => {
            let message = after.strip_prefix(':').unwrap_or(after).trim_ascii_start();
            (true, message.strip_prefix("- ").unwrap_or(message))
        }
        None => (false, text),
    }
}

/// The first word of a text, and what follows it.
fn column(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.find(|c: char| c.is_ascii_whitespace()).map_or((text, ""), |end| text.split_at(end))
}

/// The value, and the error that follows it. `:fail` and `:info` may name the error in place of the value
/// (`:timed-out`).
fn value(path: &Path, line: u64, kind: EventKind, text: &str) -> Result<(Value, Option<String>), ReadError> {
    let text = text.trim_ascii();
    let named = text.strip_prefix(':').filter(|_| matches!(kind, EventKind::Fail | EventKind::Info));
    if let Some(error) = named {
        return Ok((Value::Null, Some(error.into())));
    }
    let (value, length) = Forms::first_of(path, line, text)?;
    let error = text[length..].trim_ascii();
    Ok((value, Some(error).filter(|error| !error.is_empty()).map(Into::into)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Option<Record>, String> {
        record(Path::new("jepsen.log"), 3, text).map_err(|error| error.to_string())
    }

    fn parts(text: &str) -> (u32, EventKind, String, Value, Option<String>) {
        let record = read(text).unwrap().unwrap();
        (record.process.0, record.kind, record.f, record.value, record.error)
    }

    #[test]
    fn columns_are_separated_by_tabs_or_spaces() {
        let expected = (2, EventKind::Invoke, "cas".to_owned(), json!([3, 0]), None);
        assert_eq!(parts("INFO  jepsen.util - 2\t:invoke\t:cas\t[3 0]\n"), expected);
        assert_eq!(parts("INFO  jepsen.util - 2 :invoke :cas [3 0]"), expected);
        assert_eq!(parts("2 :invoke :cas [3 0]"), expected);
        assert_eq!(
            parts("2018-05-07 12:11:52,034 INFO [jepsen worker 2] jepsen.util: 2\t:invoke\t:cas\t[3 0]"),
            expected
        );
    }

    #[test]
    fn error_stands_in_the_place_of_the_value_or_after_it() {
        let timed_out = Some("timed-out".to_owned());
        let (_, kind, _, value, error) = parts("INFO  jepsen.util - 4\t:info\t:write\t:timed-out");
        assert_eq!((kind, value, error), (EventKind::Info, Value::Null, timed_out));
        let (_, kind, _, value, error) = parts("INFO  jepsen.util - 4\t:fail\t:cas\t[1 2]\tindex moved on");
        assert_eq!((kind, value, error), (EventKind::Fail, json!([1, 2]), Some("index moved on".into())));
    }

    #[test]
    fn lines_that_show_no_operation_are_skipped() {
        for text in [
            "INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
            "INFO  jepsen.core - Running test",
            "\tat clojure.lang.AFn.run(AFn.java:22)",
            "\tat jepsen.util$timeout_call.invoke(util.clj:431)",
            "INFO [2024-01-06 15:07:52,562] jepsen node n1 - jepsen.util Waiting for n1",
            "    :type :ok,",
            "",
        ] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn broken_operations_are_errors() {
        for text in [
            "INFO  jepsen.util - 0\t:invok\t:read\tnil",
            "INFO  jepsen.util - x0\t:invoke\t:read\tnil",
            "INFO  jepsen.util - -1\t:invoke\t:read\tnil",
            "INFO  jepsen.util - 4294967296\t:invoke\t:read\tnil",
            "INFO  jepsen.util - 0\t:invoke\t:read",
            "INFO  jepsen.util - 0\t:invoke",
            "INFO  jepsen.util - 0\t:invoke\t:cas\t[1",
            "INFO  jepsen.tuil - 0\t:invoke\t:write\t3",
        ] {
            let message = read(text).unwrap_err();
            assert!(message.starts_with("jepsen.log:3: "), "{text}: {message}");
        }
    }
}
