//! `GET /watch`: changes as lines of JSON, as they are applied.
//!
//! | line | meaning |
//! |---|---|
//! | `{"revision":17,"changes":[…]}` | all selected changes of this revision; revisions ascend, and no change is missing or told twice |
//! | `{"progress":17}` | everything up to there was told: the first line, and a sign of life when nothing happens |
//! | `{"end":"compacted","oldest":9}` | the last line: the reader was too slow, or this node got its state from another one |
//! | `{"end":"stopping"}` | the last line: this node stops |
//!
//! A reader goes on, here or elsewhere, from the revision after the last one it was told. A stream without a last line broke.
//! What a slow reader has not read stays in its socket and in the history of the node, and nowhere else.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Either;
use hyper::Response;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::answer::{self, Answer};
use super::render;
use crate::machine::{Batch, Compacted, Revision, Selection};
use crate::raft::Index;
use crate::server::{Operation, Reply, Request, Watch};

/// How long a reader may leave a batch unread.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// The lines of a watcher, made only as fast as they are read.
pub(super) struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|lines| lines.map(|lines| Ok(Frame::data(lines))))
    }
}

/// Answers with a stream of lines, or with the reason why there is none.
pub(super) async fn begin(
    selection: Selection,
    from: Option<Revision>,
    requests: Sender<Request>,
    permit: OwnedSemaphorePermit,
) -> Answer {
    let mut watcher = Watcher { selection, requests };
    let first = Watch { selection: watcher.selection.clone(), next: from, patiently: false };
    match watcher.ask(first).await {
        Some(Reply::Changes { batch, applied }) => {
            let (sender, lines) = mpsc::channel(1);
            tokio::spawn(async move {
                watcher.tell(batch, applied, sender).await;
                drop(permit);
            });
            let mut answer = Response::new(Either::Right(Lines(lines)));
            let content_type = HeaderValue::from_static("application/x-ndjson");
            answer.headers_mut().insert(CONTENT_TYPE, content_type);
            answer
        }
        Some(reply) => answer::reply(reply),
        None => answer::reply(Reply::NoQuorum),
    }
}

struct Watcher {
    selection: Selection,
    requests: Sender<Request>,
}

impl Watcher {
    /// `None` when the node stops.
    async fn ask(&mut self, watch: Watch) -> Option<Reply> {
        let (reply, replied) = oneshot::channel();
        self.requests.send(Request { operation: Operation::Watch(watch), reply }).await.ok()?;
        replied.await.ok()
    }

    /// Tells a reader everything from the first batch on, until one of them has enough.
    async fn tell(&mut self, mut batch: Batch, mut applied: Index, lines: Sender<Bytes>) {
        let mut text = progress(&batch, applied);
        loop {
            batch_lines(&mut text, &batch, applied);
            if !matches!(timeout(STALL_LIMIT, lines.send(text.into())).await, Ok(Ok(()))) {
                return;
            }
            let selection = self.selection.clone();
            let more = Watch { selection, next: Some(batch.next), patiently: true };
            let reply = tokio::select! {
                reply = self.ask(more) => reply,
                () = lines.closed() => return,
            };
            text = String::new();
            let end = match reply {
                Some(Reply::Changes { batch: more, applied: further }) => {
                    (batch, applied) = (more, further);
                    continue;
                }
                Some(Reply::Compacted(Compacted { oldest })) => {
                    json!({ "end": "compacted", "oldest": oldest.0 })
                }
                _ => json!({ "end": "stopping" }),
            };
            push_line(&mut text, &end);
            let _ = timeout(STALL_LIMIT, lines.send(text.into())).await;
            return;
        }
    }
}

/// The first line says from where on the watcher is told everything.
fn progress(batch: &Batch, applied: Index) -> String {
    let mut text = String::new();
    if let Some((first, _)) = batch.changes.first() {
        push_line(&mut text, &json!({ "progress": first.0 - 1 }));
    } else {
        batch_lines(&mut text, batch, applied);
    }
    text
}

/// One line for each revision; a sign of life if there is none.
fn batch_lines(text: &mut String, batch: &Batch, applied: Index) {
    for revision in batch.changes.chunk_by(|(one, _), (other, _)| one == other) {
        let changes: Vec<Json> = revision.iter().map(|(_, change)| render::change(change)).collect();
        push_line(text, &json!({ "revision": revision[0].0.0, "changes": changes }));
    }
    if batch.changes.is_empty() && text.is_empty() {
        // A reader may ask for revisions that this node has not applied yet.
        let told = applied.0.min(batch.next.0 - 1);
        push_line(text, &json!({ "progress": told }));
    }
}

fn push_line(text: &mut String, line: &Json) {
    text.push_str(&line.to_string());
    text.push('\n');
}
