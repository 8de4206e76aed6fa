//! Addresses of a run: a block of loopback addresses of its own, so that runs beside each other, and sockets that
//! linger from earlier ones, never meet.
//!
//! All of 127.0.0.0/8 is local on Linux. A run claims 127.x.y.0/24 by holding a listening socket in it; node `i` gets
//! 127.x.y.i, and its ports are the same in every run.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::bail;

/// The port by which a block is claimed, on its last address.
const CLAIM_PORT: u16 = 20_001;
/// Where nodes listen for clients.
const CLIENT_PORT: u16 = 20_010;
/// Where nodes listen for peers.
const PEER_PORT: u16 = 20_011;
/// How many blocks are tried.
const ATTEMPTS: u32 = 1000;

/// A claimed block; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct AddressBlock {
    block: [u8; 2],
    _claim: TcpListener,
}

impl AddressBlock {
    /// Claims a block that nobody holds.
    pub(crate) fn claim() -> anyhow::Result<Self> {
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let drawn = RandomState::new().hash_one(attempt).to_le_bytes();
            // 127.0.x.y is where people and other software are.
            let block = [1 + drawn[0] % 254, drawn[1]];
            match TcpListener::bind((Ipv4Addr::new(127, block[0], block[1], 254), CLAIM_PORT)) {
                Ok(claim) => return Ok(Self { block, _claim: claim }),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map(|error| error.to_string()).unwrap_or_default();
        bail!(
            "no loopback addresses are to be had ({why}); is 127.0.0.0/8 local here? See `shakedown doctor`"
        )
    }

    /// The address of the `i`-th node.
    pub(crate) fn node(&self, i: usize) -> Ipv4Addr {
        let host = u8::try_from(1 + i).expect("invariant: clusters are small");
        Ipv4Addr::new(127, self.block[0], self.block[1], host)
    }
}

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listens {
    pub(crate) clients: SocketAddr,
    pub(crate) peers: SocketAddr,
}

impl Listens {
    /// Where the node listens that has this address.
    pub(crate) fn at(address: Ipv4Addr) -> Self {
        Self { clients: (address, CLIENT_PORT).into(), peers: (address, PEER_PORT).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_two_runs_differ() {
        let (a, b) = (AddressBlock::claim().unwrap(), AddressBlock::claim().unwrap());
        assert_ne!(a.node(0), b.node(0));
        assert_ne!(a.node(0), a.node(1));
        assert!(a.node(0).is_loopback());
    }
}
