//! From method and address to an operation, or the reason why not.

use bytes::Bytes;
use hyper::{Method, Uri};

use super::MAX_KEY_BYTES;
use super::answer::Refusal;
use crate::machine::Expected;

/// A request for one key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) key: Bytes,
    pub(super) verb: Verb,
}

/// What to do with the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get { local: bool },
    Put { expected: Expected },
    Delete,
}

/// Finds out what is asked for; `None` is the status.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Option<Route>, Refusal> {
    let query = uri.query().unwrap_or_default();
    if uri.path() == "/status" {
        return if method == Method::GET { Ok(None) } else { Err(Refusal::Method { allow: "GET" }) };
    }
    let Some(encoded) = uri.path().strip_prefix("/kv/") else {
        return Err(Refusal::NoSuchPath);
    };
    let verb = match *method {
        Method::GET => Verb::Get { local: is_local(query)? },
        Method::PUT => Verb::Put { expected: expected(query)? },
        Method::DELETE => no_parameters(query).map(|()| Verb::Delete)?,
        _ => return Err(Refusal::Method { allow: "GET, PUT, DELETE" }),
    };
    Ok(Some(Route { key: key(encoded)?, verb }))
}

fn key(encoded: &str) -> Result<Bytes, Refusal> {
    let key = percent_decode(encoded).ok_or_else(|| Refusal::query("the key is not percent-encoded"))?;
    match key.len() {
        0 => Err(Refusal::Key("the key is empty")),
        1..=MAX_KEY_BYTES => Ok(key.into()),
        _ => Err(Refusal::Key("the key is longer than 1024 bytes")),
    }
}

fn is_local(query: &str) -> Result<bool, Refusal> {
    let mut local = false;
    for (name, value) in parameters(query) {
        local = match (name, value) {
            ("consistency", "local") => true,
            ("consistency", "linearizable") => false,
            ("consistency", _) => return Err(Refusal::query("consistency is linearizable or local")),
            (name, _) => return Err(Refusal::unknown(name)),
        };
    }
    Ok(local)
}

fn expected(query: &str) -> Result<Expected, Refusal> {
    let mut expected = Expected::Anything;
    for (name, value) in parameters(query) {
        if expected != Expected::Anything {
            return Err(Refusal::query("give one expectation, not two"));
        }
        expected = match (name, value) {
            ("expect", value) => Expected::Value(query_value(value)?),
            ("expect_absent", "true") => Expected::Absent,
            ("expect_absent", _) => return Err(Refusal::query("expect_absent is true, or left out")),
            (name, _) => return Err(Refusal::unknown(name)),
        };
    }
    Ok(expected)
}

fn no_parameters(query: &str) -> Result<(), Refusal> {
    match parameters(query).next() {
        Some((name, _)) => Err(Refusal::unknown(name)),
        None => Ok(()),
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// In queries a plus sign is a space, as in HTML forms; a plus sign itself is `%2B`.
fn query_value(encoded: &str) -> Result<Bytes, Refusal> {
    let decoded = percent_decode(&encoded.replace('+', " "));
    decoded.map(Bytes::from).ok_or_else(|| Refusal::query("the value is not percent-encoded"))
}

fn percent_decode(encoded: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            _ => byte,
        });
    }
    Some(decoded)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: Method, address: &str) -> Result<Option<Route>, Refusal> {
        route(&method, &address.parse().expect("an address"))
    }

    fn verb(method: Method, address: &str) -> Verb {
        routed(method, address).expect("a legal request").expect("not the status").verb
    }

    #[test]
    fn key_is_percent_decoded_and_may_contain_slashes() {
        let route = routed(Method::GET, "/kv/a%20b/c%2Fd%ff").expect("legal").expect("a key");
        assert_eq!(route.key.as_ref(), b"a b/c/d\xff");
    }

    #[test]
    fn reads_are_linearizable_unless_asked_otherwise() {
        assert_eq!(verb(Method::GET, "/kv/k"), Verb::Get { local: false });
        assert_eq!(verb(Method::GET, "/kv/k?consistency=linearizable"), Verb::Get { local: false });
        assert_eq!(verb(Method::GET, "/kv/k?consistency=local"), Verb::Get { local: true });
    }

    #[test]
    fn expectation_is_part_of_a_put() {
        let expected = |address| match verb(Method::PUT, address) {
            Verb::Put { expected } => expected,
            other => panic!("{other:?}"),
        };
        assert_eq!(expected("/kv/k"), Expected::Anything);
        assert_eq!(expected("/kv/k?expect=a%2Bb+c"), Expected::Value("a+b c".into()));
        assert_eq!(expected("/kv/k?expect="), Expected::Value("".into()));
        assert_eq!(expected("/kv/k?expect_absent=true"), Expected::Absent);
    }

    #[test]
    fn nonsense_is_refused_and_not_guessed() {
        for (method, address) in [
            (Method::GET, "/kv/"),
            (Method::GET, "/kv/%zz"),
            (Method::GET, "/kv/%2"),
            (Method::GET, "/kv/k?consistency=weak"),
            (Method::GET, "/kv/k?consistancy=local"),
            (Method::PUT, "/kv/k?expect=1&expect_absent=true"),
            (Method::PUT, "/kv/k?expect_absent=false"),
            (Method::PUT, "/kv/k?consistency=local"),
            (Method::DELETE, "/kv/k?expect=1"),
            (Method::POST, "/kv/k"),
            (Method::PUT, "/status"),
            (Method::GET, "/"),
            (Method::GET, "/kv"),
        ] {
            assert!(routed(method.clone(), address).is_err(), "{method} {address}");
        }
        let long = format!("/kv/{}", "k".repeat(MAX_KEY_BYTES + 1));
        assert!(routed(Method::GET, &long).is_err());
    }
}
