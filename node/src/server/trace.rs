//! What the protocol did, one JSON object per line, so that somebody else can prove it wrong.
//!
//! Every line is in the file before anything that it speaks of leaves the node, so a node that is killed has said what others may have
//! seen. A torn last line is that of a process that was killed while it wrote. The digest of an entry is the CRC-32 of its encoding
//! in the write-ahead log.
//!
//! | line | meaning |
//! |---|---|
//! | `{"event":"begin","term":2,"vote":"n1","base":[5,1],"entries":[[6,2,77]]}` | a process goes on from what was stored: term, vote, `[index, term]` for which a snapshot stands, and `[index, term, digest]` of every entry after it |
//! | `{"event":"begin","joins":true,…}` | the same, of a process with an empty data directory that waits to be added: what one of its name has promised before, it knows nothing of |
//! | `{"event":"vote","term":3,"vote":null}` | term and vote are these from now on |
//! | `{"event":"write","io":4,"base":[9,2],"from":7,"entries":[[7,3,78]]}` | the log is changed in memory, and on the disk when `io` is durable: it begins anew after `base`, is cut at `from`, goes on with `entries`; each of them may be absent |
//! | `{"event":"durable","io":4}` | all writes up to this one are on the disk |
//! | `{"event":"granted","term":3,"to":"n2"}` | a vote was given |
//! | `{"event":"acknowledged","term":3,"to":"n2","index":7}` | the leader was told that the log matches its own up to there, durably |
//! | `{"event":"lead","term":3}` | this node was elected |
//! | `{"event":"commit","term":3,"index":7}` | it knows in this term that everything up to there is committed |
//! | `{"event":"applied","index":7,"digest":"…"}` | the state, a digest of all that was applied in its order, is that after this entry |

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use crate::codec::put_entry;
use crate::events::EventLog;
use crate::raft::{
    AppendReply, Body, Core, Effects, Entry, HardState, Index, IoId, LogPosition, Message, NodeId, Persist,
    RoleName, Status,
};

/// The file that is written to, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Trace(Option<Writer>);

#[derive(Debug)]
struct Writer {
    file: File,
    log: EventLog,
    /// Lines that are not in the file yet.
    lines: String,
    hard_state: HardState,
    status: Status,
}

impl Trace {
    /// Goes on in the file, which is created if it is missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn begin(path: Option<&Path>, core: &Core, join: bool, log: EventLog) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (hard_state, status) = (core.hard_state(), core.status());
        // A process before this one may have been killed in the middle of a line.
        let mut writer = Writer { file, log, lines: "\n".to_owned(), hard_state, status };
        let entries = core.log().entries();
        let is_new = hard_state == HardState::default() && status.last == LogPosition::default();
        let joins = if join && is_new { r#","joins":true"# } else { "" };
        writer.line(&format!(
            r#""begin"{joins},"term":{},"vote":{},"base":{},"entries":{}"#,
            hard_state.term.0,
            vote(hard_state.vote),
            position(status.base),
            listing(entries)
        ));
        writer.flush()?;
        Ok(Self(Some(writer)))
    }

    /// Writes are on the disk.
    pub(crate) fn durable(&mut self, io: IoId) {
        if let Some(writer) = &mut self.0 {
            writer.line(&format!(r#""durable","io":{}"#, io.sequence));
        }
    }

    /// What a step did, before its effects leave the node.
    pub(crate) fn stepped(&mut self, core: &Core, effects: &Effects) {
        if let Some(writer) = &mut self.0 {
            writer.stepped(core, effects);
        }
        self.flush();
    }

    /// The state after everything up to an entry.
    pub(crate) fn applied(&mut self, index: Index, digest: impl FnOnce() -> String) {
        if let Some(writer) = &mut self.0 {
            let digest = digest();
            writer.line(&format!(r#""applied","index":{},"digest":"{digest}""#, index.0));
        }
    }

    /// A trace with a gap would accuse a node of things that it did not do, so it ends when it cannot be written.
    fn flush(&mut self) {
        if let Some(writer) = &mut self.0
            && let Err(error) = writer.flush()
        {
            writer.log.warn("trace-ended", json!({ "error": error.to_string() }));
            self.0 = None;
        }
    }
}

impl Writer {
    fn stepped(&mut self, core: &Core, effects: &Effects) {
        let (hard_state, status) = (core.hard_state(), core.status());
        if hard_state != self.hard_state {
            self.line(&format!(r#""vote","term":{},"vote":{}"#, hard_state.term.0, vote(hard_state.vote)));
        }
        if let Some(persist) = &effects.persist {
            self.write(persist);
        }
        if status.role == RoleName::Leader
            && (self.status.role != RoleName::Leader || self.status.term != status.term)
        {
            self.line(&format!(r#""lead","term":{}"#, status.term.0));
        }
        for (to, message) in &effects.messages {
            self.promise(*to, message);
        }
        if status.commit != self.status.commit {
            self.line(&format!(r#""commit","term":{},"index":{}"#, status.term.0, status.commit.0));
        }
        (self.hard_state, self.status) = (hard_state, status);
    }

    fn write(&mut self, persist: &Persist) {
        let mut line = format!(r#""write","io":{}"#, persist.io.sequence);
        if let Some(base) = persist.begin_after {
            line.push_str(&format!(r#","base":{}"#, position(base)));
        }
        if let Some(from) = persist.truncate_from {
            line.push_str(&format!(r#","from":{}"#, from.0));
        }
        if !persist.entries.is_empty() {
            line.push_str(&format!(r#","entries":{}"#, listing(&persist.entries)));
        }
        self.line(&line);
    }

    fn promise(&mut self, to: NodeId, message: &Message) {
        let term = message.term.0;
        match &message.body {
            Body::VoteReply { granted: true } => {
                self.line(&format!(r#""granted","term":{term},"to":"{to}""#));
            }
            Body::AppendReply(AppendReply::Accepted { matched }) => {
                self.line(&format!(r#""acknowledged","term":{term},"to":"{to}","index":{}"#, matched.0));
            }
            _ => {}
        }
    }

    fn line(&mut self, event: &str) {
        self.lines.push_str(r#"{"event":"#);
        self.lines.push_str(event);
        self.lines.push_str("}\n");
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.lines.is_empty() {
            self.file.write_all(self.lines.as_bytes())?;
            self.lines.clear();
        }
        Ok(())
    }
}

fn vote(vote: Option<NodeId>) -> String {
    vote.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""))
}

fn position(position: LogPosition) -> String {
    format!("[{},{}]", position.index.0, position.term.0)
}

fn listing(entries: &[Entry]) -> String {
    let (mut text, mut encoded) = ("[".to_owned(), Vec::new());
    for entry in entries {
        encoded.clear();
        put_entry(&mut encoded, entry);
        let separator = if text.len() > 1 { "," } else { "" };
        let digest = crc32fast::hash(&encoded);
        write!(text, "{separator}[{},{},{digest}]", entry.index.0, entry.term.0)
            .expect("invariant: a string takes everything");
    }
    text.push(']');
    text
}
