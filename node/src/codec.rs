//! Little-endian encoding of what is stored and sent, shared by the write-ahead log and the transport.
//!
//! Reading checks every bound and never panics, whatever the bytes are. Payloads are not copied: they share the buffer
//! that was read. Checksums and lengths of whole frames are the business of the callers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, TryGetError};

use crate::raft::{Entry, Index, LogPosition, Membership, NodeId, Payload, Term};

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The bytes end too early.
    #[error("ends too early")]
    Truncated,
    /// Something follows the end.
    #[error("has {0} bytes after its end")]
    Trailing(usize),
    /// A code that this version does not know.
    #[error("has an unknown {what} code {code}")]
    UnknownCode {
        /// What the code stands for.
        what: &'static str,
        /// The code.
        code: u8,
    },
    /// Entries whose indices do not follow each other.
    #[error("has a gap between its entries")]
    NotContiguous,
    /// A term after which there are not enough terms.
    #[error("has a term that no cluster reaches")]
    AbsurdTerm,
    /// Members that contradict each other.
    #[error("has members that contradict each other")]
    NotMembers,
    /// A node name that cannot be one.
    #[error("has a node id that is not one")]
    NotANodeId,
}

impl From<TryGetError> for DecodeError {
    fn from(_: TryGetError) -> Self {
        Self::Truncated
    }
}

/// Takes values from the front of a buffer.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.0.try_get_u8()?)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(self.0.try_get_u32_le()?)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(self.0.try_get_u64_le()?)
    }

    /// A byte string with its length in front.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn node_id(&mut self) -> Result<NodeId, DecodeError> {
        NodeId::from_bytes(self.array()?).ok_or(DecodeError::NotANodeId)
    }

    pub(crate) fn position(&mut self) -> Result<LogPosition, DecodeError> {
        let (term, index) = (Term(self.u64()?), Index(self.u64()?));
        Ok(LogPosition { term, index })
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, DecodeError> {
        let LogPosition { term, index } = self.position()?;
        let payload = match self.u8()? {
            ENTRY_NOOP => Payload::Noop,
            ENTRY_COMMAND => Payload::Command(self.bytes()?),
            ENTRY_MEMBERS => Payload::Members(self.members()?),
            code => return Err(DecodeError::UnknownCode { what: "entry", code }),
        };
        Ok(Entry { index, term, payload })
    }

    /// The members of a cluster.
    pub(crate) fn members(&mut self) -> Result<Membership, DecodeError> {
        let (voters, outgoing, learners) = (self.node_ids()?, self.node_ids()?, self.node_ids()?);
        let count = self.u32()?;
        let addresses: BTreeMap<NodeId, SocketAddr> =
            (0..count).map(|_| Ok((self.node_id()?, self.address()?))).collect::<Result<_, DecodeError>>()?;
        Membership::restore(voters, outgoing, learners, addresses).ok_or(DecodeError::NotMembers)
    }

    // Collecting stops at the first name that is not there, so a wrong count cannot reserve memory.
    fn node_ids(&mut self) -> Result<BTreeSet<NodeId>, DecodeError> {
        let count = self.u32()?;
        (0..count).map(|_| self.node_id()).collect()
    }

    fn address(&mut self) -> Result<SocketAddr, DecodeError> {
        let ip: IpAddr = match self.u8()? {
            ADDRESS_V4 => self.array::<4>()?.into(),
            ADDRESS_V6 => self.array::<16>()?.into(),
            code => return Err(DecodeError::UnknownCode { what: "address", code }),
        };
        Ok((ip, self.0.try_get_u16_le()?).into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        self.0.try_copy_to_slice(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether nothing but padding is left.
    pub(crate) fn only_zeros_left(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

const ENTRY_NOOP: u8 = 1;
const ENTRY_COMMAND: u8 = 2;
const ENTRY_MEMBERS: u8 = 3;
const ADDRESS_V4: u8 = 4;
const ADDRESS_V6: u8 = 6;

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("invariant: keys and values are far below 4 GiB"));
    out.put_slice(bytes);
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_position(out, LogPosition { term: entry.term, index: entry.index });
    match &entry.payload {
        Payload::Noop => out.put_u8(ENTRY_NOOP),
        Payload::Command(command) => {
            out.put_u8(ENTRY_COMMAND);
            put_bytes(out, command);
        }
        Payload::Members(members) => {
            out.put_u8(ENTRY_MEMBERS);
            put_members(out, members);
        }
    }
}

pub(crate) fn put_members(out: &mut Vec<u8>, members: &Membership) {
    for ids in [members.voters(), members.outgoing(), members.learners()] {
        out.put_u32_le(ids.len() as u32);
        ids.iter().for_each(|id| out.put_slice(&id.to_bytes()));
    }
    out.put_u32_le(members.addresses().len() as u32);
    for (id, address) in members.addresses() {
        out.put_slice(&id.to_bytes());
        match address.ip() {
            IpAddr::V4(ip) => {
                out.put_u8(ADDRESS_V4);
                out.put_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.put_u8(ADDRESS_V6);
                out.put_slice(&ip.octets());
            }
        }
        out.put_u16_le(address.port());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two to five members of any kind, some with an address.
    pub(crate) fn any_members() -> impl Strategy<Value = Membership> {
        let member = (0..3_u8, proptest::option::of(any::<(IpAddr, u16)>()));
        proptest::collection::vec(member, 1..5).prop_map(|others| {
            let id = |n: usize| NodeId::new(&format!("n{n}")).expect("a legal name");
            let mut sets = [BTreeSet::from([id(0)]), BTreeSet::new(), BTreeSet::new()];
            let mut addresses = BTreeMap::new();
            for (n, (kind, address)) in (1..).zip(others) {
                sets[usize::from(kind)].insert(id(n));
                addresses.extend(address.map(|(ip, port)| (id(n), SocketAddr::new(ip, port))));
            }
            let [voters, outgoing, learners] = sets;
            Membership::restore(voters, outgoing, learners, addresses).expect("sound members")
        })
    }

    pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
        let payload = prop_oneof![
            Just(Payload::Noop),
            any_members().prop_map(Payload::Members),
            proptest::collection::vec(any::<u8>(), 0..64)
                .prop_map(|command| Payload::Command(command.into())),
        ];
        (any::<u64>(), any::<u64>(), payload).prop_map(|(index, term, payload)| Entry {
            index: Index(index),
            term: Term(term),
            payload,
        })
    }

    proptest! {
        #[test]
        fn entry_survives_its_encoding(entry in any_entry()) {
            let mut out = Vec::new();
            put_entry(&mut out, &entry);
            let mut reader = Reader::new(out.into());
            prop_assert_eq!(reader.entry(), Ok(entry));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn cut_entry_is_refused(entry in any_entry(), cut in any::<prop::sample::Index>()) {
            let mut out = Vec::new();
            put_entry(&mut out, &entry);
            out.truncate(cut.index(out.len()));
            prop_assert_eq!(Reader::new(out.into()).entry(), Err(DecodeError::Truncated));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let mut reader = Reader::new(bytes.into());
            while reader.entry().is_ok() {}
        }
    }
}
