//! The operations of a history in memory: columns of numbers, at most 64 bytes an operation.
//!
//! Values and strings are kept once and named by number ([`Values`], [`Names`]), so that ten million operations fit in a
//! gibibyte. A row ([`Operation`]) is made when somebody asks for one; checkers read the columns.

use crate::names::{NameId, Names};
use crate::values::{ValueId, Values};
use crate::{Nanos, NodeId, Operation, Outcome, Process};

/// No completion was recorded.
const NO_RETURN: u64 = u64::MAX;
/// The bits of the outcome in a flag byte, and the mark of the final phase.
const OUTCOME_BITS: u8 = 3;
const FINAL_BIT: u8 = 4;

/// Operations by position, in the order of their invocations in the file.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    values: Values,
    names: Names,
    index: Vec<u64>,
    intended: Vec<u64>,
    call: Vec<u64>,
    ret: Vec<u64>,
    process: Vec<u32>,
    function: Vec<NameId>,
    node: Vec<NameId>,
    key: Vec<NameId>,
    error: Vec<NameId>,
    input: Vec<ValueId>,
    output: Vec<ValueId>,
    flags: Vec<u8>,
}

/// The bytes of the columns of one operation.
pub const BYTES_PER_OPERATION: usize = 4 * size_of::<u64>()
    + size_of::<u32>()
    + 4 * size_of::<NameId>()
    + 2 * size_of::<ValueId>()
    + size_of::<u8>();

const _: () = assert!(BYTES_PER_OPERATION <= 64, "ten million operations fit in a gibibyte");

impl Operations {
    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Appends an operation.
    pub fn push(&mut self, operation: &Operation) {
        self.index.push(operation.index);
        self.intended.push(operation.intended.0);
        self.call.push(operation.call.0);
        self.ret.push(operation.ret.map_or(NO_RETURN, |ret| ret.0));
        self.process.push(operation.process.0);
        self.function.push(self.names.intern(&operation.f));
        self.node.push(self.names.optional(operation.node.as_ref().map(|node| node.0.as_str())));
        self.key.push(self.names.optional(operation.key.as_deref()));
        self.error.push(self.names.optional(operation.error.as_deref()));
        self.input.push(self.values.intern(&operation.input));
        self.output.push(self.values.intern(&operation.output));
        self.flags.push(outcome_flag(operation.outcome) | if operation.is_final { FINAL_BIT } else { 0 });
    }

    /// Completes the operation at a position: when, how, with what observation and remark.
    pub(crate) fn complete(
        &mut self,
        at: usize,
        ret: Nanos,
        outcome: Outcome,
        output: &serde_json::Value,
        error: Option<&str>,
    ) {
        self.ret[at] = ret.0;
        self.output[at] = self.values.intern(output);
        self.error[at] = self.names.optional(error);
        self.flags[at] = self.flags[at] & FINAL_BIT | outcome_flag(outcome);
    }

    /// The operation at a position, as a row.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, at: usize) -> Operation {
        Operation {
            index: self.index[at],
            process: self.process(at),
            node: self.names.get(self.node[at]).map(|node| NodeId(node.to_owned())),
            f: self.names.get(self.function[at]).unwrap_or_default().to_owned(),
            key: self.names.get(self.key[at]).map(str::to_owned),
            input: self.values.get(self.input[at]).unwrap_or_default(),
            output: self.values.get(self.output[at]).unwrap_or_default(),
            intended: Nanos(self.intended[at]),
            call: self.call(at),
            ret: self.ret(at),
            outcome: self.outcome(at),
            is_final: self.is_final(at),
            error: self.names.get(self.error[at]).map(str::to_owned),
        }
    }

    /// The operations as rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Operation> + DoubleEndedIterator + Clone + '_ {
        (0..self.len()).map(|at| self.get(at))
    }

    /// The position of the operation whose invocation has an index.
    pub fn position_of(&self, index: u64) -> Option<usize> {
        self.index.binary_search(&index).ok()
    }

    /// The index of the invocation in the recorded file.
    pub fn index(&self, at: usize) -> u64 {
        self.index[at]
    }

    /// When it was invoked.
    pub fn call(&self, at: usize) -> Nanos {
        Nanos(self.call[at])
    }

    /// When its completion was stamped.
    pub fn ret(&self, at: usize) -> Option<Nanos> {
        Some(self.ret[at]).filter(|ret| *ret != NO_RETURN).map(Nanos)
    }

    /// Whose operation it is.
    pub fn process(&self, at: usize) -> Process {
        Process(self.process[at])
    }

    /// The function.
    pub fn function(&self, at: usize) -> NameId {
        self.function[at]
    }

    /// The key, or [`NameId::NONE`].
    pub fn key(&self, at: usize) -> NameId {
        self.key[at]
    }

    /// The argument.
    pub fn input(&self, at: usize) -> ValueId {
        self.input[at]
    }

    /// What was observed.
    pub fn output(&self, at: usize) -> ValueId {
        self.output[at]
    }

    /// How it ended.
    pub fn outcome(&self, at: usize) -> Outcome {
        match self.flags[at] & OUTCOME_BITS {
            0 => Outcome::Ok,
            1 => Outcome::Fail,
            _ => Outcome::Info,
        }
    }

    /// Whether it is part of the final phase.
    pub fn is_final(&self, at: usize) -> bool {
        self.flags[at] & FINAL_BIT != 0
    }

    /// The number of a value.
    pub(crate) fn intern(&mut self, value: &serde_json::Value) -> ValueId {
        self.values.intern(value)
    }

    /// The values that operations name by number.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The strings that operations name by number.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What the columns, values and names hold, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.len() * BYTES_PER_OPERATION) as u64 + self.values.bytes() + self.names.bytes()
    }

    /// Keeps the rows for which `is_kept` answers yes.
    pub fn retain(&mut self, is_kept: impl FnMut(&Operation) -> bool) {
        *self = self.iter().filter(is_kept).collect();
    }
}

impl Names {
    fn optional(&mut self, name: Option<&str>) -> NameId {
        name.map_or(NameId::NONE, |name| self.intern(name))
    }
}

fn outcome_flag(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Info => 2,
    }
}

impl PartialEq for Operations {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(rows: I) -> Self {
        let mut operations = Self::default();
        rows.into_iter().for_each(|row| operations.push(&row));
        operations
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(at: u64) -> Operation {
        Operation {
            index: 3 * at,
            process: Process(at as u32),
            node: at.is_multiple_of(2).then(|| NodeId::numbered(1)),
            f: ["read", "write"][at as usize % 2].to_owned(),
            key: at.is_multiple_of(3).then(|| format!("k{at}")),
            input: json!([at, null]),
            output: json!(at.to_string()),
            intended: Nanos(at),
            call: Nanos(at + 1),
            ret: at.is_multiple_of(5).then_some(Nanos(at + 2)),
            outcome: [Outcome::Ok, Outcome::Fail, Outcome::Info][at as usize % 3],
            is_final: at.is_multiple_of(7),
            error: at.is_multiple_of(4).then(|| "timed out".to_owned()),
        }
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows: Vec<Operation> = (0..60).map(row).collect();
        let operations: Operations = rows.iter().cloned().collect();
        assert_eq!(operations.iter().collect::<Vec<_>>(), rows);
        assert_eq!((operations.position_of(9), operations.position_of(10)), (Some(3), None));
    }

    #[test]
    fn operation_of_integers_takes_no_more_than_its_columns() {
        let plain = |at: u64| Operation { input: json!(at), output: json!(null), key: None, ..row(at) };
        let few: Operations = (0..10).map(plain).collect();
        let many: Operations = (0..10_000).map(plain).collect();
        assert_eq!(many.bytes() - few.bytes(), (9_990 * BYTES_PER_OPERATION) as u64);
    }
}
