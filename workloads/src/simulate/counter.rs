//! Counters: half reads, half additions of an integer between -5 and 5 that is not 0.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Fate, Model, Turn, key_name};
use super::window::{Forgery, Phase, Window};

/// How far one addition goes at most.
const STEP: u64 = 5;

/// Many counters, 0 at first.
pub(super) struct Counter {
    keys: Vec<Sum>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    value: i64,
    /// How far the additions of unknown outcome that were invoked so far go together, up or down.
    doubt: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    key: usize,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Read,
    Add(i64),
}

impl Counter {
    pub(super) fn new(keys: usize) -> Self {
        Self { keys: vec![Sum::default(); keys] }
    }
}

impl Call {
    /// How far the operation moves the counter, up or down.
    fn distance(&self) -> u64 {
        match self.deed {
            Deed::Read => 0,
            Deed::Add(amount) => amount.unsigned_abs(),
        }
    }
}

impl Model for Counter {
    type Call = Call;

    fn invoke(&mut self, turn: Turn<'_>) -> Call {
        let amount = turn.dice.below(STEP).cast_signed() + 1;
        let deed = match turn.dice.below(4) {
            0 => Deed::Add(amount),
            1 => Deed::Add(-amount),
            _ => Deed::Read,
        };
        let call = Call { key: turn.key, deed };
        if turn.fate != Fate::Certain {
            self.keys[turn.key].doubt += call.distance();
        }
        call
    }

    fn apply(&mut self, call: &Call) -> Value {
        let sum = &mut self.keys[call.key];
        match call.deed {
            Deed::Read => Value::from(sum.value),
            Deed::Add(amount) => {
                sum.value += amount;
                Value::Null
            }
        }
    }

    fn function(&self, call: &Call) -> &'static str {
        match call.deed {
            Deed::Read => "read",
            Deed::Add(_) => "add",
        }
    }

    fn key(call: &Call) -> String {
        key_name(call.key)
    }

    fn argument(call: &Call) -> Value {
        match call.deed {
            Deed::Read => Value::Null,
            Deed::Add(amount) => Value::from(amount),
        }
    }

    /// Why it is provable: the sum at the moment of a read differs from what was truly read only by additions
    /// whose place relative to the read is open, those that overlap it and those of unknown outcome. The lie is
    /// one more than all of them together can reach.
    fn forge(&self, window: &Window<Call>, from: u64) -> Option<Forgery> {
        let mut reaches = Reaches::new(window);
        for moment in window.moments() {
            let call = moment.record.call;
            match (moment.phase, moment.record.observed()) {
                (Phase::Invoke, _) => reaches.invoke(moment.at, &call),
                (Phase::Complete, None) => {}
                (Phase::Complete, Some(observed)) => {
                    let overlapping = reaches.complete(moment.at, &call);
                    if let (Some(sum), Some(overlapping)) = (observed.as_i64(), overlapping)
                        && moment.record.ordinal >= from
                    {
                        let reach = overlapping + self.keys[call.key].doubt;
                        let lie = Value::from(sum + reach.cast_signed() + 1);
                        return Some(Forgery::one(
                            moment.at,
                            lie,
                            "a read returns a sum that is out of reach",
                        ));
                    }
                }
            }
        }
        None
    }
}

/// How far the additions that overlap an operation go.
struct Reaches {
    keys: BTreeMap<usize, Reach>,
    /// Of open reads: the reach when they were invoked.
    before: BTreeMap<usize, Reach>,
}

#[derive(Clone, Copy, Default)]
struct Reach {
    /// Of the additions that are open.
    open: u64,
    /// Of all additions that were invoked.
    invoked: u64,
}

impl Reaches {
    fn new(window: &Window<Call>) -> Self {
        let mut reaches = Self { keys: BTreeMap::new(), before: BTreeMap::new() };
        for record in window.adopted() {
            reaches.keys.entry(record.call.key).or_default().open += record.call.distance();
        }
        reaches
    }

    fn invoke(&mut self, at: usize, call: &Call) {
        let reach = self.keys.entry(call.key).or_default();
        if matches!(call.deed, Deed::Read) {
            self.before.insert(at, *reach);
        }
        reach.open += call.distance();
        reach.invoked += call.distance();
    }

    /// The reach of the additions that overlap a read that was invoked in the window.
    fn complete(&mut self, at: usize, call: &Call) -> Option<u64> {
        let reach = self.keys.entry(call.key).or_default();
        reach.open -= call.distance();
        let before = self.before.remove(&at)?;
        Some(before.open + reach.invoked - before.invoked)
    }
}
