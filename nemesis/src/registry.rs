//! Who is who: which processes, and so which sockets, belong to which node.
//!
//! [`crate::Processes`] keeps it up to date; links ask it who dialled, the audit asks it who talks to whom. A socket is
//! known by its inode and found among the open descriptors of the processes of the nodes. That scan is done for
//! every accepted connection that must be attributed, which is rare: connections between servers are long-lived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use history::NodeId;

use crate::Endpoint;
use crate::process::{self, Identity};

/// The shared table. Copies are the same table.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    guardian: Option<i32>,
    mains: BTreeMap<NodeId, i32>,
    lent: BTreeMap<SocketAddr, Endpoint>,
}

impl Registry {
    /// Names the process that adopts what nodes leave behind.
    pub fn set_guardian(&self, pid: i32) {
        self.write().guardian = Some(pid);
    }

    /// Names the main process of a node, or says that it has none.
    pub fn set_main(&self, node: &NodeId, main: Option<i32>) {
        let mut known = self.write();
        match main {
            Some(pid) => known.mains.insert(node.clone(), pid),
            None => known.mains.remove(node),
        };
    }

    /// All processes of a node at this moment.
    pub fn tree(&self, node: &NodeId) -> BTreeSet<Identity> {
        let (main, guardian) = {
            let known = self.read();
            (known.mains.get(node).copied(), known.guardian)
        };
        match (main, guardian) {
            (Some(main), Some(guardian)) => process::tree(node, main, guardian),
            (Some(main), None) => {
                process::descendants(main).into_iter().chain(process::identity(main)).collect()
            }
            (None, _) => BTreeSet::new(),
        }
    }

    /// The node that holds a socket.
    pub fn owner(&self, inode: u64) -> Option<NodeId> {
        self.nodes().into_iter().find(|node| {
            let tree = self.tree(node);
            tree.iter().any(|process| process::sockets(process.pid).contains(&inode))
        })
    }

    /// All sockets of all nodes, by inode.
    pub fn owners(&self) -> HashMap<u64, NodeId> {
        let mut owners = HashMap::new();
        for node in self.nodes() {
            for process in self.tree(&node) {
                owners.extend(process::sockets(process.pid).into_iter().map(|inode| (inode, node.clone())));
            }
        }
        owners
    }

    /// Counts connections that are dialled from `address`, which belongs to the harness, to somebody else until the
    /// loan is dropped: that is how a probe travels in the name of a node.
    pub(crate) fn lend(&self, address: SocketAddr, endpoint: Endpoint) -> Loan {
        self.write().lent.insert(address, endpoint);
        Loan { registry: self.clone(), address }
    }

    /// In whose name a connection of the harness travels.
    pub(crate) fn borrower(&self, address: SocketAddr) -> Option<Endpoint> {
        self.read().lent.get(&address).cloned()
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.read().mains.keys().cloned().collect()
    }

    // Every change is a single operation, so a table whose lock was poisoned is whole.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address of the harness that counts as somebody else's.
#[derive(Debug)]
pub(crate) struct Loan {
    registry: Registry,
    address: SocketAddr,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.registry.write().lent.remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_of_a_registered_process_has_an_owner() {
        use std::os::fd::AsRawFd;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = process::socket_inode(target.to_str().unwrap()).unwrap();
        let registry = Registry::default();
        assert_eq!(registry.owner(inode), None);
        let node = NodeId::numbered(1);
        registry.set_main(&node, Some(std::process::id().cast_signed()));
        assert_eq!(registry.owner(inode), Some(node.clone()));
        assert_eq!(registry.owners().get(&inode), Some(&node));
    }

    #[test]
    fn loan_ends_when_dropped() {
        let registry = Registry::default();
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let loan = registry.lend(address, Endpoint::Clients);
        assert_eq!(registry.borrower(address), Some(Endpoint::Clients));
        drop(loan);
        assert_eq!(registry.borrower(address), None);
    }
}
