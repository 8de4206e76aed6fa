//! The strings that many operations share, each kept once: functions, keys, nodes, errors.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// A string as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NameId(pub u32);

impl NameId {
    /// No string.
    pub const NONE: Self = Self(0);
}

/// Strings by number, in the order in which they were met.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
    ends: Vec<u64>,
    lookup: HashTable<u32>,
}

impl Names {
    /// The number of a string.
    pub fn intern(&mut self, name: &str) -> NameId {
        let hash = FxBuildHasher.hash_one(name);
        if let Some(id) = self.lookup.find(hash, |id| self.get(NameId(*id)) == Some(name)) {
            return NameId(*id);
        }
        self.text.push_str(name);
        self.ends.push(self.text.len() as u64);
        let id = u32::try_from(self.ends.len()).expect("invariant: fewer than 2^32 names in a history");
        let (text, ends) = (&self.text, &self.ends);
        let hash_of = |id: &u32| FxBuildHasher.hash_one(slice(text, ends, *id).unwrap_or_default());
        self.lookup.insert_unique(hash, id, hash_of);
        NameId(id)
    }

    /// The number of a string that was met before.
    pub fn find(&self, name: &str) -> Option<NameId> {
        let hash = FxBuildHasher.hash_one(name);
        self.lookup.find(hash, |id| self.get(NameId(*id)) == Some(name)).map(|id| NameId(*id))
    }

    /// The string; `None` for [`NameId::NONE`].
    pub fn get(&self, id: NameId) -> Option<&str> {
        slice(&self.text, &self.ends, id.0)
    }

    /// The largest number that was given.
    pub fn last(&self) -> NameId {
        NameId(self.ends.len() as u32)
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        let table = self.lookup.capacity() * (size_of::<u32>() + 1);
        (self.text.capacity() + self.ends.capacity() * size_of::<u64>() + table) as u64
    }
}

fn slice<'a>(text: &'a str, ends: &[u64], id: u32) -> Option<&'a str> {
    let at = (id as usize).checked_sub(1)?;
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    text.get(start as usize..*ends.get(at)? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_string_has_the_same_number() {
        let mut names = Names::default();
        let (read, empty) = (names.intern("read"), names.intern(""));
        assert_eq!(names.intern("read"), read);
        assert_ne!(read, empty);
        assert_eq!(
            (names.get(read), names.get(empty), names.get(NameId::NONE)),
            (Some("read"), Some(""), None)
        );
        assert_eq!((names.find("read"), names.find("write")), (Some(read), None));
        for i in 0..1000 {
            names.intern(&i.to_string());
        }
        assert_eq!(names.get(names.find("777").unwrap()), Some("777"));
    }
}
