//! Sets of slots of pending operations.
//!
//! Small windows live in arrays without an allocation, and windows of any size in a vector: however many operations
//! are open at once, the search can represent them.

use std::hash::Hash;

/// The bits of one word.
pub(super) const WORD_BITS: usize = u64::BITS as usize;

/// A set of slots with a number of words fixed for a whole search.
pub(super) trait Bits: Clone + Eq + Hash + AsRef<[u64]> + AsMut<[u64]> {
    /// The empty set.
    fn empty(words: usize) -> Self;

    /// Bytes outside the value itself.
    fn heap_bytes(words: usize) -> usize;

    fn words(&self) -> usize {
        self.as_ref().len()
    }

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
        (0..set.words()).flat_map(|at| slots(at, set.word(at))).collect()
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
}
