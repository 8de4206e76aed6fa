//! A set of rows of numbers, all of one length, that only grows.
//!
//! Millions of rows are kept in a few large blocks: a block of its own for every row would make giving them back take
//! a good part of a short time limit.

use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// How many numbers a block has at least.
const BLOCK_NUMBERS: usize = 1 << 14;

/// The rows that were inserted.
pub(super) struct Nodes {
    width: usize,
    rows_per_block: usize,
    blocks: Vec<Vec<u32>>,
    /// The places of the rows, by their hash.
    places: HashTable<u32>,
}

impl Nodes {
    /// No rows; all will have `width` numbers.
    pub(super) fn new(width: usize) -> Self {
        let rows_per_block = BLOCK_NUMBERS.div_ceil(width.max(1));
        Self { width, rows_per_block, blocks: Vec::new(), places: HashTable::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains(&self, row: &[u32]) -> bool {
        self.places.find(hash(row), |place| self.row(*place) == row).is_some()
    }

    /// Adds a row that the set does not contain.
    pub(super) fn insert(&mut self, row: &[u32]) {
        debug_assert!(row.len() == self.width && !self.contains(row));
        let place = self.places.len();
        if place.is_multiple_of(self.rows_per_block) {
            self.blocks.push(Vec::with_capacity(self.rows_per_block * self.width));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(row);
        }
        let Self { width, rows_per_block, blocks, places } = self;
        let rehash = |place: &u32| hash(row_of(blocks, *rows_per_block, *width, *place));
        places.insert_unique(hash(row), place as u32, rehash);
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let block = size_of::<Vec<u32>>() + size_of::<u32>() * self.rows_per_block * self.width;
        self.blocks.len() * block + self.places.allocation_size()
    }

    fn row(&self, place: u32) -> &[u32] {
        row_of(&self.blocks, self.rows_per_block, self.width, place)
    }
}

fn row_of(blocks: &[Vec<u32>], rows_per_block: usize, width: usize, place: u32) -> &[u32] {
    let place = place as usize;
    let from = place % rows_per_block * width;
    &blocks[place / rows_per_block][from..from + width]
}

fn hash(row: &[u32]) -> u64 {
    let mut hasher = FxHasher::default();
    row.iter().for_each(|number| hasher.write_u32(*number));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_found_again_over_many_blocks() {
        let mut nodes = Nodes::new(5);
        let mut expected = BTreeSet::new();
        assert!(nodes.is_empty() && !nodes.contains(&[0; 5]));
        let mut number = 1_u32;
        for _ in 0..60_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let row = [number >> 28, number >> 24 & 15, number >> 20 & 15, number >> 16 & 15, 7];
            assert_eq!(nodes.contains(&row), expected.contains(&row));
            if expected.insert(row) {
                nodes.insert(&row);
            }
        }
        assert!(nodes.blocks.len() > 2, "{}", nodes.blocks.len());
        assert!(expected.iter().all(|row| nodes.contains(row)));
        assert!(nodes.bytes() >= expected.len() * 5 * 4);
    }
}
