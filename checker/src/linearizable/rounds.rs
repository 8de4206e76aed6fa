//! All partitions in turn: shortcuts and short searches first, then searches with a share of steps that grows from round to
//! round. Who is not decided by a search from the beginning is also looked through for stretches that are illegal by
//! themselves (`local`).
//!
//! A hard partition can therefore not keep a bad one from being found, and the order of the partitions hardly matters.
//! A search starts afresh in every round, so that only those at work hold memory; because the shares grow eightfold, that
//! costs at most a seventh more. Once a violation is proven, the round is finished and no further one begun. Several threads
//! take partitions from one list when there is enough to do; the verdicts do not depend on which thread was faster.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use history::Operations;

use super::NAME;
use super::local;
use super::object::{CallOf, Object, Shortcut};
use super::partition::{Partition, Suspects, SuspectsOf, until_event};
use super::problem::Problem;
use super::search::{Answer, search};
use super::window::Rules;
use crate::meter::{Limit, Meter};

/// The share of the first round, in steps: a millisecond, and for every operation what it costs where few are open at
/// once. More would keep a later partition waiting that a shortcut decides.
const FIRST_SHARE: u64 = 12_500;
const FIRST_SHARE_PER_CALL: u64 = 8;

/// How much larger the share is in the next round.
const GROWTH: u64 = 8;

/// How many completed operations a stretch has in the second round, for each that is open at the same time, and at least;
/// in the next round there are several times as many.
const STRETCH_PER_SLOT: usize = 1;
const STRETCH_AT_LEAST: usize = 16;
const STRETCH_GROWTH: usize = 4;

/// How many lengths of stretches a round looks through.
const STRETCH_WIDTHS: u32 = 3;

/// What a shortcut may hold per call, generously.
const SHORTCUT_BYTES_PER_CALL: u64 = 128;

/// With fewer operations than this, another thread costs more than it saves.
const OPERATIONS_PER_THREAD: usize = 20_000;

/// What is known about a partition, or the limit that its last search met.
pub(crate) type Fate<O> = Result<Decision<SuspectsOf<O>>, Limit>;

/// A certain answer about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision<S> {
    /// Some order explains every result.
    Legal,
    /// No order does.
    Illegal(S),
}

/// Decides as many partitions as the meter allows, in their order.
pub(crate) fn decide<O: Object>(
    object: &O,
    operations: &Operations,
    partitions: &[Partition],
    meter: &Meter,
) -> Vec<Fate<O>> {
    let mut fates: Vec<Fate<O>> = partitions.iter().map(|_| Err(Limit::Steps)).collect();
    let progress = meter.progress();
    progress.begin(NAME, partitions.len(), operations.len());
    for round in 0.. {
        progress.enter_round(round);
        let open: Vec<usize> = (0..fates.len()).filter(|at| is_open::<O>(&fates[*at])).collect();
        let work = |at: usize, meter: &mut Meter| {
            let fate = decide_one(object, operations, &partitions[at], round, meter);
            if fate.is_ok() {
                progress.settle(partitions[at].positions.len(), is_illegal::<O>(&fate));
            }
            fate
        };
        let decided = in_parallel(threads(partitions, &open), &open, work, meter);
        open.into_iter().zip(decided).for_each(|(at, fate)| fates[at] = fate);
        if fates.iter().any(is_illegal::<O>) && round > 0 || !fates.iter().any(is_open::<O>) {
            break;
        }
    }
    fates
}

/// A shortcut in round 0, then searches.
fn decide_one<O: Object>(
    object: &O,
    operations: &Operations,
    partition: &Partition,
    round: u32,
    meter: &mut Meter,
) -> Fate<O> {
    meter.check_time()?;
    let mut meter = meter.holding(partition.bytes::<O>())?;
    let simplified = partition.simplified(object, operations);
    if round == 0
        && let Some(decision) = shortcut(object, operations, partition, &simplified, &mut meter)?
    {
        return Ok(decision);
    }
    match search_whole(object, &simplified, round, &mut meter)? {
        Ok(decision) => Ok(decision),
        Err(_) if round == 0 => Err(Limit::Steps),
        Err(width) => {
            let mut meter = meter.holding(partition.bytes::<O>())?;
            search_stretches(object, &partition.calls(object, operations), width, round, &mut meter)
        }
    }
}

/// What the structure of a partition says, where it has one.
fn shortcut<O: Object>(
    object: &O,
    operations: &Operations,
    partition: &Partition,
    simplified: &[CallOf<O>],
    meter: &mut Meter,
) -> Result<Option<Decision<SuspectsOf<O>>>, Limit> {
    meter.check_memory(simplified.len() as u64 * SHORTCUT_BYTES_PER_CALL)?;
    let found = object.shortcut(simplified, &mut || meter.check_time().is_ok());
    Ok(found.map(|found| match found {
        Shortcut::Legal => Decision::Legal,
        Shortcut::Illegal(proof) => {
            let raw = partition.calls(object, operations);
            Decision::Illegal(Suspects::Calls(as_recorded::<O>(proof, &raw)))
        }
    }))
}

/// From the beginning. When the share of the round is not enough: how many completed operations a stretch should have.
fn search_whole<O: Object>(
    object: &O,
    simplified: &[CallOf<O>],
    round: u32,
    meter: &mut Meter,
) -> Result<Result<Decision<SuspectsOf<O>>, usize>, Limit> {
    let problem = Problem::new(object, simplified);
    match search(&problem, &object.initial(), Rules::ALL, share(simplified.len(), round), meter) {
        Ok(Answer::Legal) => Ok(Ok(Decision::Legal)),
        Ok(Answer::Illegal { furthest }) => Ok(Ok(Decision::Illegal(until_event(&problem, furthest)))),
        Err(Limit::Steps) => {
            let least = STRETCH_AT_LEAST.max(problem.slots * STRETCH_PER_SLOT);
            let growth = STRETCH_GROWTH.saturating_pow(round.saturating_sub(1));
            Ok(Err(least.saturating_mul(growth)))
        }
        Err(limit) => Err(limit),
    }
}

fn search_stretches<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    width: usize,
    round: u32,
    meter: &mut Meter,
) -> Fate<O> {
    for width in (0..STRETCH_WIDTHS).map(|power| width * STRETCH_GROWTH.pow(power)) {
        match local::find(object, calls, width, share(calls.len(), round), meter) {
            Ok(Some(stretch)) => return Ok(Decision::Illegal(Suspects::Stretch(stretch))),
            Ok(None) | Err(Limit::Steps) => {}
            Err(limit) => return Err(limit),
        }
    }
    Err(Limit::Steps)
}

/// Takes back the ends that simplifying derived from other operations, which a proof may do without.
fn as_recorded<O: Object>(mut proof: Vec<CallOf<O>>, raw: &[CallOf<O>]) -> Vec<CallOf<O>> {
    for call in &mut proof {
        let recorded = raw.binary_search_by_key(&call.position, |call| call.position);
        if recorded.is_ok_and(|at| !raw[at].is_certain()) {
            call.may_happen();
        }
    }
    proof
}

fn share(calls: usize, round: u32) -> u64 {
    let first = FIRST_SHARE.saturating_add(FIRST_SHARE_PER_CALL * calls as u64);
    first.saturating_mul(GROWTH.saturating_pow(round))
}

fn threads(partitions: &[Partition], open: &[usize]) -> usize {
    let operations: usize = open.iter().map(|at| partitions[*at].positions.len()).sum();
    let useful = open.len().min(operations / OPERATIONS_PER_THREAD);
    // Asking for the cores reads files, which takes longer than a short history.
    if useful < 2 { 1 } else { std::thread::available_parallelism().map_or(1, usize::from).min(useful) }
}

/// Does the work for every number of the list, in several threads, and returns the answers in the order of the list.
fn in_parallel<T: Send>(
    threads: usize,
    list: &[usize],
    work: impl Fn(usize, &mut Meter) -> T + Sync,
    meter: &Meter,
) -> Vec<T> {
    if threads == 1 {
        let mut meter = meter.clone();
        return list.iter().map(|at| work(*at, &mut meter)).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(list.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut meter = meter.clone();
                while let Some(at) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = work(*at, &mut meter);
                    done.lock()
                        .expect("invariant: no thread panics while it holds the lock")
                        .push((*at, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("invariant: every thread has ended");
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

fn is_open<O: Object>(fate: &Fate<O>) -> bool {
    matches!(fate, Err(Limit::Steps))
}

pub(super) fn is_illegal<O: Object>(fate: &Fate<O>) -> bool {
    matches!(fate, Ok(Decision::Illegal(_)))
}

/// Judges one partition with at most `steps` steps.
pub(crate) fn judge<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    start: &O::State,
    rules: Rules,
    steps: u64,
    meter: &mut Meter,
) -> Result<Answer, Limit> {
    meter.check_time()?;
    search(&Problem::new(object, calls), start, rules, steps, meter)
}
