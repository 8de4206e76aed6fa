//! Processes that are followed until they execute what is meant to have wrong clocks.
//!
//! Nodes are often started by a script, which executes other programs and at last the server, or has it as a child. A
//! process is followed, and its children with it, while it executes a *launcher*: a shell, or a program that does nothing but start
//! another. The first program that is none gets a substituted vDSO, and is not followed any longer; what it executes itself
//! has true clocks. Launchers keep true clocks too.
//!
//! A followed process stops at every signal until the guardian has passed it on. Launchers get few.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, fchown};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::sys;
use super::wire::Account;
use crate::clock::trace::{self, Stop};
use crate::clock::{ClockFile, Reader, substitute};

/// Programs that are taken for launchers, by the name of the file that is executed.
const LAUNCHERS: &str = "ash bash busybox chrt dash dumb-init env ionice ksh ksh93 mksh nice nohup numactl prlimit \
                         setpriv setsid sh stdbuf taskset timeout tini zsh";

/// What is done to the processes of a node that are followed.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) clock: ClockFile,
    /// Where it is said that a process keeps true clocks against all intent.
    pub(super) log: PathBuf,
}

/// Whether a process goes on being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    Yes,
    No,
}

impl Following {
    /// Forgets what an earlier process has seen, and lets an account use the file that may not.
    pub(super) fn prepare(&self, account: Option<Account>) -> Result<(), String> {
        let Reader::Node = self.clock.reader else { return Ok(()) };
        let prepare = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(&self.clock.path)?;
            account.map_or(Ok(()), |account| fchown(&file, Some(account.uid), Some(account.gid)))?;
            self.clock.reader.forget(|zeroes, offset| file.write_all_at(zeroes, offset))
        };
        prepare().map_err(|error| format!("cannot use {}: {error}", self.clock.path.display()))
    }

    /// Waits until a new process has executed its program, and takes it from there.
    pub(super) fn started(&self, pid: Pid) -> Result<Followed, String> {
        loop {
            match trace::next_stop(pid) {
                Ok(Stop::Exec) => break,
                Ok(stop) => trace::pass(pid, stop).map_err(|error| error.to_string())?,
                Err(error) => return Err(format!("it has not begun: {error}")),
            }
        }
        let began = self.began(pid);
        if began.is_err() {
            sys::give_up(pid);
        }
        began
    }

    /// Decides about a process that has just executed a program.
    pub(super) fn began(&self, pid: Pid) -> Result<Followed, String> {
        if is_launcher(pid) {
            trace::pass(pid, Stop::Exec).map_err(|error| error.to_string())?;
            return Ok(Followed::Yes);
        }
        substitute(pid, &self.clock).map(|()| Followed::No)
    }

    /// Says in the log of the node what went wrong.
    pub(super) fn complain(&self, pid: Pid, reason: &str) {
        let line = format!("shakedown: the clocks of pid {} stay true: {reason}\n", pid.as_raw_pid());
        let log = OpenOptions::new().append(true).open(&self.log);
        // A log that cannot be written has nobody to complain to.
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}

fn is_launcher(pid: Pid) -> bool {
    let executed = fs::read_link(format!("/proc/{}/exe", pid.as_raw_pid())).unwrap_or_default();
    let name = executed.file_name().map(Path::new).and_then(Path::to_str);
    name.is_some_and(|name| LAUNCHERS.split(' ').any(|launcher| launcher == name))
}
