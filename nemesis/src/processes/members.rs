//! Nodes that are no members of the cluster for a while, and what a member needs to come back with nothing.

use std::path::Path;

use history::NodeId;

use super::{ProcessError, Processes};
use crate::data::{self, Contents};

/// Where a node stands in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// A member with everything that it ever acknowledged.
    #[default]
    Settled,
    /// No member.
    Away,
    /// A member that has not caught up since its data were emptied.
    Returning,
}

impl Processes {
    /// From now on the node is no member of the cluster, and only who made it none may start it.
    pub(crate) fn leaves(&self, node: &NodeId) {
        self.modify(node, |state| state.place = Place::Away);
    }

    /// From now on it is a member with an empty data directory.
    pub(crate) fn returns(&self, node: &NodeId) {
        self.modify(node, |state| state.place = Place::Returning);
    }

    /// From now on it has everything again.
    pub(crate) fn settles(&self, node: &NodeId) {
        self.modify(node, |state| state.place = Place::Settled);
    }

    /// Replaces the arguments with which a node is started next time; the first is the program's name.
    pub(crate) fn set_arguments(&self, node: &NodeId, arguments: Vec<String>) {
        self.modify(node, |state| state.command.arguments = arguments);
    }

    /// Whether a node is no member at this moment.
    pub fn is_away(&self, node: &NodeId) -> bool {
        self.has_place(node, Place::Away)
    }

    /// Whether a node is a member with everything that it ever acknowledged.
    pub(crate) fn is_settled(&self, node: &NodeId) -> bool {
        self.has_place(node, Place::Settled)
    }

    fn has_place(&self, node: &NodeId, place: Place) -> bool {
        self.state.borrow().nodes.get(node).is_some_and(|state| state.place == place)
    }

    /// The nodes that are members.
    pub fn members(&self) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| !self.is_away(node)).collect()
    }

    /// Removes everything that a node without a process keeps, in `directory` or on its disk, whose mount nobody here sees.
    pub(crate) async fn empty(&self, node: &NodeId, directory: &Path) -> Result<Contents, ProcessError> {
        let emptied = match self.disk(node) {
            Some(disk) => {
                let emptied = disk.empty(&self.guardian).await;
                return emptied.map_err(|source| ProcessError::Disk { node: node.clone(), source });
            }
            None => data::empty(directory).await,
        };
        emptied.map_err(|source| ProcessError::Data { node: node.clone(), source })
    }

    /// What a node without a process keeps.
    pub(crate) async fn contents(&self, node: &NodeId, directory: &Path) -> Result<Contents, ProcessError> {
        let disk = self.disk(node);
        let place = disk.as_ref().map_or(directory, |disk| disk.backing());
        data::contents(place).await.map_err(|source| ProcessError::Data { node: node.clone(), source })
    }
}
