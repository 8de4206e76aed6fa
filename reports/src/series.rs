//! What the plots draw, computed without drawing: thinned scatter points, and figures per time bucket.

use std::collections::{BTreeMap, BTreeSet};

use history::{Nanos, Outcome};

use crate::load::{Run, latency, rank};
use crate::metrics::nearest_rank;

/// How many points a scatter plot has at most.
pub(crate) const MAX_POINTS: usize = 4000;
/// How many buckets a time axis is divided into at most.
const MAX_BUCKETS: u64 = 120;

/// One mark of a scatter plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// When the operation was meant to start.
    pub(crate) time: Nanos,
    /// Its latency.
    pub(crate) latency: Nanos,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

/// The marks, and how many operations they stand for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scatter {
    /// At most [`MAX_POINTS`] marks.
    pub(crate) points: Vec<Point>,
    /// Operations with a completion.
    pub(crate) total: usize,
}

/// Latency over time. When there are too many operations, one stands for those of the same outcome on nearly the same
/// spot, chosen by a hash of its stamps so that no raster shows; the slowest of every moment and outcome always stays.
pub(crate) fn scatter(run: &Run) -> Scatter {
    let point = |operation: history::Operation| {
        Some(Point {
            time: operation.intended.min(operation.call),
            latency: latency(&operation)?,
            outcome: operation.outcome,
        })
    };
    let all: Vec<Point> = run.history.operations.iter().filter_map(point).collect();
    let total = all.len();
    let mut columns = 512;
    let mut points = all.clone();
    while points.len() > MAX_POINTS && columns >= 8 {
        points = thin(&all, run.end, columns);
        columns = columns * 4 / 5;
    }
    points.sort_by_key(|p| (p.time, p.latency, rank(p.outcome)));
    points.truncate(MAX_POINTS);
    Scatter { points, total }
}

/// One point per cell of a grid, `columns` in time and a 32nd of that per decade of latency, and the slowest of each column;
/// one layer per outcome.
fn thin(points: &[Point], end: Nanos, columns: u64) -> Vec<Point> {
    let width = (end.0 / columns).max(1);
    let rows_per_decade = columns as f64 / 32.0;
    let mut cells: BTreeMap<(u64, u64, usize), Point> = BTreeMap::new();
    let mut slowest: BTreeMap<(u64, usize), Point> = BTreeMap::new();
    for point in points {
        let (column, layer) = (point.time.0 / width, rank(point.outcome));
        let row = ((point.latency.0.max(1) as f64).log10() * rows_per_decade) as u64;
        keep(&mut cells, (column, row, layer), point, |kept| lot(point) < lot(kept));
        keep(&mut slowest, (column, layer), point, |kept| point.latency > kept.latency);
    }
    let mut kept: Vec<Point> = cells.into_values().collect();
    let known: BTreeSet<(Nanos, Nanos, usize)> = kept.iter().map(identity).collect();
    kept.extend(slowest.into_values().filter(|point| !known.contains(&identity(point))));
    kept
}

fn keep<K: Ord>(cells: &mut BTreeMap<K, Point>, cell: K, point: &Point, better: impl Fn(&Point) -> bool) {
    let kept = cells.entry(cell).or_insert(*point);
    if better(kept) {
        *kept = *point;
    }
}

fn identity(point: &Point) -> (Nanos, Nanos, usize) {
    (point.time, point.latency, rank(point.outcome))
}

/// A number that has nothing to do with where a point lies in its cell (the finalizer of SplitMix64).
fn lot(point: &Point) -> u64 {
    let mut x = point.time.0 ^ point.latency.0.rotate_left(32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Equal intervals of the time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// The length of each: 1, 2 or 5 times a power of ten nanoseconds.
    pub(crate) width: Nanos,
    /// How many there are.
    pub(crate) count: usize,
}

impl Buckets {
    /// As fine as [`MAX_BUCKETS`] allows, but at least a millisecond each.
    pub(crate) fn over(end: Nanos) -> Self {
        let mut width = 1_000_000u64;
        let mut factor = [2, 5, 10].into_iter().cycle();
        let mut base = width;
        while end.0 / width >= MAX_BUCKETS {
            let step = factor.next().expect("invariant: a cycle never ends");
            width = base.saturating_mul(step);
            if step == 10 {
                base = width;
            }
        }
        let count = usize::try_from(end.0 / width).expect("invariant: at most MAX_BUCKETS") + 1;
        Self { width: Nanos(width), count }
    }

    /// Which one contains a moment; moments after the end fall into the last.
    pub(crate) fn index(&self, time: Nanos) -> usize {
        usize::try_from(time.0 / self.width.0).unwrap_or(usize::MAX).min(self.count - 1)
    }

    /// The beginning of a bucket, in seconds.
    pub(crate) fn start_s(&self, index: usize) -> f64 {
        index as f64 * self.width.as_secs_f64()
    }

    /// The middle of a bucket, in seconds.
    pub(crate) fn middle_s(&self, index: usize) -> f64 {
        (index as f64 + 0.5) * self.width.as_secs_f64()
    }
}

/// Quantiles of the latency of acknowledged operations in one bucket, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BucketQuantiles {
    /// The middle of the bucket.
    pub(crate) time_s: f64,
    /// Half, 95 %, 99 % and all were at most this slow.
    pub(crate) ms: [f64; 4],
}

/// Quantiles per bucket; `None` where nothing was acknowledged. An operation belongs to the bucket of its intended
/// start.
pub(crate) fn quantiles(run: &Run, buckets: Buckets) -> Vec<Option<BucketQuantiles>> {
    let mut samples: Vec<Vec<u64>> = vec![Vec::new(); buckets.count];
    for operation in run.history.operations.iter().filter(|o| o.outcome == Outcome::Ok) {
        if let Some(latency) = latency(&operation) {
            samples[buckets.index(operation.intended.min(operation.call))].push(latency.0);
        }
    }
    let of = |(index, sample): (usize, &mut Vec<u64>)| {
        if sample.is_empty() {
            return None;
        }
        sample.sort_unstable();
        let ms = [0.5, 0.95, 0.99, 1.0].map(|p| nearest_rank(sample, p) as f64 / 1e6);
        Some(BucketQuantiles { time_s: buckets.middle_s(index), ms })
    };
    samples.iter_mut().enumerate().map(of).collect()
}

/// Operations per second by outcome (ok, fail, info) in each bucket. An operation belongs to the bucket of its
/// completion, or of its invocation when there was none.
pub(crate) fn rates(run: &Run, buckets: Buckets) -> Vec<[f64; 3]> {
    let mut counts = vec![[0u64; 3]; buckets.count];
    for operation in run.history.operations.iter() {
        counts[buckets.index(operation.ret.unwrap_or(operation.call))][rank(operation.outcome)] += 1;
    }
    counts.into_iter().map(|bucket| bucket.map(|n| n as f64 / buckets.width.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_round_and_few() {
        for end in [0, 1, 999, 60_000_000_000, 61_234_567_890, u64::MAX] {
            let buckets = Buckets::over(Nanos(end));
            assert!((1..=MAX_BUCKETS as usize).contains(&buckets.count), "{end}: {buckets:?}");
            assert!(buckets.index(Nanos(end)) < buckets.count);
        }
        assert_eq!(Buckets::over(Nanos::from_millis(60_000)).width, Nanos::from_millis(1000));
    }

    #[test]
    fn thinning_keeps_the_slowest_of_each_outcome() {
        let point =
            |time: u64, latency: u64, outcome| Point { time: Nanos(time), latency: Nanos(latency), outcome };
        let mut points: Vec<Point> = (0..10_000).map(|i| point(i, 1000 + i % 50, Outcome::Ok)).collect();
        points.push(point(5000, 9_999_999, Outcome::Ok));
        points.push(point(5001, 1000, Outcome::Fail));
        let thinned = thin(&points, Nanos(10_000), 64);
        assert!(thinned.len() < 2000);
        assert!(thinned.iter().any(|p| p.latency == Nanos(9_999_999)));
        assert!(thinned.iter().any(|p| p.outcome == Outcome::Fail));
    }
}
