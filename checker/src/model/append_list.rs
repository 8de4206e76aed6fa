//! A list that only grows at its end.

use history::ValueId;

use super::{Effect, Model, SequentialSpec};

/// The elements; none at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AppendList(pub Vec<ValueId>);

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppendListOp {
    /// Have this at the end.
    Append(ValueId),
    /// What is there?
    Read,
}

/// What a client observes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AppendListRet {
    /// It was appended.
    Appended,
    /// The elements.
    Read(Vec<ValueId>),
}

impl SequentialSpec for AppendList {
    type Op = AppendListOp;
    type Ret = AppendListRet;

    fn invoke(&mut self, op: &AppendListOp) -> AppendListRet {
        match op {
            AppendListOp::Append(element) => {
                self.0.push(*element);
                AppendListRet::Appended
            }
            AppendListOp::Read => AppendListRet::Read(self.0.clone()),
        }
    }
}

impl Model for AppendList {
    fn effect(op: &AppendListOp, _ret: Option<&AppendListRet>) -> Effect {
        if *op == AppendListOp::Read { Effect::Pure } else { Effect::General }
    }
}
