//! Notices when the harness itself did not run: a paused machine, a starved processor. Latencies of such a window say
//! nothing about the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use history::{Nanos, RunEvent};

use super::recorder::Recorder;

/// How often the detector wakes up.
const PERIOD: Duration = Duration::from_millis(20);
/// How much later than meant is a stall.
const STALL: Duration = Duration::from_millis(250);

/// A running detector.
pub(crate) struct StallDetector {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl StallDetector {
    /// Starts it, on a thread of its own.
    pub(crate) fn start(recorder: Recorder) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread =
            std::thread::Builder::new().name("stall".into()).spawn(move || watch(&recorder, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _panicked = self.thread.join();
    }
}

fn watch(recorder: &Recorder, stop: &AtomicBool) {
    let clock = recorder.clock();
    while !stop.load(Ordering::Relaxed) {
        let before = clock.now();
        std::thread::sleep(PERIOD);
        let late = clock.now() - before - Nanos::from(PERIOD);
        if late > Nanos::from(STALL) {
            recorder.run_event_blocking(RunEvent::Stall { time: before, length: late });
        }
    }
}
