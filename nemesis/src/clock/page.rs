//! The file through which a node is told how wrong its clocks are, and through which it says that it knows.
//!
//! Three pages: what the clocks show, written here and only read by processes; which version of that the node's processes
//! have applied, and how often; the same for canaries, so that they cannot speak for the node. All of it is written out at
//! the beginning, because a page that the disk has no room for would end the process that touches it.
//!
//! An update fills the slot that is not in use and then names it in the version word. Who reads looks at the version
//! before and after the slot: a slot is only written again after the version has changed, so a mixture is never used, and
//! no reader waits for a writer.

#![allow(unsafe_code, reason = "memory that other processes map has no safe wrapper")]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use serde::{Deserialize, Serialize};

use super::skew::{Movement, Skew};
use super::time::true_ns;

/// The size of a page, of which the file has three. Everything that follows is known to the stub as well.
pub(crate) const PAGE_BYTES: usize = 4096;
const FILE_BYTES: usize = 3 * PAGE_BYTES;
/// Where the second area begins in its page.
pub(crate) const AREA_BYTES: usize = 256;
/// Where the slots of an area begin, and how long each is.
pub(crate) const SLOT_BYTES: usize = 64;
/// Set in a version whose slot is a skew.
pub(crate) const VERSION_SKEWED: u64 = 1;
/// Versions differ in the bits above; the lowest of them names the slot.
pub(crate) const VERSION_STEP: u64 = 2;
/// Behind the version that was seen: how often a skewed time was read, without what threads counted over each other.
pub(crate) const READINGS_OFFSET: usize = 8;

/// The time in which a monotonic clock is stopped from drifting: what it would gain until then it gains at once, so that
/// it never goes back.
const CARRY_MARGIN: Duration = Duration::from_millis(250);

/// Clocks that are skewed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The time of day.
    Wall,
    /// The time since the machine booted.
    Monotonic,
}

impl Area {
    pub(crate) const ALL: [Self; 2] = [Self::Wall, Self::Monotonic];

    /// The clock that stands for the others.
    pub(crate) fn clock(self) -> libc::clockid_t {
        match self {
            Self::Wall => libc::CLOCK_REALTIME,
            Self::Monotonic => libc::CLOCK_MONOTONIC,
        }
    }

    /// A word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Monotonic => "monotonic",
        }
    }

    fn start(self) -> usize {
        self as usize * AREA_BYTES
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clock", self.name())
    }
}

/// Who maps a file, and so in whose name it says what it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// The processes of the node.
    Node,
    /// A canary.
    Canary,
}

impl Reader {
    /// Where its page begins.
    pub(crate) fn offset(self) -> usize {
        match self {
            Self::Node => PAGE_BYTES,
            Self::Canary => 2 * PAGE_BYTES,
        }
    }

    /// Writes zeroes over what was seen, at an offset of the file.
    pub(crate) fn forget(self, write: impl FnOnce(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
        write(&[0; PAGE_BYTES], self.offset() as u64)
    }
}

/// The clocks of a node, as they are told to it.
#[derive(Debug)]
pub struct NodeClock {
    path: PathBuf,
    memory: Memory,
    /// Who changes a clock.
    writer: Mutex<()>,
}

impl NodeClock {
    /// Writes a file whose clocks are right. A file that is there is replaced.
    ///
    /// # Errors
    /// When it cannot be written or mapped.
    pub fn create(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all_at(&[0; FILE_BYTES], 0)?;
        let memory = Memory::of(&file)?;
        for area in Area::ALL {
            memory.word(area.start()).store(VERSION_STEP, Ordering::Release);
        }
        Ok(Self { path: path.to_owned(), memory, writer: Mutex::new(()) })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How wrong a clock is.
    pub fn skew(&self, area: Area) -> Skew {
        let _writer = self.writing();
        self.read(area)
    }

    /// Does something to a clock; how wrong it is now.
    pub fn change(&self, area: Area, movement: Movement) -> Skew {
        let _writer = self.writing();
        let skew = movement.on(self.read(area), true_ns(area));
        self.write(area, skew);
        skew
    }

    /// Makes a clock right again. A monotonic one keeps what it gained and runs at the right speed; `false` if it ran back all
    /// the same, because this process was not let run for `CARRY_MARGIN`.
    pub fn make_right(&self, area: Area) -> bool {
        let _writer = self.writing();
        if area == Area::Wall {
            self.write(area, Skew::default());
            return true;
        }
        let until = true_ns(area) + CARRY_MARGIN.as_nanos() as i64;
        let before = self.read(area);
        self.write(area, before.carried(until));
        before.rate == 0 || true_ns(area) <= until
    }

    /// Whether nothing is done to a clock. What a monotonic one gained earlier does not count.
    pub fn is_right(&self, area: Area) -> bool {
        let skew = self.skew(area);
        match area {
            Area::Wall => skew.is_none(),
            Area::Monotonic => skew.rate == 0,
        }
    }

    fn write(&self, area: Area, skew: Skew) {
        let version = (self.version(area) | VERSION_SKEWED) + 1 + u64::from(!skew.is_none());
        let words = [skew.base_ns, skew.rate, skew.offset_ns, skew.period_ns, skew.delta_ns];
        let slot = slot(area, version);
        for (i, word) in words.into_iter().enumerate() {
            self.memory.word(slot + i * size_of::<i64>()).store(word.cast_unsigned(), Ordering::Relaxed);
        }
        self.memory.word(area.start()).store(version, Ordering::Release);
    }

    /// Whether a process of the node has read this clock as it is now.
    pub fn is_seen(&self, area: Area) -> bool {
        self.told(area, 0) == self.version(area)
    }

    /// How often the node has read a wrong time, or a little oftener.
    pub(crate) fn wrong_readings(&self, area: Area) -> u64 {
        self.told(area, READINGS_OFFSET)
    }

    fn told(&self, area: Area, offset: usize) -> u64 {
        self.memory.word(Reader::Node.offset() + area.start() + offset).load(Ordering::Acquire)
    }

    fn version(&self, area: Area) -> u64 {
        self.memory.word(area.start()).load(Ordering::Acquire)
    }

    fn read(&self, area: Area) -> Skew {
        let slot = slot(area, self.version(area));
        let word =
            |i: usize| self.memory.word(slot + i * size_of::<i64>()).load(Ordering::Relaxed).cast_signed();
        Skew { base_ns: word(0), rate: word(1), offset_ns: word(2), period_ns: word(3), delta_ns: word(4) }
    }

    /// An update that panicked has not changed the version.
    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(area: Area, version: u64) -> usize {
    let second = version & VERSION_STEP != 0;
    area.start() + SLOT_BYTES + if second { SLOT_BYTES } else { 0 }
}

/// The file, mapped.
#[derive(Debug)]
struct Memory(NonNull<u8>);

// SAFETY: it is only used through atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn of(file: &File) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address that is free.
        let address = unsafe { mmap(std::ptr::null_mut(), FILE_BYTES, access, MapFlags::SHARED, file, 0)? };
        NonNull::new(address.cast()).map(Self).ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < FILE_BYTES, "invariant: words of the file");
        // SAFETY: within the mapping, which lives as long as `self`, and aligned; whoever else maps the file
        // reads and writes whole aligned words too.
        unsafe { AtomicU64::from_ptr(self.0.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), FILE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right_clock() -> (tempfile::TempDir, NodeClock) {
        let directory = tempfile::tempdir().unwrap();
        let clock = NodeClock::create(&directory.path().join("clock")).unwrap();
        (directory, clock)
    }

    #[test]
    fn clock_is_as_wrong_as_it_was_made_last() {
        let (_directory, clock) = right_clock();
        assert!(clock.is_right(Area::Wall));
        for by_ns in 1..5 {
            clock.make_right(Area::Wall);
            let skew = clock.change(Area::Wall, Movement::Jump { by_ns });
            assert_eq!((clock.skew(Area::Wall), skew.offset_ns), (skew, by_ns));
            assert!(clock.is_right(Area::Monotonic) && !clock.is_right(Area::Wall));
        }
    }

    #[test]
    fn every_change_is_a_version_that_nobody_has_seen() {
        let (_directory, clock) = right_clock();
        let mut versions = vec![clock.version(Area::Wall)];
        for wrong in [true, true, false, false, true] {
            match wrong {
                true => _ = clock.change(Area::Wall, Movement::Jump { by_ns: 1 }),
                false => assert!(clock.make_right(Area::Wall)),
            }
            versions.push(clock.version(Area::Wall));
            assert!(!clock.is_seen(Area::Wall));
        }
        let slots: Vec<u64> = versions.iter().map(|version| version & VERSION_STEP).collect();
        assert_eq!(slots, [2, 0, 2, 0, 2, 0]);
        let skewed: Vec<u64> = versions.iter().map(|version| version & VERSION_SKEWED).collect();
        assert_eq!(skewed, [0, 1, 1, 0, 0, 1]);
        assert!(versions.is_sorted());
    }

    #[test]
    fn monotonic_clock_never_goes_back() {
        let (_directory, clock) = right_clock();
        let area = Area::Monotonic;
        let shown = || clock.skew(area).apply(true_ns(area));
        let mut last = shown();
        for i in 0..200 {
            let (by_ns, rate) = (1_000_000 * i, 0.005 * i as f64);
            clock.change(area, if i % 2 == 0 { Movement::Jump { by_ns } } else { Movement::Drift { rate } });
            assert!(shown() >= last);
            last = shown();
            assert!(clock.make_right(area) && clock.is_right(area));
            assert!(shown() >= last);
            last = shown();
        }
        assert!(last > true_ns(area));
    }
}
