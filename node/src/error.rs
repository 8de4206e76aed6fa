//! Why a node does not start or does not go on, with the next step for the operator.

use std::io;
use std::net::SocketAddr;

use crate::wal::WalError;

/// An error that ends the node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A listening address is not available.
    #[error("cannot listen for {purpose} on {address}: {source}; is the port in use by another process?")]
    Bind {
        /// Clients or peers.
        purpose: &'static str,
        /// The address.
        address: SocketAddr,
        /// The answer of the system.
        source: io::Error,
    },
    /// The node is not part of its own cluster.
    #[error("node {id} is not in the cluster ({known}); add it to the list of nodes or correct its id")]
    NotInCluster {
        /// The node's id.
        id: String,
        /// The ids in the cluster.
        known: String,
    },
    /// A node has an impossible name.
    #[error("{name:?} is not a node id; use 1 to {limit} letters, digits, '-', '_' and '.'")]
    NodeName {
        /// The name.
        name: String,
        /// The longest allowed name in bytes.
        limit: usize,
    },
    /// The timeouts cannot work together.
    #[error(
        "heartbeat of {heartbeat_ms} ms and election timeout of {election_ms} ms do not fit; \
         the election timeout must be at least three heartbeats"
    )]
    Timing {
        /// The heartbeat interval.
        heartbeat_ms: u64,
        /// The shortest election timeout.
        election_ms: u64,
    },
    /// A mutant was asked for in a build that has none.
    #[error("mutant {id} is not in this build; build with --features mutants")]
    NoMutants {
        /// The id.
        id: String,
    },
    /// A mutant was asked for that does not exist.
    #[error("unknown mutant {id}; this build has {known}")]
    UnknownMutant {
        /// The id.
        id: String,
        /// The ids that exist.
        known: String,
    },
    /// The write-ahead log cannot be used.
    #[error(transparent)]
    Storage(#[from] WalError),
    /// The stored snapshot is whole, and not of this version.
    #[error("the snapshot cannot be read: it {reason}; use a matching server, or replace the node")]
    State {
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused something that every process needs.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The answer of the system.
        source: io::Error,
    },
}
