//! All partitions in turn: shortcuts first, then searches with a share of steps that grows from round to round.
//!
//! A hard partition can therefore not keep a bad one from being found, and the order of the partitions hardly matters.
//! A search starts afresh in every round, so that only one of them holds memory; because the shares grow eightfold, that
//! costs at most a seventh more. Once a violation is proven, the round is finished and no further one begun.

use super::object::{Object, Shortcut};
use super::partition::{Partition, Suspects};
use super::problem::{Call, Problem};
use super::search::{Answer, search};
use super::window::Rules;
use crate::meter::{Limit, Meter};
use crate::model::Model;

/// The share of the first round, in steps: a few milliseconds.
const FIRST_SHARE: u64 = 100_000;

/// How much larger the share is in the next round.
const GROWTH: u64 = 8;

/// What a shortcut may hold per call, generously.
const SHORTCUT_BYTES_PER_CALL: u64 = 128;

/// What is known about a partition, or the limit that its last search met.
pub(crate) type Fate = Result<Decision, Limit>;

/// A certain answer about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Some order explains every result.
    Legal,
    /// No order does.
    Illegal(Suspects),
}

/// Decides as many partitions as the meter allows, in their order.
pub(crate) fn decide<O: Object>(
    object: &O,
    partitions: &[Partition<O::Model>],
    meter: &mut Meter,
) -> Vec<Fate> {
    let mut fates: Vec<Fate> =
        partitions.iter().map(|partition| shortcut(object, partition, meter)).collect();
    let mut share = FIRST_SHARE;
    loop {
        for (partition, fate) in partitions.iter().zip(&mut fates).filter(|(_, fate)| is_open(fate)) {
            let answer = judge(&partition.simplified, &object.initial(), Rules::ALL, share, meter);
            *fate = answer.map(|answer| match answer {
                Answer::Legal => Decision::Legal,
                Answer::Illegal { furthest } => Decision::Illegal(partition.until_event(furthest)),
            });
        }
        if fates.iter().any(is_illegal) || !fates.iter().any(is_open) {
            return fates;
        }
        share = share.saturating_mul(GROWTH);
    }
}

fn shortcut<O: Object>(object: &O, partition: &Partition<O::Model>, meter: &mut Meter) -> Fate {
    meter.check_time()?;
    meter.check_memory(partition.simplified.len() as u64 * SHORTCUT_BYTES_PER_CALL)?;
    match object.shortcut(&partition.simplified).ok_or(Limit::Steps)? {
        Shortcut::Legal => Ok(Decision::Legal),
        Shortcut::Illegal(positions) => Ok(Decision::Illegal(partition.among(positions))),
    }
}

fn is_open(fate: &Fate) -> bool {
    *fate == Err(Limit::Steps)
}

pub(super) fn is_illegal(fate: &Fate) -> bool {
    matches!(fate, Ok(Decision::Illegal(_)))
}

/// Judges one partition with at most `steps` steps.
pub(crate) fn judge<M: Model>(
    calls: &[Call<M>],
    start: &M,
    rules: Rules,
    steps: u64,
    meter: &mut Meter,
) -> Result<Answer, Limit> {
    search(&Problem::new(calls), start, rules, steps, meter)
}
