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
#[cfg(test)]
pub(crate) use self::sessions::SESSION_TTL_MS;
pub(crate) use self::sessions::{MAX_AHEAD, Numbered, Rejection};
use self::sessions::{Sessions, Verdict};
pub(crate) use self::value::{List, Revision, Stored, Value};
use crate::codec::{DecodeError, Reader, put_members};
use crate::mutant::mutant;
use crate::raft::{Committed, Index, LogPosition, Membership, Payload};

/// The applied state.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    data: Data,
    sessions: Sessions,
    /// What everything that was applied comes to.
    chain: Chain,
    /// What this machine does wrong, in builds that have mutants.
    #[cfg(feature = "mutants")]
    mutant: Option<crate::mutant::Mutant>,
}

const STATE_VERSION: u8 = 3;

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
        Ok(Self {
            data,
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
        (knows_nothing && is_repeated).then(|| Applied::Written(apply(&mut self.data, position, command)))
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
