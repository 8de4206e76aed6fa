//! Stacks with pops of unknown outcome, some of which may have taken values that nobody is known to have popped.
//!
//! Which taker took which value is a choice that, unlike in a queue or a bag, no order of the values settles. But the sooner a
//! value can go, the easier the history is to explain, so all that is needed of each waiting value is the latest time by
//! which its taker must have started. [`deadlines`](super::deadlines) gives a first bound. The takers are assigned by
//! deadline, the first to the first. Where the history is stuck then, a small stuck set of values is looked at: if just
//! one of them is waiting, its deadline becomes the latest time with which they are not stuck. This goes on in rounds.
//!
//! All these deadlines are necessary. So the history is illegal when more values have one than takers have started by
//! then. It is illegal too when it is as a [`bag`](super::super::bag), or without its waiting values. It is legal when
//! some assignment is. Else, as when two waiting values are stuck together, there is no answer.

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
    for _ in 0..MAX_ROUNDS {
        deadlines.sort_by_key(|deadline| (deadline.time, spans.all[deadline.waiting as usize].insert_end));
        spans.assign(deadlines.iter().map(|deadline| deadline.waiting).collect());
        if let Some(proof) = missed(spans, &deadlines) {
            return Ok(Some(illegal(proof)));
        }
        match tighten(spans, &mut deadlines, pace)? {
            Progress::Tightened => {}
            Progress::NothingStuck if cover::filled(spans, &spans.all, pace)?.is_none() => {
                return Ok(Some(Decision::Legal));
            }
            Progress::NothingStuck | Progress::None => break,
        }
    }
    Ok(violation(spans, &spans.without_waiting(), pace)?.map(illegal))
}

/// What a round did to the deadlines.
enum Progress {
    /// Some are earlier.
    Tightened,
    /// None is, since every value has a place.
    NothingStuck,
    /// None is that would help.
    None,
}

/// Finds everything that is stuck, and gives the waiting value in it an earlier deadline.
fn tighten(spans: &Spans<'_>, deadlines: &mut [Deadline], pace: &mut Pace<'_>) -> Result<Progress, Stopped> {
    let stays = Stays::new(&spans.all, pace)?;
    let mut peeling = Peeling::new(&stays);
    let mut progress = Progress::NothingStuck;
    while let Some(stretch) = peeling.next_stuck(pace)? {
        let chain = peeling.chain(stretch);
        let span = |stay: &usize| spans.all[stays.span(*stay)];
        let stuck = shrink(chain.iter().map(span).collect(), pace);
        let (waiting, others): (Vec<Span>, Vec<Span>) = stuck.into_iter().partition(Span::is_waiting);
        let [waiting] = waiting[..] else { return Ok(Progress::None) };
        let time = latest(waiting, &others, pace)?;
        let deadline = &mut deadlines[waiting.turn as usize];
        (deadline.time, deadline.reason) = (time, Reason::Stuck(others));
        let stay = chain.iter().find(|stay| span(stay).turn == waiting.turn);
        peeling.leave_out(*stay.expect("invariant: it is one of the chain"), stretch);
        progress = Progress::Tightened;
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
