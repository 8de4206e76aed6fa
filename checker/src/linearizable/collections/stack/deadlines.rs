//! When values of a stack that nobody is known to have popped must be gone, as far as that is certain.
//!
//! What was certainly inside before the push of a value began, and until that ended, is below it, so the value must be
//! gone when that is popped. It must also be gone when a pop that began after its push found nothing. These deadlines are
//! necessary; they are not sufficient, because longer chains of values can force a pop too.

use std::collections::BTreeMap;

use super::super::Interval;
use super::super::pace::{Pace, Stopped};
use super::super::spans::{Span, Spans};

/// The time by which the remove of a waiting value must have started.
#[derive(Debug)]
pub(super) struct Deadline {
    /// The index of its span.
    pub(super) waiting: u32,
    pub(super) time: u64,
    pub(super) reason: Reason,
}

/// What makes a deadline.
#[derive(Debug)]
pub(super) enum Reason {
    /// It is the end of time.
    None,
    /// A value below it was removed.
    Below(Span),
    /// A remove found nothing.
    Empty(Interval),
    /// These values would be stuck with it.
    Stuck(Vec<Span>),
}

/// The deadlines of all waiting values.
pub(super) fn of_waiting(spans: &Spans<'_>, pace: &mut Pace<'_>) -> Result<Vec<Deadline>, Stopped> {
    let span = |at: &u32| &spans.all[*at as usize];
    let mut waiting = spans.waiting().to_vec();
    waiting.sort_by_key(|at| span(at).insert_start);
    let mut removed: Vec<u32> =
        (0..).zip(&spans.all).filter(|(_, span)| !span.is_waiting()).map(|(at, _)| at).collect();
    pace.poll()?;
    removed.sort_by_key(|at| span(at).insert_end);
    let mut removed = removed.iter().map(span).peekable();
    let mut below = Below::default();
    let empties = Empties::new(spans.empties());
    let mut deadlines = Vec::with_capacity(waiting.len());
    for at in waiting {
        while let Some(removed) = removed.next_if(|removed| removed.insert_end < span(&at).insert_start) {
            pace.step()?;
            below.add(removed);
        }
        pace.step()?;
        let pushed = span(&at).insert_end;
        deadlines.push(earlier(at, below.first_to_leave(pushed), empties.first_to_end(pushed)));
    }
    Ok(deadlines)
}

fn earlier(waiting: u32, below: Option<&Span>, empty: Option<&Interval>) -> Deadline {
    let below = below.map(|below| (below.remove_end, Reason::Below(*below)));
    let empty = empty.map(|empty| (empty.end, Reason::Empty(*empty)));
    let first = below.into_iter().chain(empty).min_by_key(|(time, _)| *time);
    let (time, reason) = first.unwrap_or((u64::MAX, Reason::None));
    Deadline { waiting, time, reason }
}

/// The proof that more values must be gone by some time than takers have started. The spans are assigned by deadline.
pub(super) fn missed(spans: &Spans<'_>, deadlines: &[Deadline]) -> Option<Vec<u32>> {
    let is_missed = |(turn, deadline): &(usize, &Deadline)| {
        deadline.time < u64::MAX && spans.takers_until(deadline.time) <= *turn
    };
    let (turn, missed) = deadlines.iter().enumerate().find(is_missed)?;
    let mut values = vec![spans.all[missed.waiting as usize]];
    let mut empties = Vec::new();
    for deadline in &deadlines[..=turn] {
        match &deadline.reason {
            Reason::None => {}
            Reason::Below(below) => values.push(*below),
            Reason::Empty(empty) => empties.push(empty.id),
            Reason::Stuck(others) => values.extend(others),
        }
    }
    Some([spans.proof(&values, missed.time), empties].concat())
}

/// Values that are certainly below what is pushed next, by the start of their pop. One that is popped later than
/// another, by its start, is kept only if it is by its end too.
#[derive(Default)]
struct Below(BTreeMap<u64, Span>);

impl Below {
    fn add(&mut self, span: &Span) {
        let later = self.0.range(span.remove_start..).next();
        if later.is_some_and(|(_, later)| later.remove_end <= span.remove_end) {
            return;
        }
        while let Some((&start, earlier)) = self.0.range(..=span.remove_start).next_back() {
            if earlier.remove_end < span.remove_end {
                break;
            }
            self.0.remove(&start);
        }
        self.0.insert(span.remove_start, *span);
    }

    /// Of the values whose pop began after a time, the one whose pop ended first.
    fn first_to_leave(&self, time: u64) -> Option<&Span> {
        self.0.range(time + 1..).next().map(|(_, span)| span)
    }
}

/// Removes that found nothing, by their start, each replaced by the one that ends first of those from there on.
struct Empties(Vec<(u64, Interval)>);

impl Empties {
    fn new(empties: &[Interval]) -> Self {
        let mut by_start: Vec<(u64, Interval)> = empties.iter().map(|empty| (empty.start, *empty)).collect();
        by_start.sort_by_key(|(start, _)| *start);
        for at in (1..by_start.len()).rev() {
            if by_start[at].1.end < by_start[at - 1].1.end {
                by_start[at - 1].1 = by_start[at].1;
            }
        }
        Self(by_start)
    }

    /// Of those that began after a time, the one that ended first.
    fn first_to_end(&self, time: u64) -> Option<&Interval> {
        let after = self.0.partition_point(|(start, _)| *start <= time);
        self.0.get(after).map(|(_, first)| first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Collection, Spans};
    use super::*;

    fn removed(pop: (u64, u64)) -> Span {
        let mut collection = Collection::default();
        collection.insert(0, Interval { start: 0, end: 1, id: 0 });
        collection.remove(0, Interval { start: pop.0, end: pop.1, id: 1 });
        Spans::new(&collection).all[0]
    }

    #[test]
    fn of_what_is_still_below_the_first_to_leave_is_known() {
        let pops = [(5, 9), (3, 12), (7, 8), (2, 4), (7, 20), (4, 7), (10, 11), (1, 30)];
        let mut below = Below::default();
        for count in 1..=pops.len() {
            below.add(&removed(pops[count - 1]));
            for time in 0..12 {
                let later = pops[..count].iter().filter(|pop| pop.0 > time);
                let expected = later.map(|pop| pop.1).min();
                assert_eq!(below.first_to_leave(time).map(|span| span.remove_end), expected);
            }
        }
    }
}
