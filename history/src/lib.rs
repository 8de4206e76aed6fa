//! The common language of shakedown: what clients did, what faults did, and when, on one time axis.
//!
//! A [`History`] is what a checker judges: every [`Operation`] with its invocation, its completion and
//! what it observed. It is recorded as [`Event`]s, one JSON object a line, in the order in which the
//! recorder received them; every prefix of such a file is a legal history. What was done *to* the
//! cluster is recorded beside it as [`RunEvent`]s (`nemesis.jsonl`), and what the run was is a
//! [`RunInfo`] (`run.json`).
//!
//! Histories of other tools (Jepsen, Knossos, Porcupine, elle-cli, etcd's robustness tests) are read, and Jepsen's are
//! written, in [`foreign`].
//!
//! The crate reads clocks only in [`Clock`], draws no random numbers and knows no runtime.
//! Start reading at [`event`], then [`operation`].

pub mod columns;
pub mod event;
pub mod file;
pub mod foreign;
pub mod names;
pub mod operation;
pub mod run;
pub mod run_event;
pub mod time;
pub mod values;

pub use columns::Operations;
pub use event::{Event, EventKind, Header, NodeId, Process};
pub use file::{
    HistoryReader, HistoryWriter, ReadError, RunEventWriter, Torn, open_input, read_history, read_run_events,
};
pub use foreign::{
    EdnWriter, EventReader, Format, ModelGuess, ReadOptions, guess_model, read_history_as, read_history_with,
    write_edn,
};
pub use names::{NameId, Names};
pub use operation::{History, Operation, Outcome};
pub use run::{RunInfo, RunPaths, ScheduledFault, UpgradeInfo};
pub use run_event::{FaultPhase, RunEvent};
pub use time::{Clock, Nanos};
pub use values::{ValueId, Values};
