//! The recorder: the only owner of the history and of `nemesis.jsonl` while a run goes on.
//!
//! Clients hand over an invocation before its request leaves, and everything goes through one queue in one order, so
//! that every prefix of the file is a legal history. When the disk refuses, recording ends there: what was written
//! stays, nothing is written behind a gap, and the run is told.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use history::{Clock, Event, EventKind, Header, HistoryWriter, RunEvent, RunEventWriter, RunPaths};
use tokio::sync::{mpsc, watch};

/// Records that may wait for the disk; then clients wait.
const QUEUE_RECORDS: usize = 1 << 16;

enum Record {
    Client(Box<Event>),
    Run(RunEvent),
}

/// Operations so far, for the eyes of whoever watches.
#[derive(Debug, Default)]
pub(crate) struct LiveCounts {
    pub(crate) ok: AtomicU64,
    pub(crate) fail: AtomicU64,
    pub(crate) info: AtomicU64,
    pub(crate) faults: AtomicU64,
}

/// A handle to the recorder.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Record>,
    failure: watch::Receiver<Option<String>>,
    counts: Arc<LiveCounts>,
    clock: Clock,
}

impl Recorder {
    /// Opens both files and starts the recorder.
    pub(crate) fn start(paths: &RunPaths, header: &Header, clock: Clock) -> anyhow::Result<(Self, Ending)> {
        let create = |path: std::path::PathBuf| -> anyhow::Result<File> {
            File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))
        };
        let history = HistoryWriter::new(create(paths.history_plain())?, header)
            .with_context(|| format!("cannot write {}", paths.history_plain().display()))?;
        let run_events = RunEventWriter::new(create(paths.nemesis())?);
        let (queue, receiver) = mpsc::channel(QUEUE_RECORDS);
        let (failed, failure) = watch::channel(None);
        let counts = Arc::new(LiveCounts::default());
        let mut files =
            Files { history, run_events, counts: counts.clone(), dir: paths.dir.display().to_string() };
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || files.record_all(receiver, &failed))
            .context("cannot start the recorder's thread")?;
        Ok((Self { queue, failure, counts, clock }, Ending { thread }))
    }

    /// The time axis.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Operations so far.
    pub(crate) fn counts(&self) -> &LiveCounts {
        &self.counts
    }

    /// Why recording ended early, once it did.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.clone()
    }

    /// Hands over a line of the history. After a failure of the disk it is dropped: the file has ended.
    pub(crate) async fn client(&self, event: Event) {
        let _ended = self.queue.send(Record::Client(Box::new(event))).await;
    }

    /// Hands over a line of `nemesis.jsonl`.
    pub(crate) async fn run_event(&self, event: RunEvent) {
        let _ended = self.queue.send(Record::Run(event)).await;
    }

    /// Hands over a line of `nemesis.jsonl` from a thread that may wait.
    pub(crate) fn run_event_blocking(&self, event: RunEvent) {
        let _ended = self.queue.blocking_send(Record::Run(event));
    }

    /// The run enters a phase.
    pub(crate) async fn phase(&self, name: &str) {
        self.run_event(RunEvent::Phase { time: self.clock.now(), name: name.to_owned() }).await;
    }

    /// Something makes the run `infrastructure`.
    pub(crate) async fn infrastructure(&self, detail: String) {
        self.run_event(RunEvent::Infrastructure { time: self.clock.now(), detail }).await;
    }
}

/// The end of the recorder: it comes when every handle is gone and everything is on disk.
pub(crate) struct Ending {
    thread: JoinHandle<Result<(), String>>,
}

impl Ending {
    /// Waits for the recorder. Every [`Recorder`] must be dropped before.
    pub(crate) async fn wait(self) -> anyhow::Result<()> {
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await.context("recorder")?;
        match joined {
            Ok(result) => result.map_err(|message| anyhow!(message)),
            Err(_) => Err(anyhow!("the recorder panicked; what it wrote stays on disk")),
        }
    }
}

struct Files {
    history: HistoryWriter<File>,
    run_events: RunEventWriter<File>,
    counts: Arc<LiveCounts>,
    dir: String,
}

impl Files {
    fn record_all(
        &mut self,
        mut queue: mpsc::Receiver<Record>,
        failed: &watch::Sender<Option<String>>,
    ) -> Result<(), String> {
        let mut failure = None;
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(record) = next {
                if failure.is_none() {
                    failure = self.write(record).err();
                }
                next = queue.try_recv().ok();
            }
            if failure.is_none() {
                failure = self.history.flush().err();
            }
            if let Some(error) = &failure {
                failed.send_if_modified(|told| {
                    let first = told.is_none();
                    told.get_or_insert_with(|| self.explain(error));
                    first
                });
            }
        }
        failure.map_or(Ok(()), |error| Err(self.explain(&error)))
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        match record {
            Record::Client(mut event) => {
                self.count(event.kind);
                self.history.append(&mut event)
            }
            Record::Run(event) => {
                if matches!(event, RunEvent::Fault { phase: history::FaultPhase::Injected, .. }) {
                    self.counts.faults.fetch_add(1, Ordering::Relaxed);
                }
                self.run_events.append(&event)
            }
        }
    }

    fn count(&self, kind: EventKind) {
        let counter = match kind {
            EventKind::Invoke => return,
            EventKind::Ok => &self.counts.ok,
            EventKind::Fail => &self.counts.fail,
            EventKind::Info => &self.counts.info,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn explain(&self, error: &io::Error) -> String {
        format!(
            "cannot record to {}: {error}; what was recorded until then is kept. Free some space or choose another store with --out",
            self.dir
        )
    }
}
