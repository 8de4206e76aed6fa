//! What the kernel says of a file, in the words of the crate `fuser`.

use std::time::{Duration, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rustix::fs::{Stat, Timespec};

/// The attributes of an inode that has this number and so many names.
pub(super) fn attributes(number: u64, links: u64, stat: &Stat) -> FileAttr {
    let time = |seconds: i64, nanos: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanos).unwrap_or_default())
    };
    FileAttr {
        ino: INodeNo(number),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        blocks: u64::try_from(stat.st_blocks).unwrap_or_default(),
        atime: time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or_default()),
        mtime: time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        ctime: time(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
        crtime: UNIX_EPOCH,
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
        nlink: u32::try_from(links).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: u32::try_from(stat.st_rdev).unwrap_or_default(),
        blksize: u32::try_from(stat.st_blksize).unwrap_or_default(),
        flags: 0,
    }
}

/// The type of a file.
pub(super) fn kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

/// What `utimensat` is told.
pub(super) fn timestamp(time: Option<TimeOrNow>) -> Timespec {
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    match time {
        None => special(rustix::fs::UTIME_OMIT),
        Some(TimeOrNow::Now) => special(rustix::fs::UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(since.subsec_nanos()),
            }
        }
    }
}
