//! `cargo xtask`: what continuous integration runs, for developers too.
//!
//! * `ci`: format, lints, house rules, documentation, the Go program of the benchmarks where there is Go, tests of the
//!   mutants, the tests of the faults without privileges, and the acceptance runs
//! * `tidy`: the house rules alone
//! * `unprivileged`: the tests of the faults as an account that may nothing
//! * `acceptance`: the real runs alone
//! * `matrix [--target raft] [--runs 100] [--seed 1] [--skip 0]`: every fault alone, then mixtures
//! * `bench checker`: our checker beside Porcupine, see `bench/README.md`
//! * `bench node`: our Raft server beside etcd, see `bench/README.md`
//! * `bench nemesis`: what links, disks and clocks cost, and how much later a cluster starts

mod acceptance;
mod bench;
mod costs;
mod matrix;
mod node;
mod tidy;
mod unprivileged;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("ci") => ci(),
        Some("tidy") => tidy::check(root()),
        Some("acceptance") => acceptance::run(root()),
        Some("matrix") => matrix::run(root(), &arguments[1..]),
        Some("unprivileged") => unprivileged::run(root()),
        Some("bench") if arguments.get(1).is_some_and(|what| what == "nemesis") => costs::run(root()),
        Some("bench") if arguments.get(1).is_some_and(|what| what == "node") => node::run(&arguments[2..]),
        Some("bench") => bench::run(root(), &arguments[1..]),
        Some(node::SESSION) => node::session(root(), &arguments[1..]),
        Some(node::SERVER) => node::server(&arguments[1..]),
        Some(bench::CHILD) => bench::child(&arguments[1..]),
        _ => Err(anyhow::anyhow!(
            "usage: cargo xtask ci | tidy | unprivileged | acceptance | matrix | \
             bench checker | bench node | bench nemesis"
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ci() -> anyhow::Result<()> {
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::check(root()))?;
    let clippy = ["clippy", "--workspace", "--release", "--all-targets", "--features", "mutants"];
    step("clippy", || cargo(&[&clippy[..], &["--", "-D", "warnings"]].concat()))?;
    step("documentation", || {
        cargo(&["doc", "--workspace", "--release", "--no-deps", "--document-private-items"])
    })?;
    step("load generator of the benchmarks", || node::test_generator(root()))?;
    let has_go = bench::go_version().is_some();
    if has_go {
        step("Go program of the benchmarks", || bench::test_go(root()))?;
    } else {
        println!("== Go program of the benchmarks: skipped");
    }
    step("tests of the mutants", || cargo(&["test", "--release", "-p", "node", "--features", "mutants"]))?;
    step("tests without privileges", || unprivileged::run(root()))?;
    step("acceptance", || acceptance::run(root()))?;
    if !has_go {
        println!("== passed, but without the Go program of the benchmarks: there is no Go on this machine");
    }
    Ok(())
}

/// Runs a step and says how long it took.
fn step(name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("== {name}");
    let start = Instant::now();
    work().with_context(|| name.to_owned())?;
    println!("== {name}: done in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).env("RUSTDOCFLAGS", "-D warnings");
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("invariant: xtask is a folder of the workspace")
}
