//! Clients that number their writes: several in flight, sent again to other nodes, and copies that arrive late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::Seen;
use super::dice::Dice;
use super::truth::{Truth, Violation};
use crate::machine::{Action, Applied, Command, Expected, Numbered, Proposal, Rejection, SESSION_TTL_MS};
use crate::raft::{LogPosition, RequestId};

const CLIENTS: usize = 4;
const IN_FLIGHT: usize = 4;
const KEYS: u64 = 6;
/// Requests that may arrive again later.
const LATE_COPIES: usize = 24;

/// One write of one client, however often it is sent. It is also the value that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteId(u64);

impl WriteId {
    fn value(self) -> Bytes {
        self.0.to_string().into()
    }

    pub(crate) fn read(value: &Bytes) -> Result<Self, Violation> {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.map(Self).ok_or_else(|| format!("nobody wrote {value:?}"))
    }
}

/// Why a request was sent.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Register {
        client: usize,
    },
    Write {
        client: usize,
        session: u64,
        sequence: u64,
        id: WriteId,
    },
    /// Sent once, without a number.
    Plain {
        id: WriteId,
    },
}

#[derive(Debug, Default)]
struct Client {
    session: Option<u64>,
    last_sequence: u64,
    /// All answers up to this number are there.
    answered: u64,
    /// Answers beyond it.
    answered_beyond: BTreeSet<u64>,
    open: BTreeMap<u64, (WriteId, Command)>,
}

/// All clients.
#[derive(Default)]
pub(crate) struct Clients {
    clients: [Client; CLIENTS],
    sent: BTreeMap<RequestId, Purpose>,
    late: VecDeque<(Purpose, Bytes)>,
    writes: u64,
    /// What clients were told to be written.
    acknowledged: BTreeSet<WriteId>,
}

impl Clients {
    /// What some client sends next, under the name of `request`.
    pub(crate) fn next(&mut self, request: RequestId, dice: &mut Dice, seen: &mut Seen) -> Bytes {
        let (purpose, command) = match dice.below(20) {
            0..4 if !self.late.is_empty() => {
                seen.late_copies += 1;
                self.late[dice.below(self.late.len())].clone()
            }
            4 => self.plain(dice),
            _ => self.numbered(dice, seen),
        };
        self.sent.insert(request, purpose);
        // A write without a number takes effect as often as it arrives, so it is never sent again.
        if !matches!(purpose, Purpose::Plain { .. }) {
            self.late.push_back((purpose, command.clone()));
        }
        if self.late.len() > LATE_COPIES {
            self.late.remove(dice.below(LATE_COPIES));
        }
        command
    }

    fn new_write(&mut self, dice: &mut Dice) -> (WriteId, Command) {
        self.writes += 1;
        let id = WriteId(self.writes);
        let other = WriteId(1 + dice.roll() % self.writes);
        let expected = match dice.below(5) {
            0 => Expected::Absent,
            1 => Expected::Value(other.value()),
            _ => Expected::Anything,
        };
        let key = format!("k{}", dice.roll() % KEYS).into();
        (id, Command::Put { key, expected, value: id.value() })
    }

    fn plain(&mut self, dice: &mut Dice) -> (Purpose, Bytes) {
        let (id, command) = self.new_write(dice);
        let action = Action::Write { numbered: None, command };
        (Purpose::Plain { id }, encode(action, dice))
    }

    fn numbered(&mut self, dice: &mut Dice, seen: &mut Seen) -> (Purpose, Bytes) {
        let number = dice.below(CLIENTS);
        let Some(session) = self.clients[number].session else {
            return (Purpose::Register { client: number }, encode(Action::Register, dice));
        };
        let is_new = self.clients[number].open.len() < IN_FLIGHT && dice.percent(60);
        let sequence = if is_new || self.clients[number].open.is_empty() {
            let write = self.new_write(dice);
            let client = &mut self.clients[number];
            client.last_sequence += 1;
            client.open.insert(client.last_sequence, write);
            client.last_sequence
        } else {
            seen.repeats += 1;
            let open = &self.clients[number].open;
            *open.keys().nth(dice.below(open.len())).expect("it is in range")
        };
        let client = &self.clients[number];
        let (id, command) = client.open[&sequence].clone();
        let numbered = Some(Numbered { session, sequence, answered: client.answered });
        let purpose = Purpose::Write { client: number, session, sequence, id };
        (purpose, encode(Action::Write { numbered, command }, dice))
    }

    /// The answer to a request of a client.
    pub(crate) fn answered(
        &mut self,
        request: RequestId,
        applied: Applied,
        truth: &Truth,
        seen: &mut Seen,
    ) -> Result<(), Violation> {
        let Some(purpose) = self.sent.remove(&request) else {
            return Ok(());
        };
        match (purpose, applied) {
            (Purpose::Register { client }, Applied::Registered(session)) => {
                let client = &mut self.clients[client];
                if client.session.is_none() {
                    *client = Client { session: Some(session), ..Client::default() };
                }
                Ok(())
            }
            (Purpose::Plain { id }, Applied::Written(outcome)) => {
                self.acknowledge(id, outcome.position, truth, seen)
            }
            (Purpose::Write { client, session, sequence, id }, Applied::Written(outcome)) => {
                self.clients[client].note_answer(session, sequence);
                self.acknowledge(id, outcome.position, truth, seen)
            }
            (Purpose::Write { client, session, .. }, Applied::Rejected(Rejection::Expired)) => {
                let client = &mut self.clients[client];
                if client.session == Some(session) {
                    *client = Client::default();
                }
                Ok(())
            }
            (Purpose::Write { client, session, sequence, .. }, Applied::Rejected(Rejection::Answered))
                if self.clients[client].has_answer(session, sequence) =>
            {
                Ok(())
            }
            (purpose, applied) => Err(format!("{purpose:?} is answered with {applied:?}")),
        }
    }

    fn acknowledge(
        &mut self,
        id: WriteId,
        at: LogPosition,
        truth: &Truth,
        seen: &mut Seen,
    ) -> Result<(), Violation> {
        seen.acknowledged += usize::from(self.acknowledged.insert(id));
        truth.acknowledged(id, at)
    }

    /// A request that gets no answer, or none that says anything.
    pub(crate) fn unanswered(&mut self, request: RequestId) {
        self.sent.remove(&request);
    }

    /// Mutant B6 says that a write is done when it is not.
    #[cfg(feature = "mutants")]
    pub(crate) fn promised(&mut self, request: RequestId) {
        if let Some(Purpose::Write { id, .. } | Purpose::Plain { id }) = self.sent.remove(&request) {
            self.acknowledged.insert(id);
        }
    }

    /// Nothing that was acknowledged is missing at the end.
    pub(crate) fn finish(&self, truth: &Truth) -> Result<(), Violation> {
        match self.acknowledged.iter().find(|id| !truth.has(**id)) {
            Some(id) => Err(format!("{id:?} was acknowledged and is lost")),
            None => Ok(()),
        }
    }
}

impl Client {
    fn note_answer(&mut self, session: u64, sequence: u64) {
        if self.session != Some(session) || sequence <= self.answered {
            return;
        }
        self.open.remove(&sequence);
        self.answered_beyond.insert(sequence);
        while self.answered_beyond.remove(&(self.answered + 1)) {
            self.answered += 1;
        }
    }

    fn has_answer(&self, session: u64, sequence: u64) -> bool {
        self.session != Some(session) || sequence <= self.answered
    }
}

/// Time passes a little with each proposal, and in one of many so long that sessions expire.
fn encode(action: Action, dice: &mut Dice) -> Bytes {
    let elapsed_ms = if dice.below(400) == 0 { SESSION_TTL_MS + 1 } else { dice.roll() % 5 };
    Proposal { elapsed_ms, action }.encode()
}
