//! Queues, bags and stacks whose values are all different, decided without a search in O(n log n).
//!
//! Which remove took which value is known then, so that a history is a set of *lives*: a value comes in during one
//! interval and leaves during another. Each kind of collection has a condition on lives that holds exactly when some
//! order explains every result: [`fifo`], [`bag`], [`stack`]. Two things are the same for all of them and are done
//! here: what a single life may never be, and which operations of unknown outcome matter ([`spans`]).
//!
//! Guarantees: `Legal` and `Illegal` are certain. The operations named by `Illegal` are a violation by themselves, and
//! stay one with everything else added that happened, because they are chosen by leaving out *whole values* and removes
//! that found nothing. Taking a value out of a legal sequence, together with whatever removes it, leaves a legal
//! sequence of all three kinds: the order of the others stays, and what was empty stays empty.
//!
//! It does not apply (`None`) when a value was inserted twice, and when removes of unknown outcome leave the question of a
//! stack open; a general search decides then. Start reading at [`Collection::decide`].

use spans::Spans;

mod bag;
mod cover;
mod fifo;
mod pace;
mod spans;
mod stack;

pub(crate) use pace::Stopped;

use pace::Pace;

/// The end of an operation that may take effect at any later time, or never.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// When an operation ran. It came before another one when its end is less than the other's start; equal stamps are
/// concurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The time of its call.
    pub(crate) start: u64,
    /// The time of its completion, or [`UNKNOWN`].
    pub(crate) end: u64,
    /// The caller's name for the operation, used in proofs.
    pub(crate) id: u32,
}

/// What happened to one value.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    insert: Option<Interval>,
    remove: Option<Interval>,
}

/// A remove of unknown outcome: from its start on it may take any one value, find the collection empty, or never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Taker {
    start: u64,
    id: u32,
}

/// What removes the values, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The value that came first leaves first.
    Fifo,
    /// Any value may leave.
    Bag,
    /// The value that came last leaves first.
    Stack,
}

/// The answer where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Some order explains every result.
    Legal,
    /// No order does, not even of the operations with these ids. They are sorted.
    Illegal(Vec<u32>),
}

/// The operations on one collection, with values numbered from zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collection {
    lives: Vec<Life>,
    second_removes: Vec<(u32, Interval)>,
    empties: Vec<Interval>,
    takers: Vec<Taker>,
    /// Something was recorded that lives cannot express.
    is_beyond: bool,
}

impl Collection {
    /// An empty record with room for so many values.
    pub(crate) fn with_capacity(values: usize) -> Self {
        Self { lives: Vec::with_capacity(values), ..Self::default() }
    }

    /// An insert of a value; its outcome may be unknown.
    pub(crate) fn insert(&mut self, value: u32, interval: Interval) {
        debug_assert!(interval.start <= interval.end);
        let life = self.life(value);
        let is_second = life.insert.is_some();
        life.insert = life.insert.or(Some(interval));
        self.is_beyond |= is_second;
    }

    /// A remove that returned a value.
    pub(crate) fn remove(&mut self, value: u32, interval: Interval) {
        debug_assert!(interval.start <= interval.end);
        self.is_beyond |= interval.end == UNKNOWN;
        let life = self.life(value);
        match life.remove {
            Some(_) => self.second_removes.push((value, interval)),
            None => life.remove = Some(interval),
        }
    }

    /// A remove that found the collection empty.
    pub(crate) fn remove_nothing(&mut self, interval: Interval) {
        debug_assert!(interval.start <= interval.end);
        self.is_beyond |= interval.end == UNKNOWN;
        self.empties.push(interval);
    }

    /// A remove of unknown outcome.
    pub(crate) fn remove_unknown(&mut self, start: u64, id: u32) {
        self.takers.push(Taker { start, id });
    }

    /// Decides whether some order of the operations explains every result. `may_go_on` is asked every few thousand steps.
    ///
    /// # Errors
    /// When `may_go_on` said no.
    pub(crate) fn decide(
        &self,
        kind: Kind,
        may_go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Decision>, Stopped> {
        let mut pace = Pace::new(may_go_on);
        if self.is_beyond {
            return Ok(None);
        }
        if let Some(proof) = self.impossible_life() {
            return Ok(Some(illegal(proof)));
        }
        pace.poll()?;
        let mut spans = Spans::new(self);
        match kind {
            Kind::Fifo => fifo::decide(&spans, &mut pace).map(Some),
            Kind::Bag => bag::decide(&spans, &mut pace).map(Some),
            Kind::Stack => stack::decide(&mut spans, &mut pace),
        }
    }

    fn life(&mut self, value: u32) -> &mut Life {
        let at = value as usize;
        if at >= self.lives.len() {
            self.lives.resize(at + 1, Life::default());
        }
        &mut self.lives[at]
    }

    /// A value that was removed without an insert, before its insert, or twice.
    fn impossible_life(&self) -> Option<Vec<u32>> {
        let too_early = self.lives.iter().find_map(|life| match (life.insert, life.remove) {
            (None, Some(remove)) => Some(vec![remove.id]),
            (Some(insert), Some(remove)) if remove.end < insert.start => Some(vec![insert.id, remove.id]),
            _ => None,
        });
        too_early.or_else(|| {
            let (value, second) = self.second_removes.first()?;
            let life = self.lives[*value as usize];
            Some([life.insert, life.remove, Some(*second)].into_iter().flatten().map(|of| of.id).collect())
        })
    }
}

fn illegal(mut ids: Vec<u32>) -> Decision {
    ids.sort_unstable();
    ids.dedup();
    Decision::Illegal(ids)
}

#[cfg(test)]
mod tests;
