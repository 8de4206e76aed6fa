//! Which format a file is, told from its first bytes.
//!
//! The bytes that were looked at are given back, so that a pipe can be detected and then read. Only what is whole within
//! them is looked at. A beginning that several formats share is decided by what every reader of it would
//! make of it: a lone `{` is a torn line in all of them.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Format;
use super::edn::Forms;
use super::jepsen::may_echo;
use super::jepsen_log;
use super::json::Objects;
use super::porcupine;
use super::source::{Next, Source};
use crate::Event;
use crate::file::{ReadError, open_input};

/// How much of a file is looked at.
const BEGINNING_BYTES: u64 = 64 << 10;

/// The beginning of a file, and the rest of it.
pub(super) struct Beginning {
    path: PathBuf,
    bytes: Vec<u8>,
    /// What reading ended with, when it did not come so far.
    failure: Option<io::Error>,
    /// `None` for a directory, which can only be that of one of etcd's tests.
    rest: Option<Box<dyn BufRead>>,
}

impl Beginning {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let mut beginning = Self { path: path.to_owned(), bytes: Vec::new(), failure: None, rest: None };
        if path.is_dir() {
            return Ok(beginning);
        }
        let mut input = open_input(path)?;
        beginning.failure = (&mut input).take(BEGINNING_BYTES).read_to_end(&mut beginning.bytes).err();
        beginning.rest = Some(input);
        Ok(beginning)
    }

    pub(super) fn format(&self) -> Result<Format, ReadError> {
        if self.rest.is_none() {
            return Ok(Format::EtcdOperations);
        }
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let begin = self.bytes.iter().position(|byte| !blank(byte)).unwrap_or(self.bytes.len());
        let mut shown = self.bytes[begin..].iter().filter(|byte| !blank(byte));
        match (shown.next(), shown.next()) {
            (None, _) => Ok(Format::Jsonl),
            (Some(b'{'), Some(b'"') | None) => Ok(self.json().unwrap_or(Format::Jsonl)),
            (Some(b'['), Some(b'{')) if matches!(shown.next(), Some(b'"')) => {
                Ok(self.json().unwrap_or(Format::ElleJson))
            }
            (Some(b'{'), _) => Ok(self.edn()),
            _ if self.has_log_lines() => Ok(Format::JepsenLog),
            (Some(b'[' | b'(' | b'#' | b';'), _) => Ok(self.edn()),
            _ => Err(self.unknown()),
        }
    }

    /// Whether the path is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.rest.is_none()
    }

    /// The whole file, its beginning included.
    pub(super) fn into_input(self) -> Box<dyn BufRead> {
        let failure = Failure(self.failure);
        let rest = self.rest.unwrap_or_else(|| Box::new(io::empty()));
        Box::new(BufReader::new(Cursor::new(self.bytes).chain(failure).chain(rest)))
    }

    fn source(&self) -> Source {
        Source::of_bytes(&self.path, 1, self.bytes.clone())
    }

    /// Our own events, elle's operations and etcd's are objects; their fields tell them apart. Events without a header could
    /// be elle's: they are ours unless a later operation could not be.
    fn json(&self) -> Option<Format> {
        let mut objects = Objects::new(self.source());
        let mut format = None;
        while let Ok(Next::Item(_, object)) = objects.next::<Value>() {
            if object.get("shakedown_history").is_some() {
                return Some(Format::Jsonl);
            }
            if object.get("ClientId").is_some() && object.get("Input").is_some() {
                return Some(Format::EtcdOperations);
            }
            let is_transaction = object.get("f").and_then(Value::as_str) == Some("txn");
            let is_jepsen = is_transaction || repeats_argument(&object);
            if is_jepsen || serde_json::from_value::<Event>(object).is_err() {
                return Some(Format::ElleJson);
            }
            format = Some(Format::Jsonl);
        }
        // Our own files hold no arrays.
        format.filter(|_| self.bytes.trim_ascii_start().first() != Some(&b'['))
    }

    fn edn(&self) -> Format {
        let mut forms = Forms::new(self.source());
        while let Ok(Next::Item(_, form)) = forms.next() {
            if form.get("process").is_some_and(Value::is_number) {
                let f = form.get("f").and_then(Value::as_str).unwrap_or_default();
                let is_porcupine = form.get("key").is_some() && porcupine::FUNCTIONS.contains(&f);
                return if is_porcupine { Format::PorcupineKv } else { Format::Edn };
            }
        }
        Format::Edn
    }

    /// Whether there is an operation in what is, perhaps, a log.
    fn has_log_lines(&self) -> bool {
        let lines = String::from_utf8_lossy(&self.bytes);
        lines.lines().any(|line| matches!(jepsen_log::record(&self.path, 1, line), Ok(Some(_))))
    }

    fn unknown(&self) -> ReadError {
        let reason = format!("the format of this history is not known; name one of {}", Format::names());
        ReadError::Line { path: self.path.clone(), line: 1, reason }
    }
}

/// Whether an operation repeats arguments in its completion, as Jepsen's do and ours do not.
fn repeats_argument(operation: &Value) -> bool {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
    let value = operation.get("value").unwrap_or(&Value::Null);
    text("type") == "ok"
        && match text("f") {
            "cas" => value.is_array(),
            // Versions and fencing tokens are observations.
            "write" | "acquire" => false,
            f => may_echo(f) && !value.is_null(),
        }
}

/// Fails once, if there is something to fail with, and is then at its end.
struct Failure(Option<io::Error>);

impl Read for Failure {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
