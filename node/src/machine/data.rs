//! The data: keys and what they have, the digest of it, and the last changes.
//!
//! What is stored is copied out of the entry that brought it: an entry shares its memory with everything that came in the same
//! message, and a small value must not keep all of that.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::command::{Expected, Step, Transaction};
use super::history::{Change, History, What};
use super::outcome::{Impossible, StepResult, Transacted};
use super::value::{List, Revision, Stored, Value};
use crate::codec::{DecodeError, Reader, put_bytes};

/// The largest value, and the largest list.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 20;
/// What one transaction may read.
pub(crate) const MAX_TRANSACTION_ANSWER_BYTES: usize = 2 << 20;

#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    values: BTreeMap<Bytes, Stored>,
    /// The sum of what every key adds: it does not depend on the way that led here.
    digest: u64,
    /// The entry that last changed something.
    revision: Revision,
    pub(super) history: History,
}

impl Data {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.revision.0);
        out.put_u64_le(self.values.len() as u64);
        for (key, stored) in &self.values {
            put_bytes(out, key);
            stored.encode(out);
        }
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (revision, count) = (Revision(reader.u64()?), reader.u64()?);
        let pairs = (0..count).map(|_| {
            let key = Bytes::copy_from_slice(&reader.bytes()?);
            Ok((key, Stored::decode(reader)?))
        });
        let values: BTreeMap<_, _> = pairs.collect::<Result<_, DecodeError>>()?;
        let digest = values.iter().fold(0, |sum: u64, (key, stored)| sum.wrapping_add(stored.share(key)));
        Ok(Self { values, digest, revision, history: History::after(revision) })
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.values.get(key)
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn keys(&self) -> usize {
        self.values.len()
    }

    /// Every key that begins with `prefix`, ascending; nothing if that is more than `limit_bytes`.
    pub(super) fn entries(&self, prefix: &Bytes, limit_bytes: usize) -> Option<Vec<(Bytes, Value)>> {
        let from = self.values.range::<Bytes, _>(prefix..);
        let mut size_bytes = 0;
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| {
                size_bytes += key.len() + stored.value.size_bytes();
                (size_bytes <= limit_bytes).then(|| (key.clone(), stored.value.clone()))
            })
            .collect()
    }

    pub(super) fn is_as_expected(&self, key: &[u8], expected: &Expected) -> bool {
        match expected {
            Expected::Anything => true,
            Expected::Absent => !self.values.contains_key(key),
            Expected::Value(value) => {
                self.get(key).is_some_and(|stored| matches!(&stored.value, Value::Raw(raw) if raw == value))
            }
            Expected::Revision(revision) => self.get(key).is_some_and(|stored| stored.modified == *revision),
        }
    }

    pub(super) fn put(&mut self, revision: Revision, key: &Bytes, value: &Bytes) {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let stored = Stored::after(self.get(&key), Value::Raw(value.clone()), revision);
        let (created, version) = (stored.created, stored.version);
        self.replace(key.clone(), Some(stored));
        self.changed(revision, Change { key, what: What::Put(value), created, version });
    }

    pub(super) fn delete(&mut self, revision: Revision, key: &Bytes) {
        if let Some(before) = self.get(key) {
            let key = Bytes::copy_from_slice(key);
            let (created, version) = (before.created, before.version);
            self.replace(key.clone(), None);
            self.changed(revision, Change { key, what: What::Deleted, created, version });
        }
    }

    fn replace(&mut self, key: Bytes, stored: Option<Stored>) {
        let added = stored.as_ref().map_or(0, |stored| stored.share(&key));
        let removed = match stored {
            None => self.values.remove(&key).map(|before| before.share(&key)),
            Some(stored) => match self.values.get_mut(&key) {
                Some(place) => Some(std::mem::replace(place, stored).share(&key)),
                None => self.values.insert(key, stored).map(|_| 0),
            },
        };
        self.digest = self.digest.wrapping_add(added).wrapping_sub(removed.unwrap_or(0));
    }

    fn changed(&mut self, revision: Revision, change: Change) {
        self.revision = revision;
        self.history.push(revision, change);
    }

    /// Does a whole transaction, or nothing.
    pub(super) fn transact(
        &mut self,
        revision: Revision,
        transaction: &Transaction,
    ) -> Result<Transacted, Impossible> {
        let matched = transaction.guards.iter().all(|guard| self.is_as_expected(&guard.key, &guard.expected));
        let steps = if matched { &transaction.then } else { &transaction.otherwise };
        let mut draft = Draft::new(self, revision);
        let results = steps.iter().map(|step| draft.take(step)).collect::<Result<_, _>>()?;
        let Draft { staged, changes, size_bytes, .. } = draft;
        staged.into_iter().for_each(|(key, stored)| self.replace(key, stored));
        changes.into_iter().for_each(|change| self.changed(revision, change));
        Ok(Transacted { matched, results, size_bytes })
    }
}

/// A transaction as far as it has come; the data does not know of it yet.
struct Draft<'a> {
    data: &'a Data,
    revision: Revision,
    /// What keys will have.
    staged: BTreeMap<Bytes, Option<Stored>>,
    changes: Vec<Change>,
    /// The bytes that were read.
    size_bytes: usize,
}

impl<'a> Draft<'a> {
    fn new(data: &'a Data, revision: Revision) -> Self {
        Self { data, revision, staged: BTreeMap::new(), changes: Vec::new(), size_bytes: 0 }
    }

    fn get(&self, key: &Bytes) -> Option<&Stored> {
        match self.staged.get(key) {
            Some(staged) => staged.as_ref(),
            None => self.data.get(key),
        }
    }

    fn take(&mut self, step: &Step) -> Result<StepResult, Impossible> {
        match step {
            Step::Read { key } => self.read(key),
            Step::Put { key, value } => {
                let value = Bytes::copy_from_slice(value);
                let version = self.write(key, Value::Raw(value.clone()), What::Put(value));
                Ok(StepResult::Put { version })
            }
            Step::Delete { key } => Ok(StepResult::Deleted { existed: self.delete(key) }),
            Step::Append { key, element } => self.append(key, element),
        }
    }

    fn read(&mut self, key: &Bytes) -> Result<StepResult, Impossible> {
        let found = self.get(key).cloned();
        self.size_bytes += found.as_ref().map_or(0, |stored| stored.value.size_bytes());
        if self.size_bytes > MAX_TRANSACTION_ANSWER_BYTES {
            return Err(Impossible::AnswerTooLarge);
        }
        Ok(StepResult::Read(found))
    }

    fn delete(&mut self, key: &Bytes) -> bool {
        let Some((created, version)) = self.get(key).map(|stored| (stored.created, stored.version)) else {
            return false;
        };
        let key = Bytes::copy_from_slice(key);
        self.staged.insert(key.clone(), None);
        self.changes.push(Change { key, what: What::Deleted, created, version });
        true
    }

    fn append(&mut self, key: &Bytes, element: &Bytes) -> Result<StepResult, Impossible> {
        let mut list = match self.get(key).map(|stored| &stored.value) {
            None => Arc::new(List::default()),
            Some(Value::List(list)) => list.clone(),
            Some(Value::Raw(_)) => return Err(Impossible::NotAList),
        };
        if list.size_with(element) > MAX_VALUE_BYTES {
            return Err(Impossible::ListTooLarge);
        }
        Arc::make_mut(&mut list).push(element);
        let length = list.length();
        self.write(key, Value::List(list), What::Appended(Bytes::copy_from_slice(element)));
        Ok(StepResult::Appended { length })
    }

    /// Stages a value and returns how often the key has been written.
    fn write(&mut self, key: &Bytes, value: Value, what: What) -> u64 {
        let key = Bytes::copy_from_slice(key);
        let stored = Stored::after(self.get(&key), value, self.revision);
        let (created, version) = (stored.created, stored.version);
        self.changes.push(Change { key: key.clone(), what, created, version });
        self.staged.insert(key, Some(stored));
        version
    }
}
