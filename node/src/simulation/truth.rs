//! What a perfect observer of all nodes knows: the properties of Raft, figure 3, and what clients may rely on.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::clients::WriteId;
use crate::machine::{Action, Applied, Command, Effect, Expected, Machine, Proposal, Value};
use crate::raft::{Entry, Index, Log, LogPosition, NodeId, Payload, RequestId, Term};

/// A broken property.
pub(crate) type Violation = String;

/// Everything that has been seen anywhere, to compare with.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) leaders: BTreeMap<Term, NodeId>,
    /// Every entry that was ever written, with the one before it.
    pub(crate) entries: BTreeMap<LogPosition, (Entry, LogPosition)>,
    pub(crate) committed: Vec<Entry>,
    /// The leader's term in which each of them was committed, which may be later than its own.
    committed_in: Vec<Term>,
    /// What came of each of them at the first node that applied it.
    results: Vec<Option<Applied>>,
    /// The state after some of them, by index.
    states: BTreeMap<Index, u64>,
    /// The entry by which each write took effect.
    effects: BTreeMap<WriteId, LogPosition>,
    /// What the writes that took effect come to.
    values: BTreeMap<Bytes, Bytes>,
    /// What was committed when a read arrived.
    pub(crate) reads: BTreeMap<RequestId, usize>,
    pub(crate) answered_reads: usize,
}

impl Truth {
    /// Election safety and leader completeness, for committed entries after the first `compared`.
    pub(crate) fn leads(
        &mut self,
        node: NodeId,
        term: Term,
        log: &Log,
        compared: usize,
    ) -> Result<(), Violation> {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            return Err(format!("{leader} and {node} both lead {term:?}"));
        }
        let kept = |entry: &Entry| entry.index > log.base().index;
        let missing = |(entry, since): &(&Entry, &Term)| {
            **since < term && kept(entry) && log.get(entry.index) != Some(*entry)
        };
        match self.committed.iter().zip(&self.committed_in).skip(compared).find(missing) {
            Some((entry, _)) => Err(format!("{node} leads {term:?} without the committed {entry:?}")),
            None => Ok(()),
        }
    }

    /// Log matching: index and term determine an entry and, by induction, everything before it.
    pub(crate) fn wrote(&mut self, entries: &[Entry], log: &Log) -> Result<(), Violation> {
        for entry in entries {
            let before = log.position(entry.index.previous()).ok_or("a gap in a log")?;
            let position = LogPosition { term: entry.term, index: entry.index };
            let known = self.entries.entry(position).or_insert_with(|| (entry.clone(), before));
            if *known != (entry.clone(), before) {
                return Err(format!("{entry:?} after {before:?} is {known:?} elsewhere"));
            }
        }
        Ok(())
    }

    /// State machine safety. Returns whether nobody had applied this index before.
    pub(crate) fn committed(&mut self, entry: &Entry, term: Term) -> Result<bool, Violation> {
        match self.committed.get(entry.index.previous().0 as usize) {
            Some(known) if known != entry => Err(format!("{entry:?} is applied where {known:?} was")),
            Some(_) => Ok(false),
            None => {
                self.committed.push(entry.clone());
                self.committed_in.push(term);
                Ok(true)
            }
        }
    }

    /// Every node makes the same of an entry, and no write takes effect twice.
    pub(crate) fn applied(&mut self, entry: &Entry, result: Option<&Applied>) -> Result<(), Violation> {
        match self.results.get(entry.index.previous().0 as usize) {
            Some(known) if known.as_ref() != result => {
                return Err(format!("{entry:?} gives {result:?} where it gave {known:?}"));
            }
            Some(_) => return Ok(()),
            None => self.results.push(result.cloned()),
        }
        let (Some(Applied::Written(outcome)), Payload::Command(command)) = (result, &entry.payload) else {
            return Ok(());
        };
        let (id, command) = read_write(command)?;
        if outcome.position == (LogPosition { term: entry.term, index: entry.index }) {
            if let Some(first) = self.effects.insert(id, outcome.position) {
                return Err(format!("{id:?} takes effect at {first:?} and again at {entry:?}"));
            }
            let Effect::Single { matched } = outcome.effect else {
                return Err(format!("a single write gives {outcome:?}"));
            };
            return self.take_effect(command, matched);
        }
        match self.effects.get(&id) {
            Some(effect) if *effect == outcome.position => Ok(()),
            effect => Err(format!("{id:?} took effect at {effect:?}, and is said to at {outcome:?}")),
        }
    }

    fn take_effect(&mut self, command: Command, matched: bool) -> Result<(), Violation> {
        let Command::Put { key, expected, value } = command else {
            return Err("clients only put".to_owned());
        };
        let current = self.values.get(&key);
        let matches = match &expected {
            Expected::Anything => true,
            Expected::Absent => current.is_none(),
            Expected::Value(expected) => current == Some(expected),
            Expected::Revision(_) => return Err("clients know no revisions".to_owned()),
        };
        if matches != matched {
            return Err(format!("{value:?} expects {expected:?}, {current:?} is there, matched {matched}"));
        }
        if matched {
            self.values.insert(key, value);
        }
        Ok(())
    }

    /// Nodes that applied the same have the same state.
    pub(crate) fn state(&mut self, applied: Index, state: &Bytes) -> Result<(), Violation> {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let hash = hasher.finish();
        match *self.states.entry(applied).or_insert(hash) {
            known if known == hash => Ok(()),
            _ => Err(format!("the state after {applied:?} differs between nodes, or from a snapshot")),
        }
    }

    /// A node that has applied everything has what all writes come to.
    pub(crate) fn complete(&self, machine: &Machine) -> Result<(), Violation> {
        let values = machine.entries(&Bytes::new(), usize::MAX).ok_or("too much to list")?;
        let values: BTreeMap<_, _> = values.into_iter().collect();
        let expected = self.values.iter().map(|(key, value)| (key.clone(), Value::Raw(value.clone())));
        if values != expected.collect() {
            return Err(format!("the writes come to {:?}, a node has {values:?}", self.values));
        }
        Ok(())
    }

    /// A client was told that its write took effect.
    pub(crate) fn acknowledged(&self, id: WriteId, at: LogPosition) -> Result<(), Violation> {
        match self.effects.get(&id) {
            Some(effect) if *effect == at => Ok(()),
            effect => Err(format!("{id:?} is acknowledged at {at:?}, and took effect at {effect:?}")),
        }
    }

    /// Whether a write took effect.
    pub(crate) fn has(&self, id: WriteId) -> bool {
        self.effects.contains_key(&id)
    }

    /// A read sees everything that was committed when it arrived.
    pub(crate) fn read(&mut self, request: RequestId, applied: Index) -> Result<(), Violation> {
        self.answered_reads += 1;
        let due = self.reads.remove(&request).expect("reads are answered once");
        if (applied.0 as usize) < due {
            return Err(format!("a read saw {} of {due} committed entries", applied.0));
        }
        Ok(())
    }
}

/// The write that a command is about, which is what it puts.
fn read_write(command: &Bytes) -> Result<(WriteId, Command), Violation> {
    let proposal = Proposal::decode(command.clone()).map_err(|error| error.to_string())?;
    match proposal.action {
        Action::Write { command: Command::Put { key, expected, value }, .. } => {
            let id = WriteId::read(&value)?;
            Ok((id, Command::Put { key, expected, value }))
        }
        action => Err(format!("{action:?} was not written by a client")),
    }
}
