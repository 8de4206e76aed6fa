//! `shakedown export`: a history in the format of other checkers, so that they can be asked for a second opinion.
//!
//! It is a stream from file to file: memory does not grow with the length of the history.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use history::foreign::{EdnWriter, EventReader, Format, ReadOptions};
use history::{Event, EventKind, RunPaths};

use super::output::{self, Existing, cannot_write};
use super::usage;
use crate::exit;
use crate::judge::skipped_remark;

/// How many keys are named when the one that was asked for is not there.
const NAMED_KEYS: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A history in any format that `check` reads, plain or gzip, or a run directory
    file: PathBuf,
    /// What to write: `edn`, which Jepsen, Knossos and Elle read
    #[arg(long, value_enum, default_value_t = Target::Edn)]
    format: Target,
    /// Only the operations of this key, without it: one object, as Knossos wants it [default: all keys, each value as
    /// `[key value]`, as jepsen.independent writes them]
    #[arg(long)]
    key: Option<String>,
    /// The format of FILE, when it is not to be found out (see `check --format`)
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// Whether the values of a Jepsen history are `[key value]`, when it is not to be found out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    independent: Option<bool>,
    /// The new file; compressed when it ends in `.gz` [default: the standard output]
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    out: PathBuf,
}

/// The formats that can be written.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    Edn,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let Target::Edn = args.format;
    let path = history_of(&args.file);
    let options = ReadOptions { format: args.from, independent: args.independent };
    let mut reader = EventReader::open_with(&path, options).map_err(usage)?;
    let mut tally = Tally::default();
    let key = args.key.as_deref();
    let written = output::write(&args.out, Existing::Kept, |output| {
        copy(&mut reader, key, output, &mut tally, &args.out)
    })?;
    if written.is_some() {
        eprint!("{}", tally.said(&path, &reader, key));
    }
    Ok(exit::VALID)
}

/// The history of a run directory, or the file itself.
fn history_of(path: &Path) -> PathBuf {
    let run = path.is_dir().then(|| RunPaths::containing(path)).flatten();
    run.map_or_else(|| path.to_owned(), |run| run.history())
}

fn copy(
    reader: &mut EventReader,
    key: Option<&str>,
    output: &mut dyn Write,
    tally: &mut Tally,
    out: &Path,
) -> anyhow::Result<()> {
    let mut writer = EdnWriter::new(output);
    while let Some(event) = reader.next_event().map_err(usage)? {
        tally.seen(&event);
        let Some(event) = of_key(event, key) else { continue };
        tally.written(&event);
        writer.append(event).map_err(|error| refused(error, out))?;
    }
    if let Some(key) = key.filter(|_| tally.events == 0) {
        return Err(usage(tally.without(key)));
    }
    writer.finish().map_err(|error| refused(error, out))
}

/// The event without its key if it has the one that is wanted; every event if none is.
fn of_key(mut event: Event, key: Option<&str>) -> Option<Event> {
    if let Some(key) = key {
        event.key = event.key.filter(|own| own == key);
        event.key.take()?;
    }
    Some(event)
}

/// A history that the format cannot hold is the input's fault, everything else the output's.
fn refused(error: io::Error, out: &Path) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => usage(format!("{error}; `--key KEY` exports one key alone")),
        _ => Err::<(), _>(error).with_context(|| cannot_write(out)).expect_err("invariant: it is an error"),
    }
}

/// What went by.
#[derive(Debug, Default)]
struct Tally {
    events: u64,
    operations: u64,
    /// The first keys, and one more than can be named, so that more of them are noticed.
    keys: BTreeSet<String>,
}

impl Tally {
    fn seen(&mut self, event: &Event) {
        if let Some(key) = event.key.as_ref().filter(|key| !self.keys.contains(*key))
            && self.keys.len() <= NAMED_KEYS
        {
            self.keys.insert(key.clone());
        }
    }

    fn written(&mut self, event: &Event) {
        self.events += 1;
        self.operations += u64::from(event.kind == EventKind::Invoke);
    }

    fn without(&self, key: &str) -> String {
        if self.keys.is_empty() {
            return format!("--key {key}: the operations of this history have no keys; leave --key out");
        }
        let named: Vec<&str> = self.keys.iter().take(NAMED_KEYS).map(String::as_str).collect();
        let more = if self.keys.len() > NAMED_KEYS { ", and more" } else { "" };
        format!("--key {key}: no operation has this key; there are {}{more}", named.join(", "))
    }

    fn said(&self, path: &Path, reader: &EventReader, key: Option<&str>) -> String {
        let plural = if self.operations == 1 { "" } else { "s" };
        let (operations, events) = (self.operations, self.events);
        let mut text = format!("{:>12} {operations} operation{plural}, {events} events\n", "exported:");
        let mut note = |words: String| text += &format!("{:>12} {words}\n", "note:");
        if let Some(torn) = reader.torn() {
            let (path, line) = (path.display(), torn.line);
            note(format!("{path}:{line}: {}; exported are the whole lines before it", torn.reason));
        }
        skipped_remark(reader.skipped()).into_iter().for_each(&mut note);
        if key.is_none() && !self.keys.is_empty() {
            note(
                "values are `[key value]`: Knossos takes them for values, so give it one key at a time (--key)"
                    .to_owned(),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: Option<&str>) -> Event {
        let line = r#"{"index":0,"time":10,"type":"invoke","process":1,"f":"read"}"#;
        let mut event: Event = serde_json::from_str(line).unwrap();
        event.key = key.map(str::to_owned);
        event
    }

    #[test]
    fn one_key_is_exported_without_the_key() {
        assert_eq!(of_key(event(Some("k1")), Some("k1")), Some(event(None)));
        assert_eq!(of_key(event(Some("k2")), Some("k1")), None);
        assert_eq!(of_key(event(None), Some("k1")), None);
        assert_eq!(of_key(event(Some("k2")), None), Some(event(Some("k2"))));
    }

    #[test]
    fn key_that_is_not_there_is_answered_with_some_that_are() {
        let mut tally = Tally::default();
        assert!(tally.without("x").contains("leave --key out"));
        (0..50).for_each(|key| tally.seen(&event(Some(&format!("k{key}")))));
        let words = tally.without("x");
        assert!(words.contains("k0, k1") && words.ends_with("and more"), "{words}");
        assert_eq!(tally.keys.len(), NAMED_KEYS + 1);
    }
}
