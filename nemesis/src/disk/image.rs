//! What of a file is on the disk, while its backing file holds what processes see.
//!
//! Pages that were written since the last fsync are remembered as they were before, in *layers*: one for each stretch
//! between the beginnings of two fsyncs, the oldest first. An fsync that ends well drops the layers that were there when it
//! began. A power failure gives each page one of the contents that it had since, whole or mixed by sectors, because
//! a kernel writes dirty pages when it likes, each in the state of that moment.
//!
//! An fsync that fails leaves its pages lost: the kernel takes them for clean, so the next fsync of the same process
//! does not write them (they are when they are written again). Zero pages, and what lies beyond the end, cost no memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;

use super::ages::Ages;
use crate::dice::Dice;

/// What a kernel writes at once.
pub(super) const PAGE_BYTES: u64 = 4096;
/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// A page as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// Zeroes, a hole, or beyond the end.
    Zero,
    Bytes(Box<[u8]>),
}

#[derive(Debug)]
struct Layer {
    /// Which fsync ends it; greater for later layers.
    number: u64,
    /// The size of the file at its beginning.
    size: u64,
    /// Pages that were written in it, as they were at its beginning.
    pages: BTreeMap<u64, Page>,
    /// Whether the fsync that ended it failed.
    lost: bool,
}

/// What of a file a power failure would take.
#[derive(Debug, Default)]
pub(super) struct Image {
    layers: Vec<Layer>,
    /// The number of the layer that writes belong to.
    number: u64,
    /// It was cut to nothing and not closed since.
    emptied: bool,
    ages: Ages,
}

/// The layer that begins where a file was cut shorter, and the length that it got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truncation {
    number: u64,
    length: u64,
}

/// The layers that an fsync is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sync(u64);

/// What a power failure took, and what it left of what was not on the disk for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Files that changed by it.
    pub files: u64,
    /// Pages that are not as they were last written.
    pub pages: u64,
    /// Pages that were written since the last fsync and are there all the same.
    pub kept: u64,
    /// By how much files are shorter.
    pub bytes: u64,
    /// Names that were made, removed or moved, and files that were cut shorter, and are as before.
    pub names: u64,
}

impl Loss {
    /// Whether anything is gone.
    pub fn is_none(&self) -> bool {
        self.pages + self.bytes + self.names == 0
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, pages, kept, bytes, names } = self;
        if self.is_none() && *kept == 0 {
            return f.write_str("nothing was at risk");
        }
        write!(f, "{pages} unsaved pages of {files} files are gone and {kept} are there")?;
        if *bytes > 0 {
            write!(f, ", {bytes} bytes shorter")?;
        }
        if *names > 0 {
            write!(f, ", {names} changes of names and lengths are undone")?;
        }
        Ok(())
    }
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.pages += other.pages;
        self.kept += other.kept;
        self.bytes += other.bytes;
        self.names += other.names;
    }
}

/// How far the kernel had come with writing the pages of a file when the power failed.
#[derive(Debug, Clone, Copy)]
enum Progress {
    /// Nothing was written.
    Nothing,
    /// Pages before this one were written, this one in part.
    UpTo(u64),
    /// Any page in any state.
    Scattered,
}

impl Image {
    /// Whether a power failure would leave the file as it is.
    pub(super) fn is_clean(&self) -> bool {
        self.layers.is_empty()
    }

    /// Whether nothing is known of it that its backing file does not say.
    pub(super) fn is_blank(&self) -> bool {
        self.is_clean() && !self.ages.is_known()
    }

    /// Whether pages can be settled at all.
    pub(super) fn has_settled(&self) -> bool {
        self.ages.is_known()
    }

    /// Whether a page is on the disk as it is seen, and not what was saved last.
    pub(super) fn is_settled(&self, page: u64) -> bool {
        self.ages.is_settled(page) && !self.is_at_risk(page)
    }

    /// What settled pages held before they were saved last.
    pub(super) fn settled_before(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.ages.before().filter(|(page, _)| self.is_settled(*page))
    }

    /// Whether nobody changed a page since the disk was mounted.
    pub(super) fn is_untouched(&self, page: u64) -> bool {
        !self.ages.was_saved(page) && !self.is_at_risk(page)
    }

    fn is_at_risk(&self, page: u64) -> bool {
        self.layers.iter().any(|layer| layer.pages.contains_key(&page))
    }

    /// To be called before `length` bytes at `offset` change, with the present size of the file.
    pub(super) fn before_change(
        &mut self,
        file: &File,
        size: u64,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let layer = self.present_layer(size);
        let end = offset.saturating_add(length).div_ceil(PAGE_BYTES);
        for page in offset / PAGE_BYTES..end {
            if let Entry::Vacant(first) = layer.pages.entry(page) {
                first.insert(Page::read(file, size, page)?);
            }
        }
        Ok(())
    }

    /// To be called before the file is cut to `length`, when a disk that follows ext4 remembers that at once.
    pub(super) fn shrunk(&mut self, length: u64) {
        self.emptied |= length == 0;
        self.layers.iter_mut().for_each(|layer| _ = layer.shrink(length));
        self.ages.shrink(length / PAGE_BYTES);
    }

    /// To be called when the file was made longer without writing, when a disk that follows ext4 remembers that at once.
    pub(super) fn extended(&mut self, length: u64) {
        self.layers.iter_mut().for_each(|layer| layer.size = layer.size.max(length));
    }

    /// To be called before the file is cut to `length`, when only an fsync saves that. Nothing of it may be lost that a
    /// failure before it could not take.
    pub(super) fn truncated(&mut self, file: &File, size: u64, length: u64) -> io::Result<Truncation> {
        self.number += 1;
        self.before_change(file, size, length, size - length)?;
        self.ages.shrink(length / PAGE_BYTES);
        Ok(Truncation { number: self.number, length })
    }

    /// To be called before the file is made longer without writing, when only an fsync saves that.
    pub(super) fn grown(&mut self, size: u64) {
        self.present_layer(size);
    }

    /// It is on the disk that the file was cut shorter.
    pub(super) fn keep_truncation(&mut self, truncation: Truncation) {
        let Truncation { number, length } = truncation;
        for layer in self.layers.iter_mut().filter(|layer| layer.number <= number) {
            let beyond = layer.shrink(length);
            if layer.number == number {
                // Whatever was written there since was zero before.
                layer.pages.extend(beyond.into_keys().map(|page| (page, Page::Zero)));
            }
        }
    }

    /// It is not, nor is anything that was written since.
    pub(super) fn undo_truncation(&mut self, file: &File, truncation: Truncation) -> io::Result<()> {
        let since = self.layers.partition_point(|layer| layer.number < truncation.number);
        for layer in self.layers.drain(since..).rev() {
            for (page, before) in &layer.pages {
                file.write_all_at(&before.bytes(), page * PAGE_BYTES)?;
            }
            file.set_len(layer.size)?;
        }
        Ok(())
    }

    /// The file was closed. ext4 writes a file that was emptied and closed, for programs that replace files like this.
    pub(super) fn closed(&mut self) {
        if std::mem::take(&mut self.emptied) {
            self.settle();
        }
    }

    /// Everything is on the disk.
    pub(super) fn settle(&mut self) {
        let layers = std::mem::take(&mut self.layers);
        self.ages.save(layers.into_iter().flat_map(|layer| layer.pages));
    }

    /// Who met a failed fsync is gone: what was not saved then is saved by the next fsync. A server that starts again reads it
    /// from the kernel's memory, and has no means to find out that it is nowhere else.
    pub(super) fn forgive(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.lost = false);
    }

    /// An fsync begins: it is about everything written until now and nothing that is written later.
    pub(super) fn begin_sync(&mut self) -> Sync {
        self.number += 1;
        Sync(self.number)
    }

    /// An fsync ended, well or not. `size` is the present size of the file.
    pub(super) fn end_sync(&mut self, sync: Sync, well: bool, size: u64) {
        let covered = self.layers.partition_point(|layer| layer.number < sync.0);
        if !well {
            self.layers[..covered].iter_mut().for_each(|layer| layer.lost = true);
            return;
        }
        let size = self.layers.get(covered).map_or(size, |next| next.size);
        let mut written = BTreeSet::new();
        for layer in self.layers[..covered].iter_mut().rev() {
            if layer.lost {
                layer.pages.retain(|page, _| !written.contains(page));
                layer.size = size;
            } else {
                written.extend(layer.pages.keys().copied());
            }
        }
        let covered = self.layers.drain(..covered).collect::<Vec<_>>();
        let (lost, saved): (Vec<_>, Vec<_>) = covered.into_iter().partition(|layer| layer.lost);
        self.ages.save(saved.into_iter().flat_map(|layer| layer.pages));
        self.layers.splice(..0, lost.into_iter().filter(|layer| !layer.pages.is_empty()));
    }

    /// The power failed: makes the backing file one of those that can be on the disk.
    pub(super) fn cut(&mut self, file: &File, dice: &mut Dice) -> io::Result<Loss> {
        let layers = std::mem::take(&mut self.layers);
        let Some(oldest) = layers.first() else { return Ok(Loss::default()) };
        let before = file.metadata()?.len();
        let pages: BTreeSet<u64> = layers.iter().flat_map(|layer| layer.pages.keys().copied()).collect();
        let progress = Progress::draw(&pages, dice);
        let mut loss = Loss::default();
        let mut size = oldest.size;
        for page in pages {
            let present = Page::read(file, before, page)?;
            let lost = layers.iter().any(|layer| layer.lost && layer.pages.contains_key(&page));
            let versions: Vec<&Page> =
                layers.iter().filter_map(|layer| layer.pages.get(&page)).chain([&present]).collect();
            if versions.iter().all(|version| **version == present) {
                continue;
            }
            let left = if lost { versions[0].clone() } else { progress.left(page, &versions, dice) };
            if left != *versions[0] {
                size = size.max(before.min((page + 1) * PAGE_BYTES));
            }
            if left == present {
                loss.kept += 1;
            } else {
                loss.pages += 1;
                file.write_all_at(&left.bytes(), page * PAGE_BYTES)?;
            }
        }
        file.set_len(size)?;
        loss.bytes = before.saturating_sub(size);
        loss.files = u64::from(loss.pages > 0 || size != before);
        Ok(loss)
    }

    fn present_layer(&mut self, size: u64) -> &mut Layer {
        let number = self.number;
        if self.layers.last().is_none_or(|layer| layer.number < number || layer.lost) {
            self.layers.push(Layer { number, size, pages: BTreeMap::new(), lost: false });
        }
        self.layers.last_mut().expect("invariant: a layer was pushed if there was none")
    }
}

impl Layer {
    /// The file was no longer than this at its beginning. Returns the pages beyond.
    fn shrink(&mut self, length: u64) -> BTreeMap<u64, Page> {
        self.size = self.size.min(length);
        let beyond = self.pages.split_off(&length.div_ceil(PAGE_BYTES));
        if let Some(Page::Bytes(bytes)) = self.pages.get_mut(&(length / PAGE_BYTES)) {
            bytes[in_page(length)..].fill(0);
        }
        beyond
    }
}

impl Page {
    pub(super) fn read(file: &File, size: u64, page: u64) -> io::Result<Self> {
        let begin = page * PAGE_BYTES;
        let present = size.saturating_sub(begin).min(PAGE_BYTES);
        let mut bytes = vec![0; in_page_length()];
        let mut filled = 0;
        while filled < usize::try_from(present).expect("invariant: a page is small") {
            match file.read_at(&mut bytes[filled..], begin + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: Vec<u8>) -> Self {
        if bytes.iter().all(|&byte| byte == 0) { Self::Zero } else { Self::Bytes(bytes.into()) }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Zero => vec![0; in_page_length()],
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }

    /// The first sectors of one version and the rest of another.
    fn torn(newer: &Self, older: &Self, sectors: usize) -> Self {
        let (mut bytes, newer) = (older.bytes(), newer.bytes());
        let cut = sectors * SECTOR_BYTES;
        bytes[..cut].copy_from_slice(&newer[..cut]);
        Self::of(bytes)
    }
}

impl Progress {
    fn draw(pages: &BTreeSet<u64>, dice: &mut Dice) -> Self {
        let any = pages.iter().nth(dice.below(pages.len().max(1)));
        match (dice.below(3), any) {
            (0, Some(page)) => Self::UpTo(*page),
            (1, Some(_)) => Self::Scattered,
            _ => Self::Nothing,
        }
    }

    /// What is on the disk of a page, of which these versions are known, the oldest first.
    fn left(self, page: u64, versions: &[&Page], dice: &mut Dice) -> Page {
        let (oldest, newest) = (versions[0], versions[versions.len() - 1]);
        let sectors = in_page_length() / SECTOR_BYTES;
        match self {
            Self::UpTo(limit) if page < limit => newest.clone(),
            Self::UpTo(limit) if page == limit => Page::torn(newest, oldest, dice.below(sectors + 1)),
            Self::Nothing | Self::UpTo(_) => oldest.clone(),
            Self::Scattered => {
                let version = versions[dice.below(versions.len())];
                if dice.one_in(4) {
                    Page::torn(version, oldest, dice.below(sectors + 1))
                } else {
                    version.clone()
                }
            }
        }
    }
}

fn in_page_length() -> usize {
    usize::try_from(PAGE_BYTES).expect("invariant: a page is small")
}

fn in_page(offset: u64) -> usize {
    usize::try_from(offset % PAGE_BYTES).expect("invariant: a page is small")
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
