//! Mounts that nobody but the nodes sees.
//!
//! The guardian leaves the mount namespace of the machine before its first mount; as an ordinary user it does so in a
//! user namespace of its own, in which it may mount. The nodes, its children, are born into it. The mounts are gone
//! when the last process of the namespace is, whatever ended it, so there is nothing to clean up.
//!
//! Where that is forbidden a helper mounts (`helper`). Everybody sees such a mount, and it stays until somebody unmounts it: the
//! guardian when it ends, or the orchestrator when the guardian was killed. Only when both are killed at the same
//! instant it is left, below the run's directory and dead; `fusermount3 -u` removes it.
//!
//! A file system is served by the orchestrator: the open device goes there and is kept nowhere else, so that an
//! orchestrator that dies leaves no node waiting for an answer.

#![allow(unsafe_code, reason = "trying something in a child has no safe wrapper")]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{Pid, WaitOptions, getegid, geteuid, waitpid};
use rustix::thread::UnshareFlags;

use super::wire::Mounter;
use super::{helper, namespaces};

const DEVICE: &str = "/dev/fuse";

/// The guardian's end.
#[derive(Default)]
pub(super) struct Mounts {
    /// Who mounts, once that is known.
    mounter: Option<Mounter>,
    /// What the helper mounted.
    visible: BTreeSet<PathBuf>,
}

impl Mounts {
    /// Mounts a file system; the device on which it is to be served, and who mounted. Who mounts first mounts all; that is the helper if
    /// nothing else is possible, or wanted.
    pub(super) fn mount(&mut self, target: &Path, by_helper: bool) -> Result<(OwnedFd, Mounter), String> {
        match self.mounter {
            Some(Mounter::Guardian) => Ok(self.mounted(target, Mounter::Guardian, mount_here(target)?)),
            None if !by_helper => self.mount_somehow(target),
            Some(Mounter::Helper) | None => Ok(self.mounted(target, Mounter::Helper, helper::mount(target)?)),
        }
    }

    /// In a namespace if that works, which is tried in a child, because nobody can return from one.
    fn mount_somehow(&mut self, target: &Path) -> Result<(OwnedFd, Mounter), String> {
        let namespace = succeeds_in_child(|| leave_namespace().and_then(|()| mount_here(target).map(drop)));
        let Err(reason) = namespace else {
            leave_namespace()?;
            return Ok(self.mounted(target, Mounter::Guardian, mount_here(target)?));
        };
        let device = helper::mount(target).map_err(|other| format!("{reason}; {other}"))?;
        Ok(self.mounted(target, Mounter::Helper, device))
    }

    fn mounted(&mut self, target: &Path, by: Mounter, device: OwnedFd) -> (OwnedFd, Mounter) {
        self.mounter = Some(by);
        if by == Mounter::Helper {
            self.visible.insert(target.to_owned());
        }
        (device, by)
    }

    pub(super) fn unmount(&mut self, target: &Path) -> Result<(), String> {
        if self.visible.contains(target) {
            helper::unmount(target)?;
            self.visible.remove(target);
            return Ok(());
        }
        let flags = UnmountFlags::NOFOLLOW;
        unmount(target, flags).map_err(|error| format!("unmount: {}", io::Error::from(error)))
    }

    /// Leaves nothing that anybody sees.
    pub(super) fn end(&mut self) {
        std::mem::take(&mut self.visible).iter().for_each(|target| helper::detach(target));
    }
}

fn mount_here(target: &Path) -> Result<OwnedFd, String> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.map_err(|error| format!("{DEVICE}: {error}"))?;
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions\0",
        device.as_raw_fd(),
        geteuid().as_raw(),
        getegid().as_raw()
    );
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .expect("invariant: one zero byte, at the end");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    mount("shakedown", target, "fuse.shakedown", flags, options)
        .map_err(|error| format!("mount: {}", io::Error::from(error)))?;
    Ok(device.into())
}

/// Does something in a process of its own, and says why it failed.
fn succeeds_in_child(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (mut report, mut complaint) = io::pipe().map_err(|error| format!("a pipe: {error}"))?;
    // SAFETY: the guardian has one thread, so the child starts with consistent memory; it leaves through `_exit`.
    let forked = unsafe { libc::fork() };
    if forked < 0 {
        return Err(format!("cannot fork: {}", io::Error::last_os_error()));
    }
    let Some(child) = Pid::from_raw(forked) else {
        if let Err(reason) = work() {
            // Nobody is left to hear of a failure to complain.
            let _ = complaint.write_all(reason.as_bytes());
        }
        // SAFETY: `_exit` ends the child without running the guardian's exit handlers.
        unsafe { libc::_exit(0) }
    };
    drop(complaint);
    let mut reason = String::new();
    let heard = report.read_to_string(&mut reason);
    // It has nothing left to do.
    let _ = waitpid(Some(child), WaitOptions::empty());
    heard.map_err(|error| format!("cannot hear from a child: {error}"))?;
    if reason.is_empty() { Ok(()) } else { Err(reason) }
}

fn leave_namespace() -> Result<(), String> {
    try_leave_namespace().map_err(|error| format!("cannot make a mount namespace: {error}"))
}

fn try_leave_namespace() -> io::Result<()> {
    namespaces::gain_privilege()?;
    namespaces::leave(UnshareFlags::NEWNS)?;
    // What is mounted from now on stays here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}
