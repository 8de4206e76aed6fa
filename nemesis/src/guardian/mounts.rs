//! Mounts that nobody but the nodes sees.
//!
//! The guardian leaves the mount namespace of the machine before its first mount; as an ordinary user it does so in a
//! user namespace of its own, in which it may mount. The nodes, its children, are born into it. The mounts are gone
//! when the last process of the namespace is, whatever ended it, so there is nothing to clean up.
//!
//! A file system is served by the orchestrator: the open device goes there, over a socket of its own, and is kept
//! nowhere else, so that an orchestrator that dies leaves no node waiting for an answer.

#![allow(unsafe_code, reason = "leaving a namespace has no safe wrapper")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const DEVICE: &str = "/dev/fuse";

/// The guardian's end.
pub(super) struct Mounts {
    /// Where descriptors go.
    socket: UnixStream,
    /// Whether the namespace of the machine was left.
    private: bool,
}

impl Mounts {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, private: false }
    }

    /// Mounts a file system and sends the device on which it is served.
    pub(super) fn mount(&mut self, target: &Path) -> Result<(), String> {
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
        send(&self.socket, &device).map_err(|error| format!("cannot hand over {DEVICE}: {error}"))
    }

    pub(super) fn unmount(&self, target: &Path) -> Result<(), String> {
        let flags = UnmountFlags::NOFOLLOW;
        unmount(target, flags).map_err(|error| format!("unmount: {}", io::Error::from(error)))
    }
}

fn leave_namespace() -> io::Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    // SAFETY: the guardian has one thread and holds no memory that depends on a namespace.
    if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
        // SAFETY: as above.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    // What is mounted from now on stays here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

fn send(socket: &UnixStream, device: &File) -> io::Result<()> {
    let descriptors = [device.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes a descriptor that was sent already. What the guardian's process printed before it began to serve is passed over.
pub(super) fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    loop {
        if let Some(descriptor) = receive_some(socket)? {
            return Ok(descriptor);
        }
    }
}

fn receive_some(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut bytes = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
