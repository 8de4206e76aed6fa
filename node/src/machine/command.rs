//! What clients ask of the state machine, and the form in which it is replicated.

use bytes::{BufMut, Bytes};

use super::sessions::Numbered;
use super::value::Revision;
use crate::codec::{DecodeError, Reader, put_bytes};

/// What a key must be for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing: write in any case.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must have exactly this value; a list never equals a value.
    Value(Bytes),
    /// The key must have been changed last at this revision.
    Revision(Revision),
}

/// One write: an entry of the log, and atomic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Sets a key, if it is as expected.
    Put { key: Bytes, expected: Expected, value: Bytes },
    /// Removes a key, if it is as expected; removing an absent key is fine.
    Delete { key: Bytes, expected: Expected },
    /// Reads and writes several keys.
    Transaction(Transaction),
}

/// If all guards hold, one list of steps, else the other. A step sees what the steps before it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) guards: Vec<Guard>,
    pub(crate) then: Vec<Step>,
    pub(crate) otherwise: Vec<Step>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) key: Bytes,
    pub(crate) expected: Expected,
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read {
        key: Bytes,
    },
    Put {
        key: Bytes,
        value: Bytes,
    },
    Delete {
        key: Bytes,
    },
    /// Adds an element to the end of a list; an absent key becomes one.
    Append {
        key: Bytes,
        element: Bytes,
    },
}

/// What an entry asks of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// The time since the leader's last proposal.
    pub(crate) elapsed_ms: u64,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Opens a session.
    Register,
    /// Writes, at most once if it is numbered.
    Write { numbered: Option<Numbered>, command: Command },
}

const REGISTER: u8 = 1;
const WRITE: u8 = 2;
const NUMBERED_WRITE: u8 = 3;

impl Proposal {
    /// The form in which proposals are replicated.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u64_le(self.elapsed_ms);
        match &self.action {
            Action::Register => out.put_u8(REGISTER),
            Action::Write { numbered: None, command } => {
                out.put_u8(WRITE);
                command.put(&mut out);
            }
            Action::Write { numbered: Some(Numbered { session, sequence, answered }), command } => {
                out.put_u8(NUMBERED_WRITE);
                [session, sequence, answered].into_iter().for_each(|number| out.put_u64_le(*number));
                command.put(&mut out);
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let elapsed_ms = reader.u64()?;
        let action = match reader.u8()? {
            REGISTER => Action::Register,
            WRITE => Action::Write { numbered: None, command: Command::read(&mut reader)? },
            NUMBERED_WRITE => {
                let (session, sequence, answered) = (reader.u64()?, reader.u64()?, reader.u64()?);
                let numbered = Some(Numbered { session, sequence, answered });
                Action::Write { numbered, command: Command::read(&mut reader)? }
            }
            code => return Err(DecodeError::UnknownCode { what: "proposal", code }),
        };
        reader.finish()?;
        Ok(Self { elapsed_ms, action })
    }
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TRANSACTION: u8 = 3;

impl Command {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Command::Put { key, expected, value } => {
                out.put_u8(PUT);
                put_bytes(out, key);
                put_expected(out, expected);
                put_bytes(out, value);
            }
            Command::Delete { key, expected } => {
                out.put_u8(DELETE);
                put_bytes(out, key);
                put_expected(out, expected);
            }
            Command::Transaction(transaction) => {
                out.put_u8(TRANSACTION);
                transaction.put(out);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            PUT => {
                let (key, expected) = (reader.bytes()?, read_expected(reader)?);
                Ok(Command::Put { key, expected, value: reader.bytes()? })
            }
            DELETE => Ok(Command::Delete { key: reader.bytes()?, expected: read_expected(reader)? }),
            TRANSACTION => Transaction::read(reader).map(Command::Transaction),
            code => Err(DecodeError::UnknownCode { what: "command", code }),
        }
    }
}

impl Transaction {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.guards.len() as u32);
        for Guard { key, expected } in &self.guards {
            put_bytes(out, key);
            put_expected(out, expected);
        }
        for steps in [&self.then, &self.otherwise] {
            out.put_u32_le(steps.len() as u32);
            steps.iter().for_each(|step| put_step(out, step));
        }
    }

    // Collecting stops at the first part that is not there, so a wrong count cannot reserve memory.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let guards = (0..reader.u32()?)
            .map(|_| Ok(Guard { key: reader.bytes()?, expected: read_expected(reader)? }))
            .collect::<Result<_, DecodeError>>()?;
        let mut steps = || (0..reader.u32()?).map(|_| read_step(reader)).collect::<Result<_, _>>();
        Ok(Self { guards, then: steps()?, otherwise: steps()? })
    }
}

const STEP_READ: u8 = 1;
const STEP_PUT: u8 = 2;
const STEP_DELETE: u8 = 3;
const STEP_APPEND: u8 = 4;

fn put_step(out: &mut Vec<u8>, step: &Step) {
    let (code, key, content) = match step {
        Step::Read { key } => (STEP_READ, key, None),
        Step::Put { key, value } => (STEP_PUT, key, Some(value)),
        Step::Delete { key } => (STEP_DELETE, key, None),
        Step::Append { key, element } => (STEP_APPEND, key, Some(element)),
    };
    out.put_u8(code);
    put_bytes(out, key);
    if let Some(content) = content {
        put_bytes(out, content);
    }
}

fn read_step(reader: &mut Reader) -> Result<Step, DecodeError> {
    match (reader.u8()?, reader.bytes()?) {
        (STEP_READ, key) => Ok(Step::Read { key }),
        (STEP_PUT, key) => Ok(Step::Put { key, value: reader.bytes()? }),
        (STEP_DELETE, key) => Ok(Step::Delete { key }),
        (STEP_APPEND, key) => Ok(Step::Append { key, element: reader.bytes()? }),
        (code, _) => Err(DecodeError::UnknownCode { what: "step", code }),
    }
}

const EXPECT_ANYTHING: u8 = 0;
const EXPECT_ABSENT: u8 = 1;
const EXPECT_VALUE: u8 = 2;
const EXPECT_REVISION: u8 = 3;

fn put_expected(out: &mut Vec<u8>, expected: &Expected) {
    match expected {
        Expected::Anything => out.put_u8(EXPECT_ANYTHING),
        Expected::Absent => out.put_u8(EXPECT_ABSENT),
        Expected::Value(value) => {
            out.put_u8(EXPECT_VALUE);
            put_bytes(out, value);
        }
        Expected::Revision(revision) => {
            out.put_u8(EXPECT_REVISION);
            out.put_u64_le(revision.0);
        }
    }
}

fn read_expected(reader: &mut Reader) -> Result<Expected, DecodeError> {
    match reader.u8()? {
        EXPECT_ANYTHING => Ok(Expected::Anything),
        EXPECT_ABSENT => Ok(Expected::Absent),
        EXPECT_VALUE => Ok(Expected::Value(reader.bytes()?)),
        EXPECT_REVISION => Ok(Expected::Revision(Revision(reader.u64()?))),
        code => Err(DecodeError::UnknownCode { what: "expectation", code }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..16).prop_map(Bytes::from)
    }

    fn any_expected() -> impl Strategy<Value = Expected> {
        prop_oneof![
            Just(Expected::Anything),
            Just(Expected::Absent),
            any_bytes().prop_map(Expected::Value),
            any::<u64>().prop_map(|revision| Expected::Revision(Revision(revision))),
        ]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        (0..4_u8, any_bytes(), any_bytes()).prop_map(|(kind, key, value)| match kind {
            0 => Step::Read { key },
            1 => Step::Put { key, value },
            2 => Step::Delete { key },
            _ => Step::Append { key, element: value },
        })
    }

    fn any_transaction() -> impl Strategy<Value = Transaction> {
        let guard = (any_bytes(), any_expected()).prop_map(|(key, expected)| Guard { key, expected });
        (vec(guard, 0..4), vec(any_step(), 0..4), vec(any_step(), 0..4))
            .prop_map(|(guards, then, otherwise)| Transaction { guards, then, otherwise })
    }

    pub(in super::super) fn any_command() -> impl Strategy<Value = Command> {
        prop_oneof![
            (any_bytes(), any_expected(), any_bytes()).prop_map(|(key, expected, value)| Command::Put {
                key,
                expected,
                value
            }),
            (any_bytes(), any_expected()).prop_map(|(key, expected)| Command::Delete { key, expected }),
            any_transaction().prop_map(Command::Transaction),
        ]
    }

    fn any_proposal() -> impl Strategy<Value = Proposal> {
        let numbered = any::<(u64, u64, u64)>().prop_map(|(session, sequence, answered)| Numbered {
            session,
            sequence,
            answered,
        });
        let write = (proptest::option::of(numbered), any_command())
            .prop_map(|(numbered, command)| Action::Write { numbered, command });
        (any::<u64>(), prop_oneof![Just(Action::Register), write])
            .prop_map(|(elapsed_ms, action)| Proposal { elapsed_ms, action })
    }

    proptest! {
        #[test]
        fn proposal_survives_its_encoding(proposal in any_proposal()) {
            prop_assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
        }

        #[test]
        fn cut_proposal_is_refused(proposal in any_proposal(), cut in any::<prop::sample::Index>()) {
            let whole = proposal.encode();
            prop_assert!(Proposal::decode(whole.slice(..cut.index(whole.len()))).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = Proposal::decode(bytes.into());
        }
    }
}
