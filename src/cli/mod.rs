//! The command line: what the user typed, and one file per command.

mod check;
mod ctl;
mod doctor;
mod export;
mod follow;
mod generate;
mod guardian;
mod list;
mod node;
mod output;
mod report;
mod rerun;
mod run;
mod selftest;

use clap::{Parser, Subcommand};

use crate::exit;

/// Proves, or breaks, the promises of a distributed system: starts its real processes on this machine, lets clients
/// use it, injects faults, and judges the recorded history.
#[derive(Debug, Parser)]
#[command(name = "shakedown", version, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a workload against a cluster under faults, judge the history, write a report
    Run(Box<run::Args>),
    /// Judge a recorded history again
    Check(check::Args),
    /// Simulate an object and write the history, right or with violations, to measure and test checkers
    Generate(generate::Args),
    /// Write a history for other checkers: Knossos, Elle
    Export(export::Args),
    /// Write the report of a run directory again
    Report(report::Args),
    /// Repeat a run with its templates and its very schedule
    Rerun(rerun::Args),
    /// List what can be named on the command line
    List(list::Args),
    /// Say what can be done on this machine, and why not
    Doctor,
    /// Run the deliberately wrong servers and see whether the suite convicts them
    Selftest(selftest::Args),
    /// Run one node of shakedown's own Raft server
    Node(Box<node::Args>),
    /// The process that is the parent of every node (started by `run`)
    #[command(hide = true)]
    Guardian,
}

/// Parses the command line and does what it says; returns the exit code.
pub(crate) fn main() -> u8 {
    let result = match Cli::parse().command {
        Command::Run(args) => run::main(*args),
        Command::Check(args) => check::main(&args),
        Command::Generate(args) => generate::main(&args),
        Command::Export(args) => export::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Rerun(args) => rerun::main(&args),
        Command::List(args) => list::main(&args),
        Command::Doctor => doctor::main(),
        Command::Selftest(args) => selftest::main(args),
        Command::Node(args) => node::main(*args),
        Command::Guardian => guardian::main(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{:>12} {error:#}", "error:");
        error.downcast_ref::<Failure>().map_or(exit::INFRASTRUCTURE, |failure| failure.code)
    })
}

/// An error with the exit code that it deserves.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// Wrong usage or unreadable input.
pub(crate) fn usage(message: impl std::fmt::Display) -> anyhow::Error {
    Failure { code: exit::USAGE, message: message.to_string() }.into()
}
