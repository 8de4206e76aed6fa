//! Decides a stack without removes that found nothing, by peeling bottoms off.
//!
//! The *stay* of a value is the time between the end of its push and the start of its pop, at which it is certainly inside.
//! Two rules take a history apart:
//!
//! * **Split.** Where a time lies in no stay, what came before and what comes after are independent: see
//!   [`cover`](super::super::cover).
//! * **Peel.** Where stays together fill one stretch, the stack is never empty in it, so one value is at the bottom
//!   throughout: its push began by the beginning of the stretch, and its pop ended at the end or later. *Any* value with
//!   these two properties may be the bottom. For in an order of the others, every push can be moved to the beginning of
//!   the stretch if it was earlier, and every pop to its end if it was later, without a change of order, since no stay
//!   begins or ends outside; then there is room below them.
//!
//! A stretch without such a value is illegal (it is *stuck*). Values without a stay do not matter: they can be pushed and
//! popped at one moment. Both rules are exact, so their order does not matter. Taking values out only makes
//! stretches shorter, so an end of a value that fits its stretch goes on to fit, and each is found once: O(n log n) in all,
//! with a list of stretches instead of recursion.

use super::super::pace::{Pace, Stopped};
use super::super::spans::Span;
use super::stays::{Stays, Stretch};
use super::trees::{Depths, Keys, Range};

/// Values whose stays fill a stretch of which none can be the bottom, if there are any.
pub(super) fn stuck(spans: &[Span], pace: &mut Pace<'_>) -> Result<Option<Vec<Span>>, Stopped> {
    let stays = Stays::new(spans, pace)?;
    let mut peeling = Peeling::new(&stays);
    let stuck = peeling.next_stuck(pace)?;
    Ok(stuck.map(|stretch| peeling.chain(stretch).iter().map(|stay| spans[stays.span(*stay)]).collect()))
}

/// What is left of a history.
pub(super) struct Peeling<'a> {
    stays: &'a Stays,
    stretches: Vec<Stretch>,
    /// For every place, how many stays that are left reach from it to the next one.
    depths: Depths,
    /// The starts of pushes, until they fit.
    push_starts: Keys,
    /// The ends of pops, until they fit, counted from the last place backwards.
    pop_ends: Keys,
    /// How many of its two ends let a value be the bottom of its stretch.
    fitting_ends: Vec<u8>,
    bottoms: Vec<usize>,
    zeros: Vec<u32>,
}

impl<'a> Peeling<'a> {
    pub(super) fn new(stays: &'a Stays) -> Self {
        let depths = stays.depths();
        let places = stays.places();
        let mut peeling = Self {
            stays,
            stretches: Vec::new(),
            depths: Depths::new(&depths),
            push_starts: Keys::new(stays.len(), |stay| stays.push_starts[stay]),
            pop_ends: Keys::new(stays.len(), |stay| places - stays.pop_ends[stay]),
            fitting_ends: vec![0; stays.len()],
            bottoms: Vec::new(),
            zeros: (0..).zip(depths).filter(|(_, depth)| *depth == 0).map(|(place, _)| place).collect(),
        };
        peeling.split(Stretch { begin: 0, end: places.saturating_sub(1) });
        peeling
    }

    fn is_left(&self, stay: usize) -> bool {
        self.fitting_ends[stay] < 2
    }

    /// The next stretch that is stuck. What is not stuck is taken apart meanwhile.
    pub(super) fn next_stuck(&mut self, pace: &mut Pace<'_>) -> Result<Option<Stretch>, Stopped> {
        while let Some(stretch) = self.stretches.pop() {
            pace.step()?;
            self.find_bottoms(stretch);
            if self.bottoms.is_empty() {
                return Ok(Some(stretch));
            }
            while let Some(stay) = self.bottoms.pop() {
                pace.step()?;
                self.take_out(stay);
            }
            self.split(stretch);
        }
        Ok(None)
    }

    /// Goes on with what a stretch would be without one of its values.
    pub(super) fn leave_out(&mut self, stay: usize, stretch: Stretch) {
        self.fitting_ends[stay] = 2;
        self.take_out(stay);
        self.split(stretch);
    }

    /// The fewest stays that fill a stretch which is stuck.
    pub(super) fn chain(&self, stretch: Stretch) -> Vec<usize> {
        self.stays.chain(stretch, |stay| self.is_left(stay))
    }

    fn take_out(&mut self, stay: usize) {
        let (from, to) = (self.stays.begins[stay] as usize, self.stays.ends[stay] as usize);
        self.depths.lower(Range { from, to }, &mut self.zeros);
    }

    fn find_bottoms(&mut self, stretch: Stretch) {
        let range = self.stays.within(stretch);
        let after_end = self.stays.places() - stretch.end - 1;
        let Self { push_starts, pop_ends, fitting_ends, bottoms, .. } = self;
        let mut fits = |stay: usize| {
            fitting_ends[stay] += 1;
            if fitting_ends[stay] == 2 {
                bottoms.push(stay);
            }
        };
        push_starts.take(range, stretch.begin, &mut fits);
        pop_ends.take(range, after_end, &mut fits);
    }

    /// Keeps the stretches between the zeros, and forgets these.
    fn split(&mut self, stretch: Stretch) {
        self.zeros.sort_unstable();
        let mut begin = stretch.begin;
        for zero in self.zeros.drain(..).chain([stretch.end]) {
            if begin < zero {
                self.stretches.push(Stretch { begin, end: zero });
            }
            begin = zero + 1;
        }
    }
}
