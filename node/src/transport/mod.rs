//! Messages between nodes over TCP, one connection per direction.
//!
//! Each node dials every peer and sends only on the connections that it dialled; what it receives comes on connections that
//! its peers dialled. A connection starts with a handshake and carries frames of length, checksum and message.
//!
//! # Guarantees
//! Memory is bounded whatever the network does. A frame that arrives is whole and from the peer that the handshake named.
//! A connection that makes no progress is given up and dialled anew.
//!
//! # What it does not do
//! Deliver. Messages are dropped when a queue is full or a connection breaks, and messages on an old connection can arrive
//! after newer ones on its successor; the protocol allows both.
//!
//! Start reading at `outgoing`, then `incoming`.

mod incoming;
mod outgoing;
mod wire;

pub(crate) use self::incoming::{Incoming, Received};
pub(crate) use self::outgoing::{Peer, PeerSender};

use std::time::Duration;

/// Messages that wait for one peer; more are dropped.
const PEER_QUEUE_MESSAGES: usize = 1024;
/// The largest frame: one append of the usual limit plus one entry with the largest key, value and expected value.
const MAX_FRAME_BYTES: usize = 4 << 20;
/// How long a dial, a handshake or the sending of one batch may take before the connection is given up.
const STALL_LIMIT: Duration = Duration::from_secs(1);
/// The first pause after a failed dial; doubled up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(20);
/// The longest pause between dials.
const MAX_BACKOFF: Duration = Duration::from_millis(100);
