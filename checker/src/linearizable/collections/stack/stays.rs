//! The stays of values: when each is certainly inside a stack, in terms of places in the order of time.

use super::super::pace::{Pace, Stopped};
use super::super::spans::Span;
use super::trees::Range;

/// A time at which a stay begins (`true`) or ends, and the span. At equal stamps ends come before beginnings, since the pop
/// and the push are concurrent then. So every mark has its own place in the order.
type Mark = (u64, bool, u32);

/// The stays by their beginning. What belongs to one stands at the same index of each list.
#[derive(Debug, Default)]
pub(super) struct Stays {
    /// The index of the span.
    spans: Vec<u32>,
    /// The place of the beginning: the end of the push.
    pub(super) begins: Vec<u32>,
    /// The place of the end: the start of the pop.
    pub(super) ends: Vec<u32>,
    /// The first place that is not before the start of the push.
    pub(super) push_starts: Vec<u32>,
    /// The first place that is after the end of the pop.
    pub(super) pop_ends: Vec<u32>,
}

/// The places at which a longest run of overlapping stays begins and ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) begin: u32,
    pub(super) end: u32,
}

impl Stays {
    pub(super) fn new(spans: &[Span], pace: &mut Pace<'_>) -> Result<Self, Stopped> {
        let marks = marks(spans, pace)?;
        let mut ends = vec![0; spans.len()];
        for (place, (_, begins, at)) in (0..).zip(&marks) {
            if !begins {
                ends[*at as usize] = place;
            }
        }
        let mut stays = Self::with_capacity(marks.len() / 2);
        for (place, (_, begins, at)) in (0..).zip(&marks) {
            pace.step()?;
            if *begins {
                let end = ends[*at as usize];
                stays.push(*at, &spans[*at as usize], Stretch { begin: place, end }, &marks);
            }
        }
        Ok(stays)
    }

    fn with_capacity(stays: usize) -> Self {
        let room = || Vec::with_capacity(stays);
        Self { spans: room(), begins: room(), ends: room(), push_starts: room(), pop_ends: room() }
    }

    fn push(&mut self, at: u32, span: &Span, stay: Stretch, marks: &[Mark]) {
        self.spans.push(at);
        self.begins.push(stay.begin);
        self.ends.push(stay.end);
        self.push_starts.push(first_place(marks, stay.begin, |time| time >= span.insert_start));
        self.pop_ends.push(first_place(marks, stay.end, |time| time > span.remove_end));
    }

    /// The index of the span of a stay.
    pub(super) fn span(&self, stay: usize) -> usize {
        self.spans[stay] as usize
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// How many places there are: two for each stay.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(2 * self.len()).expect("invariant: places fit into 32 bits")
    }

    /// For every place, how many stays reach from it to the next one.
    pub(super) fn depths(&self) -> Vec<u32> {
        let mut is_begin = vec![false; 2 * self.len()];
        for begin in &self.begins {
            is_begin[*begin as usize] = true;
        }
        let mut depth = 0;
        let depth_after = |is_begin| {
            if is_begin {
                depth += 1;
            } else {
                depth -= 1;
            }
            depth
        };
        is_begin.into_iter().map(depth_after).collect()
    }

    /// The stays that begin in a stretch.
    pub(super) fn within(&self, stretch: Stretch) -> Range {
        let before = |place| self.begins.partition_point(|begin| *begin < place);
        Range { from: before(stretch.begin), to: before(stretch.end) }
    }

    /// The fewest stays that fill a stretch, of those that `are_left`.
    pub(super) fn chain(&self, stretch: Stretch, are_left: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut chain = Vec::new();
        let (mut filled, mut longest) = (stretch.begin, (0, 0));
        let Range { from, to } = self.within(stretch);
        for stay in (from..to).filter(|stay| are_left(*stay)) {
            if self.begins[stay] > filled {
                filled = longest.0;
                chain.push(longest.1);
            }
            longest = longest.max((self.ends[stay], stay));
            if longest.0 == stretch.end {
                break;
            }
        }
        chain.push(longest.1);
        chain
    }
}

fn marks(spans: &[Span], pace: &mut Pace<'_>) -> Result<Vec<Mark>, Stopped> {
    let stays = spans.iter().filter(|span| span.is_inside()).count();
    let mut marks: Vec<Mark> = Vec::with_capacity(2 * stays);
    for (at, span) in (0..).zip(spans).filter(|(_, span)| span.is_inside()) {
        marks.extend([(span.insert_end, true, at), (span.remove_start, false, at)]);
    }
    pace.poll()?;
    marks.sort();
    pace.poll()?;
    Ok(marks)
}

/// The first place whose time fulfils a condition that holds from some time on. It is looked for around `near` in growing
/// steps, because operations are short.
fn first_place(marks: &[Mark], near: u32, holds: impl Fn(u64) -> bool) -> u32 {
    let near = near as usize;
    let holds_at = |place: usize| marks.get(place).is_none_or(|mark| holds(mark.0));
    let (mut from, mut to, mut step) = (near, near, 1);
    while !holds_at(to) {
        (from, to) = (to + 1, to + step);
        step *= 2;
    }
    while to <= near && from > 0 && holds_at(from - 1) {
        (from, to) = (from.saturating_sub(step), from - 1);
        step *= 2;
    }
    let to = to.min(marks.len());
    let found = from + marks[from..to].partition_point(|mark| !holds(mark.0));
    u32::try_from(found).expect("invariant: places fit into 32 bits")
}
