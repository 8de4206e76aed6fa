//! Operations that no adapter may record are errors that name them, not panics and not verdicts.

use checker::{Budget, CheckError, linearizable_register};
use history::{History, Nanos, Operation, Outcome, Process};
use serde_json::{Value, json};

fn operation(f: &str, input: Value, output: Value) -> Operation {
    Operation {
        index: 7,
        process: Process(1),
        node: None,
        f: f.to_owned(),
        key: None,
        input,
        output,
        intended: Nanos(10),
        call: Nanos(10),
        ret: Some(Nanos(20)),
        outcome: Outcome::Ok,
        is_final: false,
        error: None,
    }
}

fn error(operation: Operation) -> CheckError {
    let history = History { header: None, operations: [operation].into_iter().collect() };
    linearizable_register(&history, &Budget::default()).unwrap_err()
}

#[test]
fn compare_and_set_needs_a_pair_and_a_yes_or_no() {
    for input in [json!(1), json!([1]), json!([1, 2, 3]), json!([1, null]), Value::Null] {
        let error = error(operation("cas", input, json!(true)));
        assert!(matches!(error, CheckError::MalformedInput { index: 7, .. }), "{error}");
    }
    let error = error(operation("cas", json!([1, 2]), json!("yes")));
    assert_eq!(
        error.to_string(),
        "operation 7: `cas` observes true (it matched) or false, but `\"yes\"` was recorded"
    );
}

#[test]
fn nothing_cannot_be_written() {
    let error = error(operation("write", Value::Null, Value::Null));
    assert_eq!(
        error.to_string(),
        "operation 7: `write` takes a value other than null, but its argument is `null`"
    );
}

#[test]
fn unknown_function_is_named() {
    let error = error(operation("delete", Value::Null, Value::Null));
    assert_eq!(
        error.to_string(),
        "operation 7: the register has no function `delete`; it knows `read`, `write` and `cas`"
    );
}

#[test]
fn operation_that_is_ok_must_have_ended_after_it_began() {
    let mut endless = operation("read", Value::Null, json!(1));
    endless.ret = None;
    assert_eq!(error(endless), CheckError::NoCompletion { index: 7 });
    let mut backwards = operation("read", Value::Null, json!(1));
    backwards.ret = Some(Nanos(5));
    assert_eq!(error(backwards), CheckError::EndsBeforeCall { index: 7 });
}
