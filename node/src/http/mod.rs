//! What clients see: HTTP/1.1 with keep-alive.
//!
//! | request | answer |
//! |---|---|
//! | `GET /kv/{key}` | 200 and the value, or 404 `absent`; `?consistency=linearizable` (default) or `local` |
//! | `PUT /kv/{key}` | 200; `?expect={value}`, `?expect_revision={revision}` or `?expect_absent=true` make it a compare-and-set |
//! | `DELETE /kv/{key}` | 200; with the same expectations |
//! | `GET /kv?prefix={prefix}` | 200 and `{"entries":[[key,value],…]}`, ascending, all of one moment; `?consistency=` as above |
//! | `POST /txn` | `{"guards":[…],"then":[…],"else":[…]}`; 200 and what every step saw or did |
//! | `POST /sessions` | 200 and `{"session":17}`; then `PUT`, `DELETE` and `POST /txn` take `?session=17&sequence=3&answered=2`, and are done once |
//! | `GET /watch?prefix={prefix}&from={revision}` | 200 and lines of JSON as data changes (`watch`), or 410 `compacted`; `?key=` for one key |
//! | `GET /status` | 200 and a JSON object |
//! | `GET /metrics` | 200 and text for Prometheus |
//! | `GET /members` | 200 and `{"voters":[…],"outgoing":[…],"learners":[…],…}`, as this node has them |
//! | `POST /members` | `{"add":{"n4":"127.0.0.1:7004"},"promote":["n4"],"remove":["n1"]}`, any of them; 200 when the change is complete |
//! | `POST /leader` | `{"to":"n2"}` or `{}`; 200 when this node leads no longer |
//! | `GET /debug/log?from=1&to=9` | 200, and index, term, kind and checksum of entries in the log of this node |
//! | `GET /debug/hash` | 200, and the digests of what this node has applied |
//!
//! Keys are percent-encoded and may contain slashes; values are raw bodies, and percent-encoded in JSON. A write answers
//! `{"index":…,"term":…,"revision":…,"matched":…}`; a compare-and-set that did not match is an answer like any other. Errors are
//! `{"error":…}`: 421 `not-leader`, 429 `overloaded` and all other 4xx mean that nothing happened; 503 `unknown-outcome` means
//! that a write may or may not take effect, now or later; 503 `no-quorum` means that a read was not answered. New members are
//! added as learners, whose address may be left out where every node knows it; a learner that lacks too much of the log
//! is not promoted (409 `change-refused`).
//!
//! # Revisions
//! An entry that changes data makes a revision, its index. `GET` tells with the headers `x-revision` when the key was changed
//! last, `x-created-revision` when it came to be, `x-version` how often it was written since, and `x-store-revision`
//! when anything was changed last. Who has read at a store revision can watch from the next one and misses nothing.
//!
//! # Transactions
//! A guard is `{"key":…}` with `"value":…`, `"revision":…` or `"absent":true`. If all hold the steps under `then` are taken, else
//! those under `else`, all or none, in one entry: `{"read":key}`, `{"put":key,"value":…}`, `{"delete":key}`,
//! `{"append":key,"value":…}`. What a key was appended to is a list; it reads as a JSON array of its elements, percent-encoded.
//! A transaction that cannot be done does nothing: 409 `not-a-list`, 413 `list-too-large` or `answer-too-large`.
//!
//! # Limits
//! | of what | refusal |
//! |---|---|
//! | a value 1 MiB, a key 1 KiB | 413 `value-too-large`, 414 `key-too-long` |
//! | a transaction 128 guards and steps in 2 MiB of JSON | 413 `transaction-too-large` |
//! | a listing 64 MiB, an order of an operator 64 KiB | 413 `listing-too-large`, `order-too-large` |
//! | connections: as many as there are files for, and 4096 | 429 `too-many-connections` |
//! | requests at a time: three quarters of that, with 64 MiB of large bodies | 429 `overloaded` |
//! | watchers 128 | 429 `too-many-watchers` |
//! | sessions 10,000, each with numbers up to 1024 ahead of what is answered | 429 `too-many-sessions`, 400 `too-far-ahead` |
//! | answers kept 1 MiB a session, 64 MiB together | 429 `too-many-answers` |
//! | the time of a body 10 s | 408 `slow-body` |
//!
//! # What it does not do
//! Forward requests to the leader, or retry them: a client must know which node did what.

mod answer;
mod control;
mod percent;
mod prometheus;
mod render;
mod route;
mod service;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use self::service::{Limits, Service};
use crate::events::Throttle;

/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 1 << 10;
/// The largest body of a transaction.
const MAX_TRANSACTION_BYTES: usize = 2 << 20;
/// The longest order of an operator.
const MAX_CONTROL_BYTES: usize = 64 << 10;
/// The pause after an accept that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are told that there are too many; more are closed without a word.
const MAX_TURNED_AWAY: usize = 64;
/// How long a client that is turned away may take to read why.
const TURN_AWAY_LIMIT: Duration = Duration::from_secs(1);

/// Serves clients until it is to stop: then nobody is accepted any more, and it ends when everything is answered. Dropping
/// it closes the connections.
pub(crate) async fn serve(listener: TcpListener, service: Service, mut stopping: Receiver<bool>) {
    let service = Arc::new(service);
    let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let mut complaints = Throttle::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        while turned_away.try_join_next().is_some() {}
        match (accepted, service.connection_slot()) {
            (Ok((stream, _)), Some(slot)) => {
                let (service, stopping) = (service.clone(), stopping.clone());
                connections.spawn(async move {
                    serve_connection(stream, service, stopping).await;
                    drop(slot);
                });
            }
            (Ok((stream, _)), None) if turned_away.len() < MAX_TURNED_AWAY => {
                service.refused("too-many-connections");
                turned_away.spawn(timeout(TURN_AWAY_LIMIT, turn_away(stream)));
            }
            (Ok(_), None) => {}
            (Err(error), _) => complain(&error, &service, &mut complaints).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn complain(error: &io::Error, service: &Service, complaints: &mut Throttle) {
    if complaints.allows() {
        service.log().warn("accept-failed", json!({ "error": error.to_string() }));
    }
    sleep(ACCEPT_PAUSE).await;
}

/// Says why before the connection is closed, and reads what the client sends meanwhile: closing with unread bytes would
/// reset the connection, and the client would not see the reason.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    const BODY: &str = r#"{"error":"too-many-connections"}"#;
    let head = "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

async fn serve_connection(stream: TcpStream, service: Arc<Service>, mut stopping: Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let respond = service_fn(|request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
    tokio::pin!(connection);
    // A connection that breaks or talks nonsense concerns its client only.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
