//! A client's connection, whatever it speaks.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::job::Protocol;
use crate::{grpc, http};

/// What clients that speak gRPC share at most; as many clients of one process would.
pub(crate) const MAX_GRPC_CONNECTIONS: usize = 16;

/// An open connection.
pub(crate) enum Connection {
    Http(http::Connection),
    Grpc(grpc::Connection),
}

impl Connection {
    pub(crate) async fn open(protocol: Protocol, address: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http => Self::Http(http::Connection::open(stream, address).await?),
            Protocol::Grpc => Self::Grpc(grpc::Connection::open(stream, address).await?),
        })
    }

    /// One for each client.
    pub(crate) async fn open_all(
        protocol: Protocol,
        address: SocketAddr,
        clients: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let mut connections: Vec<Self> = Vec::with_capacity(clients);
        for client in 0..clients {
            let shared = match protocol {
                Protocol::Grpc if client >= MAX_GRPC_CONNECTIONS => {
                    connections[client % MAX_GRPC_CONNECTIONS].share()
                }
                Protocol::Grpc | Protocol::Http => None,
            };
            connections.push(match shared {
                Some(connection) => connection,
                None => Self::open(protocol, address).await?,
            });
        }
        Ok(connections)
    }

    /// The same connection for another client, where the protocol can do that.
    fn share(&self) -> Option<Self> {
        match self {
            Self::Http(_) => None,
            Self::Grpc(connection) => Some(Self::Grpc(connection.clone())),
        }
    }

    /// Writes, and returns the position of the write in the order of all writes.
    pub(crate) async fn put(&mut self, key: &str, value: Bytes) -> anyhow::Result<u64> {
        match self {
            Self::Http(connection) => connection.put(key, value).await,
            Self::Grpc(connection) => connection.put(key, value).await,
        }
    }

    /// Reads as of now or later.
    pub(crate) async fn get(&mut self, key: &str) -> anyhow::Result<Bytes> {
        match self {
            Self::Http(connection) => connection.get(key).await,
            Self::Grpc(connection) => connection.get(key).await,
        }
    }
}
