//! Looks, again and again during a run, for connections that the links do not control, and records each pair of nodes
//! once.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use history::{NodeId, RunEvent};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{EventSink, Links};

/// How often connections are audited.
const INTERVAL: Duration = Duration::from_secs(2);

/// A patrol that is under way.
pub(crate) struct Patrol {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Patrol {
    /// Begins with an audit at once.
    pub(crate) fn start(links: Links, sink: EventSink) -> Self {
        let (end, mut ended) = oneshot::channel();
        let mut beat = Beat { links, sink, known: BTreeSet::new(), strangers: 0 };
        let task = tokio::spawn(async move {
            beat.walk().await;
            while timeout(INTERVAL, &mut ended).await.is_err() {
                beat.walk().await;
            }
            beat.walk().await;
        });
        Self { end, task }
    }

    /// Ends with a last audit.
    pub(crate) async fn finish(self) {
        // The task waits for this and for nothing else.
        let _ = self.end.send(());
        self.task.await.expect("invariant: an audit does not panic");
    }
}

struct Beat {
    links: Links,
    sink: EventSink,
    known: BTreeSet<(NodeId, NodeId)>,
    /// Details of strangers that were recorded.
    strangers: usize,
}

impl Beat {
    async fn walk(&mut self) {
        let links = self.links.clone();
        // Reading every descriptor of every node takes milliseconds, which the links must not wait for.
        let audited = tokio::task::spawn_blocking(move || links.audit()).await;
        match audited.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(found) => {
                for bypass in found {
                    if self.known.insert((bypass.from.clone(), bypass.to.clone())) {
                        let time = self.sink.now();
                        self.sink.record(RunEvent::Bypass { time, detail: bypass.to_string() }).await;
                    }
                }
            }
            Err(error) => self.complain(format!("cannot audit connections: {error}")).await,
        }
        for detail in self.links.strangers().details.split_off(self.strangers) {
            self.strangers += 1;
            self.complain(detail).await;
        }
    }

    async fn complain(&self, detail: String) {
        self.sink.record(RunEvent::Infrastructure { time: self.sink.now(), detail }).await;
    }
}
