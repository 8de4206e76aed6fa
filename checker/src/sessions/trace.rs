//! What every session did, in its order: which write each of its reads returned, and what it wrote.

use history::{History, NameId, Nanos, Operations, Outcome, Process, ValueId, Values};
use rustc_hash::FxHashMap;

use crate::CheckError;
use crate::linearizable::completion;
use crate::linearizable::object::{malformed_input, malformed_output, unknown_function};

/// The number of a write in [`Trace::writes`].
pub(super) type WriteId = u32;

/// No operation.
pub(super) const NOBODY: u32 = u32::MAX;

/// The end of time.
const NEVER: Nanos = Nanos(u64::MAX);

/// What a key held at some time: what a write made, or the initial value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub key: u32,
    /// The value, or the version where versions are observed.
    pub name: u64,
    /// Its place in the history; [`NOBODY`] for the initial value, and for a version that no write is known to have made.
    pub position: u32,
    /// The session that made it, and which of its accesses that was.
    pub session: u32,
    pub index: u32,
    pub call: Nanos,
    /// When it was first known: acknowledged, or read.
    pub known: Nanos,
    /// The operation that makes it known.
    pub known_by: u32,
}

/// What one operation of a session did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub position: u32,
    pub key: u32,
    pub read: Option<WriteId>,
    pub write: Option<WriteId>,
    pub is_acknowledged: bool,
}

/// All sessions of a history.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Whether names of writes are versions.
    pub is_versioned: bool,
    pub sessions: Vec<Vec<Access>>,
    pub writes: Vec<Write>,
    /// For every key its name and its initial value.
    pub keys: Vec<(NameId, WriteId)>,
    /// How many reads returned what no single write is known to have written.
    pub unattributed: usize,
}

impl Trace {
    pub(super) fn read(history: &History) -> Result<Self, CheckError> {
        let operations = &history.operations;
        let mut reader = Reader::new(operations, is_versioned(history));
        let deeds = (0..operations.len()).map(|at| reader.deed(at)).collect::<Result<Vec<_>, _>>()?;
        deeds.iter().enumerate().for_each(|(at, deed)| reader.note_write(at, deed));
        deeds.iter().enumerate().for_each(|(at, deed)| reader.note_access(at, deed));
        Ok(reader.trace)
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let accesses: usize = self.sessions.iter().map(Vec::capacity).sum();
        let of_keys = self.keys.capacity() * size_of::<(NameId, WriteId)>();
        let of_sessions = self.sessions.capacity() * size_of::<Vec<Access>>();
        let of_writes = self.writes.capacity() * size_of::<Write>();
        (accesses * size_of::<Access>() + of_writes + of_keys + of_sessions) as u64
    }

    /// Whether one value of a key is known to be older than another.
    pub(super) fn is_older(&self, one: WriteId, other: WriteId) -> bool {
        let (older, newer) = (&self.writes[one as usize], &self.writes[other as usize]);
        if self.is_versioned {
            return older.name < newer.name;
        }
        let initial = self.keys[older.key as usize].1;
        let same_session =
            older.session == newer.session && older.session != NOBODY && older.index < newer.index;
        one != other && other != initial && (one == initial || older.known < newer.call || same_session)
    }
}

/// What an operation asked for and got, before anybody knows who wrote what.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deed {
    /// The value or version that was read.
    pub read: Option<u64>,
    /// The value or version that was written.
    pub write: Option<u64>,
}

struct Reader<'a> {
    operations: &'a Operations,
    trace: Trace,
    keys: FxHashMap<NameId, u32>,
    /// `None` stands for several writes of the same value.
    names: FxHashMap<(u32, u64), Option<WriteId>>,
    /// The session of a process, and the end of its last operation.
    processes: FxHashMap<Process, (u32, Nanos)>,
}

impl<'a> Reader<'a> {
    fn new(operations: &'a Operations, is_versioned: bool) -> Self {
        Self {
            operations,
            trace: Trace { is_versioned, ..Trace::default() },
            keys: FxHashMap::default(),
            names: FxHashMap::default(),
            processes: FxHashMap::default(),
        }
    }

    fn deed(&self, at: usize) -> Result<Deed, CheckError> {
        completion(self.operations, at)?;
        deed(self.operations, at, self.trace.is_versioned)
    }

    /// The number of a key, which has its initial value from the beginning.
    fn key(&mut self, name: NameId) -> u32 {
        if let Some(key) = self.keys.get(&name) {
            return *key;
        }
        let key = self.trace.keys.len() as u32;
        self.keys.insert(name, key);
        let initial = self.write(key, 0);
        self.trace.writes[initial as usize].known = Nanos(0);
        self.trace.keys.push((name, initial));
        key
    }

    /// A new write that nobody made yet.
    fn write(&mut self, key: u32, name: u64) -> WriteId {
        let write = self.trace.writes.len() as WriteId;
        self.trace.writes.push(Write {
            key,
            name,
            position: NOBODY,
            session: NOBODY,
            index: NOBODY,
            call: Nanos(0),
            known: NEVER,
            known_by: NOBODY,
        });
        self.names.insert((key, name), Some(write));
        write
    }

    fn note_write(&mut self, at: usize, deed: &Deed) {
        let key = self.key(self.operations.key(at));
        let Some(name) = deed.write else { return };
        if let Some(found) = self.names.get_mut(&(key, name)) {
            *found = None;
            return;
        }
        let call = self.operations.call(at);
        let write = self.write(key, name);
        let write = &mut self.trace.writes[write as usize];
        (write.position, write.call) = (at as u32, call);
        write.learn(self.operations, at);
    }

    fn note_access(&mut self, at: usize, deed: &Deed) {
        if self.operations.outcome(at) == Outcome::Fail {
            return;
        }
        let key = self.key(self.operations.key(at));
        let read = deed.read.and_then(|name| self.source(at, key, name));
        let write = deed.write.and_then(|name| self.names[&(key, name)]);
        let session = self.session(at);
        let accesses = &mut self.trace.sessions[session as usize];
        if let Some(write) = write {
            let write = &mut self.trace.writes[write as usize];
            (write.session, write.index) = (session, accesses.len() as u32);
        }
        let is_acknowledged = self.operations.outcome(at) == Outcome::Ok;
        accesses.push(Access { position: at as u32, key, read, write, is_acknowledged });
    }

    /// The write whose value was read.
    fn source(&mut self, at: usize, key: u32, name: u64) -> Option<WriteId> {
        let end = self.operations.ret(at)?;
        let found = match self.names.get(&(key, name)) {
            None if self.trace.is_versioned => Some(self.write(key, name)),
            None => None,
            Some(found) => *found,
        };
        let is_versioned = self.trace.is_versioned;
        let found = found.filter(|write| is_versioned || self.trace.writes[*write as usize].call <= end);
        match found {
            Some(write) => self.trace.writes[write as usize].learn(self.operations, at),
            None => self.trace.unattributed += 1,
        }
        found
    }

    /// The session of an operation. What follows an operation of unknown outcome, or overlaps the one before, has no
    /// order to it and begins a new session.
    fn session(&mut self, at: usize) -> u32 {
        let (process, call) = (self.operations.process(at), self.operations.call(at));
        let end = match self.operations.outcome(at) {
            Outcome::Info => NEVER,
            _ => self.operations.ret(at).unwrap_or(NEVER),
        };
        let session = match self.processes.get(&process) {
            Some((session, before)) if *before <= call && *before != NEVER => *session,
            _ => {
                self.trace.sessions.push(Vec::new());
                self.trace.sessions.len() as u32 - 1
            }
        };
        self.processes.insert(process, (session, end));
        session
    }
}

impl Write {
    /// An operation that is `ok` makes it known when it completes.
    fn learn(&mut self, operations: &Operations, at: usize) {
        let end = operations.ret(at).filter(|_| operations.outcome(at) == Outcome::Ok);
        if let Some(end) = end.filter(|end| *end < self.known) {
            (self.known, self.known_by) = (end, at as u32);
        }
    }
}

/// Whether results carry versions: what the header says, or else what the first acknowledged write or read shows.
fn is_versioned(history: &History) -> bool {
    let operations = &history.operations;
    match history.header.as_ref().map(|header| header.workload.as_str()) {
        Some("versioned-register") => return true,
        Some("register" | "cas-register" | "kv") => return false,
        _ => {}
    }
    let of = |function: &'static str| {
        let function = operations.names().find(function);
        let is_meant = move |at: &usize| Some(operations.function(*at)) == function;
        (0..operations.len()).filter(is_meant).filter(|at| operations.outcome(*at) == Outcome::Ok)
    };
    let values = operations.values();
    if let Some(write) = of("write").next() {
        return values.integer(operations.output(write)).is_some();
    }
    let mut reads = of("read").peekable();
    reads.peek().is_some() && reads.all(|at| read_version(values, operations.output(at)).is_some())
}

/// What an operation read and wrote, as far as its result says. The absent value and the first version are 0.
pub(crate) fn deed(operations: &Operations, at: usize, is_versioned: bool) -> Result<Deed, CheckError> {
    if is_versioned { versioned_deed(operations, at) } else { plain_deed(operations, at) }
}

fn plain_deed(operations: &Operations, at: usize) -> Result<Deed, CheckError> {
    let (values, input, output) = (operations.values(), operations.input(at), operations.output(at));
    let outcome = operations.outcome(at);
    let name = |value: ValueId| Some(u64::from(value.0));
    let deed = match function(operations, at) {
        "read" | "get" => Deed { read: name(output), write: None },
        "write" | "put" if input.is_absent() => {
            return Err(malformed_input(operations, at, "a value other than null"));
        }
        "write" | "put" => {
            return Ok(Deed { read: None, write: name(input).filter(|_| outcome != Outcome::Fail) });
        }
        "cas" => match (values.list(input), values.bool(output)) {
            (Some(&[_, new]), _) if outcome == Outcome::Info => {
                return Ok(Deed { read: None, write: name(new) });
            }
            (Some(&[expected, new]), Some(true)) => Deed { read: name(expected), write: name(new) },
            (Some(&[_, _]), Some(false)) => Deed::default(),
            (Some(&[_, _]), None) if outcome == Outcome::Ok => {
                return Err(malformed_output(operations, at, "true (it matched) or false"));
            }
            (Some(&[_, _]), None) => Deed::default(),
            _ => return Err(malformed_input(operations, at, "a pair [expected, new]")),
        },
        _ => return Err(unknown_function(operations, at, "register", KNOWN)),
    };
    Ok(if outcome == Outcome::Ok { deed } else { Deed::default() })
}

fn versioned_deed(operations: &Operations, at: usize) -> Result<Deed, CheckError> {
    let (values, input, output) = (operations.values(), operations.input(at), operations.output(at));
    let is_ok = operations.outcome(at) == Outcome::Ok;
    let written = values.integer(output).and_then(|version| u64::try_from(version).ok());
    match function(operations, at) {
        "read" if !is_ok => Ok(Deed::default()),
        "read" => match read_version(values, output) {
            Some(version) => Ok(Deed { read: Some(version), write: None }),
            None => Err(malformed_output(operations, at, "a pair [value, version]")),
        },
        "write" if is_ok && written.is_none() => {
            Err(malformed_output(operations, at, "the version that was written"))
        }
        "write" => Ok(Deed { read: None, write: written.filter(|_| is_ok) }),
        "cas" => match values.list(input) {
            Some(&[expected, _]) if is_ok && output != ValueId::FALSE => {
                let expected = values.integer(expected).and_then(|version| u64::try_from(version).ok());
                match (expected, written) {
                    (Some(_), Some(_)) => Ok(Deed { read: expected, write: written }),
                    _ => Err(malformed_output(operations, at, "the version that was written, or false")),
                }
            }
            Some(&[_, _]) => Ok(Deed::default()),
            _ => Err(malformed_input(operations, at, "a pair [expected version, new]")),
        },
        _ => Err(unknown_function(operations, at, "versioned register", "`read`, `write` and `cas`")),
    }
}

/// The functions of a register.
const KNOWN: &str = "`read` (or `get`), `write` (or `put`) and `cas`";

fn read_version(values: &Values, output: ValueId) -> Option<u64> {
    match values.list(output)? {
        [_, version] => u64::try_from(values.integer(*version)?).ok(),
        _ => None,
    }
}

fn function(operations: &Operations, at: usize) -> &str {
    operations.names().get(operations.function(at)).unwrap_or_default()
}
