//! Faults with heal and evidence, links between nodes, and the guardian that starts the nodes.
//!
//! * [`guardian`] is a process of its own, parent of every node, and leaves none behind; [`Processes`] is what
//!   the rest sees of it: which node runs, and which ends were asked for.
//! * [`links`] are the proxies between nodes, and between clients and nodes; the audit finds what avoids them. `switch` is
//!   what joins the nodes instead where they cannot be proxied.
//! * [`schedule`] plans faults from a seed, [`runner`] carries them out on a [`Cluster`]; each fault is one file:
//!   `kill` (also of `term`), `crash_loop`, `rolling_restart`, `pause`, `starve`, `partition` (also of `black-hole`),
//!   `latency`, `bandwidth`, `reset`, `half_open`, `slow_close`, `message`, `packet`, `limit` (of memory and of
//!   descriptors), `membership`, `wipe`, `command`; `clock` is a folder, because it begins where processes are started; [`scenario`] plays
//!   scripts of several.
//! * [`doctor`] tells what of it works on this machine.
//!
//! Guarantees: a fault that stands is proven to stand, from outside the mechanism that applied it; a run ends with
//! everything healed, or says what is not; whatever happens to the harness, no process of a node survives it.
//!
//! The crate knows no system by name and makes no verdicts: it records [`history::RunEvent`]s. Start reading at
//! [`Cluster`], then [`runner`].

mod audit;
mod bandwidth;
mod canaries;
mod clock;
mod cluster;
mod command;
mod crash_loop;
mod damage;
mod data;
pub mod diag;
mod dice;
pub mod disk;
mod disk_canary;
mod disk_fault;
pub mod doctor;
mod endpoint;
mod fault;
mod grudges;
pub mod guardian;
mod half_open;
mod kill;
mod kill_at;
mod latency;
mod limit;
pub mod links;
mod members;
mod membership;
mod message;
mod nemesis;
mod operation;
mod packet;
mod partition;
mod patrol;
mod pause;
pub mod process;
mod processes;
mod quorum;
mod recovery;
mod registry;
mod reset;
mod role;
mod rolling_restart;
pub mod runner;
pub mod scenario;
pub mod schedule;
mod sink;
mod slow_close;
mod starve;
mod switch;
mod victims;
mod wipe;
mod wrong_page;

pub use audit::Bypass;
pub use clock::{Area, ClockFile, Movement, NodeClock, Reader, Skew};
pub use cluster::{Cluster, NodeStatus, Operation, Upgrade};
pub use disk::{Disk, Promises, UnknownPromises};
pub use endpoint::{Endpoint, Link, NoLink};
pub use fault::{FaultError, Kind};
pub use links::Links;
pub use nemesis::{Nemesis, UnknownNemesis};
pub use processes::{ProcessError, Processes};
pub use recovery::heal_everything;
pub use registry::Registry;
pub use sink::EventSink;
pub use switch::{SwitchError, Volley};
