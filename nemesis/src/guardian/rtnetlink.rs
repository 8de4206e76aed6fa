//! What `ip link` and `ip address` do, as far as one virtual cable needs it: `NETLINK_ROUTE` (rtnetlink(7)).
//!
//! The socket belongs to the network namespace in which it was opened. Every request is acknowledged by the kernel before
//! the next one is made.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socket_with,
};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `nlmsghdr`: length, type, flags, sequence number, port.
const HEADER_BYTES: usize = 16;
/// `ifinfomsg`.
const LINK_BYTES: usize = 16;
/// Room for an acknowledgement, which repeats the header of its request.
const ANSWER_BYTES: usize = 4096;

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// A netlink socket for questions about interfaces.
pub(super) struct Interfaces(OwnedFd);

impl Interfaces {
    /// Those of the network namespace that the process is in.
    pub(super) fn open() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// The number of an interface.
    pub(super) fn index(&self, name: &str) -> io::Result<u32> {
        Ok(netdevice::name_to_index(&self.0, name)?)
    }

    /// Lays a cable (veth(4)): an interface here, and its other end under another name in another network namespace.
    pub(super) fn lay_cable(
        &self,
        name: &str,
        mac: Mac,
        far_name: &str,
        far_namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        request.bytes(&[0; LINK_BYTES]);
        request.attribute(IFLA_IFNAME, name.as_bytes());
        request.attribute(IFLA_ADDRESS, &mac);
        request.nest(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.bytes(&[0; LINK_BYTES]);
                    peer.attribute(IFLA_IFNAME, far_name.as_bytes());
                    peer.attribute(IFLA_NET_NS_FD, &far_namespace.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(request)
    }

    /// Sets flags (`IFF_UP` and the like) that are not set.
    pub(super) fn set_flags(&self, index: u32, flags: libc::c_int) -> io::Result<()> {
        let flags = flags.to_ne_bytes();
        let mut request = Request::new(libc::RTM_NEWLINK, 0);
        request.bytes(&[0; 4]);
        request.bytes(&index.to_ne_bytes());
        request.bytes(&flags);
        // The mask: which flags are meant.
        request.bytes(&flags);
        self.ask(request)
    }

    /// Gives an interface an address in a network of `prefix` bits.
    pub(super) fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        request.bytes(&[libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE]);
        request.bytes(&index.to_ne_bytes());
        request.attribute(IFA_LOCAL, &address.octets());
        request.attribute(IFA_ADDRESS, &address.octets());
        self.ask(request)
    }

    fn ask(&self, request: Request) -> io::Result<()> {
        send(&self.0, &request.finish(), SendFlags::empty())?;
        let mut answer = [0; ANSWER_BYTES];
        let (_, length) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        let error = read_error(&answer[..length]).ok_or(io::ErrorKind::InvalidData)?;
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-error)) }
    }
}

/// The negative error number of an acknowledgement; 0 is success.
fn read_error(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let error = answer.get(HEADER_BYTES..HEADER_BYTES + 4)?;
    (kind == NLMSG_ERROR).then(|| i32::from_ne_bytes(error.try_into().expect("invariant: four bytes")))
}

/// A message that is being written: fixed parts, then attributes, each aligned to four bytes behind its length and type.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        Self(bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest_as(kind, |attribute| attribute.0.extend_from_slice(value));
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.nest_as(kind | NLA_F_NESTED, fill);
    }

    fn nest_as(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let begin = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.0.len() - begin).expect("invariant: requests are small");
        self.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes(&[]);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("invariant: requests are small");
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_carry_their_length_and_are_aligned() {
        let mut request = Request::new(libc::RTM_NEWLINK, 0);
        request.nest(18, |info| info.attribute(1, b"veth0"));
        let bytes = request.finish();
        assert_eq!(bytes[0..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [[16, 0], (18 | NLA_F_NESTED).to_ne_bytes()].concat());
        assert_eq!(bytes[20..32], [&[9, 0, 1, 0], &b"veth0"[..], &[0, 0, 0]].concat());
    }

    #[test]
    fn refusal_of_the_kernel_is_an_error_with_its_number() {
        // There is no interface of that number anywhere.
        let error = Interfaces::open().unwrap().set_flags(u32::MAX >> 1, libc::IFF_UP).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EPERM)), "{error}");
    }
}
