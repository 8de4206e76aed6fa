//! The protocol core that ships, under a model checker: all states that small clusters can reach.

mod actor;
mod cluster;
#[path = "../core/describe.rs"]
mod describe;
mod hashed;
mod history;
mod node;
mod scope;
mod scopes;
