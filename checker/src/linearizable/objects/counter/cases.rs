//! The violations of counters that have a name: a sum below or above everything that is possible, or one that cannot follow
//! what somebody read before, or that no choice of the additions makes.

use super::{Case, CounterCall, CounterObject, CounterOp, CounterRet};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, CounterObject>) -> Option<String> {
    case.accused().find_map(|call| {
        let sum = sum(call)?;
        outside(case, call, sum)
            .or_else(|| unlike_before(case, call, sum))
            .or_else(|| impossible(case, call, sum))
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
    let (start, end) = (call.start, call.end()?);
    let total = |is_meant: &dyn Fn(&CounterCall, i64) -> bool| {
        let numbers = case.core.iter().filter_map(|call| Some((call, number(call)?)));
        let meant = numbers.filter(|(call, number)| is_meant(call, *number));
        meant.fold(0_i64, |sum, (_, number)| sum.saturating_add(number))
    };
    let certain = |call: &CounterCall| call.ended_before(start);
    let possible = |call: &CounterCall| call.start <= end;
    let must_gain = total(&|call, number| number > 0 && certain(call));
    let may_gain = total(&|call, number| number > 0 && possible(call));
    let must_lose = total(&|call, number| number < 0 && certain(call)).saturating_neg();
    let may_lose = total(&|call, number| number < 0 && possible(call)).saturating_neg();
    let reason = if sum < must_gain.saturating_sub(may_lose) {
        match (must_gain, may_lose) {
            (0, 0) => "nothing can have been subtracted by then".to_owned(),
            (_, 0) => format!("{must_gain} had certainly been added by {start}"),
            (0, _) => format!("at most {may_lose} can have been subtracted by then"),
            _ => format!(
                "{must_gain} had certainly been added by {start}, and at most {may_lose} can have been subtracted by {end}"
            ),
        }
    } else if sum > may_gain.saturating_sub(must_lose) {
        match (may_gain, must_lose) {
            (0, 0) => "nothing can have been added by then".to_owned(),
            (_, 0) => format!("at most {may_gain} can have been added by then"),
            (0, _) => format!("{must_lose} had certainly been subtracted by {start}"),
            _ => format!(
                "at most {may_gain} can have been added by then, and {must_lose} had certainly been subtracted by {start}"
            ),
        }
    } else {
        return None;
    };
    Some(format!("{} read {sum}{}, but {reason}", case.who(call), case.at(call)))
}

/// The most additions of which every choice is tried.
const MAX_CHOSEN: usize = 12;

/// The most sums that are listed.
const MAX_SUMS: usize = 8;

/// No choice of the additions that may have taken effect makes the sum.
fn impossible(case: &Case<'_, CounterObject>, call: &CounterCall, sum: i64) -> Option<String> {
    let end = call.end()?;
    let adds = || case.core.iter().filter_map(|add| Some((add, number(add)?)));
    let is_open = |add: &CounterCall| add.start <= end && !add.ended_before(call.start);
    let certain = adds().filter(|(add, _)| add.ended_before(call.start));
    let certain = certain.fold(0_i64, |sum, (_, number)| sum.saturating_add(number));
    let open: Vec<i64> = adds().filter(|(add, _)| is_open(add)).map(|(_, number)| number).collect();
    if open.len() > MAX_CHOSEN {
        return None;
    }
    let mut sums = vec![certain];
    for number in open {
        let with: Vec<i64> = sums.iter().map(|sum| sum.saturating_add(number)).collect();
        sums.extend(with);
        sums.sort_unstable();
        sums.dedup();
    }
    if sums.contains(&sum) {
        return None;
    }
    let (who, at) = (case.who(call), case.at(call));
    let shown: Vec<String> = sums.iter().map(i64::to_string).collect();
    let reason = if sums.len() > MAX_SUMS {
        "no choice of the additions that were open by then makes that sum".to_owned()
    } else {
        format!("what can have been added by then makes {}", shown.join(" or "))
    };
    Some(format!("{who} read {sum}{at}, but {reason}"))
}

/// An earlier read and what can have been added between the two do not make the sum.
fn unlike_before(case: &Case<'_, CounterObject>, call: &CounterCall, sum: i64) -> Option<String> {
    case.earlier(call).find_map(|before| {
        let known = self::sum(before)?;
        let (least, most) = between(case, before, call);
        let reason = if sum < known.saturating_add(least) {
            match least {
                0 => "nothing can have been subtracted since".to_owned(),
                _ => format!("what happened since makes at least {}", known.saturating_add(least)),
            }
        } else if sum > known.saturating_add(most) {
            match most {
                0 => "nothing can have been added since".to_owned(),
                _ => format!("what happened since makes at most {}", known.saturating_add(most)),
            }
        } else {
            return None;
        };
        Some(format!(
            "{} read {sum}{}, but {} had read {known}{}, and {reason}",
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
