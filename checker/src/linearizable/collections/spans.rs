//! Lives with every unknown outcome resolved as far as it can be, and proofs about them.
//!
//! **Inserts of unknown outcome.** When the value was removed, the insert happened, before the remove did: its end is at
//! most the end of the remove. When nobody is known to have removed the value, the insert is left out. If the rest is
//! legal, so is the whole, in which the insert need not happen; if the whole is legal, taking the value out, together with the
//! remove of unknown outcome that may have taken it, leaves a legal sequence of the rest.
//!
//! **Removes of unknown outcome** (*takers*) can only matter by taking a value that certainly came in and that no other remove
//! returned (a *waiting* value). So the history is legal exactly when it is legal for some assignment of takers to
//! waiting values, a taker with start `u` becoming a remove in `[u, for ever]`. A waiting value that gets no taker is
//! removed at the end of time. A remove at the end of time and none at all are the same: after everything else has
//! happened, all values that are left can go in the order that the collection wants.
//!
//! **Proofs** name whole values. Takers must not be left out of them as long as a waiting value is in them, or they would
//! claim too much; a taker that starts after the time which the proof is about can be.

use super::{Collection, Interval, Taker, UNKNOWN};

/// A value that certainly came in, and the times that bind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) insert_start: u64,
    pub(super) insert_end: u64,
    /// [`UNKNOWN`] when it never leaves.
    pub(super) remove_start: u64,
    pub(super) remove_end: u64,
    value: u32,
    /// Its place among the waiting values, or [`REMOVED`].
    pub(super) turn: u32,
}

/// The turn of values that are not waiting.
const REMOVED: u32 = u32::MAX;

impl Span {
    fn removed(value: u32, insert: Interval, remove: Interval) -> Self {
        Self {
            insert_start: insert.start,
            insert_end: insert.end.min(remove.end),
            remove_start: remove.start,
            remove_end: remove.end,
            value,
            turn: REMOVED,
        }
    }

    fn waiting(value: u32, insert: Interval) -> Self {
        let (remove_start, remove_end) = (UNKNOWN, UNKNOWN);
        Self { insert_start: insert.start, insert_end: insert.end, remove_start, remove_end, value, turn: 0 }
    }

    /// Whether there is a time at which the value is certainly inside: all times after the end of its insert and before
    /// the start of its remove.
    pub(super) fn is_inside(&self) -> bool {
        self.insert_end < self.remove_start
    }

    /// Whether no remove is known to have returned the value.
    pub(super) fn is_waiting(&self) -> bool {
        self.turn != REMOVED
    }
}

/// The lives of a collection.
pub(super) struct Spans<'a> {
    collection: &'a Collection,
    pub(super) all: Vec<Span>,
    /// The waiting spans, by their turn: at first by the end of their insert.
    waiting: Vec<u32>,
    /// By start.
    takers: Vec<Taker>,
}

impl<'a> Spans<'a> {
    pub(super) fn new(collection: &'a Collection) -> Self {
        let mut all = Vec::with_capacity(collection.lives.len());
        for (value, life) in (0..).zip(&collection.lives) {
            match (life.insert, life.remove) {
                (Some(insert), Some(remove)) => all.push(Span::removed(value, insert, remove)),
                (Some(insert), None) if insert.end != UNKNOWN => all.push(Span::waiting(value, insert)),
                _ => {}
            }
        }
        let mut waiting: Vec<u32> =
            (0..).zip(&all).filter(|(_, span)| span.is_waiting()).map(|(at, _)| at).collect();
        waiting.sort_by_key(|at| all[*at as usize].insert_end);
        let mut takers = collection.takers.clone();
        takers.sort_unstable();
        let mut spans = Self { collection, all, waiting: Vec::new(), takers };
        spans.assign(waiting);
        spans
    }

    /// Gives the first taker to the first of these waiting values, the second to the second, and so on.
    pub(super) fn assign(&mut self, waiting: Vec<u32>) {
        for (turn, at) in (0..).zip(&waiting) {
            let span = &mut self.all[*at as usize];
            span.turn = turn;
            span.remove_start = self.takers.get(turn as usize).map_or(UNKNOWN, |taker| taker.start);
        }
        self.waiting = waiting;
    }

    pub(super) fn empties(&self) -> &'a [Interval] {
        &self.collection.empties
    }

    pub(super) fn waiting(&self) -> &[u32] {
        &self.waiting
    }

    /// Whether some taker may have taken some value.
    pub(super) fn has_choice(&self) -> bool {
        !self.waiting.is_empty() && !self.takers.is_empty()
    }

    /// How many takers start at this time or before.
    pub(super) fn takers_until(&self, time: u64) -> usize {
        self.takers.partition_point(|taker| taker.start <= time)
    }

    /// The spans that a known remove ended.
    pub(super) fn without_waiting(&self) -> Vec<Span> {
        self.all.iter().copied().filter(|span| !span.is_waiting()).collect()
    }

    /// The operations of some spans, of which the waiting ones cannot all have left by `time`. With the values whose turn
    /// is before theirs there are more than the takers that start by then, so those are part of the proof.
    pub(super) fn proof(&self, spans: &[Span], time: u64) -> Vec<u32> {
        let mut ids: Vec<u32> = spans.iter().flat_map(|span| self.ids(span)).collect();
        if let Some(turn) = spans.iter().filter(|span| span.is_waiting()).map(|span| span.turn).max() {
            let takers = self.takers_until(time);
            let before = &self.waiting[..takers.min(turn as usize)];
            ids.extend(before.iter().flat_map(|at| self.ids(&self.all[*at as usize])));
            ids.extend(self.takers[..takers].iter().map(|taker| taker.id));
        }
        ids
    }

    fn ids(&self, span: &Span) -> impl Iterator<Item = u32> {
        let life = self.collection.lives[span.value as usize];
        [life.insert, life.remove].into_iter().flatten().map(|of| of.id)
    }
}
