//! Makes snapshots durable beside the log, which goes on meanwhile.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::events::EventLog;
use crate::raft::{LogPosition, Snapshot};
use crate::wal::{EXIT_STORAGE_FAILED, Folder, RealDisk, WalConfig, snapshot};

/// A handle to the thread. The core hands out one snapshot at a time.
#[derive(Debug)]
pub(crate) struct SnapshotThread {
    queue: Option<Sender<Snapshot>>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    /// Starts the thread; `stored` is called on it when a snapshot is durable. When the disk fails the process ends, as
    /// it does for the log.
    pub(crate) fn spawn(
        folder: Folder<RealDisk>,
        config: WalConfig,
        log: EventLog,
        stored: impl Fn(LogPosition) + Send + 'static,
    ) -> Self {
        let (queue, snapshots) = channel::<Snapshot>();
        let thread = std::thread::spawn(move || {
            for made in snapshots {
                if let Err(error) = snapshot::save(&folder, config, &made) {
                    log.fatal("storage-failed", &error);
                    std::process::exit(EXIT_STORAGE_FAILED);
                }
                stored(made.last);
            }
        });
        Self { queue: Some(queue), thread: Some(thread) }
    }

    /// Begins to make a snapshot durable.
    pub(crate) fn store(&self, snapshot: Snapshot) {
        let queue = self.queue.as_ref().expect("invariant: the queue lives as long as the handle");
        queue.send(snapshot).expect("invariant: the thread ends only with the process or the queue");
    }
}

/// Waits until the snapshot that was begun is durable: another process may open the directory next.
impl Drop for SnapshotThread {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}
