//! Load on a replicated key-value server, for `cargo xtask bench node`: one job as a JSON argument, one JSON line as the answer.
//!
//! Every client is a closed loop: it sends its next request when it has the answer to the last one. All answers are
//! validated, and one that is not what was asked for ends the job with an error: a refusal must never count as a fast
//! success. Both protocols use the same HTTP library on the same single-threaded runtime.
//!
//! Start reading at [`job`], then [`load`] and [`probe`].

mod connection;
mod grpc;
mod http;
mod job;
mod keys;
mod load;
mod probe;
mod processor;

use std::process::ExitCode;

use anyhow::{Context, ensure};

use job::Job;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load-generator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let job = arguments.next().context("usage: load-generator JOB, see job.rs")?;
    ensure!(arguments.next().is_none(), "one job at a time");
    let job: Job = serde_json::from_str(&job).context("the job is not understood")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        match job {
            Job::Fill(fill) => load::fill(&fill).await,
            Job::Load(load) => load::run(&load).await.and_then(|loaded| Ok(serde_json::to_value(loaded)?)),
            Job::FirstWrite(first) => probe::first_write(&first).await,
            Job::Outage(outage) => probe::outage(&outage).await,
        }
    })?;
    println!("{answer}");
    Ok(())
}
