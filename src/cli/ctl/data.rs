//! Reading, writing and watching.

use std::io::{Read, Write};

use anyhow::Context;
use serde_json::{Value, json};

use super::nodes::{Answer, Kind, Nodes, accepted, refused, word};
use crate::cli::{Failure, usage};
use crate::exit;

/// What the key must be for a write to happen.
#[derive(Debug, clap::Args)]
pub(super) struct Expectation {
    /// Only if this is its value
    #[arg(long, value_name = "VALUE", group = "expectation")]
    expect: Option<String>,
    /// Only if it is absent
    #[arg(long, group = "expectation")]
    expect_absent: bool,
    /// Only if it was changed last at this revision
    #[arg(long, value_name = "REVISION", group = "expectation")]
    expect_revision: Option<u64>,
}

impl Expectation {
    fn query(&self) -> String {
        match self {
            Self { expect: Some(value), .. } => format!("?expect={}", encode(value)),
            Self { expect_revision: Some(revision), .. } => format!("?expect_revision={revision}"),
            Self { expect_absent: true, .. } => "?expect_absent=true".to_owned(),
            _ => String::new(),
        }
    }
}

pub(super) async fn get(nodes: &Nodes, key: &str, local: bool, json: bool) -> anyhow::Result<u8> {
    let consistency = if local { "local" } else { "linearizable" };
    let path = format!("/kv/{}?consistency={consistency}", encode(key));
    // A local read is answered by the first node that is there.
    let answer = nodes.ask_leader(Kind::Read, |http, at| http.get(format!("{at}{path}"))).await?;
    match answer.status {
        200 if json => println!("{}", described(key, &answer)),
        200 => {
            let mut out = std::io::stdout().lock();
            out.write_all(&answer.body)
                .and_then(|()| out.write_all(b"\n"))
                .context("cannot write the value")?;
        }
        404 if word(&answer) == "absent" => return Err(not_as_expected(format!("{key} is absent"))),
        _ => return Err(refused(&answer)),
    }
    Ok(exit::VALID)
}

/// A value with its revisions. Bytes that are no text are percent-encoded.
fn described(key: &str, answer: &Answer) -> Value {
    let (name, value) = match std::str::from_utf8(&answer.body) {
        _ if answer.header("content-type") == Some("application/json") => {
            ("list", serde_json::from_slice(&answer.body).unwrap_or_default())
        }
        Ok(text) => ("value", Value::from(text)),
        Err(_) => ("value_percent_encoded", encode_bytes(&answer.body).into()),
    };
    json!({
        "key": key,
        name: value,
        "revision": answer.number("x-revision"),
        "created": answer.number("x-created-revision"),
        "version": answer.number("x-version"),
        "store_revision": answer.number("x-store-revision"),
    })
}

pub(super) async fn put(
    nodes: &Nodes,
    key: &str,
    value: String,
    expectation: &Expectation,
    json: bool,
) -> anyhow::Result<u8> {
    let path = format!("/kv/{}{}", encode(key), expectation.query());
    let build = |http: &reqwest::Client, at: &str| http.put(format!("{at}{path}")).body(value.clone());
    written(&nodes.ask_leader(Kind::Write, build).await?, key, json)
}

pub(super) async fn delete(
    nodes: &Nodes,
    key: &str,
    expectation: &Expectation,
    json: bool,
) -> anyhow::Result<u8> {
    let path = format!("/kv/{}{}", encode(key), expectation.query());
    let answer = nodes.ask_leader(Kind::Write, |http, at| http.delete(format!("{at}{path}"))).await?;
    written(&answer, key, json)
}

fn written(answer: &Answer, key: &str, json: bool) -> anyhow::Result<u8> {
    let body = accepted(answer)?;
    if json {
        println!("{body}");
    } else if body["matched"] == true {
        println!("revision {}", body["revision"]);
    }
    match body["matched"].as_bool() {
        Some(true) => Ok(exit::VALID),
        _ if json => Ok(exit::VIOLATION),
        _ => Err(not_as_expected(format!("{key} is not as expected; nothing was changed"))),
    }
}

pub(super) async fn transact(nodes: &Nodes, transaction: &str, json: bool) -> anyhow::Result<u8> {
    let text = match transaction {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
            text
        }
        text => text.to_owned(),
    };
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| usage(format!("the transaction is not JSON: {error}")))?;
    let build = |http: &reqwest::Client, at: &str| http.post(format!("{at}/txn")).json(&body);
    let answer = accepted(&nodes.ask_leader(Kind::Write, build).await?)?;
    if json {
        println!("{answer}");
    } else {
        let taken = if answer["matched"] == true { "then" } else { "else" };
        println!("revision {}, {taken}:", answer["revision"]);
        for result in answer["results"].as_array().into_iter().flatten() {
            println!("  {result}");
        }
    }
    Ok(exit::VALID)
}

pub(super) async fn watch(nodes: &Nodes, prefix: &str, exact: bool, from: Option<u64>) -> anyhow::Result<u8> {
    let selection = if exact { "key" } else { "prefix" };
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    let (address, mut response) =
        nodes.stream(&format!("/watch?{selection}={}{from}", encode(prefix))).await?;
    if response.status() != 200 {
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        let message = format!("{address} refuses with {status}: {}", text.trim());
        return Err(Failure { code: exit::USAGE, message }.into());
    }
    let (mut text, mut told) = (Vec::new(), None);
    let broke_off = |told: Option<u64>, why: &str| {
        let next = told.map_or(String::new(), |told| format!("; go on with --from {}", told + 1));
        let message = format!("{address} ended the stream: {why}{next}");
        Failure { code: exit::INFRASTRUCTURE, message }
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| broke_off(told, &error.to_string()))? {
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let parsed: Value = serde_json::from_slice(&line).context("a line of the stream is not JSON")?;
            if let Some(why) = parsed["end"].as_str() {
                return Err(broke_off(told, why).into());
            }
            told = parsed["revision"].as_u64().or(parsed["progress"].as_u64()).or(told);
            if parsed["revision"].is_u64() && std::io::stdout().lock().write_all(&line).is_err() {
                // Whoever reads has seen enough.
                return Ok(exit::VALID);
            }
        }
    }
    Err(broke_off(told, "without a last line").into())
}

fn not_as_expected(message: String) -> anyhow::Error {
    Failure { code: exit::VIOLATION, message }.into()
}

fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn encode_bytes(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_expectations_are_percent_encoded() {
        assert_eq!(encode("a/b c"), "a%2Fb%20c");
        let none = Expectation { expect: None, expect_absent: false, expect_revision: None };
        assert_eq!(none.query(), "");
        let value = Expectation { expect: Some("1&2".to_owned()), ..none };
        assert_eq!(value.query(), "?expect=1%262");
    }
}
