//! One reader for all formats.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::Format;
use super::detect::Beginning;
use super::edn::Forms;
use super::etcd::Operations;
use super::jepsen::{Interpreter, shows_independence};
use super::jepsen_log::LogLines;
use super::json::Objects;
use super::porcupine::Absence;
use super::record::{Fields, Record, record};
use super::source::{Next, Source};
use crate::file::{HistoryReader, Lines, ReadError, Torn};
use crate::operation::Pairing;
use crate::{Event, Header, History};

/// How many operations are held back, at most, until one shows whether the keys are independent.
const PROBE_RECORDS: usize = 256;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The format; `None` finds it out.
    pub format: Option<Format>,
    /// Whether the values of Jepsen's formats are `[key value]` tuples; `None` finds it out.
    pub independent: Option<bool>,
}

/// Reads the events of a file of any format.
pub struct EventReader {
    path: PathBuf,
    format: Format,
    inner: Inner,
}

enum Inner {
    Jsonl(Box<HistoryReader>),
    Records(Box<Records>),
    Operations(Box<Operations>),
}

impl EventReader {
    /// Opens a file, plain or gzip, or the directory of one of etcd's tests. Without `format` it is found out.
    ///
    /// # Errors
    /// When the file cannot be read, its format is not known, or its beginning is broken.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Self, ReadError> {
        Self::open_with(path, ReadOptions { format, independent: None })
    }

    /// Opens a file as [`Self::open`] does.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let beginning = Beginning::open(path)?;
        let format = options.format.map_or_else(|| beginning.format(), Ok)?;
        let is_directory = beginning.is_directory();
        if is_directory && format != Format::EtcdOperations {
            let source = std::io::ErrorKind::IsADirectory.into();
            return Err(ReadError::Io { path: path.to_owned(), source });
        }
        let input = beginning.into_input();
        let stream = match format {
            Format::Jsonl => {
                let reader = HistoryReader::new(path, Lines::new(path, input))?;
                return Ok(Self { path: path.to_owned(), format, inner: Inner::Jsonl(Box::new(reader)) });
            }
            Format::EtcdOperations => {
                let operations = if is_directory {
                    Operations::of_directory(path)?
                } else {
                    Operations::of_file(path, Source::new(path, input))?
                };
                return Ok(Self {
                    path: path.to_owned(),
                    format,
                    inner: Inner::Operations(Box::new(operations)),
                });
            }
            Format::JepsenLog => Stream::Log(LogLines::new(path, Lines::new(path, input))),
            Format::Edn | Format::PorcupineKv => Stream::Edn(Forms::new(Source::new(path, input))),
            Format::ElleJson => Stream::Json(Objects::new(Source::new(path, input))),
        };
        let records = Records::new(path, stream, options.independent, format == Format::PorcupineKv)?;
        Ok(Self { path: path.to_owned(), format, inner: Inner::Records(Box::new(records)) })
    }

    /// The next event, or `None` at the end of what is whole.
    ///
    /// # Errors
    /// When something whole is not what it must be; with file and line.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        match &mut self.inner {
            Inner::Jsonl(reader) => reader.next_event(),
            Inner::Records(records) => records.next_event(),
            Inner::Operations(operations) => Ok(operations.next_event()),
        }
    }

    /// The history of all events that were not returned yet. What was torn off and what was skipped is known then.
    ///
    /// # Errors
    /// As [`Self::next_event`], and when the events break a rule of histories.
    pub fn read_history(&mut self) -> Result<History, ReadError> {
        let mut pairing = Pairing::default();
        while let Some(event) = self.next_event()? {
            pairing.push(event).map_err(|error| self.error(error.to_string()))?;
        }
        Ok(pairing.finish(self.header().cloned()))
    }

    /// The format that is read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The header of the file; where the format itself says which model is meant, one that says so.
    pub fn header(&self) -> Option<&Header> {
        match &self.inner {
            Inner::Jsonl(reader) => reader.header(),
            Inner::Records(records) => records.header.as_ref(),
            Inner::Operations(operations) => Some(operations.header()),
        }
    }

    /// Where the file was torn, known once [`Self::next_event`] returned `None`.
    pub fn torn(&self) -> Option<&Torn> {
        match &self.inner {
            Inner::Jsonl(reader) => reader.torn(),
            Inner::Records(records) => records.torn.as_ref(),
            Inner::Operations(_) => None,
        }
    }

    /// How many records were passed over because they are no operations of clients.
    pub fn skipped(&self) -> u64 {
        match &self.inner {
            Inner::Jsonl(_) => 0,
            Inner::Records(records) => records.skipped,
            Inner::Operations(operations) => operations.skipped(),
        }
    }

    /// An error about the event that was returned last, with its file and line.
    pub fn error(&self, reason: impl Into<String>) -> ReadError {
        let (path, line) = match &self.inner {
            Inner::Jsonl(reader) => (self.path.as_path(), reader.line()),
            Inner::Records(records) => (self.path.as_path(), records.line),
            Inner::Operations(operations) => operations.place(),
        };
        ReadError::Line { path: path.to_owned(), line, reason: reason.into() }
    }
}

/// Reads a whole history of any format.
///
/// # Errors
/// When the file cannot be read, a part of it is broken, or the events break a rule of histories.
pub fn read_history_as(path: &Path, format: Option<Format>) -> Result<(History, Option<Torn>), ReadError> {
    read_history_with(path, ReadOptions { format, independent: None })
}

/// Reads a whole history as [`read_history_as`] does.
///
/// # Errors
/// As [`read_history_as`].
pub fn read_history_with(path: &Path, options: ReadOptions) -> Result<(History, Option<Torn>), ReadError> {
    let mut reader = EventReader::open_with(path, options)?;
    let history = reader.read_history()?;
    Ok((history, reader.torn().cloned()))
}

/// Where records come from.
enum Stream {
    Edn(Forms),
    Json(Objects),
    Log(LogLines),
}

/// The events of Jepsen's family of formats.
struct Records {
    path: PathBuf,
    stream: Stream,
    /// What was read before it was known how to interpret it.
    held: VecDeque<Record>,
    absence: Option<Absence>,
    interpreter: Interpreter,
    /// Whether keys are independent, where that was found out and not said.
    found_independent: Option<bool>,
    header: Option<Header>,
    torn: Option<Torn>,
    skipped: u64,
    /// The line of the event that was returned last.
    line: u64,
}

impl Records {
    fn new(
        path: &Path,
        stream: Stream,
        independent: Option<bool>,
        is_porcupine: bool,
    ) -> Result<Self, ReadError> {
        let mut records = Self {
            path: path.to_owned(),
            stream,
            held: VecDeque::new(),
            absence: is_porcupine.then(Absence::default),
            interpreter: Interpreter::new(false),
            found_independent: None,
            header: is_porcupine.then(|| Header::linearizable("kv", "line number")),
            torn: None,
            skipped: 0,
            line: 1,
        };
        let independent = match independent {
            Some(independent) => independent,
            None => {
                let shown = records.probe()?;
                // Our own export says it on its first event; that is not found out and cannot be contradicted.
                let said = records.held.front().and_then(|first| first.marks.independent);
                records.found_independent = said.is_none().then_some(shown);
                shown
            }
        };
        records.interpreter = Interpreter::new(independent);
        Ok(records)
    }

    fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        let held = self.held.pop_front();
        let Some(record) = held.map_or_else(|| self.read(), |record| Ok(Some(record)))? else {
            return Ok(None);
        };
        self.line = record.line;
        self.check_independence(&record)?;
        self.interpreter.event(record).map(Some).map_err(|reason| self.error(self.line, reason))
    }

    /// Refuses an operation that shows the contrary of what was found out: keys that are taken for values, or the other
    /// way round, would make a legal history illegal.
    fn check_independence(&self, record: &Record) -> Result<(), ReadError> {
        let contrary = self.found_independent.map(|found| !found);
        if contrary.is_none() || shows_independence(record) != contrary {
            return Ok(());
        }
        let reason = "this operation and those before it disagree whether values are `[key value]`; say which with `independent` (true or false)";
        Err(self.error(record.line, reason.into()))
    }

    /// Reads until an operation shows whether keys are independent, and holds back what it read.
    fn probe(&mut self) -> Result<bool, ReadError> {
        while self.held.len() < PROBE_RECORDS {
            let Some(record) = self.read()? else { break };
            let shown = shows_independence(&record);
            self.held.push_back(record);
            if let Some(independent) = shown {
                return Ok(independent);
            }
        }
        Ok(false)
    }

    /// The next record of a client.
    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        while self.torn.is_none() {
            let (line, found) = match self.stream.next()? {
                Next::Item(line, found) => (line, found),
                Next::End => return Ok(None),
                Next::Torn(torn) => {
                    self.torn = Some(torn);
                    break;
                }
            };
            let Some(mut record) = found else {
                self.skipped += 1;
                continue;
            };
            if let Some(absence) = &mut self.absence {
                absence.rewrite(&mut record).map_err(|reason| self.error(line, reason))?;
            }
            return Ok(Some(record));
        }
        Ok(None)
    }

    fn error(&self, line: u64, reason: String) -> ReadError {
        ReadError::Line { path: self.path.clone(), line, reason }
    }
}

impl Stream {
    /// The next record; `None` in place of what is not a client's.
    fn next(&mut self) -> Result<Next<Option<Record>>, ReadError> {
        match self {
            Self::Edn(forms) => {
                let next = forms.next_map()?;
                next.map(|line, entries| record(line, Fields::of(entries)?), forms.source())
            }
            Self::Json(objects) => {
                let next = objects.next()?;
                next.map(record, objects.source())
            }
            Self::Log(lines) => lines.next(),
        }
    }
}
