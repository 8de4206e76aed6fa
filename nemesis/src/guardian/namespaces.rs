//! Namespaces of the guardian's own, which its children are born into.
//!
//! As an ordinary user the guardian may make none until it lives in a user namespace of its own, so the first namespace
//! that it wants makes that one too. A namespace is gone with the last process, descriptor and socket in it, whatever ended
//! them, so there is nothing to clean up.

#![allow(unsafe_code, reason = "leaving a namespace has no safe wrapper")]

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Leaves namespaces for new ones.
pub(super) fn leave(namespaces: UnshareFlags) -> io::Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    // SAFETY: the guardian has one thread and holds no memory that depends on a namespace.
    if unsafe { unshare_unsafe(namespaces) }.is_err() {
        // SAFETY: as above.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER | namespaces) }?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    Ok(())
}
