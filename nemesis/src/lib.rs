//! Faults with heal and evidence, links between nodes, and the guardian that spawns them.

mod audit;
pub mod diag;
mod endpoint;
pub mod guardian;
pub mod links;
pub mod process;
mod processes;
mod registry;
mod sink;

pub use audit::Bypass;
pub use endpoint::{Endpoint, Link};
pub use links::Links;
pub use processes::{ProcessError, Processes};
pub use registry::Registry;
pub use sink::EventSink;
