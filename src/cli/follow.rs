//! `shakedown check --follow`: judge a history while it is being written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use checker::{Budget, RunOutcome};
use history::RunPaths;
use tokio::signal::unix::{SignalKind, signal};

use super::{check, usage};
use crate::follow::{Follow, Followed, Progress};
use crate::judge::{self, Judged, Reading};
use crate::{run, store};

pub(super) fn main(
    file: &Path,
    reading: &Reading,
    budget: &Budget,
    until_idle: Option<Duration>,
    as_json: bool,
) -> anyhow::Result<u8> {
    let path = history_of(file).map_err(|error| usage(format!("{error:#}")))?;
    let look = || judge::file(&store::history_by_now(&path), reading, budget);
    let follow = Follow {
        path: &path,
        model: &|header| judge::model_to_follow(&path, reading, header),
        budget,
        look: &look,
    };
    let interrupted = on_interrupt()?;
    let display = run::progress::Progress::new();
    let followed = follow.run(is_over(path.clone(), interrupted, until_idle), &mut |progress| {
        display.now("Following", &words(progress));
    });
    display.clear();
    let judged = followed.and_then(|followed| conclude(followed, &path, &look));
    check::show(&judged.map_err(|error| usage(format!("{error:#}")))?, as_json)
}

/// The history that grows.
fn history_of(file: &Path) -> anyhow::Result<PathBuf> {
    let path = if file.is_dir() { RunPaths::new(file).history_plain() } else { file.to_owned() };
    if !path.exists() {
        bail!(
            "{} is not there; a run that is going on has it as STORE/RUN.partial/history.jsonl, and one that is over is \
             checked without --follow",
            path.display()
        );
    }
    Ok(path)
}

/// Whether nothing will be added any more: the run is over, the user said so, or it has been quiet for long enough.
fn is_over(
    path: PathBuf,
    interrupted: Arc<AtomicBool>,
    until_idle: Option<Duration>,
) -> impl FnMut() -> bool {
    let mut length = 0;
    let mut since = Instant::now();
    move || {
        let Ok(metadata) = path.metadata() else { return true };
        if metadata.len() != length {
            (length, since) = (metadata.len(), Instant::now());
        }
        interrupted.load(Ordering::Relaxed) || until_idle.is_some_and(|limit| since.elapsed() >= limit)
    }
}

fn words(progress: &Progress) -> String {
    let operations = progress.operations;
    match &progress.standing {
        None => format!("{operations} operations"),
        Some(standing) => {
            let lost = standing
                .lost
                .as_ref()
                .map_or_else(String::new, |(keys, _)| format!("  {keys} keys left out"));
            format!(
                "{operations} operations  judged up to {}  {} KiB held{lost}",
                standing.until,
                standing.held_bytes >> 10
            )
        }
    }
}

/// The verdict of what was followed, or of a last look at the whole file when it leaves something out or can be explained
/// better.
fn conclude(
    mut followed: Followed,
    path: &Path,
    look: &dyn Fn() -> anyhow::Result<Judged>,
) -> anyhow::Result<Judged> {
    if let Some(judged) = followed.take_violation() {
        return Ok(judged);
    }
    let Some(verdict) = followed.verdict() else {
        let mut judged = look()?;
        judged
            .remarks
            .extend(followed.left_out().map(|why| format!("{why}, so the whole file was judged at the end")));
        return Ok(judged);
    };
    let explained = match verdict.outcome {
        RunOutcome::Violation => look().ok(),
        _ => None,
    };
    let remarks = judge::torn_remark(path, followed.torn.as_ref());
    Ok(explained.filter(|explained| explained.verdict.outcome == RunOutcome::Violation).unwrap_or(Judged {
        run: None,
        verdict,
        remarks,
    }))
}

/// A flag that the first interrupt sets; the second one ends the process.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot listen for interrupts")?;
    let signals = {
        let _in_runtime = runtime.enter();
        signal(SignalKind::interrupt())
    };
    let mut signals = signals.context("cannot listen for interrupts")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                if flag.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(crate::exit::INTERRUPTED));
                }
            }
        });
    });
    Ok(interrupted)
}
