//! What objects tell the search about operations holds in every state that histories lead to: effects, parts, what may be
//! left out, what follows from other results, and where the past may have led.

use history::{Nanos, Operation, Operations, Outcome, ValueId};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use serde_json::{Value, json};

use super::toys::{cases, lie, moves, play};
use crate::Spec;
use crate::linearizable::calls::matters;
use crate::linearizable::object::{CallOf, Object, Removal, Shortcut, Step};
use crate::linearizable::objects::append_list::AppendListObject;
use crate::linearizable::objects::collection::CollectionObject;
use crate::linearizable::objects::counter::CounterObject;
use crate::linearizable::objects::kv::KvObject;
use crate::linearizable::objects::mutex::MutexObject;
use crate::linearizable::objects::register::RegisterObject;
use crate::linearizable::objects::set::SetObject;
use crate::linearizable::objects::versioned::VersionedObject;
use crate::linearizable::orders::{Orders, orders};
use crate::linearizable::partition::split;
use crate::model::Effect;
use crate::model::collection::{AnyOrder, FirstIn, LastIn};
use crate::rows::{Rows, operation};

/// The most operations of a history.
const MAX_OPERATIONS: usize = 9;

/// The most states that an object is taken to.
const MAX_STATES: usize = 40;

/// The most states from which orders are looked for.
const MAX_STARTS: usize = 8;

/// How often a hint was given and could have been wrong.
#[derive(Debug, Default)]
struct Seen {
    pure: u32,
    overwrite: u32,
    pairs_of_parts: u32,
    removed: u32,
    simplified: u32,
    starts: u32,
    legal_by_shortcut: u32,
    illegal_by_shortcut: u32,
}

/// Tests every hint about the operations of a history.
fn test<O: Object>(object: &O, operations: &Operations, seen: &mut Seen) -> Result<(), TestCaseError> {
    parts_are_independent(object, operations, seen)?;
    for partition in split(object, operations).unwrap() {
        let calls = partition.calls(object, operations);
        let states = reached(object, &calls);
        effects_hold(object, &calls, &states, seen)?;
        let late = &calls[calls.len() / 2..];
        for start in [object.initial()].iter().chain(object.any_start(&calls).iter().take(MAX_STARTS)) {
            for some in [&calls, late] {
                what_is_removable_never_helps(object, some, start, seen)?;
                simple_calls_are_as_good(object, some, start, seen)?;
            }
        }
        some_start_is_as_good_as_any_past(object, &calls, &states, seen)?;
        shortcut_is_right(object, &calls, seen)?;
    }
    Ok(())
}

/// Every operation with every result, also of another operation, and with an unknown one.
fn steps<O: Object>(calls: &[CallOf<O>]) -> Vec<Step<O>> {
    let results = || calls.iter().map(|call| call.ret.clone()).chain([None]);
    calls.iter().flat_map(|call| results().map(|ret| Step { op: call.op.clone(), ret })).collect()
}

/// States that the operations lead to, one after another, with results of any of them.
fn reached<O: Object>(object: &O, calls: &[CallOf<O>]) -> Vec<O::State> {
    let steps = steps::<O>(calls);
    let mut states = vec![object.initial()];
    let mut at = 0;
    while at < states.len() && states.len() < MAX_STATES {
        for step in &steps {
            let next = object.step(&states[at], &step.op, step.ret.as_ref());
            states.extend(next.filter(|next| !states.contains(next)));
        }
        at += 1;
    }
    states
}

fn effects_hold<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    states: &[O::State],
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    for Step { op, ret } in steps::<O>(calls) {
        let after = |state| object.step(state, &op, ret.as_ref());
        match object.effect(&op, ret.as_ref()) {
            Effect::Pure => {
                for state in states {
                    let next = after(state);
                    seen.pure += u32::from(next.is_some());
                    prop_assert!(
                        next.is_none_or(|next| next == *state),
                        "{:?} {:?} changes {:?}",
                        op,
                        ret,
                        state
                    );
                }
            }
            Effect::Overwrite => {
                let first = after(&states[0]);
                seen.overwrite += u32::from(states.len() > 1);
                for state in states {
                    prop_assert!(after(state).is_some(), "{:?} {:?} is impossible in {:?}", op, ret, state);
                    prop_assert!(after(state) == first, "{:?} {:?} depends on {:?}", op, ret, state);
                }
            }
            Effect::General => {}
        }
    }
    Ok(())
}

/// Operations on different parts neither see nor disturb each other.
fn parts_are_independent<O: Object>(
    object: &O,
    operations: &Operations,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let of_part = |at: usize| (object.part(operations, at), object.translate(operations, at).unwrap());
    let steps: Vec<(ValueId, Step<O>)> = (0..operations.len()).map(of_part).collect();
    let after = |state: &O::State, step: &Step<O>| object.step(state, &step.op, step.ret.as_ref());
    let mut states = vec![object.initial()];
    for at in 0..MAX_STATES {
        let Some(state) = states.get(at).cloned() else { break };
        states.extend(steps.iter().filter_map(|(_, step)| after(&state, step)));
        states.truncate(MAX_STATES);
        for (part, step) in &steps {
            for (_, other) in steps.iter().filter(|(other, _)| other != part) {
                seen.pairs_of_parts += 1;
                let between = after(&state, other);
                let after_other = between.as_ref().and_then(|between| after(between, step));
                let before_other = after(&state, step).and_then(|next| after(&next, other));
                prop_assert!(
                    before_other == after_other,
                    "{:?} and {:?} meet in {:?}",
                    step.op,
                    other.op,
                    state
                );
                let is_possible = after(&state, step).is_some();
                prop_assert!(
                    between.is_none_or(|between| after(&between, step).is_some() == is_possible),
                    "{:?} sees {:?} in {:?}",
                    step.op,
                    other.op,
                    state
                );
            }
        }
    }
    Ok(())
}

/// Whether some order explains the calls; rejects histories with too many orders.
fn is_legal<O: Object>(object: &O, calls: &[CallOf<O>], start: &O::State) -> Result<bool, TestCaseError> {
    match orders(object, calls, std::slice::from_ref(start), 0) {
        Some(found) => Ok(found == Orders::Explained),
        None => Err(TestCaseError::reject("too many orders")),
    }
}

fn what_is_removable_never_helps<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    start: &O::State,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    if !is_legal(object, calls, start)? {
        return Ok(());
    }
    let removable = object.removable(calls);
    let rest = |goes: &dyn Fn(usize) -> bool| -> Vec<CallOf<O>> {
        (0..calls.len()).filter(|at| !goes(*at)).map(|at| calls[at].clone()).collect()
    };
    let mut rests: Vec<Vec<CallOf<O>>> = Vec::new();
    for (at, removal) in removable.iter().enumerate() {
        match removal {
            Removal::Kept => {}
            Removal::Alone => rests.push(rest(&|other| other == at)),
            Removal::Together(_) => rests.push(rest(&|other| removable[other] == *removal)),
        }
    }
    rests.push(rest(&|at| removable[at] == Removal::Alone));
    rests.push(rest(&|at| removable[at] != Removal::Kept));
    for rest in rests.iter().filter(|rest| rest.len() < calls.len()) {
        seen.removed += 1;
        prop_assert!(
            is_legal(object, rest, start)?,
            "from {:?}, {:?} became illegal: {:?}",
            start,
            calls,
            rest
        );
    }
    Ok(())
}

fn simple_calls_are_as_good<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    start: &O::State,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let mut simple = calls.to_vec();
    object.simplify(&mut simple, start);
    if simple != calls {
        seen.simplified += 1;
        let (before, after) = (is_legal(object, calls, start)?, is_legal(object, &simple, start)?);
        prop_assert!(before == after, "from {:?}, {} not {}: {:?}", start, after, before, calls);
    }
    Ok(())
}

/// Of the later calls, those that some state explains are explained by one that has to be tried.
fn some_start_is_as_good_as_any_past<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    states: &[O::State],
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let mut late = calls[calls.len() / 2..].to_vec();
    late.retain(|call| matters(object, call));
    let starts = object.any_start(&late);
    for start in &starts {
        if is_legal(object, &late, start)? {
            return Ok(());
        }
    }
    for state in states.iter().filter(|_| !starts.is_empty()) {
        seen.starts += 1;
        let is_legal = is_legal(object, &late, state)?;
        prop_assert!(!is_legal, "{:?} is not in {:?} for {:?}", state, starts, late);
    }
    Ok(())
}

fn shortcut_is_right<O: Object>(
    object: &O,
    calls: &[CallOf<O>],
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let start = object.initial();
    let mut simple = calls.to_vec();
    object.simplify(&mut simple, &start);
    match object.shortcut(&simple, &mut || true) {
        None => {}
        Some(Shortcut::Legal) => {
            seen.legal_by_shortcut += 1;
            prop_assert!(is_legal(object, calls, &start)?, "no order explains {:?}", calls);
        }
        Some(Shortcut::Illegal(proof)) => {
            seen.illegal_by_shortcut += 1;
            prop_assert!(!is_legal(object, calls, &start)?, "some order explains {:?}", calls);
            prop_assert!(
                !is_legal(object, &proof, &start)?,
                "some order explains {:?} of {:?}",
                proof,
                calls
            );
        }
    }
    Ok(())
}

fn test_model(spec: Spec, operations: &Operations, seen: &mut Seen) -> Result<(), TestCaseError> {
    match spec {
        Spec::Register => test(&RegisterObject::new(operations), operations, seen),
        Spec::VersionedRegister => test(&VersionedObject::new(operations), operations, seen),
        Spec::Kv => test(&KvObject::new(operations), operations, seen),
        Spec::Set => test(&SetObject::new(operations), operations, seen),
        Spec::Counter => test(&CounterObject, operations, seen),
        Spec::Queue => test(&CollectionObject::<FirstIn>::new(operations), operations, seen),
        Spec::UnorderedQueue => test(&CollectionObject::<AnyOrder>::new(operations), operations, seen),
        Spec::Stack => test(&CollectionObject::<LastIn>::new(operations), operations, seen),
        Spec::Mutex => test(&MutexObject, operations, seen),
        Spec::AppendList => test(&AppendListObject::new(operations), operations, seen),
    }
}

/// Tests the hints of a model on random histories.
fn seen_in(spec: Spec) -> Seen {
    let config = ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    let lied = proptest::option::weighted(0.5, (0..20_usize, 0..20_usize));
    let seen = std::cell::RefCell::new(Seen::default());
    let outcome = TestRunner::new(config).run(&(moves(), lied), |(moves, lied)| {
        let mut rows = play(spec, &moves);
        rows.operations.truncate(MAX_OPERATIONS);
        if let Some((which, whose)) = lied {
            lie(&mut rows, which, whose);
        }
        test_model(spec, &rows.history().operations, &mut seen.borrow_mut())
    });
    match outcome {
        Ok(()) => seen.into_inner(),
        Err(TestError::Fail(reason, (moves, _))) => panic!("{spec}: {reason}, after {} moves", moves.len()),
        Err(error) => panic!("{spec}: {error}"),
    }
}

#[test]
fn hints_of_every_model_hold_wherever_histories_lead() {
    for spec in Spec::ALL {
        let seen = seen_in(spec);
        assert!(seen.pure > 0, "{spec}: {seen:?}");
        assert!(seen.removed > 0, "{spec}: {seen:?}");
        assert_eq!(seen.overwrite > 0, matches!(spec, Spec::Register | Spec::Kv), "{spec}: {seen:?}");
        assert_eq!(seen.pairs_of_parts > 0, spec == Spec::Set, "{spec}: {seen:?}");
        let simplifies =
            matches!(spec, Spec::Register | Spec::VersionedRegister | Spec::Kv | Spec::AppendList);
        assert_eq!(seen.simplified > 0, simplifies, "{spec}: {seen:?}");
        let has_starts = matches!(spec, Spec::Register | Spec::Kv | Spec::Mutex);
        // Most keys of sets are read as a whole here, and then every state would have to be tried.
        assert!(spec == Spec::Set || has_starts == (seen.starts > 0), "{spec}: {seen:?}");
        // Histories of gets and puts alone, which the shortcut of a key is about, are rare here.
        let proves = spec == Spec::Kv || (seen.illegal_by_shortcut > 0) == (spec != Spec::Mutex);
        assert!(proves, "{spec}: {seen:?}");
        let proves_legal = !matches!(spec, Spec::Counter | Spec::Mutex);
        assert_eq!(seen.legal_by_shortcut > 0, proves_legal, "{spec}: {seen:?}");
    }
}

/// The acquire of unknown outcome took token 6, so the past did not end with it, whatever the later operations tell.
#[test]
fn past_of_a_lock_may_end_long_before_the_smallest_token() {
    let told = [
        ("acquire", json!(1)),
        ("release", Value::Null),
        ("acquire", json!(5)),
        ("release", Value::Null),
        ("acquire", Value::Null),
        ("release", Value::Null),
        ("acquire", json!(7)),
    ];
    let mut rows = Rows::default();
    for (at, (f, output)) in (0_u64..).zip(told) {
        let call = Nanos(10 * at);
        rows.operations.push(Operation {
            output,
            call,
            ret: Some(call + Nanos(5)),
            outcome: Outcome::Ok,
            ..operation(at, at as u32, f, Value::Null)
        });
    }
    (rows.operations[4].ret, rows.operations[4].outcome) = (None, Outcome::Info);
    let mut seen = Seen::default();
    test_model(Spec::Mutex, &rows.history().operations, &mut seen).unwrap();
}
