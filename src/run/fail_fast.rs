//! `--fail-fast`: a thread that judges the history while the load goes on, and ends the load at the first violation.
//!
//! It reads the file like any other process, so the recorder knows nothing of it. Whether the run is a violation is decided
//! at the end, as ever; this only makes the end come sooner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use checker::Budget;
use history::RunPaths;
use tokio::sync::watch;

use super::progress::{Progress, Stop};
use crate::follow::Follow;
use crate::judge;
use crate::plan::Plan;

/// The thread. It ends by itself soon after this is dropped.
pub(super) struct FailFast {
    is_over: Arc<AtomicBool>,
}

impl FailFast {
    /// Begins to judge the run in `paths`.
    pub(super) fn start(
        plan: &Plan,
        paths: &RunPaths,
        stop: &Arc<watch::Sender<Stop>>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (flag, model) = (is_over.clone(), plan.workload().model());
        let (paths, stop, progress) = (paths.clone(), stop.clone(), progress.clone());
        let judge = move || {
            let budget = Budget::default();
            let follow = Follow {
                path: &paths.history_plain(),
                model: &|_| Ok(model),
                budget: &budget,
                look: &|| judge::run(&paths, &budget, &[]),
            };
            match follow.run(move || flag.load(Ordering::Relaxed), &mut |_| ()) {
                Ok(followed) if followed.is_violation() => {
                    stop.send_if_modified(|stop| {
                        let first = *stop == Stop::No;
                        *stop = if first { Stop::Violated } else { *stop };
                        first
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    progress.line("note:", &format!("the history is judged only at the end: {error:#}"))
                }
            }
        };
        std::thread::Builder::new()
            .name("fail-fast".into())
            .spawn(judge)
            .context("cannot start the thread that judges the run")?;
        Ok(Self { is_over })
    }
}

impl Drop for FailFast {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
