//! The Raft server of shakedown: a replicated key-value store with linearizable reads and writes over HTTP.
//!
//! * [`raft`] is the protocol: inputs in, effects out, no I/O.
//! * `wal` makes promises durable on a thread of its own.
//! * `transport` carries messages between nodes.
//! * `machine` is the replicated state.
//! * [`server`] drives them all from one task, and `http` is what clients see.
//!
//! # What it guarantees
//! An acknowledged write survives the crash of any minority, and of all nodes at once when disks keep what they synced. Reads are
//! linearizable unless a client asks for `local`, or clocks break what [`Options::lease_reads`] assumes of them. An error that
//! is not about an unknown outcome means that nothing happened.
//!
//! Members come and go while it works, by joint consensus; snapshots stand for the beginning of the log.
//!
//! A write that a client numbers within a session takes effect once, however often it is sent (`sessions`).
//!
//! # What it deliberately does not do
//! Authentication.
//!
//! Start reading at [`run`], then [`server`].

mod codec;
mod error;
mod events;
mod http;
mod machine;
mod metrics;
mod mutant;
mod options;
pub mod raft;
pub mod server;
#[cfg(test)]
mod simulation;
mod transport;
mod wal;

pub use self::error::NodeError;
#[cfg(feature = "mutants")]
pub use self::mutant::Mutant;
pub use self::mutant::{control_ids, mutant_ids};
pub use self::options::Options;
pub use self::wal::WalError;

use self::server::Listeners;

/// Runs a node until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// When the node cannot start; see [`NodeError`]. A failing disk ends the process later, without returning.
pub fn run(options: Options) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NodeError::System { operation: "start the runtime", source })?;
    runtime.block_on(async {
        let termination = server::termination()?;
        let listeners = Listeners::bind(options.client, options.peer).await?;
        server::serve(options, listeners, termination).await
    })
}
