//! Client sessions: a write that is sent again is not done again (Raft, section 8; thesis, section 6.3).
//!
//! A client registers, numbers its writes, and may send one again to whoever leads, as often as it likes: it takes effect
//! once, and every answer is the first one. Several writes of a session may be on their way at the same time, so answers are
//! kept one by one, and not up to a highest number. With each write the client says up to which number it has all
//! answers; those are forgotten.
//!
//! All of this is state of the replicated state machine: the same on every node, and part of every snapshot. So is the time
//! by which sessions expire. It is no clock: leaders say with each write how much time has passed since the last one,
//! and the sum is the *log time*. It stands still while nobody writes, and nothing makes it jump.

use std::collections::BTreeMap;

use bytes::BufMut;

use crate::codec::{DecodeError, Reader};
use crate::raft::LogPosition;

/// How long a session lives after its last write, in log time.
pub(crate) const SESSION_TTL_MS: u64 = 60 * 60 * 1000;
/// Sessions at a time; further ones are refused.
pub(crate) const MAX_SESSIONS: usize = 10_000;
/// By how much a number may be ahead of what the client has said to be answered.
pub(crate) const MAX_AHEAD: u64 = 1024;

/// Which write of which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// The session.
    pub(crate) session: u64,
    /// The number of the write, from 1.
    pub(crate) sequence: u64,
    /// The client has all answers up to this number.
    pub(crate) answered: u64,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The entry that did it.
    pub(crate) position: LogPosition,
    /// Whether it found what it expected; if not, nothing changed.
    pub(crate) matched: bool,
}

/// Why a numbered write, or a registration, did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// There is no such session, or not any more. Whether earlier writes of it took effect is not known any more.
    Expired,
    /// The client has said that it has the answer.
    Answered,
    /// The number is too far ahead of what the client has said to be answered.
    TooFarAhead,
    /// There are too many sessions.
    TooMany,
}

/// What to do with a numbered write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new.
    Do,
    /// It was done before, and this is what came of it.
    Done(Outcome),
    /// It does nothing.
    Reject(Rejection),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    last_used_ms: u64,
    answered: u64,
    outcomes: BTreeMap<u64, Outcome>,
}

/// All sessions, and the log time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    now_ms: u64,
    sessions: BTreeMap<u64, Session>,
}

impl Sessions {
    /// Lets time pass.
    pub(crate) fn pass(&mut self, elapsed_ms: u64) {
        self.now_ms = self.now_ms.saturating_add(elapsed_ms);
    }

    /// Opens a session that is called by the index of the entry that opens it.
    pub(crate) fn register(&mut self, index: u64) -> Result<u64, Rejection> {
        let now_ms = self.now_ms;
        self.sessions.retain(|_, session| is_alive(session, now_ms));
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(Rejection::TooMany);
        }
        self.sessions.insert(index, Session { last_used_ms: now_ms, ..Session::default() });
        Ok(index)
    }

    /// What to do with a write.
    pub(crate) fn admit(&mut self, write: Numbered) -> Verdict {
        let now_ms = self.now_ms;
        let alive = self.sessions.get_mut(&write.session).filter(|session| is_alive(session, now_ms));
        let Some(session) = alive else {
            self.sessions.remove(&write.session);
            return Verdict::Reject(Rejection::Expired);
        };
        session.last_used_ms = now_ms;
        session.answered = session.answered.max(write.answered);
        session.outcomes = session.outcomes.split_off(&(session.answered + 1));
        match session.outcomes.get(&write.sequence) {
            _ if write.sequence <= session.answered => Verdict::Reject(Rejection::Answered),
            Some(outcome) => Verdict::Done(*outcome),
            None if write.sequence > session.answered + MAX_AHEAD => Verdict::Reject(Rejection::TooFarAhead),
            None => Verdict::Do,
        }
    }

    /// What mutant D8 takes for the outcome of a write: that of a later one.
    #[cfg(feature = "mutants")]
    pub(crate) fn highest_above(&self, write: Numbered) -> Option<Outcome> {
        let outcomes = &self.sessions.get(&write.session)?.outcomes;
        let is_new = !outcomes.contains_key(&write.sequence);
        outcomes.range(write.sequence..).next_back().filter(|_| is_new).map(|(_, outcome)| *outcome)
    }

    /// Keeps what came of a write that was admitted.
    pub(crate) fn keep(&mut self, write: Numbered, outcome: Outcome) {
        if let Some(session) = self.sessions.get_mut(&write.session) {
            session.outcomes.insert(write.sequence, outcome);
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.now_ms);
        out.put_u64_le(self.sessions.len() as u64);
        for (id, session) in &self.sessions {
            out.put_u64_le(*id);
            out.put_u64_le(session.last_used_ms);
            out.put_u64_le(session.answered);
            out.put_u64_le(session.outcomes.len() as u64);
            for (sequence, Outcome { position, matched }) in &session.outcomes {
                out.put_u64_le(*sequence);
                crate::codec::put_position(out, *position);
                out.put_u8(u8::from(*matched));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (now_ms, count) = (reader.u64()?, reader.u64()?);
        // Collecting stops at the first one that is not there, so a wrong count cannot reserve memory.
        let sessions = (0..count).map(|_| Ok((reader.u64()?, Session::decode(reader)?)));
        Ok(Self { now_ms, sessions: sessions.collect::<Result<_, DecodeError>>()? })
    }
}

impl Session {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (last_used_ms, answered, count) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let outcomes = (0..count).map(|_| {
            let sequence = reader.u64()?;
            let (position, matched) = (reader.position()?, reader.u8()? != 0);
            Ok((sequence, Outcome { position, matched }))
        });
        Ok(Self { last_used_ms, answered, outcomes: outcomes.collect::<Result<_, DecodeError>>()? })
    }
}

fn is_alive(session: &Session, now_ms: u64) -> bool {
    now_ms.saturating_sub(session.last_used_ms) <= SESSION_TTL_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Index, Term};

    fn outcome(index: u64) -> Outcome {
        Outcome { position: LogPosition { term: Term(1), index: Index(index) }, matched: index % 2 == 0 }
    }

    fn write(sequence: u64, answered: u64) -> Numbered {
        Numbered { session: 7, sequence, answered }
    }

    fn registered() -> Sessions {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.register(7), Ok(7));
        sessions
    }

    fn perform(sessions: &mut Sessions, write: Numbered, outcome: Outcome) {
        assert_eq!(sessions.admit(write), Verdict::Do);
        sessions.keep(write, outcome);
    }

    #[test]
    fn repeated_write_gets_its_own_first_answer_whatever_came_between() {
        let mut sessions = registered();
        perform(&mut sessions, write(2, 0), outcome(20));
        perform(&mut sessions, write(1, 0), outcome(21));
        assert_eq!(sessions.admit(write(2, 0)), Verdict::Done(outcome(20)));
        assert_eq!(sessions.admit(write(1, 0)), Verdict::Done(outcome(21)));
    }

    #[test]
    fn answered_write_is_forgotten_and_never_done_again() {
        let mut sessions = registered();
        perform(&mut sessions, write(1, 0), outcome(20));
        perform(&mut sessions, write(2, 1), outcome(22));
        assert_eq!(sessions.admit(write(1, 0)), Verdict::Reject(Rejection::Answered));
        assert_eq!(sessions.admit(write(2, 0)), Verdict::Done(outcome(22)));
    }

    #[test]
    fn unknown_and_expired_sessions_are_rejected_and_not_made_anew() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(write(1, 0)), Verdict::Reject(Rejection::Expired));
        let mut sessions = registered();
        sessions.pass(SESSION_TTL_MS);
        perform(&mut sessions, write(1, 0), outcome(20));
        sessions.pass(SESSION_TTL_MS + 1);
        assert_eq!(sessions.admit(write(1, 0)), Verdict::Reject(Rejection::Expired));
        assert_eq!(sessions, Sessions { now_ms: 2 * SESSION_TTL_MS + 1, ..Sessions::default() });
    }

    #[test]
    fn sessions_and_open_numbers_are_bounded() {
        let mut sessions = registered();
        assert_eq!(sessions.admit(write(MAX_AHEAD + 1, 0)), Verdict::Reject(Rejection::TooFarAhead));
        assert_eq!(sessions.admit(write(MAX_AHEAD + 1, 1)), Verdict::Do);
        for index in 8..8 + MAX_SESSIONS as u64 - 1 {
            assert_eq!(sessions.register(index), Ok(index));
        }
        assert_eq!(sessions.register(99_999), Err(Rejection::TooMany));
        sessions.pass(SESSION_TTL_MS + 1);
        assert_eq!(sessions.register(99_999), Ok(99_999));
    }

    #[test]
    fn sessions_survive_their_encoding() {
        let mut sessions = registered();
        sessions.pass(5);
        perform(&mut sessions, write(3, 1), outcome(20));
        let mut out = Vec::new();
        sessions.encode(&mut out);
        let mut reader = Reader::new(out.into());
        assert_eq!(Sessions::decode(&mut reader), Ok(sessions));
        assert_eq!(reader.finish(), Ok(()));
    }
}
