//! Namespaces of the guardian's own, which its children are born into.
//!
//! As an ordinary user the guardian may make none until it lives in a user namespace of its own. A namespace is gone with the last process, descriptor and socket in it, whatever ended
//! them, so there is nothing to clean up.

#![allow(unsafe_code, reason = "leaving a namespace has no safe wrapper")]

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};

/// Makes the user namespace in which an ordinary user may make others; root needs none.
pub(super) fn gain_privilege() -> io::Result<()> {
    if capabilities(None)?.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(());
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    leave(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Leaves namespaces for new ones.
pub(super) fn leave(namespaces: UnshareFlags) -> io::Result<()> {
    // SAFETY: the guardian has one thread and holds no memory that depends on a namespace.
    Ok(unsafe { unshare_unsafe(namespaces) }?)
}
