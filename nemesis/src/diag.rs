//! Sockets as the kernel lists them: `NETLINK_SOCK_DIAG`, exact and fast, for every user.
//!
//! One question is answered by exact lookup (which inode has the far end of this connection), the other by a dump of
//! all established connections. Neither walks `/proc/net/tcp`, which takes milliseconds. A lookup finds the socket only
//! while it is open, so it must be made right after the accept. Sockets that no process holds (closed, or waiting in
//! a backlog) have inode 0.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY`.
const DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
/// Header and `inet_diag_req_v2`.
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// `inet_diag_msg`.
const ANSWER_BYTES: usize = 72;
/// The kernel fills at most 32 KiB per datagram of a dump.
const DATAGRAM_BYTES: usize = 64 << 10;
const TCP_ESTABLISHED: u32 = 1;
const ALL_STATES: u32 = u32::MAX;

/// An established connection, seen from one of its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The address of this end.
    pub local: SocketAddr,
    /// The address of the far end.
    pub remote: SocketAddr,
    /// The inode of this end's socket; 0 when no process holds it.
    pub inode: u64,
}

/// A netlink socket for questions about TCP sockets.
#[derive(Debug)]
pub struct SockDiag(OwnedFd);

impl SockDiag {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel or a sandbox has no `NETLINK_SOCK_DIAG`.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?))
    }

    /// The inode of the socket whose own address is `local` and whose far end is `remote`; `None` when there is
    /// none, or nobody holds it any more.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn inode(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
        let (local, remote) = (unmapped(local), unmapped(remote));
        send(
            &self.0,
            &request(family(local.ip()), NLM_F_REQUEST, ALL_STATES, Some((local, remote))),
            SendFlags::empty(),
        )?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let (_, length) = recv(&self.0, &mut buffer, RecvFlags::empty())?;
        match messages(&buffer[..length]).next() {
            Some((DIAG_BY_FAMILY, body)) => {
                Ok(connection(body).map(|found| found.inode).filter(|&inode| inode != 0))
            }
            Some((NLMSG_ERROR, body)) => match error(body) {
                Some(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
                error => Err(error.unwrap_or_else(|| io::ErrorKind::InvalidData.into())),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Every established TCP connection of this network namespace, each end for itself.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn established(&self) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let question = request(family, NLM_F_REQUEST | NLM_F_DUMP, 1 << TCP_ESTABLISHED, None);
            send(&self.0, &question, SendFlags::empty())?;
            while self.receive_part(&mut found)? {}
        }
        Ok(found)
    }

    /// Receives one datagram of a dump; `false` after the last.
    fn receive_part(&self, found: &mut Vec<Connection>) -> io::Result<bool> {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let (_, length) = recv(&self.0, &mut buffer, RecvFlags::empty())?;
        for (kind, body) in messages(&buffer[..length]) {
            match kind {
                NLMSG_DONE => return Ok(false),
                NLMSG_ERROR => return error(body).map_or(Ok(false), Err),
                _ => found.extend(connection(body)),
            }
        }
        Ok(length > 0)
    }
}

/// The address as IPv4 if it is one inside IPv6, which is how dual-stack runtimes dial.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn family(ip: IpAddr) -> libc::c_int {
    if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn request(
    family: libc::c_int,
    flags: u16,
    states: u32,
    ends: Option<(SocketAddr, SocketAddr)>,
) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    bytes[0..4].copy_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[16] = family as u8;
    bytes[17] = libc::IPPROTO_TCP as u8;
    bytes[20..24].copy_from_slice(&states.to_ne_bytes());
    if let Some((local, remote)) = ends {
        bytes[24..26].copy_from_slice(&local.port().to_be_bytes());
        bytes[26..28].copy_from_slice(&remote.port().to_be_bytes());
        put_ip(&mut bytes[28..44], local.ip());
        put_ip(&mut bytes[44..60], remote.ip());
    }
    // INET_DIAG_NOCOOKIE: the socket is meant whatever its cookie is.
    bytes[64..72].fill(0xff);
    bytes
}

fn put_ip(field: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => field[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => field.copy_from_slice(&ip.octets()),
    }
}

/// The messages of a datagram: type and body.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(datagram.get(0..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
        let body = datagram.get(HEADER_BYTES..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn error(body: &[u8]) -> Option<io::Error> {
    let negative = i32::from_ne_bytes(body.get(0..4)?.try_into().ok()?);
    (negative != 0).then(|| io::Error::from_raw_os_error(-negative))
}

fn connection(body: &[u8]) -> Option<Connection> {
    let answer: &[u8; ANSWER_BYTES] = body.get(..ANSWER_BYTES)?.try_into().ok()?;
    let port = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = answer[at..at + 16].try_into().ok()?;
        let v4 = i32::from(answer[0]) == libc::AF_INET;
        Some(if v4 {
            Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()
        } else {
            Ipv6Addr::from(bytes).into()
        })
    };
    Some(Connection {
        local: unmapped(SocketAddr::new(address(8)?, port(4))),
        remote: unmapped(SocketAddr::new(address(24)?, port(6))),
        inode: u64::from(u32::from_ne_bytes(answer[68..72].try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use std::net::{TcpListener, TcpStream};

    fn own_sockets() -> std::collections::BTreeSet<u64> {
        process::sockets(std::process::id().cast_signed())
    }

    #[test]
    fn far_end_of_an_accepted_connection_is_found_and_gone_after_close() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let diag = SockDiag::open().unwrap();
        let inode = diag.inode(peer, accepted.local_addr().unwrap()).unwrap().unwrap();
        assert!(own_sockets().contains(&inode));
        drop(dialler);
        assert_eq!(diag.inode(peer, accepted.local_addr().unwrap()).unwrap(), None);
    }

    #[test]
    fn dialler_with_a_mapped_address_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _dialler = TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let diag = SockDiag::open().unwrap();
        assert!(diag.inode(peer, accepted.local_addr().unwrap()).unwrap().is_some());
        let ends = diag.established().unwrap();
        assert!(ends.iter().any(|end| end.local == peer && end.remote.port() == port && end.inode != 0));
    }

    #[test]
    fn dump_shows_both_ends_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let ends = SockDiag::open().unwrap().established().unwrap();
        let own = own_sockets();
        for (local, remote) in [(peer, accepted.local_addr().unwrap()), (dialler.peer_addr().unwrap(), peer)]
        {
            let end = ends.iter().find(|end| end.local == local && end.remote == remote).unwrap();
            assert!(own.contains(&end.inode));
        }
    }
}
