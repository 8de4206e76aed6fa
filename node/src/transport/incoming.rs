//! The receiving side: accepts connections of peers and passes their messages on.
//!
//! The newest connection of a peer replaces its older one, so that a peer that dials again and again through a network
//! that holds connections open cannot pile them up. A peer that sends faster than this node works is slowed down by TCP.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::wire::{self, FRAME_HEADER_BYTES, HANDSHAKE_BYTES, WireError};
use super::{MAX_BACKOFF, STALL_LIMIT};
use crate::events::{EventLog, Throttle};
use crate::raft::{Message, NodeId};

/// Connections that have not said who they are; more are closed at once.
const MAX_HANDSHAKES: usize = 64;
/// Read from the socket at once.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// A message and the peer that sent it.
pub(crate) type Received = (NodeId, Message);

/// Accepts peers; dropping it closes their connections.
#[derive(Debug)]
pub(crate) struct Incoming {
    me: NodeId,
    messages: mpsc::Sender<Received>,
    log: EventLog,
    complaints: Throttle,
    handshakes: JoinSet<Result<(NodeId, TcpStream), WireError>>,
    readers: JoinSet<Result<(), WireError>>,
    current: BTreeMap<NodeId, AbortHandle>,
}

impl Incoming {
    /// Passes the messages of everybody but `me` to `messages`: who is a member is a matter of the log.
    pub(crate) fn new(me: NodeId, messages: mpsc::Sender<Received>, log: EventLog) -> Self {
        Self {
            me,
            messages,
            log,
            complaints: Throttle::default(),
            handshakes: JoinSet::new(),
            readers: JoinSet::new(),
            current: BTreeMap::new(),
        }
    }

    /// Accepts until it is dropped.
    pub(crate) async fn run(mut self, listener: TcpListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => self.accepted(accepted.map(|(stream, _)| stream)).await,
                Some(Ok(shaken)) = self.handshakes.join_next() => self.shaken(shaken),
                Some(Ok(Err(reason))) = self.readers.join_next() => self.complain(&reason),
            }
        }
    }

    async fn accepted(&mut self, accepted: io::Result<TcpStream>) {
        match accepted {
            Ok(stream) if self.handshakes.len() < MAX_HANDSHAKES => {
                self.handshakes.spawn(shake(stream, self.me));
            }
            Ok(_) => {}
            // Out of file descriptors, most likely: trying again at once would only burn the processor.
            Err(error) => {
                self.complain(&error.into());
                sleep(MAX_BACKOFF).await;
            }
        }
    }

    fn shaken(&mut self, shaken: Result<(NodeId, TcpStream), WireError>) {
        match shaken {
            Ok((from, stream)) => {
                let reader = self.readers.spawn(pass_on(stream, from, self.messages.clone()));
                if let Some(older) = self.current.insert(from, reader) {
                    older.abort();
                }
            }
            Err(reason) => self.complain(&reason),
        }
    }

    /// Logs what is wrong with a connection, unless it is only gone.
    fn complain(&mut self, reason: &WireError) {
        let gone = matches!(reason, WireError::Timeout)
            || matches!(reason, WireError::Io(error) if error.kind() != io::ErrorKind::Other);
        if !gone && self.complaints.allows() {
            self.log.warn("peer-connection-refused", json!({ "reason": reason.to_string() }));
        }
    }
}

async fn shake(mut stream: TcpStream, me: NodeId) -> Result<(NodeId, TcpStream), WireError> {
    let mut hello = [0; HANDSHAKE_BYTES];
    timeout(STALL_LIMIT, stream.read_exact(&mut hello)).await.map_err(|_| WireError::Timeout)??;
    let (from, to) = wire::read_handshake(hello)?;
    if to != me {
        return Err(WireError::WrongReceiver(to));
    }
    if from == me {
        return Err(WireError::FromMyself(from));
    }
    Ok((from, stream))
}

async fn pass_on(stream: TcpStream, from: NodeId, messages: mpsc::Sender<Received>) -> Result<(), WireError> {
    let mut stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    loop {
        let mut header = [0; FRAME_HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let (length, checksum) = wire::read_frame_header(header)?;
        let message = wire::read_frame(read_body(&mut stream, length).await?, checksum)?;
        if messages.send((from, message)).await.is_err() {
            return Ok(());
        }
    }
}

async fn read_body(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<Bytes> {
    let mut body = BytesMut::zeroed(length);
    stream.read_exact(&mut body).await?;
    Ok(body.freeze())
}
