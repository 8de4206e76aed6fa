//! `shakedown check`: judge recorded histories again, our own and those of other tools.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::{Budget, Claim, Spec, Verdict};
use history::foreign::Format;
use serde_json::json;

use super::usage;
use crate::judge::{self, Reading};
use crate::run::progress::Progress;
use crate::{exit, judge::Judged, live};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Histories, plain or gzip, or run directories
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The workload that made them, when the files do not say
    #[arg(long, conflicts_with = "model")]
    workload: Option<String>,
    /// The model to judge them by (see `list models`), when the files do not say
    #[arg(long)]
    model: Option<Spec>,
    /// Their format (jsonl, edn, jepsen-log, porcupine-kv, elle-json, etcd-operations), when it is not to be found out
    #[arg(long)]
    format: Option<Format>,
    /// Whether the values of a Jepsen history are `[key value]`, when it is not to be found out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    independent: Option<bool>,
    /// What is claimed: linearizable, sequential, sessions, or one of the session guarantees (see `list claims`)
    /// [default: what the history claims, else linearizable]
    #[arg(long, value_name = "CLAIM")]
    consistency: Option<Claim>,
    /// How long the checkers may take for a file, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    check_time_limit: u64,
    /// How much memory their searches may hold, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    check_memory_limit: u64,
    /// Print verdicts as JSON: one object for one file, else a line for each
    #[arg(long)]
    json: bool,
    /// Judge a history (or the run directory `….partial`) while it is being written, until a violation shows, the run is
    /// over, or an interrupt
    #[arg(long, conflicts_with_all = ["format", "independent"])]
    follow: bool,
    /// With --follow: the file is over when nothing was added to it for so long, such as 10s or 2m
    #[arg(long, value_name = "TIME", value_parser = super::run::duration, requires = "follow")]
    until_idle: Option<Duration>,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let budget = Budget {
        time: Duration::from_secs(args.check_time_limit),
        memory_bytes: args.check_memory_limit << 20,
        ..Budget::default()
    };
    let reading = Reading {
        format: args.format,
        workload: args.workload.clone(),
        model: args.model,
        independent: args.independent,
        claim: args.consistency,
    };
    match &args.files[..] {
        [file] if args.follow => super::follow::main(file, &reading, &budget, args.until_idle, args.json),
        _ if args.follow => Err(usage("--follow takes one file".to_owned())),
        [file] => one(file, &reading, &budget, args.json),
        files => Ok(many(files, &reading, &budget, args.json)),
    }
}

fn one(file: &Path, reading: &Reading, budget: &Budget, as_json: bool) -> anyhow::Result<u8> {
    let judged = judged(file, reading, budget).map_err(|error| usage(format!("{error:#}")))?;
    show(&judged, as_json)
}

/// Prints a verdict by itself; its exit code.
pub(super) fn show(judged: &Judged, as_json: bool) -> anyhow::Result<u8> {
    tell_remarks(judged);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&judged.verdict)?);
    } else {
        print!("{}", reports::summary(&judged.verdict, judged.run.as_ref()));
    }
    Ok(exit::of(judged.verdict.outcome))
}

fn judged(file: &Path, reading: &Reading, budget: &Budget) -> anyhow::Result<Judged> {
    live::judging(&Progress::new(), budget.clone(), |budget| judge::file(file, reading, budget))
}

/// One line per file. A file that cannot be read does not keep the others from being judged.
fn many(files: &[PathBuf], reading: &Reading, budget: &Budget, as_json: bool) -> u8 {
    let mut codes = Vec::new();
    for file in files {
        let start = Instant::now();
        let judged = judged(file, reading, budget);
        let took = start.elapsed();
        let code = judged.as_ref().map_or(exit::USAGE, |judged| exit::of(judged.verdict.outcome));
        codes.push(code);
        match judged {
            Ok(judged) => {
                tell_remarks(&judged);
                println!("{}", line(file, &judged.verdict, reading.claim, took, as_json));
            }
            Err(error) if as_json => println!("{}", json!({"file": file, "error": format!("{error:#}")})),
            Err(error) => println!("{:<14}  {error:#}", "unreadable"),
        }
    }
    // The gravest decides: a proven violation, then what could not be read, then what could not be decided.
    let order = [exit::VIOLATION, exit::USAGE, exit::INFRASTRUCTURE, exit::UNKNOWN];
    order.into_iter().find(|code| codes.contains(code)).unwrap_or(exit::VALID)
}

fn line(file: &Path, verdict: &Verdict, claim: Option<Claim>, took: Duration, as_json: bool) -> String {
    let operations = verdict.operations.all();
    let milliseconds = took.as_secs_f64() * 1e3;
    if as_json {
        return json!({"file": file, "milliseconds": milliseconds, "verdict": verdict}).to_string();
    }
    let outcome = serde_json::to_value(verdict.outcome).unwrap_or_default();
    let claim = claim.map_or_else(String::new, |claim| format!("{claim:<20}  "));
    let mut line = format!(
        "{:<14}  {:<18}  {claim}{operations:>9} operations  {milliseconds:>10.1} ms  {}",
        outcome.as_str().unwrap_or_default(),
        verdict.workload,
        file.display()
    );
    if outcome != "valid" {
        line.push_str(&format!("\n{:16}{}", "", verdict.reason));
    }
    line
}

fn tell_remarks(judged: &Judged) {
    for remark in &judged.remarks {
        eprintln!("{:>12} {remark}", "note:");
    }
}
