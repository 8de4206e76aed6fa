//! When writes are acknowledged: for the first time, and again after the leader was killed.
//!
//! Each address is asked again and again, with a short limit: with a long one, the limit and not the server would be
//! measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::job::{FirstWrite, Outage, Protocol};

/// How long one attempt may take.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(30);
/// Between two attempts at one address.
const PAUSE: Duration = Duration::from_millis(2);
/// When nobody will acknowledge any more.
const LIMIT: Duration = Duration::from_secs(30);
/// How long writes have to go on afterwards: a leader that falls at once has not ended the outage.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// Writes until somebody acknowledges.
pub(crate) async fn first_write(job: &FirstWrite) -> anyhow::Result<Value> {
    let mut probes = Probes::start(job.protocol, &job.addresses);
    println!("ready");
    probes.acknowledged().await?;
    Ok(json!({ "acknowledged": true }))
}

/// Kills the leader; the answer is the longest time without an acknowledgement from then on.
pub(crate) async fn outage(job: &Outage) -> anyhow::Result<Value> {
    let mut before = Probes::start(job.protocol, &[job.leader_address]);
    before.acknowledged().await?;
    drop(before);
    let leader = i32::try_from(job.leader).ok().and_then(Pid::from_raw).context("no process id")?;
    let mut probes = Probes::start(job.protocol, &job.survivors);
    kill_process(leader, Signal::KILL).context("cannot kill the leader")?;
    let killed = Instant::now();
    // What was acknowledged before the kill says nothing about the time after it.
    let mut last = killed;
    let mut longest = Duration::ZERO;
    let mut first = None;
    while first.is_none_or(|first: Instant| last < first + AFTERWARDS) {
        let at = probes.acknowledged().await?;
        if at.sent < killed {
            continue;
        }
        first.get_or_insert(at.answered);
        longest = longest.max(at.answered.saturating_duration_since(last));
        last = last.max(at.answered);
    }
    Ok(json!({ "outage_ms": longest.as_secs_f64() * 1e3 }))
}

/// An acknowledged write.
struct Acknowledged {
    sent: Instant,
    answered: Instant,
}

/// A task for each address. They end with this.
struct Probes {
    acknowledgements: UnboundedReceiver<Acknowledged>,
    _tasks: JoinSet<()>,
}

impl Probes {
    fn start(protocol: Protocol, addresses: &[SocketAddr]) -> Self {
        let (sender, acknowledgements) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for address in addresses {
            tasks.spawn(probe(protocol, *address, sender.clone()));
        }
        Self { acknowledgements, _tasks: tasks }
    }

    async fn acknowledged(&mut self) -> anyhow::Result<Acknowledged> {
        let acknowledged =
            timeout(LIMIT, self.acknowledgements.recv()).await.context("no write is acknowledged")?;
        acknowledged.context("invariant: probes go on until they are dropped")
    }
}

async fn probe(protocol: Protocol, address: SocketAddr, acknowledgements: UnboundedSender<Acknowledged>) {
    let mut connection = None;
    loop {
        let sent = Instant::now();
        let attempt = timeout(ATTEMPT_LIMIT, write(protocol, address, connection.take())).await;
        if let Ok(Ok(reusable)) = attempt {
            connection = Some(reusable);
            let answered = Instant::now();
            if acknowledgements.send(Acknowledged { sent, answered }).is_err() {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Writes once; the connection is worth keeping only if that was acknowledged.
async fn write(
    protocol: Protocol,
    address: SocketAddr,
    connection: Option<Connection>,
) -> anyhow::Result<Connection> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(protocol, address).await?,
    };
    connection.put("probe", "1".into()).await?;
    Ok(connection)
}
