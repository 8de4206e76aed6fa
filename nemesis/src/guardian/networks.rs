//! Network namespaces, one for each host: nothing in it but loopback and one cable, whose other end is held by the
//! orchestrator.
//!
//! The far ends lie in a namespace of their own. They have no addresses, so the only way from host to host is by way of
//! whoever holds the packet sockets there. The guardian stays in the network of the machine, to which an ordinary user
//! could not return; what is to be done elsewhere is done by short-lived children. A host has neither ARP nor
//! checksums that are left to hardware: all hosts have the same hardware address, and what leaves them is what goes over
//! a wire, so that a changed bit is found by whoever receives it.

#![allow(unsafe_code, reason = "packet sockets and ethtool have no safe wrapper")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use history::NodeId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::namespaces;
use super::rtnetlink::{Interfaces, Mac};
use super::sys;
use super::wire::Transport;

/// The interface of a host.
const INTERFACE: &str = "eth0";
/// The hardware address of every host: locally administered. Without ARP the kernel sends to its own address, which is
/// therefore everybody's.
const MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// The bits of the network's address.
const PREFIX: u8 = 24;
/// Frames of a host that wait for the switch, in bytes; an ordinary user gets less (`net.core.rmem_max`).
const BACKLOG_BYTES: usize = 8 << 20;

/// The guardian's end.
#[derive(Default)]
pub(super) struct Networks {
    /// Where the far ends of the cables are, once there is one.
    hub: Option<OwnedFd>,
    hosts: BTreeMap<NodeId, OwnedFd>,
}

impl Networks {
    /// Makes the namespace of a host; the packet socket at the far end of its cable.
    pub(super) fn attach(&mut self, host: NodeId, address: Ipv4Addr) -> Result<OwnedFd, String> {
        if self.hosts.contains_key(&host) {
            return Err(format!("{host} is attached already"));
        }
        if self.hub.is_none() {
            self.hub = Some(new_namespace()?);
        }
        let hub = self.hub.as_ref().expect("invariant: made above");
        let far_name = format!("host{}", self.hosts.len() + 1);
        let namespace = new_namespace()?;
        let cable = open_in_child(|| {
            enter(&namespace)?;
            furnish(address, &far_name, hub)?;
            enter(hub)?;
            far_end(&far_name).map_err(|error| format!("cannot open a packet socket: {error}"))
        })?;
        self.hosts.insert(host, namespace);
        Ok(cable)
    }

    /// The namespace of a host, if it has one.
    pub(super) fn of(&self, host: &NodeId) -> Option<&OwnedFd> {
        self.hosts.get(host)
    }

    /// Opens sockets in the namespace of a host.
    pub(super) fn sockets(
        &self,
        host: &NodeId,
        transport: Transport,
        count: usize,
    ) -> Result<Vec<OwnedFd>, String> {
        let namespace = self.of(host).ok_or_else(|| format!("{host} was never attached to a switch"))?;
        let kind = match transport {
            Transport::Tcp => SocketType::STREAM,
            Transport::Udp => SocketType::DGRAM,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        sys::open_in_child(count, || {
            enter(namespace)?;
            let open = |_| socket_with(AddressFamily::INET, kind, flags, None);
            let opened: Result<_, rustix::io::Errno> = (0..count).map(open).collect();
            opened.map_err(|error| format!("cannot open a socket: {}", io::Error::from(error)))
        })
    }
}

/// The same for a single descriptor.
fn open_in_child(open: impl FnOnce() -> Result<OwnedFd, String>) -> Result<OwnedFd, String> {
    let mut opened = sys::open_in_child(1, || open().map(|opened| vec![opened]))?;
    Ok(opened.pop().expect("invariant: there is one"))
}

fn new_namespace() -> Result<OwnedFd, String> {
    let say = |error: io::Error| format!("cannot make a network namespace: {error}");
    namespaces::gain_privilege().map_err(say)?;
    open_in_child(|| {
        let left = namespaces::leave(UnshareFlags::NEWNET);
        left.and_then(|()| File::open("/proc/self/ns/net")).map(OwnedFd::from).map_err(say)
    })
}

fn enter(namespace: &OwnedFd) -> Result<(), String> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("cannot enter a network namespace: {}", io::Error::from(error)))
}

/// Sets up the namespace that the process is in.
fn furnish(address: Ipv4Addr, far_name: &str, hub: &OwnedFd) -> Result<(), String> {
    let say = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    let interfaces = Interfaces::open().map_err(say("cannot open NETLINK_ROUTE"))?;
    let up = |name: &str, flags| interfaces.set_flags(interfaces.index(name)?, libc::IFF_UP | flags);
    up("lo", 0).map_err(say("cannot bring up lo"))?;
    interfaces
        .lay_cable(INTERFACE, MAC, far_name, hub.as_fd())
        .map_err(say("cannot make a pair of interfaces (kernel module veth)"))?;
    leave_no_checksums_to_hardware().map_err(say("cannot turn off checksum offload"))?;
    let index = interfaces.index(INTERFACE).map_err(say("cannot find the new interface"))?;
    interfaces.add_address(index, address, PREFIX).map_err(say("cannot set an address"))?;
    up(INTERFACE, libc::IFF_NOARP).map_err(say("cannot bring up the new interface"))
}

/// `ethtool -K eth0 tx off`, with which the kernel cuts what it sends into frames of the usual size, too.
fn leave_no_checksums_to_hardware() -> io::Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    /// `ethtool_value`.
    #[repr(C)]
    struct Setting {
        command: u32,
        value: u32,
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut setting = Setting { command: ETHTOOL_STXCSUM, value: 0 };
    // SAFETY: all zeroes is an `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(INTERFACE.bytes()) {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut setting).cast();
    // SAFETY: the request and the setting that it points to outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings up the far end of a cable, in the namespace that the process is in, and opens it for frames.
fn far_end(name: &str) -> io::Result<OwnedFd> {
    let interfaces = Interfaces::open()?;
    let index = interfaces.index(name)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol it gets no frames of other interfaces before it is bound.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    // Only root may have so much; anybody else gets as much as there is.
    sockopt::set_socket_recv_buffer_size_force(&socket, BACKLOG_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, BACKLOG_BYTES))?;
    bind(&socket, index)?;
    interfaces.set_flags(index, libc::IFF_UP)?;
    Ok(socket)
}

/// Binds a packet socket to the IPv4 frames that come in on an interface.
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: all zeroes is a `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address outlives the call and has the length that is told.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
