//! Clocks of a node that are wrong, by substitution of its vDSO.
//!
//! An unmodified program asks for the time through the vDSO, whatever it is written in. The guardian, who is the parent of
//! nodes, gives a process an edited copy of it before the first instruction of its program ([`substitute()`]); the copy
//! leads to a small piece of code ([`stub`]) that asks the real one and adds what the node's file says ([`page`]). From then
//! on the process is left alone: other clocks are other numbers in the file, and drift and strobe are computed where the
//! clock is read.
//!
//! What it does not reach: who asks the kernel itself, or the processor; deadlines that the kernel keeps (timers, timeouts of
//! futexes), and times that it writes (of files). Programs of 32 bits; programs with rights of their own (setuid), which
//! lose them because they are traced when they are executed.

pub(crate) mod canary;
pub(crate) mod fault;
mod page;
mod skew;
#[cfg(target_arch = "x86_64")]
mod stopped;
#[cfg(target_arch = "x86_64")]
mod stub;
#[cfg(target_arch = "x86_64")]
mod substitute;
mod time;
pub(crate) mod trace;
#[cfg(target_arch = "x86_64")]
mod vdso;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use page::{Area, NodeClock, Reader};
pub use skew::{Movement, Skew};
#[cfg(target_arch = "x86_64")]
pub(crate) use substitute::substitute;

/// The file from which a process takes its clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFile {
    /// Its path, which must be absolute: the process opens it in its own working directory.
    pub path: PathBuf,
    /// In whose name the process says what it has seen.
    pub reader: Reader,
}

/// The stub is written for one processor.
///
/// # Errors
/// Always.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn substitute(pid: rustix::process::Pid, _clock: &ClockFile) -> Result<(), String> {
    trace::let_go(pid).map_err(|error| format!("cannot be let go: {error}"))?;
    Err("clocks can be changed on x86-64 only".to_owned())
}
