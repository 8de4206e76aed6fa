//! Clients of one object, simulated over JSON: what they observe is right by construction, and some give up before they know.

use checker::Spec;
use history::{Nanos, NodeId, Operation, Outcome, Process};
use serde_json::{Value, json};

/// How many clients one key has.
const CLIENTS: usize = 4;

/// One of so many steps is a client giving up.
const CRASH_ONE_IN: u64 = 100;

/// A small generator of pseudo-random numbers (xorshift64*), the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    Invoked(usize),
    Effected(usize),
}

/// An object in the middle of a simulation.
struct Simulation<'r> {
    spec: Spec,
    random: &'r mut Random,
    rows: Vec<Operation>,
    state: Value,
    stages: [Stage; CLIENTS],
    processes: [u32; CLIENTS],
    next_process: u32,
    /// Operations that were given up before they took effect.
    ghosts: Vec<usize>,
    now: u64,
}

/// A valid history of one key with about so many operations. Its processes are called `first_process` and on.
pub(crate) fn simulate(
    spec: Spec,
    key: &str,
    first_process: u32,
    operations: usize,
    random: &mut Random,
) -> Vec<Operation> {
    let mut simulation = Simulation {
        spec,
        random,
        rows: Vec::new(),
        state: empty(spec),
        stages: [Stage::Idle; CLIENTS],
        processes: std::array::from_fn(|client| first_process + client as u32),
        next_process: first_process + CLIENTS as u32,
        ghosts: Vec::new(),
        now: 100,
    };
    while simulation.rows.len() < operations {
        simulation.step();
    }
    let mut rows = simulation.rows;
    for row in &mut rows {
        row.key = Some(key.to_owned());
        if row.outcome == Outcome::Info {
            row.output = Value::Null;
        }
    }
    rows
}

impl Simulation<'_> {
    fn step(&mut self) {
        self.now += self.random.below(3) * 10;
        if self.random.below(50) == 0
            && let Some(ghost) = self.ghosts.pop()
        {
            self.take_effect(ghost);
        }
        let client = self.random.below(CLIENTS as u64) as usize;
        let crashes = self.random.below(CRASH_ONE_IN) == 0;
        self.stages[client] = match self.stages[client] {
            Stage::Idle => self.invoke(client),
            Stage::Invoked(at) if crashes => self.give_up(client, Some(at)),
            Stage::Invoked(at) => {
                self.take_effect(at);
                Stage::Effected(at)
            }
            Stage::Effected(_) if crashes => self.give_up(client, None),
            Stage::Effected(at) => {
                self.rows[at].ret = Some(Nanos(self.now));
                self.rows[at].outcome = Outcome::Ok;
                Stage::Idle
            }
        };
    }

    fn invoke(&mut self, client: usize) -> Stage {
        let (f, input) = self.ask();
        self.rows.push(Operation {
            index: 0,
            process: Process(self.processes[client]),
            node: Some(NodeId::numbered(client + 1)),
            f: f.to_owned(),
            key: None,
            input,
            output: Value::Null,
            intended: Nanos(self.now),
            call: Nanos(self.now),
            ret: None,
            outcome: Outcome::Info,
            is_final: false,
            error: None,
        });
        Stage::Invoked(self.rows.len() - 1)
    }

    fn give_up(&mut self, client: usize, ghost: Option<usize>) -> Stage {
        self.ghosts.extend(ghost);
        self.processes[client] = self.next_process;
        self.next_process += 1;
        Stage::Idle
    }

    fn take_effect(&mut self, at: usize) {
        let (f, input) = (self.rows[at].f.clone(), self.rows[at].input.clone());
        self.rows[at].output = self.apply(&f, &input);
    }

    /// What a client asks next.
    fn ask(&mut self) -> (&'static str, Value) {
        let unique = json!(self.rows.len() + 1);
        let few = json!(self.random.below(5));
        let letter = json!(["a", "b", "c"][self.random.below(3) as usize]);
        let roll = self.random.below(6);
        let nothing = Value::Null;
        match self.spec {
            Spec::Register => match roll {
                0..=2 => ("read", nothing),
                3 => ("cas", json!([self.state, few])),
                _ => ("write", few),
            },
            Spec::VersionedRegister => match roll {
                0..=2 => ("read", nothing),
                3 => ("cas", json!([self.state[1], unique])),
                _ => ("write", unique),
            },
            Spec::Kv => match roll {
                0..=1 => ("get", nothing),
                2 => ("append", letter),
                3 => ("cas", json!([self.state, letter])),
                4 if self.random.below(4) == 0 => ("delete", nothing),
                _ => ("put", letter),
            },
            Spec::Set => match roll {
                0 => ("read", nothing),
                1..=2 => ("contains", few),
                3 => ("remove", few),
                _ => ("add", few),
            },
            Spec::Counter if roll < 3 => ("read", nothing),
            Spec::Counter => ("add", json!(self.random.below(9) as i64 - 2)),
            Spec::Queue | Spec::UnorderedQueue if roll < 3 => ("enqueue", unique),
            Spec::Queue | Spec::UnorderedQueue => ("dequeue", nothing),
            Spec::Stack if roll < 3 => ("push", unique),
            Spec::Stack => ("pop", nothing),
            Spec::Mutex if roll < 3 => ("acquire", nothing),
            Spec::Mutex => ("release", nothing),
            Spec::AppendList if roll < 3 => ("read", nothing),
            Spec::AppendList => ("append", unique),
        }
    }

    /// Changes the state, and returns what is observed.
    fn apply(&mut self, f: &str, input: &Value) -> Value {
        match self.spec {
            Spec::VersionedRegister => self.apply_versioned(f, input),
            Spec::Mutex => self.apply_mutex(f),
            Spec::Register | Spec::Kv | Spec::Counter => self.apply_scalar(f, input),
            _ => self.apply_list(f, input),
        }
    }

    fn apply_scalar(&mut self, f: &str, input: &Value) -> Value {
        match f {
            "read" | "get" => return self.state.clone(),
            "cas" => {
                let matched = self.state == input[0];
                if matched {
                    self.state = input[1].clone();
                }
                return json!(matched);
            }
            "append" => {
                let before = self.state.as_str().unwrap_or_default();
                self.state = json!([before, input.as_str().unwrap()].concat());
            }
            "add" => self.state = json!(self.state.as_i64().unwrap() + input.as_i64().unwrap()),
            "delete" => self.state = Value::Null,
            _ => self.state = input.clone(),
        }
        Value::Null
    }

    fn apply_versioned(&mut self, f: &str, input: &Value) -> Value {
        let next = self.state[1].as_u64().unwrap() + 1 + self.random.below(2);
        match f {
            "read" => return self.state.clone(),
            "cas" if self.state[1] != input[0] => return json!(false),
            "cas" => self.state = json!([input[1], next]),
            _ => self.state = json!([input, next]),
        }
        json!(next)
    }

    fn apply_mutex(&mut self, f: &str) -> Value {
        let is_held = self.state[0] == true;
        if is_held == (f == "acquire") {
            return json!(false);
        }
        let token = self.state[1].as_u64().unwrap() + u64::from(!is_held);
        self.state = json!([!is_held, token]);
        if is_held { Value::Null } else { json!(token) }
    }

    fn apply_list(&mut self, f: &str, input: &Value) -> Value {
        let any = self.random.below(1 << 20) as usize;
        let list = self.state.as_array_mut().unwrap();
        let place = list.iter().position(|element| element == input);
        match (f, place) {
            ("read", _) => return json!(list),
            ("contains", _) => return json!(place.is_some()),
            ("dequeue" | "pop", _) if list.is_empty() => return Value::Null,
            ("dequeue", _) if self.spec == Spec::Queue => return list.remove(0),
            ("dequeue", _) => return list.swap_remove(any % list.len()),
            ("pop", _) => return list.pop().unwrap(),
            ("remove", Some(at)) => _ = list.remove(at),
            ("remove", None) | ("add", Some(_)) => {}
            _ => list.push(input.clone()),
        }
        Value::Null
    }
}

/// The state at the beginning.
fn empty(spec: Spec) -> Value {
    match spec {
        Spec::Register | Spec::Kv => Value::Null,
        Spec::VersionedRegister => json!([null, 0]),
        Spec::Counter => json!(0),
        Spec::Mutex => json!([false, 0]),
        _ => json!([]),
    }
}
