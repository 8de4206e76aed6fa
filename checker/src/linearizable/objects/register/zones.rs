//! Registers whose written values are all different, decided without a search in O(n log n).
//!
//! The write of a value and the reads of it form a *cluster*: in every order that explains the results they stand
//! together. Cluster A cannot come before cluster B when an operation of B ended before one of A began. So the history
//! is linearizable exactly when every read follows the call of its write, and no two clusters exclude both of their
//! orders. With the *zone* of a cluster (from the earliest end to the latest call in it; *forward* when that is in this
//! order) it is enough to look at neighbours: two forward zones must not overlap, and a backward zone must not lie
//! inside a forward one. Source: Gibbons and Korach, *Testing Shared Memories*, SIAM J. Comput. 26 (1997), section 4.

use history::{Nanos, ValueId};
use rustc_hash::FxHashMap;

use super::{RegisterCall, is_cas, observes, written};
use crate::linearizable::object::Shortcut;
use crate::model::{RegisterOp, RegisterRet};

/// What zones found.
pub(in super::super) type Found = Shortcut<RegisterOp, RegisterRet>;

/// Decides the calls; `None` when there is a compare-and-set, a value that is written twice, or an effect that may come
/// at any time.
pub(super) fn decide(calls: &[RegisterCall]) -> Option<Found> {
    if calls.iter().any(|call| is_cas(call) || !call.is_certain()) {
        return None;
    }
    let clusters = clusters(calls)?;
    Some(conflict(&clusters).map_or(Shortcut::Legal, |proof| Shortcut::illegal(calls, &proof)))
}

/// An observation that nothing can explain, because no operation that began before its end leaves that value. This
/// holds for every register.
pub(super) fn from_nowhere(calls: &[RegisterCall]) -> Option<Found> {
    let mut first_write: FxHashMap<ValueId, Nanos> = FxHashMap::default();
    for call in calls {
        if let Some(value) = written(call).filter(|value| observes(call) != Some(*value)) {
            first_write
                .entry(value)
                .and_modify(|first| *first = call.start.min(*first))
                .or_insert(call.start);
        }
    }
    let is_impossible =
        |call: &&RegisterCall| match (observes(call), call.end().filter(|_| call.is_certain())) {
            (Some(value), Some(end)) if value != ValueId::ABSENT => {
                first_write.get(&value).is_none_or(|first| end < *first)
            }
            _ => false,
        };
    calls.iter().find(is_impossible).map(|call| Shortcut::Illegal(vec![call.clone()]))
}

/// The operations on one value. `None` as a time is the beginning, before everything: the absent value is there
/// without a write.
struct Cluster {
    write: Option<u32>,
    earliest_end: (Option<Nanos>, Option<u32>),
    latest_start: (Nanos, u32),
}

fn clusters(calls: &[RegisterCall]) -> Option<Vec<Cluster>> {
    let mut clusters: FxHashMap<ValueId, Cluster> = FxHashMap::default();
    for call in calls {
        if let Some(value) = written(call) {
            let cluster = Cluster {
                write: Some(call.position),
                earliest_end: (call.end(), Some(call.position)),
                latest_start: (call.start, call.position),
            };
            if clusters.insert(value, cluster).is_some() {
                return None;
            }
        }
    }
    for call in calls {
        let Some(value) = observes(call) else { continue };
        let absent =
            || Cluster { write: None, earliest_end: (None, None), latest_start: (call.start, call.position) };
        let cluster = match clusters.get_mut(&value) {
            Some(cluster) => cluster,
            None if value == ValueId::ABSENT => clusters.entry(value).or_insert_with(absent),
            // Reads from nowhere are looked for before.
            None => return None,
        };
        // On a tie the read: the end of a write of unknown outcome is derived from it.
        if call.end() <= cluster.earliest_end.0 {
            cluster.earliest_end = (call.end(), Some(call.position));
        }
        cluster.latest_start = cluster.latest_start.max((call.start, call.position));
    }
    Some(clusters.into_values().collect())
}

/// The operations of two clusters that exclude both of their orders.
fn conflict(clusters: &[Cluster]) -> Option<Vec<u32>> {
    let (mut forward, backward): (Vec<&Cluster>, Vec<&Cluster>) =
        clusters.iter().partition(|cluster| cluster.earliest_end.0 < Some(cluster.latest_start.0));
    forward.sort_unstable_by_key(|cluster| (cluster.earliest_end, cluster.latest_start));
    let overlap = forward.windows(2).find(|pair| pair[1].earliest_end.0 < Some(pair[0].latest_start.0));
    if let Some(pair) = overlap {
        return Some(proof(pair[0], pair[1]));
    }
    let mut inside: Vec<(&Cluster, &Cluster)> =
        backward.into_iter().filter_map(|cluster| Some((cluster, surrounding(&forward, cluster)?))).collect();
    inside.sort_unstable_by_key(|(cluster, _)| cluster.latest_start);
    inside.first().map(|(inner, outer)| proof(outer, inner))
}

/// The forward zone, of some that do not overlap, in which a backward zone lies.
fn surrounding<'a>(forward: &[&'a Cluster], inner: &Cluster) -> Option<&'a Cluster> {
    let after = forward.partition_point(|cluster| cluster.earliest_end.0 < Some(inner.latest_start.0));
    let outer = forward[..after].last()?;
    (inner.earliest_end.0 < Some(outer.latest_start.0)).then_some(*outer)
}

fn proof(one: &Cluster, other: &Cluster) -> Vec<u32> {
    let of = |cluster: &Cluster| [cluster.write, cluster.earliest_end.1, Some(cluster.latest_start.1)];
    let mut positions: Vec<u32> = [of(one), of(other)].concat().into_iter().flatten().collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}
