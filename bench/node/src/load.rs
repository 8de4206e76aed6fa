//! Closed loops: every client asks again as soon as it is answered.
//!
//! What counts is what is completed within the window, whose beginning and end are also those of the processor times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::job::{Fill, Load, Loaded, Operation, Space};
use crate::keys::Numbers;
use crate::processor::Spent;

/// How long the last answers may take after the window.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const DONE: u8 = 2;

type Recorded = Histogram<u64>;

/// Writes every key once.
pub(crate) async fn fill(job: &Fill) -> anyhow::Result<Value> {
    let mut clients = JoinSet::new();
    let connections = Connection::open_all(job.protocol, job.address, job.clients).await?;
    for (client, mut connection) in connections.into_iter().enumerate() {
        let (space, step) = (job.space, job.clients);
        clients.spawn(async move {
            for number in (client as u64..space.keys).step_by(step) {
                let key = space.key(number);
                connection.put(&key, space.value(&key, client, 0)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(json!({ "keys": job.space.keys }))
}

/// Operates, and measures.
pub(crate) async fn run(job: &Load) -> anyhow::Result<Loaded> {
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let mut clients = JoinSet::new();
    let connections = Connection::open_all(job.protocol, job.address, job.clients).await?;
    for (number, connection) in connections.into_iter().enumerate() {
        let client = Client { number, connection, operation: job.operation, space: job.space, last_write: 0 };
        clients.spawn(client.run(phase.clone()));
    }
    tokio::select! {
        measured = measure(job, &phase) => {
            let (seconds, before, after) = measured?;
            let recorded = timeout(LAST_ANSWERS, merge(clients)).await.context("an operation is never answered")??;
            loaded(&recorded, seconds, before, after)
        }
        Some(ended) = clients.join_next() => match ended? {
            Err(error) => Err(error),
            Ok(_) => bail!("invariant: clients go on until the window ends"),
        }
    }
}

async fn measure(job: &Load, phase: &AtomicU8) -> anyhow::Result<(f64, Spent, Spent)> {
    sleep(Duration::from_millis(job.warm_up_ms)).await;
    let before = Spent::now(&job.processes)?;
    let begin = Instant::now();
    phase.store(MEASURE, Ordering::Relaxed);
    sleep(Duration::from_millis(job.measure_ms)).await;
    phase.store(DONE, Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    Ok((seconds, before, Spent::now(&job.processes)?))
}

async fn merge(mut clients: JoinSet<anyhow::Result<Recorded>>) -> anyhow::Result<Recorded> {
    let mut all = recorder()?;
    while let Some(ended) = clients.join_next().await {
        all.add(ended??)?;
    }
    Ok(all)
}

fn loaded(recorded: &Recorded, seconds: f64, before: Spent, after: Spent) -> anyhow::Result<Loaded> {
    ensure!(!recorded.is_empty(), "not a single operation was completed");
    let at = |quantile| recorded.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Loaded {
        operations: recorded.len(),
        seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: recorded.max() as f64 / 1e3,
        servers_cpu_seconds: after.servers - before.servers,
        generator_cpu_seconds: after.generator - before.generator,
        machine_cpu_seconds: after.machine - before.machine,
    })
}

/// Nanoseconds to three digits.
fn recorder() -> anyhow::Result<Recorded> {
    Ok(Histogram::new(3)?)
}

struct Client {
    number: usize,
    connection: Connection,
    operation: Operation,
    space: Space,
    /// The position of the last write in the order of all writes.
    last_write: u64,
}

impl Client {
    async fn run(mut self, phase: Arc<AtomicU8>) -> anyhow::Result<Recorded> {
        let mut recorded = recorder()?;
        let mut numbers = Numbers::of_client(self.number);
        for sequence in 1.. {
            let key = self.space.key(numbers.next());
            let begin = Instant::now();
            self.operate(&key, sequence).await?;
            match phase.load(Ordering::Relaxed) {
                MEASURE => recorded.record(begin.elapsed().as_nanos() as u64)?,
                DONE => break,
                _ => {}
            }
        }
        Ok(recorded)
    }

    async fn operate(&mut self, key: &str, sequence: u64) -> anyhow::Result<()> {
        match self.operation {
            Operation::Put => {
                let value = self.space.value(key, self.number, sequence);
                let position = self.connection.put(key, value).await?;
                ensure!(position > self.last_write, "a later write was put before an earlier one");
                self.last_write = position;
            }
            Operation::Get => {
                let value = self.connection.get(key).await?;
                ensure!(self.space.is_value_of(key, &value), "{key} has a value that nobody wrote");
            }
        }
        Ok(())
    }
}
