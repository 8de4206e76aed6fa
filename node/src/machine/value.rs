//! What a key has: a value or a list, and since when.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::codec::{DecodeError, Reader, put_bytes};
use crate::raft::Index;

/// A state of the data: the index of the entry that made it. Revisions grow and have gaps, because not every entry
/// changes data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Revision(pub(crate) u64);

impl Revision {
    /// The earliest revision after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<Index> for Revision {
    fn from(index: Index) -> Self {
        Self(index.0)
    }
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Bytes that nobody looks into.
    Raw(Bytes),
    /// What was appended, in that order. Shared with answers that show it.
    List(Arc<List>),
}

/// The elements of a list, each with its length in front: a list that is shared is copied when it grows, and this copies fast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    encoded: Vec<u8>,
    length: u64,
    digest: u32,
}

impl List {
    /// How many elements there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn elements(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.encoded[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (element, next) = after.split_at(u32::from_le_bytes(*length) as usize);
            rest = next;
            Some(element)
        })
    }

    /// What the list would count for with one more element.
    pub(crate) fn size_with(&self, element: &[u8]) -> usize {
        self.encoded.len() + size_of::<u32>() + element.len()
    }

    pub(crate) fn push(&mut self, element: &[u8]) {
        let start = self.encoded.len();
        put_bytes(&mut self.encoded, element);
        let mut digest = crc32fast::Hasher::new_with_initial(self.digest);
        digest.update(&self.encoded[start..]);
        self.digest = digest.finalize();
        self.length += 1;
    }
}

impl Value {
    /// The bytes that it counts for in answers.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Value::Raw(bytes) => bytes.len(),
            Value::List(list) => list.encoded.len(),
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Value::Raw(bytes) => u64::from(crc32fast::hash(bytes)),
            Value::List(list) => u64::from(list.digest) | 1 << 32,
        }
    }
}

/// A value and its history in three numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    /// When the key came to be, after it was absent.
    pub(crate) created: Revision,
    /// When it last changed.
    pub(crate) modified: Revision,
    /// How often it was written since it came to be, from 1.
    pub(crate) version: u64,
    digest: u64,
}

impl Stored {
    /// A value that replaces `before` at `revision`.
    pub(crate) fn after(before: Option<&Stored>, value: Value, revision: Revision) -> Self {
        let (created, version) = before.map_or((revision, 1), |stored| (stored.created, stored.version + 1));
        Self { digest: value.digest(), value, created, modified: revision, version }
    }

    /// What this key adds to the digest of all keys, whose order must not matter.
    pub(crate) fn share(&self, key: &[u8]) -> u64 {
        let words = [crc32fast::hash(key).into(), self.digest, self.created.0, self.modified.0, self.version];
        words.into_iter().fold(0, |hash, word: u64| mix(hash ^ word))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        [self.created.0, self.modified.0, self.version].into_iter().for_each(|number| out.put_u64_le(number));
        put_value(out, &self.value);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (created, modified, version) = (Revision(reader.u64()?), Revision(reader.u64()?), reader.u64()?);
        let value = read_value(reader)?;
        Ok(Self { digest: value.digest(), value, created, modified, version })
    }
}

/// The finalizer of splitmix64: every bit of the input changes half of the output.
pub(super) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const RAW: u8 = 1;
const LIST: u8 = 2;

pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Raw(bytes) => {
            out.put_u8(RAW);
            put_bytes(out, bytes);
        }
        Value::List(list) => {
            out.put_u8(LIST);
            out.put_u64_le(list.length);
            out.put_slice(&list.encoded);
        }
    }
}

/// Copies, so that a value does not keep the whole of what it was read from in memory.
pub(super) fn read_value(reader: &mut Reader) -> Result<Value, DecodeError> {
    match reader.u8()? {
        RAW => Ok(Value::Raw(Bytes::copy_from_slice(&reader.bytes()?))),
        LIST => {
            let mut list = List::default();
            for _ in 0..reader.u64()? {
                list.push(&reader.bytes()?);
            }
            Ok(Value::List(Arc::new(list)))
        }
        code => Err(DecodeError::UnknownCode { what: "value", code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(elements: &[&'static str]) -> Value {
        let mut list = List::default();
        elements.iter().for_each(|element| list.push(element.as_bytes()));
        Value::List(Arc::new(list))
    }

    fn raw(text: &'static str) -> Value {
        Value::Raw(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn version_counts_writes_and_creation_stays() {
        let first = Stored::after(None, raw("a"), Revision(3));
        let second = Stored::after(Some(&first), raw("b"), Revision(9));
        assert_eq!((first.created, first.modified, first.version), (Revision(3), Revision(3), 1));
        assert_eq!((second.created, second.modified, second.version), (Revision(3), Revision(9), 2));
    }

    #[test]
    fn share_tells_values_keys_and_revisions_apart() {
        let share =
            |key: &str, value, revision| Stored::after(None, value, Revision(revision)).share(key.as_bytes());
        let all = [
            share("k", raw("a"), 1),
            share("k", raw("b"), 1),
            share("k", raw("a"), 2),
            share("l", raw("a"), 1),
            share("k", list(&["a"]), 1),
            share("k", list(&["ab", "c"]), 1),
            share("k", list(&["a", "bc"]), 1),
            share("k", list(&[]), 1),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(!all[position + 1..].contains(one), "number {position}");
        }
    }

    #[test]
    fn stored_value_survives_its_encoding() {
        for value in [raw(""), raw("a"), list(&[]), list(&["", "x", "yz"])] {
            let stored = Stored::after(None, value, Revision(7));
            let mut out = Vec::new();
            stored.encode(&mut out);
            let mut reader = Reader::new(out.into());
            assert_eq!(Stored::decode(&mut reader), Ok(stored));
            assert_eq!(reader.finish(), Ok(()));
        }
    }
}
