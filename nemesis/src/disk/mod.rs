//! Disks of nodes that can lose power and go wrong: a file system of our own (FUSE) over a backing directory.
//!
//! * [`Disk`] is one of them: mounted, cut, unmounted. The guardian mounts it, in a mount namespace of its own, which nobody
//!   else sees and which is gone when the last process of the run is; this process serves it.
//! * `filesystem` passes requests on, `inodes` holds the files, `image` knows what of each is on the disk, `ages` for how
//!   long, `journal` which names are, `trouble` what is wrong with it, `corruption` which bytes are.
//!
//! A power failure is: the processes are killed and nothing of them is left; the disk is unmounted, which makes the
//! kernel hand over what it still has (mapped pages); what was not saved is undone in the backing files; the disk is
//! mounted again. Which promises are kept is said by [`Promises`].

mod ages;
mod attributes;
mod corruption;
mod filesystem;
mod image;
mod inodes;
mod journal;
mod trouble;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use regex_lite::Regex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::data::{self, Contents};
use crate::dice::Dice;
use crate::guardian::{Guardian, GuardianError, Mounter};
use filesystem::DiskFilesystem;
use inodes::Inodes;

pub(crate) use corruption::{Corruption, Form};
pub use image::Loss;
pub(crate) use trouble::{CANARY_FILE, Files, Operation, Pace, Trouble, Troubles};

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

/// What a disk keeps through a power failure beyond what was fsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promises {
    /// What ext4 in ordered mode does: names, and sizes that were set, are on the disk at once; a file that replaces another
    /// was written before.
    #[default]
    Ordered,
    /// Nothing: a name that was made, moved or removed needs an fsync of its directory, or of the file itself; a file
    /// that was cut shorter needs one, too.
    Strict,
}

impl Promises {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ordered, Self::Strict];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Strict => "strict",
        }
    }
}

/// Promises that nobody makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: a disk is `ordered` or `strict`")]
pub struct UnknownPromises(String);

impl FromStr for Promises {
    type Err = UnknownPromises;

    fn from_str(text: &str) -> Result<Self, UnknownPromises> {
        let found = Self::ALL.into_iter().find(|promises| promises.name() == text);
        found.ok_or_else(|| UnknownPromises(text.to_owned()))
    }
}

/// The disk of a node.
#[derive(Debug)]
pub struct Disk {
    mount_point: PathBuf,
    backing: PathBuf,
    /// Where removed files are kept until that is saved, in strict mode.
    graves: Option<PathBuf>,
    /// Whether the helper mounts it, whatever else is possible.
    by_helper: bool,
    troubles: Arc<Troubles>,
    mounted: Mutex<Option<Mounted>>,
}

#[derive(Debug)]
struct Mounted {
    inodes: Arc<Inodes>,
    session: BackgroundSession,
    by: Mounter,
}

impl Disk {
    /// A disk that is seen at `mount_point` and keeps its files in `backing`; both must exist.
    pub fn new(mount_point: PathBuf, backing: PathBuf, promises: Promises) -> Self {
        raise_descriptor_limit();
        let graves = (promises == Promises::Strict).then(|| backing.with_extension("removed"));
        Self {
            mount_point,
            backing,
            graves,
            by_helper: false,
            troubles: Arc::default(),
            mounted: Mutex::default(),
        }
    }

    /// Lets `fusermount3` mount it even where a namespace of the guardian's own would do.
    #[must_use]
    pub fn mounted_by_helper(self) -> Self {
        Self { by_helper: true, ..self }
    }

    /// Who mounted it.
    pub(crate) async fn mounter(&self) -> Option<Mounter> {
        self.mounted.lock().await.as_ref().map(|mounted| mounted.by)
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
        let inodes = Inodes::open(&self.backing, self.graves.as_deref());
        let inodes = Arc::new(inodes.map_err(|source| self.io(source))?);
        let filesystem = DiskFilesystem::new(Arc::clone(&inodes), Arc::clone(&self.troubles));
        let mounted = guardian.mount(&self.mount_point, self.by_helper).await;
        let (device, by) = mounted.map_err(|source| self.mount_error(source))?;
        // It waits for the first word of the kernel, which comes with the mount.
        let serve = move || {
            // Who may use the disk was settled by the mount.
            Session::from_fd(filesystem, device, SessionACL::All, Config::default())?.spawn()
        };
        let session = blocking(serve).await.map_err(|source| self.io(source))?;
        Ok(Mounted { inodes, session, by })
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
        let repaired = self.unmounted(guardian, move |inodes| corruption.repair(inodes)).await?;
        Ok(repaired.unwrap_or(true))
    }

    /// Changes the backing directory while the disk is not mounted. Nobody may have a file open.
    ///
    /// # Errors
    /// As [`Self::cut`], or what the change says.
    pub(crate) async fn offline<T: Send + 'static>(
        &self,
        guardian: &Guardian,
        change: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let backing = self.backing.clone();
        let changed = self.unmounted(guardian, move |_| change(&backing)).await?;
        changed.ok_or_else(|| self.io(io::Error::other("it was never mounted")))
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
        if let Some(Mounted { inodes, session, .. }) = mounted.take() {
            let end = move || {
                session.join()?;
                change(&inodes)
            };
            changed = Some(blocking(end).await.map_err(|source| self.io(source))?);
        }
        *mounted = Some(self.begin(guardian).await?);
        Ok(changed)
    }

    /// Where it keeps its files.
    pub(crate) fn backing(&self) -> &Path {
        &self.backing
    }

    /// Removes everything on it, and returns what there was. Nobody may have a file open. The next [`Disk::mount`] mounts it.
    ///
    /// # Errors
    /// When it cannot be unmounted, because somebody uses it, or its files cannot be removed.
    pub(crate) async fn empty(&self, guardian: &Guardian) -> Result<Contents, DiskError> {
        let mut mounted = self.mounted.lock().await;
        if mounted.is_some() {
            guardian.unmount(&self.mount_point).await.map_err(|source| self.mount_error(source))?;
        }
        if let Some(Mounted { session, .. }) = mounted.take() {
            blocking(move || session.join()).await.map_err(|source| self.io(source))?;
        }
        data::empty(&self.backing).await.map_err(|source| self.io(source))
    }

    /// Moves the files to where the disk was mounted, for whoever looks at them after the run; every process must have
    /// ended.
    ///
    /// # Errors
    /// When they cannot be moved.
    pub(crate) fn settle(&self) -> io::Result<()> {
        if let Some(graves) = self.graves.as_ref().filter(|graves| graves.exists()) {
            fs::remove_dir_all(graves)?;
        }
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
    if let Some(journal) = inodes.journal() {
        loss.names = journal.cut(dice)?;
    }
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
