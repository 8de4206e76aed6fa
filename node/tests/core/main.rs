//! Tests of the protocol core without clocks, threads or sockets.
//!
//! `scenarios` replays written dialogues step by step; `simulation` lets a seeded adversary loose on whole clusters.

mod describe;
mod disk;
mod limits;
mod scenarios;
mod simulation;
mod truth;
