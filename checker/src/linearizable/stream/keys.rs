//! All keys of a history that grows.

use history::{Nanos, Operations, Outcome};
use rustc_hash::FxHashMap;

use super::super::calls::{Call, completion, matters};
use super::Standing;
use super::key::{Fate, Key};
use super::streamed::{Rename, Streamed};
use crate::CheckError;

/// The keys of any object.
pub(super) trait Judge {
    /// Takes an operation that was completed, or that will never be; whether something is due.
    ///
    /// # Errors
    /// When it is not one of the object's.
    fn take(&mut self, operations: &Operations, at: usize) -> Result<bool, CheckError>;

    /// Judges the key of the operation that was taken last.
    fn judge_due(&mut self, until: Nanos);

    /// Judges every key.
    fn judge_all(&mut self, until: Nanos);

    /// Gives up.
    fn lose_all(&mut self, why: &str);

    /// Gives values new numbers.
    fn rename(&mut self, new: &mut Rename<'_>);

    /// What is known.
    fn standing(&self) -> Standing;
}

/// The keys of an object.
pub(super) struct Keys<O: Streamed> {
    object: O,
    keys: Vec<Key<O>>,
    places: FxHashMap<Option<String>, usize>,
    last: usize,
    until: Nanos,
}

impl<O: Streamed> Keys<O> {
    pub(super) fn new(object: O) -> Self {
        Self { object, keys: Vec::new(), places: FxHashMap::default(), last: 0, until: Nanos(0) }
    }
}

impl<O: Streamed> Judge for Keys<O> {
    fn take(&mut self, operations: &Operations, at: usize) -> Result<bool, CheckError> {
        let step = self.object.translate(operations, at)?;
        if operations.outcome(at) == Outcome::Fail {
            return Ok(false);
        }
        let end = completion(operations, at)?;
        let index = u32::try_from(operations.index(at)).expect("invariant: fewer than 2^32 events");
        let call = Call::new(index, step.op, step.ret, operations.call(at), end);
        if !matters(&self.object, &call) {
            return Ok(false);
        }
        let name = operations.names().get(operations.key(at)).map(str::to_owned);
        self.last = match self.places.get(&name) {
            Some(place) => *place,
            None => {
                self.keys.push(Key::new(name.clone(), &self.object));
                self.places.insert(name, self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        Ok(self.keys[self.last].take(call))
    }

    fn judge_due(&mut self, until: Nanos) {
        self.keys[self.last].judge(&self.object, until);
    }

    fn judge_all(&mut self, until: Nanos) {
        self.until = self.until.max(until);
        for key in self.keys.iter_mut().filter(|key| !key.is_idle()) {
            key.judge(&self.object, until);
        }
    }

    fn lose_all(&mut self, why: &str) {
        self.keys.iter_mut().for_each(|key| key.lose(why.to_owned()));
    }

    fn rename(&mut self, new: &mut Rename<'_>) {
        self.keys.iter_mut().for_each(|key| key.rename(new));
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing { until: self.until, ..Standing::default() };
        for key in &self.keys {
            standing.held_bytes += key.bytes();
            match &key.fate {
                Fate::Going => {}
                Fate::Broken(broken) => {
                    standing.broken.get_or_insert_with(|| broken.clone());
                }
                Fate::Lost(why) => {
                    let lost = standing.lost.get_or_insert_with(|| (0, why.clone()));
                    lost.0 += 1;
                }
            }
        }
        standing
    }
}
