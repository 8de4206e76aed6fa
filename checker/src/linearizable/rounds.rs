//! All partitions in turn: shortcuts first, then searches with a share of steps that grows from round to round.
//!
//! A hard partition can therefore not keep a bad one from being found, and the order of the partitions hardly matters.
//! A search starts afresh in every round, so that only those at work hold memory; because the shares grow eightfold, that
//! costs at most a seventh more. Once a violation is proven, the round is finished and no further one begun. Several threads
//! take partitions from one list when there is enough to do; the verdicts do not depend on which thread was faster.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use history::Operations;

use super::object::{CallOf, Object, Shortcut};
use super::partition::{Partition, Suspects, SuspectsOf, until_event};
use super::problem::Problem;
use super::search::{Answer, search};
use super::window::Rules;
use crate::meter::{Limit, Meter};

/// The share of the first round, in steps: a few milliseconds.
const FIRST_SHARE: u64 = 100_000;

/// How much larger the share is in the next round.
const GROWTH: u64 = 8;

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
    let mut share = 0;
    loop {
        let open: Vec<usize> = (0..fates.len()).filter(|at| is_open::<O>(&fates[*at])).collect();
        let decided = in_parallel(
            threads(partitions, &open),
            &open,
            |at, meter| decide_one(object, operations, &partitions[at], share, meter),
            meter,
        );
        open.into_iter().zip(decided).for_each(|(at, fate)| fates[at] = fate);
        if fates.iter().any(is_illegal::<O>) && share > 0 || !fates.iter().any(is_open::<O>) {
            return fates;
        }
        share = if share == 0 { FIRST_SHARE } else { share.saturating_mul(GROWTH) };
    }
}

/// A shortcut when the share is nothing, else a search.
fn decide_one<O: Object>(
    object: &O,
    operations: &Operations,
    partition: &Partition,
    share: u64,
    meter: &mut Meter,
) -> Fate<O> {
    meter.check_time()?;
    meter.check_memory(partition.bytes::<O>())?;
    let simplified = partition.simplified(object, operations);
    let mut meter = meter.holding(partition.bytes::<O>());
    if share == 0 {
        meter.check_memory(simplified.len() as u64 * SHORTCUT_BYTES_PER_CALL)?;
        return match object.shortcut(&simplified).ok_or(Limit::Steps)? {
            Shortcut::Legal => Ok(Decision::Legal),
            Shortcut::Illegal(calls) => Ok(Decision::Illegal(Suspects::Calls(calls))),
        };
    }
    match judge(object, &simplified, &object.initial(), Rules::ALL, share, &mut meter)? {
        Answer::Legal => Ok(Decision::Legal),
        Answer::Illegal { furthest } => Ok(Decision::Illegal(until_event(object, &simplified, furthest))),
    }
}

fn threads(partitions: &[Partition], open: &[usize]) -> usize {
    let operations: usize = open.iter().map(|at| partitions[*at].positions.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(open.len()).min(operations.div_ceil(OPERATIONS_PER_THREAD)).max(1)
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
