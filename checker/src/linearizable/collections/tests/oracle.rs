//! An oracle that shares nothing with the decisions: it tries every order with the plain object.

use rustc_hash::FxHashSet;

use super::{Act, Kind, Op, UNKNOWN};

/// Whether some order explains every result.
pub(super) fn is_legal(kind: Kind, ops: &[Op]) -> bool {
    assert!(ops.len() <= 24, "the oracle is for small histories");
    Oracle { kind, ops, failed: FxHashSet::default() }.some_order(0, &[])
}

struct Oracle<'a> {
    kind: Kind,
    ops: &'a [Op],
    /// From where there is no order.
    failed: FxHashSet<(u32, Vec<u32>)>,
}

impl Oracle<'_> {
    fn some_order(&mut self, done: u32, inside: &[u32]) -> bool {
        let ops = self.ops;
        let left = || (0..ops.len()).filter(|at| done >> at & 1 == 0);
        let first_end = left().map(|at| ops[at].end).min().unwrap_or(UNKNOWN);
        if first_end == UNKNOWN {
            return true;
        }
        if self.failed.contains(&(done, inside.to_vec())) {
            return false;
        }
        for at in left().filter(|at| ops[*at].start <= first_end) {
            for next in self.after(ops[at].act, inside) {
                if self.some_order(done | 1 << at, &next) {
                    return true;
                }
            }
        }
        self.failed.insert((done, inside.to_vec()));
        false
    }

    /// What may be inside after an operation, the first to come in first; nothing when its result is impossible.
    fn after(&self, act: Act, inside: &[u32]) -> Vec<Vec<u32>> {
        let without = |at: usize| [&inside[..at], &inside[at + 1..]].concat();
        let removable = match self.kind {
            Kind::Fifo => 0..inside.len().min(1),
            Kind::Bag => 0..inside.len(),
            Kind::Stack => inside.len().saturating_sub(1)..inside.len(),
        };
        match act {
            Act::Insert(value) => vec![self.with(inside, value)],
            Act::Remove(value) => removable.filter(|at| inside[*at] == value).map(without).collect(),
            Act::Nothing if inside.is_empty() => vec![Vec::new()],
            Act::Nothing => Vec::new(),
            Act::Taker => removable.map(without).collect(),
        }
    }

    fn with(&self, inside: &[u32], value: u32) -> Vec<u32> {
        let mut inside = [inside, &[value]].concat();
        if self.kind == Kind::Bag {
            inside.sort_unstable();
        }
        inside
    }
}
