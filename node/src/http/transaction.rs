//! `POST /txn`: from JSON to a transaction.

use bytes::Bytes;
use serde::Deserialize;

use super::answer::Refusal;
use super::{percent, route};
use crate::machine::{Expected, Guard, MAX_VALUE_BYTES, Revision, Step, Transaction};

/// The most guards and steps of a transaction, all together.
pub(super) const MAX_TRANSACTION_PARTS: usize = 128;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Order {
    guards: Vec<GuardOrder>,
    then: Vec<StepOrder>,
    #[serde(rename = "else")]
    otherwise: Vec<StepOrder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardOrder {
    key: String,
    value: Option<String>,
    absent: Option<bool>,
    revision: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepOrder {
    read: Option<String>,
    put: Option<String>,
    delete: Option<String>,
    append: Option<String>,
    value: Option<String>,
}

/// Reads the body of `POST /txn`.
pub(super) fn transaction(body: &[u8]) -> Result<Transaction, Refusal> {
    let order: Order = serde_json::from_slice(body).map_err(|error| Refusal::query(&error.to_string()))?;
    let steps = order.then.len() + order.otherwise.len();
    if steps == 0 {
        return Err(Refusal::query("a transaction has at least one step"));
    }
    if order.guards.len() + steps > MAX_TRANSACTION_PARTS {
        return Err(Refusal::TooManyParts);
    }
    let guards = order.guards.into_iter().map(guard).collect::<Result<_, _>>()?;
    let steps = |orders: Vec<StepOrder>| orders.into_iter().map(step).collect::<Result<_, _>>();
    Ok(Transaction { guards, then: steps(order.then)?, otherwise: steps(order.otherwise)? })
}

fn guard(order: GuardOrder) -> Result<Guard, Refusal> {
    let expected = match (order.value, order.absent, order.revision) {
        (Some(value), None, None) => Expected::Value(bytes(&value)?),
        (None, Some(true), None) => Expected::Absent,
        (None, None, Some(revision)) => Expected::Revision(Revision(revision)),
        _ => return Err(Refusal::query("a guard has a value, a revision, or \"absent\":true")),
    };
    Ok(Guard { key: route::key(&order.key)?, expected })
}

fn step(order: StepOrder) -> Result<Step, Refusal> {
    let StepOrder { read, put, delete, append, value } = order;
    match (read, put, delete, append, value) {
        (Some(key), None, None, None, None) => Ok(Step::Read { key: route::key(&key)? }),
        (None, Some(key), None, None, Some(value)) => {
            Ok(Step::Put { key: route::key(&key)?, value: content(&value)? })
        }
        (None, None, Some(key), None, None) => Ok(Step::Delete { key: route::key(&key)? }),
        (None, None, None, Some(key), Some(value)) => {
            Ok(Step::Append { key: route::key(&key)?, element: content(&value)? })
        }
        _ => Err(Refusal::query(
            "a step is {\"read\":KEY}, {\"delete\":KEY}, {\"put\":KEY,\"value\":…} or {\"append\":KEY,\"value\":…}",
        )),
    }
}

fn content(encoded: &str) -> Result<Bytes, Refusal> {
    let content = bytes(encoded)?;
    if content.len() > MAX_VALUE_BYTES { Err(Refusal::ValueTooLarge) } else { Ok(content) }
}

fn bytes(encoded: &str) -> Result<Bytes, Refusal> {
    let decoded = percent::decode(encoded);
    decoded.map(Bytes::from).ok_or_else(|| Refusal::query("a value is not percent-encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_says_what_to_check_and_what_to_do() {
        let body = br#"{"guards":[{"key":"a%2Fb","value":"1"},{"key":"c","absent":true},{"key":"d","revision":7}],
            "then":[{"read":"a"},{"put":"a","value":"%FF"},{"delete":"b"}],"else":[{"append":"l","value":""}]}"#;
        let guard = |key: &'static str, expected| Guard { key: key.into(), expected };
        let expected = Transaction {
            guards: vec![
                guard("a/b", Expected::Value("1".into())),
                guard("c", Expected::Absent),
                guard("d", Expected::Revision(Revision(7))),
            ],
            then: vec![
                Step::Read { key: "a".into() },
                Step::Put { key: "a".into(), value: b"\xff"[..].into() },
                Step::Delete { key: "b".into() },
            ],
            otherwise: vec![Step::Append { key: "l".into(), element: "".into() }],
        };
        assert_eq!(transaction(body), Ok(expected));
    }

    #[test]
    fn nonsense_is_refused_and_not_guessed() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"then":[{}]}"#,
            r#"{"then":[{"read":"a","delete":"a"}]}"#,
            r#"{"then":[{"read":"a","value":"1"}]}"#,
            r#"{"then":[{"put":"a"}]}"#,
            r#"{"then":[{"read":""}]}"#,
            r#"{"then":[{"read":"%"}]}"#,
            r#"{"then":[{"put":"a","value":"%4"}]}"#,
            r#"{"then":[{"read":7}]}"#,
            r#"{"then":[{"read":"a"}],"guards":[{"key":"a"}]}"#,
            r#"{"then":[{"read":"a"}],"guards":[{"key":"a","absent":false}]}"#,
            r#"{"then":[{"read":"a"}],"guards":[{"key":"a","value":"1","revision":1}]}"#,
            r#"{"then":[{"read":"a"}],"guard":[]}"#,
        ] {
            assert!(transaction(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn parts_keys_and_values_are_bounded() {
        let steps = |count| format!("{{\"then\":[{}]}}", vec![r#"{"read":"k"}"#; count].join(","));
        assert!(transaction(steps(MAX_TRANSACTION_PARTS).as_bytes()).is_ok());
        assert_eq!(transaction(steps(MAX_TRANSACTION_PARTS + 1).as_bytes()), Err(Refusal::TooManyParts));
        let put =
            |value_bytes| format!(r#"{{"then":[{{"put":"k","value":"{}"}}]}}"#, "x".repeat(value_bytes));
        assert!(transaction(put(MAX_VALUE_BYTES).as_bytes()).is_ok());
        assert_eq!(transaction(put(MAX_VALUE_BYTES + 1).as_bytes()), Err(Refusal::ValueTooLarge));
        let long = format!(r#"{{"then":[{{"read":"{}"}}]}}"#, "k".repeat(1025));
        assert_eq!(transaction(long.as_bytes()), Err(Refusal::KeyTooLong));
    }
}
