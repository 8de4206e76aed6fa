//! What clients do, and who judges it.
//!
//! A workload is one file: a pure, seeded generator of operation [`Template`]s, the checkers that judge the history,
//! and the coverage without which a green result means nothing. It knows no system: a target answers [`Request`]s
//! through the [`Client`] trait. What an HTTP answer means for the history is decided in one place, [`outcome`].
//!
//! Beside the workloads for real systems, [`simulate`] makes histories of simulated objects, to measure and test
//! checkers.
//!
//! Start reading at [`register`].

pub mod client;
pub mod http;
pub mod outcome;
pub mod register;
pub mod set;
pub mod simulate;
pub mod template;
mod workload;

pub use client::{Client, Completion, Reads, Request};
pub use template::{Argument, Stream, Template};
pub use workload::{Workload, all, find};
