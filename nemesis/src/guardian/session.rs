//! The task that owns the orchestrator's end of the control socket.
//!
//! It is the only one that reads and writes it, so answers and events reach the run in the order in which the guardian
//! sent them. It ends when the guardian has ended and nothing below it is left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::orphans::{self, Registration};
use super::wire::{Call, Done, Message, Mounter, Request};
use super::{GuardianEvent, helper};

type Answer = oneshot::Sender<Result<Done, String>>;

/// What the handle wants from the session.
pub(super) enum Order {
    Ask { request: Request, reply: Answer },
    End,
}

pub(super) struct Session {
    from_guardian: Lines<BufReader<OwnedReadHalf>>,
    /// `None` once the end was asked for; the guardian sees the end of its input.
    to_guardian: Option<OwnedWriteHalf>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<GuardianEvent>,
    waiting: BTreeMap<u64, Answer>,
    next_number: u64,
    /// What everybody sees, and the guardian unmounts unless it is killed.
    visible: BTreeSet<PathBuf>,
}

impl Session {
    pub(super) fn new(
        socket: UnixStream,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<GuardianEvent>,
    ) -> Self {
        let (reader, writer) = socket.into_split();
        let from_guardian = BufReader::new(reader).lines();
        Self {
            from_guardian,
            to_guardian: Some(writer),
            orders,
            events,
            waiting: BTreeMap::new(),
            next_number: 0,
            visible: BTreeSet::new(),
        }
    }

    /// Serves until the guardian is gone, then makes sure that nothing below it is left.
    pub(super) async fn run(mut self, mut child: Child, registration: Registration) {
        let complaint = self.talk().await;
        let asked_for = self.to_guardian.take().is_none();
        self.waiting.clear();
        self.orders.close();
        // The kernel closes the guardian's socket before it hands the guardian's children over to this process, so
        // orphans are complete only once the guardian was waited for.
        let status = child.wait().await;
        drop(registration);
        let killed = orphans::kill_orphans().await;
        let visible = self.visible;
        // The task of a blocking function ends with it.
        let _ = spawn_blocking(move || visible.iter().for_each(|target| helper::detach(target))).await;
        if !asked_for {
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let why = complaint.map(|complaint| format!(", {complaint}")).unwrap_or_default();
            let detail =
                format!("the guardian ended by itself ({how}{why}); {killed} processes were cleaned up");
            // Nobody may be interested any more.
            let _ = self.events.send(GuardianEvent::Died { detail }).await;
        }
    }

    /// Passes orders and messages until the socket ends; says what was wrong with it, if anything was.
    async fn talk(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                order = self.orders.recv(), if self.to_guardian.is_some() => match order {
                    Some(Order::Ask { request, reply }) => self.ask(request, reply).await,
                    Some(Order::End) | None => self.to_guardian = None,
                },
                line = self.from_guardian.next_line() => match line {
                    Ok(Some(line)) => match serde_json::from_str(&line) {
                        Ok(message) => self.hear(message).await,
                        Err(error) => return Some(format!("it said {line:?}: {error}")),
                    },
                    Ok(None) => return None,
                    Err(error) => return Some(error.to_string()),
                },
            }
        }
    }

    /// Requests are far smaller than the socket's buffer, so writing one cannot wait for the guardian to read while
    /// the guardian waits for this task to read.
    async fn ask(&mut self, request: Request, reply: Answer) {
        let Some(writer) = &mut self.to_guardian else { return };
        let number = self.next_number;
        self.next_number += 1;
        let mut line =
            serde_json::to_vec(&Call { number, request }).expect("invariant: calls have string keys");
        line.push(b'\n');
        self.waiting.insert(number, reply);
        // A guardian that is gone ends the reading side, which tells everybody who waits.
        let _ = writer.write_all(&line).await;
    }

    async fn hear(&mut self, message: Message) {
        let event = match message {
            Message::Reply { number, result } => {
                if let Ok(Done::Mounted { target, by: Mounter::Helper }) = &result {
                    self.visible.insert(target.clone());
                }
                let spawned = match &result {
                    Ok(Done::Spawned { node, identity }) => {
                        Some(GuardianEvent::Spawned { node: node.clone(), identity: *identity })
                    }
                    _ => None,
                };
                if let Some(reply) = self.waiting.remove(&number) {
                    // Who asked may have given up.
                    let _ = reply.send(result);
                }
                spawned
            }
            Message::Exited { node, identity, status } => {
                Some(GuardianEvent::Exited { node, identity, status })
            }
        };
        if let Some(event) = event {
            let _ = self.events.send(event).await;
        }
    }
}
