//! The replicated state machine: a map from keys to values.
//!
//! Applying is deterministic: the outcome of a command depends on the commands before it and on nothing else. In
//! particular a compare-and-set is decided here, when it is applied, not when it is proposed.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use crate::chain::Chain;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::raft::Entry;

/// What a value must be for a compare-and-set to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing: write in any case.
    Anything,
    /// The key must be absent.
    Absent,
    /// The key must have exactly this value.
    Value(Bytes),
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Sets a key, if its value is as expected.
    Put { key: Bytes, expected: Expected, value: Bytes },
    /// Removes a key; removing an absent key is fine.
    Delete { key: Bytes },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const EXPECT_ANYTHING: u8 = 0;
const EXPECT_ABSENT: u8 = 1;
const EXPECT_VALUE: u8 = 2;

impl Command {
    /// The form in which commands are replicated.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Command::Put { key, expected, value } => {
                out.put_u8(PUT);
                put_bytes(&mut out, key);
                put_expected(&mut out, expected);
                put_bytes(&mut out, value);
            }
            Command::Delete { key } => {
                out.put_u8(DELETE);
                put_bytes(&mut out, key);
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let command = match reader.u8()? {
            PUT => {
                let (key, expected) = (reader.bytes()?, read_expected(&mut reader)?);
                Command::Put { key, expected, value: reader.bytes()? }
            }
            DELETE => Command::Delete { key: reader.bytes()? },
            code => return Err(DecodeError::UnknownCode { what: "command", code }),
        };
        reader.finish()?;
        Ok(command)
    }
}

fn put_expected(out: &mut Vec<u8>, expected: &Expected) {
    match expected {
        Expected::Anything => out.put_u8(EXPECT_ANYTHING),
        Expected::Absent => out.put_u8(EXPECT_ABSENT),
        Expected::Value(value) => {
            out.put_u8(EXPECT_VALUE);
            put_bytes(out, value);
        }
    }
}

fn read_expected(reader: &mut Reader) -> Result<Expected, DecodeError> {
    match reader.u8()? {
        EXPECT_ANYTHING => Ok(Expected::Anything),
        EXPECT_ABSENT => Ok(Expected::Absent),
        EXPECT_VALUE => Ok(Expected::Value(reader.bytes()?)),
        code => Err(DecodeError::UnknownCode { what: "expectation", code }),
    }
}

/// The applied state.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    values: BTreeMap<Bytes, Bytes>,
    /// What everything that was applied comes to.
    chain: Chain,
}

const STATE_VERSION: u8 = 1;

impl Machine {
    /// Everything, in the form in which it stands for the log. Equal states have equal bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u8(STATE_VERSION);
        out.put_u64_le(self.chain.to_bits());
        out.put_u64_le(self.values.len() as u64);
        for (key, value) in &self.values {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            STATE_VERSION => {}
            code => return Err(DecodeError::UnknownCode { what: "state", code }),
        }
        let chain = Chain::from_bits(reader.u64()?);
        let count = reader.u64()?;
        // Copied, so that a value does not keep the whole snapshot in memory.
        let owned = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
        let pairs = (0..count).map(|_| Ok((owned(reader.bytes()?), owned(reader.bytes()?))));
        let values = pairs.collect::<Result<_, DecodeError>>()?;
        reader.finish()?;
        Ok(Self { values, chain })
    }

    /// Takes note of an applied entry, whatever it carries.
    pub(crate) fn extend_digest(&mut self, entry: &Entry) {
        self.chain.extend(entry);
    }

    /// The digest of everything that was applied.
    pub(crate) fn digest(&self) -> String {
        self.chain.hex()
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.values.get(key).cloned()
    }

    /// Every key that begins with `prefix`, ascending, with its value.
    pub(crate) fn entries(&self, prefix: &Bytes) -> Vec<(Bytes, Bytes)> {
        let from = self.values.range::<Bytes, _>(prefix..);
        let below = from.take_while(|(key, _)| key.starts_with(prefix));
        below.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether `command` would find what it expects.
    pub(crate) fn matches(&self, command: &Command) -> bool {
        match command {
            Command::Put { key, expected: Expected::Value(value), .. } => self.values.get(key) == Some(value),
            Command::Put { key, expected: Expected::Absent, .. } => !self.values.contains_key(key),
            Command::Put { expected: Expected::Anything, .. } | Command::Delete { .. } => true,
        }
    }

    /// Performs `command` and says whether it found what it expected; if not, nothing changed.
    pub(crate) fn apply(&mut self, command: Command) -> bool {
        if !self.matches(&command) {
            return false;
        }
        match command {
            Command::Put { key, value, .. } => {
                self.values.insert(key, value);
            }
            Command::Delete { key } => {
                self.values.remove(&key);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(key: &'static str, expected: Expected, value: &'static str) -> Command {
        Command::Put { key: key.into(), expected, value: value.into() }
    }

    #[test]
    fn mismatch_changes_nothing() {
        let mut machine = Machine::default();
        assert!(machine.apply(put("k", Expected::Anything, "1")));
        assert!(!machine.apply(put("k", Expected::Value("2".into()), "3")));
        assert!(!machine.apply(put("k", Expected::Absent, "3")));
        assert_eq!(machine.get(b"k"), Some("1".into()));
    }

    #[test]
    fn absent_key_never_equals_a_value() {
        let mut machine = Machine::default();
        assert!(!machine.apply(put("k", Expected::Value("".into()), "1")));
        assert!(machine.apply(put("k", Expected::Absent, "")));
        assert!(machine.apply(put("k", Expected::Value("".into()), "1")));
    }

    #[test]
    fn prefix_selects_the_keys_that_begin_so_and_no_other() {
        let mut machine = Machine::default();
        for key in ["a", "b", "b.1", "b.2", "c"] {
            machine.apply(put(key, Expected::Anything, key));
        }
        let found: Vec<_> = machine.entries(&"b.".into()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, ["b.1", "b.2"]);
        assert_eq!(machine.entries(&"".into()).len(), 5);
    }

    #[test]
    fn deleted_key_is_absent() {
        let mut machine = Machine::default();
        machine.apply(put("k", Expected::Anything, "1"));
        assert!(machine.apply(Command::Delete { key: "k".into() }));
        assert!(machine.apply(Command::Delete { key: "k".into() }));
        assert_eq!(machine.get(b"k"), None);
    }

    #[test]
    fn state_survives_its_encoding() {
        let mut machine = Machine::default();
        for key in ["b", "a"] {
            machine.apply(put(key, Expected::Anything, "1"));
        }
        let again = Machine::decode(machine.encode()).expect("a whole state");
        assert_eq!((again.values.clone(), again.chain), (machine.values.clone(), machine.chain));
        assert!(Machine::decode(machine.encode().slice(1..)).is_err());
        assert!(Machine::decode(machine.encode().slice(..machine.encode().len() - 1)).is_err());
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..16).prop_map(Bytes::from);
        let expected =
            prop_oneof![Just(Expected::Anything), Just(Expected::Absent), bytes().prop_map(Expected::Value),];
        prop_oneof![
            (bytes(), expected, bytes()).prop_map(|(key, expected, value)| Command::Put {
                key,
                expected,
                value
            }),
            bytes().prop_map(|key| Command::Delete { key }),
        ]
    }

    proptest! {
        #[test]
        fn command_survives_its_encoding(command in any_command()) {
            prop_assert_eq!(Command::decode(command.encode()), Ok(command));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Command::decode(bytes.into());
        }
    }
}
