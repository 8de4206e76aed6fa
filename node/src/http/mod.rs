//! What clients see: HTTP/1.1 with keep-alive.
//!
//! | request | answer |
//! |---|---|
//! | `GET /kv/{key}` | 200 and the value, or 404 `absent`; `?consistency=linearizable` (default) or `local` |
//! | `PUT /kv/{key}` | 200; `?expect={value}` or `?expect_absent=true` make it a compare-and-set |
//! | `DELETE /kv/{key}` | 200 |
//! | `POST /sessions` | 200 and `{"session":17}`; then `PUT` and `DELETE` take `?session=17&sequence=3&answered=2`, and are done once |
//! | `GET /kv?prefix={prefix}` | 200 and `{"entries":[[key,value],…]}`, ascending, all of one moment; `?consistency=` as above |
//! | `GET /status` | 200 and a JSON object |
//! | `GET /members` | 200 and `{"voters":[…],"outgoing":[…],"learners":[…],…}`, as this node has them |
//! | `POST /members` | `{"add":{"n4":"127.0.0.1:7004"},"promote":["n4"],"remove":["n1"]}`, any of them; 200 when the change is complete |
//! | `POST /leader` | `{"to":"n2"}` or `{}`; 200 when this node leads no longer |
//!
//! Keys are percent-encoded and may contain slashes; values are raw bodies, and percent-encoded in listings. A write answers
//! `{"index":…,"term":…,"matched":…}`; a compare-and-set that did not match is an answer like any other. Errors are
//! `{"error":…}`: 421 `not-leader`, 429 `overloaded` and all other 4xx mean that nothing happened; 503 `unknown-outcome` means
//! that a write may or may not take effect, now or later; 503 `no-quorum` means that a read was not answered. New members are
//! added as learners, whose address may be left out where every node knows it; a learner that lacks too much of the log
//! is not promoted (409 `change-refused`).
//!
//! # What it does not do
//! Forward requests to the leader, or retry them: a client must know which node did what.

mod answer;
mod control;
mod route;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use self::answer::Refusal;
use self::route::{Route, Verb};
use crate::events::{EventLog, Throttle};
use crate::machine::{Action, Command};
use crate::server::{Operation, Query, Reply, Request};

/// Client connections at a time; further ones wait in the backlog. Leaves room below the usual limit of 1024 files.
const MAX_CONNECTIONS: usize = 900;
/// The largest value.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 20;
/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 1 << 10;
/// The longest order of an operator.
const MAX_CONTROL_BYTES: usize = 64 << 10;
/// The pause after an accept that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves clients until it is dropped, which closes their connections.
pub(crate) async fn serve(listener: TcpListener, requests: Sender<Request>, log: EventLog) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut complaints = Throttle::default();
    loop {
        let slot = slots.clone().acquire_owned().await.expect("invariant: the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                connections.spawn(async move {
                    serve_connection(stream, requests).await;
                    drop(slot);
                });
            }
            Err(error) => complain(&error, &log, &mut complaints).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn complain(error: &io::Error, log: &EventLog, complaints: &mut Throttle) {
    if complaints.allows() {
        log.warn("accept-failed", json!({ "error": error.to_string() }));
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn serve_connection(stream: TcpStream, requests: Sender<Request>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let requests = requests.clone();
        async move { Ok::<_, Infallible>(respond(request, requests).await) }
    });
    // A connection that breaks or talks nonsense concerns its client only.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: HttpRequest<Incoming>, requests: Sender<Request>) -> Response<Full<Bytes>> {
    match operation(request).await {
        Ok(operation) => answer::reply(perform(operation, requests).await),
        Err(refusal) => answer::refuse(&refusal),
    }
}

async fn operation(request: HttpRequest<Incoming>) -> Result<Operation, Refusal> {
    let (key, verb) = match route::route(request.method(), request.uri())? {
        Route::Key { key, verb } => (key, verb),
        Route::List { prefix, local: false } => return Ok(Operation::Read(Query::Prefix(prefix))),
        Route::List { prefix, local: true } => return Ok(Operation::ReadLocal(Query::Prefix(prefix))),
        Route::Status => return Ok(Operation::Status),
        Route::Members => return Ok(Operation::Members),
        Route::Register => return Ok(Operation::Write(Action::Register)),
        Route::Change => return control::change(&small_body(request.into_body()).await?),
        Route::Transfer => return control::transfer(&small_body(request.into_body()).await?),
    };
    Ok(match verb {
        Verb::Get { local: false } => Operation::Read(Query::Key(key)),
        Verb::Get { local: true } => Operation::ReadLocal(Query::Key(key)),
        Verb::Put { expected, numbered } => {
            let command = Command::Put { key, expected, value: value(request.into_body()).await? };
            Operation::Write(Action::Write { numbered, command })
        }
        Verb::Delete { numbered } => {
            Operation::Write(Action::Write { numbered, command: Command::Delete { key } })
        }
    })
}

async fn value(body: Incoming) -> Result<Bytes, Refusal> {
    limited(body, MAX_VALUE_BYTES).await
}

async fn small_body(body: Incoming) -> Result<Bytes, Refusal> {
    limited(body, MAX_CONTROL_BYTES).await
}

async fn limited(body: Incoming, limit_bytes: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, limit_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::ValueTooLarge),
        Err(_) => Err(Refusal::BrokenBody),
    }
}

/// Hands the operation to the driver and waits for its reply. A request that the driver never took did nothing.
async fn perform(operation: Operation, requests: Sender<Request>) -> Reply {
    let lost = match operation {
        Operation::Write(_) | Operation::Change(_) | Operation::Transfer(_) => Reply::UnknownOutcome,
        Operation::Read(_) | Operation::ReadLocal(_) | Operation::Status | Operation::Members => {
            Reply::NoQuorum
        }
    };
    let (reply, replied) = oneshot::channel();
    match requests.try_send(Request { operation, reply }) {
        Ok(()) => replied.await.unwrap_or(lost),
        Err(TrySendError::Full(_)) => Reply::Overloaded,
        Err(TrySendError::Closed(_)) => Reply::NotLeader(None),
    }
}
