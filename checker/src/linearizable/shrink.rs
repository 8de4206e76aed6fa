//! From a history that no order explains to the few operations that prove it.
//!
//! Every step is a relaxation: it maps histories that some order explains to histories that some order explains. So
//! whatever is still illegal at the end proves that the whole history is.
//! * operations after the first return that nothing survives are forgotten, and open ones may never happen;
//! * an operation that changes nothing is left out;
//! * an effect is left out that nothing else depends on ([`Object::removable`]), never one that is observed;
//! * the past is forgotten: whatever ended before a moment is left out, what was open then may have happened before, and the
//!   rest must be illegal from *every* state.
//!
//! The chunks are those of delta debugging (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing
//! Input*). The time is bounded by the meter and the effort by a number
//! of steps; when either ends, what was reached until then is the result.

use std::ops::Range;

use history::Nanos;
use rustc_hash::FxHashSet;

use super::calls::matters;
use super::local::{Stretch, inside};
use super::object::{CallOf, Object, Removal};
use super::orders::{Orders, orders};
use super::partition::{Suspects, SuspectsOf};
use super::problem::Problem;
use super::rounds::judge;
use super::search::Answer;
use super::window::Rules;
use crate::meter::{Limit, Meter};

/// How many more operations the story from the beginning may have than the one that forgets the past.
const MAX_PROLOGUE: usize = 3;

/// Steps for one question, "is this still illegal?". A question that costs more is answered with no.
const STEPS_PER_QUESTION: u64 = 2_000_000;

/// Steps for all questions about one violation, about a second. Steps and not time, so that the core is the same on
/// every machine.
const STEPS_PER_VIOLATION: u64 = 40_000_000;

/// Operations that no order explains.
pub(super) struct Core<O: Object> {
    pub calls: Vec<CallOf<O>>,
    /// The states before them; none helps.
    pub starts: Vec<O::State>,
    /// Whether the past was forgotten, so that `starts` stands for every state.
    pub from_any_state: bool,
    /// The one whose return nothing survives.
    pub culprit: usize,
}

/// Finds a small core among the suspects.
///
/// The recent past is tried first, because it is short. What was found there then guides the reduction of the whole
/// prefix, which tells the better story: it begins with how the values came about.
pub(super) fn shrink<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    suspects: &SuspectsOf<O>,
    meter: &mut Meter,
) -> Core<O> {
    let whole = Core::whole(heard_of(object, calls, suspects), vec![object.initial()]);
    let last_step = meter.steps().saturating_add(STEPS_PER_VIOLATION);
    let mut shrinker = Shrinker { object, meter, last_step };
    let recent = match suspects {
        Suspects::Stretch(stretch) => shrinker.without_past(inside(object, calls, *stretch)),
        _ => shrinker.forget_past(&whole.calls),
    };
    let recent = recent.ok().flatten().map(|recent| shrinker.reduce(recent));
    let guided = recent.as_ref().and_then(|recent| shrinker.guided(&whole, recent).ok().flatten());
    let full = match (&recent, guided) {
        (_, Some(guided)) => Some(shrinker.reduce(guided)),
        (None, None) => Some(shrinker.reduce(whole.clone())),
        (Some(_), None) => None,
    };
    let mut best = match (recent, full) {
        (Some(recent), Some(full)) if full.calls.len() <= recent.calls.len() + MAX_PROLOGUE => full,
        (Some(recent), _) => recent,
        (None, full) => full.unwrap_or_else(|| whole.clone()),
    };
    if shrinker.confirm(&mut best) { best } else { whole }
}

/// What was heard of up to a moment: operations that are open then may never happen, but if one does, it has the
/// result that was recorded.
fn heard_of<O: Object>(object: &O, calls: &[CallOf<O>], suspects: &SuspectsOf<O>) -> Vec<CallOf<O>> {
    let last = match suspects {
        Suspects::Calls(suspects) => return suspects.clone(),
        Suspects::Until(last) => *last,
        Suspects::Stretch(stretch) => stretch.last,
    };
    let mut heard_of: Vec<CallOf<O>> = calls.iter().filter(|call| call.start <= last).cloned().collect();
    for call in heard_of.iter_mut().filter(|call| call.end_or_never() > last) {
        call.may_happen();
    }
    heard_of.retain(|call| matters(object, call));
    heard_of
}

impl<O: Object> Core<O> {
    fn whole(calls: Vec<CallOf<O>>, starts: Vec<O::State>) -> Self {
        let certain = calls.iter().enumerate().filter(|(_, call)| call.is_certain());
        let latest = certain.max_by_key(|(_, call)| call.end());
        let culprit = latest.map_or(0, |(at, _)| at);
        Self { calls, starts, from_any_state: false, culprit }
    }
}

impl<O: Object> Clone for Core<O> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone(), starts: self.starts.clone(), ..*self }
    }
}

struct Shrinker<'a, O: Object> {
    object: &'a O,
    meter: &'a mut Meter,
    last_step: u64,
}

impl<O: Object> Shrinker<'_, O> {
    /// The call whose return nothing survives, when no order explains the calls; `None` also when that is too hard to
    /// find out.
    fn culprit(&mut self, calls: &[CallOf<O>], starts: &[O::State]) -> Result<Option<usize>, Limit> {
        let mut culprit = None;
        for start in starts {
            if self.meter.steps() > self.last_step {
                return Err(Limit::Steps);
            }
            let mut simplified = calls.to_vec();
            self.object.simplify(&mut simplified, start);
            match judge(self.object, &simplified, start, Rules::ALL, STEPS_PER_QUESTION, self.meter) {
                Ok(Answer::Illegal { furthest }) => {
                    let event = Problem::new(self.object, &simplified).events[furthest];
                    let call = &simplified[event.call as usize];
                    culprit = culprit.max(Some((call.end(), call.position)));
                }
                Ok(Answer::Legal) | Err(Limit::Steps) => return Ok(None),
                Err(limit) => return Err(limit),
            }
        }
        Ok(culprit.and_then(|(_, position)| calls.iter().position(|call| call.position == position)))
    }

    /// The whole without everything that can go and is not part of `recent`; `None` when that is not illegal.
    fn guided(&mut self, whole: &Core<O>, recent: &Core<O>) -> Result<Option<Core<O>>, Limit> {
        let is_guide = |call: &CallOf<O>| recent.calls.iter().any(|guide| guide.position == call.position);
        let mut calls = whole.calls.clone();
        loop {
            let before = calls.len();
            let mut removable = self.object.removable(&calls).into_iter();
            calls.retain(|call| removable.next() != Some(Removal::Alone) || is_guide(call));
            if calls.len() == before {
                break;
            }
        }
        let culprit = self.culprit(&calls, &whole.starts)?;
        Ok(culprit.map(|culprit| Core { calls, culprit, ..whole.clone() }))
    }

    /// Leaves out chunks of operations, large ones first, while the rest stays illegal.
    fn reduce(&mut self, mut core: Core<O>) -> Core<O> {
        let mut chunk = core.calls.len().div_ceil(2);
        loop {
            match self.sweep(&mut core, chunk) {
                Err(_) => return core,
                Ok(false) if chunk <= 1 => return core,
                Ok(_) => chunk = chunk.div_ceil(2),
            }
        }
    }

    /// One pass over the calls; `true` when something was left out.
    fn sweep(&mut self, core: &mut Core<O>, chunk: usize) -> Result<bool, Limit> {
        let mut from = 0;
        let mut progress = false;
        while from < core.calls.len() {
            let chunk_end = from + chunk;
            let kept = without::<O>(&core.calls, &self.object.removable(&core.calls), from..chunk_end);
            let is_smaller = kept.len() < core.calls.len();
            match if is_smaller { self.culprit(&kept, &core.starts)? } else { None } {
                Some(culprit) => {
                    core.calls = kept;
                    core.culprit = culprit;
                    progress = true;
                }
                None => from = chunk_end,
            }
        }
        Ok(progress)
    }

    /// The shortest recent part that is illegal from every state. Forgetting more can only make a history easier to
    /// explain, so the moment is found by doubling and then by halves.
    fn forget_past(&mut self, calls: &[CallOf<O>]) -> Result<Option<Core<O>>, Limit> {
        let mut ends: Vec<Nanos> = calls.iter().filter_map(CallOf::<O>::end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.dedup();
        let mut kept = 1;
        let mut found = None;
        while found.is_none() && kept < ends.len() {
            found = self.recent(calls, ends[kept])?;
            kept *= 2;
        }
        let Some(mut core) = found else { return Ok(None) };
        let (mut too_few, mut enough) = (kept / 4, kept / 2);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            match self.recent(calls, ends[middle])? {
                Some(smaller) => (core, enough) = (smaller, middle),
                None => too_few = middle,
            }
        }
        Ok(Some(core))
    }

    fn recent(&mut self, calls: &[CallOf<O>], moment: Nanos) -> Result<Option<Core<O>>, Limit> {
        self.without_past(inside(self.object, calls, Stretch { after: moment, last: Nanos(u64::MAX) }))
    }

    /// A core of these calls, when no state explains them.
    fn without_past(&mut self, calls: Vec<CallOf<O>>) -> Result<Option<Core<O>>, Limit> {
        let starts = self.object.any_start(&calls);
        let culprit = self.culprit(&calls, &starts)?;
        Ok(culprit.map(|culprit| Core { calls, starts, from_any_state: true, culprit }))
    }

    /// Whether the core is illegal, by a search that shares nothing with the one that found it, where it is small enough
    /// for that. Names the culprit of exactly these calls.
    fn confirm(&mut self, core: &mut Core<O>) -> bool {
        let culprit = self.culprit(&core.calls, &core.starts);
        if let Ok(Some(culprit)) = culprit {
            core.culprit = culprit;
        }
        match orders(self.object, &core.calls, &core.starts, core.culprit) {
            Some(found) => matches!(found, Orders::Stuck(_)),
            None => matches!(culprit, Ok(Some(_))),
        }
    }
}

/// The calls without those of a range that can go, and without the others that go together with one of them.
fn without<O: Object>(calls: &[CallOf<O>], removable: &[Removal], range: Range<usize>) -> Vec<CallOf<O>> {
    let in_range = &removable[range.start..range.end.min(removable.len())];
    let together: FxHashSet<Removal> =
        in_range.iter().filter(|removal| matches!(removal, Removal::Together(_))).copied().collect();
    let goes = |at: usize| match removable[at] {
        Removal::Kept => false,
        Removal::Alone => range.contains(&at),
        group => together.contains(&group),
    };
    let kept = calls.iter().enumerate().filter(|(at, _)| !goes(*at));
    kept.map(|(_, call)| call.clone()).collect()
}
