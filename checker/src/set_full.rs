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

use history::{History, Operation, Outcome};

use crate::linearizable::completion;
use crate::meter::{Limit, Meter};
use crate::narration::shorten;
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
    let rows: Vec<Operation> = history.operations.iter().collect();
    for at in 0..rows.len() {
        completion(&history.operations, at)?;
    }
    let sets = split(&rows)?;
    let mut anomalies = Vec::new();
    let mut stopped = None;
    meter.progress().begin(NAME, sets.len(), rows.len());
    for (key, operations) in &sets {
        match judge(*key, operations, &mut meter) {
            Ok(found) => {
                meter.progress().settle(operations.len(), !found.is_empty());
                anomalies.extend(found);
            }
            Err(limit) => stopped = Some(limit),
        }
    }
    let note = note(&sets, stopped, budget);
    let outcome = match (anomalies.is_empty(), &note) {
        (false, _) => CheckOutcome::Violation,
        (true, Some(_)) => CheckOutcome::Unknown,
        (true, None) => CheckOutcome::Valid,
    };
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

type Sets<'a> = BTreeMap<Option<&'a str>, Vec<&'a Operation>>;

fn split(rows: &[Operation]) -> Result<Sets<'_>, CheckError> {
    let mut sets = Sets::new();
    for operation in rows {
        match operation.f.as_str() {
            "add" => {}
            "read" if operation.outcome != Outcome::Ok || operation.output.is_array() => {}
            "read" => {
                return Err(CheckError::MalformedOutput {
                    index: operation.index,
                    function: operation.f.clone(),
                    expected: "a list of elements",
                    found: format!("`{}`", shorten(&operation.output)),
                });
            }
            _ => {
                return Err(CheckError::UnknownFunction {
                    index: operation.index,
                    object: "set",
                    function: operation.f.clone(),
                    known: "`add` and `read`",
                });
            }
        }
        sets.entry(operation.key.as_deref()).or_default().push(operation);
    }
    Ok(sets)
}

fn judge(key: Option<&str>, operations: &[&Operation], meter: &mut Meter) -> Result<Vec<Anomaly>, Limit> {
    let mut ledger = Ledger::default();
    ledger.take_adds(operations, meter)?;
    ledger.take_observations(operations, meter)?;
    ledger.take_absences(operations, meter)?;
    Ok(explain::anomalies(key, operations, &ledger))
}

/// Why the outcome is not `valid` even without an anomaly.
fn note(sets: &Sets<'_>, stopped: Option<Limit>, budget: &Budget) -> Option<String> {
    match stopped {
        Some(Limit::Memory) => {
            return Some(format!("the memory budget of {} bytes is exhausted", budget.memory_bytes));
        }
        Some(Limit::Time | Limit::Steps) => {
            return Some(format!("the time budget of {:?} is exhausted", budget.time));
        }
        None => {}
    }
    let is_final_read = |operation: &&Operation| {
        operation.f == "read" && operation.is_final && operation.outcome == Outcome::Ok
    };
    let without = sets.values().filter(|operations| !operations.iter().any(is_final_read)).count();
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
