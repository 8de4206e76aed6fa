//! Histories by simulating a register: valid by construction, unless a test corrupts them afterwards.

use crate::rows::{Rows, operation};
use history::{Nanos, Operation, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What one step of a script does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act {
    /// Which client acts; the last number lets an operation of unknown outcome take effect.
    pub client: usize,
    pub function: u8,
    pub first: u8,
    pub second: u8,
    /// Below [`CRASH`], the client gives its operation up.
    pub roll: u8,
}

pub(super) const CLIENTS: usize = 4;
const CRASH: u8 = 40;

/// What clients of a script do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// Reads and writes of values that are all different.
    Unique,
    /// Reads and writes of few values.
    Repeated,
    /// Reads, writes and compare-and-sets of few values.
    Cas,
}

pub(super) fn script(acts: usize) -> impl Strategy<Value = Vec<Act>> {
    let act = (0..=CLIENTS, 0..3_u8, 0..3_u8, 0..3_u8, any::<u8>());
    let act =
        act.prop_map(|(client, function, first, second, roll)| Act { client, function, first, second, roll });
    proptest::collection::vec(act, 4..acts)
}

pub(super) fn mix() -> impl Strategy<Value = Mix> {
    prop_oneof![Just(Mix::Unique), Just(Mix::Repeated), Just(Mix::Cas)]
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    Invoked(usize),
    Effected(usize),
}

/// A register in the middle of a simulation.
pub(super) struct Simulation {
    pub history: Rows,
    register: Value,
    stages: Vec<Stage>,
    processes: Vec<u32>,
    next_process: u32,
    /// Operations that were given up before they took effect.
    ghosts: Vec<usize>,
    pub now: u64,
    pub key: Option<String>,
}

impl Simulation {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            history: Rows::default(),
            register: Value::Null,
            stages: vec![Stage::Idle; clients],
            processes: (0..clients as u32).collect(),
            next_process: clients as u32,
            ghosts: Vec::new(),
            now: 0,
            key: None,
        }
    }

    pub(super) fn act(&mut self, mix: Mix, act: Act) {
        self.now += u64::from(act.roll) % 3;
        if act.client >= self.stages.len() {
            if let Some(ghost) = self.ghosts.pop() {
                self.take_effect(ghost);
            }
            return;
        }
        self.stages[act.client] = match self.stages[act.client] {
            Stage::Idle => self.invoke(mix, act),
            Stage::Invoked(at) if act.roll < CRASH => self.give_up(act.client, Some(at)),
            Stage::Invoked(at) => {
                let output = self.take_effect(at);
                self.history.operations[at].output = output;
                Stage::Effected(at)
            }
            Stage::Effected(at) if act.roll < CRASH => {
                self.history.operations[at].output = Value::Null;
                self.give_up(act.client, None)
            }
            Stage::Effected(at) => {
                let operation = &mut self.history.operations[at];
                operation.ret = Some(Nanos(self.now));
                operation.outcome = Outcome::Ok;
                Stage::Idle
            }
        };
    }

    /// Lets every open operation return.
    fn complete(&mut self) {
        for client in 0..self.stages.len() {
            while !matches!(self.stages[client], Stage::Idle) {
                self.act(Mix::Repeated, Act { client, function: 0, first: 0, second: 0, roll: u8::MAX });
            }
        }
    }

    /// The history; operations that are still open are of unknown outcome.
    pub(super) fn finish(mut self) -> Rows {
        let open = |operation: &&mut Operation| operation.outcome == Outcome::Info;
        self.history.operations.iter_mut().filter(open).for_each(|operation| operation.output = Value::Null);
        self.history
    }

    fn invoke(&mut self, mix: Mix, act: Act) -> Stage {
        let index = self.history.operations.len();
        let unique = json!(index + 1);
        let (first, second) = (json!(act.first), json!(act.second));
        let (f, input) = match (mix, act.function) {
            (_, 0) => ("read", Value::Null),
            (Mix::Unique, _) => ("write", unique),
            (Mix::Cas, 2) => ("cas", json!([first, second])),
            _ => ("write", first),
        };
        let mut operation = operation(index as u64, self.processes[act.client], f, input);
        operation.key.clone_from(&self.key);
        operation.call = Nanos(self.now);
        self.history.operations.push(operation);
        Stage::Invoked(index)
    }

    fn give_up(&mut self, client: usize, ghost: Option<usize>) -> Stage {
        self.ghosts.extend(ghost);
        self.processes[client] = self.next_process;
        self.next_process += 1;
        Stage::Idle
    }

    fn take_effect(&mut self, at: usize) -> Value {
        let operation = &self.history.operations[at];
        match operation.f.as_str() {
            "read" => self.register.clone(),
            "write" => {
                self.register = operation.input.clone();
                Value::Null
            }
            _ => {
                let matched = self.register == operation.input[0];
                if matched {
                    self.register = operation.input[1].clone();
                }
                Value::Bool(matched)
            }
        }
    }
}

/// Plays a script.
pub(super) fn play(mix: Mix, script: &[Act]) -> Rows {
    let mut simulation = Simulation::new(CLIENTS);
    script.iter().for_each(|act| simulation.act(mix, *act));
    simulation.finish()
}

/// Changes one observation; the history may be invalid afterwards.
pub(super) fn corrupt(history: &mut Rows, which: usize, value: u8) {
    let observed = |operation: &&mut Operation| operation.outcome == Outcome::Ok && operation.f != "write";
    let mut observations: Vec<&mut Operation> = history.operations.iter_mut().filter(observed).collect();
    if observations.is_empty() {
        return;
    }
    let chosen = which % observations.len();
    let output = &mut observations[chosen].output;
    *output = match output {
        Value::Bool(matched) => Value::Bool(!*matched),
        _ if value == 0 => Value::Null,
        _ => json!(value),
    };
}

/// A small generator of pseudo-random numbers (xorshift64*), the same on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// A valid history on one key: `acts` steps of `clients` clients, about one operation in `crash_one_in` given up.
pub(super) fn long(mix: Mix, clients: usize, acts: usize, crash_one_in: u64, seed: u64) -> Rows {
    let mut random = Random::new(seed);
    let mut simulation = Simulation::new(clients);
    for _ in 0..acts {
        let crash = crash_one_in > 0 && random.below(crash_one_in * 2) == 0;
        let act = Act {
            client: random.below(clients as u64 * 50 + 1) as usize / 50,
            function: random.below(3) as u8,
            first: random.below(5) as u8,
            second: random.below(5) as u8,
            roll: if crash { 0 } else { CRASH + random.below(200) as u8 },
        };
        simulation.act(mix, act);
    }
    simulation.complete();
    simulation.finish()
}

/// Lets a read at about `place` (0 to 1) of a history of unique values return what had certainly been overwritten;
/// `false` when there is none that can.
pub(super) fn stale_read(history: &mut Rows, place: f64) -> bool {
    let operations = &history.operations;
    let from = (operations.len() as f64 * place) as usize;
    let reads = (from..operations.len()).filter(|at| operations[*at].f == "read");
    let stale = reads.filter(|at| operations[*at].outcome == Outcome::Ok).find_map(|read| {
        let newer = last_write_before(operations, operations[read].call)?;
        let older = last_write_before(operations, newer.call)?;
        Some((read, older.input.clone()))
    });
    let Some((read, value)) = stale else { return false };
    history.operations[read].output = value;
    true
}

fn last_write_before(operations: &[Operation], moment: Nanos) -> Option<&Operation> {
    let writes = operations.iter().filter(|operation| operation.f == "write");
    writes
        .filter(|write| write.effective_end().is_some_and(|end| end < moment))
        .max_by_key(|write| write.call)
}
