//! Changes that a file system owes to an fsync of a directory, for disks that keep the strictest reading of POSIX.
//!
//! Names that were made, removed or moved, and files that were cut shorter, are remembered in their order, as in the journal
//! of ext4 or XFS. An fsync saves the last change that concerns its file or directory, and everything before it; an
//! `fdatasync` does not care for names that an old file was given. A power failure undoes all changes after one of
//! them. What is removed is kept elsewhere, under another name, until that is saved.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, RenameFlags, linkat, mkdirat, renameat_with, statat, unlinkat};

use super::image::Truncation;
use super::inodes::Inode;
use crate::dice::Dice;

/// A name in a directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: Arc<Inode>,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn new(directory: &Arc<Inode>, name: &OsStr) -> Self {
        Self { directory: Arc::clone(directory), name: name.to_owned() }
    }

    /// The inode behind the name.
    fn number(&self) -> Option<u64> {
        statat(&*self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
    }

    fn directory_number(&self) -> io::Result<u64> {
        Ok(self.directory.stat()?.st_ino)
    }
}

/// What is left of something that was removed.
#[derive(Debug)]
enum Remains {
    /// Another name of it, among the graves.
    Grave { number: u64, inode: u64 },
    /// A directory was empty.
    Directory(Mode),
}

#[derive(Debug)]
enum Change {
    Made(Place),
    Removed(Place, Remains),
    Renamed { from: Place, to: Place, replaced: Option<Remains>, flags: RenameFlags },
    Truncated(Arc<Inode>, Truncation),
}

#[derive(Debug)]
struct Entry {
    number: u64,
    change: Change,
    /// The inodes of which an fsync saves it.
    concerns: Vec<u64>,
    /// Whether an `fdatasync` does, too.
    is_data: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    next: u64,
    next_grave: u64,
    /// How many graves an inode has.
    graves: HashMap<u64, u64>,
}

/// What no fsync has saved yet, the oldest first.
#[derive(Debug)]
pub(super) struct Journal {
    graves: PathBuf,
    state: Mutex<State>,
}

/// Everything that was changed until a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

impl Journal {
    /// An empty one. `graves` is a directory of its own on the file system of the backing files; what it held is gone.
    pub(super) fn open(graves: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(graves) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(graves)?,
        }
        Ok(Self { graves: graves.to_owned(), state: Mutex::default() })
    }

    /// How many names of an inode are graves.
    pub(super) fn graves_of(&self, inode: u64) -> u64 {
        self.lock().graves.get(&inode).copied().unwrap_or_default()
    }

    /// A new inode got its first name.
    pub(super) fn made(&self, place: Place) -> io::Result<()> {
        self.named(place, true)
    }

    /// An inode got another name.
    pub(super) fn linked(&self, place: Place) -> io::Result<()> {
        self.named(place, false)
    }

    fn named(&self, place: Place, is_data: bool) -> io::Result<()> {
        let concerns = place.number().into_iter().chain([place.directory_number()?]).collect();
        self.push(Change::Made(place), concerns, is_data);
        Ok(())
    }

    /// A file was cut shorter.
    pub(super) fn truncated(&self, inode: &Arc<Inode>, truncation: Truncation) -> io::Result<()> {
        let number = inode.stat()?.st_ino;
        self.push(Change::Truncated(Arc::clone(inode), truncation), vec![number], true);
        Ok(())
    }

    /// Removes a name.
    pub(super) fn remove(&self, place: Place, flags: AtFlags) -> io::Result<()> {
        let concerns = place.number().into_iter().chain([place.directory_number()?]).collect();
        let remains = self.bury(&place)?;
        if let Err(error) = unlinkat(&*place.directory, &place.name, flags) {
            remains.into_iter().for_each(|remains| self.discard(&remains));
            return Err(error.into());
        }
        if let Some(remains) = remains {
            self.push(Change::Removed(place, remains), concerns, false);
        }
        Ok(())
    }

    /// Moves a name, which may replace another.
    pub(super) fn rename(&self, from: Place, to: Place, flags: RenameFlags) -> io::Result<()> {
        let numbers = (from.number(), to.number());
        let directories = [from.directory_number()?, to.directory_number()?];
        let concerns = directories.into_iter().chain(numbers.0).chain(numbers.1).collect();
        let replaces = flags.is_empty();
        let replaced = if replaces { self.bury(&to)? } else { None };
        let renamed = renameat_with(&*from.directory, &from.name, &*to.directory, &to.name, flags);
        // Two names of one inode stay both.
        if renamed.is_err() || (numbers.0 == numbers.1 && replaces) {
            replaced.into_iter().for_each(|remains| self.discard(&remains));
            return Ok(renamed?);
        }
        self.push(Change::Renamed { from, to, replaced, flags }, concerns, false);
        Ok(())
    }

    /// An fsync begins.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.lock().next)
    }

    /// An fsync of an inode ended well, which began at a mark.
    pub(super) fn save(&self, inode: u64, mark: Mark, data_only: bool) {
        let saved: Vec<Entry> = {
            let mut state = self.lock();
            let concerns = |entry: &Entry| {
                entry.number < mark.0 && entry.concerns.contains(&inode) && (entry.is_data || !data_only)
            };
            let count = state.entries.iter().rposition(concerns).map_or(0, |last| last + 1);
            state.entries.drain(..count).collect()
        };
        saved.into_iter().for_each(|entry| self.keep(entry.change));
    }

    /// The power failed: undoes all changes after one that is drawn; how many.
    pub(super) fn cut(&self, dice: &mut Dice) -> io::Result<u64> {
        let mut entries = std::mem::take(&mut self.lock().entries);
        let kept = if dice.one_in(2) { 0 } else { dice.below(entries.len() + 1) };
        let lost = entries.split_off(kept.min(entries.len()));
        let count = lost.len() as u64;
        lost.into_iter().rev().try_for_each(|entry| self.undo(entry.change))?;
        entries.into_iter().for_each(|entry| self.keep(entry.change));
        Ok(count)
    }

    /// It is on the disk.
    fn keep(&self, change: Change) {
        match change {
            Change::Removed(_, remains) => self.discard(&remains),
            Change::Renamed { replaced, .. } => {
                replaced.into_iter().for_each(|remains| self.discard(&remains));
            }
            Change::Truncated(inode, truncation) => inode.image().keep_truncation(truncation),
            Change::Made(_) => {}
        }
    }

    /// It never was.
    fn undo(&self, change: Change) -> io::Result<()> {
        match change {
            Change::Made(place) => {
                let stat = statat(&*place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
                let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
                let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                Ok(unlinkat(&*place.directory, &place.name, flags)?)
            }
            Change::Removed(place, remains) => self.exhume(remains, &place),
            Change::Renamed { from, to, replaced, flags } => {
                renameat_with(&*to.directory, &to.name, &*from.directory, &from.name, flags)?;
                replaced.map_or(Ok(()), |remains| self.exhume(remains, &to))
            }
            Change::Truncated(inode, truncation) => {
                let mut image = inode.image();
                image.undo_truncation(inode.file()?, truncation)
            }
        }
    }

    /// Gives what has a name another one, by which it outlives the first.
    fn bury(&self, place: &Place) -> io::Result<Option<Remains>> {
        let Ok(stat) = statat(&*place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(None);
        };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(Some(Remains::Directory(Mode::from_raw_mode(stat.st_mode))));
        }
        let mut state = self.lock();
        let number = state.next_grave;
        state.next_grave += 1;
        linkat(&*place.directory, &place.name, CWD, self.grave(number), AtFlags::empty())?;
        *state.graves.entry(stat.st_ino).or_default() += 1;
        Ok(Some(Remains::Grave { number, inode: stat.st_ino }))
    }

    fn exhume(&self, remains: Remains, place: &Place) -> io::Result<()> {
        match remains {
            Remains::Directory(mode) => mkdirat(&*place.directory, &place.name, mode)?,
            Remains::Grave { number, .. } => {
                let flags = RenameFlags::NOREPLACE;
                renameat_with(CWD, self.grave(number), &*place.directory, &place.name, flags)?;
            }
        }
        Ok(())
    }

    /// Nobody will ask for it again.
    fn discard(&self, remains: &Remains) {
        let Remains::Grave { number, inode } = remains else { return };
        // The directory of the graves is removed as a whole later.
        let _ = fs::remove_file(self.grave(*number));
        let mut state = self.lock();
        if let Some(count) = state.graves.get_mut(inode) {
            *count -= 1;
            if *count == 0 {
                state.graves.remove(inode);
            }
        }
    }

    fn grave(&self, number: u64) -> PathBuf {
        self.graves.join(number.to_string())
    }

    fn push(&self, change: Change, concerns: Vec<u64>, is_data: bool) {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.entries.push_back(Entry { number, change, concerns, is_data });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are whole after every single operation on them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
