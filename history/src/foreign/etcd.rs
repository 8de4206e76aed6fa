//! `operations.json` of etcd's robustness tests: whole operations, of one client a file.
//!
//! | request | event |
//! |---|---|
//! | range of one key, or a transaction of such a range alone | `read` -> `[value, mod revision]`, or `[null, 0]` |
//! | transaction that puts one key | `write` -> the revision |
//! | transaction that puts one key if its mod revision is what is expected | `cas` `[revision, value]` -> the new revision or `false` |
//! | transaction that deletes one key | see below |
//! | lease, defragment, compact | none: they change no key (a put with a lease is refused) |
//!
//! That is the model `versioned-register`. It knows no absence after a presence, so when anything was deleted the history
//! is read as `kv` instead: `get`, `put`, `delete`, and `cas` for a put of an absent key; revisions are given up,
//! and a compare with any other revision is refused. So is everything else: ranges over several keys or of
//! old revisions, several operations in one transaction, conditions on another key or on a version.
//!
//! An error, or an answer that nobody saw, makes a change `info` and a read `fail` (no answer). A range in the failure branch of
//! a compare tells more than `false`; that is given up. Return times are taken as recorded.
//!
//! One client's file is only a part: values come from the others. It is refused when the others lie beside it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::WHOLE_OPERATIONS_LIMIT;
use super::etcd_shape::{Operation, Request, Response, Transaction, Whole};
use super::json::Objects;
use super::order::Ordered;
use super::source::{Next, Source};
use crate::file::{ReadError, open_input};
use crate::{Event, EventKind, Header, Nanos, Process};

/// The name of a client's file in the directory of a test.
const FILE_NAME: &str = "operations.json";

/// What a request does to its key.
#[derive(Debug, PartialEq)]
enum Action {
    Read,
    Put(String),
    /// Puts the value if the mod revision is this.
    Compare(i64, String),
    Delete,
}

/// What is known of its end.
#[derive(Debug, PartialEq)]
enum Answer {
    Read(Option<(String, i64)>),
    /// The revision of the change; `None` when the compare failed.
    Changed(Option<i64>),
    /// It certainly did not happen.
    Refused(String),
    Unknown(String),
}

/// Where an operation stands: the number of the file, and the line.
#[derive(Debug, Clone, Copy)]
struct Origin {
    file: usize,
    line: u64,
}

#[derive(Debug)]
struct Recorded {
    origin: Origin,
    process: Process,
    call: u64,
    ret: u64,
    key: String,
    action: Action,
    answer: Answer,
}

/// The events of one or several files, in order of time.
pub(super) struct Operations {
    paths: Vec<PathBuf>,
    header: Header,
    /// Ordered by descending call time, so that the next one is the last.
    waiting: Vec<Recorded>,
    ordered: Ordered<Origin>,
    next_index: u64,
    skipped: u64,
    last: Origin,
}

impl Operations {
    /// Reads the files of all clients in the directory of a test.
    pub(super) fn of_directory(directory: &Path) -> Result<Self, ReadError> {
        let paths = client_files(directory)?;
        if paths.is_empty() {
            let reason = format!("no client-*/{FILE_NAME} in this directory");
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, reason);
            return Err(ReadError::Io { path: directory.to_owned(), source });
        }
        let mut collected = Collected::default();
        for (file, path) in paths.iter().enumerate() {
            collected.read(file, Source::new(path, Box::new(open_input(path)?)))?;
        }
        collected.finish(paths)
    }

    /// Reads one file, unless it is one client's and the others lie beside it.
    pub(super) fn of_file(path: &Path, source: Source) -> Result<Self, ReadError> {
        let full = path.canonicalize().unwrap_or_default();
        let client = full.parent().filter(|client| is_client(client));
        if let Some(directory) = client.and_then(Path::parent)
            && client_files(directory).is_ok_and(|files| files.len() > 1)
        {
            let reason = format!(
                "these are the operations of one client only; give the directory {} that holds those of all",
                directory.display()
            );
            return Err(source.error_at(1, reason));
        }
        let mut collected = Collected::default();
        collected.read(0, source)?;
        collected.finish(vec![path.to_owned()])
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The file and line of the event that was returned last.
    pub(super) fn place(&self) -> (&Path, u64) {
        (&self.paths[self.last.file], self.last.line)
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        loop {
            let horizon = self.waiting.last().map_or(Nanos(u64::MAX), |next| Nanos(next.call));
            let ready = self.ordered.pop_before(horizon);
            let ready = if self.waiting.is_empty() { ready.or_else(|| self.ordered.pop()) } else { ready };
            if let Some((mut event, origin)) = ready {
                event.index = self.next_index;
                self.next_index += 1;
                self.last = origin;
                return Some(event);
            }
            let next = self.waiting.pop()?;
            let origin = next.origin;
            let [invoke, completion] = events(next, self.header.workload == KV);
            self.ordered.push(invoke, origin);
            self.ordered.push(completion, origin);
        }
    }
}

const KV: &str = "kv";
const VERSIONED: &str = "versioned-register";

/// The files of all clients in the directory of a test, by the number of the client.
fn client_files(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let error = |source| ReadError::Io { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let client = entry.map_err(error)?.path();
        if is_client(&client) && client.join(FILE_NAME).is_file() {
            files.push(client.join(FILE_NAME));
        }
    }
    files.sort_by_cached_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(files)
}

fn is_client(path: &Path) -> bool {
    let number =
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("client-"));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// All operations, before it is known which model they need.
#[derive(Default)]
struct Collected {
    operations: Vec<Recorded>,
    skipped: u64,
}

impl Collected {
    fn read(&mut self, file: usize, source: Source) -> Result<(), ReadError> {
        let mut objects = Objects::new(source);
        loop {
            match objects.next::<Whole>()? {
                Next::Item(line, whole) => {
                    let recorded = recorded(Origin { file, line }, whole);
                    match recorded.map_err(|reason| objects.source().error_at(line, reason))? {
                        Some(recorded) => self.operations.push(recorded),
                        None => self.skipped += 1,
                    }
                    if self.operations.len() > WHOLE_OPERATIONS_LIMIT {
                        let reason = format!("more than {WHOLE_OPERATIONS_LIMIT} operations");
                        return Err(objects.source().error_at(line, reason));
                    }
                }
                Next::End => return Ok(()),
                Next::Torn(torn) => {
                    let reason = format!(
                        "{}; an operation is recorded here only when it is complete, so others may have seen \
                         what is torn off",
                        torn.reason
                    );
                    return Err(objects.source().error_at(torn.line, reason));
                }
            }
        }
    }

    fn finish(mut self, paths: Vec<PathBuf>) -> Result<Operations, ReadError> {
        let deletes = self.operations.iter().any(|recorded| recorded.action == Action::Delete);
        let unfit =
            |recorded: &&Recorded| matches!(recorded.action, Action::Compare(revision, _) if revision != 0);
        if let Some(unfit) = self.operations.iter().find(unfit).filter(|_| deletes) {
            let reason = "a compare with a revision in a history with deletes: no model has both".into();
            let Origin { file, line } = unfit.origin;
            return Err(ReadError::Line { path: paths[file].clone(), line, reason });
        }
        // The sort is stable: what a client did at one time stays in the order of its file.
        self.operations.sort_by_key(|recorded| std::cmp::Reverse(recorded.call));
        reverse_equal_calls(&mut self.operations);
        Ok(Operations {
            paths,
            header: Header::linearizable(if deletes { KV } else { VERSIONED }, "the clients'"),
            waiting: self.operations,
            ordered: Ordered::default(),
            next_index: 0,
            skipped: self.skipped,
            last: Origin { file: 0, line: 1 },
        })
    }
}

/// Operations are taken from the end, so those of one call time stand in reverse.
fn reverse_equal_calls(operations: &mut [Recorded]) {
    for same in operations.chunk_by_mut(|a, b| a.call == b.call) {
        same.reverse();
    }
}

/// Reads one operation; `None` when it touches no key.
fn recorded(origin: Origin, whole: Whole) -> Result<Option<Recorded>, String> {
    let Some((key, action)) = action(&whole.input)? else { return Ok(None) };
    let process = u32::try_from(whole.client_id)
        .map_err(|_| format!("ClientId {} is not a number from 0 to {}", whole.client_id, u32::MAX))?;
    let call = u64::try_from(whole.call).map_err(|_| format!("Call {} is negative", whole.call))?;
    let answer = answer(&key, &action, &whole.output)?;
    let ret = match (u64::try_from(whole.ret), &answer) {
        (Ok(ret), _) if ret >= call => ret,
        // Where nobody knows the end, older files have 0 and newer ones -1.
        (_, Answer::Unknown(_)) => call,
        _ => return Err(format!("Return {} lies before Call {call}", whole.ret)),
    };
    Ok(Some(Recorded { origin, process: Process(process), call, ret, key, action, answer }))
}

/// The key that a request is about, and what it does to it.
fn action(request: &Request) -> Result<Option<(String, Action)>, String> {
    match (request.kind.as_str(), &request.range, &request.txn) {
        ("range", Some(range), _) if range.end.is_empty() && range.revision == 0 => {
            Ok(Some((range.start.clone(), Action::Read)))
        }
        ("range", Some(range), _) if range.end.is_empty() => {
            Err(format!("unsupported: a range of the old revision {}", range.revision))
        }
        ("range", Some(range), _) => {
            Err(format!("unsupported: a range over several keys, from {:?} to {:?}", range.start, range.end))
        }
        ("txn", _, Some(transaction)) => transaction_action(transaction).map(Some),
        ("leaseGrant" | "leaseRevoke" | "defragment" | "compact", ..) => Ok(None),
        (kind, ..) => Err(format!("unsupported: a request of type {kind:?}")),
    }
}

fn transaction_action(transaction: &Transaction) -> Result<(String, Action), String> {
    let [operation] = transaction.on_success() else {
        let count = transaction.on_success().len();
        return Err(format!("unsupported: a transaction of {count} operations"));
    };
    let (key, action) = operation_action(operation)?;
    match transaction.conditions() {
        [] if transaction.on_failure().is_empty() => Ok((key, action)),
        [condition] if condition.key == key && condition.expected_version == 0 => {
            let is_fit = transaction.on_failure().iter().all(|failure| failure.kind == "range-operation");
            match action {
                Action::Put(value) if is_fit => {
                    Ok((key, Action::Compare(condition.expected_revision, value)))
                }
                Action::Put(_) => Err("unsupported: a change when a compare fails".into()),
                _ => Err(format!("unsupported: a {} that depends on a compare", operation.kind)),
            }
        }
        conditions => Err(format!(
            "unsupported: {} conditions that are not one compare of the mod revision of {key:?}",
            conditions.len()
        )),
    }
}

fn operation_action(operation: &Operation) -> Result<(String, Action), String> {
    match operation.kind.as_str() {
        "range-operation" if operation.range.end.is_empty() => {
            Ok((operation.range.start.clone(), Action::Read))
        }
        "put-operation" if operation.put.lease_id == 0 => {
            Ok((operation.put.key.clone(), Action::Put(operation.put.value.text())))
        }
        "delete-operation" => Ok((operation.delete.key.clone(), Action::Delete)),
        "range-operation" => Err("unsupported: a range over several keys in a transaction".into()),
        "put-operation" => {
            Err("unsupported: a put with a lease, which may delete the key at any time".into())
        }
        kind => Err(format!("unsupported: an operation of type {kind:?}")),
    }
}

fn answer(key: &str, action: &Action, response: &Response) -> Result<Answer, String> {
    if !response.client_error.is_empty() {
        return Ok(Answer::Refused(response.client_error.clone()));
    }
    if !response.error.is_empty() {
        return Ok(Answer::Unknown(response.error.clone()));
    }
    if response.persisted || response.partial_response {
        return Ok(Answer::Unknown("the client saw no answer".into()));
    }
    let failed = response.txn.as_ref().is_some_and(|txn| txn.failure);
    match action {
        Action::Read => {
            let results = response.txn.as_ref().and_then(|txn| txn.results.as_deref());
            let range = response.range.as_ref().or_else(|| results.and_then(<[_]>::first));
            let found = range.ok_or("the answer to a range holds no range")?.key_values();
            match found {
                [] => Ok(Answer::Read(None)),
                [found] if found.key == key => {
                    Ok(Answer::Read(Some((found.value.text(), found.mod_revision))))
                }
                _ => Err(format!("the answer to a range of {key:?} holds other keys")),
            }
        }
        _ if response.txn.is_none() => Err("the answer to a transaction holds no transaction".into()),
        Action::Compare(..) if failed => Ok(Answer::Changed(None)),
        _ if failed => Err("a transaction without conditions cannot fail".into()),
        Action::Delete => Ok(Answer::Changed(Some(response.revision))),
        _ if response.revision > 0 => Ok(Answer::Changed(Some(response.revision))),
        _ => Err(format!("revision {} of an acknowledged put is not positive", response.revision)),
    }
}

/// The invocation and the completion of an operation.
fn events(recorded: Recorded, as_kv: bool) -> [Event; 2] {
    let (f, argument) = match (&recorded.action, as_kv) {
        (Action::Read, false) => ("read", Value::Null),
        (Action::Read, true) => ("get", Value::Null),
        (Action::Put(value), false) => ("write", json!(value)),
        (Action::Put(value), true) => ("put", json!(value)),
        (Action::Compare(revision, value), false) => ("cas", json!([revision, value])),
        (Action::Compare(_, value), true) => ("cas", json!([null, value])),
        (Action::Delete, _) => ("delete", Value::Null),
    };
    let is_compare = matches!(recorded.action, Action::Compare(..));
    let (kind, value, error) = match recorded.answer {
        Answer::Refused(error) => (EventKind::Fail, Value::Null, Some(error)),
        Answer::Unknown(error) if recorded.action == Action::Read => {
            (EventKind::Fail, Value::Null, Some(error))
        }
        Answer::Unknown(error) => (EventKind::Info, Value::Null, Some(error)),
        Answer::Read(found) if as_kv => (EventKind::Ok, json!(found.map(|(value, _)| value)), None),
        Answer::Read(found) => {
            let (value, revision) = found.map_or((None, 0), |(value, revision)| (Some(value), revision));
            (EventKind::Ok, json!([value, revision]), None)
        }
        Answer::Changed(None) => (EventKind::Ok, json!(false), None),
        Answer::Changed(Some(_)) if as_kv && is_compare => (EventKind::Ok, json!(true), None),
        Answer::Changed(Some(_)) if as_kv => (EventKind::Ok, Value::Null, None),
        Answer::Changed(Some(revision)) => (EventKind::Ok, json!(revision), None),
    };
    let event = |kind, time, value, error| Event {
        index: 0,
        time: Nanos(time),
        kind,
        process: recorded.process,
        node: None,
        f: f.into(),
        key: Some(recorded.key.clone()),
        value,
        intended: None,
        is_final: false,
        error,
    };
    [event(EventKind::Invoke, recorded.call, argument, None), event(kind, recorded.ret, value, error)]
}
