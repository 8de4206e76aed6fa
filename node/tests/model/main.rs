//! The protocol core that ships, under a model checker (stateright): every state that small clusters can reach.
//!
//! A server is the core, a disk, and the driver between them (`node`); with its clients it is an actor (`actor`) in a model of
//! stateright (`cluster`) whose network loses, duplicates, delays and reorders as it likes, whose timers fire at any time, and whose
//! servers crash and lose what is not durable. A `scope` bounds it. In every state hold the properties of Raft, figure 3,
//! the linearizability of what clients saw (`history`), and the assertions of the core. `mutants` shows that they would be
//! broken if the core were wrong.
//!
//! What is not here: snapshots, hand-overs of leadership, steps that take in several things at once, and whether anything good
//! happens at all. The simulation (`../core/simulation.rs`) has them, without going through everything.
//!
//! The scopes of ordinary test runs are exhausted in about a minute of one core. A larger one:
//!
//! ```text
//! cargo test --release -p node --test model -- --ignored --nocapture
//! ```

mod actor;
mod cluster;
#[path = "../core/describe.rs"]
mod describe;
mod hashed;
mod history;
#[cfg(feature = "mutants")]
mod mutants;
mod node;
mod scope;
mod scopes;
