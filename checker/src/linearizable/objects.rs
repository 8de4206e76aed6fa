//! The objects that histories can be judged against, one file each: what recorded operations mean, what may be left out,
//! shortcuts, and words.

pub(crate) mod append_list;
pub(crate) mod collection;
pub(crate) mod counter;
pub(crate) mod kv;
pub(crate) mod mutex;
pub(crate) mod register;
pub(crate) mod set;
mod telling;
pub(crate) mod versioned;

/// The part of an [`Object`](super::object::Object) that its model already says.
macro_rules! specified_by {
    ($model:ty) => {
        type State = $model;
        type Op = <$model as $crate::model::SequentialSpec>::Op;
        type Ret = <$model as $crate::model::SequentialSpec>::Ret;

        fn initial(&self) -> $model {
            <$model>::default()
        }

        fn step(&self, state: &$model, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<$model> {
            $crate::model::Model::step(state, op, ret)
        }

        fn effect(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> $crate::model::Effect {
            <$model as $crate::model::Model>::effect(op, ret)
        }
    };
}
pub(super) use specified_by;

/// The name of the function of an operation.
fn function(operations: &history::Operations, at: usize) -> &str {
    operations.names().get(operations.function(at)).unwrap_or_default()
}

/// Whether the operation has an observation.
fn is_ok(operations: &history::Operations, at: usize) -> bool {
    operations.outcome(at) == history::Outcome::Ok
}
