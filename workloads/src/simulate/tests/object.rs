//! The sequential objects once more, over what histories record: an operation with its observation leads from a state
//! to the states that are possible then.

use std::collections::{BTreeMap, BTreeSet};

use checker::Spec;
use history::{Event, EventKind};
use serde_json::{Value, json};

use super::recorded::{Recorded, Told};
use crate::simulate::SimulatedModel;

/// One key of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Register(Option<u64>),
    /// `exact` is false after a change of unknown outcome: the version is larger than that.
    Versioned {
        value: Option<u64>,
        version: u64,
        exact: bool,
    },
    Text(Option<String>),
    Set(BTreeSet<u64>),
    Sum(i64),
    Queue(Vec<u64>),
    Bag(BTreeSet<u64>),
    Stack(Vec<u64>),
    Lock {
        held: bool,
        token: u64,
    },
    List(Vec<u64>),
}

pub(super) fn initial(model: SimulatedModel) -> State {
    match model {
        SimulatedModel::Of(Spec::Register) | SimulatedModel::CasRegister => State::Register(None),
        SimulatedModel::Of(Spec::VersionedRegister) => {
            State::Versioned { value: None, version: 0, exact: true }
        }
        SimulatedModel::Of(Spec::Kv) => State::Text(None),
        SimulatedModel::Of(Spec::Set) => State::Set(BTreeSet::new()),
        SimulatedModel::Of(Spec::Counter) => State::Sum(0),
        SimulatedModel::Of(Spec::Queue) => State::Queue(Vec::new()),
        SimulatedModel::Of(Spec::UnorderedQueue) => State::Bag(BTreeSet::new()),
        SimulatedModel::Of(Spec::Stack) => State::Stack(Vec::new()),
        SimulatedModel::Of(Spec::Mutex) => State::Lock { held: false, token: 0 },
        SimulatedModel::Of(Spec::AppendList) => State::List(Vec::new()),
    }
}

/// The states after an operation; none when it cannot observe that. `None` is an unknown observation.
pub(super) fn step(state: &State, f: &str, argument: &Value, observed: Option<&Value>) -> Vec<State> {
    let mut next = Vec::new();
    let mut may = |answer: Value, state: State| {
        if observed.is_none_or(|observed| *observed == answer) {
            next.push(state);
        }
    };
    match (state.clone(), f) {
        (State::Register(value), "read") => may(json!(value), state.clone()),
        (State::Register(_), "write") => may(Value::Null, State::Register(argument.as_u64())),
        (State::Register(value), "cas") if json!(value) == argument[0] => {
            may(json!(true), State::Register(argument[1].as_u64()));
        }
        (State::Register(_), "cas") => may(json!(false), state.clone()),
        (State::Text(text), "get") => may(json!(text), state.clone()),
        (State::Text(_), "put") => may(Value::Null, State::Text(string(argument))),
        (State::Text(text), "append") => {
            let longer = text.unwrap_or_default() + argument.as_str().expect("a string");
            may(Value::Null, State::Text(Some(longer)));
        }
        (State::Text(text), "cas") if json!(text) == argument[0] => {
            may(json!(true), State::Text(string(&argument[1])));
        }
        (State::Text(_), "cas") => may(json!(false), state.clone()),
        (State::Text(_), "delete") => may(Value::Null, State::Text(None)),
        (State::Set(mut elements), "add") => {
            elements.insert(number(argument));
            may(Value::Null, State::Set(elements));
        }
        (State::Set(mut elements), "remove") => {
            elements.remove(&number(argument));
            may(Value::Null, State::Set(elements));
        }
        (State::Set(elements), "contains") => {
            may(json!(elements.contains(&number(argument))), state.clone());
        }
        (State::Sum(sum), "read") => may(json!(sum), state.clone()),
        (State::Sum(sum), "add") => {
            may(Value::Null, State::Sum(sum + argument.as_i64().expect("an integer")))
        }
        (State::List(elements), "read") => may(json!(elements), state.clone()),
        (State::List(mut elements), "append") => {
            elements.push(number(argument));
            may(Value::Null, State::List(elements));
        }
        (State::Queue(_) | State::Bag(_) | State::Stack(_), _) => {
            return collection(state, f, argument, observed);
        }
        (State::Versioned { .. }, _) => return versioned(state, f, argument, observed),
        (State::Lock { held, token }, _) => return lock(held, token, f, observed),
        (state, f) => panic!("{state:?} has no function {f}"),
    }
    next
}

fn collection(state: &State, f: &str, argument: &Value, observed: Option<&Value>) -> Vec<State> {
    let mut after = state.clone();
    let removed = match (&mut after, f) {
        (State::Queue(elements), "enqueue") | (State::Stack(elements), "push") => {
            elements.push(number(argument));
            return vec![after];
        }
        (State::Bag(elements), "enqueue") => {
            elements.insert(number(argument));
            return vec![after];
        }
        (State::Bag(elements), "dequeue") if !elements.is_empty() => {
            let fits = |element: &&u64| observed.is_none_or(|observed| *observed == **element);
            return elements.iter().filter(fits).map(|element| without(elements, *element)).collect();
        }
        (State::Queue(elements), "dequeue") => (!elements.is_empty()).then(|| elements.remove(0)),
        (State::Stack(elements), "pop") => elements.pop(),
        (State::Bag(_), "dequeue") => None,
        (state, f) => panic!("{state:?} has no function {f}"),
    };
    if observed.is_none_or(|observed| *observed == json!(removed)) { vec![after] } else { Vec::new() }
}

fn without(elements: &BTreeSet<u64>, element: u64) -> State {
    State::Bag(elements.iter().copied().filter(|other| *other != element).collect())
}

fn versioned(state: &State, f: &str, argument: &Value, observed: Option<&Value>) -> Vec<State> {
    let State::Versioned { value, version, exact } = *state else { unreachable!("called for versions only") };
    // A change after a change of unknown version is at least one further.
    let below_next = if exact { version } else { version + 1 };
    let is = |found: u64| if exact { found == version } else { found > version };
    let changed = |value: &Value, version| State::Versioned { value: value.as_u64(), version, exact: true };
    let somehow = |value: &Value, version| State::Versioned { value: value.as_u64(), version, exact: false };
    match (f, observed) {
        ("read", None) => vec![state.clone()],
        ("read", Some(found)) if found[0] == json!(value) && is(number(&found[1])) => {
            vec![changed(&found[0], number(&found[1]))]
        }
        ("write", None) => vec![somehow(argument, below_next)],
        ("write", Some(found)) if number(found) > below_next => vec![changed(argument, number(found))],
        ("cas", None) if is(number(&argument[0])) => {
            vec![state.clone(), somehow(&argument[1], number(&argument[0]))]
        }
        ("cas", None) => vec![state.clone()],
        ("cas", Some(Value::Bool(false))) if !exact || !is(number(&argument[0])) => vec![state.clone()],
        ("cas", Some(Value::Number(found))) if is(number(&argument[0])) => {
            let found = found.as_u64().expect("a version");
            if found > number(&argument[0]) { vec![changed(&argument[1], found)] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

fn lock(held: bool, token: u64, f: &str, observed: Option<&Value>) -> Vec<State> {
    let taken = |token| State::Lock { held: true, token };
    match (f, observed) {
        ("acquire", None) => vec![taken(token)],
        ("acquire", Some(Value::Bool(false))) if held => vec![taken(token)],
        ("acquire", Some(Value::Number(given))) if !held && given.as_u64() > Some(token) => {
            vec![taken(given.as_u64().expect("a token"))]
        }
        ("release", None | Some(Value::Null)) if held => vec![State::Lock { held: false, token }],
        _ => Vec::new(),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn string(value: &Value) -> Option<String> {
    Some(value.as_str().expect("a string").to_owned())
}

/// Replays the effects, and checks that each falls between its invocation and its return, and that what was recorded
/// is what was observed.
pub(super) fn replay(model: SimulatedModel, recorded: &Recorded) {
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    let mut observed: BTreeMap<u64, &Value> = BTreeMap::new();
    let mut open: BTreeMap<u32, &Event> = BTreeMap::new();
    for told in &recorded.told {
        match told {
            Told::Effect(index, truth) => {
                let invocation = &recorded.events[usize::try_from(*index).unwrap()];
                let key = invocation.key.as_deref().unwrap();
                let state = states.entry(key).or_insert_with(|| initial(model));
                let next = step(state, &invocation.f, &invocation.value, Some(truth));
                assert_eq!(next.len(), 1, "{model}: {invocation:?} observes {truth} in {state:?}");
                *state = next.into_iter().next().unwrap();
                assert_eq!(
                    observed.insert(*index, truth),
                    None,
                    "{model}: {invocation:?} takes effect twice"
                );
            }
            Told::Event(at) => {
                let event = &recorded.events[*at];
                if event.kind == EventKind::Invoke {
                    open.insert(event.process.0, event);
                } else if event.kind == EventKind::Ok {
                    let index = open[&event.process.0].index;
                    assert_eq!(observed.get(&index), Some(&&event.value), "{model}: {event:?}");
                }
            }
        }
    }
}
