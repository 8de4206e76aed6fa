//! A disk with a volatile page cache.
//!
//! Files are sectors. What was written and not synced is in the cache only: a killed process finds it again, and a power loss
//! leaves of each such sector the new content, the old one, or a torn mixture, whatever becomes of the others. Names that were
//! created, renamed or removed since the last sync of the directory come back or stay, each by itself.
//!
//! The disk can be told to fail: the power goes after so many further operations, in the middle of whatever is being done; a
//! sync reports an error and forgets that its sectors are dirty, as kernels do; there is no space left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::dice::Dice;
use crate::wal::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

/// One file, whatever it is called.
#[derive(Debug, Default)]
struct Content {
    /// What a reader sees.
    cached: Vec<u8>,
    /// What the disk still has of sectors that were written since the last sync.
    unsynced: BTreeMap<usize, Vec<u8>>,
    /// The same for sectors that a failed sync has forgotten: no later sync writes them.
    forgotten: BTreeMap<usize, Vec<u8>>,
    durable_size: usize,
}

/// A sector of a file as it is, zeros behind its end.
fn sector(bytes: &[u8], number: usize) -> Vec<u8> {
    let start = (number * SECTOR_BYTES).min(bytes.len());
    let mut sector = bytes[start..bytes.len().min(start + SECTOR_BYTES)].to_vec();
    sector.resize(SECTOR_BYTES, 0);
    sector
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        for number in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let before = self.forgotten.remove(&number);
            let cached = &self.cached;
            self.unsynced.entry(number).or_insert_with(|| before.unwrap_or_else(|| sector(cached, number)));
        }
        self.cached.resize(self.cached.len().max(end), 0);
        self.cached[offset..end].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.durable_size = self.cached.len();
    }

    fn fail_to_sync(&mut self) {
        self.forgotten.append(&mut self.unsynced);
    }

    /// Returns how many bytes are not what they were.
    fn lose_power(&mut self, dice: &mut Dice) -> usize {
        let mut lost = 0;
        let unsynced = std::mem::take(&mut self.unsynced);
        for (number, old) in unsynced.into_iter().chain(std::mem::take(&mut self.forgotten)) {
            let kept = match dice.below(3) {
                0 => 0,
                1 => SECTOR_BYTES,
                _ => dice.below(SECTOR_BYTES),
            };
            // Either end of a torn sector may be the new one.
            let old_part = if dice.percent(50) { kept..SECTOR_BYTES } else { 0..SECTOR_BYTES - kept };
            for position in old_part {
                if let Some(byte) = self.cached.get_mut(number * SECTOR_BYTES + position) {
                    lost += usize::from(*byte != old[position]);
                    *byte = old[position];
                }
            }
        }
        if self.cached.len() > self.durable_size && dice.percent(50) {
            lost += self.cached.len() - self.durable_size;
            self.cached.truncate(self.durable_size);
        }
        self.durable_size = self.cached.len();
        lost
    }
}

type Inode = Arc<Mutex<Content>>;

#[derive(Debug)]
struct State {
    /// Names as a process sees them.
    names: BTreeMap<PathBuf, Inode>,
    /// Names as the disk has them, where that differs.
    unsynced: BTreeMap<PathBuf, Option<Inode>>,
    directories: BTreeSet<PathBuf>,
    dice: Dice,
    /// Operations until the power goes.
    power_left: Option<usize>,
    power_is_lost: bool,
    is_full: bool,
    /// Whether the next sync of a file fails.
    sync_fails: bool,
    /// Whether an operation has failed that was told to.
    has_failed: bool,
}

/// What a node has to write on.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

impl SimulatedDisk {
    pub(crate) fn new(dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            directories: BTreeSet::new(),
            dice,
            power_left: None,
            power_is_lost: false,
            is_full: false,
            sync_fails: false,
            has_failed: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread uses the disk")
    }

    /// The power goes in the middle of the operation after so many further ones.
    pub(crate) fn lose_power_after(&self, operations: usize) {
        self.state().power_left = Some(operations);
    }

    /// Files cannot grow until the next repair.
    pub(crate) fn fill_up(&self) {
        self.state().is_full = true;
    }

    pub(crate) fn fail_next_sync(&self) {
        self.state().sync_fails = true;
    }

    /// What a power loss leaves; returns how many bytes and names are gone.
    pub(crate) fn lose_power(&self) -> usize {
        let state = &mut *self.state();
        let mut lost = 0;
        for (path, durable) in std::mem::take(&mut state.unsynced) {
            if state.dice.percent(50) {
                lost += 1;
                match durable {
                    Some(inode) => drop(state.names.insert(path, inode)),
                    None => drop(state.names.remove(&path)),
                }
            }
        }
        for inode in state.names.values() {
            lost += inode.lock().expect("one thread uses the disk").lose_power(&mut state.dice);
        }
        lost
    }

    /// The next process finds a disk that works.
    pub(crate) fn repair(&self) {
        let state = &mut *self.state();
        (state.power_left, state.power_is_lost) = (None, false);
        (state.sync_fails, state.is_full) = (false, false);
    }

    /// Whether something has failed since the last time this was asked.
    pub(crate) fn take_failure(&self) -> bool {
        std::mem::take(&mut self.state().has_failed)
    }

    /// Whether the power is gone.
    pub(crate) fn has_lost_power(&self) -> bool {
        self.state().power_is_lost
    }
}

impl State {
    /// Every operation begins with this one.
    fn operate(&mut self) -> io::Result<()> {
        if self.power_left == Some(0) {
            self.power_is_lost = true;
        }
        if self.power_is_lost {
            self.has_failed = true;
            return Err(io::Error::other("the power is gone"));
        }
        self.power_left = self.power_left.map(|left| left - 1);
        Ok(())
    }

    /// Gives a name to a file, or to none.
    fn set(&mut self, path: &Path, inode: Option<Inode>) {
        let before = match inode {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.unsynced.entry(path.to_owned()).or_insert(before);
    }

    fn get(&self, path: &Path) -> io::Result<Inode> {
        self.names.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;
    type Lock = ();
    type Job<T: fmt::Debug + Send + 'static> = T;

    fn is_directory(&self, path: &Path) -> bool {
        self.state().directories.contains(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.operate()?;
        state.directories.insert(path.to_owned());
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.operate()?;
        state.unsynced.clear();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = &mut *self.state();
        state.operate()?;
        Ok(state.names.keys().filter(|name| name.parent() == Some(path)).cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let state = &mut *self.state();
        state.operate()?;
        let inode = Inode::default();
        state.set(path, Some(inode.clone()));
        Ok(SimulatedFile { disk: self.clone(), inode })
    }

    fn open(&self, path: &Path) -> io::Result<SimulatedFile> {
        let state = &mut *self.state();
        state.operate()?;
        Ok(SimulatedFile { disk: self.clone(), inode: state.get(path)? })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.operate()?;
        let inode = state.get(from)?;
        state.set(to, Some(inode));
        state.set(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.operate()?;
        state.get(path)?;
        state.set(path, None);
        Ok(())
    }

    fn lock(&self, _: &Path) -> Result<(), TryLockError> {
        self.state().operate().map_err(TryLockError::Error)
    }

    /// There is one thread, so work beside is done at once.
    fn start<T: fmt::Debug + Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }

    fn finish<T: fmt::Debug + Send + 'static>(job: T) -> T {
        job
    }
}

/// An open file of the disk.
#[derive(Debug)]
pub(crate) struct SimulatedFile {
    disk: SimulatedDisk,
    inode: Inode,
}

impl SimulatedFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.inode.lock().expect("one thread uses the disk")
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.state().operate()?;
        Ok(self.content().cached.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.state().operate()?;
        let content = self.content();
        let found = content.cached.get(offset as usize..offset as usize + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let end = offset as usize + bytes.len();
        let mut content = self.content();
        if state.is_full && end > content.cached.len() {
            state.has_failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.power_is_lost {
            return state.operate();
        }
        // Where the power goes during a write, a part of it has been written.
        let result = state.operate();
        let written = if result.is_ok() { bytes.len() } else { state.dice.below(bytes.len() + 1) };
        content.write(&bytes[..written], offset as usize);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.operate()?;
        let mut content = self.content();
        if std::mem::take(&mut state.sync_fails) {
            state.has_failed = true;
            content.fail_to_sync();
            return Err(io::Error::other("input/output error"));
        }
        content.sync();
        Ok(())
    }
}
