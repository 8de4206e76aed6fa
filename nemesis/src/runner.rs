//! Carries out a schedule: every fault at its time, each with evidence, and nothing left at the end.
//!
//! Faults are resolved, injected and proven one at a time; then they stand side by side. What overlaps adds up: links
//! are open when the last fault that holds them is lifted, a paused node can be killed, and a restart and a pause of one node
//! wait for each other. When the run is stopped, faults that stand are healed at once and the rest is skipped.
//!
//! It does not judge: it records, and the tally says how often each kind came how far.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::{FaultPhase, NodeId, RunEvent, ScheduledFault};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::bandwidth::Bandwidth;
use crate::clock::fault::WrongClock;
use crate::command::Command;
use crate::crash_loop::CrashLoop;
use crate::damage::Damage;
use crate::disk_fault::DiskFault;
use crate::fault::{Fault, FaultError, Request, Scope, Skip, Standing};
use crate::half_open::HalfOpen;
use crate::kill::Kill;
use crate::kill_at::KillAt;
use crate::latency::Latency;
use crate::limit::Limit;
use crate::links::FaultId;
use crate::membership::ChangeMembers;
use crate::message::Messages;
use crate::operation::Operate;
use crate::packet::Packet;
use crate::partition::Partition;
use crate::patrol::Patrol;
use crate::pause::Pause;
use crate::recovery::heal_everything;
use crate::reset::Reset;
use crate::rolling_restart::RollingRestart;
use crate::scenario::Scenario;
use crate::schedule::Quorum;
use crate::slow_close::SlowClose;
use crate::starve::Starve;
use crate::wipe::Wipe;
use crate::wrong_page::{self, WrongPage};
use crate::{Cluster, EventSink, Kind, Nemesis};

/// How often it is looked who leads while a fault stands.
const LEADER_INTERVAL: Duration = Duration::from_millis(50);

/// A fault that waits for its moment stands for this part of its time at least.
const WAIT_SHARE: u32 = 4;

/// How far the faults of one kind came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Scheduled.
    pub planned: u32,
    /// Not tried, for a reason that was recorded.
    pub skipped: u32,
    /// The mechanism was told.
    pub injected: u32,
    /// It was proven to stand.
    pub evidenced: u32,
    /// It was seen to have an effect on the system.
    pub effective: u32,
    /// It was proven to be gone.
    pub healed: u32,
    /// Applying, proving or healing failed.
    pub failed: u32,
}

/// What became of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// How far the faults of each kind came.
    pub kinds: BTreeMap<Kind, Tally>,
    /// What could not be healed at the end, in words. Empty when the cluster is whole.
    pub unhealed: Vec<String>,
}

/// Carries out `schedule`, whose times count from this call, until all of it is over or `stop` becomes true, heals
/// everything and verifies that. What `quorum` forbids at the moment when it shall begin is skipped.
pub async fn run<C: Cluster>(
    schedule: &[ScheduledFault],
    cluster: Arc<C>,
    sink: EventSink,
    stop: watch::Receiver<bool>,
    quorum: Quorum,
) -> Summary {
    let patrol = Patrol::start(cluster.links().clone(), sink.clone());
    let runner = Runner { cluster, sink, stop, quorum, injection: Arc::default(), summary: Arc::default() };
    let begin = Instant::now();
    let mut lives = JoinSet::new();
    for (index, fault) in (0..).zip(schedule.iter().cloned()) {
        runner.stopped_before(begin + fault.at.into()).await;
        lives.spawn(runner.clone().live(index, fault));
    }
    while let Some(ended) = lives.join_next().await {
        ended.expect("invariant: a fault neither panics nor is aborted");
    }
    patrol.finish().await;
    let unhealed = heal_everything(&*runner.cluster, &runner.sink).await;
    let kinds = runner.summary().kinds.clone();
    Summary { kinds, unhealed }
}

struct Runner<C> {
    cluster: Arc<C>,
    sink: EventSink,
    stop: watch::Receiver<bool>,
    quorum: Quorum,
    /// Held by the fault that is being resolved, injected and proven.
    injection: Arc<AsyncMutex<()>>,
    summary: Arc<Mutex<Summary>>,
}

impl<C> Clone for Runner<C> {
    fn clone(&self) -> Self {
        Self {
            cluster: Arc::clone(&self.cluster),
            sink: self.sink.clone(),
            stop: self.stop.clone(),
            quorum: self.quorum,
            injection: Arc::clone(&self.injection),
            summary: Arc::clone(&self.summary),
        }
    }
}

impl<C: Cluster> Runner<C> {
    /// Lives the life of one fault.
    async fn live(self, index: u32, scheduled: ScheduledFault) {
        let nemesis = match scheduled.kind.parse::<Nemesis>() {
            Ok(nemesis) => nemesis,
            Err(error) => {
                let (time, detail) = (self.sink.now(), format!("fault {index}: {error}"));
                return self.sink.record(RunEvent::Infrastructure { time, detail }).await;
            }
        };
        let kind = nemesis.kind();
        let record = Record { runner: self, index, nemesis };
        record.count(|tally| tally.planned += 1);
        match kind {
            Kind::Kill if record.nemesis.argument().is_some() => record.live_as::<KillAt>(&scheduled).await,
            Kind::Kill | Kind::Term | Kind::Power => record.live_as::<Kill>(&scheduled).await,
            Kind::DiskError | Kind::DiskFull | Kind::SlowDisk => {
                record.live_as::<DiskFault>(&scheduled).await;
            }
            Kind::BitFlip => record.live_as::<WrongPage>(&scheduled).await,
            Kind::Damage if wrong_page::is_meant(&scheduled.selector) => {
                record.live_as::<WrongPage>(&scheduled).await;
            }
            Kind::Damage => record.live_as::<Damage>(&scheduled).await,
            Kind::Transfer | Kind::Operation => record.live_as::<Operate>(&scheduled).await,
            Kind::Membership => record.live_as::<ChangeMembers>(&scheduled).await,
            Kind::Wipe => record.live_as::<Wipe>(&scheduled).await,
            Kind::Pause => record.live_as::<Pause>(&scheduled).await,
            Kind::Partition | Kind::BlackHole => record.live_as::<Partition>(&scheduled).await,
            Kind::Latency => record.live_as::<Latency>(&scheduled).await,
            Kind::CrashLoop => record.live_as::<CrashLoop>(&scheduled).await,
            Kind::RollingRestart | Kind::Upgrade => record.live_as::<RollingRestart>(&scheduled).await,
            Kind::Starve => record.live_as::<Starve>(&scheduled).await,
            Kind::Clock | Kind::ClockMonotonic => record.live_as::<WrongClock>(&scheduled).await,
            Kind::Command => record.live_as::<Command>(&scheduled).await,
            Kind::Packet => record.live_as::<Packet>(&scheduled).await,
            Kind::Reset => record.live_as::<Reset>(&scheduled).await,
            Kind::Bandwidth => record.live_as::<Bandwidth>(&scheduled).await,
            Kind::HalfOpen => record.live_as::<HalfOpen>(&scheduled).await,
            Kind::SlowClose => record.live_as::<SlowClose>(&scheduled).await,
            Kind::Message => record.live_as::<Messages>(&scheduled).await,
            Kind::MemoryLimit | Kind::DescriptorLimit => record.live_as::<Limit>(&scheduled).await,
            Kind::Scenario => record.live_as::<Scenario>(&scheduled).await,
        }
    }

    /// Waits for a moment; returns early, with `true`, when the run is stopped.
    async fn stopped_before(&self, moment: Instant) -> bool {
        let mut stop = self.stop.clone();
        let stopped = async {
            if stop.wait_for(|&stop| stop).await.is_err() {
                // Nobody is left who could stop the run.
                std::future::pending().await
            }
        };
        timeout_at(moment, stopped).await.is_ok()
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    // Counters are whole after every single operation.
    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One fault, and where its steps are recorded.
struct Record<C> {
    runner: Runner<C>,
    index: u32,
    nemesis: Nemesis,
}

impl<C: Cluster> Record<C> {
    async fn live_as<F: Fault>(&self, scheduled: &ScheduledFault) {
        let cluster = &*self.runner.cluster;
        let planned_end = Instant::now() + scheduled.duration.into();
        let injection = self.runner.injection.lock().await;
        let Some(mut fault) = self.resolve::<F>(scheduled).await else { return };
        let injection = if F::WAITS {
            drop(injection);
            let latest = planned_end - Duration::from(scheduled.duration) / WAIT_SHARE;
            if let Err(Skip(reason)) = self.moment(&mut fault, latest).await {
                return self.step(FaultPhase::Skipped, &[], format!("{}: {reason}", self.nemesis)).await;
            }
            None
        } else {
            Some(injection)
        };
        let leader = if F::DIRECTED { None } else { cluster.leader().await };
        let scope = fault.scope().clone();
        self.injected(&scope).await;
        let until = if F::WAITS { planned_end } else { Instant::now() + scheduled.duration.into() };
        let stands = match fault.inject(cluster).await {
            Ok(()) => fault.evidence(cluster).await,
            Err(error) => Err(error),
        };
        drop(injection);
        let mut changed = false;
        match stands {
            Ok(proof) => {
                self.step(FaultPhase::Evidenced, &scope.nodes, proof).await;
                let (over, standing) = Standing::new();
                let (standing, mut steps) = standing.telling();
                let (acting, done) = watch::channel(false);
                let stand = async {
                    let changed = self.stand(until, &done, &scope, leader.as_ref()).await;
                    over.send_replace(true);
                    changed
                };
                let act = async {
                    let acted = fault.act(cluster, &standing).await;
                    acting.send_replace(F::DIRECTED);
                    drop(standing);
                    acted
                };
                let tell = async {
                    while let Some(step) = steps.recv().await {
                        self.step(FaultPhase::Acted, &scope.nodes, step).await;
                    }
                };
                let (stood, acted, ()) = tokio::join!(stand, act, tell);
                changed = stood;
                if let Err(error) = acted {
                    self.failed(&scope.nodes, &error).await;
                }
            }
            Err(error) => self.failed(&scope.nodes, &error).await,
        }
        self.end(&mut fault, &scope, changed, leader.as_ref()).await;
    }

    /// Lets a fault wait for its moment, until it is too late or the run is stopped.
    async fn moment<F: Fault>(&self, fault: &mut F, latest: Instant) -> Result<(), Skip> {
        let (over, standing) = Standing::new();
        let limit = async {
            self.runner.stopped_before(latest).await;
            over.send_replace(true);
            std::future::pending().await
        };
        tokio::select! {
            came = fault.moment(&*self.runner.cluster, &standing) => came?,
            never = limit => never,
        }
        self.allowed(fault).map_err(Skip)
    }

    /// What the user forbids is not done, and this is why.
    fn allowed<F: Fault>(&self, fault: &F) -> Result<(), String> {
        let Scope { leaves_quorum, detail, .. } = fault.scope();
        if self.runner.quorum == Quorum::Never && !leaves_quorum {
            return Err(format!("no majority would be left beside {detail}"));
        }
        Ok(())
    }

    async fn resolve<F: Fault>(&self, scheduled: &ScheduledFault) -> Option<F> {
        let request = Request {
            id: FaultId(self.index),
            kind: self.nemesis.kind(),
            argument: self.nemesis.argument(),
            selector: &scheduled.selector,
            seed: scheduled.seed,
        };
        let resolved = if self.runner.is_stopped() {
            Err("the load was over before its time".to_owned())
        } else {
            F::resolve(&request, &*self.runner.cluster).await.map_err(|skip| skip.0)
        };
        let allowed = resolved.and_then(|fault| self.allowed(&fault).map(|()| fault));
        match allowed {
            Ok(fault) => Some(fault),
            Err(reason) => {
                let selector = if F::DIRECTED { String::new() } else { format!(" {}", scheduled.selector) };
                let detail = format!("{}{selector}: {reason}", self.nemesis);
                self.step(FaultPhase::Skipped, &[], detail).await;
                None
            }
        }
    }

    /// Lets the fault stand until its time is over or it is done; says whether the leader changed meanwhile.
    async fn stand(
        &self,
        until: Instant,
        done: &watch::Receiver<bool>,
        scope: &Scope,
        leader: Option<&NodeId>,
    ) -> bool {
        let mut changed = false;
        while Instant::now() < until && !*done.borrow() {
            let next = until.min(Instant::now() + LEADER_INTERVAL);
            if self.runner.stopped_before(next).await {
                break;
            }
            changed = changed || self.leader_changed(scope, leader).await;
        }
        changed
    }

    async fn leader_changed(&self, scope: &Scope, before: Option<&NodeId>) -> bool {
        let now = self.runner.cluster.leader().await;
        match (before, now) {
            (Some(before), Some(now)) if *before != now => {
                let detail = format!("{now} leads after {before}");
                self.step(FaultPhase::Effect, &scope.nodes, detail).await;
                true
            }
            _ => false,
        }
    }

    /// Takes the fault back. What it did is asked first, because healing covers it up, and who leads once more at the
    /// very end.
    async fn end<F: Fault>(&self, fault: &mut F, scope: &Scope, changed: bool, leader: Option<&NodeId>) {
        let cluster = &*self.runner.cluster;
        let mut effective = changed;
        if let Some(effect) = fault.effect(cluster) {
            effective = true;
            self.step(FaultPhase::Effect, &scope.nodes, effect).await;
        }
        if let Some(rest) = fault.unfinished() {
            self.step(FaultPhase::Skipped, &scope.nodes, rest).await;
        }
        self.step(FaultPhase::Healing, &scope.nodes, String::new()).await;
        let healed = fault.heal(cluster).await;
        if !changed {
            effective |= self.leader_changed(scope, leader).await;
        }
        if effective {
            self.count(|tally| tally.effective += 1);
        }
        match healed {
            Ok(proof) => self.step(FaultPhase::Healed, &scope.nodes, proof).await,
            Err(error) => self.failed(&scope.nodes, &error).await,
        }
    }

    async fn failed(&self, nodes: &[NodeId], error: &FaultError) {
        if let FaultError::NotReady { node, reason } = error {
            let (time, node, detail) = (self.runner.sink.now(), node.clone(), reason.clone());
            self.runner.sink.record(RunEvent::RestartFailed { time, node, detail }).await;
        }
        self.step(FaultPhase::Failed, nodes, error.to_string()).await;
    }

    /// Recorded before the mechanism is told, so that the window is never too short.
    async fn injected(&self, scope: &Scope) {
        self.record(FaultPhase::Injected, &scope.nodes, Some(scope.leaves_quorum), scope.detail.clone())
            .await;
    }

    async fn step(&self, phase: FaultPhase, nodes: &[NodeId], detail: String) {
        self.record(phase, nodes, None, detail).await;
    }

    async fn record(&self, phase: FaultPhase, nodes: &[NodeId], leaves_quorum: Option<bool>, detail: String) {
        self.count(|tally| tally.count(phase));
        let (time, fault, kind) = (self.runner.sink.now(), self.index, self.nemesis.to_string());
        let nodes = nodes.to_vec();
        self.runner
            .sink
            .record(RunEvent::Fault { time, fault, kind, phase, nodes, leaves_quorum, detail })
            .await;
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(self.runner.summary().kinds.entry(self.nemesis.kind()).or_default());
    }
}

impl Tally {
    /// Effects are counted once per fault, by the runner.
    fn count(&mut self, phase: FaultPhase) {
        match phase {
            FaultPhase::Skipped => self.skipped += 1,
            FaultPhase::Injected => self.injected += 1,
            FaultPhase::Evidenced => self.evidenced += 1,
            FaultPhase::Healed => self.healed += 1,
            FaultPhase::Failed => self.failed += 1,
            FaultPhase::Acted | FaultPhase::Effect | FaultPhase::Healing => {}
        }
    }
}
