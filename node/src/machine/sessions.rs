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
//!
//! A kept answer is the whole answer, with everything that a transaction read. What is kept is bounded for each session and
//! for all together: a write that comes when there is too much is refused, until answers are said to have arrived.

use std::collections::BTreeMap;

use bytes::BufMut;

use super::outcome::Outcome;
use crate::codec::{DecodeError, Reader};

/// How long a session lives after its last write, in log time.
pub(crate) const SESSION_TTL_MS: u64 = 60 * 60 * 1000;
/// Sessions at a time; further ones are refused.
pub(crate) const MAX_SESSIONS: usize = 10_000;
/// By how much a number may be ahead of what the client has said to be answered.
pub(crate) const MAX_AHEAD: u64 = 1024;
/// Bytes of answers that are kept for a session before it has to say which it has; the last answer may exceed it.
pub(crate) const MAX_SESSION_KEPT_BYTES: usize = 1 << 20;
/// Bytes of answers that are kept for all sessions; the last answer may exceed it.
pub(crate) const MAX_KEPT_BYTES: usize = 64 << 20;

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
    /// Too much would have to be kept of answers that nobody said to have.
    TooMuchKept,
}

/// What to do with a numbered write.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What the outcomes take.
    kept_bytes: usize,
}

/// All sessions, and the log time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    now_ms: u64,
    sessions: BTreeMap<u64, Session>,
    /// What the outcomes of all sessions take.
    kept_bytes: usize,
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
        self.kept_bytes = self.sessions.values().map(|session| session.kept_bytes).sum();
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
            self.close(write.session);
            return Verdict::Reject(Rejection::Expired);
        };
        session.last_used_ms = now_ms;
        self.kept_bytes -= session.forget(write.answered);
        let is_full = session.kept_bytes >= MAX_SESSION_KEPT_BYTES || self.kept_bytes >= MAX_KEPT_BYTES;
        match session.outcomes.get(&write.sequence) {
            _ if write.sequence <= session.answered => Verdict::Reject(Rejection::Answered),
            Some(outcome) => Verdict::Done(outcome.clone()),
            None if write.sequence - session.answered > MAX_AHEAD => Verdict::Reject(Rejection::TooFarAhead),
            None if is_full => Verdict::Reject(Rejection::TooMuchKept),
            None => Verdict::Do,
        }
    }

    /// What mutant D8 takes for the outcome of a write: that of a later one.
    #[cfg(feature = "mutants")]
    pub(crate) fn highest_above(&self, write: Numbered) -> Option<Outcome> {
        let outcomes = &self.sessions.get(&write.session)?.outcomes;
        let is_new = !outcomes.contains_key(&write.sequence);
        outcomes.range(write.sequence..).next_back().filter(|_| is_new).map(|(_, outcome)| outcome.clone())
    }

    /// Keeps what came of a write that was admitted.
    pub(crate) fn keep(&mut self, write: Numbered, outcome: Outcome) {
        if let Some(session) = self.sessions.get_mut(&write.session) {
            self.kept_bytes += outcome.size_bytes();
            session.kept_bytes += outcome.size_bytes();
            session.outcomes.insert(write.sequence, outcome);
        }
    }

    fn close(&mut self, session: u64) {
        if let Some(closed) = self.sessions.remove(&session) {
            self.kept_bytes -= closed.kept_bytes;
        }
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// What the kept answers take.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// A checksum of everything here.
    pub(crate) fn digest(&self) -> u32 {
        let mut digest = crc32fast::Hasher::new();
        digest.update(&self.now_ms.to_le_bytes());
        let mut encoded = Vec::new();
        for (id, session) in &self.sessions {
            encoded.clear();
            session.encode(*id, &mut encoded);
            digest.update(&encoded);
        }
        digest.finalize()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.now_ms);
        out.put_u64_le(self.sessions.len() as u64);
        self.sessions.iter().for_each(|(id, session)| session.encode(*id, out));
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (now_ms, count) = (reader.u64()?, reader.u64()?);
        // Collecting stops at the first one that is not there, so a wrong count cannot reserve memory.
        let sessions = (0..count).map(|_| Ok((reader.u64()?, Session::decode(reader)?)));
        let sessions: BTreeMap<u64, Session> = sessions.collect::<Result<_, DecodeError>>()?;
        let kept_bytes = sessions.values().map(|session| session.kept_bytes).sum();
        Ok(Self { now_ms, sessions, kept_bytes })
    }
}

impl Session {
    /// Lets go of the answers that the client has; returns how much they took.
    fn forget(&mut self, answered: u64) -> usize {
        self.answered = self.answered.max(answered);
        let mut forgotten_bytes = 0;
        while let Some(first) = self.outcomes.first_entry().filter(|first| *first.key() <= self.answered) {
            forgotten_bytes += first.remove().size_bytes();
        }
        self.kept_bytes -= forgotten_bytes;
        forgotten_bytes
    }

    fn encode(&self, id: u64, out: &mut Vec<u8>) {
        [id, self.last_used_ms, self.answered, self.outcomes.len() as u64]
            .into_iter()
            .for_each(|number| out.put_u64_le(number));
        for (sequence, outcome) in &self.outcomes {
            out.put_u64_le(*sequence);
            outcome.encode(out);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (last_used_ms, answered, count) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let outcomes = (0..count).map(|_| Ok((reader.u64()?, Outcome::decode(reader)?)));
        let outcomes: BTreeMap<u64, Outcome> = outcomes.collect::<Result<_, DecodeError>>()?;
        let kept_bytes = outcomes.values().map(Outcome::size_bytes).sum();
        Ok(Self { last_used_ms, answered, outcomes, kept_bytes })
    }
}

fn is_alive(session: &Session, now_ms: u64) -> bool {
    now_ms.saturating_sub(session.last_used_ms) <= SESSION_TTL_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::outcome::{Effect, StepResult, Transacted};
    use crate::machine::value::Revision;
    use crate::raft::{Index, LogPosition, Term};

    fn outcome(index: u64) -> Outcome {
        let effect = Effect::Single { matched: index.is_multiple_of(2) };
        let position = LogPosition { term: Term(1), index: Index(index) };
        Outcome { position, revision: Revision(index), effect }
    }

    fn large_outcome() -> Outcome {
        let results = vec![StepResult::Read(None)];
        let transacted = Transacted { matched: true, results, size_bytes: MAX_SESSION_KEPT_BYTES };
        Outcome { effect: Effect::Transaction(transacted.into()), ..outcome(20) }
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
    fn kept_answers_are_bounded_in_bytes_until_they_are_said_to_have_arrived() {
        let mut sessions = registered();
        perform(&mut sessions, write(1, 0), large_outcome());
        assert_eq!(sessions.admit(write(2, 0)), Verdict::Reject(Rejection::TooMuchKept));
        assert_eq!(sessions.admit(write(1, 0)), Verdict::Done(large_outcome()));
        assert_eq!(sessions.admit(write(2, 1)), Verdict::Do);
        assert_eq!(sessions.kept_bytes(), 0);

        let enough = MAX_KEPT_BYTES / MAX_SESSION_KEPT_BYTES;
        for session in 100..100 + enough as u64 {
            assert_eq!(sessions.register(session), Ok(session));
            let write = Numbered { session, sequence: 1, answered: 0 };
            perform(&mut sessions, write, large_outcome());
        }
        assert_eq!(sessions.admit(write(2, 1)), Verdict::Reject(Rejection::TooMuchKept));
        sessions.pass(SESSION_TTL_MS + 1);
        assert_eq!(sessions.register(7), Ok(7));
        assert_eq!(sessions.kept_bytes(), 0);
    }

    #[test]
    fn absurd_numbers_are_rejected_and_overflow_nothing() {
        let mut sessions = registered();
        assert_eq!(sessions.admit(write(u64::MAX, 0)), Verdict::Reject(Rejection::TooFarAhead));
        assert_eq!(sessions.admit(write(1, u64::MAX)), Verdict::Reject(Rejection::Answered));
        assert_eq!(sessions.admit(write(u64::MAX, 0)), Verdict::Reject(Rejection::Answered));
    }

    #[test]
    fn sessions_survive_their_encoding() {
        let mut sessions = registered();
        sessions.pass(5);
        perform(&mut sessions, write(3, 1), outcome(20));
        perform(&mut sessions, write(4, 1), large_outcome());
        let mut out = Vec::new();
        sessions.encode(&mut out);
        let mut reader = Reader::new(out.into());
        assert_eq!(Sessions::decode(&mut reader), Ok(sessions));
        assert_eq!(reader.finish(), Ok(()));
    }
}
