//! `shakedown check`: judge a recorded history again.

use std::path::PathBuf;
use std::time::Duration;

use checker::Budget;

use super::usage;
use crate::{exit, judge};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A history (`history.jsonl` or `.jsonl.gz`), or a run directory
    history: PathBuf,
    /// The workload that made it, when the file does not say
    #[arg(long)]
    workload: Option<String>,
    /// How long the checkers may take, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    check_time_limit: u64,
    /// How much memory their searches may hold, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    check_memory_limit: u64,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let budget = Budget {
        time: Duration::from_secs(args.check_time_limit),
        memory_bytes: args.check_memory_limit << 20,
    };
    let judged = judge::file(&args.history, args.workload.as_deref(), &budget)
        .map_err(|error| usage(format!("{error:#}")))?;
    for remark in &judged.remarks {
        eprintln!("{:>12} {remark}", "note:");
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&judged.verdict)?);
    } else {
        print!("{}", reports::summary(&judged.verdict, judged.run.as_ref()));
    }
    Ok(exit::of(judged.verdict.outcome))
}
