//! How far a check is, on a terminal: a line that appears when the check takes longer than a moment.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use checker::{Budget, Progress, Snapshot};

use crate::run::progress::Progress as Display;

/// A check that is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line changes.
const PERIOD: Duration = Duration::from_millis(200);

/// Judges with `budget` and shows on `display` how far that is.
pub(crate) fn judging<T>(display: &Display, budget: Budget, judge: impl FnOnce(&Budget) -> T) -> T {
    if !display.is_live() {
        return judge(&budget);
    }
    let progress = Arc::new(Progress::default());
    let limit = budget.time;
    let budget = Budget { progress: Some(Arc::clone(&progress)), ..budget };
    let (done, is_done) = mpsc::channel::<()>();
    let start = Instant::now();
    let judged = std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut wait, mut began) = (PATIENCE, start);
            // The sender goes when the verdict is there, whatever became of it.
            while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let seen = progress.snapshot();
                let elapsed = if seen.check.is_empty() {
                    // Reading takes time too, but not that of the checker.
                    began = Instant::now();
                    start.elapsed()
                } else {
                    began.elapsed()
                };
                display.now("Judging", &words(&seen, elapsed, limit));
                wait = PERIOD;
            }
        });
        let _done = done;
        judge(&budget)
    });
    display.clear();
    judged
}

/// `12 s of at most 60  linearizable: 812 of 1000 parts, 49% of 20000 operations, 3 violated  (12.3 M steps, 120 MiB)`.
fn words(seen: &Snapshot, elapsed: Duration, limit: Duration) -> String {
    let seconds = elapsed.as_secs();
    if seen.check.is_empty() {
        return format!("{seconds} s  reading the history");
    }
    let operations = seen.operations;
    let mut text = format!("{seconds} s of at most {}  {}: ", limit.as_secs(), seen.check);
    if seen.partitions > 1 {
        let percent = (seen.examined * 100).checked_div(operations).unwrap_or(100);
        text += &format!("{} of {} parts, {percent}% of ", seen.decided, seen.partitions);
    }
    text += &format!("{operations} operations");
    if seen.violated > 0 {
        text += &format!(", {} violated", seen.violated);
    }
    text += "  (";
    if seen.round > 0 {
        text += &format!("round {}, ", seen.round);
    }
    text + &format!("{}, {} MiB)", steps(seen.steps), seen.held_bytes >> 20)
}

fn steps(steps: u64) -> String {
    match steps {
        0..1_000_000 => format!("{} k steps", steps / 1000),
        _ => format!("{:.1} M steps", steps as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_what_is_decided_and_what_it_costs() {
        let seen = Snapshot {
            check: "linearizable",
            partitions: 1000,
            decided: 812,
            violated: 3,
            operations: 20_000,
            examined: 9_999,
            steps: 12_300_000,
            round: 2,
            held_bytes: 120 << 20,
        };
        let (elapsed, limit) = (Duration::from_millis(12_700), Duration::from_secs(60));
        assert_eq!(
            words(&seen, elapsed, limit),
            "12 s of at most 60  linearizable: 812 of 1000 parts, 49% of 20000 operations, 3 violated  (round 2, 12.3 M steps, 120 MiB)"
        );
        let alone = Snapshot { partitions: 1, decided: 0, violated: 0, round: 0, steps: 93_000, ..seen };
        assert_eq!(
            words(&alone, elapsed, limit),
            "12 s of at most 60  linearizable: 20000 operations  (93 k steps, 120 MiB)"
        );
        assert_eq!(words(&Snapshot::default(), elapsed, limit), "12 s  reading the history");
    }
}
