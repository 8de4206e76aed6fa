//! `metrics.json`: figures for machines, in a stable order, with units in the names.
//!
//! Latency counts from the *intended* start of an operation, so that a system that stops for a second does not hide
//! it by making its clients wait (no coordinated omission). Quantiles are exact, by sorting and nearest rank.
//! Operations of the final phase are counted but do not enter latency or availability.

use std::collections::BTreeMap;

use checker::{Counts, RunOutcome};
use history::{Nanos, Outcome, RunEvent};
use serde::Serialize;

use crate::load::{Run, is_read, latency, outcome_word, rank};

/// Everything in `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Metrics {
    schema: u32,
    run_id: String,
    outcome: RunOutcome,
    /// From the beginning to the last event.
    run_s: f64,
    load_start_s: f64,
    load_end_s: f64,
    operations: Counts,
    final_operations: u64,
    /// Completed per second of load, final phase left out.
    ok_per_s: f64,
    fail_per_s: f64,
    info_per_s: f64,
    /// Per function and outcome.
    pub(crate) latency: Vec<LatencyRow>,
    pub(crate) availability: Availability,
    pub(crate) faults: Vec<FaultRow>,
    leader_changes: u64,
    stalls: u64,
    stalled_ms: f64,
}

/// Latency of one function with one outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LatencyRow {
    pub(crate) function: String,
    pub(crate) outcome: &'static str,
    pub(crate) count: u64,
    /// Without those that never completed.
    #[serde(flatten)]
    pub(crate) quantiles: Option<Quantiles>,
}

/// Exact quantiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// How long the system did not acknowledge writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Availability {
    /// The longest interval of the load without an acknowledged write; `null` when nobody tried to write.
    pub(crate) longest_without_ok_write_ms: Option<f64>,
    pub(crate) from_s: Option<f64>,
    pub(crate) to_s: Option<f64>,
    /// The same on the axis.
    #[serde(skip)]
    pub(crate) longest: Option<(Nanos, Nanos)>,
    /// All intervals worth drawing, by time.
    #[serde(skip)]
    pub(crate) gaps: Vec<(Nanos, Nanos)>,
    /// Latency of acknowledged operations that began outside of fault windows.
    pub(crate) outside_faults: Option<Quantiles>,
}

/// What one fault did to clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FaultRow {
    pub(crate) fault: u32,
    pub(crate) kind: String,
    pub(crate) nodes: Vec<String>,
    pub(crate) injected_s: Option<f64>,
    pub(crate) healed_s: Option<f64>,
    /// From verified healing to the first acknowledged write that completed after it.
    pub(crate) recovery_ms: Option<f64>,
    /// The longest interval without an acknowledged write that overlaps the window.
    pub(crate) longest_without_ok_write_ms: Option<f64>,
    /// Latency of acknowledged operations that began inside the window.
    #[serde(flatten)]
    pub(crate) quantiles: Option<Quantiles>,
}

impl Metrics {
    /// Measures a run.
    pub(crate) fn of(run: &Run) -> Self {
        let counts = Counts::of(&run.history);
        let by_phase = load_counts(run);
        let load_s = run.load.1.saturating_sub(run.load.0).as_secs_f64();
        let per_s = |n: u64| if load_s > 0.0 { thousandths(n as f64 / load_s) } else { 0.0 };
        let stalls = run.stalls();
        let stalled: u64 = stalls.iter().fold(0, |sum, (from, to)| sum.saturating_add(to.0 - from.0));
        let writes = ok_writes(run);
        Self {
            schema: 1,
            run_id: run.info.run_id.clone(),
            outcome: run.verdict.outcome,
            run_s: seconds(run.end),
            load_start_s: seconds(run.load.0),
            load_end_s: seconds(run.load.1),
            operations: counts,
            final_operations: run.history.operations.iter().filter(|o| o.is_final).count() as u64,
            ok_per_s: per_s(by_phase.ok),
            fail_per_s: per_s(by_phase.fail),
            info_per_s: per_s(by_phase.info),
            latency: latency_rows(run),
            availability: availability(run, &writes),
            faults: fault_rows(run, &writes),
            leader_changes: leader_changes(run),
            stalls: stalls.len() as u64,
            stalled_ms: ms(Nanos(stalled)),
        }
    }

    /// The bytes of `metrics.json`.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Acknowledged operations per second of load.
    pub(crate) fn ok_per_s(&self) -> f64 {
        self.ok_per_s
    }
}

impl Quantiles {
    /// Of nanoseconds in any order; `None` when there are none.
    pub(crate) fn of(mut sample: Vec<u64>) -> Option<Self> {
        sample.sort_unstable();
        let max = *sample.last()?;
        let at = |p| ms(Nanos(nearest_rank(&sample, p)));
        Some(Self { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: ms(Nanos(max)) })
    }
}

/// The smallest element that at least the share `p` of a sorted, non-empty sample does not exceed.
pub(crate) fn nearest_rank(sorted: &[u64], p: f64) -> u64 {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Changes from one known leader to another; losing and finding the same one again is none.
pub(crate) fn leader_changes(run: &Run) -> u64 {
    let mut last = None;
    let mut changes = 0;
    for event in &run.events {
        if let RunEvent::Leader { node: Some(node), .. } = event {
            changes += u64::from(last.is_some_and(|last| last != node));
            last = Some(node);
        }
    }
    changes
}

fn thousandths(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(nanos: Nanos) -> f64 {
    thousandths(nanos.as_millis_f64())
}

/// Seconds, to the millisecond.
fn seconds(nanos: Nanos) -> f64 {
    thousandths(nanos.as_secs_f64())
}

fn load_counts(run: &Run) -> Counts {
    let mut counts = [0; 3];
    for operation in run.history.operations.iter().filter(|o| !o.is_final) {
        counts[rank(operation.outcome)] += 1;
    }
    Counts { ok: counts[0], fail: counts[1], info: counts[2] }
}

fn latency_rows(run: &Run) -> Vec<LatencyRow> {
    let mut groups: BTreeMap<(String, usize), (u64, Vec<u64>, Outcome)> = BTreeMap::new();
    for operation in run.history.operations.iter().filter(|o| !o.is_final) {
        let group = groups
            .entry((operation.f.clone(), rank(operation.outcome)))
            .or_insert_with(|| (0, Vec::new(), operation.outcome));
        group.0 += 1;
        group.1.extend(latency(&operation).map(|latency| latency.0));
    }
    let row = |((function, _), (count, sample, outcome)): ((String, usize), (u64, Vec<u64>, Outcome))| {
        LatencyRow { function, outcome: outcome_word(outcome), count, quantiles: Quantiles::of(sample) }
    };
    groups.into_iter().map(row).collect()
}

/// When writes were acknowledged, sorted; `None` when nobody tried to write.
fn ok_writes(run: &Run) -> Option<Vec<Nanos>> {
    let writes = || run.history.operations.iter().filter(|operation| !is_read(operation));
    writes().next()?;
    let mut times: Vec<Nanos> =
        writes().filter(|o| o.outcome == Outcome::Ok).filter_map(|operation| operation.ret).collect();
    times.sort_unstable();
    Some(times)
}

/// The intervals between acknowledged writes, from the beginning of the load to its end.
fn intervals(times: &[Nanos], load: (Nanos, Nanos)) -> Vec<(Nanos, Nanos)> {
    let inside = times.iter().copied().filter(|time| (load.0..=load.1).contains(time));
    let stamps: Vec<Nanos> = std::iter::once(load.0).chain(inside).chain([load.1]).collect();
    stamps.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

fn longest(intervals: &[(Nanos, Nanos)]) -> Option<(Nanos, Nanos)> {
    // The first of equally long ones.
    intervals.iter().copied().max_by_key(|(from, to)| (to.0 - from.0, std::cmp::Reverse(from.0)))
}

/// The shortest interval without an acknowledged write that is worth drawing.
const MIN_GAP: Nanos = Nanos::from_millis(100);

fn availability(run: &Run, writes: &Option<Vec<Nanos>>) -> Availability {
    let all = writes.as_ref().map(|times| intervals(times, run.load)).unwrap_or_default();
    let found = longest(&all).filter(|(from, to)| to > from);
    let mut lengths: Vec<u64> = all.iter().map(|(from, to)| to.0 - from.0).collect();
    lengths.sort_unstable();
    let median = if lengths.is_empty() { 0 } else { nearest_rank(&lengths, 0.5) };
    let floor = MIN_GAP.0.max(median.saturating_mul(10));
    Availability {
        longest_without_ok_write_ms: found.map(|(from, to)| ms(to - from)),
        from_s: found.map(|(from, _)| seconds(from)),
        to_s: found.map(|(_, to)| seconds(to)),
        longest: found,
        gaps: all.into_iter().filter(|(from, to)| to.0 - from.0 >= floor).collect(),
        outside_faults: outside(run),
    }
}

fn outside(run: &Run) -> Option<Quantiles> {
    let windows = run.fault_windows();
    let free = |time: Nanos| !windows.iter().any(|window| contains(*window, time));
    Quantiles::of(ok_latencies(run, free))
}

/// Whether a half-open window contains a moment.
pub(crate) fn contains(window: (Nanos, Nanos), time: Nanos) -> bool {
    window.0 <= time && time < window.1
}

fn ok_latencies(run: &Run, began: impl Fn(Nanos) -> bool) -> Vec<u64> {
    let wanted =
        run.history.operations.iter().filter(|o| !o.is_final && o.outcome == Outcome::Ok && began(o.call));
    wanted.filter_map(|operation| latency(&operation)).map(|latency| latency.0).collect()
}

fn fault_rows(run: &Run, writes: &Option<Vec<Nanos>>) -> Vec<FaultRow> {
    let all = writes.as_ref().map(|times| intervals(times, run.load)).unwrap_or_default();
    let row = |fault: &crate::faults::Fault| {
        let window = fault.window(run.end);
        let overlapping: Vec<(Nanos, Nanos)> = window
            .map(|(from, to)| all.iter().copied().filter(|gap| gap.0 < to && gap.1 > from).collect())
            .unwrap_or_default();
        FaultRow {
            fault: fault.id,
            kind: fault.kind.clone(),
            nodes: fault.nodes.iter().map(|node| node.0.clone()).collect(),
            injected_s: fault.injected().map(seconds),
            healed_s: fault.healed().map(seconds),
            recovery_ms: fault.healed().and_then(|healed| recovery(run, writes, healed)).map(ms),
            longest_without_ok_write_ms: longest(&overlapping).map(|(from, to)| ms(to - from)),
            quantiles: window.and_then(|window| Quantiles::of(ok_latencies(run, |t| contains(window, t)))),
        }
    };
    run.faults.iter().map(row).collect()
}

/// From healing to the first acknowledged write after it; for a fault that was healed at the end of the load, what
/// the recovery check measured.
fn recovery(run: &Run, writes: &Option<Vec<Nanos>>, healed: Nanos) -> Option<Nanos> {
    let write =
        writes.as_ref().and_then(|times| times.iter().find(|time| **time >= healed)).map(|t| *t - healed);
    write.or_else(|| {
        run.events.iter().find_map(|event| match event {
            RunEvent::Recovered { time, .. } if *time >= healed => Some(*time - healed),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_by_nearest_rank() {
        let sample: Vec<u64> = (1..=100).rev().map(|n| n * 1_000_000).collect();
        let quantiles = Quantiles::of(sample).unwrap();
        assert_eq!((quantiles.p50_ms, quantiles.p95_ms), (50.0, 95.0));
        assert_eq!((quantiles.p99_ms, quantiles.max_ms), (99.0, 100.0));
        assert_eq!(Quantiles::of(Vec::new()), None);
    }

    #[test]
    fn unavailability_reaches_from_the_load_s_beginning_to_its_end() {
        let load = (Nanos(10), Nanos(100));
        assert_eq!(intervals(&[], load), vec![load]);
        let all = intervals(&[Nanos(5), Nanos(20), Nanos(90), Nanos(120)], load);
        assert_eq!(longest(&all), Some((Nanos(20), Nanos(90))));
    }
}
