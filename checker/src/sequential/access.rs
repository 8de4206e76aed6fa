//! Histories of registers as reads and writes of names: which write made what was read.
//!
//! A name is a value, where every value of a key is written once, or a version. Keys of which that cannot be said (a value
//! is written twice, or there are appends or deletes) take no part; what is said about the other keys stays true.

use history::{Operations, ValueId};
use rustc_hash::FxHashMap;

use super::problem::{Judgeable, Problem};
use crate::Anomaly;
use crate::narration::{show_value, who};
use crate::sessions::trace::deed;

/// What tells the writes of a key apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Their values.
    Values,
    /// Their versions, which also say in which order they happened.
    Versions,
}

/// An operation by its process and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub session: u32,
    pub index: u32,
}

/// What one operation did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub place: Place,
    /// The name that was read; 0 is the initial one.
    pub read: Option<u64>,
    pub write: Option<u64>,
}

/// The operations of one key that certainly happened.
#[derive(Debug, Default)]
pub(super) struct KeyAccesses {
    pub all: Vec<Access>,
    /// Who wrote a name.
    pub writers: FxHashMap<u64, Place>,
}

/// A history of registers.
pub(super) struct Accesses {
    pub naming: Naming,
    /// How many operations each process has.
    pub lengths: Vec<u32>,
    /// The keys that can be said something about.
    pub keys: Vec<KeyAccesses>,
    /// Processes whose last operation is a write of unknown outcome that nobody needs: its value was not read, and its
    /// key has no compare-and-set, which could have needed that or another value.
    pub unneeded: Vec<u32>,
    /// Reads of values that nobody wrote: positions in the history.
    nowhere: Vec<u32>,
}

/// What is collected about a key.
#[derive(Default)]
struct Draft {
    all: Vec<(Access, bool, u32)>,
    writers: FxHashMap<u64, Place>,
    is_ambiguous: bool,
    has_cas: bool,
    is_foreign: bool,
}

impl Accesses {
    pub(super) fn read<J: Judgeable>(
        problem: &Problem<'_, J>,
        operations: &Operations,
        naming: Naming,
    ) -> Self {
        let cas = operations.names().find("cas");
        let mut drafts: Vec<Draft> = Vec::new();
        drafts.resize_with(problem.keys.len(), Draft::default);
        for (session, items) in problem.sessions.iter().enumerate() {
            for (index, item) in items.iter().enumerate() {
                let place = Place { session: session as u32, index: index as u32 };
                let draft = &mut drafts[item.key as usize];
                draft.has_cas |= Some(operations.function(item.call.position as usize)) == cas;
                match deed(operations, item.call.position as usize, naming == Naming::Versions) {
                    Ok(deed) => {
                        if let Some(name) = deed.write {
                            draft.is_ambiguous |= name == 0 || draft.writers.insert(name, place).is_some();
                        }
                        let access = Access { place, read: deed.read, write: deed.write };
                        draft.all.push((access, item.call.is_certain(), item.call.position));
                    }
                    Err(_) => draft.is_foreign = true,
                }
            }
        }
        let lengths = problem.sessions.iter().map(|session| session.len() as u32).collect();
        let mut accesses =
            Self { naming, lengths, keys: Vec::new(), unneeded: Vec::new(), nowhere: Vec::new() };
        drafts.into_iter().for_each(|draft| accesses.add(draft));
        accesses
    }

    fn add(&mut self, draft: Draft) {
        if draft.is_foreign {
            return;
        }
        let read: rustc_hash::FxHashSet<u64> =
            draft.all.iter().filter_map(|(access, _, _)| access.read).collect();
        if self.naming == Naming::Values {
            let unknown = draft.all.iter().filter(|(access, _, _)| {
                access.read.is_some_and(|name| name != 0 && !draft.writers.contains_key(&name))
            });
            self.nowhere.extend(unknown.map(|(_, _, position)| *position));
        }
        if draft.is_ambiguous {
            return;
        }
        // A write of unknown outcome has happened when its value was read.
        let (happened, unseen): (Vec<_>, Vec<_>) = draft.all.iter().partition(|(access, is_certain, _)| {
            *is_certain || access.write.is_some_and(|name| read.contains(&name))
        });
        if self.naming == Naming::Values && !draft.has_cas {
            self.unneeded.extend(unseen.iter().map(|(access, _, _)| access.place.session));
        }
        let all = happened.iter().map(|(access, _, _)| *access).collect();
        self.keys.push(KeyAccesses { all, writers: draft.writers });
    }

    /// A read of a value that nobody wrote, in words.
    pub(super) fn read_from_nowhere<J: Judgeable>(
        &self,
        problem: &Problem<'_, J>,
        operations: &Operations,
    ) -> Option<Anomaly> {
        let at = *self.nowhere.iter().min()?;
        let operation = operations.get(at as usize);
        let item = problem.sessions.iter().flatten().find(|item| item.call.position == at)?;
        let name = deed(operations, at as usize, false).ok()?.read?;
        let place = operation.key.as_ref().map_or_else(String::new, |key| format!("key {key}: "));
        let call = crate::linearizable::object::Object::show_call(problem.object(), &item.call);
        let value = show_value(operations.values(), ValueId(name as u32));
        Some(Anomaly {
            id: String::new(),
            kind: super::explain::KIND.to_owned(),
            explanation: format!("{place}{} completed `{call}`, but nobody wrote {value}.", who(&operation)),
            operations: vec![operation.index],
            key: operation.key,
            details: Vec::new(),
        })
    }
}
