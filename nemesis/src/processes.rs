//! The processes of the nodes: what each one is started with, which of them runs, and which ends were asked for.
//!
//! An end is *licensed* when the nemesis, or the end of the run, had asked for exactly that: `SIGKILL` after
//! [`Processes::kill`], an orderly end after [`Processes::terminate`]. Any other end is a crash. Starts and ends are recorded as run events in the order in which the
//! guardian saw them.
//!
//! It knows nothing of readiness or leadership; that takes knowledge of the target.

mod disks;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use history::{NodeId, RunEvent};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard, mpsc, watch};

use crate::clock::{ClockFile, NodeClock, Reader};
use crate::disk::{Disk, DiskError, Pace};
use crate::guardian::{
    Executable, ExitStatus, Guardian, GuardianError, GuardianEvent, NodeCommand, NodeSignal,
};
use crate::process::Identity;
use crate::role::Role;
use crate::{EventSink, Registry};
use members::Place;

/// How long a process that was killed, or asked to end, may take, its whole tree included.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Why something could not be done to a node's process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guardian could not.
    #[error("{node}: {source}")]
    Guardian {
        /// Which node.
        node: NodeId,
        /// Why.
        source: GuardianError,
    },
    /// The node was never added.
    #[error("{0} is not a node of this cluster")]
    Unknown(NodeId),
    /// The node's disk cannot be used.
    #[error("{node}: {source}")]
    Disk {
        /// Which node.
        node: NodeId,
        /// Why.
        source: DiskError,
    },
    /// The node was taken out of the cluster and is not back.
    #[error("{0} is no member of the cluster and cannot be started as one")]
    NoMember(NodeId),
    /// The node's data directory cannot be emptied.
    #[error("{node}: cannot empty its data directory: {source}")]
    Data {
        /// Which node.
        node: NodeId,
        /// Why.
        source: io::Error,
    },
    /// The node has no process.
    #[error("{0} is not running")]
    NotRunning(NodeId),
    /// The process is still there.
    #[error("{node} ({identity}) has not ended within {} s of the signal", EXIT_LIMIT.as_secs())]
    Immortal {
        /// Which node.
        node: NodeId,
        /// Its main process.
        identity: Identity,
    },
}

/// What is known of a node's process.
#[derive(Debug, Clone)]
struct NodeState {
    command: NodeCommand,
    /// What its data lies on, if that is a disk of ours.
    disk: Option<Arc<Disk>>,
    running: Option<Identity>,
    paused: bool,
    /// Whether `SIGKILL` was asked for.
    kill_licensed: bool,
    /// Whether `SIGTERM` was asked for.
    term_licensed: bool,
    last_end: Option<(Identity, ExitStatus)>,
    /// Since when ends and log lines are not held against it: the lengths of its logs at that time.
    excused: Option<[u64; 2]>,
    /// The parts of its logs that are not held against it: file, begin and end.
    excused_logs: Vec<(PathBuf, Range<u64>)>,
    /// How often the node was started.
    starts: u32,
    /// Held by whoever changes the process, so that a restart and a pause do not cross.
    turn: Arc<Mutex<()>>,
    /// Its clocks, if they can be made wrong.
    clock: Option<Arc<NodeClock>>,
    place: Place,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeId, NodeState>,
    /// Commands that are no nodes, and how they ended.
    commands: BTreeMap<NodeId, Option<ExitStatus>>,
    /// The run is over, and every node is killed.
    closing: bool,
    guardian_died: bool,
}

/// All nodes of a cluster, as processes.
#[derive(Debug)]
pub struct Processes {
    guardian: Guardian,
    /// How the guardian was started.
    start: Role,
    /// The executable of that, once it was opened.
    again: OnceCell<Executable>,
    registry: Registry,
    state: watch::Sender<State>,
}

impl Processes {
    /// Starts the guardian. `command` must run [`crate::guardian::serve`] before anything else.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(command: Command, sink: EventSink) -> Result<Arc<Self>, GuardianError> {
        let start = Role::read(&command);
        let (guardian, events) = Guardian::start(command).await?;
        let registry = Registry::default();
        registry.set_guardian(guardian.pid());
        let processes = Arc::new(Self {
            guardian,
            start,
            again: OnceCell::new(),
            registry,
            state: watch::Sender::new(State::default()),
        });
        tokio::spawn(follow(events, sink, processes.state.clone(), processes.registry.clone()));
        Ok(processes)
    }

    /// Which processes belong to which node, for links and audit.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn guardian(&self) -> &Guardian {
        &self.guardian
    }

    /// The pid of the guardian.
    pub fn guardian_pid(&self) -> i32 {
        self.guardian.pid()
    }

    /// Opens an executable for the length of the run.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, path: &Path) -> Result<Executable, GuardianError> {
        self.guardian.open(path).await
    }

    /// Adds a node, or replaces what an existing node will be started with next time.
    pub fn add(&self, node: NodeId, command: NodeCommand) {
        self.state.send_modify(|state| match state.nodes.get_mut(&node) {
            Some(known) => (known.command, known.clock) = (command, None),
            None => _ = state.nodes.insert(node, NodeState::new(command)),
        });
    }

    /// From now on the node may end, and say why, without being blamed.
    pub(crate) fn excuse(&self, node: &NodeId) {
        self.modify(node, |state| state.excused = Some(state.logs().map(length)));
    }

    /// From now on it is blamed again.
    pub(crate) fn no_longer_excuse(&self, node: &NodeId) {
        self.modify(node, |state| {
            let Some(begins) = state.excused.take() else { return };
            let parts = state.logs().map(|log| (log.to_owned(), length(log)));
            let parts = parts.into_iter().zip(begins);
            state.excused_logs.extend(parts.map(|((log, end), begin)| (log, begin..end)));
        });
    }

    /// The parts of a log of a node, in bytes, that are not held against it.
    pub fn excused_parts(&self, log: &Path) -> Vec<Range<u64>> {
        let state = self.state.borrow();
        let parts = state.nodes.values().flat_map(|node| &node.excused_logs);
        parts.filter(|(file, _)| file == log).map(|(_, part)| part.clone()).collect()
    }

    /// Gives a node that was added clocks of its own, from its next start on. They are told by a file at an absolute path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn give_clock(&self, node: &NodeId, path: &Path) -> io::Result<Arc<NodeClock>> {
        let clock = Arc::new(NodeClock::create(path)?);
        self.modify(node, |state| {
            state.command.clock = Some(ClockFile { path: path.to_owned(), reader: Reader::Node });
            state.clock = Some(clock.clone());
        });
        Ok(clock)
    }

    /// The clocks of a node, if it was given any.
    pub fn clock(&self, node: &NodeId) -> Option<Arc<NodeClock>> {
        self.state.borrow().nodes.get(node).and_then(|state| state.clock.clone())
    }

    /// How the guardian's own program is started once more, in another role.
    pub(crate) async fn guardian_again(&self) -> Result<NodeCommand, ProcessError> {
        let opened = self.again.get_or_try_init(|| self.guardian.open(&self.start.program)).await;
        let name = || NodeId("guardian".into());
        Ok(self.start.command(*opened.map_err(|error| failed(&name(), error))?))
    }

    /// Executes a command that is no node to its end, below the guardian; its name must differ from all others that run.
    /// `None` when it is not over in time; then it is killed.
    ///
    /// # Errors
    /// When it cannot be executed or killed.
    pub async fn execute(
        &self,
        name: &NodeId,
        command: NodeCommand,
        limit: Duration,
    ) -> Result<Option<ExitStatus>, ProcessError> {
        self.state.send_modify(|state| _ = state.commands.insert(name.clone(), None));
        let identity = self.guardian.spawn(name, command).await.map_err(|error| failed(name, error));
        let result = match identity {
            Ok(identity) => self.command_end(name, identity, limit).await,
            Err(error) => Err(error),
        };
        self.state.send_modify(|state| _ = state.commands.remove(name));
        result
    }

    async fn command_end(
        &self,
        name: &NodeId,
        identity: Identity,
        limit: Duration,
    ) -> Result<Option<ExitStatus>, ProcessError> {
        if let Some(status) = self.command_ends_within(name, limit).await {
            return Ok(Some(status));
        }
        // It may have ended at this very moment.
        let killed = self.guardian.signal(name, NodeSignal::Kill).await;
        match self.command_ends_within(name, EXIT_LIMIT).await {
            Some(_) => Ok(None),
            None => {
                killed.map_err(|error| failed(name, error))?;
                Err(ProcessError::Immortal { node: name.clone(), identity })
            }
        }
    }

    async fn command_ends_within(&self, name: &NodeId, limit: Duration) -> Option<ExitStatus> {
        let end = |state: &State| state.commands.get(name).copied().flatten();
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| state.guardian_died || end(state).is_some());
        let state = tokio::time::timeout(limit, ended).await.ok()?.ok()?;
        end(&state)
    }

    /// Replaces what a node will execute next time; returns what it was.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn set_executable(&self, node: &NodeId, executable: Executable) -> Result<Executable, ProcessError> {
        let before = self.get(node, |state| state.command.executable)?;
        self.modify(node, |state| state.command.executable = executable);
        Ok(before)
    }

    /// Starts a node's process and returns once it executes its program.
    ///
    /// # Errors
    /// When it is running already or cannot be executed.
    pub async fn launch(&self, node: &NodeId) -> Result<Identity, ProcessError> {
        let command = self.get(node, |state| state.command.clone())?;
        if let Some(disk) = self.disk(node) {
            let mounted = disk.mount(&self.guardian).await;
            mounted.map_err(|source| ProcessError::Disk { node: node.clone(), source })?;
        }
        self.set_pace(node, Pace::Usual);
        let identity = self.guardian.spawn(node, command).await.map_err(|e| failed(node, e))?;
        // The event of the start is on its way behind the answer; who reads the state afterwards must see it.
        self.wait_for(node, |state| {
            state.running == Some(identity) || state.last_end.is_some_and(|(ended, _)| ended == identity)
        })
        .await;
        Ok(identity)
    }

    /// Licenses the end and sends `SIGKILL` to the whole tree, stopped or not.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn kill(&self, node: &NodeId) -> Result<Identity, ProcessError> {
        self.kill_and(node, Pace::Usual, Pace::Hurried).await
    }

    /// The same, and nothing more is saved by the node's disk, for a power failure.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn kill_powerless(&self, node: &NodeId) -> Result<Identity, ProcessError> {
        self.kill_and(node, Pace::Held, Pace::Powerless).await
    }

    /// Sends `SIGKILL` while the disk has one pace, after which it has another.
    async fn kill_and(&self, node: &NodeId, during: Pace, after: Pace) -> Result<Identity, ProcessError> {
        let identity = self.running(node)?;
        self.set_pace(node, during);
        self.modify(node, |state| state.kill_licensed = true);
        let killed = self.guardian.signal(node, NodeSignal::Kill).await;
        self.set_pace(node, after);
        killed.map_err(|e| failed(node, e))?;
        Ok(identity)
    }

    /// Licenses an orderly end and sends `SIGTERM` to the whole tree. A stopped tree does not notice.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn terminate(&self, node: &NodeId) -> Result<Identity, ProcessError> {
        let identity = self.running(node)?;
        self.modify(node, |state| state.term_licensed = true);
        self.guardian.signal(node, NodeSignal::Terminate).await.map_err(|e| failed(node, e))?;
        Ok(identity)
    }

    /// Waits until a process of a node has ended with all of its tree, and says how.
    ///
    /// # Errors
    /// When it is still there after the limit.
    pub async fn ended(&self, node: &NodeId, identity: Identity) -> Result<ExitStatus, ProcessError> {
        let over = |state: &NodeState| state.last_end.filter(|(ended, _)| *ended == identity);
        let waited = self.wait_for(node, |state| over(state).is_some());
        let _ = tokio::time::timeout(EXIT_LIMIT, waited).await;
        let end = self.get(node, |state| over(state))?;
        end.map(|(_, status)| status).ok_or_else(|| ProcessError::Immortal { node: node.clone(), identity })
    }

    /// Stops the whole tree of a node; returns how many processes got `SIGSTOP`.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn pause(&self, node: &NodeId) -> Result<usize, ProcessError> {
        self.modify(node, |state| state.paused = true);
        let stopped = self.guardian.signal(node, NodeSignal::Stop).await;
        self.set_pace(node, Pace::Hurried);
        if stopped.is_err() {
            self.modify(node, |state| state.paused = false);
            self.set_pace(node, Pace::Usual);
        }
        stopped.map_err(|e| failed(node, e))
    }

    /// Lets the whole tree of a node go on; returns how many processes got `SIGCONT`.
    ///
    /// # Errors
    /// When the node is not running.
    pub async fn resume(&self, node: &NodeId) -> Result<usize, ProcessError> {
        let reached = self.guardian.signal(node, NodeSignal::Continue).await.map_err(|e| failed(node, e))?;
        self.set_pace(node, Pace::Usual);
        self.modify(node, |state| state.paused = false);
        Ok(reached)
    }

    /// The nodes that were added.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.state.borrow().nodes.keys().cloned().collect()
    }

    /// The main process of a node, if it runs.
    pub fn identity(&self, node: &NodeId) -> Option<Identity> {
        self.state.borrow().nodes.get(node).and_then(|state| state.running)
    }

    /// All processes of a node.
    pub fn tree(&self, node: &NodeId) -> BTreeSet<Identity> {
        self.registry.tree(node)
    }

    /// Whether a node was stopped and not yet resumed.
    pub fn is_paused(&self, node: &NodeId) -> bool {
        self.state.borrow().nodes.get(node).is_some_and(|state| state.paused)
    }

    /// Whether a node runs and is not stopped.
    pub fn is_active(&self, node: &NodeId) -> bool {
        self.identity(node).is_some() && !self.is_paused(node)
    }

    /// The files in which the output of a node is kept.
    pub fn outputs(&self, node: &NodeId) -> BTreeSet<PathBuf> {
        let of = |state: &NodeState| [state.command.stdout.clone(), state.command.stderr.clone()].into();
        self.state.borrow().nodes.get(node).map(of).unwrap_or_default()
    }

    /// How the last process of a node that ended did so.
    pub fn last_end(&self, node: &NodeId) -> Option<(Identity, ExitStatus)> {
        self.state.borrow().nodes.get(node).and_then(|state| state.last_end)
    }

    /// Whether the guardian was lost, and with it every node.
    pub fn guardian_died(&self) -> bool {
        self.state.borrow().guardian_died
    }

    /// Waits for one's turn to change the process of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn turn(&self, node: &NodeId) -> Result<OwnedMutexGuard<()>, ProcessError> {
        let turn = self.get(node, |state| state.turn.clone())?;
        Ok(turn.lock_owned().await)
    }

    /// One's turn to change the process of a node, unless somebody else has it.
    pub fn try_turn(&self, node: &NodeId) -> Option<OwnedMutexGuard<()>> {
        let turn = self.get(node, |state| state.turn.clone()).ok()?;
        turn.try_lock_owned().ok()
    }

    /// Ends everything: all ends are licensed, and when it returns no process is left. What lies on disks of ours is moved
    /// to where it was mounted. Idempotent.
    ///
    /// # Errors
    /// When the guardian does not end within its limit.
    pub async fn shutdown(&self) -> Result<(), GuardianError> {
        self.state.send_modify(|state| state.closing = true);
        self.nodes().iter().for_each(|node| self.set_pace(node, Pace::Hurried));
        self.guardian.shutdown().await?;
        for disk in self.nodes().iter().filter_map(|node| self.disk(node)) {
            // Then they stay where they are, which is said in the documentation too.
            let _ = disk.settle();
        }
        Ok(())
    }

    fn running(&self, node: &NodeId) -> Result<Identity, ProcessError> {
        self.get(node, |state| state.running)?.ok_or_else(|| ProcessError::NotRunning(node.clone()))
    }

    fn get<T>(&self, node: &NodeId, read: impl FnOnce(&NodeState) -> T) -> Result<T, ProcessError> {
        self.state.borrow().nodes.get(node).map(read).ok_or_else(|| ProcessError::Unknown(node.clone()))
    }

    fn modify(&self, node: &NodeId, change: impl FnOnce(&mut NodeState)) {
        self.state.send_modify(|state| _ = state.nodes.get_mut(node).map(change));
    }

    /// Waits until a node is as wanted, or the guardian is gone.
    async fn wait_for(&self, node: &NodeId, wanted: impl Fn(&NodeState) -> bool) {
        let mut state = self.state.subscribe();
        let done = |state: &State| state.guardian_died || state.nodes.get(node).is_some_and(&wanted);
        // The sender lives as long as `self`.
        let _ = state.wait_for(done).await;
    }
}

/// The length of a file in bytes.
fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

impl NodeState {
    fn logs(&self) -> [&Path; 2] {
        [&self.command.stdout, &self.command.stderr]
    }

    fn new(command: NodeCommand) -> Self {
        Self {
            command,
            disk: None,
            running: None,
            paused: false,
            kill_licensed: false,
            term_licensed: false,
            last_end: None,
            excused: None,
            excused_logs: Vec::new(),
            starts: 0,
            turn: Arc::default(),
            clock: None,
            place: Place::default(),
        }
    }
}

fn failed(node: &NodeId, source: GuardianError) -> ProcessError {
    ProcessError::Guardian { node: node.clone(), source }
}

/// Records what the guardian reports, and then applies it to the table: who acts on the table acts after the record.
async fn follow(
    mut events: mpsc::Receiver<GuardianEvent>,
    sink: EventSink,
    state: watch::Sender<State>,
    registry: Registry,
) {
    while let Some(event) = events.recv().await {
        match event {
            GuardianEvent::Spawned { node, .. } if state.borrow().commands.contains_key(&node) => {}
            GuardianEvent::Exited { node, status, .. } if state.borrow().commands.contains_key(&node) => {
                state.send_modify(|state| _ = state.commands.insert(node, Some(status)));
            }
            GuardianEvent::Spawned { node, identity } => {
                registry.set_main(&node, Some(identity.pid));
                let generation = state.borrow().nodes.get(&node).map_or(0, |state| state.starts);
                let (time, pid) = (sink.now(), identity.pid);
                sink.record(RunEvent::Started { time, node: node.clone(), pid, generation }).await;
                state.send_modify(|state| state.started(&node, identity));
            }
            GuardianEvent::Exited { node, identity, status } => {
                registry.set_main(&node, None);
                let licensed = state.borrow().licenses(&node, status);
                let (time, pid, text) = (sink.now(), identity.pid, status.to_string());
                sink.record(RunEvent::Exited { time, node: node.clone(), pid, status: text, licensed }).await;
                state.send_modify(|state| state.ended(&node, Some((identity, status))));
            }
            GuardianEvent::Died { detail } => {
                sink.record(RunEvent::Infrastructure { time: sink.now(), detail }).await;
                state.send_modify(State::guardian_died);
            }
        }
    }
}

impl State {
    fn started(&mut self, node: &NodeId, identity: Identity) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        state.running = Some(identity);
        state.paused = false;
        state.kill_licensed = false;
        state.term_licensed = false;
        state.starts += 1;
    }

    fn ended(&mut self, node: &NodeId, end: Option<(Identity, ExitStatus)>) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        state.running = None;
        state.paused = false;
        state.last_end = end.or(state.last_end);
    }

    fn guardian_died(&mut self) {
        self.guardian_died = true;
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.ended(&node, None);
        }
    }

    /// Whether this end was asked for. When `SIGKILL` was asked for, an exit code in its place is a crash that came first.
    fn licenses(&self, node: &NodeId, status: ExitStatus) -> bool {
        let asked = |read: fn(&NodeState) -> bool| self.nodes.get(node).is_some_and(read);
        let killed = self.closing || asked(|state| state.kill_licensed);
        asked(|state| state.excused.is_some())
            || (killed && status == ExitStatus::KILLED)
            || (asked(|state| state.term_licensed) && status.is_orderly())
    }
}
