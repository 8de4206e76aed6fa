//! Finds a place for every compare-and-set that did not match, in a history whose versions fit together.
//!
//! Let every write take effect as early as the operations on earlier versions allow. A mismatch needs a moment at which
//! another version than the expected one is there: before the write of that version, or after the next write. Where neither
//! moment lies in its time, the write must come later: the next write can only move away, so waiting for it is in vain.
//! Moving writes later until every mismatch has a place gives the earliest possible times of all writes, whatever the order
//! in which they are moved; the history is linearizable exactly when none of them is later than a completed operation allows.

use history::Nanos;

use super::{Found, VersionedCall, Writers, written};
use crate::linearizable::object::Shortcut;
use crate::model::{VersionedOp, VersionedRet};

/// One version: when its write takes effect at the earliest and at the latest.
#[derive(Debug, Clone, Copy)]
struct Version {
    number: u64,
    earliest: Nanos,
    latest: Nanos,
}

/// Decides a history without conflicts between its versions; `None` when that is not certain.
///
/// A write of unknown outcome whose version nobody observed may be left out, unless a version that was expected or read
/// has no known write.
pub(super) fn decide(calls: &[VersionedCall], writers: &Writers) -> Option<Found> {
    let is_orphan = |call: &VersionedCall| match (call.op, call.ret) {
        (VersionedOp::Cas { expected, .. }, Some(VersionedRet::Written(_))) => {
            !writers.contains_key(&expected)
        }
        (VersionedOp::Read, Some(VersionedRet::Read(_, version))) => !writers.contains_key(&version),
        _ => false,
    };
    let is_unread = |call: &VersionedCall| written(call).is_some() && call.ret.is_none();
    if calls.iter().any(is_orphan) {
        return None;
    }
    let mut versions = versions(calls, writers)?;
    let mut mismatches: Vec<(usize, &VersionedCall)> = calls
        .iter()
        .filter_map(|call| match (call.op, call.ret) {
            (VersionedOp::Cas { expected, .. }, Some(VersionedRet::Mismatched)) => {
                Some((versions.binary_search_by_key(&expected, |version| version.number).ok()?, call))
            }
            _ => None,
        })
        .collect();
    loop {
        let (mut moved, mut stuck) = (false, false);
        for (at, call) in &mismatches {
            if !has_place(&versions, *at, call) {
                moved = true;
                // Nothing is there before the initial version.
                stuck |= *at == 0;
                delay(&mut versions[*at..], call.start);
            }
        }
        if stuck || versions.iter().any(|version| version.earliest > version.latest) {
            // A write that nobody observed may have come between.
            return if calls.iter().any(is_unread) { None } else { Some(Shortcut::Illegal(calls.to_vec())) };
        }
        if !moved {
            return Some(Shortcut::Legal);
        }
        // Who is before the write stays so.
        mismatches.retain(|(at, call)| call.end_or_never() >= versions[*at].earliest);
    }
}

/// The versions that were written, each with the time that the operations on it and on all others leave to its write.
fn versions(calls: &[VersionedCall], writers: &Writers) -> Option<Vec<Version>> {
    let mut numbers: Vec<u64> = writers.keys().copied().collect();
    numbers.sort_unstable();
    let unbounded = |number| Version { number, earliest: Nanos(0), latest: Nanos(u64::MAX) };
    let mut versions: Vec<Version> = numbers.into_iter().map(unbounded).collect();
    for call in calls {
        let (number, is_read) = match call.ret {
            Some(VersionedRet::Written(number)) => (number, false),
            Some(VersionedRet::Read(_, number)) => (number, true),
            _ => continue,
        };
        let at = versions.binary_search_by_key(&number, |version| version.number).ok()?;
        versions[at].latest = versions[at].latest.min(call.end_or_never());
        // A read comes before the next write.
        if let Some(after) = versions.get_mut(at + usize::from(is_read)) {
            after.earliest = after.earliest.max(call.start);
        }
    }
    for at in 1..versions.len() {
        versions[at].earliest = versions[at].earliest.max(versions[at - 1].earliest);
    }
    for at in (1..versions.len()).rev() {
        versions[at - 1].latest = versions[at - 1].latest.min(versions[at].latest);
    }
    Some(versions)
}

/// Whether another version is there at some moment of the mismatch.
fn has_place(versions: &[Version], at: usize, call: &VersionedCall) -> bool {
    let is_before = at > 0 && call.start <= versions[at].earliest;
    let is_after = versions.get(at + 1).is_some_and(|next| next.earliest <= call.end_or_never());
    is_before || is_after
}

/// Moves a write, and with it all later ones, to a moment at the earliest.
fn delay(versions: &mut [Version], moment: Nanos) {
    // The earliest times ascend.
    for version in versions.iter_mut().take_while(|version| version.earliest < moment) {
        version.earliest = moment;
    }
}
