//! JSON objects, one by one: concatenated, one a line, or in one array.
//!
//! Finds where an object begins and ends and leaves its inside to `serde_json`, whose recursion is bounded too. An object
//! is bounded by [`FORM_LIMIT_BYTES`], [`FORM_LIMIT_VALUES`] and [`NESTING_LIMIT`].

use serde::de::DeserializeOwned;

use super::source::{Next, Source};
use super::{FORM_LIMIT_BYTES, FORM_LIMIT_VALUES, NESTING_LIMIT};
use crate::file::ReadError;

/// Where the stream stands between two objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside of any array.
    Outside,
    /// After `[`: an object or `]` follows.
    Opened,
    /// After an object in an array: `,` or `]` follows.
    AfterObject,
    /// After `,`: an object follows.
    AfterComma,
}

pub(super) struct Objects {
    source: Source,
    place: Place,
    bytes: Vec<u8>,
}

impl Objects {
    pub(super) fn new(source: Source) -> Self {
        Self { source, place: Place::Outside, bytes: Vec::new() }
    }

    /// The next object, and the line on which it begins.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Next<T>, ReadError> {
        loop {
            let Some(byte) = self.source.peek()? else { return Ok(self.end()) };
            self.place = match (byte, self.place) {
                (b' ' | b'\t' | b'\n' | b'\r', place) => place,
                (b'{', Place::Outside | Place::Opened | Place::AfterComma) => return self.object(),
                (b'[', Place::Outside) => Place::Opened,
                (b',', Place::AfterObject) => Place::AfterComma,
                (b']', Place::Opened | Place::AfterObject) => Place::Outside,
                _ => {
                    let shown = byte.escape_ascii();
                    return Err(self
                        .source
                        .error(format!("unexpected `{shown}` where a JSON object belongs")));
                }
            };
            self.source.bump();
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    fn end<T>(&self) -> Next<T> {
        if self.place == Place::Outside && !self.source.is_cut() { Next::End } else { self.torn() }
    }

    fn torn<T>(&self) -> Next<T> {
        Next::Torn(self.source.torn("the last object is not whole"))
    }

    fn object<T: DeserializeOwned>(&mut self) -> Result<Next<T>, ReadError> {
        let line = self.source.line();
        if !self.take_object()? {
            return Ok(self.torn());
        }
        if self.place != Place::Outside {
            self.place = Place::AfterObject;
        }
        match serde_json::from_slice(&self.bytes) {
            Ok(value) => Ok(Next::Item(line, value)),
            Err(error) => {
                let inside = (error.line() as u64).saturating_sub(1);
                let text = error.to_string();
                // The position that the message ends with counts from the beginning of the object.
                let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
                Err(self.source.error_at(line + inside, reason))
            }
        }
    }

    /// Collects the bytes of one object; `false` when the input ends before it does.
    fn take_object(&mut self) -> Result<bool, ReadError> {
        self.bytes.clear();
        let (mut depth, mut values) = (0_usize, 0_u64);
        loop {
            self.source.take_until(&mut self.bytes, FORM_LIMIT_BYTES, is_structure)?;
            let Some(byte) = self.source.next()? else { return Ok(false) };
            self.bytes.push(byte);
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' if !self.take_string()? => return Ok(false),
                _ => {}
            }
            values += u64::from(byte != b'"');
            if depth > NESTING_LIMIT {
                return Err(self.source.error(format!("an object is nested deeper than {NESTING_LIMIT}")));
            }
            if values > FORM_LIMIT_VALUES {
                return Err(self
                    .source
                    .error(format!("an object holds more than {FORM_LIMIT_VALUES} values")));
            }
            if depth == 0 {
                return Ok(true);
            }
        }
    }

    /// Collects the rest of a string; `false` when the input ends before it does.
    fn take_string(&mut self) -> Result<bool, ReadError> {
        loop {
            self.source.take_until(&mut self.bytes, FORM_LIMIT_BYTES, |byte| matches!(byte, b'"' | b'\\'))?;
            let Some(byte) = self.source.next()? else { return Ok(false) };
            self.bytes.push(byte);
            if byte == b'"' {
                return Ok(true);
            }
            let Some(escaped) = self.source.next()? else { return Ok(false) };
            self.bytes.push(escaped);
        }
    }
}

fn is_structure(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b'"')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Result<Vec<(u64, Value)>, String> {
        let mut objects = Objects::new(Source::of_bytes(Path::new("h.json"), 1, text.as_bytes().to_vec()));
        let mut values = Vec::new();
        loop {
            match objects.next().map_err(|error| error.to_string())? {
                Next::Item(line, value) => values.push((line, value)),
                Next::End => return Ok(values),
                Next::Torn(torn) => return Err(format!("torn {}", torn.line)),
            }
        }
    }

    #[test]
    fn objects_are_found_in_lines_and_in_arrays() {
        let expected = [(1, json!({"a": "}\"]"})), (2, json!({"b": [{}]}))];
        assert_eq!(read("{\"a\":\"}\\\"]\"}\n{\"b\":[{}]}").unwrap(), expected);
        assert_eq!(read("[{\"a\":\"}\\\"]\"},\n{\"b\":[{}]}]\n").unwrap(), expected);
        assert_eq!(read("\n[ ]\n").unwrap(), []);
    }

    #[test]
    fn error_names_the_line_inside_the_object() {
        let message = read("{}\n{\"a\":\n\n nul}").unwrap_err();
        assert!(message.starts_with("h.json:4: "), "{message}");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["1", "[1]", "[{},]", "[{}{}]", "{},{}", "[[]]", "]"] {
            assert!(read(text).unwrap_err().starts_with("h.json:1: "), "{text}");
        }
    }

    #[test]
    fn input_that_ends_inside_an_object_is_torn() {
        for text in ["{", "{\"a", "{\"a\\", "{\"a\":[1,", "[", "[{}", "[{},"] {
            assert_eq!(read(text), Err("torn 1".into()), "{text}");
        }
    }
}
