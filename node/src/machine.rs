//! The replicated state machine: a map from keys to values, and the sessions of clients.
//!
//! Applying is deterministic: the outcome of a command depends on the commands before it and on nothing else. In
//! particular a compare-and-set is decided here, when it is applied, not when it is proposed.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use crate::chain::Chain;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::mutant::mutant;
use crate::raft::{Committed, LogPosition, Payload};
use crate::sessions::{Numbered, Outcome, Rejection, Sessions, Verdict};

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

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// A session with this name was opened.
    Registered(u64),
    /// It was written, now or by the same write before.
    Written(Outcome),
    /// Nothing happened.
    Rejected(Rejection),
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
const EXPECT_ANYTHING: u8 = 0;
const EXPECT_ABSENT: u8 = 1;
const EXPECT_VALUE: u8 = 2;

impl Command {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Command::Put { key, expected, value } => {
                out.put_u8(PUT);
                put_bytes(out, key);
                put_expected(out, expected);
                put_bytes(out, value);
            }
            Command::Delete { key } => {
                out.put_u8(DELETE);
                put_bytes(out, key);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            PUT => {
                let (key, expected) = (reader.bytes()?, read_expected(reader)?);
                Ok(Command::Put { key, expected, value: reader.bytes()? })
            }
            DELETE => Ok(Command::Delete { key: reader.bytes()? }),
            code => Err(DecodeError::UnknownCode { what: "command", code }),
        }
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
    sessions: Sessions,
    /// What everything that was applied comes to.
    chain: Chain,
    /// What this machine does wrong, in builds that have mutants.
    #[cfg(feature = "mutants")]
    mutant: Option<crate::mutant::Mutant>,
}

const STATE_VERSION: u8 = 2;

impl Machine {
    /// Everything, in the form in which it stands for the log. Equal states have equal bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u8(STATE_VERSION);
        out.put_u64_le(self.chain.to_bits());
        if mutant!(self, D3) {
            Sessions::default().encode(&mut out);
        } else {
            self.sessions.encode(&mut out);
        }
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
        let sessions = Sessions::decode(&mut reader)?;
        let count = reader.u64()?;
        // Copied, so that a value does not keep the whole snapshot in memory.
        let owned = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
        let pairs = (0..count).map(|_| Ok((owned(reader.bytes()?), owned(reader.bytes()?))));
        let values = pairs.collect::<Result<_, DecodeError>>()?;
        reader.finish()?;
        Ok(Self {
            values,
            sessions,
            chain,
            #[cfg(feature = "mutants")]
            mutant: None,
        })
    }

    /// Applies a committed entry, whatever it carries. Returns what came of a proposal.
    pub(crate) fn take(&mut self, committed: &Committed) -> Option<Applied> {
        let entry = &committed.entry;
        self.chain.extend(entry);
        let Payload::Command(command) = &entry.payload else {
            return None;
        };
        let proposal = Proposal::decode(command.clone());
        let proposal = proposal.expect("invariant: committed commands were encoded by this version");
        let position = LogPosition { term: entry.term, index: entry.index };
        #[cfg(feature = "mutants")]
        if let Some(applied) = self.perform_wrongly(position, &proposal, committed.request.is_some()) {
            return Some(applied);
        }
        Some(self.perform(position, proposal))
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

    /// What would come of a proposal, as far as mutant B6 cares.
    #[cfg(feature = "mutants")]
    pub(crate) fn foretell(&self, position: LogPosition, proposal: Proposal) -> Applied {
        match proposal.action {
            Action::Register => Applied::Registered(position.index.0),
            Action::Write { command, .. } => {
                Applied::Written(Outcome { position, matched: self.matches(&command) })
            }
        }
    }

    /// The same state, and a mistake in what is made of it.
    #[cfg(feature = "mutants")]
    pub(crate) fn with_mutant(self, mutant: Option<crate::mutant::Mutant>) -> Self {
        Self { mutant, ..self }
    }

    /// What mutant D4 knows about a command before it proposes it.
    #[cfg(feature = "mutants")]
    pub(crate) fn known(&self, command: &Bytes) -> Option<Applied> {
        let proposal = Proposal::decode(command.clone()).ok().filter(|_| mutant!(self, D4))?;
        let Action::Write { numbered: Some(numbered), .. } = proposal.action else {
            return None;
        };
        match self.sessions.clone().admit(numbered) {
            Verdict::Done(outcome) => Some(Applied::Written(outcome)),
            Verdict::Do | Verdict::Reject(_) => None,
        }
    }

    /// What mutants D1, D2, D4 and D8 make of a numbered write, when that is not what is right.
    #[cfg(feature = "mutants")]
    fn perform_wrongly(
        &mut self,
        position: LogPosition,
        proposal: &Proposal,
        is_own: bool,
    ) -> Option<Applied> {
        let Action::Write { numbered: Some(numbered), command } = &proposal.action else {
            return None;
        };
        if mutant!(self, D8) {
            return self.sessions.highest_above(*numbered).map(Applied::Written);
        }
        let knows_nothing = mutant!(self, D1) || mutant!(self, D4) || (mutant!(self, D2) && !is_own);
        let is_repeated = matches!(self.sessions.clone().admit(*numbered), Verdict::Done(_));
        (knows_nothing && is_repeated)
            .then(|| Applied::Written(Outcome { position, matched: self.apply(command.clone()) }))
    }

    /// Does what the entry at `position` asks for.
    pub(crate) fn perform(&mut self, position: LogPosition, proposal: Proposal) -> Applied {
        self.sessions.pass(proposal.elapsed_ms);
        match proposal.action {
            Action::Register => {
                self.sessions.register(position.index.0).map_or_else(Applied::Rejected, Applied::Registered)
            }
            Action::Write { numbered: None, command } => {
                Applied::Written(Outcome { position, matched: self.apply(command) })
            }
            Action::Write { numbered: Some(numbered), command } => match self.sessions.admit(numbered) {
                Verdict::Do => {
                    let outcome = Outcome { position, matched: self.apply(command) };
                    self.sessions.keep(numbered, outcome);
                    Applied::Written(outcome)
                }
                Verdict::Done(outcome) => Applied::Written(outcome),
                Verdict::Reject(rejection) => Applied::Rejected(rejection),
            },
        }
    }

    /// Performs `command` and says whether it found what it expected; if not, nothing changed.
    fn apply(&mut self, command: Command) -> bool {
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
    use crate::raft::{Index, Term};

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

    fn any_proposal() -> impl Strategy<Value = Proposal> {
        let numbered = any::<(u64, u64, u64)>().prop_map(|(session, sequence, answered)| Numbered {
            session,
            sequence,
            answered,
        });
        let action = prop_oneof![
            Just(Action::Register),
            (proptest::option::of(numbered), any_command())
                .prop_map(|(numbered, command)| Action::Write { numbered, command }),
        ];
        (any::<u64>(), action).prop_map(|(elapsed_ms, action)| Proposal { elapsed_ms, action })
    }

    #[test]
    fn numbered_write_takes_effect_once_and_keeps_its_answer() {
        let mut machine = Machine::default();
        let at = |index| LogPosition { term: Term(1), index: Index(index) };
        let register = Proposal { elapsed_ms: 1, action: Action::Register };
        assert_eq!(machine.perform(at(5), register), Applied::Registered(5));
        let write = |command| {
            let numbered = Some(Numbered { session: 5, sequence: 1, answered: 0 });
            Proposal { elapsed_ms: 1, action: Action::Write { numbered, command } }
        };
        let first = Applied::Written(Outcome { position: at(6), matched: true });
        assert_eq!(machine.perform(at(6), write(put("k", Expected::Absent, "1"))), first);
        let mut machine = Machine::decode(machine.encode()).expect("a whole state");
        assert_eq!(machine.perform(at(9), write(put("k", Expected::Absent, "1"))), first);
        let other = Action::Write { numbered: None, command: Command::Delete { key: "k".into() } };
        machine.perform(at(10), Proposal { elapsed_ms: 0, action: other });
        assert_eq!(machine.perform(at(11), write(put("k", Expected::Absent, "1"))), first);
        assert_eq!(machine.get(b"k"), None, "it was not done again");
    }

    proptest! {
        #[test]
        fn proposal_survives_its_encoding(proposal in any_proposal()) {
            prop_assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Proposal::decode(bytes.clone().into());
            let _ = Machine::decode(bytes.into());
        }
    }
}
