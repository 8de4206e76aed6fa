//! The files below a backing directory, by inode.
//!
//! Each is held by a descriptor that follows it through renames and keeps it after it is unlinked, until the kernel
//! forgets it and nothing is known of it that its backing file does not say.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use super::image::Image;
use super::journal::{Journal, Place};

/// The number of the directory that everything is below of.
pub(super) const ROOT: u64 = 1;

/// A file, a directory, or whatever else has a name.
#[derive(Debug)]
pub(super) struct Inode {
    /// Names the inode and cannot read it (`O_PATH`).
    handle: OwnedFd,
    /// Reads and writes it, once somebody did.
    file: OnceLock<File>,
    image: Mutex<Image>,
}

impl Inode {
    fn new(handle: OwnedFd) -> Arc<Self> {
        Arc::new(Self { handle, file: OnceLock::new(), image: Mutex::default() })
    }

    /// What the kernel says of it.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.handle, "", AtFlags::EMPTY_PATH)?)
    }

    /// A path that leads to it whatever its name is.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }

    /// The open file; readable, and writable if this account may.
    pub(super) fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path());
        let file = file.or_else(|_| File::open(self.path()))?;
        Ok(self.file.get_or_init(|| file))
    }

    /// What a power failure would take of it. It is locked for as long as the file changes.
    pub(super) fn image(&self) -> MutexGuard<'_, Image> {
        // Layers are whole after every single operation on them.
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Inode {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

#[derive(Debug)]
struct Known {
    inode: Arc<Inode>,
    /// How often the kernel was told of it and has not forgotten it.
    lookups: u64,
}

/// All that the kernel knows of, and all that a power failure could change.
#[derive(Debug)]
pub(super) struct Inodes {
    root: Arc<Inode>,
    device: u64,
    known: Mutex<HashMap<u64, Known>>,
    /// In strict mode: what only an fsync of a directory saves.
    journal: Option<Journal>,
}

impl Inodes {
    /// `graves` is where removed files are kept in strict mode.
    pub(super) fn open(directory: &Path, graves: Option<&Path>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Inode::new(rustix::fs::open(directory, flags, Mode::empty())?);
        let device = root.stat()?.st_dev;
        let journal = graves.map(Journal::open).transpose()?;
        Ok(Self { root, device, known: Mutex::default(), journal })
    }

    /// What only an fsync of a directory saves, in strict mode.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Removes a name.
    pub(super) fn remove(&self, place: Place, flags: AtFlags) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.remove(place, flags),
            None => Ok(rustix::fs::unlinkat(&*place.directory, &place.name, flags)?),
        }
    }

    /// How many names an inode has, for whoever looks at it.
    pub(super) fn links(&self, stat: &Stat) -> u64 {
        let graves = self.journal.as_ref().map_or(0, |journal| journal.graves_of(stat.st_ino));
        stat.st_nlink.saturating_sub(graves)
    }

    /// What a number means.
    pub(super) fn get(&self, number: u64) -> io::Result<Arc<Inode>> {
        if number == ROOT {
            return Ok(Arc::clone(&self.root));
        }
        let known = self.lock().get(&number).map(|known| Arc::clone(&known.inode));
        known.ok_or_else(|| rustix::io::Errno::STALE.into())
    }

    /// Finds a name in a directory and tells the kernel of it, which will forget it in its time.
    pub(super) fn look_up(&self, directory: &Inode, name: &OsStr) -> io::Result<(Arc<Inode>, Stat)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inode = Inode::new(rustix::fs::openat(directory, name, flags, Mode::empty())?);
        let stat = inode.stat()?;
        if stat.st_dev != self.device {
            return Err(rustix::io::Errno::XDEV.into());
        }
        let mut known = self.lock();
        let entry = known.entry(stat.st_ino).or_insert(Known { inode, lookups: 0 });
        entry.lookups += 1;
        Ok((Arc::clone(&entry.inode), stat))
    }

    /// The inode behind a name, if it was ever told of.
    pub(super) fn known(&self, directory: &Inode, name: &OsStr) -> Option<Arc<Inode>> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        self.lock().get(&stat.st_ino).map(|known| Arc::clone(&known.inode))
    }

    /// The inode of a number, if it was ever told of.
    pub(super) fn known_number(&self, number: u64) -> Option<Arc<Inode>> {
        self.lock().get(&number).map(|known| Arc::clone(&known.inode))
    }

    /// Where the root is, for this process.
    pub(super) fn root_path(&self) -> PathBuf {
        self.root.path()
    }

    /// The present path of an inode, from the root; `None` when it has none.
    pub(super) fn path(&self, inode: &Inode) -> Option<PathBuf> {
        let (root, path) = (fs::read_link(self.root.path()).ok()?, fs::read_link(inode.path()).ok()?);
        let path = path.strip_prefix(root).ok()?.to_owned();
        let there = rustix::fs::statat(&*self.root, &path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (there.st_ino == inode.stat().ok()?.st_ino).then_some(path)
    }

    /// The kernel has forgotten a number so many times. What a power failure could change is kept.
    pub(super) fn forget(&self, number: u64, times: u64) {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(&number) else { return };
        entry.lookups = entry.lookups.saturating_sub(times);
        if entry.lookups == 0 && (entry.inode.image().is_blank() || is_unlinked(&entry.inode)) {
            known.remove(&number);
        }
    }

    /// All inodes in the order of their numbers.
    pub(super) fn all(&self) -> Vec<(u64, Arc<Inode>)> {
        let known = self.lock();
        let mut all: Vec<_> =
            known.iter().map(|(number, known)| (*number, Arc::clone(&known.inode))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        // Entries are whole after every single operation on them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_unlinked(inode: &Inode) -> bool {
    inode.stat().is_ok_and(|stat| stat.st_nlink == 0)
}
