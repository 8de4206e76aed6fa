//! Stacks with pops of unknown outcome, some of which may have taken values that nobody is known to have popped.
//!
//! Which taker took which value is a choice that, unlike in a queue or a bag, no order of the values settles. But the sooner a
//! value can go, the easier the history is to explain, so all that is needed of each waiting value is the latest time by
//! which its taker must have started. [`deadlines`](super::deadlines) gives a first bound. The takers are assigned by
//! deadline, the first to the first. Where the history is stuck then, a small stuck set of values is looked at: if just
//! one of them is waiting, its deadline becomes the latest time with which they are not stuck, and that is certain. If
//! there are more, one of them is chosen, and the deadlines are guesses from then on. This goes on in rounds.
//!
//! The history is legal when some assignment is, however it was found. It is illegal when it is as a
//! [`bag`](super::super::bag), or without its waiting values, or when more values have certain deadlines than takers have
//! started by then. Else there is no answer.

use super::super::pace::{Pace, Stopped};
use super::super::spans::{Span, Spans};
use super::super::{Decision, cover, illegal};
use super::deadlines::{Deadline, Reason, missed, of_waiting};
use super::peel::{Peeling, stuck};
use super::shrink::shrink;
use super::stays::Stays;
use super::violation;

/// Rounds after which there is no answer.
const MAX_ROUNDS: u32 = 64;

pub(super) fn decide(spans: &mut Spans<'_>, pace: &mut Pace<'_>) -> Result<Option<Decision>, Stopped> {
    if let Some(proof) = cover::filled(spans, &spans.all, pace)? {
        return Ok(Some(illegal(proof)));
    }
    let mut deadlines = of_waiting(spans, pace)?;
    let mut progress = Progress::Certain;
    for _ in 0..MAX_ROUNDS {
        deadlines.sort_by_key(|deadline| (deadline.time, spans.all[deadline.waiting as usize].insert_end));
        spans.assign(deadlines.iter().map(|deadline| deadline.waiting).collect());
        match missed(spans, &deadlines) {
            Some(proof) if progress == Progress::Certain => return Ok(Some(illegal(proof))),
            Some(_) => break,
            None => {}
        }
        let Some(tightened) = tighten(spans, &mut deadlines, pace)? else {
            let is_filled = cover::filled(spans, &spans.all, pace)?.is_some();
            if is_filled { break } else { return Ok(Some(Decision::Legal)) }
        };
        progress = progress.max(tightened);
        if progress == Progress::Impossible {
            break;
        }
    }
    Ok(violation(spans, &spans.without_waiting(), pace)?.map(illegal))
}

/// What is known about the deadlines after some rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// All are necessary.
    Certain,
    /// Some may not be.
    Guessed,
    /// None would help.
    Impossible,
}

/// Finds everything that is stuck, if anything is, and gives a waiting value in it an earlier deadline.
fn tighten(
    spans: &Spans<'_>,
    deadlines: &mut [Deadline],
    pace: &mut Pace<'_>,
) -> Result<Option<Progress>, Stopped> {
    let stays = Stays::new(&spans.all, pace)?;
    let mut peeling = Peeling::new(&stays);
    let mut progress = None;
    while let Some(stretch) = peeling.next_stuck(pace)? {
        let chain = peeling.chain(stretch);
        let span = |stay: &usize| spans.all[stays.span(*stay)];
        let mut others = shrink(chain.iter().map(span).collect(), pace);
        others.sort_unstable_by_key(|other| (other.is_waiting(), other.turn));
        let Some(chosen) = others.pop_if(|last| last.is_waiting()) else {
            return Ok(Some(Progress::Impossible));
        };
        let is_certain = !others.iter().any(Span::is_waiting);
        progress = progress.max(Some(if is_certain { Progress::Certain } else { Progress::Guessed }));
        let time = latest(chosen, &others, pace)?;
        let deadline = &mut deadlines[chosen.turn as usize];
        (deadline.time, deadline.reason) = (time, Reason::Stuck(others));
        let stay = chain.iter().find(|stay| span(stay).turn == chosen.turn);
        peeling.leave_out(*stay.expect("invariant: it is one of the chain"), stretch);
    }
    Ok(progress)
}

/// The latest time for a remove of the waiting value to start so that it is not stuck with the others.
fn latest(waiting: Span, others: &[Span], pace: &mut Pace<'_>) -> Result<u64, Stopped> {
    let mut times: Vec<u64> = others.iter().flat_map(|other| [other.insert_end, other.remove_end]).collect();
    times.sort_unstable();
    let mut latest = waiting.insert_end;
    for time in times.into_iter().filter(|time| *time < waiting.remove_start) {
        let mut sooner = waiting;
        sooner.remove_start = time;
        if stuck(&[others, &[sooner]].concat(), pace)?.is_some() {
            break;
        }
        latest = time.max(latest);
    }
    Ok(latest)
}
