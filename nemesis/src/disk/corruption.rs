//! Bytes that a disk returns and that nobody wrote there: flipped bits, and writes that never reached it.

use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use regex_lite::Regex;

use super::image::{PAGE_BYTES, Page};
use super::inodes::{Inode, Inodes};
use crate::dice::Dice;

/// What goes wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Reads return it with a flipped bit; what is stored is right.
    Read,
    /// It is stored with a flipped bit.
    Stored,
    /// Its last write, which an fsync saved, never reached the disk.
    Stale,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Stored, Self::Stale];

    /// How a selector names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Stored => "stored",
            Self::Stale => "stale",
        }
    }
}

/// A page that is not what was written.
#[derive(Debug)]
pub(crate) struct Corruption {
    pub(crate) form: Form,
    /// The file, from the root of the disk.
    pub(crate) path: PathBuf,
    pub(crate) page: u64,
    inode: u64,
    right: Vec<u8>,
    wrong: Vec<u8>,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, path, page, .. } = self;
        let path = path.display();
        match (form, self.first_difference()) {
            (Form::Stale, _) | (_, None) => {
                write!(f, "page {page} of {path} is as it was before its last write")
            }
            (Form::Read, Some(byte)) => write!(f, "a bit of byte {byte} of {path} is read wrong"),
            (Form::Stored, Some(byte)) => write!(f, "a bit of byte {byte} of {path} is stored wrong"),
        }
    }
}

impl Corruption {
    /// Draws a settled page of a file whose path matches; `None` when there is none.
    pub(super) fn choose(
        inodes: &Inodes,
        form: Form,
        files: Option<&Regex>,
        dice: &mut Dice,
    ) -> io::Result<Option<Self>> {
        let mut candidates = Vec::new();
        for (number, inode) in inodes.all() {
            let Some(path) = inodes.path(&inode) else { continue };
            if files.is_some_and(|files| !files.is_match(&path.to_string_lossy())) {
                continue;
            }
            let pages = pages(&inode, form)?;
            if !pages.is_empty() {
                candidates.push((number, inode, path, pages));
            }
        }
        if candidates.is_empty() {
            return Ok(None);
        }
        let (number, inode, path, mut pages) = candidates.swap_remove(dice.below(candidates.len()));
        let (page, before) = pages.swap_remove(dice.below(pages.len()));
        let right = read(&inode, page)?;
        let wrong = match form {
            Form::Stale => before.bytes()[..right.len()].to_vec(),
            Form::Read | Form::Stored => flipped(&right, dice),
        };
        Ok(Some(Self { form, path, page, inode: number, right, wrong }))
    }

    /// Makes the stored page wrong.
    pub(super) fn store(&self, inodes: &Inodes) -> io::Result<()> {
        self.write(inodes, &self.wrong)
    }

    /// Makes the stored page right, unless somebody wrote it since the disk was mounted; whether it is.
    pub(super) fn repair(&self, inodes: &Inodes) -> io::Result<bool> {
        let inode = inodes.known_number(self.inode);
        let untouched = inode.is_none_or(|inode| inode.image().is_untouched(self.page));
        if untouched {
            self.write(inodes, &self.right)?;
        }
        Ok(untouched)
    }

    /// Makes what is read of a file wrong; whether the page is part of it.
    pub(super) fn misread(&self, inode: u64, offset: u64, bytes: &mut [u8]) -> bool {
        let begin = self.page * PAGE_BYTES;
        if inode != self.inode || offset >= begin + self.right.len() as u64 {
            return false;
        }
        let Some(end) = (offset + bytes.len() as u64).checked_sub(begin).filter(|end| *end > 0) else {
            return false;
        };
        if self.form == Form::Read {
            let pairs = self.right.iter().zip(&self.wrong).zip(begin..begin + end);
            for ((right, wrong), at) in pairs.filter(|(_, at)| *at >= offset) {
                let read = &mut bytes[usize::try_from(at - offset).expect("invariant: within the buffer")];
                // What was written since is returned as it is.
                if read == right {
                    *read = *wrong;
                }
            }
        }
        true
    }

    fn first_difference(&self) -> Option<u64> {
        let at = self.right.iter().zip(&self.wrong).position(|(right, wrong)| right != wrong)?;
        Some(self.page * PAGE_BYTES + at as u64)
    }

    fn write(&self, inodes: &Inodes, bytes: &[u8]) -> io::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(inodes.root_path().join(&self.path))?;
        file.write_all_at(bytes, self.page * PAGE_BYTES)
    }
}

/// The settled pages of a file that can go wrong in this form, and what they held before.
fn pages(inode: &Inode, form: Form) -> io::Result<Vec<(u64, Page)>> {
    let image = inode.image();
    if !image.has_settled() || inode.stat()?.st_nlink == 0 {
        return Ok(Vec::new());
    }
    let (file, mut found) = (inode.file()?, Vec::new());
    let size = file.metadata()?.len();
    if form == Form::Stale {
        for (page, before) in image.settled_before() {
            if page * PAGE_BYTES < size && Page::read(file, size, page)? != *before {
                found.push((page, before.clone()));
            }
        }
        return Ok(found);
    }
    for page in (0..size.div_ceil(PAGE_BYTES)).filter(|page| image.is_settled(*page)) {
        if Page::read(file, size, page)? != Page::Zero {
            found.push((page, Page::Zero));
        }
    }
    Ok(found)
}

/// The part of a page that lies within the file.
fn read(inode: &Inode, page: u64) -> io::Result<Vec<u8>> {
    let file = inode.file()?;
    let size = file.metadata()?.len();
    let mut bytes = Page::read(file, size, page)?.bytes();
    bytes.truncate(usize::try_from(size - page * PAGE_BYTES).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// The same with another bit, in a byte that is not zero: those hold something.
fn flipped(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = *dice.pick(&used).expect("invariant: the page is not zero");
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << dice.below(8);
    flipped
}
