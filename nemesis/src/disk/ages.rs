//! What of a file has been on the disk for some time, and what it replaced.
//!
//! A flipped bit in the last record of a log looks like an unfinished write, and a server by itself cannot tell one from
//! the other. So only *settled* pages are ever corrupted: later fsyncs of the same file saved something and left them
//! as they were.

use std::collections::BTreeMap;

use super::image::Page;

/// How many fsyncs must have saved other pages since. The first one after a start may only have cleaned up.
const SAVES_AFTER: u64 = 2;
/// Of how many pages it is kept what they held before.
const BEFORE_LIMIT: usize = 2048;

/// How old the pages of a file are.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// How many fsyncs saved something.
    saves: u64,
    /// By which of them a page was saved last.
    saved: BTreeMap<u64, u64>,
    /// What a page held before that.
    before: BTreeMap<u64, Page>,
}

impl Ages {
    /// These pages were saved; what they held before.
    pub(super) fn save(&mut self, pages: impl IntoIterator<Item = (u64, Page)>) {
        let number = self.saves + 1;
        for (page, before) in pages {
            self.saves = number;
            self.saved.insert(page, number);
            self.before.insert(page, before);
        }
        while self.before.len() > BEFORE_LIMIT {
            self.before.pop_first();
        }
    }

    /// Pages from this one on are gone.
    pub(super) fn shrink(&mut self, pages: u64) {
        self.saved.split_off(&pages);
        self.before.split_off(&pages);
    }

    /// Whether anything was saved since the disk was mounted.
    pub(super) fn is_known(&self) -> bool {
        self.saves > 0
    }

    /// Whether a page was saved since the disk was mounted.
    pub(super) fn was_saved(&self, page: u64) -> bool {
        self.saved.contains_key(&page)
    }

    /// Whether later fsyncs saved other pages and not this one.
    pub(super) fn is_settled(&self, page: u64) -> bool {
        self.saves >= self.saved.get(&page).copied().unwrap_or_default() + SAVES_AFTER
    }

    /// What pages held before they were saved last.
    pub(super) fn before(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.before.iter().map(|(page, before)| (*page, before))
    }
}
