//! Judging a history while it grows, with memory for its open end.
//!
//! Events come in the order of the file. An operation takes its place once it is completed, because only then is its result
//! known; up to the earliest moment at which an open operation began, nothing new can happen, and so every key is judged up
//! to there (`breadth`) and what lies before is forgotten. What is kept: the operations that are open or were completed
//! after that moment, operations of unknown outcome that have not shown, and per key the configurations that are possible.
//!
//! A recorder writes lines in nearly the order of their stamps. So the last moments are held back ([`SLACK`],
//! [`HELD_BACK_EVENTS`]); an operation that comes later than that makes its key *lost*, not wrong. A key is also lost when
//! too many configurations are possible. Of lost keys nothing is known; whoever has the file checks it as a whole.
//!
//! Followed are objects whose state is small: see [`Stream::new`]. Sets, lists and queues have everything that is in them
//! for a state.

use std::collections::VecDeque;
use std::sync::LazyLock;

use history::operation::{PairError, Pairing};
use history::{Event, Nanos, Operations};

use self::keys::{Judge, Keys};
use super::NAME;
use super::objects::counter::CounterObject;
use super::objects::mutex::MutexObject;
use super::objects::register::RegisterObject;
use super::objects::versioned::VersionedObject;
use crate::meter::Meter;
use crate::narration::count;
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Counts, Finding, Spec};

use kv::PlainKv;

mod key;
mod keys;
mod kv;
mod streamed;
#[cfg(test)]
pub(in crate::linearizable) mod tests;

/// A history without operations, for objects that ask for one.
static NOTHING: LazyLock<Operations> = LazyLock::new(Operations::default);

/// How much time before the latest stamp is held back.
const SLACK: Nanos = Nanos::from_millis(250);

/// What was recorded so many events ago is not held back.
const HELD_BACK_EVENTS: usize = 1 << 14;

/// How many events share one note of the latest stamp.
const EVENTS_PER_NOTE: usize = 1 << 10;

/// Completed operations are forgotten when there are as many, and more than are open.
const FORGOTTEN_AT_ONCE: usize = 1 << 12;

/// A history that is judged while it grows.
pub struct Stream {
    pairing: Pairing,
    keys: Box<dyn Judge + Send>,
    counts: Counts,
    clock: HeldBack,
    meter: Meter,
    memory_bytes: u64,
}

/// Why an event cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// It breaks a rule of histories.
    #[error(transparent)]
    Pairing(#[from] PairError),
    /// It is not an operation of the model.
    #[error(transparent)]
    Operation(#[from] CheckError),
}

/// What is known so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The first violation that was met.
    pub broken: Option<Broken>,
    /// How many keys can no longer be judged, and why the first one cannot.
    pub lost: Option<(usize, String)>,
    /// Up to when every key was judged.
    pub until: Nanos,
    /// What is held beside the table of values, in bytes.
    pub held_bytes: u64,
}

/// A key that no order explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The key.
    pub key: Option<String>,
    /// The index of the invocation of the operation whose result no configuration survives.
    pub index: u64,
    /// When it was completed.
    pub time: Nanos,
}

impl Stream {
    /// Begins an empty history; `None` when histories of the model are not followed. The time of the budget limits
    /// nothing, its memory does.
    pub fn new(spec: Spec, budget: &Budget) -> Option<Self> {
        let keys: Box<dyn Judge + Send> = match spec {
            Spec::Register => Box::new(Keys::new(RegisterObject::new(&NOTHING))),
            Spec::VersionedRegister => Box::new(Keys::new(VersionedObject::new(&NOTHING))),
            Spec::Kv => Box::new(Keys::new(PlainKv)),
            Spec::Counter => Box::new(Keys::new(CounterObject)),
            Spec::Mutex => Box::new(Keys::new(MutexObject)),
            Spec::Set | Spec::Queue | Spec::UnorderedQueue | Spec::Stack | Spec::AppendList => return None,
        };
        Some(Self {
            pairing: Pairing::default(),
            keys,
            counts: Counts::default(),
            clock: HeldBack::default(),
            meter: Meter::start(budget),
            memory_bytes: budget.memory_bytes,
        })
    }

    /// Takes the next event, and judges what is due.
    ///
    /// # Errors
    /// When the event breaks a rule of histories, or completes an operation that is not one of the model.
    pub fn push(&mut self, event: Event) -> Result<(), StreamError> {
        self.clock.see(event.time);
        let Some(at) = self.pairing.push(event)? else { return Ok(()) };
        self.counts.add(self.pairing.operations().outcome(at));
        if self.keys.take(self.pairing.operations(), at)? {
            let until = self.settled_until();
            self.keys.judge_due(until);
        }
        self.forget();
        Ok(())
    }

    /// Judges everything that can be judged by now.
    pub fn judge(&mut self) {
        let until = self.settled_until();
        self.judge_until(until);
    }

    /// Nothing will come any more: judges everything. What is still open is of unknown outcome.
    ///
    /// # Errors
    /// When an open operation is not one of the model.
    pub fn end(&mut self) -> Result<(), StreamError> {
        for at in self.pairing.open() {
            self.counts.add(self.pairing.operations().outcome(at));
            self.keys.take(self.pairing.operations(), at)?;
        }
        self.judge_until(Nanos(u64::MAX));
        Ok(())
    }

    /// What is known.
    pub fn standing(&self) -> Standing {
        self.keys.standing()
    }

    /// How operations ended so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The same as a check's row and anomalies. Explanations are short: the past is gone.
    pub fn finding(&self) -> Finding {
        let Standing { broken, lost, .. } = self.standing();
        let anomalies: Vec<Anomaly> = broken.iter().map(Broken::anomaly).collect();
        let (outcome, note) = match (&anomalies[..], lost) {
            ([_, ..], _) => (CheckOutcome::Violation, None),
            (_, Some((keys, why))) => {
                (CheckOutcome::Unknown, Some(format!("{} could not be followed: {why}", count(keys, "key"))))
            }
            _ if self.counts.ok == 0 => {
                let nothing = "no operation completed, so there is nothing to judge";
                (CheckOutcome::Unknown, Some(nothing.to_owned()))
            }
            _ => (CheckOutcome::Valid, None),
        };
        let result = CheckResult {
            name: NAME.to_owned(),
            outcome,
            examined: self.counts.all(),
            duration_ms: self.meter.elapsed_ms(),
            peak_memory_bytes: self.meter.peak_bytes(),
            note,
        };
        Finding { result, anomalies }
    }

    /// Up to when nothing new can happen.
    fn settled_until(&self) -> Nanos {
        let operations = self.pairing.operations();
        let earliest_open = self.pairing.open().into_iter().map(|at| operations.call(at)).min();
        let until = self.clock.settled();
        earliest_open.map_or(until, |open| open.min(until))
    }

    fn judge_until(&mut self, until: Nanos) {
        self.keys.judge_all(until);
        let held = self.keys.standing().held_bytes;
        if self.meter.check_memory(held).is_err() {
            let limit = self.memory_bytes;
            self.keys.lose_all(&format!("the memory budget of {limit} bytes is exhausted"));
        }
    }

    fn forget(&mut self) {
        let len = self.pairing.operations().len();
        if len >= FORGOTTEN_AT_ONCE && len >= 2 * self.pairing.open().len() {
            self.forget_completed();
        }
    }

    fn forget_completed(&mut self) {
        let before = self.pairing.forget_completed();
        let values = before.values();
        self.keys.rename(&mut |id| self.pairing.intern(&values.get(id).unwrap_or_default()));
    }
}

impl Broken {
    fn anomaly(&self) -> Anomaly {
        let place = self.key.as_ref().map_or_else(String::new, |key| format!("key {key}: "));
        Anomaly {
            id: String::new(),
            kind: super::explain::KIND.to_owned(),
            explanation: format!(
                "{place}no order of the operations up to {} explains the result of operation {}.",
                self.time, self.index
            ),
            operations: vec![self.index],
            key: self.key.clone(),
            details: Vec::new(),
        }
    }
}

/// The stamps that were seen, of which the last ones are held back.
#[derive(Debug, Default)]
struct HeldBack {
    latest: Nanos,
    events: usize,
    /// The latest stamp at every so many events, the newest last.
    notes: VecDeque<Nanos>,
}

impl HeldBack {
    fn see(&mut self, time: Nanos) {
        self.latest = self.latest.max(time);
        self.events += 1;
        if self.events.is_multiple_of(EVENTS_PER_NOTE) {
            self.notes.push_back(self.latest);
            if self.notes.len() > HELD_BACK_EVENTS / EVENTS_PER_NOTE {
                self.notes.pop_front();
            }
        }
    }

    /// Events that are still to come are not earlier than this.
    fn settled(&self) -> Nanos {
        let long_ago = self.notes.front().filter(|_| self.notes.len() >= HELD_BACK_EVENTS / EVENTS_PER_NOTE);
        self.latest.saturating_sub(SLACK).max(long_ago.copied().unwrap_or_default())
    }
}
