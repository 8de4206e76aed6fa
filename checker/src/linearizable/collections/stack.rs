//! The stack: the value that came in last leaves first.
//!
//! Removes that found nothing are judged one by one ([`cover`]); what remains is decided by decrease and
//! conquer ([`peel`]). Source: Lee and Mathur, *Efficient Decrease-and-Conquer Linearizability Monitoring*, OOPSLA 2025, arXiv
//! 2410.04581; also Abdulla et al., *Efficient Linearizability Monitoring*, PLDI 2025, arXiv 2509.17795.
//!
//! With takers that have a choice, see [`takers`]: the answer may stay open.

use super::pace::{Pace, Stopped};
use super::spans::{Span, Spans};
use super::{Decision, cover, illegal};

mod deadlines;
mod peel;
mod shrink;
mod stays;
mod takers;
mod trees;

pub(super) fn decide(spans: &mut Spans<'_>, pace: &mut Pace<'_>) -> Result<Option<Decision>, Stopped> {
    if spans.has_choice() {
        return takers::decide(spans, pace);
    }
    let proof = violation(spans, &spans.all, pace)?;
    Ok(Some(proof.map_or(Decision::Legal, illegal)))
}

/// The proof that some of the spans, among which takers have no choice, are illegal.
fn violation(spans: &Spans<'_>, some: &[Span], pace: &mut Pace<'_>) -> Result<Option<Vec<u32>>, Stopped> {
    if let Some(proof) = cover::filled(spans, some, pace)? {
        return Ok(Some(proof));
    }
    let stuck = peel::stuck(some, pace)?;
    Ok(stuck.map(|stuck| spans.proof(&shrink::shrink(stuck, pace), u64::MAX)))
}
