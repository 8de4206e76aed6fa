//! The one thread that waits for the disk: group commit without a timer.
//!
//! While one `fdatasync` runs, writes pile up; the next batch takes all of them. A failed write or sync ends the process
//! at once: after it nobody knows what is on disk, and a retry can report success for pages that the kernel has dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Wal;
use crate::events::EventLog;
use crate::metrics::Metrics;
use crate::raft::{IoId, Persist};

/// Payload bytes after which a batch takes no more writes.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// `EX_IOERR` of sysexits.h.
pub(crate) const EXIT_STORAGE_FAILED: i32 = 74;

/// A handle to the thread. Its queue needs no bound of its own: proposals and appends in flight are bounded by the core.
#[derive(Debug)]
pub(crate) struct WalThread {
    queue: Option<Sender<Persist>>,
    thread: Option<JoinHandle<()>>,
}

impl WalThread {
    /// Starts the thread; `durable` is called on it after each batch.
    pub(crate) fn spawn(
        wal: Wal,
        log: EventLog,
        metrics: Arc<Metrics>,
        durable: impl Fn(IoId) + Send + 'static,
    ) -> Self {
        let (queue, writes) = channel();
        let thread = std::thread::spawn(move || write_batches(wal, &log, &metrics, &writes, durable));
        Self { queue: Some(queue), thread: Some(thread) }
    }

    /// Starts a write. Writes become durable in the order of these calls.
    pub(crate) fn write(&self, write: Persist) {
        let queue = self.queue.as_ref().expect("invariant: the queue lives as long as the handle");
        queue.send(write).expect("invariant: the thread ends only with the process or the queue");
    }
}

/// Waits until everything that was started is durable.
impl Drop for WalThread {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn write_batches(
    mut wal: Wal,
    log: &EventLog,
    metrics: &Metrics,
    writes: &Receiver<Persist>,
    durable: impl Fn(IoId),
) {
    let mut batch = Vec::new();
    while let Ok(first) = writes.recv() {
        batch.clear();
        let mut size_bytes = size_of_write(&first);
        batch.push(first);
        while size_bytes < MAX_BATCH_BYTES
            && let Ok(write) = writes.try_recv()
        {
            size_bytes += size_of_write(&write);
            batch.push(write);
        }
        let start = Instant::now();
        if let Err(error) = wal.append(&batch) {
            log.fatal("storage-failed", &error);
            std::process::exit(EXIT_STORAGE_FAILED);
        }
        metrics.synced(start.elapsed(), size_bytes);
        durable(batch.last().expect("invariant: a batch has a first write").io);
    }
}

fn size_of_write(write: &Persist) -> usize {
    write.entries.iter().map(|entry| entry.payload.size_bytes()).sum()
}
