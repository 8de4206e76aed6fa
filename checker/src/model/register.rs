//! A register with read, write and compare-and-set over interned values.

use history::ValueId;

use super::{Effect, Model, SequentialSpec};

/// What the register holds; [`ValueId::ABSENT`] at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Register(pub ValueId);

/// What a client asks of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(ValueId),
    /// Hold `new` if it holds `expected`.
    Cas {
        /// The value that must be there.
        expected: ValueId,
        /// The value that replaces it.
        new: ValueId,
    },
}

/// What a client observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterRet {
    /// The value that was read.
    Read(ValueId),
    /// The write happened.
    Written,
    /// Whether the expected value was there.
    Swapped(bool),
}

impl SequentialSpec for Register {
    type Op = RegisterOp;
    type Ret = RegisterRet;

    fn invoke(&mut self, op: &RegisterOp) -> RegisterRet {
        match *op {
            RegisterOp::Read => RegisterRet::Read(self.0),
            RegisterOp::Write(value) => {
                self.0 = value;
                RegisterRet::Written
            }
            RegisterOp::Cas { expected, new } => {
                let matched = self.0 == expected;
                if matched {
                    self.0 = new;
                }
                RegisterRet::Swapped(matched)
            }
        }
    }
}

impl Model for Register {
    fn effect(op: &RegisterOp, ret: Option<&RegisterRet>) -> Effect {
        match (op, ret) {
            (RegisterOp::Read, _) | (RegisterOp::Cas { .. }, Some(RegisterRet::Swapped(false))) => {
                Effect::Pure
            }
            (RegisterOp::Write(_), None | Some(RegisterRet::Written)) => Effect::Overwrite,
            (RegisterOp::Cas { expected, new }, _) if expected == new => Effect::Pure,
            _ => Effect::General,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_set_changes_the_register_only_when_it_matches() {
        let mut register = Register::default();
        let cas = RegisterOp::Cas { expected: ValueId::ABSENT, new: ValueId(7) };
        assert_eq!(register.invoke(&cas), RegisterRet::Swapped(true));
        assert_eq!(register.invoke(&cas), RegisterRet::Swapped(false));
        assert_eq!(register.invoke(&RegisterOp::Read), RegisterRet::Read(ValueId(7)));
    }
}
