//! Looks for connections between nodes that avoid the links.
//!
//! A connection is a bypass when its two ends belong to different nodes, or when one end belongs to a node and the far end is
//! the real address of another one (where the far end may still wait in a backlog and belong to nobody). What lasted
//! only between two audits is not seen; neither is UDP, nor a unix socket.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::SocketAddr;

use history::NodeId;

use crate::Registry;
use crate::diag::{Connection, SockDiag, unmapped};

/// A connection from node to node without a link between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bypass {
    /// Who holds the one end.
    pub from: NodeId,
    /// Its address.
    pub local: SocketAddr,
    /// Who holds the other end, or whose address it is.
    pub to: NodeId,
    /// Its address.
    pub remote: SocketAddr,
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) is connected with {} ({}) directly", self.from, self.local, self.to, self.remote)
    }
}

/// Finds all bypasses of this moment. `upstreams` are the real addresses of the nodes.
///
/// # Errors
/// When the kernel does not list its sockets.
pub(crate) fn audit(
    registry: &Registry,
    upstreams: &BTreeMap<SocketAddr, NodeId>,
) -> io::Result<Vec<Bypass>> {
    let ends = SockDiag::open()?.established()?;
    // Owners are read after the sockets: a socket that closed in between has no owner, and a new one is not listed.
    Ok(find(&ends, &registry.owners(), upstreams))
}

fn find(
    ends: &[Connection],
    owners: &HashMap<u64, NodeId>,
    upstreams: &BTreeMap<SocketAddr, NodeId>,
) -> Vec<Bypass> {
    let owner_by_ends: HashMap<(SocketAddr, SocketAddr), &NodeId> =
        ends.iter().filter_map(|end| Some(((end.local, end.remote), owners.get(&end.inode)?))).collect();
    let real: HashMap<SocketAddr, &NodeId> =
        upstreams.iter().map(|(address, node)| (unmapped(*address), node)).collect();
    let mut found = Vec::new();
    for (&(local, remote), &from) in &owner_by_ends {
        let far_end = owner_by_ends.get(&(remote, local));
        // A connection whose two ends are known is looked at from one of them only.
        if far_end.is_some() && local < remote {
            continue;
        }
        if let Some(&to) = far_end.or_else(|| real.get(&remote)).filter(|&&to| to != from) {
            found.push(Bypass { from: from.clone(), local, to: to.clone(), remote });
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn both(one: u16, one_inode: u64, other: u16, other_inode: u64) -> [Connection; 2] {
        let (local, remote) = (address(one), address(other));
        [
            Connection { local, remote, inode: one_inode },
            Connection { local: remote, remote: local, inode: other_inode },
        ]
    }

    fn owners() -> HashMap<u64, NodeId> {
        [(1, NodeId::numbered(1)), (11, NodeId::numbered(1)), (2, NodeId::numbered(2))].into()
    }

    #[test]
    fn connection_between_two_nodes_is_one_bypass() {
        assert_eq!(find(&both(40_000, 1, 2_000, 2), &owners(), &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn connection_to_the_harness_or_to_oneself_is_none() {
        assert_eq!(find(&both(40_000, 1, 2_000, 99), &owners(), &BTreeMap::new()), []);
        assert_eq!(find(&both(40_000, 1, 2_000, 11), &owners(), &BTreeMap::new()), []);
    }

    #[test]
    fn connection_to_a_real_address_in_a_backlog_is_a_bypass() {
        let upstreams = BTreeMap::from([(address(2_000), NodeId::numbered(2))]);
        let found = find(&both(40_000, 1, 2_000, 0), &owners(), &upstreams);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].from, &found[0].to), (&NodeId::numbered(1), &NodeId::numbered(2)));
    }
}
