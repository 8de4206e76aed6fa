//! What a run shows while it goes on: one live line on a terminal, plain lines elsewhere. Everything goes to stderr; the
//! summary at the end is the only thing on stdout.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::recorder::{LiveCounts, Recorder};

/// How often the live line changes.
const LIVE_PERIOD: Duration = Duration::from_millis(200);
/// How often a plain line appears.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);
/// The width of the status words, as cargo's.
const WORD_WIDTH: usize = 12;

/// The display of a run.
#[derive(Clone)]
pub(crate) struct Progress {
    live: Option<ProgressBar>,
    is_silent: bool,
}

impl Progress {
    /// Chooses by what stderr is.
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:>12.cyan.bold} {msg}")
                .expect("invariant: the template is constant");
            ProgressBar::new_spinner().with_style(style)
        });
        Self { live, is_silent: false }
    }

    /// Shows nothing.
    pub(crate) fn silent() -> Self {
        Self { live: None, is_silent: true }
    }

    /// Whether nothing is shown.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether there is a live line.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// A line that stays: a status word and what it is about.
    pub(crate) fn line(&self, word: &str, text: &str) {
        let line = format!("{word:>WORD_WIDTH$} {text}");
        match &self.live {
            Some(bar) => bar.println(line),
            None if self.is_silent => {}
            None => eprintln!("{line}"),
        }
    }

    /// What is going on at this moment; shown on a terminal only.
    pub(crate) fn now(&self, word: &str, text: &str) {
        if let Some(bar) = &self.live {
            bar.set_prefix(word.to_owned());
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// Shows the load until it is aborted.
    pub(crate) async fn watch(self, recorder: Recorder, limit: Duration) {
        let start = recorder.clock().now();
        let period = if self.live.is_some() { LIVE_PERIOD } else { PLAIN_PERIOD };
        let mut ticks = tokio::time::interval(period);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let elapsed = (recorder.clock().now() - start).as_secs_f64();
            let text = format!("{elapsed:>5.1}/{} s  {}", limit.as_secs_f64(), counted(recorder.counts()));
            match &self.live {
                Some(_) => self.now("Running", &text),
                None => self.line("Running", &text),
            }
        }
    }

    /// Takes the live line away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.live {
            bar.finish_and_clear();
        }
    }
}

fn counted(counts: &LiveCounts) -> String {
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{} ok  {} fail  {} info  {} faults",
        get(&counts.ok),
        get(&counts.fail),
        get(&counts.info),
        get(&counts.faults)
    )
}

/// The first interrupt asks for an orderly end, the second ends at once. What was started dies with the process: the
/// guardian sees to it.
pub(crate) fn on_interrupt(
    progress: Progress,
    stop: Arc<tokio::sync::watch::Sender<Stop>>,
) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for times in 1.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if times > 1 {
                std::process::exit(i32::from(crate::exit::INTERRUPTED));
            }
            progress
                .line("Interrupted", "healing, judging and reporting what there is; once more stops at once");
            stop.send_if_modified(|stop| {
                let first = *stop == Stop::No;
                *stop = if first { Stop::Interrupted } else { *stop };
                first
            });
        }
    });
    Ok(())
}

/// Whether the load shall end before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It goes on.
    No,
    /// The user interrupted.
    Interrupted,
    /// The history is violated already, and the user wanted to know soon.
    Violated,
    /// The harness cannot go on: the disk refused, the guardian died.
    Broken,
}
