//! The two ends of a link.

use std::fmt;

use history::NodeId;

/// Where bytes come from or go to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A node of the cluster.
    Node(NodeId),
    /// All clients together.
    Clients,
}

impl Endpoint {
    /// The node, unless these are the clients.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Clients => None,
        }
    }
}

impl From<NodeId> for Endpoint {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<&NodeId> for Endpoint {
    fn from(node: &NodeId) -> Self {
        Self::Node(node.clone())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Clients => f.write_str("clients"),
        }
    }
}

/// One data direction over all connections between two endpoints, whoever dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Where the bytes come from.
    pub source: Endpoint,
    /// Where they go to.
    pub destination: Endpoint,
}

impl Link {
    /// The direction from `source` to `destination`.
    pub fn new(source: impl Into<Endpoint>, destination: impl Into<Endpoint>) -> Self {
        Self { source: source.into(), destination: destination.into() }
    }

    /// The other direction.
    pub fn reversed(&self) -> Self {
        Self { source: self.destination.clone(), destination: self.source.clone() }
    }

    /// Both directions between two endpoints.
    pub fn both(one: impl Into<Endpoint>, other: impl Into<Endpoint>) -> [Self; 2] {
        let link = Self::new(one, other);
        [link.reversed(), link]
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.source, self.destination)
    }
}
