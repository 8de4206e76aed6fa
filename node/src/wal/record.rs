//! What a batch contains: terms and votes, truncations, entries, in the order in which they happened.

use bytes::{BufMut, Bytes};

use crate::codec::{DecodeError, Reader, put_entry, put_position};
use crate::raft::{Entry, HardState, Index, LogPosition, Persist, Term};

// Code 0 is the padding at the end of a batch.
const HARD_STATE: u8 = 1;
const TRUNCATE: u8 = 2;
const ENTRY: u8 = 3;
const BEGIN: u8 = 4;

/// One fact in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The term and the vote from here on.
    HardState(HardState),
    /// The entries from this index on are void.
    Truncate(Index),
    /// All entries so far are void; the log begins anew after this one.
    Begin(LogPosition),
    /// The next entry.
    Entry(Entry),
}

/// Appends the records of one write.
pub(crate) fn put_persist(out: &mut Vec<u8>, write: &Persist) {
    if let Some(state) = write.hard_state {
        put_hard_state(out, state);
    }
    if let Some(position) = write.begin_after {
        out.put_u8(BEGIN);
        put_position(out, position);
    }
    if let Some(from) = write.truncate_from {
        out.put_u8(TRUNCATE);
        out.put_u64_le(from.0);
    }
    for entry in &write.entries {
        out.put_u8(ENTRY);
        put_entry(out, entry);
    }
}

fn put_hard_state(out: &mut Vec<u8>, state: HardState) {
    out.put_u8(HARD_STATE);
    out.put_u64_le(state.term.0);
    out.put_u8(u8::from(state.vote.is_some()));
    if let Some(vote) = state.vote {
        out.put_slice(&vote.to_bytes());
    }
}

/// Reads the records of a batch.
pub(crate) fn read_batch(payload: Bytes) -> Result<Vec<Record>, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut records = Vec::new();
    while !reader.only_zeros_left() {
        records.push(read_record(&mut reader)?);
    }
    Ok(records)
}

fn read_record(reader: &mut Reader) -> Result<Record, DecodeError> {
    match reader.u8()? {
        HARD_STATE => {
            let term = Term(reader.u64()?);
            let vote = match reader.u8()? {
                0 => None,
                _ => Some(reader.node_id()?),
            };
            Ok(Record::HardState(HardState { term, vote }))
        }
        TRUNCATE => Ok(Record::Truncate(Index(reader.u64()?))),
        BEGIN => Ok(Record::Begin(reader.position()?)),
        ENTRY => Ok(Record::Entry(reader.entry()?)),
        code => Err(DecodeError::UnknownCode { what: "record", code }),
    }
}
