//! A violation in words: a circle of what must come before what, or how far every process can come.

use history::Operations;

use super::problem::{Item, Judgeable, Problem, StateOf};
use super::saturation::{Edge, Node, Reason, Saturation};
use super::search::Stuck;
use crate::Anomaly;
use crate::linearizable::object::Object;
use crate::narration::{count, who};

/// The kind of the anomalies.
pub(super) const KIND: &str = "nonsequential";

/// The most operations, and the most lines, of an explanation.
const MAX_LISTED: usize = 40;

/// The most keys whose states are shown.
const MAX_KEYS: usize = 5;

/// A circle of operations that would all have to come before each other.
pub(super) fn circle<J: Judgeable>(
    problem: &Problem<'_, J>,
    operations: &Operations,
    saturation: &Saturation,
    circle: &[Edge],
) -> Anomaly {
    let narrator = Narrator { problem, operations };
    let name = |node: Node| narrator.name(narrator.item(saturation, node));
    let around: Vec<String> = circle.iter().map(|edge| name(edge.from)).collect();
    let mut grounds: Vec<Edge> = circle.to_vec();
    let mut at = 0;
    while at < grounds.len() && grounds.len() < MAX_LISTED {
        for edge in saturation.ground(grounds[at]) {
            if !grounds.iter().any(|known| (known.from, known.to) == (edge.from, edge.to)) {
                grounds.push(edge);
            }
        }
        at += 1;
    }
    let mut nodes: Vec<Node> = grounds.iter().flat_map(|edge| [edge.from, edge.to, edge.also()]).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let items = nodes.iter().map(|node| narrator.item(saturation, *node));
    let explanation = format!(
        "no order of all operations that keeps the order of every process explains all results: {}, then {} again would \
         have to follow each other in a circle.",
        around.join(", then "),
        around[0]
    );
    let details = grounds.iter().map(|edge| {
        let (first, second) = (name(edge.from), name(edge.to));
        let because = match edge.reason {
            Reason::Process => "the process did them in this order".to_owned(),
            Reason::Read => "the second read what the first wrote".to_owned(),
            Reason::Initial => "the first read what was there before any write".to_owned(),
            Reason::Versions => "their versions say so".to_owned(),
            Reason::BeforeRead(read) => {
                format!("the first comes before {}, which read what the second wrote", name(read))
            }
            Reason::Overwrites(write) => {
                format!("the first read {}, after which the second comes", name(write))
            }
        };
        format!("{first} comes before {second}: {because}")
    });
    anomaly(&narrator, explanation, items.collect(), details.collect())
}

impl Edge {
    /// The third operation that an inferred edge is about, or one of the two.
    fn also(&self) -> Node {
        match self.reason {
            Reason::BeforeRead(node) | Reason::Overwrites(node) => node,
            Reason::Process | Reason::Read | Reason::Initial | Reason::Versions => self.from,
        }
    }
}

/// Everything was tried: how far the best order comes.
pub(super) fn stuck<J: Judgeable>(
    problem: &Problem<'_, J>,
    operations: &Operations,
    stuck: &Stuck<StateOf<J>>,
) -> Anomaly {
    let narrator = Narrator { problem, operations };
    let fronts: Vec<&Item<J::Object>> = problem
        .sessions
        .iter()
        .zip(&stuck.done)
        .filter_map(|(session, done)| session.get(*done as usize))
        .collect();
    let done: usize = stuck.done.iter().map(|done| *done as usize).sum();
    let explanation = format!(
        "no order of the {} of {} that keeps the order of every process explains all results: the best one stops after {done}, \
         when none of {} is possible.",
        count(problem.len(), "operation"),
        processes(problem.sessions.len()),
        fronts.iter().take(MAX_KEYS).map(|item| narrator.name(item)).collect::<Vec<_>>().join(", "),
    );
    let mut items: Vec<&Item<J::Object>> = problem.sessions.iter().flatten().collect();
    if items.len() > MAX_LISTED {
        items.clone_from(&fronts);
    }
    let shown = stuck.states.iter().enumerate().take(MAX_KEYS).map(|(key, state)| {
        let name =
            operations.names().get(problem.keys[key]).map_or_else(String::new, |key| format!("key {key}: "));
        format!("then {name}{}", problem.object().show_states(std::slice::from_ref(state)))
    });
    let refused =
        fronts.iter().take(MAX_LISTED).map(|item| format!("{} is not possible then", narrator.name(item)));
    let details = shown.chain(refused).collect();
    anomaly(&narrator, explanation, items, details)
}

fn processes(number: usize) -> String {
    if number == 1 { "1 process".to_owned() } else { format!("{number} processes") }
}

fn anomaly<J: Judgeable>(
    narrator: &Narrator<'_, J>,
    explanation: String,
    items: Vec<&Item<J::Object>>,
    details: Vec<String>,
) -> Anomaly {
    let key = items.first().map(|item| item.key);
    let key = key.filter(|key| items.iter().all(|item| item.key == *key));
    let key = key.and_then(|key| narrator.operations.names().get(narrator.problem.keys[key as usize]));
    let mut indices: Vec<u64> =
        items.iter().map(|item| narrator.operations.index(item.call.position as usize)).collect();
    indices.sort_unstable();
    let place = key.map_or_else(String::new, |key| format!("key {key}: "));
    Anomaly {
        id: String::new(),
        kind: KIND.to_owned(),
        explanation: format!("{place}{explanation}"),
        operations: indices,
        key: key.map(str::to_owned),
        details,
    }
}

struct Narrator<'a, J: Judgeable> {
    problem: &'a Problem<'a, J>,
    operations: &'a Operations,
}

impl<'a, J: Judgeable> Narrator<'a, J> {
    fn item(&self, saturation: &Saturation, node: Node) -> &'a Item<J::Object> {
        let place = saturation.place(node);
        &self.problem.sessions[place.session as usize][place.index as usize]
    }

    /// `#3 write 5 of key x by process 2`.
    fn name(&self, item: &Item<J::Object>) -> String {
        let operation = self.operations.get(item.call.position as usize);
        let call = self.problem.object().show_call(&item.call);
        let key = operation.key.as_ref().map_or_else(String::new, |key| format!(" of key {key}"));
        format!("#{} {call}{key} by {}", operation.index, who(&operation))
    }
}
