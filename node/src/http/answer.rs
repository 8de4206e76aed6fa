//! From replies and refusals to HTTP answers. Every error has one status code and one word.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value as Json, json};

use super::transaction::MAX_TRANSACTION_PARTS;
use super::watch::Lines;
use super::{MAX_CONTROL_BYTES, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, render};
use crate::machine::{
    Applied, Compacted, Effect, Impossible, MAX_AHEAD, MAX_TRANSACTION_ANSWER_BYTES, MAX_VALUE_BYTES,
    Outcome, Rejection, Revision, Stored, Value,
};
use crate::raft::{self, NodeId};
use crate::server::Reply;

/// A whole body, or the lines of a watcher.
pub(super) type Answer = Response<Either<Full<Bytes>, Lines>>;

/// Why a request did not reach the driver; nothing happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchPath,
    Method {
        allow: &'static str,
    },
    EmptyKey,
    KeyTooLong,
    Query(String),
    ValueTooLarge,
    TransactionTooLarge,
    TooManyParts,
    OrderTooLarge,
    BrokenBody,
    SlowBody,
    /// Too many requests at a time, or too many bytes of them.
    Overloaded,
    TooManyWatchers,
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
pub(super) fn reply(reply: Reply) -> Answer {
    match reply {
        Reply::Applied(applied) => what_came_of_it(applied),
        Reply::Changed => json_answer(StatusCode::OK, &json!({ "changed": true })),
        Reply::Value { found, revision } => value(found, revision),
        Reply::Entries { entries: Some(entries), revision } => {
            let mut answer = json_answer(StatusCode::OK, &render::listing(&entries));
            answer.headers_mut().insert(STORE_REVISION, revision.0.into());
            answer
        }
        Reply::Entries { entries: None, .. } => {
            let detail = "the keys with this prefix have too much; ask for longer prefixes";
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "listing-too-large", detail)
        }
        Reply::Status(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::NotLeader(leader) => not_leader(leader),
        Reply::Overloaded => error(StatusCode::TOO_MANY_REQUESTS, "overloaded"),
        Reply::UnknownOutcome => error(StatusCode::SERVICE_UNAVAILABLE, "unknown-outcome"),
        Reply::NoQuorum => error(StatusCode::SERVICE_UNAVAILABLE, "no-quorum"),
        Reply::Members(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::Refused(refusal) => unfitting(refusal),
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
        Reply::Log(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::Hash(report) => json_answer(StatusCode::OK, &json!(report)),
        Reply::Compacted(Compacted { oldest }) => {
            let detail =
                "changes from that revision on are gone here; read, and watch from what you have read";
            let body = json!({ "error": "compacted", "oldest": oldest.0, "detail": detail });
            json_answer(StatusCode::GONE, &body)
        }
        Reply::Changes { .. } | Reply::Metrics(_) => {
            unreachable!("invariant: who asks for lines makes lines of the reply")
        }
    }
}

const REVISION: HeaderName = HeaderName::from_static("x-revision");
const CREATED_REVISION: HeaderName = HeaderName::from_static("x-created-revision");
const VERSION: HeaderName = HeaderName::from_static("x-version");
const STORE_REVISION: HeaderName = HeaderName::from_static("x-store-revision");

fn value(found: Option<Stored>, revision: Revision) -> Answer {
    let Some(Stored { value, created, modified, version, .. }) = found else {
        let mut absent = error(StatusCode::NOT_FOUND, "absent");
        absent.headers_mut().insert(STORE_REVISION, revision.0.into());
        return absent;
    };
    let mut found = match value {
        Value::Raw(bytes) => answer(StatusCode::OK, "application/octet-stream", bytes),
        Value::List(list) => json_answer(StatusCode::OK, &render::list(&list)),
    };
    let headers = found.headers_mut();
    headers.insert(REVISION, modified.0.into());
    headers.insert(CREATED_REVISION, created.0.into());
    headers.insert(VERSION, version.into());
    headers.insert(STORE_REVISION, revision.0.into());
    found
}

fn what_came_of_it(applied: Applied) -> Answer {
    match applied {
        Applied::Registered(session) => json_answer(StatusCode::OK, &json!({ "session": session })),
        Applied::Written(Outcome { position, revision, effect }) => match effect {
            Effect::Single { matched } => {
                let body = render::written(position, revision, matched);
                answer(StatusCode::OK, "application/json", body.into())
            }
            Effect::Transaction(transacted) => {
                json_answer(StatusCode::OK, &render::transacted(position, revision, &transacted))
            }
            Effect::Impossible(impossible) => not_possible(impossible),
        },
        Applied::Rejected(rejection) => reject(rejection),
    }
}

fn not_possible(impossible: Impossible) -> Answer {
    match impossible {
        Impossible::NotAList => {
            detailed(StatusCode::CONFLICT, "not-a-list", "a key that has a value cannot be appended to")
        }
        Impossible::ListTooLarge => {
            let detail = format!("a list has at most {MAX_VALUE_BYTES} bytes, with 4 more for each element");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "list-too-large", &detail)
        }
        Impossible::AnswerTooLarge => {
            let detail = format!("a transaction reads at most {MAX_TRANSACTION_ANSWER_BYTES} bytes");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "answer-too-large", &detail)
        }
    }
}

fn reject(rejection: Rejection) -> Answer {
    match rejection {
        Rejection::Expired => {
            let detail =
                "there is no such session any more; register, and find out what your last writes did";
            detailed(StatusCode::GONE, "session-expired", detail)
        }
        Rejection::Answered => {
            let detail = "you said that you have the answer of this write";
            detailed(StatusCode::CONFLICT, "already-answered", detail)
        }
        Rejection::TooFarAhead => {
            let detail = format!("a number may be {MAX_AHEAD} ahead of what you said to be answered");
            detailed(StatusCode::BAD_REQUEST, "too-far-ahead", &detail)
        }
        Rejection::TooMany => error(StatusCode::TOO_MANY_REQUESTS, "too-many-sessions"),
        Rejection::TooMuchKept => {
            let detail = "too many answers are kept; say with answered= up to which number you have them";
            detailed(StatusCode::TOO_MANY_REQUESTS, "too-many-answers", detail)
        }
    }
}

/// A change that does not fit: a word for programs, and a sentence.
fn unfitting(refusal: raft::Refusal) -> Answer {
    let (reason, detail) = match refusal {
        raft::Refusal::Empty => ("empty", "it changes nothing".to_owned()),
        raft::Refusal::Pending => {
            ("pending", "another change is not complete; try again when it is".to_owned())
        }
        raft::Refusal::TooEarly => {
            ("too-early", "this leader has committed nothing yet; try again in a moment".to_owned())
        }
        raft::Refusal::Member(id) => ("member", format!("{id} is a member already")),
        raft::Refusal::NotMember(id) => {
            ("not-member", format!("{id} is no member, or no learner that could be promoted"))
        }
        raft::Refusal::Behind(id) => {
            ("behind", format!("{id} lacks too much of the log; try again when it has caught up"))
        }
        raft::Refusal::NoVoter => ("no-voter", "nobody would be left to vote".to_owned()),
    };
    let body = json!({ "error": "change-refused", "reason": reason, "detail": detail });
    json_answer(StatusCode::CONFLICT, &body)
}

/// The answer to a request that makes no sense, or asks for too much.
pub(super) fn refuse(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NoSuchPath => error(StatusCode::NOT_FOUND, "no-such-path"),
        Refusal::Method { allow } => {
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            answer
        }
        Refusal::EmptyKey => detailed(StatusCode::BAD_REQUEST, "bad-key", "the key is empty"),
        Refusal::KeyTooLong => {
            let detail = format!("a key has at most {MAX_KEY_BYTES} bytes");
            detailed(StatusCode::URI_TOO_LONG, "key-too-long", &detail)
        }
        Refusal::Query(detail) => detailed(StatusCode::BAD_REQUEST, "bad-request", detail),
        Refusal::ValueTooLarge => {
            let detail = format!("a value has at most {MAX_VALUE_BYTES} bytes");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "value-too-large", &detail)
        }
        Refusal::TransactionTooLarge => {
            let detail = format!("the body has at most {MAX_TRANSACTION_BYTES} bytes");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "transaction-too-large", &detail)
        }
        Refusal::TooManyParts => {
            let detail = format!("a transaction has at most {MAX_TRANSACTION_PARTS} guards and steps");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "transaction-too-large", &detail)
        }
        Refusal::OrderTooLarge => {
            let detail = format!("an order has at most {MAX_CONTROL_BYTES} bytes");
            detailed(StatusCode::PAYLOAD_TOO_LARGE, "order-too-large", &detail)
        }
        Refusal::SlowBody => {
            detailed(StatusCode::REQUEST_TIMEOUT, "slow-body", "the body did not arrive in time")
        }
        Refusal::BrokenBody => detailed(StatusCode::BAD_REQUEST, "bad-request", "the body is incomplete"),
        Refusal::Overloaded => {
            detailed(StatusCode::TOO_MANY_REQUESTS, "overloaded", "too many requests at a time; try again")
        }
        Refusal::TooManyWatchers => detailed(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-watchers",
            "end another one, or ask another node",
        ),
    }
}

fn not_leader(leader: Option<NodeId>) -> Answer {
    let name = leader.map(|leader| leader.to_string());
    let body = json!({ "error": "not-leader", "leader": name, "leader_client": null });
    let mut answer = json_answer(StatusCode::MISDIRECTED_REQUEST, &body);
    if let Some(name) = name {
        let value = HeaderValue::from_str(&name).expect("invariant: node ids are printable ASCII");
        answer.headers_mut().insert("x-raft-leader", value);
    }
    answer
}

fn error(status: StatusCode, word: &str) -> Answer {
    json_answer(status, &json!({ "error": word }))
}

fn detailed(status: StatusCode, word: &str, detail: &str) -> Answer {
    json_answer(status, &json!({ "error": word, "detail": detail }))
}

fn json_answer(status: StatusCode, body: &Json) -> Answer {
    answer(status, "application/json", body.to_string().into())
}

/// A whole answer.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
