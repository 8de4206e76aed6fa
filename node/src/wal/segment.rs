//! One file of the log: zero-filled, of fixed size, with a header that says whose it is.
//!
//! A sync of a file that grows must also write file system metadata and is several times slower than one of a file whose
//! blocks exist, so a segment gets its full size before its first use. It is created under a temporary name and renamed
//! when it is whole: a segment under its final name is never half a segment.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use super::error::{Op, WalError, corrupt};
use super::sync_directory;
use crate::raft::{NODE_ID_BYTES, NodeId};

/// Batches start here; the header fills the first sector so that no batch shares one with it.
pub(crate) const HEADER_BYTES: u64 = 512;

const MAGIC: &[u8; 8] = b"SHKDNWAL";
const VERSION: u32 = 3;
const SUFFIX: &str = ".wal";
const UNFINISHED_SUFFIX: &str = ".wal.tmp";
const ZERO_CHUNK_BYTES: u64 = 256 << 10;
/// Magic, version, sequence, node id, then the checksum of those.
const CHECKED_BYTES: usize = 8 + 4 + 8 + NODE_ID_BYTES;

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    path: PathBuf,
    sequence: u64,
    size: u64,
}

impl Segment {
    /// Writes a whole segment under a temporary name.
    pub(crate) fn create(directory: &Path, id: NodeId, sequence: u64, size: u64) -> Result<Self, WalError> {
        let size = size.next_multiple_of(ZERO_CHUNK_BYTES);
        let path = directory.join(format!("{sequence:010}{UNFINISHED_SUFFIX}"));
        let options = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let mut file = options.map_err(Op::Open.at(&path))?;
        let mut chunk = vec![0; ZERO_CHUNK_BYTES as usize];
        for _ in 0..size / ZERO_CHUNK_BYTES {
            file.write_all(&chunk).map_err(Op::Write.at(&path))?;
        }
        chunk.truncate(HEADER_BYTES as usize);
        put_header(&mut chunk, id, sequence);
        file.write_all_at(&chunk, 0).map_err(Op::Write.at(&path))?;
        file.sync_all().map_err(Op::Sync.at(&path))?;
        Ok(Self { file, path, sequence, size })
    }

    /// Gives a created segment its final name.
    pub(crate) fn publish(mut self, directory: &Path) -> Result<Self, WalError> {
        let path = directory.join(format!("{:010}{SUFFIX}", self.sequence));
        fs::rename(&self.path, &path).map_err(Op::Rename.at(&self.path))?;
        sync_directory(directory)?;
        self.path = path;
        Ok(self)
    }

    fn open(path: PathBuf, id: NodeId, sequence: u64) -> Result<Self, WalError> {
        let options = File::options().read(true).write(true).open(&path);
        let file = options.map_err(Op::Open.at(&path))?;
        let size = file.metadata().map_err(Op::Read.at(&path))?.len();
        let segment = Self { file, path, sequence, size };
        segment.check_header(id)?;
        Ok(segment)
    }

    fn check_header(&self, id: NodeId) -> Result<(), WalError> {
        let mut header = [0; HEADER_BYTES as usize];
        if self.size < HEADER_BYTES {
            return Err(corrupt(&self.path, self.size, "the file ends inside its header"));
        }
        self.file.read_exact_at(&mut header, 0).map_err(Op::Read.at(&self.path))?;
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
        self.file.read_exact_at(&mut bytes, 0).map_err(Op::Read.at(&self.path))?;
        Ok(bytes.into())
    }

    /// Writes and waits for the disk.
    pub(crate) fn write_durably(&self, bytes: &[u8], offset: u64) -> Result<(), WalError> {
        self.write(bytes, offset)?;
        self.sync()
    }

    /// Waits for the disk.
    pub(crate) fn sync(&self) -> Result<(), WalError> {
        self.file.sync_data().map_err(Op::Sync.at(&self.path))
    }

    /// Writes without waiting.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), WalError> {
        self.file.write_all_at(bytes, offset).map_err(Op::Write.at(&self.path))
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

    /// Whether `needed` bytes fit behind the header.
    pub(crate) fn has_room(&self, needed: u64) -> bool {
        HEADER_BYTES + needed <= self.size
    }

    /// Forgets the segment for good.
    pub(crate) fn remove(self) -> Result<(), WalError> {
        fs::remove_file(&self.path).map_err(Op::Remove.at(&self.path))
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
pub(crate) fn remove_unfinished(directory: &Path) -> Result<(), WalError> {
    for path in list(directory)? {
        if name_of(&path).ends_with(UNFINISHED_SUFFIX) {
            fs::remove_file(&path).map_err(Op::Remove.at(&path))?;
        }
    }
    Ok(())
}

/// All segments in their order. The first ones may be gone, if a snapshot stands for them.
pub(crate) fn open_all(directory: &Path, id: NodeId) -> Result<Vec<Segment>, WalError> {
    let mut found: Vec<(u64, PathBuf)> = list(directory)?
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
        segments.push(Segment::open(path, id, sequence)?);
    }
    Ok(segments)
}

pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, WalError> {
    let entries = fs::read_dir(directory).map_err(Op::ListDirectory.at(directory))?;
    entries.map(|entry| Ok(entry.map_err(Op::ListDirectory.at(directory))?.path())).collect()
}

pub(super) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
