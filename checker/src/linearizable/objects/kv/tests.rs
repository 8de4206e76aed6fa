//! Texts behave as the strings that they stand for, and the plain model keeps what it says about its operations.

use history::{Nanos, Operation, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Ask, KvObject, Object, Text, Told};
use crate::model::{Effect, Kv, KvOp, KvRet, Model};
use crate::rows::{Rows, operation};

/// The most states that a key is taken to.
const MAX_STATES: usize = 60;

/// The longest string of a state, in bytes.
const MAX_BYTES: usize = 12;

/// Strings that begin alike, also within a character.
fn string() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "é", "è"], 0..4).prop_map(|parts| parts.concat())
}

fn call() -> impl Strategy<Value = (&'static str, Value, Value)> {
    let put = || prop_oneof![Just("put"), Just("append")];
    prop_oneof![
        proptest::option::of(string()).prop_map(|got| ("get", Value::Null, json!(got))),
        (put(), string()).prop_map(|(f, new)| (f, json!(new), Value::Null)),
        (proptest::option::of(string()), string(), any::<bool>()).prop_map(|(expected, new, matched)| (
            "cas",
            json!([expected, new]),
            json!(matched)
        )),
        Just(("delete", Value::Null, Value::Null)),
    ]
}

fn rows(calls: &[(&str, Value, Value)]) -> Rows {
    let row = |(f, input, output): &(&str, Value, Value)| Operation {
        output: output.clone(),
        ret: Some(Nanos(1)),
        outcome: Outcome::Ok,
        ..operation(0, 0, f, input.clone())
    };
    Rows { operations: calls.iter().map(row).collect() }
}

impl KvObject<'_> {
    fn plain(&self, id: history::ValueId) -> Option<std::sync::Arc<str>> {
        self.values.str(id).map(Into::into)
    }

    fn plain_op(&self, op: Ask) -> KvOp {
        let string = |id| self.plain(id).expect("a string");
        match op {
            Ask::Get => KvOp::Get,
            Ask::Put(id) => KvOp::Put(string(id)),
            Ask::Append(id) => KvOp::Append(string(id)),
            Ask::Cas { expected, new } => KvOp::Cas { expected: self.plain(expected), new: string(new) },
            Ask::Delete => KvOp::Delete,
        }
    }

    fn plain_ret(&self, ret: Told) -> KvRet {
        match ret {
            Told::Got(id) => KvRet::Got(self.plain(id)),
            Told::Done => KvRet::Done,
            Told::Swapped(matched) => KvRet::Swapped(matched),
        }
    }

    fn text_that_stands_for(&self, state: &Kv) -> Text {
        state.0.as_deref().map_or(Text::Absent, |string| self.texts.text(string.as_bytes()))
    }
}

/// An operation, and a result that its function can have.
type Step = (Ask, Option<Told>);

fn steps(object: &KvObject<'_>, rows: &Rows) -> Vec<Step> {
    let operations = &rows.history().operations;
    let calls = (0..operations.len()).map(|at| object.translate(operations, at).unwrap());
    let calls: Vec<Step> = calls.map(|step| (step.op, step.ret)).collect();
    let is_like = |op: Ask, ret: Option<Told>| {
        calls
            .iter()
            .any(|(other, told)| *told == ret && std::mem::discriminant(other) == std::mem::discriminant(&op))
    };
    let results = || calls.iter().map(|(_, ret)| *ret).chain([None]);
    let all = calls.iter().flat_map(|(op, _)| results().map(|ret| (*op, ret)));
    all.filter(|(op, ret)| ret.is_none() || is_like(*op, *ret)).collect()
}

/// Strings that the steps lead to.
fn reached(object: &KvObject<'_>, steps: &[Step]) -> Vec<Kv> {
    let mut states = vec![Kv::default()];
    let mut at = 0;
    while at < states.len() && states.len() < MAX_STATES {
        for (op, _) in steps {
            let next = states[at].step(&object.plain_op(*op), None);
            let is_short = |next: &Kv| next.0.as_ref().is_none_or(|string| string.len() <= MAX_BYTES);
            states.extend(next.filter(is_short).filter(|next| !states.contains(next)));
        }
        at += 1;
    }
    states
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 200 } else { 3000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_steps_as_the_string_that_it_stands_for(calls in proptest::collection::vec(call(), 2..8)) {
        let rows = rows(&calls);
        let history = rows.history();
        let object = KvObject::new(&history.operations);
        let steps = steps(&object, &rows);
        for state in reached(&object, &steps) {
            let text = object.text_that_stands_for(&state);
            for (op, ret) in &steps {
                let plain = state.step(&object.plain_op(*op), ret.map(|ret| object.plain_ret(ret)).as_ref());
                let expected = plain.map(|plain| object.text_that_stands_for(&plain));
                prop_assert_eq!(object.step(&text, op, ret.as_ref()), expected, "{:?} {:?} in {:?}", op, ret, state);
            }
        }
    }

    #[test]
    fn hints_of_the_plain_model_hold(calls in proptest::collection::vec(call(), 2..8)) {
        let rows = rows(&calls);
        let history = rows.history();
        let object = KvObject::new(&history.operations);
        let steps = steps(&object, &rows);
        let states = reached(&object, &steps);
        for (op, ret) in &steps {
            let (op, ret) = (object.plain_op(*op), ret.map(|ret| object.plain_ret(ret)));
            let mut after = states.iter().map(|state| (state, state.step(&op, ret.as_ref())));
            let holds = match Kv::effect(&op, ret.as_ref()) {
                Effect::Pure => after.all(|(state, next)| next.is_none_or(|next| next == *state)),
                Effect::Overwrite => {
                    let first = states[0].step(&op, ret.as_ref());
                    first.is_some() && after.all(|(_, next)| next == first)
                }
                Effect::General => true,
            };
            prop_assert!(holds, "{:?} {:?}", op, ret);
        }
    }
}
