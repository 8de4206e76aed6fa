//! The seam to a target: requests in the words of the workloads, completions in the words of the history.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Value, json};

/// One operation, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Reads a register.
    Read {
        /// Which.
        key: String,
    },
    /// Overwrites a register.
    Write {
        /// Which.
        key: String,
        /// With what.
        value: i64,
    },
    /// Sets a register to `new` if it holds `expected`. An absent register never matches.
    Cas {
        /// Which.
        key: String,
        /// What it must hold.
        expected: i64,
        /// What it then holds.
        new: i64,
    },
    /// Adds an element to the set.
    Add {
        /// Which.
        element: i64,
    },
    /// Reads the whole set, atomically.
    ReadAll,
}

impl Request {
    /// The function, as recorded.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::ReadAll => "read",
            Self::Write { .. } => "write",
            Self::Cas { .. } => "cas",
            Self::Add { .. } => "add",
        }
    }

    /// The key, as recorded.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Read { key } | Self::Write { key, .. } | Self::Cas { key, .. } => Some(key),
            Self::Add { .. } | Self::ReadAll => None,
        }
    }

    /// The argument, as recorded.
    pub fn argument(&self) -> Value {
        match self {
            Self::Read { .. } | Self::ReadAll => Value::Null,
            Self::Write { value, .. } => json!(value),
            Self::Cas { expected, new, .. } => json!([expected, new]),
            Self::Add { element } => json!(element),
        }
    }

    /// Whether it only observes: without an answer it then certainly had no effect.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::ReadAll)
    }
}

/// How a request ended, as far as the client knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// It happened, and this was observed: read → the value or `null`; compare-and-set → did it match; set read →
    /// the list of elements; write and add → `null`.
    Ok(Value),
    /// It certainly did not happen.
    Fail(String),
    /// Nobody knows.
    Info(String),
}

/// How reads are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// As the target promises by default: linearizable.
    Linearizable,
    /// From the memory of whichever node is asked. No target promises that such reads are fresh.
    Local,
}

impl Reads {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Local => "local",
        }
    }
}

/// A completion that is on its way.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Completion> + Send + 'a>>;

/// One connection of one process to the node it is pinned to. After an answer that left its connection in doubt the
/// harness drops the client and opens another.
pub trait Client: Send {
    /// Sends a request and waits for its end, within the client's own time limit. Never retries anything whose effect
    /// is in doubt.
    fn invoke<'a>(&'a mut self, request: &'a Request) -> Pending<'a>;
}
