//! Lies about registers of few values, where a stale value may well have been written again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::register::{Call, Deed};
use super::settled::Settled;
use super::window::{Forgery, Phase, Record, Window};

/// How many values are looked at: enough to find one that nobody writes for a while.
const VALUES_TRIED: u64 = 8;

/// What a completed operation proves of the register at the moment of its effect.
enum Proof {
    /// It had this value, or none.
    Is(Option<u64>),
    /// It did not have this value.
    IsNot(u64),
}

fn proof(deed: Deed, observed: &Value) -> Proof {
    match deed {
        Deed::Read => Proof::Is(observed.as_u64()),
        Deed::Write(value) => Proof::Is(Some(value)),
        Deed::Cas { new, .. } if *observed == Value::Bool(true) => Proof::Is(Some(new)),
        Deed::Cas { expected, .. } => Proof::IsNot(expected),
    }
}

/// A read that finds a value which the register certainly did not have.
///
/// Why it is provable: that the register does not have a value is caused by an operation that shows or writes
/// another one, and undone by an operation that may write this one; see [`Settled`]. Those of the latter that were
/// invoked before the window have returned, are open and adopted by the window, or are of unknown outcome; in the
/// last case the value is `doubtful` and is not used.
pub(super) fn stale_read(
    window: &Window<Call>,
    from: u64,
    values: u64,
    doubtful: &[BTreeSet<u64>],
) -> Option<Forgery> {
    let values = values.min(VALUES_TRIED);
    let mut keys: BTreeMap<usize, Vec<Settled>> = BTreeMap::new();
    let nothing_known = || (0..values).map(|_| Settled::default()).collect::<Vec<_>>();
    for record in window.adopted().iter().filter(|record| may_change(record)) {
        let absent = keys.entry(record.call.key).or_insert_with(nothing_known);
        absent_of(absent, record.call.deed.new_value()).into_iter().for_each(Settled::doubt);
    }
    for moment in window.moments() {
        let (record, phase) = (moment.record, moment.phase);
        let absent = keys.entry(record.call.key).or_insert_with(nothing_known);
        learn(absent, record, phase);
        let is_read = matches!(record.call.deed, Deed::Read) && record.observed().is_some();
        if is_read && phase == Phase::Complete && record.ordinal >= from {
            let doubtful = &doubtful[record.call.key];
            let lie = (0..)
                .zip(absent)
                .find(|(value, absent)| absent.throughout(record) && !doubtful.contains(value));
            if let Some((value, _)) = lie {
                let what = "a read returns what had certainly been overwritten";
                return Some(Forgery::one(moment.at, Value::from(value), what));
            }
        }
    }
    None
}

/// The absence of a value, when it is looked at.
fn absent_of(absent: &mut [Settled], value: Option<u64>) -> Option<&mut Settled> {
    absent.get_mut(usize::try_from(value?).ok()?)
}

/// Whether the operation may have changed the register: a compare-and-set that did not match has not.
fn may_change(record: &Record<Call>) -> bool {
    let mismatched = record.observed() == Some(&Value::Bool(false));
    record.call.deed.new_value().is_some() && !mismatched
}

fn learn(absent: &mut [Settled], record: &Record<Call>, phase: Phase) {
    if may_change(record)
        && let Some(undone) = absent_of(absent, record.call.deed.new_value())
    {
        undone.undo(record, phase);
    }
    let Some(observed) = record.observed() else { return };
    let proof = proof(record.call.deed, observed);
    for (value, absent) in (0..).zip(absent) {
        let is_absent = match proof {
            Proof::Is(found) => found != Some(value),
            Proof::IsNot(found) => found == value,
        };
        if is_absent {
            absent.cause(record, phase);
        }
    }
}

/// A read that finds nothing although the register had certainly been written.
///
/// Why it is provable: no operation, of whatever outcome, makes a register empty again. A write that returned, a
/// compare-and-set that matched, and a read that found a value each prove that it was not empty from then on.
pub(super) fn emptied(window: &Window<Call>, from: u64) -> Option<Forgery> {
    let mut written = BTreeSet::new();
    for moment in window.moments() {
        let Some(observed) = moment.record.observed() else { continue };
        let Call { key, deed } = moment.record.call;
        match (moment.phase, deed) {
            (Phase::Complete, _) => {
                if let Proof::Is(Some(_)) = proof(deed, observed) {
                    written.insert(key);
                }
            }
            (Phase::Invoke, Deed::Read) if moment.record.ordinal >= from && written.contains(&key) => {
                return Some(Forgery::one(moment.at, Value::Null, "a read finds a written register empty"));
            }
            (Phase::Invoke, _) => {}
        }
    }
    None
}
