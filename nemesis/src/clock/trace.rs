//! Follows processes by `ptrace(2)`, to be told when they execute a program.
//!
//! Processes are seized, not attached, so that signals keep their meaning: a followed process can be stopped and
//! continued like any other. All calls must come from the thread that seized, which is the guardian's only one.

#![allow(unsafe_code, reason = "ptrace has no safe wrapper")]

use std::io;
use std::ptr;

use libc::c_int;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

/// What a followed process reports: programs that it executes, and children, which are followed too.
const OPTIONS: c_int = libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACESYSGOOD;
/// Added to the signal of a stop at the beginning or the end of a system call.
const SYSCALL_STOP: c_int = 0x80;

/// Why a followed process has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is about to begin with another program.
    Exec,
    /// It was stopped by a signal, which is a stop that lasts.
    Group,
    /// A system call is over.
    Syscall,
    /// A signal is about to be delivered.
    Signal(c_int),
    /// Something that is of no interest: it has a child, is one, or was continued.
    Passing,
}

impl Stop {
    /// Reads what `wait` said; `None` when the process has ended.
    pub(crate) fn of(status: WaitStatus) -> Option<Self> {
        let signal = status.stopping_signal()?;
        let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        Some(match status.as_raw() >> 16 {
            libc::PTRACE_EVENT_EXEC => Self::Exec,
            libc::PTRACE_EVENT_STOP if stops.contains(&signal) => Self::Group,
            0 if signal == libc::SIGTRAP | SYSCALL_STOP => Self::Syscall,
            0 => Self::Signal(signal),
            _ => Self::Passing,
        })
    }
}

/// Begins to follow a process, which goes on.
pub(crate) fn seize(pid: Pid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE as _, pid, ptr::null_mut(), ptr::without_provenance_mut(OPTIONS as usize))
}

/// Lets a process go on after a stop that calls for nothing.
pub(crate) fn pass(pid: Pid, stop: Stop) -> io::Result<()> {
    match stop {
        // It stays stopped, and is told apart from one that runs.
        Stop::Group => request(libc::PTRACE_LISTEN as _, pid, ptr::null_mut(), ptr::null_mut()),
        Stop::Signal(signal) => resume(libc::PTRACE_CONT as _, pid, signal),
        Stop::Exec | Stop::Syscall | Stop::Passing => resume(libc::PTRACE_CONT as _, pid, 0),
    }
}

/// Does not follow a stopped process any longer.
pub(crate) fn let_go(pid: Pid) -> io::Result<()> {
    resume(libc::PTRACE_DETACH as _, pid, 0)
}

/// Waits for the next stop of a process that was let go on by one step.
pub(crate) fn next_stop(pid: Pid) -> io::Result<Stop> {
    let status = loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Stop::of(status).ok_or_else(|| io::Error::other("it ended"))
}

pub(super) fn resume(how: c_int, pid: Pid, signal: c_int) -> io::Result<()> {
    request(how, pid, ptr::null_mut(), ptr::without_provenance_mut(signal as usize))
}

pub(super) fn request(
    request: c_int,
    pid: Pid,
    address: *mut libc::c_void,
    data: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: `data` is a plain number, except where the caller passes registers, which have the size that the kernel
    // reads or writes; no request of this crate writes to this process in another way.
    let done = unsafe { libc::ptrace(request as _, pid.as_raw_pid(), address, data) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
