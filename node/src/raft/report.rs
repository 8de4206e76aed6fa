//! What a node tells people about itself beyond its status.

use super::types::NodeId;
use super::{Core, Role};

impl Core {
    /// By how many entries each follower lacks the log, as far as this leader knows; empty for everybody else.
    pub fn lags(&self) -> Vec<(NodeId, u64)> {
        let Role::Leader(leadership) = &self.role else {
            return Vec::new();
        };
        let last = self.log.last_index().0;
        let lag = |matched: u64| last.saturating_sub(matched);
        leadership.progress.iter().map(|(id, progress)| (*id, lag(progress.matched.0))).collect()
    }

    /// The size of the stored snapshot, 0 if there is none.
    pub fn snapshot_bytes(&self) -> usize {
        self.snapshots.latest().map_or(0, |snapshot| snapshot.state.len())
    }
}
