//! What faults see of a cluster.
//!
//! Processes and links are the same for every system. What takes knowledge of one (who leads, is a node up, how fast
//! does it notice a failure) is asked through the [`Cluster`] trait.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use history::NodeId;

use crate::guardian::Executable;
use crate::process::Image;
use crate::{Links, Processes};

/// Another executable for the nodes, which understands the same arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// What nodes execute.
    pub from: Executable,
    /// What they execute after the upgrade.
    pub to: Executable,
    /// The file that is executed after the upgrade, by which it is known in `/proc`.
    pub image: Image,
    /// Its name, for people.
    pub path: PathBuf,
}

/// Something that an operator does to a running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Hands leadership over to a node.
    Transfer {
        /// Who shall lead.
        to: NodeId,
    },
    /// Makes a node, which has no process, a new member.
    Add {
        /// Who becomes a member.
        node: NodeId,
    },
    /// Makes a member vote that has begun without a vote.
    Promote {
        /// Who votes then.
        node: NodeId,
    },
    /// Makes a node a member no more.
    Remove {
        /// Who is no member then.
        node: NodeId,
    },
    /// One that the system calls by this name.
    Named(String),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer { to } => write!(f, "transfer to {to}"),
            Self::Add { node } => write!(f, "add {node}"),
            Self::Promote { node } => write!(f, "promote {node}"),
            Self::Remove { node } => write!(f, "remove {node}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// Whether it leads.
    pub leads: bool,
    /// How many entries of its log it does not know to be committed; `None` when the system does not tell.
    pub uncommitted: Option<u64>,
}

/// A running cluster, whatever it is.
pub trait Cluster: Send + Sync + 'static {
    /// The processes of the nodes.
    fn processes(&self) -> &Processes;

    /// The links between nodes, and between clients and nodes.
    fn links(&self) -> &Links;

    /// Where files of the run are kept.
    fn directory(&self) -> &Path;

    /// Where clients reach a node past the links.
    fn address(&self, node: &NodeId) -> Option<SocketAddr>;

    /// What nodes can be upgraded to; `None` when nothing was given.
    fn upgrade(&self) -> Option<Upgrade> {
        None
    }

    /// Has a node do what an operator can ask it for; says what it did.
    ///
    /// # Errors
    /// Says why it did nothing; the next try may end otherwise.
    fn operate(
        &self,
        _operation: &Operation,
        _node: &NodeId,
    ) -> impl Future<Output = Result<String, String>> + Send {
        std::future::ready(Err("this system offers no operations".to_owned()))
    }

    /// Whether members can be added and removed.
    fn offers_membership(&self) -> bool {
        false
    }

    /// Who is a member, by a linearizable read of one node, past the links: everything that was committed before is in it.
    ///
    /// # Errors
    /// Says why it gives no such answer at this moment.
    fn members(&self, _told_by: &NodeId) -> impl Future<Output = Result<BTreeSet<NodeId>, String>> + Send {
        std::future::ready(Err("this system does not say who is a member".to_owned()))
    }

    /// With which arguments a node starts that was made a member of a cluster of these members, itself included; the
    /// first is the program's name.
    fn arguments_to_join(&self, _node: &NodeId, _members: &BTreeSet<NodeId>) -> Vec<String> {
        Vec::new()
    }

    /// Where a node keeps its data.
    fn data(&self, node: &NodeId) -> PathBuf;

    /// Waits until each of these nodes has applied everything that is acknowledged when this is asked, a write of the harness's
    /// own included.
    ///
    /// # Errors
    /// Says what was seen instead when the limit was over.
    fn settle(&self, nodes: &[NodeId], limit: Duration) -> impl Future<Output = Result<(), String>> + Send;

    /// The time in which the system notices a failure: its election timeout. Durations of faults scale with it.
    fn unit(&self) -> Duration;

    /// Who leads, as far as the nodes say; `None` when nobody does or nobody knows. It is asked several times a second
    /// and should be answered from what a monitor saw last.
    fn leader(&self) -> impl Future<Output = Option<NodeId>> + Send;

    /// What a node says of itself at this moment, asked past the links; `None` when it does not answer.
    fn status(&self, _node: &NodeId) -> impl Future<Output = Option<NodeStatus>> + Send {
        std::future::ready(None)
    }

    /// Waits until a node that was started answers. It must not go by way of the links, which another fault may
    /// hold, and must not wait for a quorum, which another fault may have taken.
    ///
    /// # Errors
    /// Says what was seen instead.
    fn wait_ready(&self, node: &NodeId, limit: Duration) -> impl Future<Output = Result<(), String>> + Send;
}
