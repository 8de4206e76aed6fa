//! The replicated state machine: keys with values and lists, and the sessions of clients.
//!
//! * `command` is what can be asked, and `outcome` what comes of it.
//! * `data` is what keys have, with `value` for one of them and `history` for the last changes.
//! * `sessions` sees to it that numbered writes are done once.
//! * `chain` is the digest of everything that was applied.
//!
//! Applying is deterministic: the outcome of a command depends on the commands before it and on nothing else. In
//! particular a guard is decided here, when the command is applied, not when it is proposed.
//!
//! # Revisions
//! Every entry that changes data makes a revision, which is its index. The keys that it changed have it as their revision;
//! a write that did not find what it expected, or that deleted what was absent, makes none.

mod chain;
mod command;
mod data;
mod history;
mod outcome;
mod sessions;
mod value;

use bytes::{BufMut, Bytes};

use self::chain::Chain;
pub(crate) use self::command::{Action, Command, Expected, Guard, Proposal, Step, Transaction};
use self::data::Data;
pub(crate) use self::data::{MAX_TRANSACTION_ANSWER_BYTES, MAX_VALUE_BYTES};
pub(crate) use self::history::{Batch, Change, Compacted, Selection, What};
pub(crate) use self::outcome::{Applied, Effect, Impossible, Outcome, StepResult, Transacted};
pub(crate) use self::sessions::{MAX_AHEAD, Numbered, Rejection};
use self::sessions::{Sessions, Verdict};
pub(crate) use self::value::{List, Revision, Stored, Value};
use crate::codec::{DecodeError, Reader, put_members};
use crate::raft::{Entry, Index, LogPosition, Membership};

/// The applied state.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    data: Data,
    sessions: Sessions,
    /// What everything that was applied comes to.
    chain: Chain,
}

const STATE_VERSION: u8 = 3;

impl Machine {
    /// Everything, in the form in which it stands for the log. Equal states have equal bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u8(STATE_VERSION);
        out.put_u64_le(self.chain.to_bits());
        self.sessions.encode(&mut out);
        self.data.encode(&mut out);
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            STATE_VERSION => {}
            code => return Err(DecodeError::UnknownCode { what: "state", code }),
        }
        let chain = Chain::from_bits(reader.u64()?);
        let (sessions, data) = (Sessions::decode(&mut reader)?, Data::decode(&mut reader)?);
        reader.finish()?;
        Ok(Self { data, sessions, chain })
    }

    /// Takes note of an applied entry, whatever it carries.
    pub(crate) fn extend_digest(&mut self, entry: &Entry) {
        self.chain.extend(entry);
    }

    /// The digest of everything that was applied.
    pub(crate) fn digest(&self) -> String {
        self.chain.hex()
    }

    /// The digest of what is there: data, sessions and members, after the entry at `applied`. It costs a pass over the
    /// sessions; that of the data is kept up to date.
    pub(crate) fn state_digest(&self, applied: Index, members: &Membership) -> String {
        let mut encoded = Vec::new();
        put_members(&mut encoded, members);
        let words = [
            applied.0,
            self.data.revision().0,
            self.data.keys() as u64,
            self.data.digest(),
            self.sessions.digest().into(),
            crc32fast::hash(&encoded).into(),
        ];
        format!("{:016x}", words.into_iter().fold(0, |hash, word| value::mix(hash ^ word)))
    }

    /// What a key has.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Stored> {
        self.data.get(key).cloned()
    }

    /// The entry that last changed something.
    pub(crate) fn revision(&self) -> Revision {
        self.data.revision()
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.data.keys()
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Every key that begins with `prefix`, ascending, with what it has; nothing if that is more than `limit_bytes`.
    pub(crate) fn entries(&self, prefix: &Bytes, limit_bytes: usize) -> Option<Vec<(Bytes, Value)>> {
        self.data.entries(prefix, limit_bytes)
    }

    /// The selected changes from `next` on, when everything up to `applied` was applied.
    pub(crate) fn changes(
        &self,
        next: Revision,
        selection: &Selection,
        applied: Index,
    ) -> Result<Batch, Compacted> {
        self.data.history.batch(next, selection, applied.into())
    }

    /// What would come of a proposal, as far as mutant B6 cares.
    #[cfg(feature = "mutants")]
    pub(crate) fn foretell(&self, position: LogPosition, proposal: Proposal) -> Applied {
        let command = match proposal.action {
            Action::Register => return Applied::Registered(position.index.0),
            Action::Write { command, .. } => command,
        };
        Applied::Written(match &command {
            Command::Put { key, expected, .. } | Command::Delete { key, expected } => {
                let effect = Effect::Single { matched: self.data.is_as_expected(key, expected) };
                Outcome { position, revision: position.index.into(), effect }
            }
            Command::Transaction(_) => apply(&mut self.data.clone(), position, &command),
        })
    }

    /// Does what the entry at `position` asks for.
    pub(crate) fn perform(&mut self, position: LogPosition, proposal: Proposal) -> Applied {
        self.sessions.pass(proposal.elapsed_ms);
        match proposal.action {
            Action::Register => {
                self.sessions.register(position.index.0).map_or_else(Applied::Rejected, Applied::Registered)
            }
            Action::Write { numbered: None, command } => {
                Applied::Written(apply(&mut self.data, position, &command))
            }
            Action::Write { numbered: Some(numbered), command } => match self.sessions.admit(numbered) {
                Verdict::Do => {
                    let outcome = apply(&mut self.data, position, &command);
                    self.sessions.keep(numbered, outcome.clone());
                    Applied::Written(outcome)
                }
                Verdict::Done(outcome) => Applied::Written(outcome),
                Verdict::Reject(rejection) => Applied::Rejected(rejection),
            },
        }
    }
}

/// Performs `command` and says what came of it.
fn apply(data: &mut Data, position: LogPosition, command: &Command) -> Outcome {
    let revision = Revision::from(position.index);
    let effect = match command {
        Command::Put { key, expected, value } => {
            let matched = data.is_as_expected(key, expected);
            if matched {
                data.put(revision, key, value);
            }
            Effect::Single { matched }
        }
        Command::Delete { key, expected } => {
            let matched = data.is_as_expected(key, expected);
            if matched {
                data.delete(revision, key);
            }
            Effect::Single { matched }
        }
        Command::Transaction(transaction) => match data.transact(revision, transaction) {
            Ok(transacted) => Effect::Transaction(transacted.into()),
            Err(impossible) => Effect::Impossible(impossible),
        },
    };
    Outcome { position, revision: data.revision(), effect }
}

#[cfg(test)]
mod tests;
