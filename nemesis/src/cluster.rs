//! What faults see of a cluster.
//!
//! Processes and links are the same for every system. What takes knowledge of one (who leads, is a node up, how fast
//! does it notice a failure) is asked through the [`Cluster`] trait.

use std::time::Duration;

use history::NodeId;

use crate::{Links, Processes};

/// A running cluster, whatever it is.
pub trait Cluster: Send + Sync + 'static {
    /// The processes of the nodes.
    fn processes(&self) -> &Processes;

    /// The links between nodes, and between clients and nodes.
    fn links(&self) -> &Links;

    /// The time in which the system notices a failure: its election timeout. Durations of faults scale with it.
    fn unit(&self) -> Duration;

    /// Who leads, as far as the nodes say; `None` when nobody does or nobody knows. It is asked several times a second
    /// and should be answered from what a monitor saw last.
    fn leader(&self) -> impl Future<Output = Option<NodeId>> + Send;

    /// Waits until a node that was started answers. It must not go by way of the links, which another fault may
    /// hold, and must not wait for a quorum, which another fault may have taken.
    ///
    /// # Errors
    /// Says what was seen instead.
    fn wait_ready(&self, node: &NodeId, limit: Duration) -> impl Future<Output = Result<(), String>> + Send;
}
