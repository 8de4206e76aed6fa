//! A set: add, remove, contains, read.

use history::ValueId;

use super::{Effect, Model, SequentialSpec};

/// Its elements in ascending order; none at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Set(pub Vec<ValueId>);

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// Have this element.
    Add(ValueId),
    /// Have this element no longer.
    Remove(ValueId),
    /// Is it there?
    Contains(ValueId),
    /// What is there?
    Read,
}

/// What a client observes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetRet {
    /// It happened.
    Done,
    /// Whether the element is there.
    Contained(bool),
    /// The elements, in ascending order; one that was read twice stands here twice.
    Read(Vec<ValueId>),
}

impl SequentialSpec for Set {
    type Op = SetOp;
    type Ret = SetRet;

    fn invoke(&mut self, op: &SetOp) -> SetRet {
        match op {
            SetOp::Add(element) => {
                if let Err(at) = self.0.binary_search(element) {
                    self.0.insert(at, *element);
                }
                SetRet::Done
            }
            SetOp::Remove(element) => {
                if let Ok(at) = self.0.binary_search(element) {
                    self.0.remove(at);
                }
                SetRet::Done
            }
            SetOp::Contains(element) => SetRet::Contained(self.0.binary_search(element).is_ok()),
            SetOp::Read => SetRet::Read(self.0.clone()),
        }
    }
}

impl Model for Set {
    fn effect(op: &SetOp, _ret: Option<&SetRet>) -> Effect {
        match op {
            SetOp::Contains(_) | SetOp::Read => Effect::Pure,
            SetOp::Add(_) | SetOp::Remove(_) => Effect::General,
        }
    }
}
