//! The decisions against an oracle that tries every order, and against what must hold for histories of any size.

use super::{Collection, Decision, Interval, Kind, Stopped, UNKNOWN};

mod large;
mod oracle;
mod simulate;
mod small;
mod words;

const KINDS: [Kind; 3] = [Kind::Fifo, Kind::Bag, Kind::Stack];

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Insert(u32),
    Remove(u32),
    /// A remove that found nothing.
    Nothing,
    /// A remove of unknown outcome; its end is unknown too.
    Taker,
}

/// An operation; its position in a history is its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Op {
    act: Act,
    start: u64,
    end: u64,
}

fn collection(ops: &[Op]) -> Collection {
    let mut collection = Collection::with_capacity(ops.len() / 2);
    for (id, op) in (0..).zip(ops) {
        let interval = Interval { start: op.start, end: op.end, id };
        match op.act {
            Act::Insert(value) => collection.insert(value, interval),
            Act::Remove(value) => collection.remove(value, interval),
            Act::Nothing => collection.remove_nothing(interval),
            Act::Taker => collection.remove_unknown(op.start, id),
        }
    }
    collection
}

fn decide(kind: Kind, ops: &[Op]) -> Option<Decision> {
    collection(ops).decide(kind, &mut || true).expect("nobody stops it")
}

/// The named operations, with removes of unknown outcome that they leave out if these are wanted too.
fn named(ops: &[Op], ids: &[u32], with_takers: bool) -> Vec<Op> {
    let is_named = |id: u32, op: &Op| ids.binary_search(&id).is_ok() || (with_takers && op.act == Act::Taker);
    (0..).zip(ops).filter(|(id, op)| is_named(*id, op)).map(|(_, op)| *op).collect()
}

/// Of every value that is named, the insert is named if there is one, and a remove if there is one.
fn is_whole(ops: &[Op], ids: &[u32]) -> bool {
    let all = || (0..).zip(ops).map(|(id, op): (u32, &Op)| (ids.contains(&id), op.act));
    let named = || all().filter(|(is_named, _)| *is_named).map(|(_, act)| act);
    let is_there = |act: Act| all().any(|(_, other)| other == act);
    let is_named = |act: Act| named().any(|other| other == act);
    let is_whole = |act: Act| !is_there(act) || is_named(act);
    named().all(|act| match act {
        Act::Insert(value) | Act::Remove(value) => {
            is_whole(Act::Insert(value)) && is_whole(Act::Remove(value))
        }
        Act::Nothing | Act::Taker => true,
    })
}
