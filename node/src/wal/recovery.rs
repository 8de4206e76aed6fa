//! Reading the log back after a start: replay, find the end, tell a torn tail from corruption.

use bytes::Bytes;

use super::error::{WalError, corrupt};
use super::frame::{self, FRAME_HEADER_BYTES};
use super::record::{self, Record};
use super::segment::{HEADER_BYTES, Segment};
use crate::raft::{Entry, HardState};

/// What the log says this node had promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The last durable term and vote.
    pub(crate) hard_state: HardState,
    /// The durable entries, contiguous from index 1.
    pub(crate) entries: Vec<Entry>,
}

/// Where appending goes on, in the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Offset of the next batch.
    pub(crate) offset: u64,
    /// Number of the next batch.
    pub(crate) next_batch: u64,
}

/// Replays all segments.
pub(crate) fn recover(segments: &[Segment]) -> Result<(Recovered, End), WalError> {
    let mut recovered = Recovered::default();
    let mut end = End { offset: HEADER_BYTES, next_batch: 1 };
    for (position, segment) in segments.iter().enumerate() {
        let bytes = segment.read()?;
        end.offset = HEADER_BYTES;
        recovered.replay(segment, &bytes, &mut end)?;
        check_tail(segment, &bytes, end, position + 1 == segments.len())?;
    }
    Ok((recovered, end))
}

/// Nothing but zeros may follow the last batch, except for one unfinished batch at the very end of the log.
fn check_tail(segment: &Segment, bytes: &Bytes, end: End, is_last: bool) -> Result<(), WalError> {
    let tail = &bytes[end.offset as usize..];
    let Some(damage) = tail.iter().position(|&byte| byte != 0) else {
        return Ok(());
    };
    let after = end.offset as usize + FRAME_HEADER_BYTES;
    let later = frame::find_batch(bytes, after, end.next_batch);
    match later {
        Some(later) => {
            let reason =
                format!("batch {} is damaged, but a later one stands at offset {later}", end.next_batch);
            Err(corrupt(segment.path(), end.offset, reason))
        }
        None if !is_last => {
            let reason = format!("batch {} is damaged, but a later segment exists", end.next_batch);
            Err(corrupt(segment.path(), end.offset + damage as u64, reason))
        }
        None => Ok(()),
    }
}

impl Recovered {
    fn replay(&mut self, segment: &Segment, bytes: &Bytes, end: &mut End) -> Result<(), WalError> {
        while let Some(payload) = frame::payload_at(bytes, end.offset as usize, end.next_batch) {
            let size = FRAME_HEADER_BYTES + payload.len();
            let records =
                record::read_batch(payload).map_err(|error| corrupt(segment.path(), end.offset, error))?;
            for record in records {
                self.replay_record(record).map_err(|reason| corrupt(segment.path(), end.offset, reason))?;
            }
            end.offset += size as u64;
            end.next_batch += 1;
        }
        Ok(())
    }

    fn replay_record(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::HardState(state) if state.term < self.hard_state.term => Err("the term decreases"),
            Record::HardState(state) => {
                self.hard_state = state;
                Ok(())
            }
            Record::Truncate(from) => {
                self.entries.truncate(from.previous().0 as usize);
                Ok(())
            }
            Record::Entry(entry) => self.replay_entry(entry),
        }
    }

    fn replay_entry(&mut self, entry: Entry) -> Result<(), &'static str> {
        if entry.index.0 != self.entries.len() as u64 + 1 {
            return Err("the entries are not contiguous");
        }
        if entry.term > self.hard_state.term {
            return Err("an entry is newer than the term");
        }
        self.entries.push(entry);
        Ok(())
    }
}
