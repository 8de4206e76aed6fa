//! The file operations that the log is made of, so that the same code runs on files and on a simulated disk.
//!
//! A disk promises no more than POSIX does: what was written is durable after a sync of the file, and what was created, renamed or
//! removed after a sync of the directory.

use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Where files live.
pub(crate) trait Disk: Clone + Debug + Send + 'static {
    type File: DiskFile;
    /// Keeps others away for as long as it lives.
    type Lock: Debug + Send;
    /// Work that goes on beside.
    type Job<T: Debug + Send + 'static>: Debug + Send;

    fn is_directory(&self, path: &Path) -> bool;
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes names in a directory durable: a file whose name is lost is lost.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// An empty file, whatever was there.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn lock(&self, path: &Path) -> Result<Self::Lock, TryLockError>;
    /// Begins work beside.
    fn start<T: Debug + Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Job<T>;
    /// Waits for work that was begun.
    fn finish<T: Debug + Send + 'static>(job: Self::Job<T>) -> T;
}

/// An open file.
pub(crate) trait DiskFile: Debug + Send + 'static {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    type File = File;
    type Lock = File;
    type Job<T: Debug + Send + 'static> = JoinHandle<T>;

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn lock(&self, path: &Path) -> Result<File, TryLockError> {
        let options = File::options().write(true).create(true).truncate(false).open(path);
        let file = options.map_err(TryLockError::Error)?;
        file.try_lock().map(|()| file)
    }

    fn start<T: Debug + Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        std::thread::spawn(work)
    }

    fn finish<T: Debug + Send + 'static>(job: JoinHandle<T>) -> T {
        job.join().expect("invariant: work beside the log returns")
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
