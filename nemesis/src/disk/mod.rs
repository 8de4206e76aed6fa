//! Disks of nodes that can lose power and go wrong: a file system of our own (FUSE) over a backing directory.
//!
//! * [`Disk`] is one of them: mounted, cut, unmounted. The guardian mounts it, in a mount namespace of its own, which nobody
//!   else sees and which is gone when the last process of the run is; this process serves it.
//! * `filesystem` passes requests on, `inodes` holds the files, `image` knows what of each is on the disk, `ages` for how
//!   long, `trouble` what is wrong with it, `corruption` which bytes are.
//!
//! A power failure is: the processes are killed and nothing of them is left; the disk is unmounted, which makes the
//! kernel hand over what it still has (mapped pages); what was not saved is undone in the backing files; the disk is
//! mounted again. The promises kept are those of ext4 in ordered mode: names, and sizes that were set, are on the disk at
//! once; a file that replaces another was written before.

mod ages;
mod corruption;
mod filesystem;
mod image;
mod inodes;
mod trouble;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use regex_lite::Regex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::dice::Dice;
use crate::guardian::{Guardian, GuardianError};
use filesystem::DiskFilesystem;
use inodes::Inodes;

pub(crate) use corruption::{Corruption, Form};
pub use image::Loss;
pub(crate) use trouble::{Operation, Pace, Trouble, Troubles};

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be mounted or unmounted.
    #[error("cannot mount or unmount {path}: {source}; `shakedown doctor` tells what this machine allows")]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: GuardianError,
    },
    /// The file system does not start, or what it stands on cannot be used.
    #[error("the disk at {path}: {source}")]
    Io {
        /// The mount point or the backing directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The disk of a node.
#[derive(Debug)]
pub struct Disk {
    mount_point: PathBuf,
    backing: PathBuf,
    troubles: Arc<Troubles>,
    mounted: Mutex<Option<Mounted>>,
}

#[derive(Debug)]
struct Mounted {
    inodes: Arc<Inodes>,
    session: BackgroundSession,
}

impl Disk {
    /// A disk that is seen at `mount_point` and keeps its files in `backing`; both must exist.
    pub fn new(mount_point: PathBuf, backing: PathBuf) -> Self {
        raise_descriptor_limit();
        Self { mount_point, backing, troubles: Arc::default(), mounted: Mutex::default() }
    }

    /// Where processes of the run see it.
    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// What is wrong with it at this moment.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Makes it ready for a new process of the node: mounts it, unless it is mounted.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub async fn mount(&self, guardian: &Guardian) -> Result<(), DiskError> {
        let mut mounted = self.mounted.lock().await;
        match &*mounted {
            Some(present) => present.inodes.all().iter().for_each(|(_, inode)| inode.image().forgive()),
            None => *mounted = Some(self.begin(guardian).await?),
        }
        Ok(())
    }

    async fn begin(&self, guardian: &Guardian) -> Result<Mounted, DiskError> {
        let inodes = Arc::new(Inodes::open(&self.backing).map_err(|source| self.io(source))?);
        let filesystem = DiskFilesystem::new(Arc::clone(&inodes), Arc::clone(&self.troubles));
        let device = guardian.mount(&self.mount_point).await.map_err(|source| self.mount_error(source))?;
        // It waits for the first word of the kernel, which comes with the mount.
        let serve = move || {
            // Who may use the disk was settled by the mount.
            Session::from_fd(filesystem, device, SessionACL::All, Config::default())?.spawn()
        };
        let session = blocking(serve).await.map_err(|source| self.io(source))?;
        Ok(Mounted { inodes, session })
    }

    /// Fails the power: what was not saved is gone, as far as the seed says. Nobody may have a file open. The
    /// disk is mounted again afterwards.
    ///
    /// # Errors
    /// When it cannot be unmounted, because somebody uses it, or a backing file cannot be changed.
    pub(crate) async fn cut(&self, guardian: &Guardian, seed: u64) -> Result<Loss, DiskError> {
        let cut = self.unmounted(guardian, move |inodes| cut_files(inodes, &mut Dice::new(seed)));
        Ok(cut.await?.unwrap_or_default())
    }

    /// Draws something that can go wrong with what has been on the disk for some time, in a file whose path
    /// matches; `None` when there is nothing.
    ///
    /// # Errors
    /// When a backing file cannot be read.
    pub(crate) async fn choose_corruption(
        &self,
        form: Form,
        files: Option<Regex>,
        seed: u64,
    ) -> Result<Option<Corruption>, DiskError> {
        let mounted = self.mounted.lock().await;
        let Some(inodes) = mounted.as_ref().map(|mounted| Arc::clone(&mounted.inodes)) else {
            return Ok(None);
        };
        let choose = move || Corruption::choose(&inodes, form, files.as_ref(), &mut Dice::new(seed));
        blocking(choose).await.map_err(|source| self.io(source))
    }

    /// Makes a page wrong, and the kernel forget what it knew of it. Nobody may have a file open.
    ///
    /// # Errors
    /// As [`Self::cut`].
    pub(crate) async fn corrupt(
        &self,
        guardian: &Guardian,
        corruption: &Arc<Corruption>,
    ) -> Result<(), DiskError> {
        let corruption = Arc::clone(corruption);
        let store = move |inodes: &Inodes| match corruption.form {
            Form::Read => Ok(()),
            Form::Stored | Form::Stale => corruption.store(inodes),
        };
        self.unmounted(guardian, store).await.map(|_| ())
    }

    /// Makes a page right again, unless it was written since; whether it is right. Nobody may have a file open.
    ///
    /// # Errors
    /// As [`Self::cut`].
    pub(crate) async fn repair(
        &self,
        guardian: &Guardian,
        corruption: &Arc<Corruption>,
    ) -> Result<bool, DiskError> {
        let corruption = Arc::clone(corruption);
        let repair = move |inodes: &Inodes| match corruption.form {
            Form::Read => Ok(true),
            Form::Stored | Form::Stale => corruption.repair(inodes),
        };
        Ok(self.unmounted(guardian, repair).await?.unwrap_or(true))
    }

    /// Unmounts the disk, so that the kernel hands over what it has and forgets the rest, changes the backing files, and
    /// mounts it again; `None` when it was not mounted, and nothing is known of its files.
    async fn unmounted<T: Send + 'static>(
        &self,
        guardian: &Guardian,
        change: impl FnOnce(&Inodes) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, DiskError> {
        let mut mounted = self.mounted.lock().await;
        let mut changed = None;
        if mounted.is_some() {
            guardian.unmount(&self.mount_point).await.map_err(|source| self.mount_error(source))?;
        }
        if let Some(Mounted { inodes, session }) = mounted.take() {
            let end = move || {
                session.join()?;
                change(&inodes)
            };
            changed = Some(blocking(end).await.map_err(|source| self.io(source))?);
        }
        *mounted = Some(self.begin(guardian).await?);
        Ok(changed)
    }

    /// Moves the files to where the disk was mounted, for whoever looks at them after the run; every process must have
    /// ended.
    ///
    /// # Errors
    /// When they cannot be moved.
    pub(crate) fn settle(&self) -> io::Result<()> {
        fs::rename(&self.backing, &self.mount_point)
    }

    fn io(&self, source: io::Error) -> DiskError {
        DiskError::Io { path: self.backing.clone(), source }
    }

    fn mount_error(&self, source: GuardianError) -> DiskError {
        DiskError::Mount { path: self.mount_point.clone(), source }
    }
}

fn cut_files(inodes: &Inodes, dice: &mut Dice) -> io::Result<Loss> {
    let mut loss = Loss::default();
    for (_, inode) in inodes.all() {
        let mut image = inode.image();
        if !image.is_clean() && inode.stat()?.st_nlink > 0 {
            loss += image.cut(inode.file()?, dice)?;
        }
    }
    Ok(loss)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Every file that the kernel knows of takes a descriptor.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // What was possible before is still possible when this fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
