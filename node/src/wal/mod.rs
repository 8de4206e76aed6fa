//! The write-ahead log: what this node has promised, on disk.
//!
//! # Format
//! A directory with a lock file and numbered segments. A segment is a zero-filled file of fixed size: a header (magic,
//! version, sequence, node id, checksum), then batches. A batch is one frame with a number and two checksums, written with
//! one call and made durable with one `fdatasync`; terms, votes, truncations and entries inside it are durable together
//! or not at all. Batch numbers count from 1 without gaps, across segments.
//!
//! # Guarantees
//! A batch is written only after the previous one is durable. So damage that is followed by a later batch hit durable data:
//! the node refuses to start. Damage with nothing after it is an unfinished write: it is cut off and overwritten with
//! zeros before anything is appended. (A durable last batch that was damaged later looks the same and is cut, too; only
//! other nodes could tell.) A directory of another node or version is refused, and so is a second process.
//!
//! # Compaction
//! A snapshot (`snapshot`) stands for the entries up to one of them. Whole segments that contain nothing later are
//! removed, the oldest first. Every segment begins with the term and the vote, so that none is lost with an older one.
//!
//! # What it does not do
//! Retries: after a failed write or sync nobody knows what is on disk, so the process ends.
//!
//! Start reading at [`Wal::open`] and [`Wal::append`].

mod disk;
mod error;
mod folder;
mod frame;
mod record;
mod recovery;
mod segment;
pub(crate) mod snapshot;
mod thread;

use std::collections::VecDeque;

#[cfg(test)]
pub(crate) use self::disk::DiskFile;
pub(crate) use self::disk::{Disk, RealDisk};
pub use self::error::WalError;
pub(crate) use self::folder::Folder;
pub(crate) use self::recovery::Recovered;
pub(crate) use self::segment::SegmentSizes;
pub(crate) use self::thread::{EXIT_STORAGE_FAILED, WalThread};

use self::segment::Segment;
use crate::mutant::mutant;
use crate::raft::{HardState, Index, NodeId, Persist};

/// What a log is told about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalConfig {
    /// The node that the log belongs to.
    pub(crate) id: NodeId,
    pub(crate) sizes: SegmentSizes,
    /// What this log does wrong, in builds that have mutants.
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<crate::mutant::Mutant>,
}

impl WalConfig {
    /// A correct log of the usual size.
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            sizes: SegmentSizes::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// An open log, ready to append.
#[derive(Debug)]
pub(crate) struct Wal<D: Disk = RealDisk> {
    folder: Folder<D>,
    config: WalConfig,
    segment: Segment<D>,
    /// Full segments, the oldest first, with the highest index in each.
    full: VecDeque<(Segment<D>, Index)>,
    /// The highest index in the segment in use.
    highest: Index,
    /// The last term and vote that were written.
    hard_state: HardState,
    /// Where the next batch goes.
    offset: u64,
    /// The number of the next batch.
    batch: u64,
    /// The next segment, being zero-filled while this one is in use.
    upcoming: Option<D::Job<Result<Segment<D>, WalError>>>,
    /// Reused for every batch.
    buffer: Vec<u8>,
    /// Holds the lock on the directory for as long as the log is open.
    _lock: D::Lock,
}

impl<D: Disk> Wal<D> {
    /// Opens the log in `folder`, creating it when it is not there, and reads back everything that is durable.
    ///
    /// # Errors
    /// When the directory is in use, belongs to another node, is damaged or cannot be read or written.
    pub(crate) fn open(folder: Folder<D>, config: WalConfig) -> Result<(Self, Recovered), WalError> {
        let WalConfig { id, sizes, .. } = config;
        folder.ensure()?;
        let lock = folder.lock()?;
        // A process that was killed may have renamed a file and not synced its name, on which this one is about to rely.
        folder.sync()?;
        segment::remove_unfinished(&folder)?;
        let mut segments = segment::open_all(&folder, id)?;
        if segments.is_empty() {
            let first = Segment::create(&folder, id, 1, sizes.first_bytes, sizes.part_bytes)?;
            segments.push(first.publish(&folder)?);
        }
        let snapshot = snapshot::load(&folder, id)?;
        let (recovered, mut end) = recovery::recover(&segments, snapshot, config)?;
        let mut full: VecDeque<_> = segments.into_iter().zip(end.highest).collect();
        let (segment, highest) = full.pop_back().expect("invariant: there is at least one segment");
        if mutant!(config, G2) {
            end.offset = segment.end_of_remains(end.offset)?;
        } else {
            segment.wipe_from(end.offset)?;
        }
        // What a killed process wrote may be in memory only, and this node is about to say that it has it. After a failed sync
        // a kernel may even take it for clean, so that only writing it again brings it to the disk.
        segment.rewrite(end.last_offset..end.offset)?;
        let mut wal = Self {
            folder,
            config,
            segment,
            full,
            highest,
            hard_state: recovered.hard_state,
            offset: end.offset,
            batch: end.next_batch,
            upcoming: None,
            buffer: Vec::new(),
            _lock: lock,
        };
        // A snapshot may say more than the log: that it is of another one, or of a later term. Entries that rely on it follow.
        let begin_after = end.is_other_log.then_some(recovered.base());
        let hard_state = (end.logged != recovered.hard_state).then_some(recovered.hard_state);
        if begin_after.is_some() || hard_state.is_some() {
            wal.append(&[Persist { hard_state, begin_after, ..Persist::default() }])?;
        }
        Ok((wal, recovered))
    }

    /// Makes all of `writes` durable, as one batch and in their order.
    ///
    /// # Errors
    /// When the disk says so; the log must not be used afterwards.
    pub(crate) fn append(&mut self, writes: &[Persist]) -> Result<(), WalError> {
        // A process that was killed after it began a segment has left it empty.
        let begins = self.offset == segment::HEADER_BYTES;
        self.encode(writes, begins.then_some(self.hard_state));
        if self.offset + self.buffer.len() as u64 > self.segment.size() {
            self.encode(writes, Some(self.hard_state));
            self.roll(self.buffer.len() as u64)?;
        }
        let size = self.buffer.len() as u64;
        if mutant!(self.config, B9) {
            self.segment.write(&self.buffer, self.offset)?;
        } else {
            self.segment.write_durably(&self.buffer, self.offset)?;
        }
        self.offset += size;
        self.batch += 1;
        self.note(writes);
        self.prepare_upcoming();
        self.compact(writes.iter().filter_map(|write| write.compact_to).max())
    }

    /// Makes a batch of `writes`, after the term and the vote if it begins a segment.
    fn encode(&mut self, writes: &[Persist], begins_with: Option<HardState>) {
        self.buffer.clear();
        frame::begin(&mut self.buffer);
        let state = Persist { hard_state: begins_with, ..Persist::default() };
        for write in std::iter::once(&state).chain(writes) {
            record::put_persist(&mut self.buffer, write);
        }
        frame::seal(&mut self.buffer, self.batch);
    }

    fn note(&mut self, writes: &[Persist]) {
        for write in writes {
            self.hard_state = write.hard_state.unwrap_or(self.hard_state);
            if let Some(last) = write.entries.last() {
                self.highest = self.highest.max(last.index);
            }
        }
    }

    /// Removes full segments that contain nothing after `to`.
    fn compact(&mut self, to: Option<Index>) -> Result<(), WalError> {
        while let (Some(to), Some((_, highest))) = (to, self.full.front())
            && *highest <= to
        {
            let (segment, _) = self.full.pop_front().expect("invariant: the front was just seen");
            segment.remove(&self.folder)?;
            // A disk may forget removals in any order, and a gap would look like a loss.
            self.folder.sync()?;
        }
        Ok(())
    }

    /// Goes on in the next segment.
    fn roll(&mut self, needed: u64) -> Result<(), WalError> {
        let prepared = self.upcoming.take().map(D::finish);
        let sequence = self.segment.sequence() + 1;
        let next = match prepared {
            // What could not be prepared, perhaps because there was no space, is tried once more.
            Some(Ok(segment)) if segment.has_room(needed) => segment,
            _ => {
                let size = self.next_size(needed);
                Segment::create(&self.folder, self.config.id, sequence, size, self.config.sizes.part_bytes)?
            }
        };
        let filled = std::mem::replace(&mut self.segment, next.publish(&self.folder)?);
        self.full.push_back((filled, std::mem::take(&mut self.highest)));
        self.offset = segment::HEADER_BYTES;
        Ok(())
    }

    /// Zero-fills the next segment on a thread of its own once half of this one is used: the pause for it would be some
    /// ten milliseconds otherwise.
    fn prepare_upcoming(&mut self) {
        if self.upcoming.is_some() || self.offset < self.segment.size() / 2 {
            return;
        }
        let (folder, id, part_bytes) = (self.folder.clone(), self.config.id, self.config.sizes.part_bytes);
        let (sequence, size) = (self.segment.sequence() + 1, self.next_size(0));
        let create = move || Segment::create(&folder, id, sequence, size, part_bytes);
        self.upcoming = Some(self.folder.disk().start(create));
    }

    fn next_size(&self, needed: u64) -> u64 {
        self.config.sizes.after(self.segment.size()).max(segment::HEADER_BYTES + needed)
    }
}

/// Lets go of the directory only when nothing writes to it any more.
impl<D: Disk> Drop for Wal<D> {
    fn drop(&mut self) {
        if let Some(upcoming) = self.upcoming.take() {
            drop(D::finish(upcoming));
        }
    }
}

#[cfg(test)]
mod tests;
