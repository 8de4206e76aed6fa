//! What came of an entry, as the client is told it: at once, or again when it sends the same write again.

use std::sync::Arc;

use bytes::BufMut;

use super::sessions::Rejection;
use super::value::{Revision, Stored};
use crate::codec::{DecodeError, Reader, put_position};
use crate::raft::LogPosition;

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// A session with this name was opened.
    Registered(u64),
    /// It was performed, now or by the same write before.
    Written(Outcome),
    /// Nothing happened.
    Rejected(Rejection),
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The entry that did it.
    pub(crate) position: LogPosition,
    /// The revision of the data after it: its own index if it changed something.
    pub(crate) revision: Revision,
    pub(crate) effect: Effect,
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Whether a single write found what it expected; if not, nothing changed.
    Single { matched: bool },
    /// What a transaction saw and did.
    Transaction(Arc<Transacted>),
    /// A transaction that could not be done; nothing changed.
    Impossible(Impossible),
}

/// The answer of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transacted {
    /// Whether the guards held.
    pub(crate) matched: bool,
    /// One result for each step that was taken.
    pub(crate) results: Vec<StepResult>,
    /// The bytes that were read.
    pub(crate) size_bytes: usize,
}

/// What a step saw or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepResult {
    Read(Option<Stored>),
    /// How often the key has been written.
    Put {
        version: u64,
    },
    /// Whether there was something.
    Deleted {
        existed: bool,
    },
    /// How many elements the list has.
    Appended {
        length: u64,
    },
}

/// Why a transaction cannot be done as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Impossible {
    /// Something would be appended to a value.
    NotAList,
    /// A list would be larger than a value may be.
    ListTooLarge,
    /// It would read more than an answer may have.
    AnswerTooLarge,
}

/// What an outcome costs beside the values in it.
const OUTCOME_BYTES: usize = 128;
const RESULT_BYTES: usize = 64;

impl Outcome {
    /// About how much memory it takes.
    pub(super) fn size_bytes(&self) -> usize {
        match &self.effect {
            Effect::Single { .. } | Effect::Impossible(_) => OUTCOME_BYTES,
            Effect::Transaction(transacted) => {
                OUTCOME_BYTES + transacted.size_bytes + transacted.results.len() * RESULT_BYTES
            }
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_position(out, self.position);
        out.put_u64_le(self.revision.0);
        match &self.effect {
            Effect::Single { matched } => {
                out.put_u8(SINGLE);
                out.put_u8(u8::from(*matched));
            }
            Effect::Transaction(transacted) => {
                out.put_u8(TRANSACTION);
                transacted.encode(out);
            }
            Effect::Impossible(impossible) => {
                out.put_u8(IMPOSSIBLE);
                out.put_u8(impossible.code());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (position, revision) = (reader.position()?, Revision(reader.u64()?));
        let effect = match reader.u8()? {
            SINGLE => Effect::Single { matched: reader.u8()? != 0 },
            TRANSACTION => Effect::Transaction(Arc::new(Transacted::decode(reader)?)),
            IMPOSSIBLE => Effect::Impossible(Impossible::decode(reader)?),
            code => return Err(DecodeError::UnknownCode { what: "outcome", code }),
        };
        Ok(Self { position, revision, effect })
    }
}

const SINGLE: u8 = 1;
const TRANSACTION: u8 = 2;
const IMPOSSIBLE: u8 = 3;

impl Impossible {
    const ALL: [Self; 3] = [Self::NotAList, Self::ListTooLarge, Self::AnswerTooLarge];

    fn code(self) -> u8 {
        match self {
            Self::NotAList => 0,
            Self::ListTooLarge => 1,
            Self::AnswerTooLarge => 2,
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let code = reader.u8()?;
        let known = Self::ALL.get(usize::from(code)).copied();
        known.ok_or(DecodeError::UnknownCode { what: "refusal", code })
    }
}

const READ_ABSENT: u8 = 1;
const READ: u8 = 2;
const PUT: u8 = 3;
const DELETED: u8 = 4;
const APPENDED: u8 = 5;

impl Transacted {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.matched));
        out.put_u64_le(self.size_bytes as u64);
        out.put_u32_le(self.results.len() as u32);
        for result in &self.results {
            match result {
                StepResult::Read(None) => out.put_u8(READ_ABSENT),
                StepResult::Read(Some(stored)) => {
                    out.put_u8(READ);
                    stored.encode(out);
                }
                StepResult::Put { version } => {
                    out.put_u8(PUT);
                    out.put_u64_le(*version);
                }
                StepResult::Deleted { existed } => {
                    out.put_u8(DELETED);
                    out.put_u8(u8::from(*existed));
                }
                StepResult::Appended { length } => {
                    out.put_u8(APPENDED);
                    out.put_u64_le(*length);
                }
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (matched, size_bytes) = (reader.u8()? != 0, reader.u64()? as usize);
        // Collecting stops at the first result that is not there, so a wrong count cannot reserve memory.
        let results = (0..reader.u32()?).map(|_| read_result(reader)).collect::<Result<_, _>>()?;
        Ok(Self { matched, results, size_bytes })
    }
}

fn read_result(reader: &mut Reader) -> Result<StepResult, DecodeError> {
    match reader.u8()? {
        READ_ABSENT => Ok(StepResult::Read(None)),
        READ => Ok(StepResult::Read(Some(Stored::decode(reader)?))),
        PUT => Ok(StepResult::Put { version: reader.u64()? }),
        DELETED => Ok(StepResult::Deleted { existed: reader.u8()? != 0 }),
        APPENDED => Ok(StepResult::Appended { length: reader.u64()? }),
        code => Err(DecodeError::UnknownCode { what: "result", code }),
    }
}
