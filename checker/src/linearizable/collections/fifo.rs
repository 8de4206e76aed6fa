//! The queue: the value that came in first leaves first.
//!
//! The history is linearizable exactly when no value leaves before it comes in, every remove that found nothing has a time
//! at which no value is certainly inside ([`cover`](super::cover)), and no value *overtakes* another: the insert of `a`
//! ended before that of `b` began, and the remove of `b` ended before that of `a` began (or `a` never left). Source: Henzinger,
//! Sezgin and Vafeiadis, *Aspect-oriented linearizability proofs*, CONCUR 2013 (`VOrd`); also Gibbons, Bruno and Phillips,
//! *Black-box correctness tests for basic parallel data structures*, SPAA 2002.
//!
//! Why pairs are enough: `a` must be before `b` when their inserts or their removes are in that order. A cycle of this
//! relation has two neighbouring steps of the same sort, which are one step, or alternates between both sorts; among two steps
//! of one sort, `a` to `b` and `c` to `d`, there is always `a` to `d` or `c` to `b`, as intervals are. Either way it has a
//! shorter cycle, down to two values, of which one overtakes the other. Without cycles there is one order of the values for
//! inserts and removes alike.
//!
//! Takers: waiting value `a` must have a taker that starts by the earliest end of a remove whose value came in
//! after `a` did. This deadline is no earlier for a value whose insert ended later, as in [`bag`], so the same
//! assignment is as good as any.

use super::pace::{Pace, Stopped};
use super::spans::{Span, Spans};
use super::{Decision, bag, illegal};

pub(super) fn decide(spans: &Spans<'_>, pace: &mut Pace<'_>) -> Result<Decision, Stopped> {
    if let Some((passed, passer)) = overtaken(&spans.all, pace)? {
        return Ok(illegal(spans.proof(&[passed, passer], passer.remove_end)));
    }
    bag::decide(spans, pace)
}

/// The earliest known overtaking: a value and the one that left before it though it came after.
fn overtaken(spans: &[Span], pace: &mut Pace<'_>) -> Result<Option<(Span, Span)>, Stopped> {
    let mut by_end: Vec<u32> = (0..).zip(spans).map(|(at, _)| at).collect();
    let mut by_start = by_end.clone();
    by_end.sort_by_key(|at| spans[*at as usize].insert_end);
    pace.poll()?;
    by_start.sort_by_key(|at| spans[*at as usize].insert_start);
    let mut later = by_start.iter().rev().map(|at| &spans[*at as usize]).peekable();
    let mut first_to_leave: Option<&Span> = None;
    let mut found: Option<(Span, Span)> = None;
    for span in by_end.iter().rev().map(|at| &spans[*at as usize]) {
        pace.step()?;
        while let Some(other) = later.next_if(|other| span.insert_end < other.insert_start) {
            if first_to_leave.is_none_or(|first| other.remove_end < first.remove_end) {
                first_to_leave = Some(other);
            }
        }
        let passer = first_to_leave.filter(|first| first.remove_end < span.remove_start);
        let is_earlier = |passer: &&Span| found.is_none_or(|(_, known)| passer.remove_end < known.remove_end);
        if let Some(passer) = passer.filter(is_earlier) {
            found = Some((*span, *passer));
        }
    }
    Ok(found)
}
