//! What a node says about itself: one JSON object per line on standard error, for rare events only.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::raft::NodeId;

/// Writes event lines that name this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLog {
    node: NodeId,
}

impl EventLog {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node }
    }

    /// Something worth knowing; `fields` is a JSON object.
    pub(crate) fn info(&self, event: &str, fields: Value) {
        self.line("info", event, fields);
    }

    /// Something unexpected that the node copes with.
    pub(crate) fn warn(&self, event: &str, fields: Value) {
        self.line("warn", event, fields);
    }

    /// The reason why the process ends.
    pub(crate) fn fatal(&self, event: &str, error: &dyn Display) {
        self.line("fatal", event, json!({ "error": error.to_string() }));
    }

    fn line(&self, level: &str, event: &str, fields: Value) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Map::new();
        line.insert("ts_ms".to_owned(), json!(since_epoch.as_millis() as u64));
        line.insert("node".to_owned(), json!(self.node.as_str()));
        line.insert("level".to_owned(), json!(level));
        line.insert("event".to_owned(), json!(event));
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        let text = format!("{}\n", Value::Object(line));
        // Nobody may be listening, and a node must not fail for that.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Lets one event per [`Throttle::PAUSE`] through, so that a flapping connection does not fill the disk.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
}

impl Throttle {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Whether enough time has passed since the last event that was let through.
    pub(crate) fn allows(&mut self) -> bool {
        let allowed = self.last.is_none_or(|last| last.elapsed() >= Self::PAUSE);
        if allowed {
            self.last = Some(Instant::now());
        }
        allowed
    }
}
