//! shakedown: black-box verification of distributed systems on one machine, without root.
//!
//! The binary is thin: it turns the command line into a plan, the plan into a cluster and a load, and the recorded
//! files into a verdict and a report. Checking is in `checker`, faults are in `nemesis`, rendering is in `reports`.
//! Start reading at [`run`].

#![allow(unreachable_pub, reason = "a binary has no public interface")]

mod binary;
mod cli;
mod digest;
mod exit;
mod follow;
mod judge;
mod live;
mod plan;
mod run;
mod shrink;
mod store;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(cli::main())
}
