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
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = ValueId> {
        (0..4_u32).prop_map(ValueId)
    }

    fn op() -> impl Strategy<Value = RegisterOp> {
        prop_oneof![
            Just(RegisterOp::Read),
            value().prop_map(RegisterOp::Write),
            (value(), value()).prop_map(|(expected, new)| RegisterOp::Cas { expected, new }),
        ]
    }

    fn ret() -> impl Strategy<Value = Option<RegisterRet>> {
        prop_oneof![
            Just(None),
            value().prop_map(|seen| Some(RegisterRet::Read(seen))),
            Just(Some(RegisterRet::Written)),
            any::<bool>().prop_map(|matched| Some(RegisterRet::Swapped(matched))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn hints_about_effects_hold_in_every_state(op in op(), ret in ret()) {
            let states = (0..5).map(|value| Register(ValueId(value)));
            let steps: Vec<_> = states.map(|state| (state, state.step(&op, ret.as_ref()))).collect();
            match Register::effect(&op, ret.as_ref()) {
                Effect::Pure => prop_assert!(steps.iter().all(|(before, after)| after.is_none_or(|after| after == *before))),
                Effect::Overwrite => prop_assert!(steps.iter().all(|(_, after)| after.is_some() && *after == steps[0].1)),
                Effect::General => {}
            }
        }
    }

    #[test]
    fn compare_and_set_changes_the_register_only_when_it_matches() {
        let mut register = Register::default();
        let cas = RegisterOp::Cas { expected: ValueId::ABSENT, new: ValueId(7) };
        assert_eq!(register.invoke(&cas), RegisterRet::Swapped(true));
        assert_eq!(register.invoke(&cas), RegisterRet::Swapped(false));
        assert_eq!(register.invoke(&RegisterOp::Read), RegisterRet::Read(ValueId(7)));
    }
}
