//! Watchers that have seen everything, and wait for more.
//!
//! A watcher asks for the changes from some revision on, gets a batch, and asks again. What it has not asked for stays in the
//! history alone, so nothing is buffered for it: one that is too slow finds that the history has gone on without it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::request::{Reply, Watch};
use crate::machine::{Machine, Revision, Selection};
use crate::raft::Index;

/// How long a watcher waits before it is told that there was nothing.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Waiting {
    selection: Selection,
    next: Revision,
    deadline: Instant,
    reply: oneshot::Sender<Reply>,
}

/// Everybody who waits for changes.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<Waiting>);

impl Watchers {
    /// Tells a watcher what there is, or lets it wait.
    pub(crate) fn ask(
        &mut self,
        watch: Watch,
        reply: oneshot::Sender<Reply>,
        machine: &Machine,
        applied: Index,
    ) {
        let Watch { selection, next, patiently } = watch;
        let next = next.unwrap_or(Revision::from(applied).next());
        let deadline = if patiently { Instant::now() + PATIENCE } else { Instant::now() };
        let waiting = Waiting { selection, next, deadline, reply };
        self.0.extend(waiting.look(machine, applied, !patiently));
    }

    /// Tells those for whom something was applied, and those who have waited long enough.
    pub(crate) fn tell(&mut self, machine: &Machine, applied: Index, now: Instant) {
        let waiting = std::mem::take(&mut self.0);
        self.0 = waiting
            .into_iter()
            .filter_map(|waiting| {
                let is_late = waiting.deadline <= now;
                waiting.look(machine, applied, is_late)
            })
            .collect();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets go of everybody; they see that the node stops.
    pub(crate) fn end(&mut self) {
        self.0.clear();
    }
}

impl Waiting {
    /// Replies if there is something to say, and goes on waiting if not.
    fn look(mut self, machine: &Machine, applied: Index, in_any_case: bool) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        let reply = match machine.changes(self.next, &self.selection, applied) {
            Ok(batch) if batch.changes.is_empty() && !in_any_case => {
                self.next = batch.next;
                return Some(self);
            }
            Ok(batch) => Reply::Changes { batch, applied },
            Err(compacted) => Reply::Compacted(compacted),
        };
        let _ = self.reply.send(reply);
        None
    }
}
