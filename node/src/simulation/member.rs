//! One node: the core, the log and the state machine that servers run, on a simulated disk.

use std::collections::VecDeque;
use std::path::Path;

use super::disk::SimulatedDisk;
use super::mirror::Mirror;
use super::truth::Violation;
use crate::machine::Machine;
use crate::raft::{
    Config, Core, Index, IoId, Jitter, Log, LogPosition, Membership, Millis, Persist, Snapshot, Term,
};
use crate::wal::{Folder, Recovered, SegmentSizes, Wal, WalConfig, WalError, snapshot};

/// Small enough that a run fills several segments.
const SIZES: SegmentSizes = SegmentSizes { first_bytes: 1 << 10, most_bytes: 4 << 10, part_bytes: 512 };

/// A process.
pub(crate) struct Process {
    pub(crate) core: Core,
    pub(crate) machine: Machine,
    pub(crate) applied: Index,
    /// What the last snapshot that was asked for stands for.
    pub(crate) snapshot_at: Index,
    wal: Wal<SimulatedDisk>,
    /// Writes that were not begun.
    queue: VecDeque<Persist>,
    /// A snapshot that was not begun to be stored.
    storing: Option<Snapshot>,
}

/// A node, whether its process runs or not.
pub(crate) struct Member {
    pub(crate) process: Option<Process>,
    pub(crate) disk: SimulatedDisk,
    /// What is durable, as far as the disk said.
    pub(crate) durable: Mirror,
    pub(crate) paused: bool,
    /// Which side of a split this node is on.
    pub(crate) side: bool,
    pub(crate) term: Term,
    /// How many committed entries its log was compared with, in the term that it leads.
    pub(crate) compared: (Term, usize),
    /// What was being written when the process ended.
    unreported_writes: Vec<Persist>,
    unreported_snapshot: Option<Snapshot>,
    config: Config,
}

impl Member {
    pub(crate) fn new(config: Config, disk: SimulatedDisk) -> Self {
        Self {
            process: None,
            disk,
            durable: Mirror::default(),
            paused: false,
            side: true,
            term: Term(0),
            compared: (Term(0), 0),
            unreported_writes: Vec::new(),
            unreported_snapshot: None,
            config,
        }
    }

    fn folder(&self) -> Folder<SimulatedDisk> {
        Folder::new(self.disk.clone(), Path::new("/data"))
    }

    fn wal_config(&self) -> WalConfig {
        let config = WalConfig { sizes: SIZES, ..WalConfig::new(self.config.id) };
        #[cfg(feature = "mutants")]
        let config = WalConfig { mutant: self.config.mutant, ..config };
        config
    }

    /// Starts the process from what the disk has; an empty one belongs to a cluster of the `founders`. It stays down when the disk
    /// fails meanwhile.
    pub(crate) fn start(
        &mut self,
        founders: &Membership,
        now: Millis,
        jitter: Jitter,
    ) -> Result<(), Violation> {
        self.paused = false;
        let (wal, recovered) = match Wal::open(self.folder(), self.wal_config()) {
            Ok(opened) => opened,
            Err(error @ WalError::Io { .. }) => return self.fail(&error),
            Err(error) => return Err(format!("an undamaged disk is refused: {error}")),
        };
        let writes = std::mem::take(&mut self.unreported_writes);
        let snapshot = self.unreported_snapshot.take();
        self.durable
            .restart(&recovered, &writes, snapshot)
            .map_err(|error| format!("{} lost what was durable: {error}", self.config.id))?;
        let Recovered { hard_state, snapshot, entries } = recovered;
        let state = snapshot.as_ref().map(|snapshot| Machine::decode(snapshot.state.clone()));
        let machine = state.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        #[cfg(feature = "mutants")]
        let machine = machine.with_mutant(self.config.mutant);
        let last = snapshot.as_ref().map_or(LogPosition::default(), |snapshot| snapshot.last);
        let members = snapshot.as_ref().map_or(founders, |snapshot| &snapshot.members).clone();
        let log = Log::recovered(last, members, entries);
        self.term = hard_state.term;
        self.compared = (Term(0), 0);
        self.process = Some(Process {
            core: Core::new(self.config.clone(), hard_state, log, snapshot, now, jitter),
            machine,
            applied: last.index,
            snapshot_at: last.index,
            wal,
            queue: VecDeque::new(),
            storing: None,
        });
        Ok(())
    }

    /// Ends the process. The page cache stays.
    pub(crate) fn kill(&mut self) -> bool {
        self.process.take().is_some()
    }

    /// Ends the process because the disk failed, which it must have been told to.
    fn fail(&mut self, error: &WalError) -> Result<(), Violation> {
        self.process = None;
        match self.disk.take_failure() {
            true => Ok(()),
            false => Err(format!("the log of {} fails on a disk that works: {error}", self.config.id)),
        }
    }

    /// Begins a write.
    pub(crate) fn write(&mut self, write: Persist) {
        self.running().queue.push_back(write);
    }

    /// Begins to store a snapshot, beside the writes.
    pub(crate) fn store(&mut self, snapshot: Snapshot) {
        let process = self.running();
        assert!(process.storing.is_none(), "one snapshot at a time");
        process.storing = Some(snapshot);
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("it has just stepped")
    }

    pub(crate) fn queued(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.queue.len())
    }

    /// Makes the oldest writes durable, as one batch. A failing disk ends the process.
    pub(crate) fn sync(&mut self, writes: usize) -> Result<Option<IoId>, Violation> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let batch: Vec<Persist> = process.queue.drain(..writes).collect();
        let io = batch.last().map(|write| write.io);
        if let Err(error) = process.wal.append(&batch) {
            self.unreported_writes = batch;
            return self.fail(&error).map(|()| None);
        }
        self.durable.write(&batch);
        Ok(io)
    }

    /// Makes the snapshot durable that is to be stored.
    pub(crate) fn finish_storing(&mut self) -> Result<Option<LogPosition>, Violation> {
        let Some(snapshot) = self.process.as_mut().and_then(|process| process.storing.take()) else {
            return Ok(None);
        };
        if let Err(error) = snapshot::save(&self.folder(), self.wal_config(), &snapshot) {
            self.unreported_snapshot = Some(snapshot);
            return self.fail(&error).map(|()| None);
        }
        let last = snapshot.last;
        self.durable.store(snapshot);
        Ok(Some(last))
    }
}
