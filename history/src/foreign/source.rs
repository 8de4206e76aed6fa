//! The bytes of a file, one at a time, with the number of the line.
//!
//! A gzip file that was cut ends here as a plain file that was cut does; [`Source::torn`] remembers the difference for
//! the message. Reads in chunks of [`CHUNK_BYTES`]; never holds more than one chunk.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::file::{CUT_STREAM, ReadError, Torn, is_cut_stream};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) struct Source {
    path: PathBuf,
    /// `None` when the buffer already holds everything.
    input: Option<Box<dyn Read>>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    line: u64,
    /// How many bytes lie before the buffer.
    before: u64,
    cut: bool,
}

impl Source {
    pub(super) fn new(path: &Path, input: Box<dyn Read>) -> Self {
        Self {
            path: path.to_owned(),
            input: Some(input),
            buffer: vec![0; CHUNK_BYTES],
            start: 0,
            end: 0,
            line: 1,
            before: 0,
            cut: false,
        }
    }

    /// Reads `bytes`, which begin on `line` of the file.
    pub(super) fn of_bytes(path: &Path, line: u64, bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { path: path.to_owned(), input: None, buffer: bytes, start: 0, end, line, before: 0, cut: false }
    }

    /// The byte that [`Self::bump`] would pass; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        if self.start == self.end && !self.refill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.start]))
    }

    /// Passes the byte that was peeked.
    #[inline]
    pub(super) fn bump(&mut self) {
        debug_assert!(self.start < self.end, "invariant: a byte is peeked before it is passed");
        self.line += u64::from(self.buffer[self.start] == b'\n');
        self.start += 1;
    }

    /// Passes and returns the next byte.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<u8>, ReadError> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.bump();
        }
        Ok(byte)
    }

    /// Appends to `text` all bytes up to the first that `ends` says ends them, and leaves that one.
    pub(super) fn take_until(
        &mut self,
        text: &mut Vec<u8>,
        limit: u64,
        ends: impl Fn(u8) -> bool,
    ) -> Result<(), ReadError> {
        while self.peek()?.is_some() {
            let rest = &self.buffer[self.start..self.end];
            let length = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
            if length == 0 {
                return Ok(());
            }
            if (text.len() + length) as u64 > limit {
                return Err(self.error(format!("longer than {limit} bytes")));
            }
            let taken = &rest[..length];
            text.extend_from_slice(taken);
            self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.start += length;
        }
        Ok(())
    }

    /// Passes everything up to the end of the line.
    pub(super) fn skip_line(&mut self) -> Result<(), ReadError> {
        while let Some(byte) = self.next()? {
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    /// The line of the next byte, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// How many bytes were passed.
    pub(super) fn position(&self) -> u64 {
        self.before + self.start as u64
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> ReadError {
        self.error_at(self.line, reason)
    }

    pub(super) fn error_at(&self, line: u64, reason: impl Into<String>) -> ReadError {
        ReadError::Line { path: self.path.clone(), line, reason: reason.into() }
    }

    /// What to say when the bytes end inside of something.
    pub(super) fn torn(&self, reason: &str) -> Torn {
        Torn { line: self.line, reason: if self.cut { CUT_STREAM } else { reason }.into() }
    }

    /// Whether the bytes ended because a gzip stream was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    #[cold]
    fn refill(&mut self) -> Result<bool, ReadError> {
        let Some(input) = self.input.as_mut() else { return Ok(false) };
        self.before += self.end as u64;
        (self.start, self.end) = (0, 0);
        loop {
            match input.read(&mut self.buffer) {
                Ok(0) => {}
                Ok(length) => {
                    self.end = length;
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if is_cut_stream(&error) => self.cut = true,
                Err(source) => return Err(ReadError::Io { path: self.path.clone(), source }),
            }
            self.input = None;
            return Ok(false);
        }
    }
}

/// What comes next in a stream of forms, objects or records.
pub(super) enum Next<T> {
    /// An item, and the line on which it begins.
    Item(u64, T),
    /// The end.
    End,
    /// The end, inside of an item.
    Torn(Torn),
}

impl<T> Next<T> {
    /// Makes something else of an item; a failure is an error about its line.
    pub(super) fn map<U>(
        self,
        make: impl FnOnce(u64, T) -> Result<U, String>,
        source: &Source,
    ) -> Result<Next<U>, ReadError> {
        Ok(match self {
            Self::Item(line, item) => {
                Next::Item(line, make(line, item).map_err(|reason| source.error_at(line, reason))?)
            }
            Self::End => Next::End,
            Self::Torn(torn) => Next::Torn(torn),
        })
    }
}
