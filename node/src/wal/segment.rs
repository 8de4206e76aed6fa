//! One file of the log: zero-filled, of fixed size, with a header that says whose it is.
//!
//! A sync of a file that grows must also write file system metadata and is several times slower than one of a file whose
//! blocks exist, so a segment gets its full size before its first use. It is created under a temporary name and renamed
//! when it is whole: a segment under its final name is never half a segment.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use super::disk::{Disk, DiskFile};
use super::error::{Op, WalError, corrupt};
use super::folder::{Folder, name_of};
use super::frame::ALIGNMENT_BYTES;
use crate::raft::{NODE_ID_BYTES, NodeId};

/// Batches start here; the header fills the first sector so that no batch shares one with it.
pub(crate) const HEADER_BYTES: u64 = 512;

const MAGIC: &[u8; 8] = b"SHKDNWAL";
const VERSION: u32 = 3;
const SUFFIX: &str = ".wal";
const UNFINISHED_SUFFIX: &str = ".wal.tmp";
/// Magic, version, sequence, node id, then the checksum of those.
const CHECKED_BYTES: usize = 8 + 4 + 8 + NODE_ID_BYTES;

/// How big segments are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentSizes {
    /// The first segment is small, so that a new node starts fast. Later ones are bigger by [`SegmentSizes::GROWTH`].
    pub(crate) first_bytes: u64,
    /// The usual size of a segment; one that holds a single huge batch may be bigger.
    pub(crate) most_bytes: u64,
    /// Sizes are multiples of this; zeros are written in such parts.
    pub(crate) part_bytes: u64,
}

impl SegmentSizes {
    const GROWTH: u64 = 4;

    /// The usual size of the segment after one of this size.
    pub(crate) fn after(&self, size: u64) -> u64 {
        (size * Self::GROWTH).min(self.most_bytes)
    }
}

impl Default for SegmentSizes {
    fn default() -> Self {
        Self { first_bytes: 1 << 20, most_bytes: 16 << 20, part_bytes: 256 << 10 }
    }
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment<D: Disk> {
    file: D::File,
    path: PathBuf,
    sequence: u64,
    size: u64,
}

impl<D: Disk> Segment<D> {
    /// Writes a whole segment under a temporary name.
    pub(crate) fn create(
        folder: &Folder<D>,
        id: NodeId,
        sequence: u64,
        size: u64,
        part_bytes: u64,
    ) -> Result<Self, WalError> {
        let size = size.next_multiple_of(part_bytes);
        let path = folder.path(&format!("{sequence:010}{UNFINISHED_SUFFIX}"));
        let file = folder.create(&path)?;
        let mut part = vec![0; part_bytes as usize];
        for offset in (0..size).step_by(part_bytes as usize) {
            file.write_at(&part, offset).map_err(Op::Write.at(&path))?;
        }
        part.truncate(HEADER_BYTES as usize);
        put_header(&mut part, id, sequence);
        file.write_at(&part, 0).map_err(Op::Write.at(&path))?;
        file.sync().map_err(Op::Sync.at(&path))?;
        Ok(Self { file, path, sequence, size })
    }

    /// Gives a created segment its final name.
    pub(crate) fn publish(mut self, folder: &Folder<D>) -> Result<Self, WalError> {
        let path = folder.path(&format!("{:010}{SUFFIX}", self.sequence));
        folder.rename(&self.path, &path)?;
        folder.sync()?;
        self.path = path;
        Ok(self)
    }

    fn open(folder: &Folder<D>, path: PathBuf, id: NodeId, sequence: u64) -> Result<Self, WalError> {
        let file = folder.open(&path)?;
        let size = file.size().map_err(Op::Read.at(&path))?;
        let segment = Self { file, path, sequence, size };
        segment.check_header(id)?;
        Ok(segment)
    }

    fn check_header(&self, id: NodeId) -> Result<(), WalError> {
        let mut header = [0; HEADER_BYTES as usize];
        if self.size < HEADER_BYTES {
            return Err(corrupt(&self.path, self.size, "the file ends inside its header"));
        }
        self.file.read_at(&mut header, 0).map_err(Op::Read.at(&self.path))?;
        let stored_crc = u32::from_le_bytes(field(&header, CHECKED_BYTES));
        if &header[..8] != MAGIC || stored_crc != crc32fast::hash(&header[..CHECKED_BYTES]) {
            return Err(corrupt(&self.path, 0, "the file header is damaged"));
        }
        let found = u32::from_le_bytes(field(&header, 8));
        if found != VERSION {
            return Err(WalError::Version { path: self.path.clone(), found, expected: VERSION });
        }
        if u64::from_le_bytes(field(&header, 12)) != self.sequence {
            return Err(corrupt(&self.path, 0, "the file header names another segment"));
        }
        self.check_owner(field(&header, 20), id)
    }

    fn check_owner(&self, owner: [u8; NODE_ID_BYTES], id: NodeId) -> Result<(), WalError> {
        if owner == id.to_bytes() {
            return Ok(());
        }
        let found = NodeId::from_bytes(owner).map_or("unknown".to_owned(), |owner| owner.to_string());
        Err(WalError::Foreign { path: self.path.clone(), found, expected: id.to_string() })
    }

    /// The whole file.
    pub(crate) fn read(&self) -> Result<Bytes, WalError> {
        let mut bytes = vec![0; self.size as usize];
        self.file.read_at(&mut bytes, 0).map_err(Op::Read.at(&self.path))?;
        Ok(bytes.into())
    }

    /// Writes and waits for the disk.
    pub(crate) fn write_durably(&self, bytes: &[u8], offset: u64) -> Result<(), WalError> {
        self.write(bytes, offset)?;
        self.sync()
    }

    /// Waits for the disk.
    pub(crate) fn sync(&self) -> Result<(), WalError> {
        self.file.sync().map_err(Op::Sync.at(&self.path))
    }

    /// Writes again what is there, and waits for the disk.
    pub(crate) fn rewrite(&self, range: Range<u64>) -> Result<(), WalError> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_at(&mut bytes, range.start).map_err(Op::Read.at(&self.path))?;
        self.write_durably(&bytes, range.start)
    }

    /// Writes without waiting.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), WalError> {
        self.file.write_at(bytes, offset).map_err(Op::Write.at(&self.path))
    }

    /// Overwrites what is not zero from `offset` on, so that remains of an unfinished batch can never be read again.
    pub(crate) fn wipe_from(&self, offset: u64) -> Result<(), WalError> {
        let bytes = self.read()?;
        let remains = &bytes[offset as usize..];
        match remains.iter().rposition(|&byte| byte != 0) {
            Some(last) => self.write_durably(&vec![0; last + 1], offset),
            None => Ok(()),
        }
    }

    /// Where mutant G2 goes on: behind everything that is not zero.
    pub(crate) fn end_of_remains(&self, offset: u64) -> Result<u64, WalError> {
        let bytes = self.read()?;
        let last = bytes[offset as usize..].iter().rposition(|&byte| byte != 0);
        Ok(last.map_or(offset, |last| (offset + last as u64 + 1).next_multiple_of(ALIGNMENT_BYTES as u64)))
    }

    /// Whether `needed` bytes fit behind the header.
    pub(crate) fn has_room(&self, needed: u64) -> bool {
        HEADER_BYTES + needed <= self.size
    }

    /// Forgets the segment for good.
    pub(crate) fn remove(self, folder: &Folder<D>) -> Result<(), WalError> {
        folder.remove(&self.path)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("invariant: the field lies inside the header")
}

fn put_header(out: &mut Vec<u8>, id: NodeId, sequence: u64) {
    out.clear();
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(sequence);
    out.put_slice(&id.to_bytes());
    out.put_u32_le(crc32fast::hash(out));
    out.resize(HEADER_BYTES as usize, 0);
}

/// Removes segments whose creation was interrupted; nothing was ever stored in them.
pub(crate) fn remove_unfinished<D: Disk>(folder: &Folder<D>) -> Result<(), WalError> {
    folder.ending_with(UNFINISHED_SUFFIX)?.iter().try_for_each(|path| folder.remove(path))
}

/// All segments in their order. The first ones may be gone, if a snapshot stands for them.
pub(crate) fn open_all<D: Disk>(folder: &Folder<D>, id: NodeId) -> Result<Vec<Segment<D>>, WalError> {
    let mut found: Vec<(u64, PathBuf)> = folder
        .ending_with(SUFFIX)?
        .into_iter()
        .filter_map(|path| Some((name_of(&path).strip_suffix(SUFFIX)?.parse().ok()?, path)))
        .collect();
    found.sort();
    let mut segments = Vec::new();
    let first = found.first().map_or(1, |(sequence, _)| *sequence);
    for (expected, (sequence, path)) in (first..).zip(found) {
        if sequence != expected {
            return Err(corrupt(&path, 0, format_args!("segment {expected} is missing before this one")));
        }
        segments.push(Segment::open(folder, path, id, sequence)?);
    }
    Ok(segments)
}
