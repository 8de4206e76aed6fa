//! Histories as drawings: one lane per process, one column per tenth of a second.
//!
//! ```text
//! # a comment; the first one says what the drawing shows
//! check: register            (the name of a model, or set-full)
//! key: k7                    (optional)
//!
//! p1@n1 | [write 1 ]
//! p2@n2 |             [cas 1 2 = true ]  [read = 2 ]
//! p3    |    [write 9    ?
//! ```
//!
//! An operation is called at its `[` and ends at its closing mark: `]` ok, `!` failed, `?` unknown (it may take effect
//! for ever). After `=` stands what was observed, as JSON; arguments are JSON, too. `final read` is a read of the final
//! phase. What the checker must answer follows after a line `---`.

use history::{History, Nanos, NodeId, Operation, Outcome, Process};
use serde_json::Value;

/// Nanoseconds per column.
const COLUMN: u64 = 100_000_000;

/// A parsed drawing.
pub(crate) struct Drawing {
    pub(crate) check: String,
    pub(crate) history: History,
    /// Everything above the line `---`.
    pub(crate) picture: String,
    /// Everything below it.
    pub(crate) expected: String,
}

/// Parses a scenario file.
pub(crate) fn parse(text: &str) -> Drawing {
    let (picture, expected) = text.split_once("\n---\n").expect("a line --- between drawing and expectation");
    let setting = |name: &str| {
        let line = picture.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(|value| value.trim().to_owned())
    };
    let key = setting("key");
    let lanes = picture.lines().filter_map(|line| line.split_once('|'));
    let mut operations: Vec<Operation> =
        lanes.flat_map(|(name, lane)| parse_lane(name.trim(), lane)).collect();
    number(&mut operations);
    operations.iter_mut().for_each(|operation| operation.key.clone_from(&key));
    Drawing {
        check: setting("check").expect("a line `check: …`"),
        history: History { header: None, operations: operations.into_iter().collect() },
        picture: picture.to_owned(),
        expected: expected.to_owned(),
    }
}

fn parse_lane(name: &str, lane: &str) -> Vec<Operation> {
    let (process, node) = name.split_once('@').map_or((name, None), |(process, node)| (process, Some(node)));
    let process = process.trim_start_matches('p').parse().expect("a process such as p3");
    let mut operations = Vec::new();
    let mut at = 0;
    while let Some(begin) = lane[at..].find('[').map(|offset| at + offset) {
        let end = closing_mark(lane, begin);
        let mut operation = parse_operation(lane[begin + 1..end].trim());
        operation.process = Process(process);
        operation.node = node.map(|node| NodeId(node.to_owned()));
        operation.call = Nanos(begin as u64 * COLUMN);
        operation.ret = Some(Nanos(end as u64 * COLUMN));
        operation.outcome = match lane.as_bytes()[end] {
            b']' => Outcome::Ok,
            b'!' => Outcome::Fail,
            _ => Outcome::Info,
        };
        operations.push(operation);
        at = end + 1;
    }
    operations
}

/// Where the operation that begins at `begin` ends; brackets inside belong to lists.
fn closing_mark(lane: &str, begin: usize) -> usize {
    let mut depth = 0;
    let marks = lane.char_indices().skip(begin + 1).find(|(_, mark)| {
        match mark {
            '[' => depth += 1,
            ']' if depth > 0 => depth -= 1,
            ']' | '!' | '?' => return true,
            _ => {}
        }
        false
    });
    marks.expect("an operation that ends with ], ! or ?").0
}

fn parse_operation(text: &str) -> Operation {
    let (call, observed) =
        text.split_once('=').map_or((text, ""), |(call, observed)| (call, observed.trim()));
    let mut words = call.split_whitespace().peekable();
    let is_final = words.next_if_eq(&"final").is_some();
    let f = words.next().expect("a function");
    let mut inputs: Vec<Value> = words.map(json).collect();
    let input = if inputs.len() > 1 { Value::Array(inputs) } else { inputs.pop().unwrap_or(Value::Null) };
    Operation {
        index: 0,
        process: Process(0),
        node: None,
        f: f.to_owned(),
        key: None,
        input,
        output: if observed.is_empty() { Value::Null } else { json(observed) },
        intended: Nanos(0),
        call: Nanos(0),
        ret: None,
        outcome: Outcome::Info,
        is_final,
        error: None,
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("`{text}` is not JSON: {error}"))
}

/// Gives invocations the indices that they would have in a recorded file.
fn number(operations: &mut [Operation]) {
    operations.sort_by_key(|operation| (operation.call, operation.process));
    let mut events: Vec<(Nanos, bool, usize)> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        events.push((operation.call, false, at));
        events.extend(operation.ret.map(|end| (end, true, at)));
    }
    events.sort_unstable();
    for (index, (_, is_return, at)) in events.into_iter().enumerate() {
        if !is_return {
            operations[at].index = index as u64;
        }
    }
}
