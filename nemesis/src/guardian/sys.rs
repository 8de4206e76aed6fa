//! The system calls of the guardian that have no safe wrapper: fork, exec and what must happen between them.
//!
//! The guardian has one thread, so the child of its fork may allocate and open files like any other process.
//! [`spawn`] returns when the child executes the program or has said why it does not.

#![allow(unsafe_code, reason = "fork, exec, signal dispositions and credentials have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::ptr;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::descriptors;
use super::wire::Account;
use crate::clock::trace;

/// The highest signal number of Linux.
const LAST_SIGNAL: i32 = 64;
/// Handler, flags, restorer and mask; some architectures have no restorer and read less.
const KERNEL_SIGACTION_WORDS: usize = 4;
/// What a child exits with that could not execute the program.
const EXEC_FAILED: i32 = 127;
/// Descriptors 0, 1 and 2 belong to the node; everything above is closed by the exec.
const FIRST_PRIVATE_FD: u32 = 3;

/// Everything a child needs, opened and converted before the fork.
pub(super) struct Launch<'a> {
    /// What is executed.
    pub(super) program: &'a OwnedFd,
    /// A script is opened again by its interpreter, by way of `/dev/fd`, so its descriptor outlives the exec.
    pub(super) is_script: bool,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) directory: PathBuf,
    pub(super) stdin: File,
    pub(super) stdout: File,
    pub(super) stderr: File,
    pub(super) account: Option<Account>,
    /// The network namespace that it lives in, if that is not the guardian's.
    pub(super) network: Option<&'a OwnedFd>,
    /// Whether the child is followed, and stops before it begins with the program.
    pub(super) followed: bool,
}

/// Makes the calling process deaf to the keys and signals by which a user ends a foreground program: the guardian
/// ends when its socket does.
pub(super) fn ignore_terminal_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: SIG_IGN is a valid disposition for these signals and runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Starts a child in a session of its own that executes the program.
///
/// # Errors
/// Says which step failed, and why.
pub(super) fn spawn(launch: &Launch<'_>) -> Result<Pid, String> {
    let say = |step: &str, error: io::Error| format!("{step}: {error}");
    let (mut report, complaint) = io::pipe().map_err(|e| say("cannot open a pipe", e))?;
    let (mut go, may_go) = io::pipe().map_err(|e| say("cannot open a pipe", e))?;
    let guardian = getpid();
    // SAFETY: the guardian has one thread, so the child starts with consistent memory; it leaves through exec or
    // `_exit` only.
    let forked = unsafe { libc::fork() };
    if forked < 0 {
        return Err(say("cannot fork", io::Error::last_os_error()));
    }
    let Some(child) = Pid::from_raw(forked) else {
        drop((report, may_go));
        // Ends when the guardian is ready, or gone.
        let _ = go.read(&mut [0]);
        become_node(launch, guardian, complaint);
    };
    drop(complaint);
    if launch.followed
        && let Err(error) = trace::seize(child)
    {
        give_up(child);
        return Err(say("cannot trace the child; is kernel.yama.ptrace_scope above 1?", error));
    }
    drop(may_go);
    let mut reason = String::new();
    report.read_to_string(&mut reason).map_err(|e| say("cannot hear from the child", e))?;
    if reason.is_empty() { Ok(child) } else { Err(reason) }
}

/// Lets a child of the guardian open descriptors where the guardian itself cannot go, because it may not come back.
///
/// # Errors
/// What the child says.
pub(super) fn open_in_child(
    count: usize,
    open: impl FnOnce() -> Result<Vec<OwnedFd>, String>,
) -> Result<Vec<OwnedFd>, String> {
    let say = |step: &str, error: io::Error| format!("{step}: {error}");
    let (mut report, mut complaint) = io::pipe().map_err(|e| say("cannot open a pipe", e))?;
    let (ours, theirs) = UnixStream::pair().map_err(|e| say("cannot open a socket", e))?;
    // SAFETY: the guardian has one thread, so the child starts with consistent memory; it leaves through `_exit` only.
    let forked = unsafe { libc::fork() };
    if forked < 0 {
        return Err(say("cannot fork", io::Error::last_os_error()));
    }
    let Some(child) = Pid::from_raw(forked) else {
        let send = |opened: &OwnedFd| descriptors::send(&theirs, opened.as_fd());
        let sent = open().and_then(|opened| {
            opened.iter().try_for_each(send).map_err(|e| say("cannot hand over a descriptor", e))
        });
        if let Err(reason) = sent {
            // Nobody is left to hear of a failure to complain.
            let _ = complaint.write_all(reason.as_bytes());
        }
        // SAFETY: `_exit` ends the child without running the guardian's exit handlers.
        unsafe { libc::_exit(0) }
    };
    drop((complaint, theirs));
    let mut reason = String::new();
    let heard = report.read_to_string(&mut reason);
    // Fails only when there is no such child any more.
    let _ = waitpid(Some(child), WaitOptions::empty());
    heard.map_err(|e| say("cannot hear from the child", e))?;
    if !reason.is_empty() {
        return Err(reason);
    }
    descriptors::receive(&ours, count).map_err(|e| say("the child opened too little", e))
}

/// Ends a child that has not become a node.
pub(super) fn give_up(child: Pid) {
    // Both fail only when there is no such child any more.
    let _ = kill_process(child, Signal::KILL);
    while let Ok(Some((_, status))) = waitpid(Some(child), WaitOptions::empty())
        && status.stopped()
    {}
}

/// The child's part. The write end of the pipe is closed by a successful exec, which is how the parent knows.
fn become_node(launch: &Launch<'_>, guardian: Pid, mut complaint: impl Write) -> ! {
    let (step, error) = prepare(launch, guardian).map_or_else(|failed| failed, |()| exec(launch));
    // Nobody is left to hear of a failure to complain.
    let _ = write!(complaint, "{step}: {error}");
    // SAFETY: `_exit` ends the child without running the guardian's exit handlers.
    unsafe { libc::_exit(EXEC_FAILED) }
}

type Failure = (&'static str, io::Error);

fn prepare(launch: &Launch<'_>, guardian: Pid) -> Result<(), Failure> {
    let step = |what: &'static str| move |error: rustix::io::Errno| (what, io::Error::from(error));
    rustix::process::setsid().map_err(step("cannot begin a session"))?;
    restore_signals();
    rustix::process::chdir(&launch.directory).map_err(step("cannot enter the working directory"))?;
    rustix::stdio::dup2_stdin(&launch.stdin).map_err(step("cannot redirect standard input"))?;
    rustix::stdio::dup2_stdout(&launch.stdout).map_err(step("cannot redirect standard output"))?;
    rustix::stdio::dup2_stderr(&launch.stderr).map_err(step("cannot redirect standard error"))?;
    close_on_exec_from(FIRST_PRIVATE_FD)
        .map_err(|e| ("cannot close descriptors (Linux 5.11 is needed)", e))?;
    if launch.is_script {
        fcntl_setfd(launch.program.as_fd(), FdFlags::empty()).map_err(step("cannot pass the script on"))?;
    }
    if let Some(network) = launch.network {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(step("cannot enter the network namespace"))?;
    }
    if let Some(account) = launch.account {
        change_account(account).map_err(|e| ("cannot change the account", e))?;
    }
    // A change of account clears the parent-death signal, so it is set afterwards; a guardian that died before this
    // line sends nothing, hence the second look at the parent.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(step("cannot tie the node to the guardian"))?;
    if getppid() == Some(guardian) {
        Ok(())
    } else {
        Err(("the guardian is gone", io::ErrorKind::NotFound.into()))
    }
}

/// Ignored and blocked signals survive an exec; a node starts with none. The C library refuses to touch the signals that
/// it uses itself, so the kernel is asked directly.
fn restore_signals() {
    let default = [0_u64; KERNEL_SIGACTION_WORDS];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: an all-zero `sigaction` is SIG_DFL without flags; the kernel reads no more than the array holds, and
        // fails harmlessly for signals that cannot be changed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                size_of::<u64>(),
            );
        }
    }
    let none = 0_u64;
    // SAFETY: the mask has the size that is passed with it; a null pointer is allowed for the old mask.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null::<u64>(),
            size_of::<u64>(),
        );
    }
}

fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call only sets a flag on descriptors of this process.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn change_account(account: Account) -> io::Result<()> {
    // SAFETY: plain system calls; the list of groups is empty, so no pointer is read. Groups go first, because a
    // process that gave up root cannot change them.
    let failed = unsafe {
        libc::setgroups(0, ptr::null()) != 0
            || libc::setgid(account.gid) != 0
            || libc::setuid(account.uid) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn exec(launch: &Launch<'_>) -> Failure {
    let arguments = pointers(&launch.arguments);
    let environment = pointers(&launch.environment);
    let program: RawFd = launch.program.as_raw_fd();
    // SAFETY: both arrays end with a null pointer and, like the strings they point to, outlive the call, which
    // returns only if it failed.
    unsafe { libc::fexecve(program, arguments.as_ptr(), environment.as_ptr()) };
    ("cannot execute the program", io::Error::last_os_error())
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| CStr::as_ptr(string)).chain([ptr::null()]).collect()
}
