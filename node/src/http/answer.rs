//! From replies and refusals to HTTP answers. Every error has one status code and one word.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::machine::Applied;
use crate::raft::{self, NodeId};
use crate::server::Reply;
use crate::sessions::{MAX_AHEAD, Outcome, Rejection};

/// Why a request did not reach the driver; nothing happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchPath,
    Method { allow: &'static str },
    Key(&'static str),
    Query(String),
    ValueTooLarge,
    BrokenBody,
}

impl Refusal {
    pub(super) fn query(detail: &str) -> Self {
        Self::Query(detail.to_owned())
    }

    pub(super) fn unknown(parameter: &str) -> Self {
        Self::Query(format!("unknown parameter {parameter:?}"))
    }
}

/// The answer to a request that the driver saw.
pub(super) fn reply(reply: Reply) -> Response<Full<Bytes>> {
    match reply {
        Reply::Applied(applied) => what_came_of_it(applied),
        Reply::Changed => json_answer(StatusCode::OK, &json!({ "changed": true })),
        Reply::Value(Some(value)) => answer(StatusCode::OK, "application/octet-stream", value),
        Reply::Value(None) => error(StatusCode::NOT_FOUND, "absent"),
        Reply::Entries(entries) => json_answer(StatusCode::OK, &listing(&entries)),
        Reply::Status(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::NotLeader(leader) => not_leader(leader),
        Reply::Overloaded => error(StatusCode::TOO_MANY_REQUESTS, "overloaded"),
        Reply::UnknownOutcome => error(StatusCode::SERVICE_UNAVAILABLE, "unknown-outcome"),
        Reply::NoQuorum => error(StatusCode::SERVICE_UNAVAILABLE, "no-quorum"),
        Reply::Members(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::Refused(refusal) => detailed(StatusCode::CONFLICT, "change-refused", &why(refusal)),
        Reply::NoAddress(id) => {
            let detail = format!("{id} is not known here: say where it receives messages");
            detailed(StatusCode::BAD_REQUEST, "no-address", &detail)
        }
        Reply::Transferred => json_answer(StatusCode::OK, &json!({ "transferred": true })),
        Reply::NotTransferred => {
            let detail =
                "this node still leads: the other one is no voter, is not heard from, or lacks too much";
            detailed(StatusCode::CONFLICT, "not-transferred", detail)
        }
    }
}

fn what_came_of_it(applied: Applied) -> Response<Full<Bytes>> {
    match applied {
        Applied::Registered(session) => json_answer(StatusCode::OK, &json!({ "session": session })),
        Applied::Written(Outcome { position, matched }) => {
            let body = json!({ "index": position.index.0, "term": position.term.0, "matched": matched });
            json_answer(StatusCode::OK, &body)
        }
        Applied::Rejected(Rejection::Expired) => {
            let detail =
                "there is no such session any more; register, and find out what your last writes did";
            detailed(StatusCode::GONE, "session-expired", detail)
        }
        Applied::Rejected(Rejection::Answered) => detailed(
            StatusCode::CONFLICT,
            "already-answered",
            "you said that you have the answer of this write",
        ),
        Applied::Rejected(Rejection::TooFarAhead) => {
            let detail = format!("a number may be {MAX_AHEAD} ahead of what you said to be answered");
            detailed(StatusCode::BAD_REQUEST, "too-far-ahead", &detail)
        }
        Applied::Rejected(Rejection::TooMany) => error(StatusCode::TOO_MANY_REQUESTS, "too-many-sessions"),
    }
}

fn why(refusal: raft::Refusal) -> String {
    match refusal {
        raft::Refusal::Empty => "it changes nothing".to_owned(),
        raft::Refusal::Pending => "another change is not complete; try again when it is".to_owned(),
        raft::Refusal::TooEarly => "this leader has committed nothing yet; try again in a moment".to_owned(),
        raft::Refusal::Member(id) => format!("{id} is a member already"),
        raft::Refusal::NotMember(id) => format!("{id} is no member, or no learner that could be promoted"),
        raft::Refusal::Behind(id) => {
            format!("{id} lacks too much of the log; try again when it has caught up")
        }
        raft::Refusal::NoVoter => "nobody would be left to vote".to_owned(),
    }
}

/// The answer to a request that makes no sense.
pub(super) fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::NoSuchPath => error(StatusCode::NOT_FOUND, "no-such-path"),
        Refusal::Method { allow } => {
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            answer
        }
        Refusal::Key(detail) => detailed(StatusCode::BAD_REQUEST, "bad-key", detail),
        Refusal::Query(detail) => detailed(StatusCode::BAD_REQUEST, "bad-request", detail),
        Refusal::ValueTooLarge => error(StatusCode::PAYLOAD_TOO_LARGE, "value-too-large"),
        Refusal::BrokenBody => detailed(StatusCode::BAD_REQUEST, "bad-request", "the body is incomplete"),
    }
}

/// Keys and values as percent-encoded text: JSON has no bytes.
fn listing(entries: &[(Bytes, Bytes)]) -> Value {
    let pairs: Vec<_> =
        entries.iter().map(|(key, value)| (percent_encode(key), percent_encode(value))).collect();
    json!({ "entries": pairs })
}

/// The unreserved characters of RFC 3986 stay; every other byte becomes `%` and two hexadecimal digits.
fn percent_encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn not_leader(leader: Option<NodeId>) -> Response<Full<Bytes>> {
    let name = leader.map(|leader| leader.to_string());
    let body = json!({ "error": "not-leader", "leader": name, "leader_client": null });
    let mut answer = json_answer(StatusCode::MISDIRECTED_REQUEST, &body);
    if let Some(name) = name {
        let value = HeaderValue::from_str(&name).expect("invariant: node ids are printable ASCII");
        answer.headers_mut().insert("x-raft-leader", value);
    }
    answer
}

fn error(status: StatusCode, word: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({ "error": word }))
}

fn detailed(status: StatusCode, word: &str, detail: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({ "error": word, "detail": detail }))
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", body.to_string().into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
