//! EDN, form by form, as JSON values.
//!
//! The parser keeps its own stack, bounded by [`NESTING_LIMIT`], so that no input can overflow the thread's; a form is
//! bounded by [`FORM_LIMIT_BYTES`] and [`FORM_LIMIT_VALUES`]. One vector or list around all forms of a file is
//! opened and closed silently: its forms are read one by one too.
//!
//! Does not check that the elements of a set differ, does not interpret tags, and reads no Clojure beyond EDN (quotes,
//! metadata, regular expressions, functions).

use std::path::Path;

use serde_json::{Map, Value};

use super::edn_atom::{atom, character, key_text, unescape};
use super::source::{Next, Source};
use super::{FORM_LIMIT_BYTES, FORM_LIMIT_VALUES, NESTING_LIMIT};
use crate::file::ReadError;

/// The keys and values of a map.
pub(super) type Entries = Vec<(String, Value)>;

/// A collection, tag or discard that waits for its forms.
enum Frame {
    /// A vector, list or set, and the bracket that closes it.
    Items(u8, Vec<Value>),
    /// A map, and the key whose value comes next.
    Map(Entries, Option<String>),
    /// `#tag`: the next form stands for itself.
    Tag,
    /// `#_`: the next form is ignored.
    Discard,
}

/// Where a token leads to.
enum Flow {
    /// The form goes on.
    More,
    /// The form is whole and lies in `form`.
    Whole,
    /// The bytes end inside of the token.
    Cut,
}

/// The forms of a file or of a text.
pub(super) struct Forms {
    source: Source,
    stack: Vec<Frame>,
    /// The bytes of the token that is being read.
    token: Vec<u8>,
    /// The bracket that closes the collection around all forms.
    around: Option<u8>,
    /// Whether the end of the bytes also ends a number or a name.
    is_text: bool,
    /// Whether a map that is not inside of another form is left as it is. It is put into `map` then, and `null` stands for it.
    expects_map: bool,
    map: Option<Entries>,
    /// The form that is whole.
    form: Value,
    start: u64,
    values: u64,
}

impl Forms {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            stack: Vec::new(),
            token: Vec::new(),
            around: None,
            is_text: false,
            expects_map: false,
            map: None,
            form: Value::Null,
            start: 0,
            values: 0,
        }
    }

    /// The first form of a text that stands on `line` of `path`, and how many bytes of the text it took.
    pub(super) fn first_of(path: &Path, line: u64, text: &str) -> Result<(Value, usize), ReadError> {
        let mut forms = Self::new(Source::of_bytes(path, line, text.as_bytes().to_vec()));
        forms.is_text = true;
        match forms.next()? {
            Next::Item(_, value) => {
                Ok((value, usize::try_from(forms.source.position()).unwrap_or(usize::MAX)))
            }
            Next::End => Err(forms.source.error("a value is missing")),
            Next::Torn(_) => Err(forms.source.error("the value is not whole")),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The next form, which must be a map; its entries in their order.
    pub(super) fn next_map(&mut self) -> Result<Next<Entries>, ReadError> {
        self.expects_map = true;
        let next = self.next();
        self.expects_map = false;
        Ok(match next? {
            Next::Item(line, _) => {
                let reason = "an operation must be a map with :process, :type, :f and :value";
                Next::Item(line, self.map.take().ok_or_else(|| self.source.error_at(line, reason))?)
            }
            Next::End => Next::End,
            Next::Torn(torn) => Next::Torn(torn),
        })
    }

    /// The next form.
    pub(super) fn next(&mut self) -> Result<Next<Value>, ReadError> {
        self.stack.clear();
        let mut line = self.source.line();
        loop {
            self.skip_blank()?;
            if self.stack.is_empty() {
                if !self.is_text && self.around_all()? {
                    continue;
                }
                line = self.source.line();
                (self.start, self.values) = (self.source.position(), 0);
            }
            let Some(byte) = self.source.peek()? else { return Ok(self.end()) };
            match self.token(byte)? {
                Flow::More => {}
                Flow::Whole => return Ok(Next::Item(line, std::mem::take(&mut self.form))),
                Flow::Cut => return Ok(self.torn()),
            }
        }
    }

    /// Passes a bracket of the collection around all forms, if one comes next.
    fn around_all(&mut self) -> Result<bool, ReadError> {
        match (self.source.peek()?, self.around) {
            (Some(b'['), None) => self.around = Some(b']'),
            (Some(b'('), None) => self.around = Some(b')'),
            (Some(byte), Some(close)) if byte == close => self.around = None,
            _ => return Ok(false),
        }
        self.source.bump();
        Ok(true)
    }

    fn end(&self) -> Next<Value> {
        if self.stack.is_empty() && self.around.is_none() && !self.source.is_cut() {
            return Next::End;
        }
        self.torn()
    }

    fn torn(&self) -> Next<Value> {
        Next::Torn(self.source.torn("the last form is not whole"))
    }

    fn skip_blank(&mut self) -> Result<(), ReadError> {
        while let Some(byte) = self.source.peek()? {
            match byte {
                b';' => self.source.skip_line()?,
                _ if is_blank(byte) => self.source.bump(),
                _ => break,
            }
        }
        Ok(())
    }

    fn token(&mut self, byte: u8) -> Result<Flow, ReadError> {
        if self.source.position() - self.start > FORM_LIMIT_BYTES {
            return Err(self.source.error(format!("a form is longer than {FORM_LIMIT_BYTES} bytes")));
        }
        match byte {
            b'[' => self.open(Frame::Items(b']', Vec::new())),
            b'(' => self.open(Frame::Items(b')', Vec::new())),
            b'{' => self.open(Frame::Map(Vec::new(), None)),
            b']' | b')' | b'}' => self.close(byte),
            b'"' => self.string(),
            b'\\' => self.character(),
            b'#' => self.dispatch(),
            b':' if matches!(self.stack.last(), Some(Frame::Map(_, None))) => self.key(),
            _ => {
                if self.name()? {
                    return Ok(Flow::Cut);
                }
                let value = atom(self.text()?).map_err(|reason| self.source.error(reason))?;
                self.complete(value)
            }
        }
    }

    /// Opens what begins with the peeked byte.
    fn open(&mut self, frame: Frame) -> Result<Flow, ReadError> {
        self.source.bump();
        if self.stack.len() == NESTING_LIMIT {
            return Err(self.source.error(format!("forms are nested deeper than {NESTING_LIMIT}")));
        }
        self.stack.push(frame);
        Ok(Flow::More)
    }

    fn close(&mut self, byte: u8) -> Result<Flow, ReadError> {
        let value = match self.stack.pop() {
            Some(Frame::Items(close, items)) if close == byte => Value::Array(items),
            Some(Frame::Map(entries, None)) if byte == b'}' => {
                if self.expects_map && self.stack.iter().all(|frame| matches!(frame, Frame::Tag)) {
                    self.map = Some(entries);
                    Value::Null
                } else {
                    self.object(entries)?
                }
            }
            Some(Frame::Map(_, Some(key))) if byte == b'}' => {
                return Err(self.source.error(format!("the key `{key}` of a map has no value")));
            }
            _ => return Err(self.source.error(format!("unexpected `{}`", char::from(byte)))),
        };
        self.source.bump();
        self.complete(value)
    }

    fn object(&self, entries: Entries) -> Result<Value, ReadError> {
        let count = entries.len();
        let object = Map::from_iter(entries);
        if object.len() < count {
            return Err(self.source.error("a map has a key twice"));
        }
        Ok(Value::Object(object))
    }

    /// Reads a keyword that is the key of a map, as nearly all keys are, without a value in between.
    fn key(&mut self) -> Result<Flow, ReadError> {
        if self.name()? {
            return Ok(Flow::Cut);
        }
        let name = self.text()?[1..].to_owned();
        if name.is_empty() {
            return Err(self.source.error("a keyword has no name"));
        }
        if let Some(Frame::Map(_, key)) = self.stack.last_mut() {
            *key = Some(name);
        }
        Ok(Flow::More)
    }

    /// Hands a value to what waits for it; when nothing does, the form is whole.
    fn complete(&mut self, value: Value) -> Result<Flow, ReadError> {
        self.values += 1;
        if self.values > FORM_LIMIT_VALUES {
            return Err(self.source.error(format!("a form holds more than {FORM_LIMIT_VALUES} values")));
        }
        while matches!(self.stack.last(), Some(Frame::Tag)) {
            self.stack.pop();
        }
        match self.stack.last_mut() {
            None => {
                self.form = value;
                return Ok(Flow::Whole);
            }
            Some(Frame::Items(_, items)) => items.push(value),
            Some(Frame::Map(entries, key)) => match key.take() {
                None => *key = Some(key_text(value)),
                Some(name) => entries.push((name, value)),
            },
            Some(Frame::Discard | Frame::Tag) => {
                self.stack.pop();
            }
        }
        Ok(Flow::More)
    }

    /// Reads what begins with `#`.
    fn dispatch(&mut self) -> Result<Flow, ReadError> {
        self.source.bump();
        match self.source.peek()? {
            None => Ok(Flow::Cut),
            Some(b'{') => self.open(Frame::Items(b'}', Vec::new())),
            Some(b'_') => self.open(Frame::Discard),
            Some(b'#') => {
                self.source.bump();
                if self.name()? {
                    return Ok(Flow::Cut);
                }
                let value = self.text()?.into();
                self.complete(value)
            }
            Some(byte) if byte.is_ascii_alphabetic() || byte == b':' => {
                if self.name()? {
                    return Ok(Flow::Cut);
                }
                self.text()?;
                if self.stack.len() == NESTING_LIMIT {
                    return Err(self.source.error(format!("forms are nested deeper than {NESTING_LIMIT}")));
                }
                self.stack.push(Frame::Tag);
                Ok(Flow::More)
            }
            Some(byte) => Err(self.source.error(format!("`#{}` is not EDN", byte.escape_ascii()))),
        }
    }

    fn string(&mut self) -> Result<Flow, ReadError> {
        self.source.bump();
        self.token.clear();
        loop {
            self.source.take_until(&mut self.token, FORM_LIMIT_BYTES, |byte| matches!(byte, b'"' | b'\\'))?;
            match self.source.next()? {
                None => return Ok(Flow::Cut),
                Some(b'"') => break,
                // The byte after a backslash is taken as it is, so that `\"` does not end the string.
                Some(backslash) => match self.source.next()? {
                    None => return Ok(Flow::Cut),
                    Some(escaped) => self.token.extend([backslash, escaped]),
                },
            }
        }
        let text = unescape(self.text()?).map_err(|reason| self.source.error(reason))?;
        self.complete(Value::String(text))
    }

    fn character(&mut self) -> Result<Flow, ReadError> {
        self.source.bump();
        self.token.clear();
        let Some(first) = self.source.next()? else { return Ok(Flow::Cut) };
        self.token.push(first);
        if !is_delimiter(first) && self.rest_of_name()? {
            return Ok(Flow::Cut);
        }
        let text = character(self.text()?).map_err(|reason| self.source.error(reason))?;
        self.complete(Value::String(text))
    }

    /// Reads bytes up to the next delimiter into the token; says whether the file ended before there was one.
    fn name(&mut self) -> Result<bool, ReadError> {
        self.token.clear();
        self.rest_of_name()
    }

    fn rest_of_name(&mut self) -> Result<bool, ReadError> {
        self.source.take_until(&mut self.token, FORM_LIMIT_BYTES, is_delimiter)?;
        Ok(!self.is_text && self.source.peek()?.is_none())
    }

    fn text(&self) -> Result<&str, ReadError> {
        std::str::from_utf8(&self.token).map_err(|_| self.source.error("not UTF-8"))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' | b',')
}

/// Whether a byte ends a name or a number. Every byte of a file is asked for, hence a table.
fn is_delimiter(byte: u8) -> bool {
    const DELIMITERS: [bool; 256] = {
        let ending = b" \t\n\r\x0b\x0c,()[]{}\";\\^`~@";
        let mut table = [false; 256];
        let mut at = 0;
        while at < ending.len() {
            table[ending[at] as usize] = true;
            at += 1;
        }
        table
    };
    DELIMITERS[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<Value>, String> {
        let mut forms = Forms::new(Source::of_bytes(Path::new("h.edn"), 1, text.as_bytes().to_vec()));
        let mut values = Vec::new();
        loop {
            match forms.next().map_err(|error| error.to_string())? {
                Next::Item(_, value) => values.push(value),
                Next::End => return Ok(values),
                Next::Torn(torn) => return Err(format!("torn {}", torn.line)),
            }
        }
    }

    #[test]
    fn collections_become_arrays_and_objects() {
        let forms = read("{:a [1 2], :b (3 #{4}) \"c\" {d nil}}").unwrap();
        assert_eq!(forms, [json!({"a": [1, 2], "b": [3, [4]], "c": {"d": null}})]);
    }

    #[test]
    fn one_collection_around_all_forms_is_opened() {
        assert_eq!(read("[{:a 1}\n {:a 2}]\n").unwrap(), [json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(read("({:a 1} #_{:a 3} ; end\n)").unwrap(), [json!({"a": 1})]);
        assert_eq!(read(" [] ").unwrap(), Vec::<Value>::new());
        assert_eq!(read("[[1]]").unwrap(), [json!([1])]);
    }

    #[test]
    fn tags_comments_and_discards_vanish() {
        let text =
            "; a comment\n#jepsen.history.Op{:at #inst \"2024\", #_#_:x 1 :e #object[java.A 0x1f \"m\"]}";
        assert_eq!(read(text).unwrap(), [json!({"at": "2024", "e": ["java.A", 31, "m"]})]);
        assert_eq!(read("{:a 1 #_ {:b #_ 2 3}} #_[4]").unwrap(), [json!({"a": 1})]);
        assert_eq!(read("#:ns{:a 1}").unwrap(), [json!({"a": 1})]);
    }

    #[test]
    fn input_that_ends_inside_a_form_is_torn() {
        for text in
            ["{", "{:a", "{:a \"b", "[{:a 1}", "#", "#tag", "#_", "{:a \\", "{:", "{:a 1x", "nil", "{:a #{1}"]
        {
            assert_eq!(read(text), Err("torn 1".into()), "{text}");
        }
    }

    #[test]
    fn broken_forms_are_errors_with_their_line() {
        for text in
            ["\n]", "\n{:a}", "\n{:a 1 :a 2}", "\n{:a [1}", "\n#\"re\"", "\n{:a 12x}", "\n^x 1", "\n{:a #_}"]
        {
            let message = read(text).unwrap_err();
            assert!(message.starts_with("h.edn:2: "), "{text}: {message}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("{{:a {}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&deep(NESTING_LIMIT - 1)).is_ok());
        assert!(read(&deep(NESTING_LIMIT)).unwrap_err().contains("nested deeper"));
        assert!(read(&"#_".repeat(1_000_000)).unwrap_err().contains("nested deeper"));
        assert!(read(&"#a ".repeat(1_000_000)).unwrap_err().contains("nested deeper"));
    }

    #[test]
    fn first_form_of_a_text_tells_its_length() {
        let first = |text| Forms::first_of(Path::new("l"), 7, text);
        assert_eq!(first("[1 2] rest").unwrap(), (json!([1, 2]), 5));
        assert_eq!(first(" 12").unwrap(), (json!(12), 3));
        assert_eq!(first("").unwrap_err().to_string(), "l:7: a value is missing");
        assert_eq!(first("[1").unwrap_err().to_string(), "l:7: the value is not whole");
    }
}
