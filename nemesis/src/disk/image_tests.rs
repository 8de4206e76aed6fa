//! What a power failure may leave of a file, against an oracle that keeps every state the file ever had.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Image, Loss, PAGE_BYTES, SECTOR_BYTES, Truncation};
use crate::dice::Dice;

/// A file, its image, and all states that it had since the last fsync, the saved one first.
struct Written {
    file: File,
    image: Image,
    states: Vec<Vec<u8>>,
}

impl Written {
    fn new() -> Self {
        Self { file: tempfile::tempfile().unwrap(), image: Image::default(), states: vec![Vec::new()] }
    }

    fn present(&self) -> Vec<u8> {
        self.states.last().unwrap().clone()
    }

    fn size(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let (size, length) = (self.size(), bytes.len() as u64);
        self.image.before_change(&self.file, size, offset as u64, length).unwrap();
        self.file.write_all_at(bytes, offset as u64).unwrap();
        let mut state = self.present();
        state.resize(state.len().max(offset + bytes.len()), 0);
        state[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.states.push(state);
    }

    fn resize(&mut self, length: usize) {
        let shorter = (length as u64) < self.size();
        self.file.set_len(length as u64).unwrap();
        if shorter {
            self.image.shrunk(length as u64);
        } else {
            self.image.extended(length as u64);
        }
        // ext4 remembers sizes that are set: no state has another size any more, and what was cut off is zero.
        for state in &mut self.states {
            if shorter {
                state.truncate(length);
            } else {
                state.resize(length, 0);
            }
        }
    }

    /// Cuts the file shorter, which only an fsync saves.
    fn truncate(&mut self, length: u64) -> Truncation {
        let truncation = self.image.truncated(&self.file, self.size(), length).unwrap();
        self.file.set_len(length).unwrap();
        truncation
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.size()).unwrap()];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn sync(&mut self) {
        let sync = self.image.begin_sync();
        self.image.end_sync(sync, true, self.size());
        self.states = vec![self.present()];
    }

    fn cut(&mut self, seed: u64) -> (Loss, Vec<u8>) {
        let loss = self.image.cut(&self.file, &mut Dice::new(seed)).unwrap();
        (loss, self.bytes())
    }
}

fn sector(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut sector: Vec<u8> = bytes.iter().skip(number * SECTOR_BYTES).take(SECTOR_BYTES).copied().collect();
    sector.resize(SECTOR_BYTES, 0);
    sector
}

#[test]
fn every_sector_is_left_in_a_state_that_it_had_since_the_last_fsync() {
    const PAGES: usize = 6;
    let page = usize::try_from(PAGE_BYTES).unwrap();
    let (mut lost, mut kept, mut mixed) = (0, 0, 0);
    for seed in 0..2000 {
        let mut dice = Dice::new(seed);
        let mut written = Written::new();
        for _ in 0..dice.below(20) {
            match dice.below(10) {
                0 => written.sync(),
                1 => written.resize(dice.below(PAGES * page)),
                _ => {
                    let bytes = vec![u8::try_from(1 + dice.below(255)).unwrap(); 1 + dice.below(2 * page)];
                    written.write(dice.below(PAGES * page), &bytes);
                }
            }
        }
        let states = written.states.clone();
        let (loss, left) = written.cut(seed);
        assert!(left.len() >= states[0].len(), "seed {seed}: the saved size is kept");
        assert!(left.len() <= states.iter().map(Vec::len).max().unwrap(), "seed {seed}");
        for number in 0..left.len().div_ceil(SECTOR_BYTES) {
            // The size may lie within a sector; what is beyond it is not there.
            let end = left.len() - number * SECTOR_BYTES;
            let of = |state: &[u8]| sector(state, number)[..end.min(SECTOR_BYTES)].to_vec();
            let found = of(&left);
            assert!(
                states.iter().any(|state| of(state) == found),
                "seed {seed}: sector {number} was never like this"
            );
        }
        let present = states.last().unwrap();
        lost += u32::from(left == states[0] && left != *present);
        kept += u32::from(left == *present && left != states[0]);
        mixed += u32::from(left != states[0] && left != *present);
        assert_eq!(loss.is_none(), left == *present, "seed {seed}: {loss:?}");
    }
    assert!(lost > 100 && kept > 20 && mixed > 100, "lost {lost}, kept {kept}, mixed {mixed}");
}

#[test]
fn fsync_saves_only_what_preceded_it() {
    let mut later_is_gone = 0;
    for seed in 0..100 {
        let mut written = Written::new();
        written.write(0, b"before");
        let sync = written.image.begin_sync();
        written.write(0, b"later!");
        written.image.end_sync(sync, true, 6);
        let (_, left) = written.cut(seed);
        assert!(left == b"before" || left == b"later!", "{left:?}");
        later_is_gone += u32::from(left == b"before");
    }
    assert!(later_is_gone > 0);
}

#[test]
fn what_a_failed_fsync_did_not_write_is_not_saved_by_the_next() {
    for seed in 0..100 {
        let mut written = Written::new();
        written.write(0, b"lost");
        let failed = written.image.begin_sync();
        written.image.end_sync(failed, false, 4);
        written.write(usize::try_from(PAGE_BYTES).unwrap(), b"other page");
        written.sync();
        let (_, left) = written.cut(seed);
        assert_eq!(left[..4], [0; 4], "seed {seed}");
        assert_eq!(&left[usize::try_from(PAGE_BYTES).unwrap()..], b"other page");
    }
}

#[test]
fn what_a_failed_fsync_did_not_write_is_saved_once_its_process_is_gone() {
    let mut written = Written::new();
    written.write(0, b"lost");
    let failed = written.image.begin_sync();
    written.image.end_sync(failed, false, 4);
    written.image.forgive();
    written.sync();
    assert_eq!(written.cut(1), (Loss::default(), b"lost".to_vec()));
}

#[test]
fn what_is_written_again_after_a_failed_fsync_is_saved() {
    let mut written = Written::new();
    written.write(0, b"lost");
    let failed = written.image.begin_sync();
    written.image.end_sync(failed, false, 4);
    written.write(0, b"kept");
    written.sync();
    assert_eq!(written.cut(1), (Loss::default(), b"kept".to_vec()));
}

#[test]
fn file_that_is_emptied_and_closed_is_written() {
    let mut written = Written::new();
    written.write(0, b"old");
    written.sync();
    written.resize(0);
    written.write(0, b"new content");
    written.image.closed();
    assert_eq!(written.cut(1), (Loss::default(), b"new content".to_vec()));
}

#[test]
fn zero_pages_cost_no_memory() {
    let mut written = Written::new();
    written.resize(64 << 20);
    written.sync();
    written.write(0, &vec![1; 64 << 20]);
    let layer = &written.image.layers[0];
    assert_eq!(layer.pages.len(), (64 << 20) / 4096);
    assert!(layer.pages.values().all(|page| *page == super::Page::Zero));
}

/// A file of three pages, of which the second was written since the last fsync, and that was cut to a few bytes and
/// written then.
fn truncated() -> (Written, Truncation, Vec<u8>) {
    let page = usize::try_from(PAGE_BYTES).unwrap();
    let mut written = Written::new();
    written.write(0, &vec![1; 3 * page]);
    written.sync();
    written.write(page, &vec![2; page]);
    let before = written.bytes();
    let truncation = written.truncate(100);
    written.write(50, &vec![3; 2 * page]);
    (written, truncation, before)
}

#[test]
fn truncation_that_is_undone_brings_back_everything_that_was_there() {
    let (mut written, truncation, before) = truncated();
    written.image.undo_truncation(&written.file, truncation).unwrap();
    assert_eq!(written.bytes(), before);
    for seed in 0..20 {
        let (_, left) = written.cut(seed);
        assert_eq!(left.len(), before.len());
        assert!(left.iter().zip(&before).all(|(left, before)| left == before || (*left, *before) == (1, 2)));
    }
}

#[test]
fn truncation_that_is_kept_leaves_nothing_of_what_was_cut_off() {
    for seed in 0..50 {
        let (mut written, truncation, _) = truncated();
        written.image.keep_truncation(truncation);
        let (_, left) = written.cut(seed);
        assert!(left.len() >= 100, "seed {seed}");
        assert_eq!(left[..50], [1; 50], "seed {seed}");
        assert!(left[50..100].iter().all(|byte| [1, 3].contains(byte)), "seed {seed}");
        assert!(left[100..].iter().all(|byte| [0, 3].contains(byte)), "seed {seed}");
    }
}

#[test]
fn page_is_settled_when_later_fsyncs_have_left_it_alone() {
    let page = usize::try_from(PAGE_BYTES).unwrap();
    let mut written = Written::new();
    let settled = |written: &Written| (0..4).map(|page| written.image.is_settled(page)).collect::<Vec<_>>();
    written.write(0, b"first");
    written.sync();
    written.write(3, b"st record");
    written.sync();
    written.write(page, b"second");
    written.sync();
    assert_eq!(settled(&written)[..2], [false, false]);
    written.write(2 * page, b"third");
    written.sync();
    assert_eq!(settled(&written)[..3], [true, false, false]);
    let before: Vec<_> =
        written.image.settled_before().map(|(page, before)| (page, before.bytes())).collect();
    assert_eq!((before.len(), before[0].0, &before[0].1[..6]), (1, 0, &b"first\0"[..]));
    written.write(0, b"again");
    assert_eq!(settled(&written)[..3], [false, false, false], "it is at risk");
}
