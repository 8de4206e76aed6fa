//! The snapshot on disk: one file that stands for the beginning of the log.
//!
//! It is written aside, synced, renamed, and its name synced, before anything that it stands for is forgotten. A file under
//! its final name is therefore whole, and damage in it is damage of durable data: the node refuses to start.

use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use super::WalConfig;
use super::disk::{Disk, DiskFile};
use super::error::{Op, WalError, corrupt};
use super::folder::Folder;
use crate::codec::{DecodeError, Reader, put_bytes, put_members, put_position};
#[cfg(feature = "mutants")]
use crate::mutant::mutant;
use crate::raft::{NodeId, Snapshot};

const MAGIC: u64 = u64::from_le_bytes(*b"SHKDNSNP");
const VERSION: u32 = 2;
const SUFFIX: &str = ".snapshot";
const UNFINISHED_SUFFIX: &str = ".snapshot.tmp";

/// Makes a snapshot durable and forgets the one before.
///
/// # Errors
/// When the disk says so.
pub(crate) fn save<D: Disk>(
    folder: &Folder<D>,
    config: WalConfig,
    snapshot: &Snapshot,
) -> Result<(), WalError> {
    #[cfg(feature = "mutants")]
    if mutant!(config, E12)
        && let Some(before) = load(folder, config.id)?
    {
        write(folder, config, &Snapshot { state: snapshot.state.clone(), ..before })?;
    }
    write(folder, config, snapshot)?;
    let path = final_path(folder, snapshot);
    stored(folder)?.iter().filter(|stored| **stored != path).try_for_each(|older| folder.remove(older))
}

fn final_path<D: Disk>(folder: &Folder<D>, snapshot: &Snapshot) -> PathBuf {
    folder.path(&format!("{:020}{SUFFIX}", snapshot.last.index.0))
}

/// Gives a whole and durable file its name.
fn write<D: Disk>(folder: &Folder<D>, config: WalConfig, snapshot: &Snapshot) -> Result<(), WalError> {
    let name = format!("{:020}", snapshot.last.index.0);
    let aside = folder.path(&format!("{name}{UNFINISHED_SUFFIX}"));
    let file = folder.create(&aside)?;
    file.write_at(&encode(config.id, snapshot), 0).map_err(Op::Write.at(&aside))?;
    file.sync().map_err(Op::Sync.at(&aside))?;
    folder.rename(&aside, &final_path(folder, snapshot))?;
    folder.sync()
}

/// The snapshot, if there is one. Removes what a crash left of others.
///
/// # Errors
/// When it is damaged, belongs to another node, or cannot be read.
pub(super) fn load<D: Disk>(folder: &Folder<D>, id: NodeId) -> Result<Option<Snapshot>, WalError> {
    folder.ending_with(UNFINISHED_SUFFIX)?.iter().try_for_each(|path| folder.remove(path))?;
    let mut stored = stored(folder)?;
    let Some(path) = stored.pop() else {
        return Ok(None);
    };
    let snapshot = decode(&path, id, read(folder, &path)?)?;
    stored.iter().try_for_each(|older| folder.remove(older))?;
    Ok(Some(snapshot))
}

fn read<D: Disk>(folder: &Folder<D>, path: &Path) -> Result<Bytes, WalError> {
    let file = folder.open(path)?;
    let mut bytes = vec![0; file.size().map_err(Op::Read.at(path))? as usize];
    file.read_at(&mut bytes, 0).map_err(Op::Read.at(path))?;
    Ok(bytes.into())
}

/// All snapshots, the newest last: names are as wide as numbers can be.
fn stored<D: Disk>(folder: &Folder<D>) -> Result<Vec<PathBuf>, WalError> {
    let mut found = folder.ending_with(SUFFIX)?;
    found.sort();
    Ok(found)
}

/// Magic, version, node, position, members, state; then the checksum of those.
fn encode(id: NodeId, snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::with_capacity(snapshot.state.len() + 1024);
    out.put_u64_le(MAGIC);
    out.put_u32_le(VERSION);
    out.put_slice(&id.to_bytes());
    put_position(&mut out, snapshot.last);
    put_members(&mut out, &snapshot.members);
    put_bytes(&mut out, &snapshot.state);
    out.put_u32_le(crc32fast::hash(&out));
    out
}

fn decode(path: &Path, id: NodeId, bytes: Bytes) -> Result<Snapshot, WalError> {
    let damaged = |reason: &dyn std::fmt::Display| corrupt(path, 0, reason);
    let Some(end) = bytes.len().checked_sub(4) else {
        return Err(damaged(&"the file ends inside its header"));
    };
    let (content, checksum) = (bytes.slice(..end), bytes.slice(end..));
    if checksum[..] != crc32fast::hash(&content).to_le_bytes() {
        return Err(damaged(&"the checksum does not match"));
    }
    let mut reader = Reader::new(content);
    let header =
        |reader: &mut Reader| Ok::<_, DecodeError>((reader.u64()?, reader.u32()?, reader.node_id()?));
    let (magic, version, owner) = header(&mut reader).map_err(|error| damaged(&error))?;
    if magic != MAGIC {
        return Err(damaged(&"the file is no snapshot"));
    }
    if version != VERSION {
        return Err(WalError::Version { path: path.to_owned(), found: version, expected: VERSION });
    }
    if owner != id {
        let (found, expected) = (owner.to_string(), id.to_string());
        return Err(WalError::Foreign { path: path.to_owned(), found, expected });
    }
    let body = |mut reader: Reader| {
        let snapshot =
            Snapshot { last: reader.position()?, members: reader.members()?, state: reader.bytes()? };
        reader.finish().map(|()| snapshot)
    };
    body(reader).map_err(|error| damaged(&error))
}
