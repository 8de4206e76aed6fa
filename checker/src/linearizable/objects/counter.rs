//! The counter as a recorded object: `add` and `read`.
//!
//! The sum of a set of additions does not depend on their order, so the possible sums have bounds: what certainly was added
//! by then, and what can have been added. A read outside of them needs no search.

use history::{Nanos, Operations};

use super::super::calls::Call;
use super::super::object::{
    CallOf, Case, Object, Shortcut, ShortcutOf, Step, malformed_input, malformed_output, unknown_function,
};
use super::{function, is_ok, specified_by};
use crate::CheckError;
use crate::model::{Counter, CounterOp, CounterRet};

mod cases;

/// A call of a counter.
type CounterCall = Call<CounterOp, CounterRet>;

/// A counter per key.
#[derive(Debug)]
pub(crate) struct CounterObject;

impl Object for CounterObject {
    specified_by!(Counter);

    fn translate(&self, operations: &Operations, at: usize) -> Result<Step<Self>, CheckError> {
        let integer = |id| operations.values().integer(id);
        let op = match function(operations, at) {
            "add" => integer(operations.input(at))
                .map(CounterOp::Add)
                .ok_or_else(|| malformed_input(operations, at, "an integer"))?,
            "read" => CounterOp::Read,
            _ => return Err(unknown_function(operations, at, "counter", "`add` and `read`")),
        };
        let ret = match op {
            _ if !is_ok(operations, at) => None,
            CounterOp::Add(_) => Some(CounterRet::Added),
            CounterOp::Read => Some(
                integer(operations.output(at))
                    .map(CounterRet::Read)
                    .ok_or_else(|| malformed_output(operations, at, "an integer"))?,
            ),
        };
        Ok(Step { op, ret })
    }

    fn shortcut(&self, calls: &[CounterCall]) -> Option<ShortcutOf<Self>> {
        let bad = Bounds::of(calls).find(|read| read.value < read.least || read.most < read.value)?;
        let matters = |call: &&CounterCall| match call.op {
            CounterOp::Add(_) => call.start <= bad.end,
            CounterOp::Read => call.position == bad.position,
        };
        Some(Shortcut::Illegal(calls.iter().filter(matters).cloned().collect()))
    }

    fn show_states(&self, states: &[Counter]) -> String {
        let sums: Vec<String> = states.iter().map(|state| state.0.to_string()).collect();
        format!("the counter is {}", sums.join(" or "))
    }

    fn show_call(&self, call: &CallOf<Self>) -> String {
        match (call.op, call.ret) {
            (CounterOp::Add(number), _) => format!("add {number}"),
            (CounterOp::Read, Some(CounterRet::Read(sum))) => format!("read {sum}"),
            (CounterOp::Read, _) => "read".to_owned(),
        }
    }

    fn headline(&self, case: &Case<'_, Self>) -> Option<String> {
        cases::headline(case)
    }
}

/// A read, and the smallest and the largest sum that it can have seen.
struct Bounds {
    position: u32,
    end: Nanos,
    value: i64,
    least: i64,
    most: i64,
}

impl Bounds {
    /// Those of every completed read, by its end.
    fn of(calls: &[CounterCall]) -> impl Iterator<Item = Self> {
        let number = |call: &CounterCall| match call.op {
            CounterOp::Add(number) => Some(number),
            CounterOp::Read => None,
        };
        let adds = || calls.iter().filter_map(|call| Some((call, number(call)?)));
        let sums = |mut steps: Vec<(Nanos, i64)>| {
            steps.sort_unstable();
            let mut sum = 0_i64;
            steps.iter_mut().for_each(|step| {
                sum = sum.saturating_add(step.1);
                step.1 = sum;
            });
            steps
        };
        let started = |is_wanted: fn(i64) -> bool| {
            sums(adds().filter(|(_, n)| is_wanted(*n)).map(|(call, n)| (call.start, n)).collect())
        };
        let ended = |is_wanted: fn(i64) -> bool| {
            let certain = adds().filter(|(call, n)| is_wanted(*n) && call.is_certain());
            sums(certain.map(|(call, n)| (call.end_or_never(), n)).collect())
        };
        let (gains_begun, losses_begun) = (started(|n| n > 0), started(|n| n < 0));
        let (gains_ended, losses_ended) = (ended(|n| n > 0), ended(|n| n < 0));
        let mut reads: Vec<Self> = calls
            .iter()
            .filter_map(|call| match call.ret {
                Some(CounterRet::Read(value)) => Some(Self {
                    position: call.position,
                    end: call.end()?,
                    value,
                    least: until(&gains_ended, call.start, false).saturating_add(until(
                        &losses_begun,
                        call.end()?,
                        true,
                    )),
                    most: until(&gains_begun, call.end()?, true).saturating_add(until(
                        &losses_ended,
                        call.start,
                        false,
                    )),
                }),
                _ => None,
            })
            .collect();
        reads.sort_unstable_by_key(|read| (read.end, read.position));
        reads.into_iter()
    }
}

/// The sum of the steps before a moment, or also at it.
fn until(sums: &[(Nanos, i64)], moment: Nanos, also_at: bool) -> i64 {
    let count = sums.partition_point(|(time, _)| *time < moment || also_at && *time == moment);
    count.checked_sub(1).map_or(0, |last| sums[last].1)
}
