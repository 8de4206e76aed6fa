//! Linearizability: is there one order of all operations, each between its invocation and its completion, that
//! explains every result?
//!
//! A history is split by key (`partition`). Keys whose operations have a structure of their own (unique values of a
//! register, versions, elements of a set, values of a queue) are decided without a search (`objects`, `chain`,
//! `collections`); every other key is searched just in time over its open operations (`window`, `search`), in
//! rounds of growing effort (`rounds`). What no order explains is reduced to the few operations that prove it (`shrink`)
//! and put into words (`explain`).
//!
//! Guarantees: `valid` and `violation` are certain, also with operations of unknown outcome; time and memory are limits
//! that hold; the same history gives the same finding. Linearizability of registers is NP-complete (Gibbons and Korach,
//! *Testing Shared Memories*), so some histories end as `unknown`; the note then says which limit was met. It does not
//! check weaker claims, and it does not compare replicas.

use history::{History, Operations, Outcome};

use crate::meter::{Limit, Meter};
use crate::narration::count;
use crate::spec::Spec;
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Finding};

use crate::model::collection::{AnyOrder, FirstIn, LastIn};
pub(crate) use calls::completion;
use explain::explain;
use object::Object;
use objects::append_list::AppendListObject;
use objects::collection::CollectionObject;
use objects::counter::CounterObject;
use objects::kv::KvObject;
use objects::mutex::MutexObject;
use objects::register::RegisterObject;
use objects::set::SetObject;
use objects::versioned::VersionedObject;
use partition::{Partition, split};
use rounds::{Decision, Fate, decide, is_illegal};
use shrink::shrink;

mod antichain;
mod bits;
mod breadth;
pub(crate) mod calls;
mod chain;
mod collections;
mod explain;
mod extension;
mod local;
pub(crate) mod object;
pub(crate) mod objects;
mod orders;
mod partition;
mod problem;
mod rounds;
mod search;
mod shrink;
pub(crate) mod stream;
mod window;

/// The name of the check in verdicts.
const NAME: &str = "linearizable";

/// Judges a history against a model, key by key. What its functions are called is said by [`Spec::functions`].
///
/// # Errors
/// When an operation is not one of the model's: unknown function, argument or observation of the wrong shape.
pub fn linearizable(spec: Spec, history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    let operations = &history.operations;
    // The clock runs while the object reads the history.
    let meter = Meter::start(budget);
    match spec {
        Spec::Register => check(&RegisterObject::new(operations), operations, budget, meter),
        Spec::VersionedRegister => check(&VersionedObject::new(operations), operations, budget, meter),
        Spec::Kv => check(&KvObject::new(operations), operations, budget, meter),
        Spec::Set => check(&SetObject::new(operations), operations, budget, meter),
        Spec::Counter => check(&CounterObject, operations, budget, meter),
        Spec::Queue => check(&CollectionObject::<FirstIn>::new(operations), operations, budget, meter),
        Spec::UnorderedQueue => {
            check(&CollectionObject::<AnyOrder>::new(operations), operations, budget, meter)
        }
        Spec::Stack => check(&CollectionObject::<LastIn>::new(operations), operations, budget, meter),
        Spec::Mutex => check(&MutexObject, operations, budget, meter),
        Spec::AppendList => check(&AppendListObject::new(operations), operations, budget, meter),
    }
}

/// Judges registers: [`linearizable`] with [`Spec::Register`].
///
/// # Errors
/// When an operation is not one of a register.
pub fn linearizable_register(history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    linearizable(Spec::Register, history, budget)
}

/// The percentage of the time that searching may take; the rest is kept for explaining.
const SEARCH_PERCENT: u32 = 90;

/// The most violated keys that are explained.
const MAX_ANOMALIES: usize = 5;

/// The most violated keys among which those with the shortest proofs are looked for.
const MAX_SHRUNK: usize = 20;

fn check<O: Object>(
    object: &O,
    operations: &Operations,
    budget: &Budget,
    mut meter: Meter,
) -> Result<Finding, CheckError> {
    let partitions = split(object, operations)?;
    let fates = match meter.hold(object.bytes() + held_by::<O>(&partitions)) {
        Ok(()) => decide(object, operations, &partitions, &meter.until(budget, SEARCH_PERCENT)),
        Err(limit) => partitions.iter().map(|_| Err(limit)).collect(),
    };
    let judged = Judged { operations, partitions, fates };
    let anomalies = judged.explain_all(object, &meter);
    let (outcome, note) = judged.conclude(budget);
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

/// What partitions hold, and what becomes known about them, in bytes.
fn held_by<O: Object>(partitions: &[Partition]) -> u64 {
    let lists: u64 = partitions.iter().map(Partition::bytes_of_positions).sum();
    lists + (partitions.len() * (size_of::<Partition>() + size_of::<Fate<O>>())) as u64
}

/// What is known about every partition.
struct Judged<'a, O: Object> {
    operations: &'a Operations,
    partitions: Vec<Partition>,
    fates: Vec<Fate<O>>,
}

impl<O: Object> Judged<'_, O> {
    /// Explains violated partitions, those with the shortest proofs first.
    fn explain_all(&self, object: &O, meter: &Meter) -> Vec<Anomaly> {
        let violated = self.partitions.iter().zip(&self.fates).filter_map(|(partition, fate)| match fate {
            Ok(Decision::Illegal(suspects)) => Some((partition, suspects)),
            _ => None,
        });
        let mut anomalies: Vec<Anomaly> = violated
            .take(MAX_SHRUNK)
            .map(|(partition, suspects)| {
                // A proof that was found is told also where there is no memory left to make it short.
                let mut meter = meter.holding(partition.bytes::<O>()).unwrap_or_else(|_| meter.clone());
                let core = shrink(object, &partition.calls(object, self.operations), suspects, &mut meter);
                explain(object, self.operations, partition, &core)
            })
            .collect();
        anomalies.sort_by_key(|anomaly| anomaly.operations.len());
        anomalies.truncate(MAX_ANOMALIES);
        anomalies
    }

    fn conclude(&self, budget: &Budget) -> (CheckOutcome, Option<String>) {
        let violated = self.fates.iter().filter(|fate| is_illegal::<O>(fate)).count();
        let undecided = self.undecided_note(budget);
        let nothing_completed =
            (0..self.operations.len()).all(|at| self.operations.outcome(at) != Outcome::Ok);
        let outcome = if violated > 0 {
            CheckOutcome::Violation
        } else if undecided.is_some() || nothing_completed {
            CheckOutcome::Unknown
        } else {
            CheckOutcome::Valid
        };
        let mut notes = Vec::new();
        if violated > MAX_ANOMALIES {
            notes.push(format!("{violated} keys are violated, {MAX_ANOMALIES} of them are shown"));
        }
        if nothing_completed && undecided.is_none() {
            notes.push("no operation completed, so there is nothing to judge".to_owned());
        }
        notes.extend(undecided);
        (outcome, (!notes.is_empty()).then(|| notes.join("; ")))
    }

    fn undecided_note(&self, budget: &Budget) -> Option<String> {
        let mut undecided = self
            .partitions
            .iter()
            .zip(&self.fates)
            .filter_map(|(partition, fate)| Some((partition, fate.as_ref().err().copied()?)));
        let (first, limit) = undecided.next()?;
        let reason = match limit {
            Limit::Steps => "the search ended when a violation was found".to_owned(),
            Limit::Time => format!("the time budget of {:?} is exhausted", budget.time),
            Limit::Memory => format!("the memory budget of {} bytes is exhausted", budget.memory_bytes),
        };
        let key = first.key(self.operations);
        let name = key.map_or_else(|| "the object".to_owned(), |key| format!("key {key}"));
        let calls = count(first.positions.len(), "operation");
        let of = format!("{} of {}", 1 + undecided.count(), count(self.fates.len(), "key"));
        Some(format!("{of} undecided, first {name} with {calls}: {reason}"))
    }
}

#[cfg(test)]
mod tests;
