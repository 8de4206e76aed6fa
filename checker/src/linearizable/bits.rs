//! Sets of slots of pending operations, and behind them counters of 16 bits (*lanes*).
//!
//! Small windows live in arrays without an allocation, and windows of any size in a vector: however many operations
//! are open at once, the search can represent them.

use std::hash::Hash;

/// The bits of one word.
pub(super) const WORD_BITS: usize = u64::BITS as usize;

/// The counters of one word.
pub(super) const LANES_PER_WORD: usize = WORD_BITS / LANE_BITS;

/// The bits of one counter.
const LANE_BITS: usize = 16;

/// The counter of a lane in its word.
pub(super) fn lane_of_word(word: u64, lane: u32) -> u16 {
    (word >> lane_shift(lane)) as u16
}

fn lane_shift(lane: u32) -> usize {
    lane as usize % LANES_PER_WORD * LANE_BITS
}

/// A set of slots with a number of words fixed for a whole search.
pub(super) trait Bits: Clone + std::fmt::Debug + Eq + Hash + AsRef<[u64]> + AsMut<[u64]> {
    /// The empty set.
    fn empty(words: usize) -> Self;

    /// Bytes outside the value itself.
    fn heap_bytes(words: usize) -> usize;

    fn word(&self, at: usize) -> u64 {
        self.as_ref()[at]
    }

    fn has(&self, slot: u32) -> bool {
        self.as_ref()[slot as usize / WORD_BITS] >> (slot % u64::BITS) & 1 == 1
    }

    fn add(&mut self, slot: u32) {
        self.as_mut()[slot as usize / WORD_BITS] |= 1 << (slot % u64::BITS);
    }

    fn erase(&mut self, slot: u32) {
        self.as_mut()[slot as usize / WORD_BITS] &= !(1 << (slot % u64::BITS));
    }

    /// The word that has the counter of a lane, behind those of the slots.
    fn lane_word(slot_words: usize, lane: u32) -> usize {
        slot_words + lane as usize / LANES_PER_WORD
    }

    /// Adds one to the counter of a lane, which must not be full.
    fn count_up(&mut self, slot_words: usize, lane: u32) {
        self.as_mut()[Self::lane_word(slot_words, lane)] += 1 << lane_shift(lane);
    }

    fn set(&mut self, slot: u32, member: bool) {
        if member { self.add(slot) } else { self.erase(slot) }
    }
}

impl<const N: usize> Bits for [u64; N] {
    fn empty(words: usize) -> Self {
        assert!(words <= N, "invariant: the width of a search is chosen by the size of its window");
        [0; N]
    }

    fn heap_bytes(_words: usize) -> usize {
        0
    }
}

impl Bits for Vec<u64> {
    fn empty(words: usize) -> Self {
        vec![0; words]
    }

    fn heap_bytes(words: usize) -> usize {
        words * size_of::<u64>()
    }
}

/// The members of one word of a set, as slots.
pub(super) fn slots(word_at: usize, mut word: u64) -> impl Iterator<Item = u32> {
    let base = (word_at * WORD_BITS) as u32;
    std::iter::from_fn(move || {
        let slot = (word != 0).then(|| base + word.trailing_zeros())?;
        word &= word - 1;
        Some(slot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members<B: Bits>(set: &B) -> Vec<u32> {
        (0..set.as_ref().len()).flat_map(|at| slots(at, set.word(at))).collect()
    }

    #[test]
    fn arrays_and_vectors_are_the_same_sets() {
        let (mut array, mut vector) = (<[u64; 4]>::empty(4), Vec::<u64>::empty(4));
        for slot in [0, 63, 64, 200, 255] {
            array.add(slot);
            vector.add(slot);
        }
        array.erase(64);
        vector.set(64, false);
        assert_eq!(members(&array), vec![0, 63, 200, 255]);
        assert_eq!(members(&array), members(&vector));
        assert!(array.has(200) && !array.has(201));
    }

    #[test]
    fn lanes_count_beside_each_other() {
        let mut set = <[u64; 4]>::empty(4);
        for lane in [0, 1, 1, 3, 4, 4, 4] {
            set.count_up(1, lane);
        }
        let count = |lane| lane_of_word(set.word(<[u64; 4]>::lane_word(1, lane)), lane);
        assert_eq!([0, 1, 2, 3, 4, 5].map(count), [1, 2, 0, 1, 3, 0]);
        assert_eq!(set.word(0), 0, "slots are not touched");
    }
}
