//! The reasons why violations are provable, checked on the recorded operations alone, unknown ones included.

use checker::Spec;
use serde_json::{Value, json};

use super::recorded::Operation;
use crate::simulate::{SimulatedModel, Violation};

/// Whether the falsified operations contradict others.
pub(super) fn holds(model: SimulatedModel, operations: &[Operation], violation: &Violation) -> bool {
    let find = |index: &u64| operations.iter().find(|operation| operation.index == *index).unwrap();
    let liars: Vec<&Operation> = violation.operations.iter().map(find).collect();
    let of_key = |operation: &&Operation| operation.key == liars[0].key;
    let operations: Vec<&Operation> = operations.iter().filter(of_key).collect();
    match (model, liars.as_slice()) {
        (
            SimulatedModel::Of(Spec::Register)
            | SimulatedModel::Of(Spec::VersionedRegister)
            | SimulatedModel::Of(Spec::Kv),
            [read],
        ) => stale(&operations, read),
        (SimulatedModel::CasRegister, [read]) => emptied(&operations, read) || absent(&operations, read),
        (SimulatedModel::Of(Spec::Set), [contains]) => contrary(&operations, contains),
        (SimulatedModel::Of(Spec::Counter), [read]) => out_of_reach(&operations, read),
        (SimulatedModel::Of(Spec::Queue), [first, second]) => disorder(&operations, first, second, "enqueue"),
        (SimulatedModel::Of(Spec::Stack), [first, second]) => disorder(&operations, first, second, "push"),
        (SimulatedModel::Of(Spec::UnorderedQueue), [second]) => twice(&operations, second),
        (SimulatedModel::Of(Spec::Mutex), [second]) => operations
            .iter()
            .any(|first| first.f == "acquire" && first.precedes(second) && token(first) >= token(second)),
        (SimulatedModel::Of(Spec::AppendList), [read]) => operations.iter().any(|append| {
            let missing = !read.observed.as_ref().unwrap().as_array().unwrap().contains(&append.argument);
            append.f == "append" && append.precedes(read) && missing
        }),
        _ => false,
    }
}

fn token(acquire: &Operation) -> Option<u64> {
    acquire.observed.as_ref().and_then(Value::as_u64)
}

/// What a read right after a change observes, where that is certain.
fn state_after(operation: &Operation) -> Option<Value> {
    let observed = operation.observed.as_ref()?;
    match operation.f.as_str() {
        // The version that was written, when there are versions.
        "write" if observed.is_u64() => Some(json!([operation.argument, observed])),
        "cas" if observed.is_u64() => Some(json!([operation.argument[1], observed])),
        "cas" if *observed == json!(true) => Some(operation.argument[1].clone()),
        "write" | "put" => Some(operation.argument.clone()),
        _ => None,
    }
}

fn stale(operations: &[&Operation], read: &Operation) -> bool {
    let old = read.observed.clone().unwrap();
    let origins: Vec<_> = operations.iter().filter(|o| state_after(o).as_ref() == Some(&old)).collect();
    let [origin] = origins.as_slice() else { return false };
    let written = |operation: &Operation| match operation.f.as_str() {
        "cas" => operation.argument[1].clone(),
        _ => operation.argument.clone(),
    };
    let unique = operations.iter().filter(|o| o.f != "read" && written(o) == written(origin)).count() == 1;
    let changes = |o: &Operation| state_after(o).is_some() || o.f == "append" || o.f == "delete";
    unique && operations.iter().any(|o| changes(o) && origin.precedes(o) && o.precedes(read))
}

fn emptied(operations: &[&Operation], read: &Operation) -> bool {
    let has_value = |operation: &Operation| match (operation.f.as_str(), &operation.observed) {
        ("write", Some(_)) | ("cas", Some(Value::Bool(true))) => true,
        ("read", Some(found)) => !found.is_null(),
        _ => false,
    };
    read.observed == Some(Value::Null) && operations.iter().any(|o| has_value(o) && o.precedes(read))
}

/// Whether the register certainly had another value, and nobody can have written this one since.
fn absent(operations: &[&Operation], read: &Operation) -> bool {
    let value = read.observed.as_ref().unwrap();
    let has_another = |operation: &Operation| match (operation.f.as_str(), &operation.observed) {
        ("read", Some(found)) => found != value,
        ("write", Some(_)) => operation.argument != *value,
        ("cas", Some(Value::Bool(true))) => operation.argument[1] != *value,
        ("cas", Some(_)) => operation.argument[0] == *value,
        _ => false,
    };
    let may_write = |operation: &Operation| match operation.f.as_str() {
        "write" => operation.argument == *value,
        "cas" => operation.argument[1] == *value && operation.observed != Some(json!(false)),
        _ => false,
    };
    let writers: Vec<_> = operations.iter().filter(|o| may_write(o) && o.call < read.end).collect();
    let mut causes = operations.iter().filter(|o| has_another(o) && o.precedes(read));
    causes.any(|cause| writers.iter().all(|writer| writer.precedes(cause)))
}

fn contrary(operations: &[&Operation], contains: &Operation) -> bool {
    let found = contains.observed == Some(json!(true));
    let (cause, undo) = if found { ("remove", "add") } else { ("add", "remove") };
    let of_element =
        |f: &'static str| operations.iter().filter(move |o| o.f == f && o.argument == contains.argument);
    of_element(cause).filter(|cause| cause.precedes(contains)).any(|cause| {
        of_element(undo).filter(|undo| undo.call < contains.end).all(|undo| undo.precedes(cause))
    })
}

fn out_of_reach(operations: &[&Operation], read: &Operation) -> bool {
    let adds = operations.iter().filter(|o| o.f == "add" && o.call < read.end);
    let (mut least, mut most) = (0, 0);
    for add in adds {
        let amount = add.argument.as_i64().unwrap();
        let is_certain = add.precedes(read);
        least += if is_certain { amount } else { amount.min(0) };
        most += if is_certain { amount } else { amount.max(0) };
    }
    !(least..=most).contains(&read.observed.as_ref().unwrap().as_i64().unwrap())
}

fn disorder(operations: &[&Operation], first: &Operation, second: &Operation, insert: &str) -> bool {
    let origin = |removal: &Operation| {
        let element = removal.observed.as_ref().unwrap();
        let mut origins = operations.iter().filter(|o| o.f == insert && o.argument == *element);
        (origins.next().copied(), origins.next())
    };
    let ((Some(one), None), (Some(two), None)) = (origin(first), origin(second)) else { return false };
    // The first removal takes what should leave after the second one's element.
    let (older, newer) = if insert == "push" { (one, two) } else { (two, one) };
    older.precedes(newer) && newer.precedes(first) && first.precedes(second)
}

fn twice(operations: &[&Operation], second: &Operation) -> bool {
    let inserted =
        operations.iter().filter(|o| o.f == "enqueue" && Some(&o.argument) == second.observed.as_ref());
    let removed = operations.iter().filter(|o| o.f == "dequeue" && o.observed == second.observed);
    inserted.count() == 1 && removed.count() == 2
}
