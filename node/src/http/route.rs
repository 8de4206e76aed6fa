//! From method and address to an operation, or the reason why not.

use bytes::Bytes;
use hyper::{Method, Uri};

use super::answer::Refusal;
use super::{MAX_KEY_BYTES, percent};
use crate::machine::{Expected, Numbered, Revision, Selection};
use crate::raft::Index;

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Metrics,
    Members,
    Register,
    Change,
    Transfer,
    Key {
        key: Bytes,
        verb: Verb,
    },
    List {
        prefix: Bytes,
        local: bool,
    },
    Transact {
        numbered: Option<Numbered>,
    },
    /// `from` is the next change if it is left out.
    Watch {
        selection: Selection,
        from: Option<Revision>,
    },
    /// The first kept entry, and the last one, if left out.
    Log {
        from: Option<Index>,
        to: Option<Index>,
    },
    Hash,
}

/// What to do with the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get { local: bool },
    Put { expected: Expected, numbered: Option<Numbered> },
    Delete { expected: Expected, numbered: Option<Numbered> },
}

/// Finds out what is asked for.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let query = uri.query().unwrap_or_default();
    if let Some(encoded) = uri.path().strip_prefix("/kv/") {
        return keyed(method, encoded, query);
    }
    let allow = match uri.path() {
        "/status" | "/metrics" | "/kv" | "/watch" | "/debug/log" | "/debug/hash" => "GET",
        "/leader" | "/sessions" | "/txn" => "POST",
        "/members" => "GET, POST",
        _ => return Err(Refusal::NoSuchPath),
    };
    if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
        return Err(Refusal::Method { allow });
    }
    match uri.path() {
        "/status" => Ok(Route::Status),
        "/metrics" => Ok(Route::Metrics),
        "/leader" => Ok(Route::Transfer),
        "/members" if method == Method::GET => Ok(Route::Members),
        "/members" => Ok(Route::Change),
        "/sessions" => no_parameters(query).map(|()| Route::Register),
        "/txn" => transact(query),
        "/watch" => watch(query),
        "/debug/log" => log(query),
        "/debug/hash" => no_parameters(query).map(|()| Route::Hash),
        _ => list(query),
    }
}

fn keyed(method: &Method, encoded: &str, query: &str) -> Result<Route, Refusal> {
    let verb = match *method {
        Method::GET => Verb::Get { local: is_local(parameters(query))? },
        Method::PUT => {
            let (numbered, others) = numbered(query)?;
            Verb::Put { expected: expected(others.into_iter())?, numbered }
        }
        Method::DELETE => {
            let (numbered, others) = numbered(query)?;
            Verb::Delete { expected: expected(others.into_iter())?, numbered }
        }
        _ => return Err(Refusal::Method { allow: "GET, PUT, DELETE" }),
    };
    Ok(Route::Key { key: key(encoded)?, verb })
}

fn transact(query: &str) -> Result<Route, Refusal> {
    let (numbered, others) = numbered(query)?;
    match others.first() {
        Some((name, _)) => Err(Refusal::unknown(name)),
        None => Ok(Route::Transact { numbered }),
    }
}

fn watch(query: &str) -> Result<Route, Refusal> {
    let (mut selection, mut from) = (None, None);
    for (name, value) in parameters(query) {
        let selected = match name {
            "key" => Selection::Key(legal_key(query_value(value)?)?),
            "prefix" => Selection::Prefix(query_value(value)?),
            "from" if from.is_none() => {
                from = Some(Revision(number(name, value)?));
                continue;
            }
            _ => return Err(Refusal::unknown(name)),
        };
        if selection.replace(selected).is_some() {
            return Err(Refusal::query("give one key or one prefix"));
        }
    }
    let selection =
        selection.ok_or_else(|| Refusal::query("give a key or a prefix; an empty prefix is every key"))?;
    if from == Some(Revision(0)) {
        return Err(Refusal::query("the first revision is 1"));
    }
    Ok(Route::Watch { selection, from })
}

fn log(query: &str) -> Result<Route, Refusal> {
    let (mut from, mut to) = (None, None);
    for (name, value) in parameters(query) {
        let place = match name {
            "from" => &mut from,
            "to" => &mut to,
            _ => return Err(Refusal::unknown(name)),
        };
        *place = Some(Index(number(name, value)?));
    }
    Ok(Route::Log { from, to })
}

fn number(name: &str, value: &str) -> Result<u64, Refusal> {
    value.parse().map_err(|_| Refusal::Query(format!("{name} is a number")))
}

fn list(query: &str) -> Result<Route, Refusal> {
    let is_prefix = |(name, _): &(&str, &str)| *name == "prefix";
    let (prefixes, others): (Vec<_>, Vec<_>) = parameters(query).partition(is_prefix);
    let [(_, prefix)] = prefixes[..] else {
        return Err(Refusal::query("give one prefix; an empty one lists every key"));
    };
    Ok(Route::List { prefix: query_value(prefix)?, local: is_local(others.into_iter())? })
}

/// Reads a key.
pub(super) fn key(encoded: &str) -> Result<Bytes, Refusal> {
    let key = percent::decode(encoded).ok_or_else(|| Refusal::query("the key is not percent-encoded"))?;
    legal_key(key.into())
}

fn legal_key(key: Bytes) -> Result<Bytes, Refusal> {
    match key.len() {
        0 => Err(Refusal::EmptyKey),
        1..=MAX_KEY_BYTES => Ok(key),
        _ => Err(Refusal::KeyTooLong),
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

/// Name and value.
type Parameter<'a> = (&'a str, &'a str);

/// The number of a write within a session, and the parameters that are about something else.
fn numbered(query: &str) -> Result<(Option<Numbered>, Vec<Parameter<'_>>), Refusal> {
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
            ("expect_revision", value) => Expected::Revision(Revision(number(name, value)?)),
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
    let decoded = percent::decode(&encoded.replace('+', " "));
    decoded.map(Bytes::from).ok_or_else(|| Refusal::query("the value is not percent-encoded"))
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
        assert_eq!(expected("/kv/k?expect_revision=17"), Expected::Revision(Revision(17)));
    }

    #[test]
    fn write_may_have_a_number_within_a_session() {
        let numbered = Some(Numbered { session: 17, sequence: 3, answered: 2 });
        let put = verb(Method::PUT, "/kv/k?session=17&sequence=3&expect=1&answered=2");
        assert_eq!(put, Verb::Put { expected: Expected::Value("1".into()), numbered });
        let numbered = Some(Numbered { session: 17, sequence: 3, answered: 0 });
        assert_eq!(
            verb(Method::DELETE, "/kv/k?sequence=3&session=17"),
            Verb::Delete { expected: Expected::Anything, numbered }
        );
        let expected = Expected::Value("1".into());
        assert_eq!(verb(Method::DELETE, "/kv/k?expect=1"), Verb::Delete { expected, numbered: None });
        let numbered = Some(Numbered { session: 17, sequence: 3, answered: 0 });
        assert_eq!(routed(Method::POST, "/txn?session=17&sequence=3"), Ok(Route::Transact { numbered }));
    }

    #[test]
    fn watch_is_about_a_key_or_a_prefix_and_begins_where_it_is_told() {
        let prefix = Selection::Prefix("a/".into());
        let from = Some(Revision(17));
        assert_eq!(
            routed(Method::GET, "/watch?prefix=a%2F&from=17"),
            Ok(Route::Watch { selection: prefix, from })
        );
        let key = Selection::Key("k".into());
        assert_eq!(routed(Method::GET, "/watch?key=k"), Ok(Route::Watch { selection: key, from: None }));
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
            (Method::DELETE, "/kv/k?expect_revision=x"),
            (Method::PUT, "/kv/k?expect_revision=1&expect=2"),
            (Method::GET, "/txn"),
            (Method::POST, "/txn?expect=1"),
            (Method::GET, "/watch"),
            (Method::GET, "/watch?key="),
            (Method::GET, "/watch?key=a&prefix=b"),
            (Method::GET, "/watch?prefix=&from=0"),
            (Method::GET, "/watch?prefix=&from=1&from=2"),
            (Method::POST, "/watch?prefix="),
            (Method::GET, "/debug/log?from=x"),
            (Method::GET, "/debug/log?since=1"),
            (Method::GET, "/debug/hash?at=1"),
            (Method::GET, "/debug"),
            (Method::POST, "/kv/k"),
            (Method::PUT, "/status"),
            (Method::PUT, "/kv?prefix=a"),
            (Method::GET, "/"),
        ] {
            assert!(routed(method.clone(), address).is_err(), "{method} {address}");
        }
        let long = format!("/kv/{}", "k".repeat(MAX_KEY_BYTES + 1));
        assert_eq!(routed(Method::GET, &long), Err(Refusal::KeyTooLong));
    }
}
