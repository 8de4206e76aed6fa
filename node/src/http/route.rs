//! From method and address to an operation, or the reason why not.

use bytes::Bytes;
use hyper::{Method, Uri};

use super::MAX_KEY_BYTES;
use super::answer::Refusal;
use crate::machine::Expected;
use crate::sessions::Numbered;

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Members,
    Register,
    Change,
    Transfer,
    Key { key: Bytes, verb: Verb },
    List { prefix: Bytes, local: bool },
}

/// What to do with the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get { local: bool },
    Put { expected: Expected, numbered: Option<Numbered> },
    Delete { numbered: Option<Numbered> },
}

/// Finds out what is asked for.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let query = uri.query().unwrap_or_default();
    match uri.path() {
        "/status" | "/kv" if method != Method::GET => return Err(Refusal::Method { allow: "GET" }),
        "/leader" | "/sessions" if method != Method::POST => return Err(Refusal::Method { allow: "POST" }),
        "/status" => return Ok(Route::Status),
        "/leader" => return Ok(Route::Transfer),
        "/sessions" => return no_parameters(query).map(|()| Route::Register),
        "/members" => return members(method),
        "/kv" => return list(query),
        _ => {}
    }
    let Some(encoded) = uri.path().strip_prefix("/kv/") else {
        return Err(Refusal::NoSuchPath);
    };
    let verb = match *method {
        Method::GET => Verb::Get { local: is_local(parameters(query))? },
        Method::PUT => {
            let (numbered, others) = numbered(query)?;
            Verb::Put { expected: expected(others.into_iter())?, numbered }
        }
        Method::DELETE => {
            let (numbered, others) = numbered(query)?;
            match others.first() {
                Some((name, _)) => return Err(Refusal::unknown(name)),
                None => Verb::Delete { numbered },
            }
        }
        _ => return Err(Refusal::Method { allow: "GET, PUT, DELETE" }),
    };
    Ok(Route::Key { key: key(encoded)?, verb })
}

fn members(method: &Method) -> Result<Route, Refusal> {
    match *method {
        Method::GET => Ok(Route::Members),
        Method::POST => Ok(Route::Change),
        _ => Err(Refusal::Method { allow: "GET, POST" }),
    }
}

fn list(query: &str) -> Result<Route, Refusal> {
    let is_prefix = |(name, _): &(&str, &str)| *name == "prefix";
    let (prefixes, others): (Vec<_>, Vec<_>) = parameters(query).partition(is_prefix);
    let [(_, prefix)] = prefixes[..] else {
        return Err(Refusal::query("give one prefix; an empty one lists every key"));
    };
    Ok(Route::List { prefix: query_value(prefix)?, local: is_local(others.into_iter())? })
}

fn key(encoded: &str) -> Result<Bytes, Refusal> {
    let key = percent_decode(encoded).ok_or_else(|| Refusal::query("the key is not percent-encoded"))?;
    match key.len() {
        0 => Err(Refusal::Key("the key is empty")),
        1..=MAX_KEY_BYTES => Ok(key.into()),
        _ => Err(Refusal::Key("the key is longer than 1024 bytes")),
    }
}

fn is_local<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<bool, Refusal> {
    let mut local = false;
    for (name, value) in parameters {
        local = match (name, value) {
            ("consistency", "local") => true,
            ("consistency", "linearizable") => false,
            ("consistency", _) => return Err(Refusal::query("consistency is linearizable or local")),
            (name, _) => return Err(Refusal::unknown(name)),
        };
    }
    Ok(local)
}

/// Names and values.
type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// The number of a write within a session, and the parameters that are about something else.
fn numbered(query: &str) -> Result<(Option<Numbered>, Parameters<'_>), Refusal> {
    let is_number = |(name, _): &(&str, &str)| ["session", "sequence", "answered"].contains(name);
    let (numbers, others): (Vec<_>, Vec<_>) = parameters(query).partition(is_number);
    if numbers.is_empty() {
        return Ok((None, others));
    }
    let number = |wanted: &str| {
        let mut values = numbers.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.parse());
        match (values.next(), values.next()) {
            (Some(Ok(number)), None) => Ok(number),
            (None, _) if wanted == "answered" => Ok(0),
            _ => Err(Refusal::query("give session and sequence, and answered if you like, as numbers")),
        }
    };
    let (session, sequence, answered) = (number("session")?, number("sequence")?, number("answered")?);
    if sequence == 0 {
        return Err(Refusal::query("the first number of a session is 1"));
    }
    Ok((Some(Numbered { session, sequence, answered }), others))
}

fn expected<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Expected, Refusal> {
    let mut expected = Expected::Anything;
    for (name, value) in parameters {
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

    fn routed(method: Method, address: &str) -> Result<Route, Refusal> {
        route(&method, &address.parse().expect("an address"))
    }

    fn keyed(method: Method, address: &str) -> (Bytes, Verb) {
        match routed(method, address).expect("a legal request") {
            Route::Key { key, verb } => (key, verb),
            other => panic!("{other:?}"),
        }
    }

    fn verb(method: Method, address: &str) -> Verb {
        keyed(method, address).1
    }

    #[test]
    fn key_is_percent_decoded_and_may_contain_slashes() {
        let (key, _) = keyed(Method::GET, "/kv/a%20b/c%2Fd%ff");
        assert_eq!(key.as_ref(), b"a b/c/d\xff");
    }

    #[test]
    fn listing_needs_exactly_one_prefix() {
        let list = |prefix: &'static str, local| Ok(Route::List { prefix: prefix.into(), local });
        assert_eq!(routed(Method::GET, "/kv?prefix=a%2Fb"), list("a/b", false));
        assert_eq!(routed(Method::GET, "/kv?consistency=local&prefix="), list("", true));
        for wrong in ["/kv", "/kv?prefix=a&prefix=b", "/kv?prefix=a&limit=3", "/kv?consistency=local"] {
            assert!(routed(Method::GET, wrong).is_err(), "{wrong}");
        }
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
            Verb::Put { expected, numbered: None } => expected,
            other => panic!("{other:?}"),
        };
        assert_eq!(expected("/kv/k"), Expected::Anything);
        assert_eq!(expected("/kv/k?expect=a%2Bb+c"), Expected::Value("a+b c".into()));
        assert_eq!(expected("/kv/k?expect="), Expected::Value("".into()));
        assert_eq!(expected("/kv/k?expect_absent=true"), Expected::Absent);
    }

    #[test]
    fn write_may_have_a_number_within_a_session() {
        let numbered = Some(Numbered { session: 17, sequence: 3, answered: 2 });
        let put = verb(Method::PUT, "/kv/k?session=17&sequence=3&expect=1&answered=2");
        assert_eq!(put, Verb::Put { expected: Expected::Value("1".into()), numbered });
        let numbered = Some(Numbered { session: 17, sequence: 3, answered: 0 });
        assert_eq!(verb(Method::DELETE, "/kv/k?sequence=3&session=17"), Verb::Delete { numbered });
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
            (Method::PUT, "/kv/k?session=1"),
            (Method::PUT, "/kv/k?session=1&sequence=0"),
            (Method::PUT, "/kv/k?session=1&sequence=1&sequence=2"),
            (Method::DELETE, "/kv/k?session=one&sequence=1"),
            (Method::GET, "/sessions"),
            (Method::POST, "/sessions?ttl=9"),
            (Method::DELETE, "/kv/k?expect=1"),
            (Method::POST, "/kv/k"),
            (Method::PUT, "/status"),
            (Method::PUT, "/kv?prefix=a"),
            (Method::GET, "/"),
        ] {
            assert!(routed(method.clone(), address).is_err(), "{method} {address}");
        }
        let long = format!("/kv/{}", "k".repeat(MAX_KEY_BYTES + 1));
        assert!(routed(Method::GET, &long).is_err());
    }
}
