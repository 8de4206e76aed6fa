//! What every process did, as calls of an object, in the order of the process.

use history::{NameId, Operations, Outcome};
use rustc_hash::FxHashMap;

use crate::CheckError;
use crate::linearizable::calls::{Call, matters};
use crate::linearizable::completion;
use crate::linearizable::object::{CallOf, Object};
use crate::model::Effect;

/// The state of an object.
pub(super) type StateOf<J> = <<J as Judgeable>::Object as Object>::State;
/// What a client asks of it.
pub(super) type OpOf<J> = <<J as Judgeable>::Object as Object>::Op;
/// What a client observes.
pub(super) type RetOf<J> = <<J as Judgeable>::Object as Object>::Ret;

/// An object together with what an operation of unknown outcome may have observed when it happened.
pub(super) trait Judgeable {
    /// The object.
    type Object: Object;

    /// The object.
    fn object(&self) -> &Self::Object;

    /// The results to try for an operation of unknown result in a state; `None` leaves the choice to the model.
    fn results(&self, _state: &StateOf<Self>, _op: &OpOf<Self>) -> Vec<Option<RetOf<Self>>> {
        vec![None]
    }
}

/// An object whose operations do the same whatever they observe.
pub(super) struct Plain<O>(pub O);

impl<O: Object> Judgeable for Plain<O> {
    type Object = O;

    fn object(&self) -> &O {
        &self.0
    }
}

/// One operation of a process.
pub(super) struct Item<O: Object> {
    pub call: CallOf<O>,
    /// The number of its key in [`Problem::keys`].
    pub key: u32,
    /// Whether it changes nothing wherever it is possible.
    pub is_pure: bool,
}

/// All processes of a history.
pub(super) struct Problem<'a, J: Judgeable> {
    pub judgeable: &'a J,
    /// Per process its operations, without those that cannot matter. One of unknown outcome is the last.
    pub sessions: Vec<Vec<Item<J::Object>>>,
    pub keys: Vec<NameId>,
}

impl<'a, J: Judgeable> Problem<'a, J> {
    pub(super) fn read(judgeable: &'a J, operations: &Operations) -> Result<Self, CheckError> {
        let object = judgeable.object();
        let mut problem = Self { judgeable, sessions: Vec::new(), keys: Vec::new() };
        let mut keys: FxHashMap<NameId, u32> = FxHashMap::default();
        let mut processes = FxHashMap::default();
        for at in 0..operations.len() {
            let step = object.translate(operations, at)?;
            let end = completion(operations, at)?;
            let call = Call::new(at as u32, step.op, step.ret, operations.call(at), end);
            let outcome = operations.outcome(at);
            if outcome == Outcome::Fail || !matters(object, &call) {
                continue;
            }
            let name = operations.key(at);
            let key = *keys.entry(name).or_insert_with(|| {
                problem.keys.push(name);
                problem.keys.len() as u32 - 1
            });
            let session = *processes.entry(operations.process(at)).or_insert_with(|| {
                problem.sessions.push(Vec::new());
                problem.sessions.len() - 1
            });
            let is_pure = object.effect(&call.op, call.ret.as_ref()) == Effect::Pure;
            problem.sessions[session].push(Item { call, key, is_pure });
            if outcome == Outcome::Info {
                processes.remove(&operations.process(at));
            }
        }
        Ok(problem)
    }

    pub(super) fn object(&self) -> &'a J::Object {
        self.judgeable.object()
    }

    /// The operations of every key alone, as places in the sessions.
    pub(super) fn places_by_key(&self) -> Vec<Vec<(u32, u32)>> {
        let mut places = vec![Vec::new(); self.keys.len()];
        for (session, items) in self.sessions.iter().enumerate() {
            for (index, item) in items.iter().enumerate() {
                places[item.key as usize].push((session as u32, index as u32));
            }
        }
        places
    }

    /// The operations of one key alone, which are at these places.
    pub(super) fn of_key(&self, key: u32, places: &[(u32, u32)]) -> Self {
        let item = |(session, index): &(u32, u32)| {
            let item = &self.sessions[*session as usize][*index as usize];
            Item { call: item.call.clone(), key: 0, is_pure: item.is_pure }
        };
        let sessions = places.chunk_by(|one, other| one.0 == other.0);
        let sessions = sessions.map(|places| places.iter().map(item).collect()).collect();
        Self { judgeable: self.judgeable, sessions, keys: vec![self.keys[key as usize]] }
    }

    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.iter().map(Vec::len).sum()
    }

    /// The operations of the key that has most.
    pub(super) fn longest_key(&self) -> usize {
        let mut counts = vec![0; self.keys.len()];
        self.sessions.iter().flatten().for_each(|item| counts[item.key as usize] += 1);
        counts.into_iter().max().unwrap_or(0)
    }

    /// What it holds, in bytes, with the object and the places of all operations by key.
    pub(super) fn bytes(&self) -> u64 {
        let items: usize = self.sessions.iter().map(Vec::capacity).sum();
        let keys = self.keys.capacity() * size_of::<NameId>();
        self.bytes_of(items) + (2 * items * size_of::<(u32, u32)>() + keys) as u64 + self.object().bytes()
    }

    /// What some operations hold, in bytes.
    pub(super) fn bytes_of(&self, items: usize) -> u64 {
        (items * size_of::<Item<J::Object>>()) as u64
    }
}
