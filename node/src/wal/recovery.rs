//! Reading the log back after a start: replay, find the end, tell a torn tail from corruption.

use bytes::Bytes;

use super::WalConfig;
use super::disk::Disk;
use super::error::{WalError, corrupt};
use super::frame::{self, FRAME_HEADER_BYTES};
use super::record::{self, Record};
use super::segment::{HEADER_BYTES, Segment};
use crate::mutant::mutant;
use crate::raft::{Entry, HardState, Index, LogPosition, Snapshot, Term};

/// What the log says this node had promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The last durable term and vote.
    pub(crate) hard_state: HardState,
    /// What stands for the beginning of the log.
    pub(crate) snapshot: Option<Snapshot>,
    /// The durable entries after it, or from index 1, contiguous.
    pub(crate) entries: Vec<Entry>,
}

impl Recovered {
    /// The entry before the first one.
    pub(crate) fn base(&self) -> LogPosition {
        self.snapshot.as_ref().map_or(LogPosition::default(), |snapshot| snapshot.last)
    }
}

/// Where appending goes on, in the last segment, and what the segments contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Offset of the next batch.
    pub(crate) offset: u64,
    /// Offset of the last batch, or of the next one if the segment has none.
    pub(crate) last_offset: u64,
    /// Number of the next batch.
    pub(crate) next_batch: u64,
    /// The highest index in each segment, in their order.
    pub(crate) highest: Vec<Index>,
    /// The segments contain another log than the snapshot's: the node crashed after it had stored the snapshot, and before it
    /// could say that the log begins anew.
    pub(crate) is_other_log: bool,
    /// The term and the vote as the segments have them.
    pub(crate) logged: HardState,
}

/// Replays all segments, and leaves out what the snapshot stands for.
pub(crate) fn recover<D: Disk>(
    segments: &[Segment<D>],
    snapshot: Option<Snapshot>,
    config: WalConfig,
) -> Result<(Recovered, End), WalError> {
    let first = segments.first().expect("invariant: there is at least one segment");
    let next_batch = first_batch(first, snapshot.is_some())?;
    let mut replay = Replay::new(Recovered { snapshot, ..Recovered::default() }, config);
    let mut end = End {
        offset: HEADER_BYTES,
        last_offset: HEADER_BYTES,
        next_batch,
        highest: Vec::new(),
        is_other_log: false,
        logged: HardState::default(),
    };
    for (position, segment) in segments.iter().enumerate() {
        let bytes = segment.read()?;
        (end.offset, end.last_offset) = (HEADER_BYTES, HEADER_BYTES);
        let highest = replay.segment(segment, &bytes, &mut end)?;
        end.highest.push(highest);
        if !mutant!(config, G5) {
            check_tail(segment, &bytes, &end, position + 1 == segments.len())?;
        }
    }
    end.logged = replay.recovered.hard_state;
    end.is_other_log = replay.finish();
    Ok((replay.recovered, end))
}

/// The number of the first batch: 1, unless a snapshot stands for earlier segments.
fn first_batch<D: Disk>(first: &Segment<D>, has_snapshot: bool) -> Result<u64, WalError> {
    if first.sequence() == 1 {
        return Ok(1);
    }
    let missing =
        || corrupt(first.path(), 0, "segments before this one are missing, and no snapshot stands for them");
    if !has_snapshot {
        return Err(missing());
    }
    let header = frame::header_at(&first.read()?, HEADER_BYTES as usize);
    header
        .map(|header| header.batch)
        .ok_or_else(|| corrupt(first.path(), HEADER_BYTES, "the first batch is damaged"))
}

/// Nothing but zeros may follow the last batch, except for one unfinished batch at the very end of the log.
fn check_tail<D: Disk>(
    segment: &Segment<D>,
    bytes: &Bytes,
    end: &End,
    is_last: bool,
) -> Result<(), WalError> {
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

/// The log as far as it has been read.
struct Replay {
    recovered: Recovered,
    base: LogPosition,
    /// The term that the log has where the snapshot ends, if it has anything there.
    term_at_base: Option<Term>,
    #[cfg_attr(not(feature = "mutants"), expect(dead_code, reason = "only mutants look at it"))]
    config: WalConfig,
}

impl Replay {
    fn new(recovered: Recovered, config: WalConfig) -> Self {
        let base = recovered.base();
        Self { recovered, base, term_at_base: None, config }
    }

    /// Replays one segment and returns the highest index in it.
    fn segment<D: Disk>(
        &mut self,
        segment: &Segment<D>,
        bytes: &Bytes,
        end: &mut End,
    ) -> Result<Index, WalError> {
        let mut highest = Index(0);
        let is_checked = !mutant!(self.config, G4);
        while let Some(payload) = frame::payload_at(bytes, end.offset as usize, end.next_batch, is_checked) {
            let size = FRAME_HEADER_BYTES + payload.len();
            let records =
                record::read_batch(payload).map_err(|error| corrupt(segment.path(), end.offset, error))?;
            for record in records {
                if let Record::Entry(entry) = &record {
                    highest = highest.max(entry.index);
                }
                self.record(record).map_err(|reason| corrupt(segment.path(), end.offset, reason))?;
            }
            end.last_offset = end.offset;
            end.offset += size as u64;
            end.next_batch += 1;
        }
        Ok(highest)
    }

    fn record(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::HardState(state) if state.term < self.recovered.hard_state.term => {
                Err("the term decreases")
            }
            Record::HardState(state) => {
                self.recovered.hard_state = state;
                Ok(())
            }
            Record::Truncate(from) => {
                if !mutant!(self.config, G7) {
                    self.truncate(from);
                }
                Ok(())
            }
            Record::Begin(position) => {
                self.begin(position);
                Ok(())
            }
            Record::Entry(entry) => self.entry(entry),
        }
    }

    fn begin(&mut self, position: LogPosition) {
        self.recovered.entries.clear();
        self.term_at_base = (position == self.base).then_some(position.term);
    }

    fn truncate(&mut self, from: Index) {
        if from <= self.base.index {
            self.term_at_base = None;
        }
        let kept = from.0.saturating_sub(self.base.index.0 + 1);
        self.recovered.entries.truncate(kept as usize);
    }

    fn entry(&mut self, entry: Entry) -> Result<(), &'static str> {
        if entry.term > self.recovered.hard_state.term {
            return Err("an entry is newer than the term");
        }
        if entry.index == self.base.index {
            self.term_at_base = Some(entry.term);
        }
        if entry.index <= self.base.index {
            return Ok(());
        }
        #[cfg(feature = "mutants")]
        if mutant!(self.config, G7)
            && let Some(stored) = self.recovered.entries.iter_mut().find(|stored| stored.index == entry.index)
        {
            *stored = entry;
            return Ok(());
        }
        if entry.index.0 != self.base.index.0 + self.recovered.entries.len() as u64 + 1 {
            return Err("the entries are not contiguous");
        }
        self.recovered.entries.push(entry);
        Ok(())
    }

    /// A log that disagrees with the snapshot where that ends has nothing true after it. Returns whether this one does.
    fn finish(&mut self) -> bool {
        let is_other_log = self.term_at_base.is_some_and(|term| term != self.base.term);
        if is_other_log {
            self.recovered.entries.clear();
        }
        // The term of a snapshot may not have been written yet when the snapshot was; nobody was given a vote in it.
        if self.base.term > self.recovered.hard_state.term {
            self.recovered.hard_state = HardState { term: self.base.term, vote: None };
        }
        is_other_log
    }
}
