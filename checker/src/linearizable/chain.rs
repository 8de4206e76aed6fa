//! Histories whose effects have only one possible order: versions, elements of a list, reads of a growing set.
//!
//! When results say which operations belong to the first *group*, which to the second and so on, and any order within a
//! group explains them, then the history is linearizable exactly when no operation ended before one of an earlier group
//! began: otherwise the points can be chosen group by group, each as early as its predecessors allow. O(n log n). The
//! observation is that of Gibbons and Korach, *Testing Shared Memories*, theorem 4.13, for writes whose order is known.

use history::Nanos;

use super::calls::Call;

/// An operation and the number of its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    group: u64,
    start: Nanos,
    end: Nanos,
    position: u32,
}

/// The group of operations that come after everything that was observed.
pub(super) const LAST_GROUP: u64 = u64::MAX;

impl Link {
    pub(super) fn of<P, R>(group: u64, call: &Call<P, R>) -> Self {
        Self { group, start: call.start, end: call.end_or_never(), position: call.position }
    }
}

/// Two operations that exclude the order of their groups: the first belongs to the earlier one, but began only after the
/// second had ended.
pub(super) fn conflict(mut links: Vec<Link>) -> Option<[u32; 2]> {
    links.sort_unstable_by_key(|link| (link.group, link.position));
    let mut latest: Option<Link> = None;
    for group in links.chunk_by(|a, b| a.group == b.group) {
        if let Some(before) = latest {
            let first = group.iter().min_by_key(|link| (link.end, link.position))?;
            if first.end < before.start {
                return Some([before.position, first.position]);
            }
        }
        let last = group.iter().max_by_key(|link| (link.start, link.position))?;
        latest = Some(latest.filter(|before| before.start >= last.start).unwrap_or(*last));
    }
    None
}
