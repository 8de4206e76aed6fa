//! The state of one link, and what a connection sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::meter::Meter;
use super::rule::Rule;

/// What happened on a link since it exists. Connections count for the direction from the dialler. On a switch
/// there are none; bytes in and out are what TCP and UDP carry, without what kernels say by themselves, and bytes held and
/// delayed are those of whole packets, so that an attempt to connect counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Connections that were established to the destination.
    pub connections: u64,
    /// Of these, the ones that ended.
    pub ended: u64,
    /// Connections that had to wait because the pair was cut.
    pub waited: u64,
    /// Connections that the destination refused, or that waited in too great a number.
    pub refused: u64,
    /// Connections that a rule reset.
    pub resets: u64,
    /// Bytes that came from the source.
    pub bytes_in: u64,
    /// Bytes that went to the destination.
    pub bytes_out: u64,
    /// Bytes that had to wait because the link was held; on a switch, that were lost for that.
    pub bytes_held: u64,
    /// Bytes that had to wait because the link was slow.
    pub bytes_delayed: u64,
    /// Bytes that had to wait because the link was narrow.
    pub bytes_slowed: u64,
    /// Connections that lost the end at the destination, but not the one at the source.
    pub halved: u64,
    /// Bytes that came from the source of such a connection and went nowhere.
    pub bytes_lost: u64,
    /// Ends of streams that were late.
    pub late_ends: u64,
    /// Messages that were lost, late, repeated or out of turn.
    pub messages: u64,
    /// Packets that were lost, delivered twice, overtaken, corrupted or late; 0 where there is no switch.
    pub packets_hit: u64,
}

/// The counters behind [`LinkStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) resets: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) bytes_held: AtomicU64,
    pub(crate) bytes_delayed: AtomicU64,
    pub(super) bytes_slowed: AtomicU64,
    pub(super) halved: AtomicU64,
    pub(super) bytes_lost: AtomicU64,
    pub(super) late_ends: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(crate) packets_hit: AtomicU64,
}

/// Adds to a counter. Counters are read for reports, so no order between them is promised.
pub(crate) fn count(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn snapshot(&self) -> LinkStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkStats {
            connections: read(&self.connections),
            ended: read(&self.ended),
            waited: read(&self.waited),
            refused: read(&self.refused),
            resets: read(&self.resets),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            bytes_held: read(&self.bytes_held),
            bytes_delayed: read(&self.bytes_delayed),
            bytes_slowed: read(&self.bytes_slowed),
            halved: read(&self.halved),
            bytes_lost: read(&self.bytes_lost),
            late_ends: read(&self.late_ends),
            messages: read(&self.messages),
            packets_hit: read(&self.packets_hit),
        }
    }
}

/// One directed link.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    pub(super) rule: watch::Sender<Rule>,
    /// Counts up with every reset of the pair.
    pub(super) resets: watch::Sender<u64>,
    /// Counts up when the connections of the pair are closed towards the destination.
    pub(super) closes: watch::Sender<u64>,
    pub(super) counters: Arc<Counters>,
    pub(super) meter: Arc<Meter>,
}

impl LinkState {
    /// What a connection of the cluster sees.
    pub(super) fn lane(&self) -> Lane {
        let closes = Some(self.closes.subscribe());
        Lane { closes, ..self.lane_with(Arc::clone(&self.counters), Arc::clone(&self.meter)) }
    }

    /// What a canary sees: the same rules and resets, but it is neither counted nor closed and takes no bandwidth from
    /// others, because its bytes are not an effect of a fault on the system.
    pub(super) fn uncounted_lane(&self) -> Lane {
        self.lane_with(Arc::default(), Arc::default())
    }

    fn lane_with(&self, counters: Arc<Counters>, meter: Arc<Meter>) -> Lane {
        let (rule, resets) = (self.rule.subscribe(), self.resets.subscribe());
        Lane { rule, resets, closes: None, counters, meter }
    }
}

/// One direction of one connection: the rules it obeys and the counters it feeds.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) rule: watch::Receiver<Rule>,
    pub(super) resets: watch::Receiver<u64>,
    pub(super) closes: Option<watch::Receiver<u64>>,
    pub(crate) counters: Arc<Counters>,
    pub(super) meter: Arc<Meter>,
}

impl Lane {
    /// One whose counters nobody reads.
    #[cfg(test)]
    pub(crate) fn detached(rule: watch::Receiver<Rule>) -> Self {
        let resets = watch::Sender::default().subscribe();
        Self { rule, resets, closes: None, counters: Arc::default(), meter: Arc::default() }
    }

    /// Waits until nobody holds the link. A link that is gone holds nothing.
    pub(super) async fn opened(&mut self) {
        let _ = self.rule.wait_for(|rule| !rule.held).await;
    }

    pub(super) fn is_held(&self) -> bool {
        self.rule.borrow().held
    }

    /// Waits until a rule takes their destinations from connections that stand. One that began under such a rule is
    /// none of these.
    pub(super) async fn halved(&mut self) {
        let before = self.rule.wait_for(|rule| !rule.half_open).await.is_ok();
        if !before || self.rule.wait_for(|rule| rule.half_open).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until that rule is gone.
    pub(super) async fn mended(&mut self) {
        let _ = self.rule.wait_for(|rule| !rule.half_open).await;
    }

    /// Waits until a rule resets the connections of the pair.
    pub(super) async fn reset(&mut self) {
        if self.resets.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Waits until the connections of the pair are closed towards the destination.
pub(super) async fn closed(closes: &mut Option<watch::Receiver<u64>>) {
    let closed = match closes {
        Some(closes) => closes.changed().await.is_ok(),
        None => false,
    };
    if !closed {
        std::future::pending().await
    }
}
