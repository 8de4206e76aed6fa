//! The violations of growing lists that have a name: an element from nowhere, there too often, lost, or in another order than
//! somebody else read or than it was appended in.

use history::ValueId;
use rustc_hash::FxHashSet;

use super::super::telling::{Verb, times};
use super::{AppendListObject, AppendListOp, AppendListRet, Case, ListCall};

/// What happened, when it is one of these cases.
pub(super) fn headline(case: &Case<'_, AppendListObject<'_>>) -> Option<String> {
    let teller = Teller { case };
    case.accused().find_map(|call| {
        let list = list(call)?;
        teller
            .never_appended(call, list)
            .or_else(|| teller.too_often(call, list))
            .or_else(|| teller.missing(call, list))
            .or_else(|| teller.gone(call, list))
            .or_else(|| teller.disagreement(call, list))
            .or_else(|| teller.overtaken(call, list))
    })
}

fn list(call: &ListCall) -> Option<&[ValueId]> {
    match &call.ret {
        Some(AppendListRet::Read(list)) => Some(list),
        _ => None,
    }
}

fn appended(call: &ListCall) -> Option<ValueId> {
    match call.op {
        AppendListOp::Append(element) => Some(element),
        AppendListOp::Read => None,
    }
}

fn place(list: &[ValueId], element: ValueId) -> Option<usize> {
    list.iter().position(|other| *other == element)
}

struct Teller<'c, 'a> {
    case: &'c Case<'c, AppendListObject<'a>>,
}

impl Teller<'_, '_> {
    fn never_appended(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        let (operations, end) = (self.case.operations, call.end()?);
        let started = self.case.recorded("append").filter(|at| operations.call(*at) <= end);
        let known: FxHashSet<ValueId> = started.map(|at| operations.input(at)).collect();
        let element = *list.iter().find(|element| !known.contains(element))?;
        let append = operations.names().find("append");
        let makes = |at: usize| Some(operations.function(at)) == append && operations.input(at) == element;
        let shown = self.case.show(element);
        let reason = self.case.never(end, &shown, Verb::regular("appended"), makes)?;
        Some(format!(
            "{} read a list with {shown} in it{}, {reason}",
            self.case.who(call),
            self.case.at(call)
        ))
    }

    fn too_often(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        let mut met = FxHashSet::default();
        let element = *list.iter().find(|element| !met.insert(**element))?;
        let operations = self.case.operations;
        let makers: Vec<usize> =
            self.case.recorded("append").filter(|at| operations.input(*at) == element).collect();
        let there = list.iter().filter(|other| **other == element).count();
        let (who, at, shown) = (self.case.who(call), self.case.at(call), self.case.show(element));
        let reason = match makers[..] {
            [only] => format!("only once, by {}", crate::narration::who(&operations.get(only))),
            _ => format!("only {}", times(makers.len())),
        };
        (there > makers.len()).then(|| {
            format!("{who} read a list with {shown} in it {}{at}, but it was appended {reason}", times(there))
        })
    }

    /// An acknowledged append stays.
    fn missing(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        let is_missing = |other: &&ListCall| appended(other).is_some_and(|element| !list.contains(&element));
        let append = self.case.earlier(call).filter(is_missing).max_by_key(|other| other.end())?;
        let element = appended(append)?;
        let read = format!(
            "{} read the list without {}{}",
            self.case.who(call),
            self.case.show(element),
            self.case.at(call)
        );
        let at = self.case.at(append);
        Some(if self.is_ever_read(element) {
            let who = self.case.who_else(append, call);
            format!("{read}, but {who} had appended it, acknowledged{at}")
        } else {
            let (who, shown) = (self.case.who(append), self.case.show(element));
            format!(
                "the append of {shown} by {who}, acknowledged{at}, is lost: {read}, and nobody ever read it"
            )
        })
    }

    /// What was read stays.
    fn gone(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        let known: FxHashSet<ValueId> = list.iter().copied().collect();
        let lost =
            |other: &ListCall| self::list(other)?.iter().copied().find(|element| !known.contains(element));
        let (witness, element) = self.case.earlier(call).find_map(|other| Some((other, lost(other)?)))?;
        Some(format!(
            "{} read the list without {}{}, but {} had already read it{}",
            self.case.who(call),
            self.case.show(element),
            self.case.at(call),
            self.case.who_else(witness, call),
            self.case.at(witness)
        ))
    }

    /// Of two lists one is the beginning of the other.
    fn disagreement(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        self.case.others(call).filter(|other| other.is_certain()).find_map(|other| {
            let theirs = self::list(other)?;
            let (one, two) = list.iter().zip(theirs).find(|(one, two)| one != two)?;
            let in_order = |list: &[ValueId], one, two| place(list, one) < place(list, two);
            let both = [*one, *two].iter().all(|element| list.contains(element) && theirs.contains(element));
            let is_swap = both && in_order(list, *one, *two) && in_order(theirs, *two, *one);
            let (who, at) = (self.case.who(call), self.case.at(call));
            let (whose, when) = (self.case.who_else(other, call), self.case.at(other));
            let (one, two) = (self.case.show(*one), self.case.show(*two));
            Some(if is_swap {
                format!("{who} read {one} before {two}{at}, but {whose} read {two} before {one}{when}")
            } else {
                format!(
                    "{who} read a list{at} that has {one} where the list that {whose} read{when} has {two}"
                )
            })
        })
    }

    /// An element was acknowledged before another was asked for, and comes after it, or not at all.
    fn overtaken(&self, call: &ListCall, list: &[ValueId]) -> Option<String> {
        let pairs = self.case.core.iter().filter_map(|late| Some((late, place(list, appended(late)?)?)));
        pairs.into_iter().find_map(|(late, late_place)| {
            let is_only = |element| {
                self.case.core.iter().filter(|other| appended(other) == Some(element)).count() == 1
            };
            let overtakes = |early: &&ListCall| {
                let early_place = appended(early).map(|element| place(list, element));
                early_place.is_some_and(|early_place| early_place.is_none_or(|place| place > late_place))
            };
            let early = self.case.earlier(late).find(overtakes)?;
            let (first, second) = (appended(early)?, appended(late)?);
            let how = if list.contains(&first) { "before" } else { "but not" };
            is_only(second).then(|| {
                format!(
                    "{} read {} {how} {}{}, but {} had appended {}, acknowledged{}, before {} invoked the append of {} at {}",
                    self.case.who(call),
                    self.case.show(second),
                    self.case.show(first),
                    self.case.at(call),
                    self.case.who_else(early, call),
                    self.case.show(first),
                    self.case.at(early),
                    self.case.who_else(late, early),
                    self.case.show(second),
                    late.start
                )
            })
        })
    }

    fn is_ever_read(&self, element: ValueId) -> bool {
        let (operations, values) = (self.case.operations, self.case.operations.values());
        let has = |at: usize| values.list(operations.output(at)).is_some_and(|list| list.contains(&element));
        self.case.completed("read").any(has)
    }
}
