//! How a node is dialled: on loopback, or by way of the switch that it is attached to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::switch::Switch;

/// Where a node listens.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) switch: Option<Arc<Switch>>,
}

impl Upstream {
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        match &self.switch {
            Some(switch) => switch.connect(self.address).await,
            None => TcpStream::connect(self.address).await,
        }
    }
}
