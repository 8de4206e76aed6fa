//! Violations that show without the past.
//!
//! Most violations are local: a short stretch of the history is illegal whatever the object held when it began. A search
//! from the beginning finds such a violation only after it has tried everything that came before; looking at short stretches
//! finds it at once, and with a short proof.
//!
//! A stretch is a relaxation of the whole history: what ended before it is forgotten, what was open at its beginning may or
//! may not have happened by then, and what has not ended at its end may never happen. So a stretch that is illegal from every
//! state proves that the history is. Stretches that are legal prove nothing.

use history::Nanos;

use super::calls::matters;
use super::object::{CallOf, Object};
use super::rounds::judge;
use super::search::Answer;
use super::window::Rules;
use crate::meter::{Limit, Meter};

/// The steps for one stretch and one state at its beginning.
const STEPS_PER_STRETCH: u64 = 2_000_000;

/// Between which moments an illegal stretch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// What ended by then is forgotten.
    pub after: Nanos,
    /// What ended later is forgotten.
    pub last: Nanos,
}

/// Looks through stretches with `width` completed operations, each of which overlaps the next by half, until one is
/// illegal, all are legal (`None`), or the steps are spent.
pub(super) fn find<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    width: usize,
    steps: u64,
    meter: &mut Meter,
) -> Result<Option<Stretch>, Limit> {
    let mut ends: Vec<Nanos> = calls.iter().filter_map(CallOf::<O>::end).collect();
    ends.sort_unstable();
    let mut by_start: Vec<&CallOf<O>> = calls.iter().collect();
    by_start.sort_by_key(|call| (call.start, call.position));
    let last_step = meter.steps().saturating_add(steps);
    let mut open: Vec<&CallOf<O>> = Vec::new();
    let mut next = 0;
    for first in (0..ends.len().saturating_sub(width / 2)).step_by(width.div_ceil(2)) {
        let stretch = Stretch { after: ends[first], last: ends[(first + width).min(ends.len() - 1)] };
        while let Some(call) = by_start.get(next).filter(|call| call.start <= stretch.after) {
            open.push(call);
            next += 1;
        }
        open.retain(|call| call.end_or_never() > stretch.after);
        let begins_inside = by_start[next..].iter().take_while(|call| call.start <= stretch.last);
        let inside = open.iter().chain(begins_inside).map(|call| cut(call, stretch));
        let mut inside: Vec<CallOf<O>> = inside.collect();
        inside.retain(|call| matters(object, call));
        if is_illegal(object, &inside, meter)? {
            return Ok(Some(stretch));
        }
        if meter.steps() > last_step {
            return Err(Limit::Steps);
        }
    }
    Ok(None)
}

/// The calls of a stretch.
pub(super) fn inside<O: Object>(object: &O, calls: &[CallOf<O>], stretch: Stretch) -> Vec<CallOf<O>> {
    let overlaps = |call: &&CallOf<O>| call.end_or_never() > stretch.after && call.start <= stretch.last;
    let mut inside: Vec<CallOf<O>> = calls.iter().filter(overlaps).map(|call| cut(call, stretch)).collect();
    inside.retain(|call| matters(object, call));
    inside
}

fn cut<P: Clone, R: Clone>(call: &super::calls::Call<P, R>, stretch: Stretch) -> super::calls::Call<P, R> {
    let mut call = call.clone();
    if call.end_or_never() > stretch.last {
        call.may_happen();
    } else if call.start <= stretch.after {
        call.make_optional();
    }
    call
}

/// Whether no state at all explains the calls; what is too hard counts as explained.
fn is_illegal<O: Object>(object: &O, calls: &[CallOf<O>], meter: &mut Meter) -> Result<bool, Limit> {
    let starts = object.any_start(calls);
    for start in &starts {
        let mut simplified = calls.to_vec();
        object.simplify(&mut simplified, start);
        match judge(object, &simplified, start, Rules::ALL, STEPS_PER_STRETCH, meter) {
            Ok(Answer::Illegal { .. }) => {}
            Ok(Answer::Legal) | Err(Limit::Steps) => return Ok(false),
            Err(limit) => return Err(limit),
        }
    }
    Ok(!starts.is_empty())
}
