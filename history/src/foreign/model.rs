//! Which model fits a history that does not name its own.
//!
//! The functions decide where they can. Where several models have the same functions, what was observed does: `add` and
//! `read` are a set when reads return lists and a counter when they return numbers. What stays open is answered with the
//! candidates, never with a guess.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Event, EventKind};

/// The models and their functions.
const MODELS: [(&str, &[&str]); 11] = [
    ("register", &["read", "write"]),
    ("cas-register", &["read", "write", "cas"]),
    ("versioned-register", &["read", "write", "cas"]),
    ("kv", &["get", "put", "append", "cas", "delete"]),
    ("set", &["add", "remove", "contains", "read"]),
    ("counter", &["add", "read"]),
    ("queue", &["enqueue", "dequeue"]),
    ("stack", &["push", "pop"]),
    ("mutex", &["acquire", "release"]),
    ("append-list", &["append", "read"]),
    // A first-in-first-out queue is the stronger promise, so it is the one that is meant unless the user says otherwise.
    ("unordered-queue", &["enqueue", "dequeue"]),
];

/// How many different functions are remembered; more than any model has.
const FUNCTIONS_LIMIT: usize = 16;

/// The model that the functions alone decide.
pub fn guess_model(functions: &[&str]) -> Option<&'static str> {
    let mut guess = ModelGuess::default();
    for f in functions {
        guess.function(f);
    }
    guess.model()
}

/// Looks at events as they are read, and says which model fits them.
#[derive(Debug, Clone, Default)]
pub struct ModelGuess {
    functions: BTreeSet<String>,
    reads: Reads,
    /// A `write` returned a number: the version.
    has_write_versions: bool,
    /// A `write` returned nothing.
    has_plain_writes: bool,
}

/// What all reads so far returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reads {
    /// Nothing that says anything.
    #[default]
    None,
    /// `[value, number]`, which are also lists.
    Versioned,
    Lists,
    Numbers,
    Others,
}

impl ModelGuess {
    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        if !self.functions.contains(&event.f) {
            self.function(&event.f);
        }
        if event.kind != EventKind::Ok {
            return;
        }
        match event.f.as_str() {
            "read" => self.reads = self.reads.and(&event.value),
            "write" if event.value.is_u64() => self.has_write_versions = true,
            "write" => self.has_plain_writes = true,
            _ => {}
        }
    }

    /// The model, when only one fits.
    pub fn model(&self) -> Option<&'static str> {
        match self.candidates().as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Every model that fits; none when a function belongs to no model, or nothing was seen.
    pub fn candidates(&self) -> Vec<&'static str> {
        let fits = |functions: &[&str]| self.functions.iter().all(|f| functions.contains(&f.as_str()));
        let fitting: Vec<&str> = MODELS
            .into_iter()
            .filter(|(model, functions)| !self.functions.is_empty() && fits(functions) && self.agrees(model))
            .map(|(model, _)| model)
            .collect();
        self.preferred(fitting)
    }

    fn function(&mut self, f: &str) {
        if self.functions.len() < FUNCTIONS_LIMIT {
            self.functions.insert(f.to_owned());
        }
    }

    /// Whether what was observed can come from the model.
    fn agrees(&self, model: &str) -> bool {
        match model {
            "set" | "append-list" => {
                matches!(self.reads, Reads::None | Reads::Lists | Reads::Versioned)
            }
            "counter" => matches!(self.reads, Reads::None | Reads::Numbers),
            "versioned-register" => {
                !self.has_plain_writes && matches!(self.reads, Reads::None | Reads::Versioned)
            }
            "register" | "cas-register" => !self.is_versioned(),
            _ => true,
        }
    }

    fn is_versioned(&self) -> bool {
        self.has_write_versions && matches!(self.reads, Reads::None | Reads::Versioned)
    }

    /// Where one of the fitting models is what everybody means, only that one.
    fn preferred(&self, mut fitting: Vec<&'static str>) -> Vec<&'static str> {
        let beats = |winner: &str, loser: &str| match (winner, loser) {
            ("queue", "unordered-queue") => true,
            ("register", "cas-register") => true,
            ("register" | "cas-register", "versioned-register") => self.reads != Reads::Versioned,
            _ => false,
        };
        let all = fitting.clone();
        // A register's functions are those of anything that is read: alone, `read` says nothing.
        let only_reads = self.functions.len() == 1 && self.functions.contains("read");
        fitting.retain(|loser| only_reads || !all.iter().any(|winner| beats(winner, loser)));
        fitting
    }
}

impl Reads {
    fn and(self, value: &Value) -> Self {
        let is_pair = |items: &[Value]| items.len() == 2 && items[1].is_u64();
        let seen = match value {
            Value::Null => return self,
            Value::Array(items) if is_pair(items) => Self::Versioned,
            Value::Array(_) => Self::Lists,
            Value::Number(number) if !number.is_f64() => Self::Numbers,
            _ => Self::Others,
        };
        match (self, seen) {
            (Self::None, seen) => seen,
            (known, seen) if known == seen => known,
            (Self::Lists | Self::Versioned, Self::Lists | Self::Versioned) => Self::Lists,
            _ => Self::Others,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Nanos, Process};

    fn guess(functions: &[&str], observed: &[(&str, Value)]) -> ModelGuess {
        let mut guess = ModelGuess::default();
        let event = |kind, f: &str, value| Event {
            index: 0,
            time: Nanos(0),
            kind,
            process: Process(0),
            node: None,
            f: f.to_owned(),
            key: None,
            value,
            intended: None,
            is_final: false,
            error: None,
        };
        for f in functions {
            guess.observe(&event(EventKind::Invoke, f, Value::Null));
        }
        for (f, value) in observed {
            guess.observe(&event(EventKind::Ok, f, value.clone()));
        }
        guess
    }

    #[test]
    fn functions_that_one_model_has_decide() {
        assert_eq!(guess_model(&["get", "put", "append"]), Some("kv"));
        assert_eq!(guess_model(&["get"]), Some("kv"));
        assert_eq!(guess_model(&["enqueue", "dequeue"]), Some("queue"));
        assert_eq!(guess_model(&["push", "pop"]), Some("stack"));
        assert_eq!(guess_model(&["acquire", "release"]), Some("mutex"));
        assert_eq!(guess_model(&["add", "contains"]), Some("set"));
        assert_eq!(guess_model(&["append", "read"]), Some("append-list"));
        assert_eq!(guess_model(&["read", "write"]), Some("register"));
        assert_eq!(guess_model(&["read", "write", "cas"]), Some("cas-register"));
    }

    #[test]
    fn observations_decide_between_set_and_counter() {
        assert_eq!(guess(&["add"], &[("read", json!([1, 2, 3]))]).model(), Some("set"));
        assert_eq!(guess(&["add"], &[("read", json!([5, 1]))]).model(), Some("set"));
        assert_eq!(guess(&["add"], &[("read", json!(7))]).model(), Some("counter"));
        assert_eq!(guess(&["add"], &[("read", json!(null))]).candidates(), ["set", "counter"]);
    }

    #[test]
    fn versions_that_writes_return_make_a_versioned_register() {
        let observed = [("write", json!(4)), ("read", json!(["x", 4])), ("read", json!([null, 0]))];
        assert_eq!(guess(&["cas"], &observed).model(), Some("versioned-register"));
        assert_eq!(
            guess(&["cas"], &[("read", json!([1, 4]))]).candidates(),
            ["cas-register", "versioned-register"]
        );
        assert_eq!(guess(&["cas"], &[("read", json!(3)), ("write", json!(4))]).model(), Some("cas-register"));
        let pairs = [("write", json!(null)), ("read", json!([1, 4]))];
        assert_eq!(guess(&["cas"], &pairs).model(), Some("cas-register"));
    }

    #[test]
    fn ambiguous_or_unknown_functions_decide_nothing() {
        assert_eq!(guess(&["append"], &[]).candidates(), ["kv", "append-list"]);
        assert_eq!(guess(&["cas"], &[]).candidates(), ["cas-register", "kv"]);
        assert!(guess(&["read"], &[]).candidates().len() > 3);
        assert_eq!(guess(&["read"], &[]).model(), None);
        assert!(guess(&["txn", "read"], &[]).candidates().is_empty());
        assert!(guess(&[], &[]).candidates().is_empty());
    }
}
