//! The violations of counters that have a name: a sum below or above everything that is possible, or one that cannot follow
//! what somebody read before.

use super::{Bounds, Case, CounterCall, CounterObject, CounterOp, CounterRet};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, CounterObject>) -> Option<String> {
    case.accused().find_map(|call| {
        let sum = sum(call)?;
        outside(case, call, sum).or_else(|| unlike_before(case, call, sum))
    })
}

fn sum(call: &CounterCall) -> Option<i64> {
    match call.ret {
        Some(CounterRet::Read(sum)) => Some(sum),
        _ => None,
    }
}

fn number(call: &CounterCall) -> Option<i64> {
    match call.op {
        CounterOp::Add(number) => Some(number),
        CounterOp::Read => None,
    }
}

/// The sum is less than what had certainly been added, or more than everything that can have been.
fn outside(case: &Case<'_, CounterObject>, call: &CounterCall, sum: i64) -> Option<String> {
    let bounds = Bounds::of(case.core).find(|read| read.position == call.position)?;
    let numbers = || case.core.iter().filter_map(number);
    let (gains, losses) = (numbers().any(|number| number > 0), numbers().any(|number| number < 0));
    let reason = if numbers().next().is_none() {
        (sum != 0).then(|| "but nothing had been added".to_owned())?
    } else if sum < bounds.least {
        let pending = if losses { ", and all that can have been subtracted by then," } else { "" };
        let (start, least) = (bounds.start, bounds.least);
        if gains {
            format!("but what had certainly been added by {start}{pending} makes at least {least}")
        } else {
            format!("but all that can have been subtracted by {} leaves at least {least}", bounds.end)
        }
    } else if sum > bounds.most {
        let certain = if losses { ", less what had certainly been subtracted," } else { "" };
        let (end, most) = (bounds.end, bounds.most);
        if gains {
            format!("but all that can have been added by {end}{certain} makes at most {most}")
        } else {
            format!("but what had certainly been subtracted by {} leaves at most {most}", bounds.start)
        }
    } else {
        return None;
    };
    Some(format!("{} read {sum}{}, {reason}", case.who(call), case.at(call)))
}

/// An earlier read and what can have been added between the two do not make the sum.
fn unlike_before(case: &Case<'_, CounterObject>, call: &CounterCall, sum: i64) -> Option<String> {
    case.earlier(call).find_map(|before| {
        let known = self::sum(before)?;
        let (least, most) = between(case, before, call);
        let (least, most) = (known.saturating_add(least), known.saturating_add(most));
        let reason = if sum < least {
            format!("makes at least {least}")
        } else if sum > most {
            format!("makes at most {most}")
        } else {
            return None;
        };
        Some(format!(
            "{} read {sum}{}, but {} had read {known}{}, and what was added since {reason}",
            case.who(call),
            case.at(call),
            case.who_else(before, call),
            case.at(before)
        ))
    })
}

/// The least and the most that can have been added between two reads.
fn between(case: &Case<'_, CounterObject>, before: &CounterCall, after: &CounterCall) -> (i64, i64) {
    let mut bounds = (0_i64, 0_i64);
    for call in case.core {
        let Some(number) = number(call) else { continue };
        let may_be = !call.ended_before(before.start) && call.start <= after.end_or_never();
        let must_be = before.ended_before(call.start) && call.ended_before(after.start);
        if must_be || may_be && number < 0 {
            bounds.0 = bounds.0.saturating_add(number);
        }
        if must_be || may_be && number > 0 {
            bounds.1 = bounds.1.saturating_add(number);
        }
    }
    bounds
}
