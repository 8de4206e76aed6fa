//! Stale reads, for every object whose state never comes back once it was overwritten.

use std::collections::BTreeMap;

use serde_json::Value;

use super::window::{Phase, Record, Window};

/// What a completed operation means for staleness.
pub(super) enum Role {
    /// It certainly changed the key. `state` is what a read right after it observes, where that is known from this
    /// operation alone and no other operation can bring it about.
    Write {
        /// The key.
        key: usize,
        /// The unique state.
        state: Option<Value>,
    },
    /// It observed the whole state of the key.
    Read {
        /// The key.
        key: usize,
    },
    /// It says nothing.
    Other,
}

/// The first read of the window that can be given a state that had certainly been overwritten, and that state.
///
/// Why it is provable: write `a` made the state `s`, and no other operation ever does. Write `b` was invoked
/// after `a` had returned, and returned before the read was invoked. So `s` had come and, at the latest with
/// `b`, had gone. Unknown operations cannot bring it back.
pub(super) fn stale_read<C>(
    window: &Window<C>,
    from: u64,
    role: impl Fn(&C, &Value) -> Role,
) -> Option<(usize, Value)> {
    let mut keys: BTreeMap<usize, Known> = BTreeMap::new();
    for moment in window.moments() {
        let record = moment.record;
        let Some(observed) = record.observed() else { continue };
        match (moment.phase, role(&record.call, observed)) {
            (Phase::Complete, Role::Write { key, state }) => {
                keys.entry(key).or_default().write_returned(record, state);
            }
            (Phase::Invoke, Role::Read { key }) if record.ordinal >= from => {
                let overwritten = keys.get(&key).and_then(|known| known.overwritten.clone());
                if let Some(state) = overwritten {
                    return Some((moment.at, state));
                }
            }
            _ => {}
        }
    }
    None
}

/// What the returned writes of a key prove.
#[derive(Default)]
struct Known {
    /// The write that was invoked last among those that returned.
    newest: Option<Write>,
    /// A state that has certainly gone.
    overwritten: Option<Value>,
}

struct Write {
    invoked: u64,
    returned: u64,
    state: Option<Value>,
}

impl Known {
    fn write_returned<C>(&mut self, record: &Record<C>, state: Option<Value>) {
        let write = Write { invoked: record.invoked, returned: record.end(), state };
        match &mut self.newest {
            Some(newest) if newest.returned < write.invoked => {
                if let Some(gone) = newest.state.take() {
                    self.overwritten = Some(gone);
                }
                *newest = write;
            }
            Some(newest) if write.invoked < newest.invoked => {}
            newest => *newest = Some(write),
        }
    }
}
