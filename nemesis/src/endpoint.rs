//! The two ends of a link.

use std::fmt;
use std::str::FromStr;

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

/// A text that names no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no link; links are written n1→n2 or clients→n1")]
pub struct NoLink(String);

impl FromStr for Link {
    type Err = NoLink;

    fn from_str(text: &str) -> Result<Self, NoLink> {
        let endpoint = |name: &str| match name {
            "clients" => Endpoint::Clients,
            node => Endpoint::Node(NodeId(node.to_owned())),
        };
        let ends = text
            .split_once('→')
            .filter(|(source, destination)| !source.is_empty() && !destination.is_empty());
        let (source, destination) = ends.ok_or_else(|| NoLink(text.to_owned()))?;
        Ok(Self { source: endpoint(source), destination: endpoint(destination) })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_read_as_it_is_written() {
        for link in [
            Link::new(NodeId::numbered(1), NodeId::numbered(2)),
            Link::new(Endpoint::Clients, NodeId::numbered(3)),
        ] {
            assert_eq!(link.to_string().parse(), Ok(link));
        }
        assert!("n1".parse::<Link>().is_err());
        assert!("→n1".parse::<Link>().is_err());
    }
}
