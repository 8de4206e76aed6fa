//! Sequential consistency: is there one order of all operations, of all keys together, that keeps the order of every
//! process and explains every result? Time does not count (Lamport, *How to Make a Multiprocessor Computer That Correctly
//! Executes Multiprocess Programs*, 1979).
//!
//! Unlike linearizability this is not local: every key may be consistent alone and all of them together not. So keys are
//! judged alone first, because that is cheap and gives short proofs, and together last. The steps, the first answer counts:
//!
//! 1. a linearizable history is sequentially consistent, and [`linearizable()`](crate::linearizable()) is fast;
//! 2. registers whose written values are all different, and versioned registers: what must come before what is
//!    inferred until nothing new follows; a circle is a proof (`saturation`);
//! 3. a depth-first search over how far every process has come, which takes what changes nothing at once, keeps to the
//!    inferred order, and remembers by exact comparison from where there is no way (`search`).
//!
//! Guarantees: `valid` and `violation` are certain; an operation of unknown outcome is the last of its process and may
//! have happened or not; time and memory are limits that hold. The problem is NP-complete (Gibbons and Korach, *Testing
//! Shared Memories*), so some histories end as `unknown`; the note says which limit was met.

use history::{History, Operations, Outcome};

use crate::linearizable::objects::append_list::AppendListObject;
use crate::linearizable::objects::collection::CollectionObject;
use crate::linearizable::objects::counter::CounterObject;
use crate::linearizable::objects::kv::KvObject;
use crate::linearizable::objects::mutex::MutexObject;
use crate::linearizable::objects::register::RegisterObject;
use crate::linearizable::objects::set::SetObject;
use crate::linearizable::objects::versioned::VersionedObject;
use crate::meter::{Limit, Meter};
use crate::model::collection::{AnyOrder, FirstIn, LastIn};
use crate::model::{CollectionOp, CollectionRet, UnorderedQueue};
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Finding, Spec, linearizable};

use access::{Accesses, Naming};
use problem::{Judgeable, Plain, Problem};
use saturation::Saturation;
use search::{Answer, search};

mod access;
mod explain;
mod nodes;
mod problem;
mod saturation;
mod search;

/// The name of the check in verdicts.
const NAME: &str = "sequential";

/// The percentage of the time in which linearizability may be shown, which would be enough.
const SHORTCUT_PERCENT: u32 = 20;

/// Judges whether a history is sequentially consistent with a model, all keys together. What its functions are called
/// is said by [`Spec::functions`].
///
/// # Errors
/// When an operation is not one of the model's: unknown function, argument or observation of the wrong shape.
pub fn sequential(spec: Spec, history: &History, budget: &Budget) -> Result<Finding, CheckError> {
    let operations = &history.operations;
    // The clock runs while the object reads the history.
    let judge = Judge { spec, history, budget, meter: Meter::start(budget) };
    match spec {
        Spec::Register => judge.check(&Plain(RegisterObject::new(operations)), Some(Naming::Values)),
        Spec::VersionedRegister => {
            judge.check(&Plain(VersionedObject::new(operations)), Some(Naming::Versions))
        }
        Spec::Kv => judge.check(&Plain(KvObject::new(operations)), Some(Naming::Values)),
        Spec::Set => judge.check(&Plain(SetObject::new(operations)), None),
        Spec::Counter => judge.check(&Plain(CounterObject), None),
        Spec::Queue => judge.check(&Plain(CollectionObject::<FirstIn>::new(operations)), None),
        Spec::UnorderedQueue => judge.check(&Bag(CollectionObject::new(operations)), None),
        Spec::Stack => judge.check(&Plain(CollectionObject::<LastIn>::new(operations)), None),
        Spec::Mutex => judge.check(&Plain(MutexObject), None),
        Spec::AppendList => judge.check(&Plain(AppendListObject::new(operations)), None),
    }
}

/// A queue without order, from which an operation of unknown outcome may have taken any element.
struct Bag<'a>(CollectionObject<'a, AnyOrder>);

impl<'a> Judgeable for Bag<'a> {
    type Object = CollectionObject<'a, AnyOrder>;

    fn object(&self) -> &Self::Object {
        &self.0
    }

    fn results(&self, state: &UnorderedQueue, op: &CollectionOp) -> Vec<Option<CollectionRet>> {
        match op {
            CollectionOp::Insert(_) => vec![None],
            CollectionOp::Remove => {
                state.0.iter().map(|element| Some(CollectionRet::Removed(*element))).collect()
            }
        }
    }
}

/// What is asked.
struct Judge<'a> {
    spec: Spec,
    history: &'a History,
    budget: &'a Budget,
    meter: Meter,
}

/// What was found.
enum Decision {
    Consistent,
    Violated(Anomaly),
    Undecided(String),
}

impl Judge<'_> {
    fn check<J: Judgeable>(&self, judgeable: &J, naming: Option<Naming>) -> Result<Finding, CheckError> {
        let mut meter = self.meter.clone();
        let operations = &self.history.operations;
        let problem = Problem::read(judgeable, operations)?;
        let admitted = meter.check_time().and_then(|()| meter.hold(problem.bytes()));
        let decision = if (0..operations.len()).all(|at| operations.outcome(at) != Outcome::Ok) {
            Decision::Undecided("no operation completed, so there is nothing to judge".to_owned())
        } else if let Err(limit) = admitted {
            Decision::Undecided(self.exhausted(&problem, limit))
        } else if self.is_linearizable(problem.bytes(), &mut meter)? {
            Decision::Consistent
        } else {
            // All keys together are one question.
            meter.progress().begin(NAME, 1, operations.len());
            let decision = self.decide(&problem, naming, &mut meter);
            if !matches!(decision, Decision::Undecided(_)) {
                meter.progress().settle(operations.len(), matches!(decision, Decision::Violated(_)));
            }
            decision
        };
        let (outcome, note, anomalies) = match decision {
            Decision::Consistent => (CheckOutcome::Valid, None, Vec::new()),
            Decision::Violated(anomaly) => (CheckOutcome::Violation, None, vec![anomaly]),
            Decision::Undecided(note) => (CheckOutcome::Unknown, Some(note), Vec::new()),
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

    /// Whether the history is found to be linearizable in an order that keeps the order of every process. Equal stamps
    /// are concurrent to that check, also within a process, so it says nothing where a process has them.
    fn is_linearizable(&self, held_bytes: u64, meter: &mut Meter) -> Result<bool, CheckError> {
        let budget = Budget {
            time: self.budget.time / 100 * SHORTCUT_PERCENT,
            memory_bytes: self.budget.memory_bytes.saturating_sub(held_bytes),
            progress: self.budget.progress.clone(),
        };
        if has_ties(&self.history.operations) || meter.check_time().is_err() {
            return Ok(false);
        }
        let found = linearizable(self.spec, self.history, &budget)?.result;
        // What the other check held counts for the peak; it has given that back.
        drop(meter.holding(found.peak_memory_bytes));
        Ok(found.outcome == CheckOutcome::Valid)
    }

    fn decide<J: Judgeable>(
        &self,
        problem: &Problem<'_, J>,
        naming: Option<Naming>,
        meter: &mut Meter,
    ) -> Decision {
        let accesses = naming.map(|naming| Accesses::read(problem, &self.history.operations, naming));
        if let Some(accesses) = &accesses
            && let Some(anomaly) = accesses.read_from_nowhere(problem, &self.history.operations)
        {
            return Decision::Violated(anomaly);
        }
        let saturation = accesses.map(|accesses| {
            let saturation = Saturation::new(&accesses, meter)?;
            meter.hold(saturation.bytes()).map(|()| saturation)
        });
        let guide = match &saturation {
            Some(Ok(saturation)) => match saturation.circle(meter) {
                Some(circle) => {
                    return Decision::Violated(explain::circle(
                        problem,
                        &self.history.operations,
                        saturation,
                        &circle,
                    ));
                }
                None => Some(saturation),
            },
            // Without the inferred order the search still decides.
            Some(Err(_)) | None => None,
        };
        match self.search_all(problem, guide, meter) {
            Ok(None) => Decision::Consistent,
            Ok(Some(anomaly)) => Decision::Violated(anomaly),
            Err(limit) => Decision::Undecided(self.exhausted(problem, limit)),
        }
    }

    /// Searches every key alone, and then all of them together.
    fn search_all<J: Judgeable>(
        &self,
        problem: &Problem<'_, J>,
        guide: Option<&Saturation>,
        meter: &mut Meter,
    ) -> Result<Option<Anomaly>, Limit> {
        let operations = &self.history.operations;
        // A single key is a copy. Without the memory for it, only all of them together are judged.
        for (key, places) in problem.places_by_key().iter().enumerate() {
            meter.check_time()?;
            let Ok(mut meter) = meter.holding(problem.bytes_of(places.len())) else { continue };
            let alone = problem.of_key(key as u32, places);
            if let Ok(Answer::Stuck(stuck)) = search(&alone, None, Some(KEY_STEPS), &mut meter) {
                return Ok(Some(explain::stuck(&alone, operations, &stuck)));
            }
        }
        match search(problem, guide, None, meter)? {
            Answer::Explained => Ok(None),
            Answer::Stuck(stuck) => Ok(Some(explain::stuck(problem, operations, &stuck))),
        }
    }

    fn exhausted<J: Judgeable>(&self, problem: &Problem<'_, J>, limit: Limit) -> String {
        let what = match limit {
            Limit::Memory => format!("the memory budget of {} bytes is exhausted", self.budget.memory_bytes),
            Limit::Time | Limit::Steps => format!("the time budget of {:?} is exhausted", self.budget.time),
        };
        let (operations, processes) = (problem.len(), problem.sessions.len());
        format!("the order of {operations} operations of {processes} processes is undecided: {what}")
    }
}

/// The steps after which the search of one key gives up; all keys together decide then.
const KEY_STEPS: u64 = 200_000;

/// Whether a process invokes at the very stamp at which its operation before completed, or earlier.
fn has_ties(operations: &Operations) -> bool {
    let mut ends = rustc_hash::FxHashMap::default();
    (0..operations.len()).any(|at| {
        let before = ends.insert(operations.process(at), operations.ret(at));
        before.is_some_and(|end| end.is_none_or(|end| end >= operations.call(at)))
    })
}

#[cfg(test)]
mod tests;
