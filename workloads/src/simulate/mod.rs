//! Histories of simulated objects: seeded, of any length, linearizable by construction, or wrong where it is wanted.
//!
//! Clients are always busy on a number of independent keys. An operation lasts between 0.2 and 1.8 units of
//! [`UNIT_NS`] and takes effect on a plain sequential object at one moment inside, so that the order of the
//! effects is a linearization. An operation of unknown outcome either never takes effect or does so up to four
//! durations after its invocation, perhaps long after its client gave it up. Such a client goes on as a new
//! process.
//!
//! A violation changes what one operation observed (two, where values are swapped) and nothing else: without
//! violations the same seed gives the same history but for these values. Each is *provable* from a few operations
//! whatever the unknown ones did; every model says why where it makes one up.
//!
//! | model | operations | violation |
//! |---|---|---|
//! | `register` | half reads, half writes of unique integers | stale read |
//! | `cas-register` | reads, writes, compare-and-sets of few values | stale read; empty read where no stale one is provable |
//! | `versioned-register` | reads, writes, compare-and-sets of the version | stale read |
//! | `kv` | get, put, append, cas, delete of short unique strings | stale get |
//! | `set` | add, remove, contains of elements that live a while | lost or resurrected element |
//! | `counter` | half reads, half additions | sum out of reach |
//! | `queue`, `stack` | half insertions of unique integers, half removals | two removals in the wrong order |
//! | `unordered-queue` | the same | an element delivered twice |
//! | `mutex` | acquire with fencing tokens, release | a token that does not grow |
//! | `append-list` | half appends of unique integers, half reads | a read misses an appended element |
//!
//! The same [`Simulation`] gives the same events on every machine. Memory is bounded by concurrency, keys and the
//! window of operations around a place where a violation is sought, not by the length of the history.
//! It does not simulate failures (`fail`), equal stamps, or several objects in one operation.
//!
//! Start reading at [`simulate`], then `engine.rs`, then a model such as `register.rs`.

mod append_list;
mod collection;
mod counter;
mod editor;
mod engine;
mod few_values;
mod kv;
mod model;
mod mutex;
mod register;
mod set;
mod settled;
mod stale;
mod versioned;
mod window;

#[cfg(test)]
mod tests;

use checker::Spec;
use history::{Event, Nanos};
use serde_json::Value;

use append_list::AppendList;
use collection::{Collection, Order};
use counter::Counter;
use engine::Engine;
use kv::Kv;
use model::Model;
use mutex::Mutex;
use register::Register;
use set::Set;
use versioned::Versioned;

pub use model::{SimulatedModel, UnknownModel};

/// The mean duration of an operation, in nanoseconds.
pub const UNIT_NS: u64 = 1_000_000;
/// The longest history; without pauses its stamps are exact in every reader of JSON.
pub const OPERATIONS_LIMIT: u64 = 1_000_000_000;
/// Clients that are busy at the same time.
pub const CONCURRENCY_LIMIT: u32 = 1000;
/// Independent objects; each is in memory.
pub const KEYS_LIMIT: u64 = 1 << 20;
/// Elements of all sets together that are in use at the same time.
pub const POOL_LIMIT: u64 = 1 << 24;
/// The longest mean pause of a client between two operations.
pub const THINK_TIME_LIMIT: Nanos = Nanos(1000 * UNIT_NS);

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The object.
    pub model: SimulatedModel,
    /// How many operations are invoked.
    pub operations: u64,
    /// How many clients are busy at the same time.
    pub concurrency: u32,
    /// How many independent objects there are; every operation picks one uniformly.
    pub keys: u64,
    /// Of a hundred operations, so many end with an unknown outcome.
    pub unknown_percent: f64,
    /// How many observations are falsified: one at 60 % of the history, more are spread over its last four fifths.
    pub violations: u32,
    /// How many values a `cas-register` has, or how many elements of a `set` are in use at the same time; see
    /// [`SimulatedModel::default_values`]. Other models do not read it.
    pub values: u64,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

/// Why a simulation cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// A number is out of its bounds.
    #[error("{what} {found}: between {least} and {most} are possible")]
    OutOfBounds {
        /// The name of the number, as on the command line.
        what: &'static str,
        /// The number.
        found: String,
        /// The least that is possible.
        least: u64,
        /// The most that is possible.
        most: u64,
    },
    /// Too many elements in memory.
    #[error("keys {keys} with {values} values each: at most {POOL_LIMIT} values are possible together")]
    PoolTooLarge {
        /// The number of keys.
        keys: u64,
        /// The number of values of each.
        values: u64,
    },
}

impl Simulation {
    /// Says whether the simulation is possible.
    ///
    /// # Errors
    /// When a number is out of its bounds.
    pub fn check(&self) -> Result<(), SimulationError> {
        within("operations", self.operations, 1, OPERATIONS_LIMIT)?;
        within("concurrency", u64::from(self.concurrency), 1, u64::from(CONCURRENCY_LIMIT))?;
        within("keys", self.keys, 1, KEYS_LIMIT)?;
        within("violations", u64::from(self.violations), 0, self.operations)?;
        if !(0.0..=100.0).contains(&self.unknown_percent) {
            let found = self.unknown_percent.to_string();
            return Err(SimulationError::OutOfBounds { what: "unknown", found, least: 0, most: 100 });
        }
        if self.model.default_values().is_some() {
            within("values", self.values, 1, POOL_LIMIT)?;
            if self.keys.saturating_mul(self.values) > POOL_LIMIT {
                return Err(SimulationError::PoolTooLarge { keys: self.keys, values: self.values });
            }
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u64, least: u64, most: u64) -> Result<(), SimulationError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(SimulationError::OutOfBounds { what, found: found.to_string(), least, most })
}

/// What was simulated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Operations invoked.
    pub operations: u64,
    /// Operations of unknown outcome among them.
    pub unknown: u64,
    /// Events given to the sink.
    pub events: u64,
    /// The stamp of the last event.
    pub span: Nanos,
    /// What was falsified, in the order of the history; fewer than were wanted when too few operations lend
    /// themselves.
    pub violations: Vec<Violation>,
}

/// A falsified observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The operations whose observation is not what happened, named by the index of their invocation.
    pub operations: Vec<u64>,
    /// What is wrong, in words.
    pub what: &'static str,
}

/// Simulates clients that are always busy and gives every event to the sink, in the order of time.
///
/// # Errors
/// When the sink refuses an event.
///
/// # Panics
/// When [`Simulation::check`] refuses the simulation.
pub fn simulate<E>(simulation: &Simulation, sink: impl FnMut(Event) -> Result<(), E>) -> Result<Summary, E> {
    simulate_paced(simulation, Nanos(0), sink)
}

/// As [`simulate`], but clients pause between two operations, for `think_time` on average and at most twice that.
///
/// # Errors
/// When the sink refuses an event.
///
/// # Panics
/// When [`Simulation::check`] refuses the simulation or the pause is longer than [`THINK_TIME_LIMIT`].
pub fn simulate_paced<E>(
    simulation: &Simulation,
    think_time: Nanos,
    sink: impl FnMut(Event) -> Result<(), E>,
) -> Result<Summary, E> {
    simulate_traced(simulation, think_time, sink, |_, _| {})
}

/// As [`simulate_paced`], and tells `effects` which operation (the index of its invocation) takes effect and what it
/// truly observes, in the order that makes the history linearizable.
fn simulate_traced<E>(
    simulation: &Simulation,
    think_time: Nanos,
    sink: impl FnMut(Event) -> Result<(), E>,
    effects: impl FnMut(u64, &Value),
) -> Result<Summary, E> {
    simulation.check().expect("invariant: the caller asks for a possible simulation");
    assert!(think_time <= THINK_TIME_LIMIT, "invariant: the caller asks for a possible pause");
    let trial = Trial { simulation, think_time, sink, effects };
    let (keys, values) = (to_usize(simulation.keys), simulation.values);
    let clients = to_usize(simulation.concurrency.into());
    let collection = |order| Collection::new(order, keys, clients, simulation.seed);
    match simulation.model {
        SimulatedModel::Of(Spec::Register) => trial.of(Register::of_unique_values(keys)),
        SimulatedModel::CasRegister => trial.of(Register::of_few_values(keys, values)),
        SimulatedModel::Of(Spec::VersionedRegister) => trial.of(Versioned::new(keys)),
        SimulatedModel::Of(Spec::Kv) => trial.of(Kv::new(keys)),
        SimulatedModel::Of(Spec::Set) => trial.of(Set::new(keys, values)),
        SimulatedModel::Of(Spec::Counter) => trial.of(Counter::new(keys)),
        SimulatedModel::Of(Spec::Queue) => trial.of(collection(Order::Fifo)),
        SimulatedModel::Of(Spec::UnorderedQueue) => trial.of(collection(Order::Any)),
        SimulatedModel::Of(Spec::Stack) => trial.of(collection(Order::Lifo)),
        SimulatedModel::Of(Spec::Mutex) => trial.of(Mutex::new(keys, clients)),
        SimulatedModel::Of(Spec::AppendList) => trial.of(AppendList::new(keys)),
    }
}

/// A simulation whose object is still to be chosen.
struct Trial<'a, S, T> {
    simulation: &'a Simulation,
    think_time: Nanos,
    sink: S,
    effects: T,
}

impl<S, T: FnMut(u64, &Value)> Trial<'_, S, T> {
    fn of<M: Model, E>(self, model: M) -> Result<Summary, E>
    where
        S: FnMut(Event) -> Result<(), E>,
    {
        Engine::new(self.simulation, self.think_time, model, self.sink, self.effects).run()
    }
}

/// Numbers of clients, keys and elements are bounded far below the address space.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("invariant: bounded by `Simulation::check`")
}
