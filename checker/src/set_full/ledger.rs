//! What is known about every element, collected in three passes over the operations: adds, what reads returned, and
//! what they should have returned but did not.
//!
//! Operations and elements are the numbers that the history gave them; nothing is copied.

use history::{Nanos, Operations, Outcome, ValueId};
use rustc_hash::FxHashMap;

use crate::meter::{Limit, Meter};

/// The position of an operation in the history.
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
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    operations: &'a Operations,
    positions: &'a [u32],
    ids: FxHashMap<ValueId, usize>,
    /// The elements as recorded, in the order in which they were met.
    pub names: Vec<ValueId>,
    pub elements: Vec<Element>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(operations: &'a Operations, positions: &'a [u32]) -> Self {
        Self { operations, positions, ids: FxHashMap::default(), names: Vec::new(), elements: Vec::new() }
    }

    /// First pass: when was every element added, and when was that acknowledged?
    pub(super) fn take_adds(&mut self, meter: &mut Meter) -> Result<(), Limit> {
        let operations = self.operations;
        let mut next_check = 0;
        for at in calls_of(operations, self.positions, "add") {
            if self.elements.len() >= next_check {
                self.check(meter)?;
                next_check = self.elements.len() + ELEMENTS_PER_CHECK;
            }
            let id = self.id(operations.input(at));
            let element = &mut self.elements[id];
            if operations.outcome(at) == Outcome::Fail {
                element.failed.get_or_insert(at);
                continue;
            }
            keep_earliest(&mut element.added, operations.call(at), at);
            if let (Outcome::Ok, Some(end)) = (operations.outcome(at), operations.ret(at)) {
                keep_earliest(&mut element.known, end, at);
            }
        }
        self.check(meter)
    }

    /// Second pass: what was seen, and when first?
    pub(super) fn take_observations(&mut self, meter: &mut Meter) -> Result<(), Limit> {
        for read in reads(self.operations, self.positions) {
            for value in read.values {
                let id = self.id(*value);
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
    pub(super) fn take_absences(&mut self, meter: &mut Meter) -> Result<(), Limit> {
        for read in reads(self.operations, self.positions) {
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

    fn id(&mut self, value: ValueId) -> usize {
        *self.ids.entry(value).or_insert_with(|| {
            self.names.push(value);
            self.elements.push(Element::default());
            self.elements.len() - 1
        })
    }

    fn check(&self, meter: &mut Meter) -> Result<(), Limit> {
        meter.check_time()?;
        let per_element = size_of::<Element>() + 2 * size_of::<(ValueId, usize)>();
        let elements = self.elements.capacity().max(self.elements.len() + ELEMENTS_PER_CHECK);
        meter.check_memory((elements * per_element) as u64)
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
    values: &'a [ValueId],
}

fn reads<'a>(operations: &'a Operations, positions: &'a [u32]) -> impl Iterator<Item = Read<'a>> {
    calls_of(operations, positions, "read").filter_map(|at| {
        let (end, values) = (operations.ret(at)?, operations.values().list(operations.output(at))?);
        let read = Read { at, call: operations.call(at), end, values };
        (operations.outcome(at) == Outcome::Ok).then_some(read)
    })
}

/// The positions at which a function was called.
fn calls_of<'a>(
    operations: &'a Operations,
    positions: &'a [u32],
    function: &str,
) -> impl Iterator<Item = Position> + use<'a> {
    let function = operations.names().find(function);
    let all = positions.iter().map(|position| *position as usize);
    all.filter(move |at| Some(operations.function(*at)) == function)
}

/// How many elements are added between two looks at the limits.
const ELEMENTS_PER_CHECK: usize = 1024;

fn keep_earliest(place: &mut Option<(Nanos, Position)>, time: Nanos, at: Position) {
    if place.is_none_or(|(earliest, _)| time < earliest) {
        *place = Some((time, at));
    }
}
