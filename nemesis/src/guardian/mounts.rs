//! Mounts that nobody but the nodes sees.
//!
//! The guardian leaves the mount namespace of the machine before its first mount; as an ordinary user it does so in a
//! user namespace of its own, in which it may mount. The nodes, its children, are born into it. The mounts are gone
//! when the last process of the namespace is, whatever ended it, so there is nothing to clean up.
//!
//! A file system is served by the orchestrator: the open device goes there and is kept nowhere else, so that an
//! orchestrator that dies leaves no node waiting for an answer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use super::namespaces;

const DEVICE: &str = "/dev/fuse";

/// The guardian's end.
#[derive(Default)]
pub(super) struct Mounts {
    /// Whether the namespace of the machine was left.
    private: bool,
}

impl Mounts {
    /// Mounts a file system; the device on which it is to be served.
    pub(super) fn mount(&mut self, target: &Path) -> Result<File, String> {
        if !self.private {
            leave_namespace().map_err(|error| format!("cannot make a mount namespace: {error}"))?;
            self.private = true;
        }
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
        Ok(device)
    }

    pub(super) fn unmount(&self, target: &Path) -> Result<(), String> {
        let flags = UnmountFlags::NOFOLLOW;
        unmount(target, flags).map_err(|error| format!("unmount: {}", io::Error::from(error)))
    }
}

fn leave_namespace() -> io::Result<()> {
    namespaces::gain_privilege()?;
    namespaces::leave(UnshareFlags::NEWNS)?;
    // What is mounted from now on stays here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}
