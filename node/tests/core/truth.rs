//! What a perfect observer of all nodes knows, and the properties of Raft, figure 3, in its terms.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use node::raft::{Entry, Index, Log, LogPosition, NodeId, RequestId, Term};

/// A broken property.
pub(crate) type Violation = String;

/// What an entry makes of the digest of those before it.
pub(crate) fn digest(before: u64, entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (before, entry.index, entry.term, format!("{:?}", entry.payload)).hash(&mut hasher);
    hasher.finish()
}

/// Everything that has been seen anywhere, to compare with.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) leaders: BTreeMap<Term, NodeId>,
    /// Every entry that was ever written, with the one before it.
    pub(crate) entries: BTreeMap<LogPosition, (Entry, LogPosition)>,
    pub(crate) committed: Vec<Entry>,
    /// The leader's term in which each of them was committed, which may be later than its own.
    pub(crate) committed_in: Vec<Term>,
    /// Entries that a client was told about before their commit; only mutant B6 does that.
    #[cfg(feature = "mutants")]
    pub(crate) promised: BTreeMap<Index, Term>,
    /// What was committed when a read arrived.
    pub(crate) reads: BTreeMap<RequestId, usize>,
    pub(crate) answered_reads: usize,
}

impl Truth {
    /// Election safety and leader completeness.
    pub(crate) fn leads(&mut self, node: NodeId, term: Term, log: &Log) -> Result<(), Violation> {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            return Err(format!("{leader} and {node} both lead {term:?}"));
        }
        let kept = |entry: &Entry| entry.index > log.base().index;
        let missing = |(entry, since): &(&Entry, &Term)| {
            **since < term && kept(entry) && log.get(entry.index) != Some(*entry)
        };
        match self.committed.iter().zip(&self.committed_in).find(missing) {
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
        #[cfg(feature = "mutants")]
        if self.promised.get(&entry.index).is_some_and(|&term| term != entry.term) {
            return Err(format!("{entry:?} replaces an acknowledged entry"));
        }
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

    /// What all entries up to `index` come to.
    pub(crate) fn digest(&self, index: Index) -> u64 {
        self.committed[..index.0 as usize].iter().fold(0, digest)
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
