//! JSON values as small numbers: equal numbers exactly when the JSON is equal.
//!
//! Integers of 31 bits are their own number and cost nothing; strings, lists and everything else are kept once. Hashes are
//! never compared instead of values: a verdict must not be a matter of probability.

use std::fmt;
use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use serde_json::Value;

/// A value as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ValueId(pub u32);

/// The bit that marks an integer that is its own number.
const INLINE: u32 = 1 << 31;

impl ValueId {
    /// JSON `null`: nothing was ever written, or there is no value.
    pub const ABSENT: Self = Self(0);
    /// JSON `false`.
    pub const FALSE: Self = Self(1);
    /// JSON `true`.
    pub const TRUE: Self = Self(2);

    /// The number of a small integer.
    pub const fn of_small(integer: i32) -> Option<Self> {
        let bits = integer.cast_unsigned() & !INLINE;
        let id = Self(bits | INLINE);
        if id.small_unchecked() == integer { Some(id) } else { None }
    }

    /// The integer that is its own number.
    pub const fn small(self) -> Option<i32> {
        if self.0 & INLINE == 0 { None } else { Some(self.small_unchecked()) }
    }

    /// Whether it is JSON `null`.
    pub fn is_absent(self) -> bool {
        self == Self::ABSENT
    }

    /// The lower 31 bits with their sign.
    const fn small_unchecked(self) -> i32 {
        (self.0 << 1).cast_signed() >> 1
    }
}

/// What a number in the table stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `null`, `false`, `true`, a large number or a map: its JSON with sorted keys.
    Json,
    /// A string, without quotes.
    Text,
    /// A list of numbers.
    List,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the text or the list begins.
    start: u64,
    len: u32,
    kind: Kind,
}

/// The values of one history.
#[derive(Clone)]
pub struct Values {
    entries: Vec<Entry>,
    text: String,
    lists: Vec<ValueId>,
    lookup: HashTable<u32>,
}

impl Default for Values {
    fn default() -> Self {
        let mut values =
            Self { entries: Vec::new(), text: String::new(), lists: Vec::new(), lookup: HashTable::new() };
        for constant in ["null", "false", "true"] {
            values.intern_text(Kind::Json, constant);
        }
        values
    }
}

impl Values {
    /// The number of a value.
    pub fn intern(&mut self, value: &Value) -> ValueId {
        match value {
            Value::Null => ValueId::ABSENT,
            Value::Bool(false) => ValueId::FALSE,
            Value::Bool(true) => ValueId::TRUE,
            Value::Number(number) => {
                let small = number.as_i64().and_then(|integer| i32::try_from(integer).ok());
                let small = small.and_then(ValueId::of_small);
                small.unwrap_or_else(|| self.intern_text(Kind::Json, &number.to_string()))
            }
            Value::String(text) => self.intern_text(Kind::Text, text),
            Value::Array(elements) => {
                let list: Vec<ValueId> = elements.iter().map(|element| self.intern(element)).collect();
                self.intern_list(&list)
            }
            Value::Object(_) => self.intern_text(Kind::Json, &value.to_string()),
        }
    }

    /// The number of a list.
    pub fn intern_list(&mut self, list: &[ValueId]) -> ValueId {
        let hash = hash_list(list);
        let is_same = |id: &u32| self.list(ValueId(*id)) == Some(list);
        if let Some(id) = self.lookup.find(hash, is_same) {
            return ValueId(*id);
        }
        let start = self.lists.len() as u64;
        self.lists.extend_from_slice(list);
        self.add(hash, Entry { start, len: length(list.len()), kind: Kind::List })
    }

    fn intern_text(&mut self, kind: Kind, text: &str) -> ValueId {
        let hash = hash_text(kind, text);
        let is_same =
            |id: &u32| self.entries[*id as usize].kind == kind && self.slice(ValueId(*id)) == Some(text);
        if let Some(id) = self.lookup.find(hash, is_same) {
            return ValueId(*id);
        }
        let start = self.text.len() as u64;
        self.text.push_str(text);
        self.add(hash, Entry { start, len: length(text.len()), kind })
    }

    fn add(&mut self, hash: u64, entry: Entry) -> ValueId {
        let id = u32::try_from(self.entries.len()).ok().filter(|id| *id < INLINE);
        let id = id.expect("invariant: fewer than 2^31 different values in a history");
        self.entries.push(entry);
        let (entries, text, lists) = (&self.entries, &self.text, &self.lists);
        self.lookup.insert_unique(hash, id, |id| {
            let entry = entries[*id as usize];
            let range = entry.start as usize..entry.start as usize + entry.len as usize;
            match entry.kind {
                Kind::List => hash_list(&lists[range]),
                kind => hash_text(kind, &text[range]),
            }
        });
        ValueId(id)
    }

    /// The value of a number; `None` when it is no number of this table.
    pub fn get(&self, id: ValueId) -> Option<Value> {
        if let Some(integer) = id.small() {
            return Some(Value::from(integer));
        }
        let kind = self.entries.get(id.0 as usize)?.kind;
        match kind {
            Kind::Text => Some(Value::from(self.slice(id)?)),
            Kind::Json => serde_json::from_str(self.slice(id)?).ok(),
            Kind::List => self.list(id)?.iter().map(|element| self.get(*element)).collect(),
        }
    }

    /// The elements of a list.
    pub fn list(&self, id: ValueId) -> Option<&[ValueId]> {
        let entry = self.entry(id).filter(|entry| entry.kind == Kind::List)?;
        self.lists.get(entry.start as usize..entry.start as usize + entry.len as usize)
    }

    /// A string.
    pub fn str(&self, id: ValueId) -> Option<&str> {
        self.entry(id).filter(|entry| entry.kind == Kind::Text)?;
        self.slice(id)
    }

    /// An integer.
    pub fn integer(&self, id: ValueId) -> Option<i64> {
        match id.small() {
            Some(integer) => Some(i64::from(integer)),
            None => self.get(id)?.as_i64(),
        }
    }

    /// A truth value.
    pub fn bool(&self, id: ValueId) -> Option<bool> {
        match id {
            ValueId::TRUE => Some(true),
            ValueId::FALSE => Some(false),
            _ => None,
        }
    }

    /// How many values are kept; integers that are their own number are not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether only the constants are kept.
    pub fn is_empty(&self) -> bool {
        self.len() <= 3
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        let table = self.lookup.capacity() * (size_of::<u32>() + 1);
        let entries = self.entries.capacity() * size_of::<Entry>();
        (table + entries + self.text.capacity() + self.lists.capacity() * size_of::<ValueId>()) as u64
    }

    fn entry(&self, id: ValueId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)
    }

    fn slice(&self, id: ValueId) -> Option<&str> {
        let entry = self.entry(id).filter(|entry| entry.kind != Kind::List)?;
        self.text.get(entry.start as usize..entry.start as usize + entry.len as usize)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("invariant: a line of a history is shorter than 4 GiB")
}

fn hash_text(kind: Kind, text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u8(kind as u8);
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn hash_list(list: &[ValueId]) -> u64 {
    let mut hasher = FxHasher::default();
    list.iter().for_each(|element| hasher.write_u32(element.0));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-3..3_i64).prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[a-c\"\\\\é]{0,3}".prop_map(Value::from),
            (-2.0..2.0).prop_map(|float: f64| Value::from(float)),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-b]", inner, 0..3)
                    .prop_map(|map| Value::from_iter(map.into_iter())),
            ]
        })
    }

    proptest! {
        #[test]
        fn numbers_are_equal_exactly_when_the_json_is(all in proptest::collection::vec(value(), 1..12)) {
            let mut values = Values::default();
            let ids: Vec<ValueId> = all.iter().map(|value| values.intern(value)).collect();
            for (value, id) in all.iter().zip(&ids) {
                let found = values.get(*id);
                prop_assert_eq!(found.as_ref(), Some(value));
                for (other, other_id) in all.iter().zip(&ids) {
                    prop_assert_eq!(value == other, id == other_id);
                }
            }
        }
    }

    #[test]
    fn small_integers_cost_nothing() {
        let mut values = Values::default();
        for integer in [0, 1, -1, 1_000_000_000, -1_073_741_824, 1_073_741_823] {
            let id = values.intern(&json!(integer));
            assert_eq!((id.small(), values.integer(id)), (Some(integer), Some(i64::from(integer))));
        }
        assert!(values.is_empty());
        for integer in [1_073_741_824_i64, -1_073_741_825, i64::MAX] {
            let id = values.intern(&json!(integer));
            assert_eq!((id.small(), values.integer(id)), (None, Some(integer)));
        }
        assert!(!values.is_empty());
    }

    #[test]
    fn numbers_that_were_never_given_have_no_value() {
        let values = Values::default();
        assert_eq!(values.get(ValueId(77)), None);
        assert_eq!(
            (values.get(ValueId::ABSENT), values.bool(ValueId::TRUE)),
            (Some(Value::Null), Some(true))
        );
    }
}
