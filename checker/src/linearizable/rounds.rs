//! All partitions in turn, with a share of steps that grows from round to round.
//!
//! A hard partition can therefore not keep a bad one from being found, and the order of the partitions hardly matters.
//! A search starts afresh in every round, so that only one of them holds memory; because the shares grow eightfold, that
//! costs at most a seventh more. Once a violation is proven, the round is finished and no further one begun.

use super::partition::Partition;
use super::problem::{Call, Problem};
use super::search::{Answer, search};
use super::window::Rules;
use crate::meter::{Limit, Meter};
use crate::model::Model;

/// The share of the first round, in steps: a few milliseconds.
const FIRST_SHARE: u64 = 100_000;

/// How much larger the share is in the next round.
const GROWTH: u64 = 8;

/// What is known about a partition: an answer, or the limit that its last search met.
pub(crate) type Fate = Result<Answer, Limit>;

/// Decides as many partitions as the meter allows, in their order.
pub(crate) fn decide<M: Model>(partitions: &[Partition<M>], start: &M, meter: &mut Meter) -> Vec<Fate> {
    let mut fates: Vec<Fate> = vec![Err(Limit::Steps); partitions.len()];
    let mut share = FIRST_SHARE;
    loop {
        for (partition, fate) in partitions.iter().zip(&mut fates) {
            if *fate == Err(Limit::Steps) {
                *fate = judge(&partition.simplified, start, Rules::ALL, share, meter);
            }
        }
        let is_illegal = |fate: &Fate| matches!(fate, Ok(Answer::Illegal { .. }));
        if fates.iter().any(is_illegal) || fates.iter().all(|fate| *fate != Err(Limit::Steps)) {
            return fates;
        }
        share = share.saturating_mul(GROWTH);
    }
}

/// Judges one partition with at most `steps` steps.
pub(crate) fn judge<M: Model>(
    calls: &[Call<M>],
    start: &M,
    rules: Rules,
    steps: u64,
    meter: &mut Meter,
) -> Fate {
    search(&Problem::new(calls), start, rules, steps, meter)
}
