//! What is known about every element, collected in three passes over the operations: adds, what reads returned, and
//! what they should have returned but did not.
//!
//! The lists of the reads are looked up again in the last pass instead of being kept as numbers: a run with thousands
//! of reads of thousands of elements would not fit otherwise.

use history::{Nanos, Operation, Outcome};
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::meter::{Limit, Meter};

/// The position of an operation in the list of the set's operations.
pub(super) type Position = usize;

/// Everything that is known about one element.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Element {
    /// The first add that may have happened: when it was invoked, and which.
    pub added: Option<(Nanos, Position)>,
    /// An add that definitely failed.
    pub failed: Option<Position>,
    /// When it was known to be there, and by which operation.
    pub known: Option<(Nanos, Position)>,
    /// The read that returned it and ended last.
    pub last_seen: Option<(Nanos, Position)>,
    /// The first read (by its end) that returned it although it cannot have been there.
    pub unexpected: Option<(Nanos, Position)>,
    /// The first read that should have returned it.
    pub missing: Option<(Nanos, Position)>,
    /// The first read that should have returned it and overlaps or precedes no read that did.
    pub gone: Option<(Nanos, Position)>,
    /// The first read that returned it more than once, and how often.
    pub duplicated: Option<(Position, usize)>,
    /// The last read that was looked at and returned it, plus one.
    seen_by: usize,
}

/// All elements of one set.
#[derive(Debug, Default)]
pub(super) struct Ledger<'a> {
    ids: FxHashMap<&'a Value, usize>,
    /// The elements as recorded, in the order in which they were met.
    pub names: Vec<&'a Value>,
    pub elements: Vec<Element>,
}

impl<'a> Ledger<'a> {
    /// First pass: when was every element added, and when was that acknowledged?
    pub(super) fn take_adds(&mut self, operations: &[&'a Operation], meter: &mut Meter) -> Result<(), Limit> {
        for (at, operation) in operations.iter().enumerate().filter(|(_, operation)| operation.f == "add") {
            let id = self.id(&operation.input);
            let element = &mut self.elements[id];
            if operation.outcome == Outcome::Fail {
                element.failed.get_or_insert(at);
                continue;
            }
            keep_earliest(&mut element.added, operation.call, at);
            if let (Outcome::Ok, Some(end)) = (operation.outcome, operation.ret) {
                keep_earliest(&mut element.known, end, at);
            }
        }
        self.check(meter)
    }

    /// Second pass: what was seen, and when first?
    pub(super) fn take_observations(
        &mut self,
        operations: &[&'a Operation],
        meter: &mut Meter,
    ) -> Result<(), Limit> {
        for read in reads(operations) {
            for value in read.values {
                let id = self.id(value);
                let element = &mut self.elements[id];
                if element.seen_by == read.at + 1 {
                    element.count_duplicate(read.at);
                    continue;
                }
                element.seen_by = read.at + 1;
                if element.added.is_none_or(|(call, _)| read.end < call) {
                    keep_earliest(&mut element.unexpected, read.end, read.at);
                }
                keep_earliest(&mut element.known, read.end, read.at);
                if element.last_seen.is_none_or(|(end, _)| end < read.end) {
                    element.last_seen = Some((read.end, read.at));
                }
            }
            self.check(meter)?;
        }
        self.elements.iter_mut().for_each(|element| element.seen_by = 0);
        Ok(())
    }

    /// Third pass: what was missing?
    pub(super) fn take_absences(
        &mut self,
        operations: &[&'a Operation],
        meter: &mut Meter,
    ) -> Result<(), Limit> {
        for read in reads(operations) {
            for value in read.values {
                let id = self.ids[value];
                self.elements[id].seen_by = read.at + 1;
            }
            for element in &mut self.elements {
                let is_due =
                    element.added.is_some() && element.known.is_some_and(|(known, _)| known < read.call);
                if !is_due || element.seen_by == read.at + 1 {
                    continue;
                }
                keep_earliest(&mut element.missing, read.call, read.at);
                if element.last_seen.is_none_or(|(end, _)| end < read.call) {
                    keep_earliest(&mut element.gone, read.call, read.at);
                }
            }
            self.check(meter)?;
        }
        Ok(())
    }

    fn id(&mut self, value: &'a Value) -> usize {
        *self.ids.entry(value).or_insert_with(|| {
            self.names.push(value);
            self.elements.push(Element::default());
            self.elements.len() - 1
        })
    }

    fn check(&self, meter: &mut Meter) -> Result<(), Limit> {
        meter.check_time()?;
        let per_element = size_of::<Element>() + 2 * size_of::<&Value>() + size_of::<usize>();
        meter.check_memory((self.elements.capacity() * per_element) as u64)
    }
}

impl Element {
    /// Counts one more occurrence in the first read that has several.
    fn count_duplicate(&mut self, read: Position) {
        let (first, times) = self.duplicated.get_or_insert((read, 1));
        *times += usize::from(*first == read);
    }
}

/// A completed read.
struct Read<'a> {
    at: Position,
    call: Nanos,
    end: Nanos,
    values: &'a [Value],
}

fn reads<'a>(operations: &[&'a Operation]) -> impl Iterator<Item = Read<'a>> {
    operations.iter().enumerate().filter_map(|(at, operation)| {
        let is_completed_read = operation.f == "read" && operation.outcome == Outcome::Ok;
        let (end, values) = (operation.ret?, operation.output.as_array()?);
        is_completed_read.then_some(Read { at, call: operation.call, end, values })
    })
}

fn keep_earliest(place: &mut Option<(Nanos, Position)>, time: Nanos, at: Position) {
    if place.is_none_or(|(earliest, _)| time < earliest) {
        *place = Some((time, at));
    }
}
