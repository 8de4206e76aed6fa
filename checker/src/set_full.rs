//! A grow-only set: whatever was acknowledged or seen stays, and nothing appears from nowhere.
//!
//! An element is *known* once an add of it is acknowledged or a read that returned it has completed, whichever is
//! first; from then on, every read that is invoked must return it. This judges the set as a whole in time linear in what
//! was read, where a search would drown; the definitions follow Jepsen's `set-full` checker.
//!
//! * `lost`: known, missing from a read, and in no read that ended after that one began. An acknowledged element that no
//!   read ever returned is the worst case of it;
//! * `stale`: known, missing from a read, but returned by one that ended later;
//! * `duplicated`: twice in one read;
//! * `unexpected`: read, although nobody added it, every add of it definitely failed, or it was added only later.
//!
//! An add of unknown outcome may appear at any time or never, but once it was seen it must stay. The claim is
//! linearizability; a target that promises less must not be judged by this. Memory grows with the elements, not with the
//! reads. Without a completed final read the outcome is at best `unknown`.

use std::collections::BTreeMap;

use history::{History, NameId, Operations, Outcome};
use rustc_hash::FxHashMap;

use crate::linearizable::completion;
use crate::linearizable::object::{malformed_output, unknown_function};
use crate::meter::{Limit, Meter};
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Finding};

use ledger::Ledger;

mod explain;
mod ledger;

/// The name of the check in verdicts.
const NAME: &str = "set-full";

/// Judges sets, one per key, with the functions `add` (an element) and `read` (observing the list of all elements).
///
/// # Errors
/// When an operation is not one of a set: unknown function, or a read that did not observe a list.
pub fn set_full(history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    let mut meter = Meter::start(budget);
    let operations = &history.operations;
    let sets = split(operations)?;
    let mut anomalies = Vec::new();
    let positions: usize = sets.values().map(Vec::capacity).sum();
    meter.progress().begin(NAME, sets.len(), operations.len());
    let mut stopped = meter.hold((positions * size_of::<u32>()) as u64).err();
    let affordable = if stopped.is_none() { Some(&sets) } else { None };
    for (key, positions) in affordable.into_iter().flatten() {
        match judge(*key, operations, positions, &mut meter) {
            Ok(found) => {
                meter.progress().settle(positions.len(), !found.is_empty());
                anomalies.extend(found);
            }
            Err(limit) => stopped = Some(limit),
        }
    }
    let note = note(operations, &sets, stopped, budget);
    let outcome = match (anomalies.is_empty(), &note) {
        (false, _) => CheckOutcome::Violation,
        (true, Some(_)) => CheckOutcome::Unknown,
        (true, None) => CheckOutcome::Valid,
    };
    let result = CheckResult {
        name: NAME.to_owned(),
        outcome,
        examined: operations.len() as u64,
        duration_ms: meter.elapsed_ms(),
        peak_memory_bytes: meter.peak_bytes(),
        note,
    };
    Ok(Finding { result, anomalies })
}

/// The operations of every set, as positions in the history.
type Sets<'a> = BTreeMap<Option<&'a str>, Vec<u32>>;

fn split(operations: &Operations) -> Result<Sets<'_>, CheckError> {
    let (names, values) = (operations.names(), operations.values());
    let (add, read) = (names.find("add"), names.find("read"));
    let mut sets: FxHashMap<NameId, Vec<u32>> = FxHashMap::default();
    for at in 0..operations.len() {
        completion(operations, at)?;
        let function = Some(operations.function(at));
        if function == read && operations.outcome(at) == Outcome::Ok {
            values
                .list(operations.output(at))
                .ok_or_else(|| malformed_output(operations, at, "a list of elements"))?;
        } else if function != add && function != read {
            return Err(unknown_function(operations, at, "set", "`add` and `read`"));
        }
        let position = u32::try_from(at).expect("invariant: fewer than 2^32 operations in a history");
        sets.entry(operations.key(at)).or_default().push(position);
    }
    Ok(sets.into_iter().map(|(key, positions)| (names.get(key), positions)).collect())
}

fn judge(
    key: Option<&str>,
    operations: &Operations,
    positions: &[u32],
    meter: &mut Meter,
) -> Result<Vec<Anomaly>, Limit> {
    let mut ledger = Ledger::new(operations, positions);
    meter.check_time()?;
    ledger.take_adds(meter)?;
    ledger.take_observations(meter)?;
    ledger.take_absences(meter)?;
    Ok(explain::anomalies(key, operations, &ledger))
}

/// Why the outcome is not `valid` even without an anomaly.
fn note(operations: &Operations, sets: &Sets<'_>, stopped: Option<Limit>, budget: &Budget) -> Option<String> {
    match stopped {
        Some(Limit::Memory) => {
            return Some(format!("the memory budget of {} bytes is exhausted", budget.memory_bytes));
        }
        Some(Limit::Time | Limit::Steps) => {
            return Some(format!("the time budget of {:?} is exhausted", budget.time));
        }
        None => {}
    }
    let read = operations.names().find("read");
    let is_final_read = |position: &u32| {
        let at = *position as usize;
        Some(operations.function(at)) == read
            && operations.is_final(at)
            && operations.outcome(at) == Outcome::Ok
    };
    let without = sets.values().filter(|positions| !positions.iter().any(is_final_read)).count();
    match (sets.len(), without) {
        (0, _) => Some("there is no operation to judge".to_owned()),
        (_, 0) => None,
        (1, _) => Some("no final read completed, so lost elements could hide".to_owned()),
        (all, _) => {
            Some(format!("no final read of {without} of {all} sets completed, so lost elements could hide"))
        }
    }
}

#[cfg(test)]
mod tests;
