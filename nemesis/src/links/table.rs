//! All links of a cluster: their rules, their counters, and who wants what of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lane::{Lane, LinkState, LinkStats};
use super::rule::{FaultId, Rule, Wishes};
use crate::{Endpoint, Link};

/// Strangers that are described; more are only counted.
const STRANGERS_LIMIT: usize = 32;

/// Connections that were refused because nobody knows who dialled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strangers {
    /// How many.
    pub count: u64,
    /// The first of them, in words.
    pub details: Vec<String>,
}

/// The shared state behind [`super::Links`].
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    next_seed: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    links: BTreeMap<Link, LinkState>,
    wishes: Wishes,
    strangers: Strangers,
}

impl Table {
    /// Both directions of a connection that `dialler` made to `destination`.
    pub(super) fn lanes(&self, dialler: &Endpoint, destination: &Endpoint) -> (Lane, Lane) {
        let link = Link::new(dialler.clone(), destination.clone());
        let mut inner = self.lock();
        (inner.state(&link).lane(), inner.state(&link.reversed()).lane())
    }

    /// The same for a canary.
    pub(super) fn uncounted_lanes(&self, dialler: &Endpoint, destination: &Endpoint) -> (Lane, Lane) {
        let link = Link::new(dialler.clone(), destination.clone());
        let mut inner = self.lock();
        (inner.state(&link).uncounted_lane(), inner.state(&link.reversed()).uncounted_lane())
    }

    pub(super) fn impose(&self, fault: FaultId, link: &Link, rule: Rule) {
        let mut inner = self.lock();
        inner.wishes.add(fault, link.clone(), rule);
        inner.apply(link);
    }

    pub(super) fn lift(&self, fault: FaultId) {
        let mut inner = self.lock();
        for link in inner.wishes.remove(fault) {
            inner.apply(&link);
        }
    }

    pub(super) fn heal_all(&self) {
        let mut inner = self.lock();
        inner.wishes.clear();
        for link in inner.links.keys().cloned().collect::<Vec<_>>() {
            inner.apply(&link);
        }
    }

    pub(super) fn rule(&self, link: &Link) -> Rule {
        self.lock().wishes.total(link)
    }

    pub(super) fn reset(&self, link: &Link) {
        self.lock().state(link).resets.send_modify(|resets| *resets += 1);
    }

    pub(super) fn close(&self, link: &Link) {
        self.lock().state(link).closes.send_modify(|closes| *closes += 1);
    }

    pub(super) fn stats(&self) -> BTreeMap<Link, LinkStats> {
        self.lock().links.iter().map(|(link, state)| (link.clone(), state.counters.snapshot())).collect()
    }

    pub(super) fn report_stranger(&self, detail: String) {
        let strangers = &mut self.lock().strangers;
        strangers.count += 1;
        if strangers.details.len() < STRANGERS_LIMIT {
            strangers.details.push(detail);
        }
    }

    pub(super) fn strangers(&self) -> Strangers {
        self.lock().strangers.clone()
    }

    /// A different number for each connection.
    pub(super) fn next_seed(&self) -> u64 {
        self.next_seed.fetch_add(1, Ordering::Relaxed)
    }

    // A panic while the lock is held leaves rules that the next heal overwrites.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn state(&mut self, link: &Link) -> &LinkState {
        self.links.entry(link.clone()).or_default()
    }

    fn apply(&mut self, link: &Link) {
        let total = self.wishes.total(link);
        self.state(link).rule.send_if_modified(|rule| std::mem::replace(rule, total) != total);
    }
}
