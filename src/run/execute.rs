//! The part of a run in which time passes: start, load and faults, heal, recovery, final reads, end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use history::{Clock, Header, Nanos, RunEvent, RunInfo};
use nemesis::{EventSink, runner};
use targets::Replica;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use workloads::Workload;

use super::cluster::RunCluster;
use super::fail_fast::FailFast;
use super::load::Load;
use super::logs;
use super::progress::{Progress, Stop, on_interrupt};
use super::recorder::Recorder;
use super::stall::StallDetector;
use crate::binary::Binaries;
use crate::plan::Plan;
use crate::store::OpenRun;

/// After verified healing a write must be acknowledged within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(15);
/// Run events of the nemesis that may wait for the recorder.
const SINK_EVENTS: usize = 1024;

/// Runs a plan. Returns the run events that could not be recorded; everything else is on disk.
pub(crate) async fn execute(
    plan: &Plan,
    binaries: &Binaries,
    open: &OpenRun,
    info: &RunInfo,
    progress: &Progress,
) -> Vec<RunEvent> {
    let clock = Clock::start();
    let broken = |error: anyhow::Error| {
        vec![RunEvent::Infrastructure { time: clock.now(), detail: format!("{error:#}") }]
    };
    let (recorder, ending) = match Recorder::start(&open.paths, &header(info, clock), clock) {
        Ok(started) => started,
        Err(error) => return broken(error),
    };
    let (events, forwarded) = mpsc::channel(SINK_EVENTS);
    let forward = tokio::spawn(forward(forwarded, recorder.clone()));
    let sink = EventSink::new(clock, events);
    let run = Run { plan, binaries, open, recorder: recorder.clone(), sink, progress };
    if let Err(error) = run.all_phases().await {
        recorder.infrastructure(format!("{error:#}")).await;
    }
    recorder.phase("end").await;
    drop(run);
    drop(recorder);
    // The last sender went with the cluster's tasks.
    let _panicked = forward.await;
    ending.wait().await.map_or_else(broken, |()| Vec::new())
}

fn header(info: &RunInfo, clock: Clock) -> Header {
    Header {
        shakedown_history: history::event::FORMAT_VERSION,
        claim: info.claim.clone(),
        workload: info.workload.clone(),
        clock: "CLOCK_MONOTONIC".to_owned(),
        run_id: info.run_id.clone(),
        wall_origin_ms: clock.wall_origin_ms(),
        target_digest: info.target_digest.clone(),
        suite_digest: info.suite_digest.clone(),
    }
}

async fn forward(mut events: mpsc::Receiver<RunEvent>, recorder: Recorder) {
    while let Some(event) = events.recv().await {
        recorder.run_event(event).await;
    }
}

struct Run<'a> {
    plan: &'a Plan,
    binaries: &'a Binaries,
    open: &'a OpenRun,
    recorder: Recorder,
    sink: EventSink,
    progress: &'a Progress,
}

impl Run<'_> {
    async fn all_phases(&self) -> anyhow::Result<()> {
        let stop = Arc::new(watch::Sender::new(Stop::No));
        on_interrupt(self.progress.clone(), stop.clone()).context("cannot listen for interrupts")?;
        self.recorder.phase("start").await;
        for node in self.plan.node_ids() {
            self.open.create_node(&node)?;
        }
        let cluster = RunCluster::start(self.plan, self.binaries, &self.open.paths, &self.sink).await?;
        let stalls =
            StallDetector::start(self.recorder.clone()).context("cannot start the stall detector")?;
        let result = self.phases_of(&cluster, &stop).await;
        stalls.stop();
        let shut = cluster.processes.shutdown().await.context("cannot end every node");
        self.collect_logs(&cluster).await;
        result.and(shut)
    }

    async fn phases_of(
        &self,
        cluster: &Arc<RunCluster>,
        stop: &Arc<watch::Sender<Stop>>,
    ) -> anyhow::Result<()> {
        self.progress.now("Starting", "waiting for the first committed write");
        cluster.ready().await?;
        cluster.clocks_can_be_changed().await?;
        let clock = self.recorder.clock();
        self.recorder.run_event(RunEvent::FirstAcknowledged { time: clock.now() }).await;
        self.recorder.phase("ready").await;
        let breakage = tokio::spawn(watch_breakage(self.recorder.clone(), cluster.clone(), stop.clone()));
        let leader = tokio::spawn(cluster.clone().watch_leader(self.sink.clone()));
        let load = self.load(cluster);
        let result = self.load_and_faults(cluster, &load, stop).await;
        let result = match result {
            Ok(used) if *stop.borrow() != Stop::Broken => self.finale(cluster, &load, used, stop).await,
            other => other.map(|_| ()),
        };
        breakage.abort();
        leader.abort();
        if *stop.borrow() == Stop::Interrupted {
            self.recorder.run_event(RunEvent::Interrupted { time: clock.now() }).await;
        }
        result
    }

    fn load(&self, cluster: &RunCluster) -> Arc<Load> {
        let workload: Arc<dyn Workload> = Arc::from(self.plan.workload());
        let start = self.recorder.clock().now();
        Arc::new(Load {
            target: cluster.target.clone(),
            workload,
            recorder: self.recorder.clone(),
            endpoints: cluster.endpoints.clone(),
            reads: self.plan.reads(),
            seed: self.plan.seed,
            workers: self.plan.concurrency,
            process_stride: self.plan.concurrency
                + u32::try_from(self.plan.nodes).expect("invariant: few nodes"),
            rate: self.plan.rate,
            keys: self.plan.keys.clone(),
            start,
            end: start + Nanos::from(self.plan.time_limit()),
        })
    }

    /// Clients and nemesis at the same time; returns how many templates the busiest worker used.
    async fn load_and_faults(
        &self,
        cluster: &Arc<RunCluster>,
        load: &Arc<Load>,
        stop: &Arc<watch::Sender<Stop>>,
    ) -> anyhow::Result<u64> {
        self.recorder.phase("load").await;
        let shown = tokio::spawn(self.progress.clone().watch(self.recorder.clone(), self.plan.time_limit()));
        let (stop_faults, faults_stopped) = watch::channel(false);
        let (schedule, faulty, sink) = (self.plan.schedule.clone(), cluster.clone(), self.sink.clone());
        let quorum = self.plan.rhythm()?.quorum;
        let faults =
            tokio::spawn(async move { runner::run(&schedule, faulty, sink, faults_stopped, quorum).await });
        let judge = self
            .plan
            .fail_fast
            .then(|| FailFast::start(self.plan, &self.open.paths, stop, self.progress))
            .transpose()?;
        let used = workers(load, stop).await;
        drop(judge);
        shown.abort();
        if *stop.borrow() == Stop::Violated {
            self.progress
                .line("Violated", "the history shows a violation already; healing, then judging it whole");
            let time = self.recorder.clock().now();
            self.recorder.run_event(RunEvent::FailedFast { time }).await;
        }
        self.recorder.phase("heal").await;
        self.progress.now("Healing", "");
        stop_faults.send_replace(true);
        let summary = faults.await.context("the nemesis panicked")?;
        if let Some(first) = summary.unhealed.first() {
            bail!("not everything could be healed: {first}");
        }
        used
    }

    /// After healing: does the cluster recover, and is everything there that must be?
    async fn finale(
        &self,
        cluster: &Arc<RunCluster>,
        load: &Arc<Load>,
        used: u64,
        stop: &Arc<watch::Sender<Stop>>,
    ) -> anyhow::Result<()> {
        let clock = self.recorder.clock();
        let event = match cluster.recovery(RECOVERY_LIMIT).await {
            Some(after) => RunEvent::Recovered { time: clock.now(), after: after.into() },
            None => RunEvent::NotRecovered { time: clock.now(), limit: RECOVERY_LIMIT.into() },
        };
        self.recorder.run_event(event).await;
        self.recorder.phase("final-reads").await;
        self.progress.now("Reading", "final reads through every node");
        let templates = Arc::new(load.workload.final_templates(used));
        let mut readers = JoinSet::new();
        for (i, node) in self.plan.node_ids().into_iter().enumerate() {
            let process = load.workers + u32::try_from(i).expect("invariant: few nodes");
            let (ended, halted) = halt(stop, |stop| stop == Stop::Broken);
            let reads = load.clone().final_reads(templates.clone(), process, node, halted);
            readers.spawn(async move {
                let result = reads.await;
                ended.abort();
                result
            });
        }
        while let Some(joined) = readers.join_next().await {
            joined.context("a final reader panicked")??;
        }
        for (node, replica) in cluster.replicas().await {
            let (time, Replica { applied, digest }) = (clock.now(), replica);
            self.recorder.run_event(RunEvent::Replica { time, node, applied, digest }).await;
        }
        Ok(())
    }

    async fn collect_logs(&self, cluster: &RunCluster) {
        let forbidden = cluster.target.forbidden_log();
        let (paths, nodes) = (&self.open.paths, self.plan.node_ids());
        let excused = |log: &Path| cluster.processes.excused_parts(log);
        for event in logs::search(paths, &nodes, forbidden, excused, self.recorder.clock().now()) {
            self.recorder.run_event(event).await;
        }
    }
}

/// Runs every worker to the end of the load, or until it is stopped.
async fn workers(load: &Arc<Load>, stop: &Arc<watch::Sender<Stop>>) -> anyhow::Result<u64> {
    let (ended, halted) = halt(stop, |stop| stop != Stop::No);
    let mut running = JoinSet::new();
    for worker in 0..load.workers {
        running.spawn(load.clone().work(worker, halted.clone()));
    }
    let mut used = 0;
    while let Some(joined) = running.join_next().await {
        used = used.max(joined.context("a worker panicked")??);
    }
    ended.abort();
    Ok(used)
}

/// A flag that becomes true when the run is stopped in a way that matters.
fn halt(
    stop: &Arc<watch::Sender<Stop>>,
    matters: impl Fn(Stop) -> bool + Send + Sync + 'static,
) -> (tokio::task::JoinHandle<()>, watch::Receiver<bool>) {
    let (halt, halted) = watch::channel(false);
    let mut stopped = stop.subscribe();
    let task = tokio::spawn(async move {
        drop(stopped.wait_for(|stop| matters(*stop)).await);
        halt.send_replace(true);
        halt.closed().await;
    });
    (task, halted)
}

/// Ends the load when the harness cannot go on.
async fn watch_breakage(recorder: Recorder, cluster: Arc<RunCluster>, stop: Arc<watch::Sender<Stop>>) {
    const PERIOD: Duration = Duration::from_millis(50);
    let failure = recorder.failure();
    loop {
        if cluster.processes.guardian_died() || failure.borrow().is_some() {
            stop.send_replace(Stop::Broken);
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}
