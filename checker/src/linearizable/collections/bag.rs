//! The bag: a remove may take any value.
//!
//! Without removes that found nothing it is enough that no value leaves before it comes in. With them, each needs a time at
//! which no value is certainly inside ([`cover`]).
//!
//! Takers: a remove that found nothing at time `t` wants every waiting value whose insert ended before `t` to have a taker
//! that starts by `t`. So a value whose insert ended earlier is wanted away no later than one whose insert ended later,
//! whatever times the removes that found nothing have in the explanation. If some assignment meets such deadlines, then for
//! every `k` at least `k` takers start by the `k`-th deadline, so giving the `k`-th taker to the `k`-th value meets them too.
//! That assignment is as good as any, and no choice is left.

use super::pace::{Pace, Stopped};
use super::spans::Spans;
use super::{Decision, cover, illegal};

pub(super) fn decide(spans: &Spans<'_>, pace: &mut Pace<'_>) -> Result<Decision, Stopped> {
    let proof = cover::filled(spans, &spans.all, pace)?;
    Ok(proof.map_or(Decision::Legal, illegal))
}
