//! Requests that the core works on, and the limit on their patience.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::request::{Query, Reply};
use crate::raft::RequestId;

/// How long a request may take. Losing the quorum ends it much earlier; this is for a quorum that lives but cannot write.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do when the core is done with a request.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Report the outcome of the entry.
    Write,
    /// Look this up.
    Read(Query),
}

/// A request without a reply.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) wait: Wait,
    reply: oneshot::Sender<Reply>,
    deadline: Instant,
}

impl Waiter {
    /// Tells the client, if it is still there.
    pub(crate) fn reply(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

/// All requests without a reply, in the order of their arrival and therefore of their deadlines.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: BTreeMap<RequestId, Waiter>,
    last: RequestId,
}

impl Waiters {
    /// Registers a request and names it.
    pub(crate) fn add(&mut self, wait: Wait, reply: oneshot::Sender<Reply>) -> RequestId {
        self.last = RequestId(self.last.0 + 1);
        self.waiting.insert(self.last, Waiter { wait, reply, deadline: Instant::now() + PATIENCE });
        self.last
    }

    /// The request with this name, unless it has been replied to.
    pub(crate) fn take(&mut self, request: RequestId) -> Option<Waiter> {
        self.waiting.remove(&request)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Replies to requests whose time is up: the write may still happen, the read did not.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry()
            && first.get().deadline <= now
        {
            let waiter = first.remove();
            let reply = match waiter.wait {
                Wait::Write => Reply::UnknownOutcome,
                Wait::Read(_) => Reply::NoQuorum,
            };
            waiter.reply(reply);
        }
    }
}
