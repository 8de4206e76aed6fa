//! The sending side: one task per peer that dials, sends and dials again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::wire::{handshake, put_frame};
use super::{MAX_BACKOFF, MIN_BACKOFF, PEER_QUEUE_MESSAGES, STALL_LIMIT};
use crate::events::{EventLog, Throttle};
use crate::raft::{Message, NodeId};

/// Encoded bytes after which a write takes no more messages.
const MAX_WRITE_BYTES: usize = 1 << 20;

/// Queues messages for one peer.
#[derive(Debug)]
pub(crate) struct PeerSender(mpsc::Sender<Message>);

impl PeerSender {
    /// Queues a message, or drops it when the queue is full.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.0.try_send(message);
    }
}

/// The task that serves one peer.
#[derive(Debug)]
pub(crate) struct Peer {
    me: NodeId,
    peer: NodeId,
    address: SocketAddr,
    queue: mpsc::Receiver<Message>,
    log: EventLog,
    news: Throttle,
}

impl Peer {
    /// A queue and the task that empties it.
    pub(crate) fn new(me: NodeId, peer: NodeId, address: SocketAddr, log: EventLog) -> (PeerSender, Self) {
        let (sender, queue) = mpsc::channel(PEER_QUEUE_MESSAGES);
        (PeerSender(sender), Self { me, peer, address, queue, log, news: Throttle::default() })
    }

    /// Runs until the queue's sender is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        while !self.queue.is_closed() {
            match self.dial().await {
                Ok(stream) => {
                    let since = Instant::now();
                    let reason = self.serve(stream).await;
                    self.report_lost(since, reason);
                    if since.elapsed() >= STALL_LIMIT {
                        backoff = MIN_BACKOFF;
                    }
                }
                // Old messages would only delay fresh ones; the leader finds out what is missing.
                Err(_) => self.forget_queued(),
            }
            sleep(backoff).await;
            backoff = next_backoff(backoff);
        }
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let hello = handshake(self.me, self.peer);
        let dialled = timeout(STALL_LIMIT, async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&hello).await?;
            io::Result::Ok(stream)
        });
        dialled.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends until the connection fails; returns why.
    async fn serve(&mut self, mut stream: TcpStream) -> &'static str {
        let mut batch = Vec::new();
        let mut buffer = Vec::new();
        let (mut reader, mut writer) = stream.split();
        let mut byte = [0];
        loop {
            tokio::select! {
                // The peer never sends on this connection, so whatever can be read is its end.
                _ = reader.read(&mut byte) => return "closed by the peer",
                received = self.queue.recv_many(&mut batch, PEER_QUEUE_MESSAGES) => if received == 0 {
                    return "shutting down";
                },
            }
            for message in batch.drain(..) {
                put_frame(&mut buffer, &message);
                if buffer.len() >= MAX_WRITE_BYTES && !flush(&mut writer, &mut buffer).await {
                    return "no progress";
                }
            }
            if !flush(&mut writer, &mut buffer).await {
                return "no progress";
            }
        }
    }

    fn report_lost(&mut self, since: Instant, reason: &str) {
        if self.news.allows() {
            let (peer, after_ms) = (self.peer.as_str(), since.elapsed().as_millis() as u64);
            self.log
                .info("peer-disconnected", json!({ "peer": peer, "after_ms": after_ms, "reason": reason }));
        }
    }

    fn forget_queued(&mut self) {
        while self.queue.try_recv().is_ok() {}
    }
}

/// Writes and empties the buffer; `false` when the connection failed or made no progress for too long.
async fn flush(writer: &mut (impl AsyncWriteExt + Unpin), buffer: &mut Vec<u8>) -> bool {
    let mut sent = 0;
    while sent < buffer.len() {
        match timeout(STALL_LIMIT, writer.write(&buffer[sent..])).await {
            Ok(Ok(count)) if count > 0 => sent += count,
            _ => return false,
        }
    }
    buffer.clear();
    true
}

fn next_backoff(backoff: Duration) -> Duration {
    (backoff * 2).min(MAX_BACKOFF)
}
