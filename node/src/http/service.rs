//! One request after the other: what it asks for, whether there is room for it, and the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request as HttpRequest, StatusCode};
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

use super::answer::{self, Answer, Refusal};
use super::prometheus::{self, Clients};
use super::route::{self, Route, Verb};
use super::{MAX_CONTROL_BYTES, MAX_TRANSACTION_BYTES, control, transaction, watch};
use crate::events::{EventLog, Throttle};
use crate::machine::{Action, Command, MAX_VALUE_BYTES};
use crate::metrics::Metrics;
use crate::server::{Operation, Query, Reply, Request};

/// Bodies up to this size are not counted: there is at most one for each request.
const SMALL_BODY_BYTES: usize = 4 << 10;
/// The unit in which larger ones are counted.
const BODY_UNIT_BYTES: usize = 1 << 10;

/// How long a body may take to arrive: meanwhile it takes the room of others.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// How much at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// Reads and writes that wait for their answers.
    pub(crate) requests: usize,
    /// Bytes of larger bodies of those.
    pub(crate) body_bytes: usize,
    /// Streams of changes.
    pub(crate) watchers: usize,
}

/// Files that are left for everything but clients.
const OTHER_FILES: u64 = 124;
/// More connections than that are not served even if there are files for them.
const MAX_CONNECTIONS: u64 = 4_096;

impl Limits {
    /// The usual limits, with as many connections as this process may open files for.
    pub(crate) fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let connections = files.saturating_sub(OTHER_FILES).clamp(1, MAX_CONNECTIONS) as usize;
        Self { connections, requests: connections.div_ceil(4) * 3, body_bytes: 64 << 20, watchers: 128 }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Service {
    driver: Sender<Request>,
    metrics: Arc<Metrics>,
    log: EventLog,
    limits: Limits,
    connections: Arc<Semaphore>,
    requests: Semaphore,
    bodies: Semaphore,
    watchers: Arc<Semaphore>,
    complaints: Mutex<Throttle>,
}

impl Service {
    pub(crate) fn new(driver: Sender<Request>, metrics: Arc<Metrics>, log: EventLog, limits: Limits) -> Self {
        let shared = |permits| Arc::new(Semaphore::new(permits));
        Self {
            driver,
            metrics,
            log,
            limits,
            connections: shared(limits.connections),
            requests: Semaphore::new(limits.requests),
            bodies: Semaphore::new(limits.body_bytes / BODY_UNIT_BYTES),
            watchers: shared(limits.watchers),
            complaints: Mutex::default(),
        }
    }

    pub(super) fn log(&self) -> EventLog {
        self.log
    }

    /// Room for one more connection, if there is.
    pub(super) fn connection_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// Tells the operator, now and then, that clients are refused for lack of room.
    pub(super) fn refused(&self, why: &str) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.allows() {
            self.log.warn("refusing-clients", json!({ "reason": why }));
        }
    }

    /// Answers one request.
    pub(super) async fn respond(&self, request: HttpRequest<Incoming>) -> Answer {
        let answer = match self.answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => answer::refuse(&refusal),
        };
        self.metrics.answered(answer.status().as_u16());
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            self.refused("too much at a time");
        }
        answer
    }

    async fn answer(&self, request: HttpRequest<Incoming>) -> Result<Answer, Refusal> {
        let route = route::route(request.method(), request.uri())?;
        let body = request.into_body();
        let operation = match route {
            Route::Watch { selection, from } => {
                let permit = self.watchers.clone().try_acquire_owned();
                let permit = permit.map_err(|_| Refusal::TooManyWatchers)?;
                return Ok(watch::begin(selection, from, self.driver.clone(), permit).await);
            }
            Route::Metrics => return Ok(self.metrics().await),
            Route::Status => Operation::Status,
            Route::Members => Operation::Members,
            Route::Log { from, to } => Operation::Log { from, to },
            Route::Hash => Operation::Hash,
            Route::Change => control::change(&self.control_body(body).await?)?,
            Route::Transfer => control::transfer(&self.control_body(body).await?)?,
            other => return self.work(other, body).await,
        };
        Ok(answer::reply(self.perform(operation).await))
    }

    /// Reads and writes, as many at a time as there is room for.
    async fn work(&self, route: Route, body: Incoming) -> Result<Answer, Refusal> {
        let _slot = self.requests.try_acquire().map_err(|_| Refusal::Overloaded)?;
        let (operation, _room) = match route {
            Route::List { prefix, local: false } => (Operation::Read(Query::Prefix(prefix)), None),
            Route::List { prefix, local: true } => (Operation::ReadLocal(Query::Prefix(prefix)), None),
            Route::Register => (Operation::Write(Action::Register), None),
            Route::Transact { numbered } => {
                let (body, room) =
                    self.body(body, MAX_TRANSACTION_BYTES, Refusal::TransactionTooLarge).await?;
                let command = Command::Transaction(transaction::transaction(&body)?);
                (Operation::Write(Action::Write { numbered, command }), room)
            }
            Route::Key { key, verb: Verb::Get { local: false } } => (Operation::Read(Query::Key(key)), None),
            Route::Key { key, verb: Verb::Get { local: true } } => {
                (Operation::ReadLocal(Query::Key(key)), None)
            }
            Route::Key { key, verb: Verb::Put { expected, numbered } } => {
                let (value, room) = self.body(body, MAX_VALUE_BYTES, Refusal::ValueTooLarge).await?;
                let command = Command::Put { key, expected, value };
                (Operation::Write(Action::Write { numbered, command }), room)
            }
            Route::Key { key, verb: Verb::Delete { expected, numbered } } => {
                let command = Command::Delete { key, expected };
                (Operation::Write(Action::Write { numbered, command }), None)
            }
            other => unreachable!("invariant: {other:?} is answered without a slot"),
        };
        Ok(answer::reply(self.perform(operation).await))
    }

    async fn metrics(&self) -> Answer {
        let Reply::Metrics(gauges) = self.perform(Operation::Metrics).await else {
            return answer::reply(Reply::NoQuorum);
        };
        let in_use = |limit: usize, semaphore: &Semaphore| limit - semaphore.available_permits();
        let clients = Clients {
            connections: in_use(self.limits.connections, &self.connections),
            requests: in_use(self.limits.requests, &self.requests),
            watchers: in_use(self.limits.watchers, &self.watchers),
        };
        let text = prometheus::text(&gauges, &self.metrics, &clients);
        answer::answer(StatusCode::OK, "text/plain; version=0.0.4", text.into())
    }

    async fn control_body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        self.body(body, MAX_CONTROL_BYTES, Refusal::OrderTooLarge).await.map(|(body, _)| body)
    }

    /// Reads a body for which there is room, and keeps the room until the request is answered.
    async fn body(
        &self,
        body: Incoming,
        limit_bytes: usize,
        too_large: Refusal,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
        let announced = body.size_hint().upper().map_or(limit_bytes, |bytes| bytes as usize);
        if announced > limit_bytes {
            return Err(too_large);
        }
        let room = match announced {
            0..=SMALL_BODY_BYTES => None,
            _ => {
                let units = announced.div_ceil(BODY_UNIT_BYTES) as u32;
                Some(self.bodies.try_acquire_many(units).map_err(|_| Refusal::Overloaded)?)
            }
        };
        match timeout(BODY_LIMIT, Limited::new(body, limit_bytes).collect()).await {
            Ok(Ok(collected)) => Ok((collected.to_bytes(), room)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
            Ok(Err(_)) => Err(Refusal::BrokenBody),
            Err(_) => Err(Refusal::SlowBody),
        }
    }

    /// Hands the operation to the driver and waits for its reply. A request that the driver never took did nothing.
    async fn perform(&self, operation: Operation) -> Reply {
        let lost = match operation {
            Operation::Write(_) | Operation::Change(_) | Operation::Transfer(_) => Reply::UnknownOutcome,
            _ => Reply::NoQuorum,
        };
        let (reply, replied) = oneshot::channel();
        match self.driver.try_send(Request { operation, reply }) {
            Ok(()) => replied.await.unwrap_or(lost),
            Err(TrySendError::Full(_)) => Reply::Overloaded,
            Err(TrySendError::Closed(_)) => Reply::NotLeader(None),
        }
    }
}
