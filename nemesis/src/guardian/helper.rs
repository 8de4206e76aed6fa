//! Mounts by `fusermount3`, the helper that distributions install for ordinary users (Debian: fuse3), where a user may have no
//! namespace to mount in.
//!
//! The helper mounts where everybody sees it, hands over the device on the socket that `_FUSE_COMMFD` names, and ends. Who
//! mounted has to unmount. (Its option `auto_unmount` does nothing without `allow_other`, which needs an
//! administrator: as root it may not look at a mount that is not for everybody.)

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::descriptors;

const PROGRAM: &str = "fusermount3";
const OPTIONS: &str = "rw,nosuid,nodev,noatime,default_permissions,fsname=shakedown,subtype=shakedown";

/// Mounts a file system, and returns the device on which it is served.
pub(super) fn mount(target: &Path) -> Result<OwnedFd, String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| format!("a pair of sockets: {error}"))?;
    let mut command = Command::new(PROGRAM);
    command.args(["-o", OPTIONS, "--"]).arg(target);
    command.env("_FUSE_COMMFD", "0").stdin(OwnedFd::from(theirs));
    execute(command)?;
    let mut received = descriptors::receive(&ours, 1)
        .map_err(|error| format!("{PROGRAM} handed over no device: {error}"))?;
    Ok(received.pop().expect("invariant: there is one"))
}

/// Unmounts a file system that nobody uses.
pub(super) fn unmount(target: &Path) -> Result<(), String> {
    let mut command = Command::new(PROGRAM);
    command.args(["-u", "--"]).arg(target).stdin(Stdio::null());
    execute(command)
}

/// Unmounts a file system whoever uses it; nothing happens when it is not mounted.
pub(super) fn detach(target: &Path) {
    let mut command = Command::new(PROGRAM);
    command.args(["-u", "-z", "-q", "--"]).arg(target).stdin(Stdio::null());
    // What was unmounted already cannot be unmounted.
    let _ = execute(command);
}

fn execute(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {PROGRAM} (Debian: fuse3)"),
        _ => format!("cannot execute {PROGRAM}: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{PROGRAM}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
