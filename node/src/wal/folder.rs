//! The directory of a log: files by name, and errors that name them.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{Op, WalError};

const LOCK_FILE: &str = "LOCK";

/// A directory on a disk.
#[derive(Clone, Debug)]
pub(crate) struct Folder<D> {
    disk: D,
    directory: PathBuf,
}

impl<D: Disk> Folder<D> {
    pub(crate) fn new(disk: D, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned() }
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Creates the directory when it is not there.
    pub(crate) fn ensure(&self) -> Result<(), WalError> {
        if self.disk.is_directory(&self.directory) {
            return Ok(());
        }
        self.disk.create_directory(&self.directory).map_err(Op::CreateDirectory.at(&self.directory))?;
        match self.directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => self.disk.sync_directory(parent).map_err(Op::SyncDirectory.at(parent)),
            None => Ok(()),
        }
    }

    /// Keeps other processes away.
    pub(crate) fn lock(&self) -> Result<D::Lock, WalError> {
        let path = self.path(LOCK_FILE);
        match self.disk.lock(&path) {
            Ok(lock) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(WalError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(Op::Lock.at(&path)(source)),
        }
    }

    /// Makes its names durable.
    pub(crate) fn sync(&self) -> Result<(), WalError> {
        self.disk.sync_directory(&self.directory).map_err(Op::SyncDirectory.at(&self.directory))
    }

    /// The files whose names end so, in no order.
    pub(crate) fn ending_with(&self, suffix: &str) -> Result<Vec<PathBuf>, WalError> {
        let mut found = self.disk.list(&self.directory).map_err(Op::ListDirectory.at(&self.directory))?;
        found.retain(|path| name_of(path).ends_with(suffix));
        Ok(found)
    }

    pub(crate) fn create(&self, path: &Path) -> Result<D::File, WalError> {
        self.disk.create(path).map_err(Op::Open.at(path))
    }

    pub(crate) fn open(&self, path: &Path) -> Result<D::File, WalError> {
        self.disk.open(path).map_err(Op::Open.at(path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), WalError> {
        self.disk.rename(from, to).map_err(Op::Rename.at(from))
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), WalError> {
        self.disk.remove(path).map_err(Op::Remove.at(path))
    }
}

/// The last part of a path.
pub(crate) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
