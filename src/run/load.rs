//! The load: workers that turn templates into operations, each with a process, a client and a node it is pinned to.
//!
//! A worker's i-th operation is meant to start at a fixed time, whether or not the one before took long; latency is
//! recorded from that time too. A process whose operation ended in doubt is retired with its connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use history::{Event, EventKind, Nanos, NodeId, Process};
use serde_json::Value;
use targets::{ClientOptions, Target};
use tokio::sync::watch;
use workloads::template::Observed;
use workloads::{Client, Completion, Reads, Stream, Template, Workload};

use super::recorder::Recorder;

/// How often a final read is tried, each time as an operation of its own.
const FINAL_ATTEMPTS: u32 = 40;
/// The wait between two of them.
const FINAL_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a refusal when the load runs as fast as it can.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);
/// The stream of the jitter of start times is apart from the stream of the templates.
const PACING_STREAM: u64 = 0x7061_6365;

/// What all workers share.
pub(crate) struct Load {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) workload: Arc<dyn Workload>,
    pub(crate) recorder: Recorder,
    pub(crate) endpoints: BTreeMap<NodeId, SocketAddr>,
    pub(crate) reads: Reads,
    pub(crate) seed: u64,
    pub(crate) workers: u32,
    /// The distance between the processes of one worker: no two workers ever share one.
    pub(crate) process_stride: u32,
    pub(crate) rate: f64,
    /// The only keys that operations are about; empty means all.
    pub(crate) keys: Vec<String>,
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
}

impl Load {
    /// Runs one worker until the end of the load or until `stop` says so; returns how many templates it used.
    pub(crate) async fn work(
        self: Arc<Self>,
        worker: u32,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<u64> {
        let nodes: Vec<NodeId> = self.endpoints.keys().cloned().collect();
        let home = nodes[worker as usize % nodes.len()].clone();
        let follow_hints = self.workload.follows_hints(worker, self.workers);
        let mut session = Session::open(self.clone(), worker, home, follow_hints)?;
        for i in 0.. {
            let intended = self.intended(worker, i);
            if intended >= self.end {
                return Ok(i);
            }
            let until = tokio::time::Instant::from_std(self.recorder.clock().instant(intended));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(i),
            }
            // A worker that fell behind does not drag the load beyond its end.
            if self.recorder.clock().now() >= self.end {
                return Ok(i);
            }
            let template = self.workload.template(self.seed, worker, self.workers, i);
            if !self.is_wanted(&template) {
                continue;
            }
            let done = session.perform(&template, intended, false).await?;
            if !done && self.rate == 0.0 {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
        unreachable!("invariant: the load has an end")
    }

    /// Reads everything once more through one node. Each read is tried until it is answered, boundedly.
    pub(crate) async fn final_reads(
        self: Arc<Self>,
        templates: Arc<Vec<Template>>,
        process: u32,
        home: NodeId,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut session = Session::open(self.clone(), process, home, true)?;
        for template in templates.iter().filter(|template| self.is_wanted(template)) {
            let mut answered = false;
            for _ in 0..FINAL_ATTEMPTS {
                let intended = self.recorder.clock().now();
                answered = *stop.borrow() || session.perform(template, intended, true).await?;
                if answered {
                    break;
                }
                tokio::time::sleep(FINAL_PAUSE).await;
            }
            // A node that answers nothing is not asked for every key; that it is missing is said by the coverage.
            if !answered {
                break;
            }
        }
        Ok(())
    }

    /// Whether a template is about a key that is wanted, or about none.
    fn is_wanted(&self, template: &Template) -> bool {
        let is_wanted = |key: &String| self.keys.contains(key);
        self.keys.is_empty() || template.key.as_ref().is_none_or(is_wanted)
    }

    /// When a worker's i-th operation is meant to start: once per interval, at a seeded moment of it.
    fn intended(&self, worker: u32, i: u64) -> Nanos {
        if self.rate == 0.0 {
            return self.recorder.clock().now().max(self.start);
        }
        let interval = f64::from(self.workers) / self.rate;
        let jitter = Stream::of(self.seed ^ PACING_STREAM, worker, i).fraction();
        self.start + Nanos::from(Duration::from_secs_f64((i as f64 + jitter) * interval))
    }
}

/// A worker's present process and its connection.
struct Session {
    load: Arc<Load>,
    process: u32,
    home: NodeId,
    follow_hints: bool,
    client: Box<dyn Client>,
    observed: Observed,
}

impl Session {
    fn open(load: Arc<Load>, process: u32, home: NodeId, follow_hints: bool) -> anyhow::Result<Self> {
        let client = connect(&load, &home, follow_hints)?;
        Ok(Self { load, process, home, follow_hints, client, observed: Observed::default() })
    }

    /// Performs one operation; whether it ended `ok`.
    async fn perform(
        &mut self,
        template: &Template,
        intended: Nanos,
        is_final: bool,
    ) -> anyhow::Result<bool> {
        let request = self.observed.resolve(template);
        let clock = self.load.recorder.clock();
        let event = |kind, time, value, error| Event {
            index: 0,
            time,
            kind,
            process: Process(self.process),
            node: Some(self.home.clone()),
            f: request.function().to_owned(),
            key: request.key().map(str::to_owned),
            value,
            intended: (kind == EventKind::Invoke).then_some(intended),
            is_final,
            error,
        };
        let invoke = event(EventKind::Invoke, clock.now(), request.argument(), None);
        self.load.recorder.client(invoke).await;
        let completion = self.client.invoke(&request).await;
        let time = clock.now();
        let complete = match &completion {
            Completion::Ok(value) => event(EventKind::Ok, time, value.clone(), None),
            Completion::Fail(why) => event(EventKind::Fail, time, Value::Null, Some(why.clone())),
            Completion::Info(why) => event(EventKind::Info, time, Value::Null, Some(why.clone())),
        };
        self.load.recorder.client(complete).await;
        self.observed.learn(&request, &completion);
        self.settle(&completion)?;
        Ok(matches!(completion, Completion::Ok(_)))
    }

    /// After an operation that did not end well the connection may be in any state: open another. A process in doubt
    /// is never used again.
    fn settle(&mut self, completion: &Completion) -> anyhow::Result<()> {
        match completion {
            Completion::Ok(_) => return Ok(()),
            Completion::Fail(_) => {}
            Completion::Info(_) => self.process += self.load.process_stride,
        }
        self.client = connect(&self.load, &self.home, self.follow_hints)?;
        Ok(())
    }
}

fn connect(load: &Load, home: &NodeId, follow_hints: bool) -> anyhow::Result<Box<dyn Client>> {
    let (home_id, endpoints) = (home.clone(), load.endpoints.clone());
    let options = ClientOptions { home: home_id, endpoints, reads: load.reads, follow_hints };
    load.target.client(&options).with_context(|| format!("cannot set up a client of {home}"))
}
