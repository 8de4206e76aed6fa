//! Reading and writing histories: JSON lines, plain or gzip.
//!
//! A file that ends in the middle of a line is *torn*: it is judged on its whole lines. Anything else that is not
//! as it must be is an error that names file and line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::operation::{PairError, Pairing};
use crate::{Event, Header, History, RunEvent, event::FORMAT_VERSION};

/// The longest line that is read, in bytes. A final read of a set with a million elements fits.
pub const LINE_LIMIT_BYTES: u64 = 64 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line is not what it must be.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error(
        "{}: format version {found} is newer than this build understands ({FORMAT_VERSION}); use a newer shakedown",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// Where a torn file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The line that is not whole, counted from 1.
    pub line: u64,
    /// What was found there.
    pub reason: String,
}

/// What is said of a gzip file that was cut.
pub(crate) const CUT_STREAM: &str = "the compressed stream ends too early";

/// How a gzip file begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file to which another process still adds.
struct GrowingFile {
    file: File,
    wait: Box<dyn FnMut() -> bool>,
    is_over: bool,
}

impl Read for GrowingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer)?;
            if read > 0 || self.is_over {
                return Ok(read);
            }
            // What was added before the end was known is still read.
            self.is_over = !(self.wait)();
        }
    }
}

/// Opens a file, plain or gzip.
///
/// # Errors
/// When it cannot be opened or read.
pub fn open_input(path: &Path) -> Result<Box<dyn BufRead>, ReadError> {
    let io_error = |source| ReadError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io_error)?);
    let gzip = file.fill_buf().map_err(io_error)?.starts_with(&GZIP_MAGIC);
    Ok(if gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// Whether reading failed because a gzip stream was cut, which is how a torn file ends when it is compressed.
pub(crate) fn is_cut_stream(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

/// Reads lines and notices where the file was torn.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: u64,
    torn: Option<Torn>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self::new(path, open_input(path)?))
    }

    /// Reads lines from `input`; errors name `path`.
    pub(crate) fn new(path: &Path, input: Box<dyn BufRead>) -> Self {
        Self { path: path.to_owned(), input, line: 0, torn: None }
    }

    /// The next whole line, or `None` at the end or where the file is torn. A last line without a line break is whole
    /// when `is_whole` says so of its text.
    pub(crate) fn next(&mut self, is_whole: impl Fn(&str) -> bool) -> Result<Option<String>, ReadError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = (&mut self.input).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut bytes);
        if let Err(source) = read {
            if is_cut_stream(&source) {
                self.torn = Some(Torn { line: self.line, reason: CUT_STREAM.into() });
                return Ok(None);
            }
            return Err(ReadError::Io { path: self.path.clone(), source });
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let whole = bytes.last() == Some(&b'\n');
        if !whole && bytes.len() as u64 == LINE_LIMIT_BYTES {
            return Err(self.error(format!("line is longer than {LINE_LIMIT_BYTES} bytes")));
        }
        match String::from_utf8(bytes) {
            Ok(text) if whole || is_whole(&text) => Ok(Some(text)),
            Ok(_) => {
                self.torn = Some(Torn { line: self.line, reason: "the last line is not whole".into() });
                Ok(None)
            }
            Err(_) if !whole => {
                self.torn = Some(Torn { line: self.line, reason: "the last line is not whole".into() });
                Ok(None)
            }
            Err(_) => Err(self.error("not UTF-8".into())),
        }
    }

    pub(crate) fn error(&self, reason: String) -> ReadError {
        ReadError::Line { path: self.path.clone(), line: self.line, reason }
    }

    /// The line that was read last, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Where the file was torn, known once [`Self::next`] returned `None`.
    pub(crate) fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reads a history event by event.
pub struct HistoryReader {
    lines: Lines,
    header: Option<Header>,
    pending: Option<String>,
}

impl HistoryReader {
    /// Opens a file, plain or gzip, and reads its header if it has one.
    ///
    /// # Errors
    /// When the file cannot be read or its header is not understood.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::new(path, Lines::open(path)?)
    }

    /// Opens a file that is still being written, and waits for its first line. Where the file ends, `wait` is asked: while
    /// it answers `true` the file is read on, else that was its end.
    ///
    /// # Errors
    /// When the file cannot be read, is compressed (it is over then), or its header is not understood.
    pub fn follow(path: &Path, wait: impl FnMut() -> bool + 'static) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let growing = GrowingFile { file, wait: Box::new(wait), is_over: false };
        let mut input = BufReader::new(growing);
        let start = input.fill_buf().map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        if start.starts_with(&GZIP_MAGIC) {
            let reason = "the file is compressed, so nothing will be added to it".to_owned();
            return Err(ReadError::Line { path: path.to_owned(), line: 1, reason });
        }
        Self::new(path, Lines::new(path, Box::new(input)))
    }

    /// Reads the header, if there is one, from the first of `lines`.
    pub(crate) fn new(path: &Path, mut lines: Lines) -> Result<Self, ReadError> {
        let mut pending = lines.next(is_json)?;
        let mut header = None;
        if let Some(text) = pending.as_deref().filter(|text| text.contains("\"shakedown_history\"")) {
            let found: Header = serde_json::from_str(text).map_err(|e| lines.error(e.to_string()))?;
            if found.shakedown_history > FORMAT_VERSION {
                return Err(ReadError::TooNew { path: path.to_owned(), found: found.shakedown_history });
            }
            header = Some(found);
            pending = None;
        }
        Ok(Self { lines, header, pending })
    }

    /// The header, when the file has one.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The next event, or `None` at the end of the whole lines.
    ///
    /// # Errors
    /// When a whole line is not an event.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            let text = match self.pending.take() {
                Some(text) => text,
                None => match self.lines.next(is_json)? {
                    Some(text) => text,
                    None => return Ok(None),
                },
            };
            if text.trim().is_empty() {
                continue;
            }
            return serde_json::from_str(&text).map(Some).map_err(|e| self.lines.error(e.to_string()));
        }
    }

    /// Where the file was torn, known once [`Self::next_event`] returned `None`.
    pub fn torn(&self) -> Option<&Torn> {
        self.lines.torn()
    }

    /// The line of the event that was returned last, counted from 1.
    pub fn line(&self) -> u64 {
        self.lines.line()
    }
}

/// Reads a whole history.
///
/// # Errors
/// When the file cannot be read, a whole line is not an event, or the events break a rule of histories.
pub fn read_history(path: &Path) -> Result<(History, Option<Torn>), ReadError> {
    let mut reader = HistoryReader::open(path)?;
    let mut pairing = Pairing::default();
    while let Some(event) = reader.next_event()? {
        pairing.push(event).map_err(|e: PairError| reader.lines.error(e.to_string()))?;
    }
    let torn = reader.torn().cloned();
    Ok((pairing.finish(reader.header), torn))
}

/// Reads `nemesis.jsonl`.
///
/// # Errors
/// When the file cannot be read or a whole line is not a run event.
pub fn read_run_events(path: &Path) -> Result<(Vec<RunEvent>, Option<Torn>), ReadError> {
    let mut lines = Lines::open(path)?;
    let mut events = Vec::new();
    while let Some(text) = lines.next(is_json)? {
        events.push(serde_json::from_str(&text).map_err(|e| lines.error(e.to_string()))?);
    }
    Ok((events, lines.torn))
}

/// Writes a history as it happens: header first, then one event a line, numbered by the writer.
pub struct HistoryWriter<W: Write> {
    output: BufWriter<W>,
    next_index: u64,
}

impl<W: Write> HistoryWriter<W> {
    /// Begins the file with its header.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn new(output: W, header: &Header) -> io::Result<Self> {
        let mut output = BufWriter::new(output);
        write_line(&mut output, header)?;
        output.flush()?;
        Ok(Self { output, next_index: 0 })
    }

    /// Appends an event and gives it its index.
    ///
    /// # Errors
    /// When it cannot be written; earlier events stay in the file.
    pub fn append(&mut self, event: &mut Event) -> io::Result<()> {
        event.index = self.next_index;
        write_line(&mut self.output, event)?;
        self.next_index += 1;
        Ok(())
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Writes `nemesis.jsonl` as it happens.
pub struct RunEventWriter<W: Write> {
    output: W,
}

impl<W: Write> RunEventWriter<W> {
    /// Writes to `output`, a line per event, unbuffered: run events are few.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Appends an event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, event: &RunEvent) -> io::Result<()> {
        write_line(&mut self.output, event)
    }
}

fn write_line<W: Write, T: serde::Serialize>(output: &mut W, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)
}
