//! Where everything of this crate reports to: a bounded channel of run events, stamped on the run's clock.

use history::{Clock, Nanos, RunEvent};
use tokio::sync::mpsc;

/// Stamps and sends run events. Copies share clock and channel.
#[derive(Debug, Clone)]
pub struct EventSink {
    clock: Clock,
    events: mpsc::Sender<RunEvent>,
}

impl EventSink {
    /// Sends to `events`, with times of `clock`.
    pub fn new(clock: Clock, events: mpsc::Sender<RunEvent>) -> Self {
        Self { clock, events }
    }

    /// The present on the run's axis.
    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Sends an event, waiting for room. A receiver that is gone has lost interest, which is no error.
    pub async fn record(&self, event: RunEvent) {
        let _ = self.events.send(event).await;
    }
}
