//! What makes a history unfit for judgement: an adapter that broke its contract, or a history made by hand that breaks
//! the rules of histories. A broken promise of the system is never an error; it is an anomaly.

/// Why a history cannot be judged. Every variant names the operation by the index of its invocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A function that the object does not have.
    #[error("operation {index}: the {object} has no function `{function}`; it knows {known}")]
    UnknownFunction {
        /// The index of the invocation.
        index: u64,
        /// The object, such as `register`.
        object: &'static str,
        /// The function that was recorded.
        function: String,
        /// The functions that exist.
        known: &'static str,
    },
    /// An argument of the wrong shape.
    #[error("operation {index}: `{function}` takes {expected}, but its argument is {found}")]
    MalformedInput {
        /// The index of the invocation.
        index: u64,
        /// The function that was recorded.
        function: String,
        /// The shape that it takes.
        expected: &'static str,
        /// What was recorded, shortened.
        found: String,
    },
    /// An observation of the wrong shape.
    #[error("operation {index}: `{function}` observes {expected}, but {found} was recorded")]
    MalformedOutput {
        /// The index of the invocation.
        index: u64,
        /// The function that was recorded.
        function: String,
        /// The shape that it observes.
        expected: &'static str,
        /// What was recorded, shortened.
        found: String,
    },
    /// An `ok` without the time of its completion has no place in the real-time order.
    #[error("operation {index}: it is `ok`, but has no completion time")]
    NoCompletion {
        /// The index of the invocation.
        index: u64,
    },
    /// Time ran backwards.
    #[error("operation {index}: it completes before it is invoked")]
    EndsBeforeCall {
        /// The index of the invocation.
        index: u64,
    },
}
