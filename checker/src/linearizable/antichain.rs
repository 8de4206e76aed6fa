//! Configurations that were met before, by state: a newcomer that one of them dominates adds nothing.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::bits::Bits;
use super::object::Object;
use super::window::{Masks, Window};

/// The end of a list of nodes.
const END: u32 = u32::MAX;

/// Sets of configurations under keys; within a key the states are equal.
pub(super) struct Antichain<K, B> {
    heads: FxHashMap<K, u32>,
    nodes: Vec<Node<B>>,
    /// Comparisons since somebody asked.
    compared: u64,
}

/// So many comparisons are as much work as a step of a search.
const COMPARISONS_PER_STEP: u64 = 8;

struct Node<B> {
    masks: Masks<B>,
    next: u32,
}

impl<K, B> Default for Antichain<K, B> {
    fn default() -> Self {
        Self { heads: FxHashMap::default(), nodes: Vec::new(), compared: 0 }
    }
}

impl<K: Eq + Hash, B: Bits> Antichain<K, B> {
    /// Remembers the configuration; `false` when one that was met before can do whatever it can.
    pub(super) fn insert<O: Object>(&mut self, window: &Window<'_, O, B>, key: K, masks: &Masks<B>) -> bool {
        let head = self.heads.entry(key).or_insert(END);
        let mut at = *head;
        while at != END {
            let node = &self.nodes[at as usize];
            self.compared += 1;
            if window.dominates(&node.masks, masks) {
                return false;
            }
            at = node.next;
        }
        let new =
            u32::try_from(self.nodes.len()).expect("invariant: the memory budget ends before 2^32 nodes");
        self.nodes.push(Node { masks: masks.clone(), next: *head });
        *head = new;
        true
    }

    /// The steps that comparing was worth since the last time that somebody asked.
    pub(super) fn take_compared(&mut self) -> u64 {
        let steps = self.compared / COMPARISONS_PER_STEP;
        self.compared %= COMPARISONS_PER_STEP;
        steps
    }

    /// Forgets everything; keeps the allocation unless clearing it would cost more than making a new one.
    pub(super) fn clear(&mut self) {
        if self.heads.capacity() > KEPT_CAPACITY {
            self.heads = FxHashMap::default();
        }
        self.heads.clear();
        self.nodes.clear();
    }

    /// What it holds after `more` further insertions, in bytes, at the worst moment of growing.
    pub(super) fn projected_bytes(&self, more: usize, heap_bytes: usize) -> u64 {
        let heads = projected_bytes::<(K, u32)>(self.heads.len(), self.heads.capacity(), more);
        let nodes = projected_bytes::<Node<B>>(self.nodes.len(), self.nodes.capacity(), more);
        heads + nodes + (2 * heap_bytes * (self.nodes.len() + more)) as u64
    }
}

/// Clearing a table costs its capacity; a table that was large once must not make every later step slow.
const KEPT_CAPACITY: usize = 1024;

/// The bytes of a growing collection after `more` insertions: while it grows, the old and the doubled new allocation
/// exist together.
pub(super) fn projected_bytes<T>(len: usize, capacity: usize, more: usize) -> u64 {
    let needed = len + more;
    let elements = if needed <= capacity { capacity } else { capacity + needed.max(2 * capacity) };
    (elements * size_of::<T>()) as u64
}
