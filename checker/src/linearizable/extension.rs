//! The sequences of operations from configurations to the next return, by length.
//!
//! Once the operation that returns is optional a sequence matters only if that operation itself ends it: everything else in
//! it may as well wait until after the return.

use std::hash::Hash;

use super::antichain::{Antichain, projected_bytes};
use super::bits::Bits;
use super::object::Object;
use super::window::{Configuration, Window};

/// Sequences that are tried at one return.
pub(super) struct Extension<S, B> {
    seen: Antichain<S, B>,
    frontier: Vec<Configuration<S, B>>,
    /// The configurations in which the operation may return.
    pub survivors: Vec<Configuration<S, B>>,
}

impl<S, B> Default for Extension<S, B> {
    fn default() -> Self {
        Self { seen: Antichain::default(), frontier: Vec::new(), survivors: Vec::new() }
    }
}

impl<S: Clone + Eq + Hash, B: Bits> Extension<S, B> {
    /// Forgets the sequences of the return before.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
        self.survivors.clear();
        self.frontier.clear();
    }

    /// Begins sequences at a configuration in which the operation of `target` has not taken effect.
    pub(super) fn add_source<O: Object<State = S>>(
        &mut self,
        window: &Window<'_, O, B>,
        target: u32,
        from: Configuration<S, B>,
    ) {
        if from.masks.optional.has(target) {
            self.survivors.push(from.clone());
        }
        if self.seen.insert(window, from.state.clone(), &from.masks) {
            self.frontier.push(from);
        }
    }

    /// The configurations from which the sequences go on.
    pub(super) fn take_frontier(&mut self) -> Vec<Configuration<S, B>> {
        std::mem::take(&mut self.frontier)
    }

    /// Whether longer sequences are left.
    pub(super) fn has_frontier(&self) -> bool {
        !self.frontier.is_empty()
    }

    /// Makes the sequences that end in a configuration longer by one operation; how many were tried.
    pub(super) fn step_from<O: Object<State = S>>(
        &mut self,
        window: &Window<'_, O, B>,
        target: u32,
        configuration: &Configuration<S, B>,
    ) -> u64 {
        let mut tried = 0;
        for candidate in window.candidates(configuration) {
            tried += 1;
            if let Some(next) = window.linearize(configuration, candidate) {
                self.reach(window, target, next, configuration.masks.optional.has(target));
            }
        }
        tried + self.seen.take_compared()
    }

    fn reach<O: Object<State = S>>(
        &mut self,
        window: &Window<'_, O, B>,
        target: u32,
        next: Configuration<S, B>,
        was_optional: bool,
    ) {
        if next.masks.used.has(target) {
            self.survivors.push(next);
            return;
        }
        if next.masks.optional.has(target) && !was_optional {
            self.survivors.push(next.clone());
        }
        if self.seen.insert(window, next.state.clone(), &next.masks) {
            self.frontier.push(next);
        }
    }

    /// What it holds after `more` further insertions, in bytes, at the worst moment of growing.
    pub(super) fn projected_bytes(&self, more: usize, heap: usize) -> u64 {
        let lists = [&self.frontier, &self.survivors];
        let lists = lists.map(|list| {
            projected_bytes::<Configuration<S, B>>(list.len(), list.capacity(), more)
                + (2 * heap * (list.len() + more)) as u64
        });
        // The frontier that is being left is not longer than what `seen` holds.
        lists[0] + lists[1] + 2 * self.seen.projected_bytes(more, heap)
    }
}
