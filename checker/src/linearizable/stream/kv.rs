//! One key of a key-value store with its strings as they are: how a string compares with those that will be observed is not
//! known while a history grows.

use std::sync::Arc;

use history::Operations;
use rustc_hash::FxHashSet;

use super::super::object::{CallOf, Object, Step};
use super::super::objects::kv::{Ask, Functions, Told};
use super::super::objects::specified_by;
use super::streamed::Streamed;
use crate::CheckError;
use crate::model::{Kv, KvOp, KvRet};

/// A string per key.
#[derive(Debug)]
pub(super) struct PlainKv;

impl Object for PlainKv {
    specified_by!(Kv);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let values = operations.values();
        let functions = Functions::of(operations.names());
        let (op, ret) = functions.translate(operations, at, |id| values.str(id).is_some())?;
        let text = |id| values.str(id).map(Arc::from);
        let certain = |id| text(id).unwrap_or_default();
        let op = match op {
            Ask::Get => KvOp::Get,
            Ask::Put(id) => KvOp::Put(certain(id)),
            Ask::Append(id) => KvOp::Append(certain(id)),
            Ask::Cas { expected, new } => KvOp::Cas { expected: text(expected), new: certain(new) },
            Ask::Delete => KvOp::Delete,
        };
        let ret = ret.map(|told| match told {
            Told::Got(id) => KvRet::Got(text(id)),
            Told::Done => KvRet::Done,
            Told::Swapped(matched) => KvRet::Swapped(matched),
        });
        Ok(Step { op, ret })
    }

    fn show_states(&self, states: &[Kv]) -> String {
        format!("{states:?}")
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        format!("{call:?}")
    }
}

impl Streamed for PlainKv {
    /// A string that nobody observes, unless an append may make another of it or a mismatch needs the absence of another.
    fn can_wait(&self, calls: &[CallOf<Self>], _states: &[Kv]) -> Vec<bool> {
        let seen: FxHashSet<Option<&str>> = calls.iter().filter_map(observes).collect();
        let all_plain = calls.iter().all(|call| {
            !matches!(call.op, KvOp::Append(_)) && !matches!(call.ret, Some(KvRet::Swapped(false)))
        });
        let can_wait = |call: &CallOf<Self>| match &call.op {
            KvOp::Get => true,
            KvOp::Put(new) | KvOp::Cas { new, .. } => all_plain && !seen.contains(&Some(&**new)),
            KvOp::Delete => all_plain && !seen.contains(&None),
            KvOp::Append(_) => false,
        };
        calls.iter().map(can_wait).collect()
    }
}

/// What the key must hold for the call to have its result, or to do anything.
fn observes(call: &CallOf<PlainKv>) -> Option<Option<&str>> {
    match (&call.op, &call.ret) {
        (_, Some(KvRet::Got(text))) => Some(text.as_deref()),
        (KvOp::Cas { expected, .. }, _) => Some(expected.as_deref()),
        _ => None,
    }
}
