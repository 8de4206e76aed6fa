//! Set anomalies in words: one per kind, with a count, the operations that prove the first one, and the others by name.

use history::{Nanos, Operation, Operations, ValueId};

use super::ledger::{Element, Ledger, Position};
use crate::Anomaly;
use crate::narration::{count, shorten, who};

/// The most elements that are named in one line of details.
const MAX_NAMED: usize = 20;

/// All anomalies of one set, the gravest first.
pub(super) fn anomalies(key: Option<&str>, operations: &Operations, ledger: &Ledger<'_>) -> Vec<Anomaly> {
    let narrator = Narrator { key, operations, ledger };
    [narrator.lost(), narrator.stale(), narrator.duplicated(), narrator.unexpected()]
        .into_iter()
        .flatten()
        .collect()
}

struct Narrator<'a> {
    key: Option<&'a str>,
    operations: &'a Operations,
    ledger: &'a Ledger<'a>,
}

/// The elements with an anomaly of one kind: their names, and what is known about each.
type Affected<'a> = Vec<(ValueId, &'a Element)>;

impl Narrator<'_> {
    fn lost(&self) -> Option<Anomaly> {
        let lost = self.affected(|element| element.gone.is_some());
        let (name, element) = *lost.first()?;
        let (gone_at, gone) = element.gone?;
        let (mut proof, origin) = self.origin(element)?;
        let fate = match element.last_seen {
            None => "no read ever returned it".to_owned(),
            Some((_, seen)) if proof.contains(&seen) => "no later read returned it".to_owned(),
            Some((seen_at, seen)) => {
                push_new(&mut proof, seen);
                format!("it was last seen by {} at {seen_at}", self.who(seen))
            }
        };
        push_new(&mut proof, gone);
        let head = self.head(lost.len(), name, "was lost", "were lost");
        let miss = self.misses(gone, gone_at);
        Some(self.anomaly("lost", format!("{head}: {origin}, but {miss}, and {fate}"), &proof, &lost))
    }

    fn stale(&self) -> Option<Anomaly> {
        let stale = self.affected(|element| element.missing.is_some() && element.gone.is_none());
        let (name, element) = *stale.first()?;
        let (missing_at, missing) = element.missing?;
        let (seen_at, seen) = element.last_seen?;
        let (mut proof, origin) = self.origin(element)?;
        push_new(&mut proof, missing);
        push_new(&mut proof, seen);
        let head = self.head(stale.len(), name, "was missing for a while", "were missing for a while");
        let miss = self.misses(missing, missing_at);
        let back = format!("{} read it at {seen_at}", self.who(seen));
        Some(self.anomaly("stale", format!("{head}: {origin}, but {miss}, although {back}"), &proof, &stale))
    }

    fn duplicated(&self) -> Option<Anomaly> {
        let duplicated = self.affected(|element| element.duplicated.is_some());
        let (name, element) = *duplicated.first()?;
        let (read, times) = element.duplicated?;
        let operation = self.row(read);
        let at = operation.ret.unwrap_or(operation.call);
        let head = self.head(duplicated.len(), name, "was duplicated", "were duplicated");
        let sentence = format!("{head}: what {} read at {at} has it {times} times", who(&operation));
        Some(self.anomaly("duplicated", sentence, &[read], &duplicated))
    }

    fn unexpected(&self) -> Option<Anomaly> {
        let unexpected = self.affected(|element| element.unexpected.is_some());
        let (name, element) = *unexpected.first()?;
        let (seen_at, seen) = element.unexpected?;
        let mut proof = vec![seen];
        let reason = match (element.added, element.failed) {
            (Some((call, add)), _) => {
                proof.push(add);
                format!("was added only later, by {}, who invoked the add at {call}", self.who(add))
            }
            (None, Some(failed)) => {
                proof.insert(0, failed);
                let at = self.operations.call(failed);
                format!("was never added: {} tried to at {at} and definitely failed", self.who(failed))
            }
            (None, None) => "was never added by anybody".to_owned(),
        };
        let head = self.head(unexpected.len(), name, "came from nowhere", "came from nowhere");
        let sentence = format!("{head}: {} read it at {seen_at}, but it {reason}", self.who(seen));
        Some(self.anomaly("unexpected", sentence, &proof, &unexpected))
    }

    /// How an element came to be known, and the operations that prove it.
    fn origin(&self, element: &Element) -> Option<(Vec<Position>, String)> {
        let (known_at, known) = element.known?;
        let (invoked_at, add) = element.added?;
        if self.row(known).f == "add" {
            return Some((
                vec![known],
                format!("the add of {} was acknowledged at {known_at}", self.who(known)),
            ));
        }
        let (adder, reader) = (self.who(add), self.who(known));
        let seen = format!("{adder} invoked its add at {invoked_at}, and {reader} read it at {known_at}");
        Some((vec![add, known], seen))
    }

    fn misses(&self, read: Position, at: Nanos) -> String {
        let kind = if self.operations.is_final(read) { "final read" } else { "read" };
        format!("the {kind} that {} invoked at {at} lacks it", self.who(read))
    }

    fn affected(&self, is_affected: impl Fn(&Element) -> bool) -> Affected<'_> {
        let all = self.ledger.names.iter().copied().zip(&self.ledger.elements);
        all.filter(|(_, element)| is_affected(element)).collect()
    }

    fn anomaly(&self, kind: &str, sentence: String, proof: &[Position], affected: &Affected<'_>) -> Anomaly {
        let place = self.key.map_or_else(String::new, |key| format!("key {key}: "));
        let named: Vec<String> = affected.iter().take(MAX_NAMED).map(|(name, _)| self.show(*name)).collect();
        let more = affected.len().saturating_sub(MAX_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Anomaly {
            id: String::new(),
            kind: kind.to_owned(),
            explanation: format!("{place}{sentence}."),
            operations: proof.iter().map(|at| self.operations.index(*at)).collect(),
            key: self.key.map(str::to_owned),
            details: vec![format!("{kind}: {}{more}", named.join(", "))],
        }
    }

    /// `element 7 was lost`, or `3 elements were lost, the first of them 7`.
    fn head(&self, number: usize, first: ValueId, one: &str, many: &str) -> String {
        let first = self.show(first);
        if number == 1 {
            format!("element {first} {one}")
        } else {
            format!("{} {many}, the first of them {first}", count(number, "element"))
        }
    }

    fn show(&self, element: ValueId) -> String {
        shorten(&self.operations.values().get(element).unwrap_or_default())
    }

    fn row(&self, at: Position) -> Operation {
        self.operations.get(at)
    }

    fn who(&self, at: Position) -> String {
        who(&self.row(at))
    }
}

fn push_new(proof: &mut Vec<Position>, at: Position) {
    if !proof.contains(&at) {
        proof.push(at);
    }
}
