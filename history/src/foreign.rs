//! Histories that other tools wrote, read as [`Event`](crate::Event)s, and events written for other tools.
//!
//! [`EventReader`] reads a file of any [`Format`] event by event; [`read_history_as`] reads it whole; [`EdnWriter`]
//! exports to Jepsen's EDN, which Knossos and Elle read; [`guess_model`] says which model fits the functions of a
//! history that does not name its model.
//!
//! Guarantees: a file is read as a stream, and memory is bounded by one line, form or object
//! ([`FORM_LIMIT_BYTES`], [`FORM_LIMIT_VALUES`], [`NESTING_LIMIT`]), except for `etcd-operations`, see below.
//! Whatever the bytes are, the answer is events, a [`Torn`](crate::Torn) end, or an error with file and line. What is
//! read is never stricter than what was recorded: an order of two operations, or an observation, is taken over or
//! weakened, never made up.
//!
//! # What becomes of what
//! * **Order.** In Jepsen's formats the order of the *file* is the order of the events, whatever their times say. A
//!   time that is earlier than the one before it is raised to that one; equal stamps are concurrent. Without times the
//!   number of the event is its time. The first operation decides for the whole file whether there are times, and
//!   whether there are indices.
//! * **Values** become JSON: keywords and symbols their name without the colon, characters strings, lists and sets
//!   arrays, the keys of maps strings, tagged literals what is tagged; ratios, decimals (`1.5M`), integers beyond 64
//!   bits, infinities and `NaN` become strings.
//! * **Functions.** A completion that repeats the argument of its invocation (Jepsen does that for `write`, `add`, …)
//!   observed nothing: its value becomes `null`. A compare-and-set that is `ok` becomes `true`; one that is `fail`
//!   stays `fail`, although Jepsen means a mismatch by it: the mismatch is an observation that is given up. A `read` that
//!   is `ok` with `nil` is taken at its word: the value was absent (Knossos takes it for a read of unknown result).
//! * **Independent keys.** Jepsen's `[key value]` tuples are split when [`ReadOptions::independent`] says so, or, when
//!   it says nothing, when the first telling invocation shows it: a read of `[key nil]` or a compare-and-set of
//!   `[key [old new]]`. An operation that shows the contrary is an error then.
//! * **Everything that is not a client's operation** (the nemesis, other lines of a log, leases) is skipped and counted.
//! * `porcupine-kv`: an absent key is `""` there. A `get` of `""` becomes `null`, a `put` of `""` becomes `delete`,
//!   an `append` of `""` is refused.
//! * `etcd-operations`: see the module `etcd`. A record is a whole operation there, so the file is not in
//!   order of time, and what is torn off may have been seen by others: the operations are held in memory and
//!   sorted, and a torn file is refused. The files of all clients belong together: a directory
//!   that holds `client-*/operations.json` is read as one history.
//!
//! The maintained crates for EDN (`clojure-reader` 0.7, `edn-format` 3.3) want the whole text in memory and do not
//! bound its nesting, so the reader here is our own, and small.

mod detect;
mod edn;
mod edn_atom;
mod etcd;
mod etcd_shape;
mod export;
mod jepsen;
mod jepsen_log;
mod json;
mod model;
mod order;
mod porcupine;
mod reader;
mod record;
mod source;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::file::{LINE_LIMIT_BYTES, ReadError};

pub use export::{EdnWriter, REORDER_WINDOW_EVENTS, write_edn};
pub use model::{ModelGuess, guess_model};
pub use reader::{EventReader, ReadOptions, read_history_as, read_history_with};

/// The longest EDN form or JSON object that is read, in bytes.
pub const FORM_LIMIT_BYTES: u64 = LINE_LIMIT_BYTES;

/// How many values (numbers, strings, collections) one form or object may hold. A value in memory is larger than its
/// text, so the length of the text alone would not bound it.
pub const FORM_LIMIT_VALUES: u64 = 8 << 20;

/// How deep the collections of one form may be nested.
pub const NESTING_LIMIT: usize = 128;

/// How many operations an `etcd-operations` history may hold.
pub const WHOLE_OPERATIONS_LIMIT: usize = 10_000_000;

/// A file format of histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Our own: a header, then one event a line.
    Jsonl,
    /// Jepsen's and Knossos's `history.edn`: one map a line, or one vector or list of maps.
    Edn,
    /// The plain log of Jepsen: `INFO  jepsen.util - 0 :invoke :write 3`.
    JepsenLog,
    /// The key-value logs that Porcupine ships: `{:process 0, :type :invoke, :f :get, :key "0", :value nil}`.
    PorcupineKv,
    /// The JSON of elle-cli: an array of operations, or one operation a line.
    ElleJson,
    /// `operations.json` of etcd's robustness tests.
    EtcdOperations,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Jsonl, Self::Edn, Self::JepsenLog, Self::PorcupineKv, Self::ElleJson, Self::EtcdOperations];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Edn => "edn",
            Self::JepsenLog => "jepsen-log",
            Self::PorcupineKv => "porcupine-kv",
            Self::ElleJson => "elle-json",
            Self::EtcdOperations => "etcd-operations",
        }
    }

    /// Finds out the format of a file, plain or gzip, from its first bytes. An empty file is an empty [`Self::Jsonl`].
    ///
    /// # Errors
    /// When the file cannot be read, or its beginning fits no format; the message lists the formats.
    pub fn detect(path: &Path) -> Result<Self, ReadError> {
        detect::Beginning::open(path)?.format()
    }

    /// All names, for messages.
    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no history format; there are: {names}", names = Format::names())]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_formats() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }

    #[test]
    fn unknown_name_is_answered_with_all_names() {
        let message = "json".parse::<Format>().unwrap_err().to_string();
        for format in Format::ALL {
            assert!(message.contains(format.name()), "{message}");
        }
    }
}
