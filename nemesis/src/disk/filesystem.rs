//! The file system of a node's disk: every request is passed on to a backing directory, and what an fsync has not saved
//! is remembered.
//!
//! One thread serves a disk. An fsync that is kept waiting waits on a thread of its own, so that the others go on.
//! The kernel passes on every write at once (no writeback cache), so what processes wrote is here even when they are
//! killed; only a shared writable mapping is written back later, at the latest when the disk is unmounted.
//!
//! It never touches the mount point. Limits: `sync`, `syncfs` and `sync_file_range` do not get here and save nothing; no
//! extended attributes; one file system below the backing directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, FallocateFlags, Gid, Mode, OFlags, Stat, Timestamps, Uid};

use super::attributes::{attributes, kind, timestamp};
use super::inodes::{Inode, Inodes, ROOT};
use super::journal::{Journal, Place};
use super::trouble::{Operation, Subject, Troubles};

/// How long the kernel may remember names and attributes. Nothing changes behind its back.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The largest write that the kernel passes on at once.
const WRITE_BYTES: u32 = 1 << 20;

/// A mounted disk.
pub(super) struct DiskFilesystem {
    inodes: Arc<Inodes>,
    troubles: Arc<Troubles>,
    /// Directories that are being read, as they were when they were opened.
    listings: Mutex<HashMap<u64, Vec<Entry>>>,
    next_listing: AtomicU64,
}

struct Entry {
    number: u64,
    kind: FileType,
    name: Vec<u8>,
}

impl DiskFilesystem {
    pub(super) fn new(inodes: Arc<Inodes>, troubles: Arc<Troubles>) -> Self {
        Self { inodes, troubles, listings: Mutex::default(), next_listing: AtomicU64::new(1) }
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let directory = self.inodes.get(parent.0)?;
        let (_, stat) = self.inodes.look_up(&directory, name)?;
        Ok(self.attributes(stat.st_ino, &stat))
    }

    fn attributes_of(&self, number: INodeNo) -> io::Result<FileAttr> {
        Ok(self.attributes(number.0, &self.inodes.get(number.0)?.stat()?))
    }

    fn attributes(&self, number: u64, stat: &Stat) -> FileAttr {
        attributes(number, self.inodes.links(stat), stat)
    }

    /// Makes something new in a directory and looks it up.
    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        make: impl FnOnce(&Inode) -> io::Result<()>,
    ) -> io::Result<FileAttr> {
        let made = self.name(request, parent, name, make)?;
        if let Some(journal) = self.inodes.journal() {
            journal.made(Place::new(&self.inodes.get(parent.0)?, name))?;
        }
        Ok(made)
    }

    /// Gives something a name in a directory and looks it up; a full disk has no room for names either.
    fn name(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        make: impl FnOnce(&Inode) -> io::Result<()>,
    ) -> io::Result<FileAttr> {
        if self.troubles.is_full() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let directory = self.inodes.get(parent.0)?;
        make(&directory)?;
        let owner = (Uid::from_raw(request.uid()), Gid::from_raw(request.gid()));
        if owner != (rustix::process::geteuid(), rustix::process::getegid()) {
            let (uid, gid) = (Some(owner.0), Some(owner.1));
            rustix::fs::chownat(&*directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        self.look_up(parent, name)
    }

    fn resize(&self, inode: &Arc<Inode>, length: u64) -> io::Result<()> {
        let file = inode.file()?;
        let mut image = inode.image();
        let size = file.metadata()?.len();
        if length > size && self.troubles.is_full() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        match self.inodes.journal() {
            Some(journal) if length < size => {
                let truncation = image.truncated(file, size, length)?;
                journal.truncated(inode, truncation)?;
            }
            Some(_) => image.grown(size),
            None if length < size => image.shrunk(length),
            None => image.extended(length),
        }
        file.set_len(length)
    }

    /// Writes as much as there is space for. `may_be_short` says whether somebody is there who would write the rest.
    fn write_file(
        &self,
        number: INodeNo,
        offset: u64,
        mut data: &[u8],
        may_be_short: bool,
    ) -> io::Result<usize> {
        let inode = self.inodes.get(number.0)?;
        let path = || self.inodes.path(&inode);
        let subject = Subject { number: number.0, path: &path };
        let file = inode.file()?;
        let mut image = inode.image();
        let size = file.metadata()?.len();
        if self.troubles.fails(Operation::Write, &subject) {
            return Err(rustix::io::Errno::IO.into());
        }
        if self.troubles.is_thin_and_full() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        // What lies within the file has its space already; of the rest nothing fits.
        if offset + data.len() as u64 > size && self.troubles.is_full() {
            let room = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            if room == 0 {
                return Err(rustix::io::Errno::NOSPC.into());
            }
            data = &data[..room.min(data.len())];
        }
        if may_be_short {
            data = &data[..self.troubles.shortened(data.len(), &subject)];
        }
        image.before_change(file, size, offset, data.len() as u64)?;
        file.write_all_at(data, offset)?;
        self.troubles.written(number.0);
        Ok(data.len())
    }

    fn allocate(&self, inode: &Inode, offset: u64, length: u64, mode: i32) -> io::Result<()> {
        let known = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        let flags = u32::try_from(mode).ok().and_then(FallocateFlags::from_bits);
        let flags = flags.filter(|flags| known.contains(*flags)).ok_or(rustix::io::Errno::OPNOTSUPP)?;
        if self.troubles.is_full() && !flags.contains(FallocateFlags::PUNCH_HOLE) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let file = inode.file()?;
        let mut image = inode.image();
        let size = file.metadata()?.len();
        if flags.intersects(FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE) && offset < size {
            image.before_change(file, size, offset, length.min(size - offset))?;
        }
        if self.inodes.journal().is_some() {
            image.grown(size);
        }
        rustix::fs::fallocate(file, flags, offset, length)?;
        if self.inodes.journal().is_none() {
            image.extended(file.metadata()?.len());
        }
        Ok(())
    }

    fn rename_file(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let (old, new) = (self.inodes.get(from.0.0)?, self.inodes.get(to.0.0)?);
        if let Some(journal) = self.inodes.journal() {
            let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
            return journal.rename(Place::new(&old, from.1), Place::new(&new, to.1), flags);
        }
        let replaces = rustix::fs::statat(&*new, to.1, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        rustix::fs::renameat_with(&*old, from.1, &*new, to.1, flags)?;
        // ext4 writes a file before it lets it replace another.
        if replaces && let Some(inode) = self.inodes.known(&new, to.1) {
            inode.image().settle();
        }
        Ok(())
    }

    /// Saves a file or a directory in the time that it takes, and answers then.
    fn save(&self, number: INodeNo, data_only: bool, reply: ReplyEmpty) {
        let inode = match self.inodes.get(number.0) {
            Ok(inode) => inode,
            Err(error) => return reply.error(error.into()),
        };
        let sync = inode.image().begin_sync();
        let mark = self.inodes.journal().map(Journal::mark);
        let end = Instant::now() + self.troubles.delay();
        let (troubles, inodes) = (Arc::clone(&self.troubles), Arc::clone(&self.inodes));
        let finish = move || {
            if !troubles.wait(end) {
                return reply.error(Errno::EIO);
            }
            let path = || inodes.path(&inode);
            let well = !troubles.fails(Operation::Sync, &Subject { number: number.0, path: &path });
            let stat = match inode.stat() {
                Ok(stat) => stat,
                Err(error) => return reply.error(error.into()),
            };
            inode.image().end_sync(sync, well, u64::try_from(stat.st_size).unwrap_or_default());
            if !well {
                return reply.error(Errno::EIO);
            }
            if let (Some(journal), Some(mark)) = (inodes.journal(), mark) {
                journal.save(stat.st_ino, mark, data_only);
            }
            reply.ok();
        };
        thread::spawn(finish);
    }

    fn list(&self, directory: &Inode) -> io::Result<Vec<Entry>> {
        let opened = rustix::fs::openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(opened)? {
            let entry = entry?;
            let kind = kind(entry.file_type());
            entries.push(Entry { number: entry.ino(), kind, name: entry.file_name().to_bytes().to_vec() });
        }
        Ok(entries)
    }
}

/// Answers a request with a result.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:ident => $answer:expr) => {
        match $result {
            Ok($value) => $answer,
            Err(error) => $reply.error(Errno::from(io::Error::from(error))),
        }
    };
}

impl Filesystem for DiskFilesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel takes the nearest size that it can; a smaller one is no loss.
        let _ = config.set_max_write(WRITE_BYTES);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.look_up(parent, name);
        answer!(reply, found, attr => reply.entry(&REMEMBERED, &attr, Generation(0)));
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.inodes.forget(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attributes_of(ino), attr => reply.attr(&REMEMBERED, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || -> io::Result<FileAttr> {
            let inode = self.inodes.get(ino.0)?;
            if let Some(length) = size {
                self.resize(&inode, length)?;
            }
            if uid.is_some() || gid.is_some() {
                let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                rustix::fs::chownat(&*inode, "", uid, gid, AtFlags::EMPTY_PATH)?;
            }
            if let Some(mode) = mode {
                std::fs::set_permissions(inode.path(), std::fs::Permissions::from_mode(mode))?;
            }
            if atime.is_some() || mtime.is_some() {
                let times = Timestamps { last_access: timestamp(atime), last_modification: timestamp(mtime) };
                rustix::fs::utimensat(rustix::fs::CWD, inode.path(), &times, AtFlags::empty())?;
            }
            self.attributes_of(ino)
        };
        answer!(reply, change(), attr => reply.attr(&REMEMBERED, &attr));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let read =
            self.inodes.get(ino.0).and_then(|inode| Ok(rustix::fs::readlinkat(&*inode, "", Vec::new())?));
        answer!(reply, read, target => reply.data(target.as_bytes()));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = rustix::fs::FileType::from_raw_mode(mode);
        let mode = Mode::from_raw_mode(mode);
        let made = self.make(request, parent, name, |directory| {
            Ok(rustix::fs::mknodat(directory, name, kind, mode, u64::from(rdev))?)
        });
        answer!(reply, made, attr => reply.entry(&REMEMBERED, &attr, Generation(0)));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let made = self.make(request, parent, name, |directory| {
            Ok(rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode))?)
        });
        answer!(reply, made, attr => reply.entry(&REMEMBERED, &attr, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let directory = self.inodes.get(parent.0);
        let gone = directory
            .and_then(|directory| self.inodes.remove(Place::new(&directory, name), AtFlags::empty()));
        answer!(reply, gone, _done => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let directory = self.inodes.get(parent.0);
        let gone = directory
            .and_then(|directory| self.inodes.remove(Place::new(&directory, name), AtFlags::REMOVEDIR));
        answer!(reply, gone, _done => reply.ok());
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let made = self.make(request, parent, link_name, |directory| {
            Ok(rustix::fs::symlinkat(target, directory, link_name)?)
        });
        answer!(reply, made, attr => reply.entry(&REMEMBERED, &attr, Generation(0)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.rename_file((parent, name), (newparent, newname), flags);
        answer!(reply, renamed, _done => reply.ok());
    }

    fn link(&self, request: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let link = || -> io::Result<FileAttr> {
            let linked = self.name(request, newparent, newname, |directory| {
                let inode = self.inodes.get(ino.0)?;
                let flags = AtFlags::SYMLINK_FOLLOW;
                Ok(rustix::fs::linkat(rustix::fs::CWD, inode.path(), directory, newname, flags)?)
            })?;
            if let Some(journal) = self.inodes.journal() {
                journal.linked(Place::new(&self.inodes.get(newparent.0)?, newname))?;
            }
            Ok(linked)
        };
        answer!(reply, link(), attr => reply.entry(&REMEMBERED, &attr, Generation(0)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.inodes.get(ino.0).and_then(|inode| inode.file().map(|_| ()));
        answer!(reply, opened, _done => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let exclusive = if flags & libc::O_EXCL == 0 { OFlags::empty() } else { OFlags::EXCL };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | exclusive;
        let made = self.make(request, parent, name, |directory| {
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::openat(directory, name, flags, mode)?;
            Ok(())
        });
        answer!(reply, made, attr => {
            reply.created(&REMEMBERED, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || -> io::Result<Vec<u8>> {
            let inode = self.inodes.get(ino.0)?;
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                match inode.file()?.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            self.troubles.misread(ino.0, offset, &mut bytes);
            Ok(bytes)
        };
        answer!(reply, read(), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // What the kernel writes of a mapped page was asked for by nobody who waits.
        let may_be_short = !flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let written = self.write_file(ino, offset, data, may_be_short);
        answer!(reply, written, count => {
            reply.written(u32::try_from(count).expect("invariant: no more than was asked for"));
        });
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Who is killed closes files, too; but nothing is written then.
        if let Ok(inode) = self.inodes.get(ino.0)
            && self.troubles.has_power()
            && self.inodes.journal().is_none()
        {
            inode.image().closed();
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.save(ino, datasync, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        match self.inodes.journal() {
            Some(_) => self.save(ino, datasync, reply),
            // Names are on the disk at once.
            None => reply.ok(),
        }
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = self.inodes.get(ino.0).and_then(|directory| self.list(&directory));
        answer!(reply, listed, entries => {
            let number = self.next_listing.fetch_add(1, Ordering::Relaxed);
            self.listings.lock().unwrap_or_else(PoisonError::into_inner).insert(number, entries);
            reply.opened(FileHandle(number), FopenFlags::empty());
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = listings.get(&fh.0).map_or(&[][..], Vec::as_slice);
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(entries.len());
        for (entry, next) in entries[begin..].iter().zip(offset + 1..) {
            if reply.add(INodeNo(entry.number), next, entry.kind, OsStr::from_bytes(&entry.name)) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let stat = self.inodes.get(ROOT).and_then(|root| Ok(rustix::fs::statvfs(root.path())?));
        answer!(reply, stat, stat => {
            let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let full = self.troubles.is_full();
            let free = |number: u64| if full { 0 } else { number };
            reply.statfs(
                stat.f_blocks,
                free(stat.f_bfree),
                free(stat.f_bavail),
                stat.f_files,
                stat.f_ffree,
                small(stat.f_bsize),
                small(stat.f_namemax),
                small(stat.f_frsize),
            );
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let done = self.inodes.get(ino.0).and_then(|inode| self.allocate(&inode, offset, length, mode));
        answer!(reply, done, _done => reply.ok());
    }
}
