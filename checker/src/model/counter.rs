//! A counter: add a number that may be negative, read the sum.

use super::{Effect, Model, SequentialSpec};

/// The sum; 0 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counter(pub i64);

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// Add this.
    Add(i64),
    /// How much is it?
    Read,
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterRet {
    /// It was added.
    Added,
    /// The sum.
    Read(i64),
}

impl SequentialSpec for Counter {
    type Op = CounterOp;
    type Ret = CounterRet;

    fn invoke(&mut self, op: &CounterOp) -> CounterRet {
        match op {
            CounterOp::Add(number) => {
                self.0 = self.0.wrapping_add(*number);
                CounterRet::Added
            }
            CounterOp::Read => CounterRet::Read(self.0),
        }
    }
}

impl Model for Counter {
    fn effect(op: &CounterOp, _ret: Option<&CounterRet>) -> Effect {
        match op {
            CounterOp::Read | CounterOp::Add(0) => Effect::Pure,
            CounterOp::Add(_) => Effect::General,
        }
    }
}
