//! `shakedown node ctl`: an operator's tool for the Raft server. It knows the server's HTTP API and nothing else of it.
//!
//! An order goes to the given addresses in turn until the leader takes it. What is certain to have done nothing is tried again
//! until the time is up; a write without an answer never is.

mod data;
mod members;
mod nodes;

use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;

use self::nodes::Nodes;
use super::run::duration;

/// For `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not as expected: the key is absent, or a guard did not hold; nothing was changed
  2  wrong usage, or refused by the server; nothing was changed
  3  unknown: a write may or may not take effect
  5  nobody there could do it";

#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Where nodes serve clients; name all of them, then the leader is found
    #[arg(long, value_name = "ADDR,…", required = true, value_delimiter = ',', value_parser = nodes::address)]
    at: Vec<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// How long to try
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say how every node is
    Status,
    /// List the members, as the leader has them
    Members,
    /// Add a learner, which gets the log and does not vote
    Add {
        /// Its name, and where it receives messages if not every node knows that: n4=127.0.0.1:7004
        #[arg(value_name = "ID[=ADDR]", value_parser = members::newcomer)]
        member: members::Newcomer,
    },
    /// Let a learner vote, as soon as it has caught up
    Promote {
        /// Its name
        id: String,
    },
    /// Remove a member
    Remove {
        /// Its name
        id: String,
    },
    /// Put a new member in the place of another: add it, wait until it has caught up, swap their votes
    Replace {
        /// Who goes
        old: String,
        /// Who comes
        #[arg(value_name = "ID[=ADDR]", value_parser = members::newcomer)]
        new: members::Newcomer,
    },
    /// Let another node lead
    Transfer {
        /// Which; the one with the longest log if left out
        id: Option<String>,
    },
    /// Read a key
    Get {
        /// The key
        key: String,
        /// Read what a node has, which may be old
        #[arg(long)]
        local: bool,
    },
    /// Write a key
    Put {
        /// The key
        key: String,
        /// The value
        value: String,
        #[command(flatten)]
        expectation: data::Expectation,
    },
    /// Delete a key
    Delete {
        /// The key
        key: String,
        #[command(flatten)]
        expectation: data::Expectation,
    },
    /// Do a transaction: {"guards":[…],"then":[…],"else":[…]}
    Txn {
        /// The transaction as JSON, or `-` to read it from the standard input; keys and values are percent-encoded
        transaction: String,
    },
    /// Print changes as they happen, one line of JSON for each revision
    Watch {
        /// The beginning of the keys; every key if left out
        #[arg(default_value = "")]
        prefix: String,
        /// Only the key of exactly this name
        #[arg(long)]
        exact: bool,
        /// The first revision to print; only new ones if left out
        #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
        from: Option<u64>,
    },
}

pub(super) fn main(args: Args) -> anyhow::Result<u8> {
    let Args { at, json, timeout, command } = args;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let nodes = Nodes::new(at, timeout)?;
        match command {
            Command::Status => members::status(&nodes, json).await,
            Command::Members => members::list(&nodes, json).await,
            Command::Add { member } => members::add(&nodes, &member, json).await,
            Command::Promote { id } => members::promote(&nodes, &id, json).await,
            Command::Remove { id } => members::remove(&nodes, &id, json).await,
            Command::Replace { old, new } => members::replace(&nodes, &old, &new, json).await,
            Command::Transfer { id } => members::transfer(&nodes, id, json).await,
            Command::Get { key, local } => data::get(&nodes, &key, local, json).await,
            Command::Put { key, value, expectation } => {
                data::put(&nodes, &key, value, &expectation, json).await
            }
            Command::Delete { key, expectation } => data::delete(&nodes, &key, &expectation, json).await,
            Command::Txn { transaction } => data::transact(&nodes, &transaction, json).await,
            Command::Watch { prefix, exact, from } => data::watch(&nodes, &prefix, exact, from).await,
        }
    })
}
