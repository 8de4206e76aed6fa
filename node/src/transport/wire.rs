//! The bytes between nodes: handshake, frames, messages.

use bytes::{BufMut, Bytes};

use super::MAX_FRAME_BYTES;
use crate::codec::{DecodeError, Reader, put_bytes, put_entry, put_members, put_position};
use crate::raft::{
    Append, AppendReply, Body, Chunk, Entry, Index, Message, NODE_ID_BYTES, NodeId, Round, Term,
};

const MAGIC: u32 = 0x5241_4654;
const VERSION: u32 = 3;
/// A later term is nonsense: a node that believed it could not campaign any more without an overflow.
const MAX_TERM: u64 = u64::MAX / 2;

/// Magic, version, sender, receiver, checksum.
pub(super) const HANDSHAKE_BYTES: usize = 4 + 4 + 2 * NODE_ID_BYTES + 4;
/// Length and checksum of the message that follows.
pub(super) const FRAME_HEADER_BYTES: usize = 8;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("not a connection of this protocol")]
    Magic,
    #[error("protocol version {0}, this node speaks {VERSION}")]
    Version(u32),
    #[error("for node {0}")]
    WrongReceiver(NodeId),
    #[error("from {0}, which is this node")]
    FromMyself(NodeId),
    #[error("a frame of {0} bytes, at most {MAX_FRAME_BYTES} are allowed")]
    TooLong(usize),
    #[error("checksum mismatch")]
    Checksum,
    #[error("a message that {0}")]
    Decode(#[from] DecodeError),
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("silence in the handshake")]
    Timeout,
}

pub(super) fn handshake(from: NodeId, to: NodeId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HANDSHAKE_BYTES);
    out.put_u32_le(MAGIC);
    out.put_u32_le(VERSION);
    out.put_slice(&from.to_bytes());
    out.put_slice(&to.to_bytes());
    out.put_u32_le(crc32fast::hash(&out));
    out
}

/// Reads a handshake: who dialled, and whom they wanted.
pub(super) fn read_handshake(bytes: [u8; HANDSHAKE_BYTES]) -> Result<(NodeId, NodeId), WireError> {
    let checksum = crc32fast::hash(&bytes[..HANDSHAKE_BYTES - 4]);
    let mut reader = Reader::new(Bytes::copy_from_slice(&bytes));
    if reader.u32()? != MAGIC {
        return Err(WireError::Magic);
    }
    let version = reader.u32()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let names = (reader.node_id(), reader.node_id());
    if reader.u32()? != checksum {
        return Err(WireError::Checksum);
    }
    Ok((names.0?, names.1?))
}

/// Appends a message with its frame.
pub(super) fn put_frame(out: &mut Vec<u8>, message: &Message) {
    let start = out.len();
    out.put_bytes(0, FRAME_HEADER_BYTES);
    put_message(out, message);
    let body = start + FRAME_HEADER_BYTES;
    let (length, checksum) = ((out.len() - body) as u32, crc32fast::hash(&out[body..]));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..body].copy_from_slice(&checksum.to_le_bytes());
}

/// Length and checksum of the frame whose header this is.
pub(super) fn read_frame_header(header: [u8; FRAME_HEADER_BYTES]) -> Result<(usize, u32), WireError> {
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("invariant: four bytes"));
    let length = word(0) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(WireError::TooLong(length));
    }
    Ok((length, word(4)))
}

/// Checks and decodes the message of a frame.
pub(super) fn read_frame(body: Bytes, checksum: u32) -> Result<Message, WireError> {
    if crc32fast::hash(&body) != checksum {
        return Err(WireError::Checksum);
    }
    Ok(read_message(body)?)
}

const PRE_VOTE: u8 = 1;
const PRE_VOTE_REPLY: u8 = 2;
const VOTE: u8 = 3;
const VOTE_REPLY: u8 = 4;
const APPEND: u8 = 5;
const APPEND_ACCEPTED: u8 = 6;
const APPEND_REJECTED: u8 = 7;
const HEARTBEAT: u8 = 8;
const HEARTBEAT_REPLY: u8 = 9;
const OUTDATED: u8 = 10;
const CHUNK: u8 = 11;
const CHUNK_REPLY: u8 = 12;
const TIMEOUT_NOW: u8 = 13;

fn put_message(out: &mut Vec<u8>, message: &Message) {
    out.put_u64_le(message.term.0);
    match &message.body {
        Body::PreVote { last } => {
            out.put_u8(PRE_VOTE);
            put_position(out, *last);
        }
        Body::PreVoteReply { granted } => out.put_slice(&[PRE_VOTE_REPLY, u8::from(*granted)]),
        Body::Vote { last, transferred } => {
            out.put_u8(VOTE);
            put_position(out, *last);
            out.put_u8(u8::from(*transferred));
        }
        Body::VoteReply { granted } => out.put_slice(&[VOTE_REPLY, u8::from(*granted)]),
        Body::Append(append) => put_append(out, append),
        Body::AppendReply(reply) => put_append_reply(out, *reply),
        Body::Heartbeat { commit, round } => {
            out.put_u8(HEARTBEAT);
            out.put_u64_le(commit.0);
            out.put_u64_le(round.0);
        }
        Body::HeartbeatReply { round } => {
            out.put_u8(HEARTBEAT_REPLY);
            out.put_u64_le(round.0);
        }
        Body::Chunk(chunk) => put_chunk(out, chunk),
        Body::ChunkReply { transfer, received } => {
            out.put_u8(CHUNK_REPLY);
            out.put_u64_le(*transfer);
            out.put_u64_le(*received);
        }
        Body::TimeoutNow => out.put_u8(TIMEOUT_NOW),
        Body::Outdated => out.put_u8(OUTDATED),
    }
}

fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    out.put_u8(CHUNK);
    out.put_u64_le(chunk.transfer);
    put_position(out, chunk.last);
    put_members(out, &chunk.members);
    out.put_u64_le(chunk.size_bytes);
    out.put_u32_le(chunk.checksum);
    out.put_u64_le(chunk.offset);
    put_bytes(out, &chunk.data);
}

fn put_append(out: &mut Vec<u8>, append: &Append) {
    out.put_u8(APPEND);
    put_position(out, append.previous);
    out.put_u64_le(append.commit.0);
    out.put_u32_le(append.entries.len() as u32);
    for entry in &append.entries {
        put_entry(out, entry);
    }
}

fn put_append_reply(out: &mut Vec<u8>, reply: AppendReply) {
    match reply {
        AppendReply::Accepted { matched } => {
            out.put_u8(APPEND_ACCEPTED);
            out.put_u64_le(matched.0);
        }
        AppendReply::Rejected { previous, hint } => {
            out.put_u8(APPEND_REJECTED);
            out.put_u64_le(previous.0);
            put_position(out, hint);
        }
    }
}

fn read_message(bytes: Bytes) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(bytes);
    let term = Some(reader.u64()?).filter(|&term| term <= MAX_TERM).ok_or(DecodeError::AbsurdTerm)?;
    let term = Term(term);
    let body = match reader.u8()? {
        PRE_VOTE => Body::PreVote { last: reader.position()? },
        PRE_VOTE_REPLY => Body::PreVoteReply { granted: reader.u8()? != 0 },
        VOTE => Body::Vote { last: reader.position()?, transferred: reader.u8()? != 0 },
        VOTE_REPLY => Body::VoteReply { granted: reader.u8()? != 0 },
        APPEND => Body::Append(read_append(&mut reader)?),
        APPEND_ACCEPTED => Body::AppendReply(AppendReply::Accepted { matched: Index(reader.u64()?) }),
        APPEND_REJECTED => {
            let previous = Index(reader.u64()?);
            Body::AppendReply(AppendReply::Rejected { previous, hint: reader.position()? })
        }
        HEARTBEAT => Body::Heartbeat { commit: Index(reader.u64()?), round: Round(reader.u64()?) },
        HEARTBEAT_REPLY => Body::HeartbeatReply { round: Round(reader.u64()?) },
        CHUNK => Body::Chunk(read_chunk(&mut reader)?),
        CHUNK_REPLY => Body::ChunkReply { transfer: reader.u64()?, received: reader.u64()? },
        TIMEOUT_NOW => Body::TimeoutNow,
        OUTDATED => Body::Outdated,
        code => return Err(DecodeError::UnknownCode { what: "message", code }),
    };
    reader.finish()?;
    Ok(Message { term, body })
}

fn read_chunk(reader: &mut Reader) -> Result<Chunk, DecodeError> {
    Ok(Chunk {
        transfer: reader.u64()?,
        last: reader.position()?,
        members: reader.members()?,
        size_bytes: reader.u64()?,
        checksum: reader.u32()?,
        offset: reader.u64()?,
        data: reader.bytes()?,
    })
}

fn read_append(reader: &mut Reader) -> Result<Append, DecodeError> {
    let (previous, commit) = (reader.position()?, Index(reader.u64()?));
    let count = reader.u32()?;
    // Collecting stops at the first entry that is not there, so a wrong count cannot reserve memory.
    let entries: Vec<Entry> = (0..count).map(|_| reader.entry()).collect::<Result<_, _>>()?;
    let expected = (1..).map(|step| previous.index.0.checked_add(step));
    if !entries.iter().zip(expected).all(|(entry, index)| Some(entry.index.0) == index) {
        return Err(DecodeError::NotContiguous);
    }
    Ok(Append { previous, entries, commit })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::tests::{any_entry, any_members};
    use crate::raft::LogPosition;

    fn any_position() -> impl Strategy<Value = LogPosition> {
        (any::<u64>(), any::<u32>())
            .prop_map(|(term, index)| LogPosition { term: Term(term), index: Index(index.into()) })
    }

    fn any_append() -> impl Strategy<Value = Append> {
        (any_position(), proptest::collection::vec(any_entry(), 0..5), any::<u64>()).prop_map(
            |(previous, mut entries, commit)| {
                for (entry, index) in entries.iter_mut().zip(previous.index.0 + 1..) {
                    entry.index = Index(index);
                }
                Append { previous, entries, commit: Index(commit) }
            },
        )
    }

    fn any_reply() -> impl Strategy<Value = AppendReply> {
        prop_oneof![
            any::<u64>().prop_map(|matched| AppendReply::Accepted { matched: Index(matched) }),
            (any::<u64>(), any_position())
                .prop_map(|(previous, hint)| AppendReply::Rejected { previous: Index(previous), hint }),
        ]
    }

    fn any_chunk() -> impl Strategy<Value = Chunk> {
        let data = proptest::collection::vec(any::<u8>(), 0..64);
        (any::<(u64, u64, u32, u64)>(), any_position(), any_members(), data).prop_map(
            |((transfer, size_bytes, checksum, offset), last, members, data)| Chunk {
                transfer,
                last,
                members,
                size_bytes,
                checksum,
                offset,
                data: data.into(),
            },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let body = prop_oneof![
            any_position().prop_map(|last| Body::PreVote { last }),
            any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
            (any_position(), any::<bool>()).prop_map(|(last, transferred)| Body::Vote { last, transferred }),
            any_chunk().prop_map(Body::Chunk),
            any::<(u64, u64)>().prop_map(|(transfer, received)| Body::ChunkReply { transfer, received }),
            Just(Body::TimeoutNow),
            any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
            any_append().prop_map(Body::Append),
            any_reply().prop_map(Body::AppendReply),
            (any::<u64>(), any::<u64>())
                .prop_map(|(commit, round)| Body::Heartbeat { commit: Index(commit), round: Round(round) }),
            any::<u64>().prop_map(|round| Body::HeartbeatReply { round: Round(round) }),
            Just(Body::Outdated),
        ];
        (0..=MAX_TERM, body).prop_map(|(term, body)| Message { term: Term(term), body })
    }

    fn read_whole_frame(bytes: &[u8]) -> Result<Message, WireError> {
        let header = bytes[..FRAME_HEADER_BYTES].try_into().expect("a frame has a header");
        let (length, checksum) = read_frame_header(header)?;
        assert_eq!(length, bytes.len() - FRAME_HEADER_BYTES);
        read_frame(Bytes::copy_from_slice(&bytes[FRAME_HEADER_BYTES..]), checksum)
    }

    proptest! {
        #[test]
        fn message_survives_its_frame(message in any_message()) {
            let mut out = Vec::new();
            put_frame(&mut out, &message);
            prop_assert_eq!(read_whole_frame(&out).expect("a whole frame"), message);
        }

        #[test]
        fn arbitrary_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = read_message(bytes.into());
        }

        #[test]
        fn flipped_bit_in_a_message_is_noticed(message in any_message(), at in any::<prop::sample::Index>()) {
            let mut out = Vec::new();
            put_frame(&mut out, &message);
            let bit = at.index((out.len() - FRAME_HEADER_BYTES) * 8);
            out[FRAME_HEADER_BYTES + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(read_whole_frame(&out), Err(WireError::Checksum)));
        }
    }

    #[test]
    fn term_that_no_cluster_reaches_is_refused() {
        let mut out = Vec::new();
        put_frame(&mut out, &Message { term: Term(MAX_TERM + 1), body: Body::Outdated });
        assert!(matches!(read_whole_frame(&out), Err(WireError::Decode(DecodeError::AbsurdTerm))));
    }

    #[test]
    fn append_with_a_gap_is_refused() {
        let entry = |index| Entry { index: Index(index), term: Term(1), payload: crate::raft::Payload::Noop };
        let append =
            Append { previous: LogPosition::default(), entries: vec![entry(1), entry(3)], commit: Index(0) };
        let mut out = Vec::new();
        put_frame(&mut out, &Message { term: Term(1), body: Body::Append(append) });
        assert!(matches!(read_whole_frame(&out), Err(WireError::Decode(DecodeError::NotContiguous))));
    }

    #[test]
    fn handshake_names_both_ends() {
        let (from, to) = (NodeId::new("n1").expect("legal"), NodeId::new("n2").expect("legal"));
        let mut bytes: [u8; HANDSHAKE_BYTES] = handshake(from, to).try_into().expect("fixed size");
        assert_eq!(read_handshake(bytes).expect("whole"), (from, to));
        bytes[9] ^= 1;
        assert!(matches!(read_handshake(bytes), Err(WireError::Checksum)));
    }

    #[test]
    fn absurd_length_is_refused_before_memory_is_reserved() {
        let header = (u64::from(u32::MAX)).to_le_bytes();
        assert!(matches!(read_frame_header(header), Err(WireError::TooLong(_))));
    }
}
