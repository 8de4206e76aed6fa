//! What operators order: other members, another leader.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use crate::raft::{Change, NodeId};
use crate::server::Operation;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ChangeOrder {
    add: BTreeMap<String, Option<SocketAddr>>,
    promote: BTreeSet<String>,
    remove: BTreeSet<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TransferOrder {
    to: Option<String>,
}

/// Reads the body of `POST /members`.
pub(super) fn change(body: &[u8]) -> Result<Operation, Refusal> {
    let order: ChangeOrder = read(body)?;
    let ids = |names: BTreeSet<String>| names.iter().map(|name| node_id(name)).collect::<Result<_, _>>();
    let add = order.add.into_iter().map(|(name, address)| Ok((node_id(&name)?, address)));
    Ok(Operation::Change(Change {
        add: add.collect::<Result<_, Refusal>>()?,
        promote: ids(order.promote)?,
        remove: ids(order.remove)?,
    }))
}

/// Reads the body of `POST /leader`.
pub(super) fn transfer(body: &[u8]) -> Result<Operation, Refusal> {
    let order: TransferOrder = read(body)?;
    let to = order.to.map(|name| node_id(&name)).transpose()?;
    Ok(Operation::Transfer(to))
}

fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| Refusal::query(&error.to_string()))
}

fn node_id(name: &str) -> Result<NodeId, Refusal> {
    NodeId::new(name).ok_or_else(|| Refusal::query(&format!("{name:?} is not a node id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_names_who_comes_and_who_goes() {
        let body = br#"{"add":{"n4":"127.0.0.1:7004","n5":null},"promote":["n3"],"remove":["n1"]}"#;
        let Ok(Operation::Change(change)) = change(body) else { panic!("a change") };
        let id = |name| NodeId::new(name).expect("a legal name");
        assert_eq!(change.add[&id("n4")], Some("127.0.0.1:7004".parse().expect("an address")));
        assert_eq!(
            (change.add[&id("n5")], change.promote, change.remove),
            (None, BTreeSet::from([id("n3")]), BTreeSet::from([id("n1")]),)
        );
    }

    #[test]
    fn nonsense_is_refused_and_not_guessed() {
        for body in [
            r#"{"add":["n4"]}"#,
            r#"{"delete":["n4"]}"#,
            r#"{"remove":["a b"]}"#,
            "[",
            r#"{"add":{"n4":"x"}}"#,
        ] {
            assert!(change(body.as_bytes()).is_err(), "{body}");
        }
        assert!(transfer(br#"{"to":7}"#).is_err());
        assert!(matches!(transfer(b""), Ok(Operation::Transfer(None))));
    }
}
