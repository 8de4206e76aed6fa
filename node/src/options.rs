//! What the user says about a node, checked once and turned into what the rest of the server needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::NodeError;
use crate::raft::{Config, Membership, Millis, NODE_ID_BYTES, NodeId};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this node, one of the keys of `cluster`.
    pub id: String,
    /// Where the write-ahead log lives; created when missing.
    pub data: PathBuf,
    /// Where clients are served.
    pub client: SocketAddr,
    /// Where messages of peers are received.
    pub peer: SocketAddr,
    /// The address at which each node of the cluster receives messages. This node's own entry is not used: an address may
    /// be that of a proxy, and a node never dials itself.
    pub cluster: BTreeMap<String, SocketAddr>,
    /// Whether this node waits to be added to a running cluster, instead of founding one with everybody in `cluster`. It
    /// only matters when the data directory is empty.
    pub join: bool,
    /// A snapshot is made after so many applied entries, or 64 MiB of them; at least 1.
    pub snapshot_entries: u64,
    /// How often a leader gives a sign of life; 20 ms is a good value on one machine.
    pub heartbeat: Duration,
    /// The shortest election timeout, the longest is twice as long; 150 ms is a good value on one machine.
    pub election: Duration,
    /// Where what the protocol does is written, line by line; nowhere if absent.
    pub trace: Option<PathBuf>,
    /// Whether a leader answers reads from its own state while a lease lasts, without asking anybody. Linearizable only as long as
    /// the clocks of any two nodes advance at rates that differ by at most 10 %; the same on all nodes.
    pub lease_reads: bool,
    /// The id of a wrong variant to run, in builds with the feature `mutants`.
    pub mutant: Option<String>,
}

/// An election timeout below this many heartbeats would take a single late heartbeat for a dead leader.
const MIN_HEARTBEATS_PER_ELECTION: u64 = 3;

impl Options {
    pub(crate) fn id(&self) -> Result<NodeId, NodeError> {
        let id = node_id(&self.id)?;
        if !self.cluster.contains_key(&self.id) {
            let known: Vec<&str> = self.cluster.keys().map(String::as_str).collect();
            return Err(NodeError::NotInCluster { id: self.id.clone(), known: known.join(", ") });
        }
        Ok(id)
    }

    /// The other nodes and where they receive messages.
    pub(crate) fn peers(&self) -> Result<BTreeMap<NodeId, SocketAddr>, NodeError> {
        let others = self.cluster.iter().filter(|(name, _)| **name != self.id);
        others.map(|(name, &address)| Ok((node_id(name)?, address))).collect()
    }

    /// The settings of the protocol.
    pub(crate) fn config(&self) -> Result<Config, NodeError> {
        let id = self.id()?;
        let (heartbeat, election) = (millis(self.heartbeat), millis(self.election));
        if heartbeat.0 == 0 || election.0 < MIN_HEARTBEATS_PER_ELECTION * heartbeat.0 {
            return Err(NodeError::Timing { heartbeat_ms: heartbeat.0, election_ms: election.0 });
        }
        let mut config = Config::new(id, heartbeat, election);
        // A follower that is behind by less than the way to the next snapshot needs none.
        config.limits.retained_entries = self.snapshot_entries / 2;
        config.lease_reads = self.lease_reads;
        #[cfg(feature = "mutants")]
        let config = self.mutated(config)?;
        Ok(config)
    }

    /// The members that an empty log begins with.
    pub(crate) fn founders(&self) -> Result<Membership, NodeError> {
        let founders = if self.join { BTreeMap::new() } else { self.peers()? };
        let me = self.id()?;
        let me = (!self.join).then_some(me);
        Ok(Membership::of_voters(founders.into_keys().chain(me)))
    }

    #[cfg(feature = "mutants")]
    fn mutated(&self, config: Config) -> Result<Config, NodeError> {
        let mutant = self.mutant()?;
        // Nothing is wrong with a clock on which nothing leans.
        let lease_reads = config.lease_reads || mutant == Some(crate::mutant::Mutant::C6);
        Ok(Config { mutant, lease_reads, ..config })
    }

    #[cfg(feature = "mutants")]
    fn mutant(&self) -> Result<Option<crate::mutant::Mutant>, NodeError> {
        let parse = |id: &String| {
            crate::mutant::Mutant::parse(id).ok_or_else(|| NodeError::UnknownMutant {
                id: id.clone(),
                known: crate::mutant_ids().iter().map(|(id, _)| *id).collect::<Vec<_>>().join(", "),
            })
        };
        self.mutant.as_ref().map(parse).transpose()
    }

    /// Refuses a mutant in a build without mutants.
    pub(crate) fn check_mutant_support(&self) -> Result<(), NodeError> {
        match &self.mutant {
            Some(id) if !cfg!(feature = "mutants") => Err(NodeError::NoMutants { id: id.clone() }),
            _ => Ok(()),
        }
    }
}

fn node_id(name: &str) -> Result<NodeId, NodeError> {
    NodeId::new(name).ok_or_else(|| NodeError::NodeName { name: name.to_owned(), limit: NODE_ID_BYTES })
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4))
}
