//! Removes that found nothing: was there a time at which the collection can have been empty?
//!
//! A value is certainly inside at all times after the end of its insert and before the start of its remove. A remove
//! that found nothing needs a time in its interval at which no value is certainly inside. For all three kinds of
//! collections this is enough, one such remove at a time: there the history falls into values that come in and leave before
//! and values that come in and leave after. No operation of the second half ends before one of the first starts, so one
//! half can be explained after the other; and both are legal if the whole is, because leaving out values keeps that.
//! Source: the condition `VWit` of Henzinger, Sezgin and Vafeiadis, *Aspect-oriented linearizability proofs*, CONCUR 2013.

use super::Interval;
use super::pace::{Pace, Stopped};
use super::spans::{Span, Spans};

/// The proof that a remove found nothing although some of the spans were inside all the time. Of such removes it is the
/// first to end.
pub(super) fn filled(
    spans: &Spans<'_>,
    some: &[Span],
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<u32>>, Stopped> {
    let empties = spans.empties();
    if empties.is_empty() {
        return Ok(None);
    }
    let mut inside: Vec<u32> =
        (0..).zip(some).filter(|(_, span)| span.is_inside()).map(|(at, _)| at).collect();
    pace.poll()?;
    inside.sort_by_key(|at| some[*at as usize].insert_end);
    let in_order = || inside.iter().map(|at| &some[*at as usize]);
    let stretches = stretches(in_order(), pace)?;
    let Some(empty) = first_covered(&stretches, empties, pace)? else { return Ok(None) };
    let mut proof = spans.proof(&chain(in_order(), empty), empty.end);
    proof.push(empty.id);
    Ok(Some(proof))
}

/// The longest intervals, both ends excluded, at every time of which some value is certainly inside. The spans come by
/// the end of their insert.
fn stretches<'a>(
    spans: impl Iterator<Item = &'a Span>,
    pace: &mut Pace<'_>,
) -> Result<Vec<(u64, u64)>, Stopped> {
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for span in spans {
        pace.step()?;
        match stretches.last_mut() {
            Some((_, until)) if span.insert_end < *until => *until = span.remove_start.max(*until),
            _ => stretches.push((span.insert_end, span.remove_start)),
        }
    }
    Ok(stretches)
}

fn first_covered<'a>(
    stretches: &[(u64, u64)],
    empties: &'a [Interval],
    pace: &mut Pace<'_>,
) -> Result<Option<&'a Interval>, Stopped> {
    let mut first: Option<&Interval> = None;
    for empty in empties {
        pace.step()?;
        let is_earlier = first.is_none_or(|first| (empty.end, empty.id) < (first.end, first.id));
        if is_earlier && is_covered(stretches, empty) {
            first = Some(empty);
        }
    }
    Ok(first)
}

fn is_covered(stretches: &[(u64, u64)], empty: &Interval) -> bool {
    let begun = stretches.partition_point(|(after, _)| *after < empty.start);
    begun > 0 && empty.end < stretches[begun - 1].1
}

/// The fewest of the spans that cover an interval which they cover together. They come by the end of their insert.
fn chain<'a>(spans: impl Iterator<Item = &'a Span>, empty: &Interval) -> Vec<Span> {
    let mut chain = Vec::new();
    let mut uncovered = empty.start;
    let mut longest: Option<&Span> = None;
    for span in spans {
        if span.insert_end >= uncovered {
            let link = longest.expect("invariant: the spans cover the interval");
            uncovered = link.remove_start;
            chain.push(*link);
            if uncovered > empty.end {
                return chain;
            }
        }
        if longest.is_none_or(|longest| longest.remove_start < span.remove_start) {
            longest = Some(span);
        }
    }
    chain.extend(longest);
    chain
}
