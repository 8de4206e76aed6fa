//! Events as Jepsen's EDN, for cross-checking with Knossos and Elle: one map a line,
//! `{:index 0, :time 10, :process 1, :type :invoke, :f :write, :value 3}`.
//!
//! The order of the lines is what counts there, so events are written in order of time, and those of one stamp so
//! that they stay concurrent, and are numbered anew. Keyed histories are written as `[key value]` tuples; a completion
//! repeats the argument of its invocation as Jepsen's clients do; a mismatched compare-and-set, an observation here, is
//! `:fail` there, which Knossos drops. Four fields are ours and ignored by everybody else: `:independent` on the first
//! event, `:mismatch`, `:observed` and `:intended`. They make the way back exact.
//!
//! A process that begins an operation at the very stamp at which another process's ends, and the other way
//! round, cannot be shown concurrent in a list; what is written is then one of the orders that the stamps allow.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde_json::Value;

use super::jepsen::{may_echo, observation};
use super::order::Ordered;
use super::record::Marks;
use crate::{Event, EventKind, Nanos, Process};

/// How far, in events, the order of time may differ from the order in which events are given.
pub const REORDER_WINDOW_EVENTS: usize = 1 << 16;

/// Writes a history as EDN.
///
/// # Errors
/// See [`EdnWriter::append`].
pub fn write_edn<W: Write>(events: impl IntoIterator<Item = Event>, output: W) -> io::Result<()> {
    let mut writer = EdnWriter::new(output);
    for event in events {
        writer.append(event)?;
    }
    writer.finish()
}

/// Writes events as EDN, one after the other.
pub struct EdnWriter<W: Write> {
    output: BufWriter<W>,
    ordered: Ordered<()>,
    /// The arguments of open operations.
    arguments: BTreeMap<Process, Value>,
    /// Whether the events have keys; the first one decides.
    is_keyed: Option<bool>,
    written: u64,
    last_time: Nanos,
}

impl<W: Write> EdnWriter<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> Self {
        Self {
            output: BufWriter::new(output),
            ordered: Ordered::default(),
            arguments: BTreeMap::new(),
            is_keyed: None,
            written: 0,
            last_time: Nanos(0),
        }
    }

    /// Takes the next event of the history.
    ///
    /// # Errors
    /// When the output refuses, when some events have a key and others none, or when the event lies before one that is
    /// more than [`REORDER_WINDOW_EVENTS`] events ahead.
    pub fn append(&mut self, event: Event) -> io::Result<()> {
        let index = event.index;
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        if *self.is_keyed.get_or_insert(event.key.is_some()) != event.key.is_some() {
            return Err(invalid(format!("event {index}: either all events have a key or none")));
        }
        if event.time < self.last_time {
            return Err(invalid(format!(
                "event {index}: its time lies before that of an event {REORDER_WINDOW_EVENTS} events ahead"
            )));
        }
        self.ordered.push(event, ());
        if self.ordered.len() > REORDER_WINDOW_EVENTS
            && let Some((event, ())) = self.ordered.pop()
        {
            self.write(event)?;
        }
        Ok(())
    }

    /// Writes what was held back, and hands everything to the output.
    ///
    /// # Errors
    /// When the output refuses.
    pub fn finish(mut self) -> io::Result<()> {
        while let Some((event, ())) = self.ordered.pop() {
            self.write(event)?;
        }
        self.output.flush()
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        self.last_time = event.time;
        let (kind, value, marks) = self.as_jepsen(&event);
        let output = &mut self.output;
        let (index, time, process) = (self.written, event.time.0, event.process);
        write!(
            output,
            "{{:index {index}, :time {time}, :process {process}, :type :{}, :f ",
            kind_name(kind)
        )?;
        write_name(output, &event.f)?;
        output.write_all(b", :value ")?;
        match &event.key {
            Some(key) => {
                output.write_all(b"[")?;
                write_key(output, key)?;
                output.write_all(b" ")?;
                write_value(output, &value, event.f == "txn")?;
                output.write_all(b"]")?;
            }
            None => write_value(output, &value, event.f == "txn")?,
        }
        if let Some(error) = &event.error {
            output.write_all(b", :error ")?;
            write_string(output, error)?;
        }
        if let Some(node) = &event.node {
            output.write_all(b", :node ")?;
            write_string(output, &node.0)?;
        }
        if let Some(intended) = event.intended {
            write!(output, ", :intended {}", intended.0)?;
        }
        for (name, is_set) in
            [("final?", event.is_final), ("mismatch", marks.is_mismatch), ("observed", marks.is_observed)]
        {
            if is_set {
                write!(output, ", :{name} true")?;
            }
        }
        if self.written == 0 {
            write!(output, ", :independent {}", event.key.is_some())?;
        }
        self.written += 1;
        output.write_all(b"}\n")
    }

    /// Type and value as Jepsen writes them, and the marks without which they would be read as something else.
    fn as_jepsen<'a>(&mut self, event: &'a Event) -> (EventKind, Cow<'a, Value>, Marks) {
        let own = Cow::Borrowed(&event.value);
        if !may_echo(&event.f) {
            return (event.kind, own, Marks::default());
        }
        if event.kind == EventKind::Invoke {
            self.arguments.insert(event.process, event.value.clone());
            return (event.kind, own, Marks::default());
        }
        let argument = self.arguments.remove(&event.process);
        let echo = Cow::Owned(argument.clone().unwrap_or_default());
        let is_compare = event.kind == EventKind::Ok && event.f == "cas";
        let (kind, value, is_mismatch) = match &event.value {
            Value::Bool(false) if is_compare => (EventKind::Fail, echo, true),
            Value::Bool(true) if is_compare => (event.kind, echo, false),
            Value::Null => (event.kind, echo, false),
            _ => (event.kind, own.clone(), false),
        };
        let marks = Marks { is_mismatch, ..Marks::default() };
        let read_back = observation(&event.f, kind, value.clone().into_owned(), argument.as_ref(), marks);
        if read_back.0 == event.kind && read_back.1 == event.value {
            return (kind, value, marks);
        }
        (event.kind, own, Marks { is_observed: true, ..Marks::default() })
    }
}

fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Invoke => "invoke",
        EventKind::Ok => "ok",
        EventKind::Fail => "fail",
        EventKind::Info => "info",
    }
}

/// Writes a function as a keyword if it can be one, else as a string.
fn write_name(output: &mut impl Write, name: &str) -> io::Result<()> {
    let is_keyword = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*+!-_?.<>=".contains(&byte));
    if is_keyword { write!(output, ":{name}") } else { write_string(output, name) }
}

/// Writes a key as a number if it is the text of one.
fn write_key(output: &mut impl Write, key: &str) -> io::Result<()> {
    match key.parse::<i64>() {
        Ok(number) if number.to_string() == key => output.write_all(key.as_bytes()),
        _ => write_string(output, key),
    }
}

/// What is left to write of a value.
enum Piece<'a> {
    Text(&'static str),
    Key(&'a str),
    Value(&'a Value),
    /// The function of a step of a transaction.
    Name(&'a str),
}

/// Writes a value without recursion. The steps of a transaction, `["append", 1, 2]`, are written as `[:append 1 2]`.
fn write_value(output: &mut impl Write, value: &Value, is_transaction: bool) -> io::Result<()> {
    let mut pieces = vec![Piece::Value(value)];
    if let (true, Value::Array(steps)) = (is_transaction, value) {
        pieces = vec![Piece::Text("]")];
        for (at, step) in steps.iter().enumerate().rev() {
            push_step(&mut pieces, step);
            pieces.extend((at > 0).then_some(Piece::Text(" ")));
        }
        pieces.push(Piece::Text("["));
    }
    while let Some(piece) = pieces.pop() {
        match piece {
            Piece::Text(text) => output.write_all(text.as_bytes())?,
            Piece::Key(key) => write_string(output, key)?,
            Piece::Name(name) => write_name(output, name)?,
            Piece::Value(Value::Null) => output.write_all(b"nil")?,
            Piece::Value(Value::String(text)) => write_string(output, text)?,
            Piece::Value(Value::Array(items)) => {
                push_items(&mut pieces, items.iter().map(Piece::Value));
                output.write_all(b"[")?;
            }
            Piece::Value(Value::Object(entries)) => {
                pieces.push(Piece::Text("}"));
                for (at, (key, value)) in entries.iter().enumerate().rev() {
                    pieces.extend([Piece::Value(value), Piece::Text(" "), Piece::Key(key)]);
                    pieces.extend((at > 0).then_some(Piece::Text(", ")));
                }
                output.write_all(b"{")?;
            }
            Piece::Value(other) => write!(output, "{other}")?,
        }
    }
    Ok(())
}

fn push_step<'a>(pieces: &mut Vec<Piece<'a>>, step: &'a Value) {
    match step.as_array().map(Vec::as_slice) {
        Some([Value::String(name), rest @ ..]) => {
            push_items(pieces, std::iter::once(Piece::Name(name)).chain(rest.iter().map(Piece::Value)));
            pieces.push(Piece::Text("["));
        }
        _ => pieces.push(Piece::Value(step)),
    }
}

/// Pushes items and the bracket that closes them, in the order in which they are popped.
fn push_items<'a>(pieces: &mut Vec<Piece<'a>>, items: impl Iterator<Item = Piece<'a>>) {
    let begin = pieces.len();
    for item in items {
        pieces.extend((pieces.len() > begin).then_some(Piece::Text(" ")));
        pieces.push(item);
    }
    pieces.push(Piece::Text("]"));
    pieces[begin..].reverse();
}

fn write_string(output: &mut impl Write, text: &str) -> io::Result<()> {
    output.write_all(b"\"")?;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
        let (plain, special) = rest.split_at(at);
        output.write_all(plain.as_bytes())?;
        let mut characters = special.chars();
        match characters.next() {
            Some(quoted @ ('"' | '\\')) => write!(output, "\\{quoted}")?,
            Some(control) => write!(output, "\\u{:04x}", u32::from(control))?,
            None => {}
        }
        rest = characters.as_str();
    }
    output.write_all(rest.as_bytes())?;
    output.write_all(b"\"")
}
