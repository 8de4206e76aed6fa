//! The nodes that an operator named: finding the one that leads, and saying why it was not found.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use workloads::http;

use crate::cli::Failure;
use crate::exit;

/// The pause before everybody is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one exchange may take: a little more than the server takes to give up.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(6);

/// Whether a request may be sent again when nothing is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nothing was sent.
    NotConnected(String),
    /// Something may have been sent.
    Broken(String),
}

/// The nodes to ask.
#[derive(Debug)]
pub(super) struct Nodes {
    http: Client,
    at: Vec<String>,
    timeout: Duration,
    deadline: Instant,
}

/// Reads an address of the command line; the result is the beginning of a URL.
pub(super) fn address(text: &str) -> Result<String, String> {
    let place = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let has_port =
        place.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if place.contains(['/', '?', '#', '@']) || !has_port {
        return Err(format!("`{text}` is no address such as http://127.0.0.1:7001"));
    }
    Ok(format!("http://{place}"))
}

impl Nodes {
    pub(super) fn new(at: Vec<String>, timeout: Duration) -> anyhow::Result<Self> {
        let http = http::client(EXCHANGE_LIMIT.min(timeout)).context("cannot set up the HTTP client")?;
        Ok(Self { http, at, timeout, deadline: Instant::now() + timeout })
    }

    pub(super) fn addresses(&self) -> &[String] {
        &self.at
    }

    /// Whether there is time for another try; waits a little if so.
    pub(super) async fn may_try_again(&self) -> bool {
        let may = Instant::now() + PAUSE < self.deadline;
        if may {
            sleep(PAUSE).await;
        }
        may
    }

    /// Asks one node.
    pub(super) async fn ask(
        &self,
        address: &str,
        build: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<Answer, NoAnswer> {
        let response = build(&self.http, address).send().await.map_err(no_answer)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?.to_vec();
        Ok(Answer { status, body, headers })
    }

    /// Opens a stream at the first node that gives one.
    pub(super) async fn stream(&self, path: &str) -> anyhow::Result<(String, Response)> {
        let mut failed = String::new();
        for address in &self.at {
            // A stream lasts as long as it lasts.
            let request =
                self.http.get(format!("{address}{path}")).timeout(Duration::from_secs(u32::MAX.into()));
            match request.send().await {
                Ok(response) => return Ok((address.clone(), response)),
                Err(error) => failed = format!("cannot reach {address}: {}", innermost(&error)),
            }
        }
        Err(nobody(failed))
    }

    /// Sends a request to whoever leads.
    pub(super) async fn ask_leader(
        &self,
        kind: Kind,
        build: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> anyhow::Result<Answer> {
        self.answered_by(kind, build).await.map(|(_, answer)| answer)
    }

    /// Who leads: the node that answers a linearizable read, which only a leader does that a majority has just confirmed.
    pub(super) async fn leader(&self) -> anyhow::Result<&str> {
        let (address, answer) =
            self.answered_by(Kind::Read, |http, at| http.get(format!("{at}/kv/shakedown"))).await?;
        if [200, 404].contains(&answer.status) { Ok(address) } else { Err(refused(&answer)) }
    }

    async fn answered_by(
        &self,
        kind: Kind,
        build: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> anyhow::Result<(&str, Answer)> {
        loop {
            let mut round = Round::default();
            for address in &self.at {
                match self.ask(address, &build).await {
                    Ok(answer) if answer.status == 421 => {
                        round.hints.extend(answer.header("x-raft-leader").map(str::to_owned));
                    }
                    Ok(answer) if is_momentary(kind, &answer) => round.failed = describe(&answer),
                    Ok(answer) if answer.status == 503 => return Err(unknown(address, &describe(&answer))),
                    Ok(answer) => return Ok((address, answer)),
                    Err(NoAnswer::NotConnected(why)) => {
                        round.failed = format!("cannot reach {address}: {why}");
                    }
                    Err(NoAnswer::Broken(why)) if kind == Kind::Write => {
                        return Err(unknown(address, &format!("no answer: {why}")));
                    }
                    Err(NoAnswer::Broken(why)) => round.failed = format!("no answer from {address}: {why}"),
                }
            }
            if let Some(leader) = self.leader_elsewhere(&round).await {
                return Err(nobody(format!(
                    "{leader} leads, and serves clients at none of {}; add its address to --at",
                    self.at.join(", ")
                )));
            }
            if !self.may_try_again().await {
                return Err(self.gave_up(round));
            }
        }
    }

    /// The leader whom all agree on, if everybody was heard and nobody is it.
    async fn leader_elsewhere(&self, round: &Round) -> Option<String> {
        let leader = round.hints.first().filter(|_| round.hints.len() == 1 && round.failed.is_empty())?;
        for address in &self.at {
            let status = self.ask(address, |http, at| http.get(format!("{at}/status"))).await.ok()?;
            if status.json()["id"].as_str()? == leader {
                return None;
            }
        }
        Some(leader.clone())
    }

    fn gave_up(&self, round: Round) -> anyhow::Error {
        let why = match (round.hints.first(), round.failed.is_empty()) {
            (_, false) => round.failed,
            (Some(leader), true) => format!("{leader} is said to lead and does not answer"),
            (None, true) => "nobody leads".to_owned(),
        };
        let timeout = self.timeout;
        nobody(format!(
            "no leader within {timeout:?}: {why}; is a majority running? `status` says who is there"
        ))
    }
}

/// What was found out by asking everybody once.
#[derive(Default)]
struct Round {
    /// Who is said to lead.
    hints: BTreeSet<String>,
    /// The last thing that went wrong.
    failed: String,
}

/// Whether nothing has happened, and may happen soon.
fn is_momentary(kind: Kind, answer: &Answer) -> bool {
    let word = word(answer);
    word == "overloaded" || word == "too-many-connections" || kind == Kind::Read && answer.status == 503
}

/// The server's word for what went wrong.
pub(super) fn word(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

/// What the server says in its own words.
pub(super) fn describe(answer: &Answer) -> String {
    let body = answer.json();
    match (body["error"].as_str(), body["detail"].as_str()) {
        (Some(word), Some(detail)) => format!("{word}: {detail}"),
        (Some(word), None) => word.to_owned(),
        _ => format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
    }
}

/// The body of a success; a refusal becomes an error.
pub(super) fn accepted(answer: &Answer) -> anyhow::Result<Value> {
    if answer.status != 200 {
        return Err(refused(answer));
    }
    serde_json::from_slice(&answer.body).context("the answer is not JSON; is this a node of shakedown?")
}

/// The server refused, and nothing happened.
pub(super) fn refused(answer: &Answer) -> anyhow::Error {
    Failure { code: exit::USAGE, message: describe(answer) }.into()
}

fn nobody(message: String) -> anyhow::Error {
    Failure { code: exit::INFRASTRUCTURE, message }.into()
}

fn unknown(address: &str, why: &str) -> anyhow::Error {
    let message = format!("{address}: {why}; it may or may not take effect: look before you try again");
    Failure { code: exit::UNKNOWN, message }.into()
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    if error.is_connect() {
        NoAnswer::NotConnected(innermost(&error))
    } else if error.is_timeout() {
        NoAnswer::Broken("it took too long".to_owned())
    } else {
        NoAnswer::Broken(innermost(&error))
    }
}

/// The operating system's words instead of a chain of wrappers.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_may_be_a_url_or_host_and_port() {
        for text in ["127.0.0.1:7001", "http://127.0.0.1:7001", "http://127.0.0.1:7001/"] {
            assert_eq!(address(text), Ok("http://127.0.0.1:7001".to_owned()));
        }
        assert_eq!(address("[::1]:80"), Ok("http://[::1]:80".to_owned()));
        for text in ["", "localhost", ":80", "https://a:1", "http://a:1/kv", "a:99999", "u@h:1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
