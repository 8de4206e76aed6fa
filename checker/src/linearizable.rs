//! Linearizability: is there one order of all operations, each between its invocation and its completion, that
//! explains every result?
//!
//! A history is split by key (`partition`). Keys of plain registers with unique values are decided by zones
//! (`register::zones`); every other key is searched just in time over its open operations (`window`, `search`), in
//! rounds of growing effort (`rounds`). What no order explains is reduced to the few operations that prove it (`shrink`)
//! and put into words (`explain`).
//!
//! Guarantees: `valid` and `violation` are certain, also with operations of unknown outcome; time and memory are limits
//! that hold; the same history gives the same finding. Linearizability of registers is NP-complete (Gibbons and Korach,
//! *Testing Shared Memories*), so some histories end as `unknown`; the note then says which limit was met. It does not
//! check weaker claims, and it does not compare replicas.

use history::{History, Outcome};

use crate::meter::{Limit, Meter};
use crate::model::Model;
use crate::narration::count;
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Finding};

use explain::explain;
use object::Object;
pub(crate) use partition::completion;
use partition::{Partition, split};
use register::RegisterObject;
use rounds::{Decision, Fate, decide, is_illegal};
use shrink::shrink;

mod antichain;
mod bits;
#[cfg_attr(not(test), expect(dead_code, reason = "no object asks it yet"))]
mod collections;
mod explain;
mod object;
mod orders;
mod partition;
mod problem;
mod register;
mod rounds;
mod search;
mod shrink;
mod window;

/// The name of the check in verdicts.
const NAME: &str = "linearizable";

/// Judges registers, one per key, with the functions `read`, `write` (a value) and `cas` (`[expected, new]`, observing
/// whether it matched).
///
/// # Errors
/// When an operation is not one of a register: unknown function, argument or observation of the wrong shape.
pub fn linearizable_register(history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    check(RegisterObject::default(), history, budget)
}

/// The percentage of the time that searching may take; the rest is kept for explaining.
const SEARCH_PERCENT: u32 = 90;

/// The most violated keys that are explained.
const MAX_ANOMALIES: usize = 5;

/// The most violated keys among which those with the shortest proofs are looked for.
const MAX_SHRUNK: usize = 20;

fn check<O: Object>(mut object: O, history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    let mut meter = Meter::start(budget);
    let partitions = split(&mut object, history)?;
    meter.hold(partitions.iter().map(Partition::bytes).sum());
    let mut search_meter = meter.until(budget, SEARCH_PERCENT);
    let fates = decide(&object, &partitions, &mut search_meter);
    meter.absorb(&search_meter);
    let anomalies = explain_all(&object, history, &partitions, &fates, &mut meter);
    let (outcome, note) = conclude(history, &partitions, &fates, budget);
    let result = CheckResult {
        name: NAME.to_owned(),
        outcome,
        examined: history.operations.len() as u64,
        duration_ms: meter.elapsed_ms(),
        peak_memory_bytes: meter.peak_bytes(),
        note,
    };
    Ok(Finding { result, anomalies })
}

/// Explains violated keys, those with the shortest proofs first.
fn explain_all<O: Object>(
    object: &O,
    history: &History,
    partitions: &[Partition<O::Model>],
    fates: &[Fate],
    meter: &mut Meter,
) -> Vec<Anomaly> {
    let violated = partitions.iter().zip(fates).filter_map(|(partition, fate)| match fate {
        Ok(Decision::Illegal(suspects)) => Some((partition, suspects)),
        _ => None,
    });
    let mut anomalies: Vec<Anomaly> = violated
        .take(MAX_SHRUNK)
        .map(|(partition, suspects)| {
            let core = shrink(object, &partition.calls, suspects, meter);
            explain(object, history, partition, &core)
        })
        .collect();
    anomalies.sort_by_key(|anomaly| anomaly.operations.len());
    anomalies.truncate(MAX_ANOMALIES);
    anomalies
}

fn conclude<M: Model>(
    history: &History,
    partitions: &[Partition<M>],
    fates: &[Fate],
    budget: &Budget,
) -> (CheckOutcome, Option<String>) {
    let violated = fates.iter().filter(|fate| is_illegal(fate)).count();
    let undecided: Vec<(&Partition<M>, Limit)> = partitions
        .iter()
        .zip(fates)
        .filter_map(|(partition, fate)| Some((partition, fate.as_ref().err().copied()?)))
        .collect();
    let mut notes = Vec::new();
    if violated > MAX_ANOMALIES {
        notes.push(format!("{violated} keys are violated, {MAX_ANOMALIES} of them are shown"));
    }
    notes.extend(undecided_note(&undecided, fates.len(), budget));
    let nothing_completed = history.operations.iter().all(|operation| operation.outcome != Outcome::Ok);
    if nothing_completed && undecided.is_empty() {
        notes.push("no operation completed, so there is nothing to judge".to_owned());
    }
    let outcome = if violated > 0 {
        CheckOutcome::Violation
    } else if !undecided.is_empty() || nothing_completed {
        CheckOutcome::Unknown
    } else {
        CheckOutcome::Valid
    };
    (outcome, (!notes.is_empty()).then(|| notes.join("; ")))
}

fn undecided_note<M: Model>(
    undecided: &[(&Partition<M>, Limit)],
    keys: usize,
    budget: &Budget,
) -> Option<String> {
    let (first, limit) = undecided.first()?;
    let reason = match limit {
        Limit::Steps => "the search ended when a violation was found".to_owned(),
        Limit::Time => format!("the time budget of {:?} is exhausted", budget.time),
        Limit::Memory => format!("the memory budget of {} bytes is exhausted", budget.memory_bytes),
    };
    let name = first.key.as_deref().map_or_else(|| "the register".to_owned(), |key| format!("key {key}"));
    let calls = count(first.calls.len(), "operation");
    let of = format!("{} of {}", undecided.len(), count(keys, "key"));
    Some(format!("{of} undecided, first {name} with {calls}: {reason}"))
}

#[cfg(test)]
mod tests;
