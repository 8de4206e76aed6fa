//! `cargo xtask bench node`: our Raft server and etcd under the same load, and a table says how they compare.
//!
//! Both clusters of three stand on the same disk and are measured in turns, cell by cell and round by round, each round on
//! fresh data. The load comes from `bench/node`, a program of its own that validates every answer; a single wrong one
//! ends the benchmark. The table goes to the terminal, to `bench/node.md` and to `bench/node.json`. With `--memory`
//! our server alone writes for ten minutes, and its memory is watched, see `memory`.
//!
//! Start reading at [`measure`]; the clusters are in `cluster`, what the figures come to in `report`.

mod arguments;
mod cluster;
mod generator;
mod memory;
mod processes;
mod render;
mod report;
mod rounds;
mod servers;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use rustix::process::{Signal, set_parent_process_death_signal, setsid};

use crate::{acceptance, bench};
use arguments::Arguments;
use generator::Generator;
use report::Report;
use rounds::Bench;
use servers::{Program, System};

/// The word after which this program measures, in a session of its own.
pub(crate) const SESSION: &str = "bench-node-session";

/// The word after which this program becomes a server that ends with whoever started it.
pub(crate) const SERVER: &str = "bench-node-server";

/// The magic number of a file system in memory, from `statfs(2)`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Measures in a session of its own: the scheduler shares processor time between sessions before it does between processes, so
/// that the load of whoever called would otherwise count as ours.
pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    Arguments::parse(words)?;
    let status = Command::new(env::current_exe()?).arg(SESSION).args(words).status()?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}

/// Lints and tests the load generator, which is no part of the workspace.
pub(crate) fn test_generator(root: &Path) -> anyhow::Result<()> {
    generator::cargo(root, &["fmt", "--check"])?;
    generator::cargo(root, &["clippy", "--release", "--all-targets", "--", "-D", "warnings"])?;
    generator::cargo(root, &["test", "--release", "--quiet"])
}

/// Becomes the leader of a session, then measures. It ends with the process that called it.
pub(crate) fn session(root: &Path, words: &[String]) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    setsid().context("cannot begin a session")?;
    let arguments = Arguments::parse(words)?;
    // How much memory is used does not depend on the time that others take. Only root may favour a session; where that is
    // refused, others get as much time as this one.
    let favoured = arguments.memory.is_none() && fs::write("/proc/self/autogroup", "-17").is_ok();
    println!("scheduling: {}", if favoured { "this session is favoured" } else { "as everybody else" });
    measure(root, &arguments)
}

/// Becomes the server that is named by the words, and ends with the benchmark.
pub(crate) fn server(words: &[String]) -> anyhow::Result<()> {
    let [program, arguments @ ..] = words else { bail!("usage: {SERVER} PROGRAM ARGUMENTS…") };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {program}"))
}

fn measure(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let work = root.join("target/bench/node");
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    refuse_memory(&work)?;
    let shakedown = acceptance::build(root, &root.join("target/bench"), "shakedown", &[])?;
    let ours = Program::new(System::Shakedown, shakedown);
    let generator = Generator::build(root)?;
    let machine = bench::machine(root)?;
    println!("{machine}");
    if let Some(duration) = arguments.memory {
        let page = memory::run(&generator, &ours, &work, duration, &machine)?;
        return publish(root, "node-memory.md", &page);
    }
    let etcd = Program::new(System::Etcd, arguments.etcd.clone());
    let etcd_version =
        etcd.version().context("install etcd (Debian: etcd-server), or name one with --etcd")?;
    let versions = (ours.version()?, etcd_version);
    println!("{} against {}", versions.0, versions.1);
    let bench = Bench { generator, programs: [ours, etcd], work, plan: arguments.plan() };
    let measured = bench.measure()?;
    let report = Report::new(machine, versions, arguments.selection(), bench.plan, &measured)?;
    print!("{}", render::summary(&report));
    publish(root, "node.json", &(serde_json::to_string_pretty(&report)? + "\n"))?;
    publish(root, "node.md", &render::markdown(&report))
}

fn publish(root: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path: PathBuf = root.join("bench").join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("written: {}", path.display());
    Ok(())
}

/// Durability costs nothing in memory, so figures from there would be about nothing.
fn refuse_memory(directory: &Path) -> anyhow::Result<()> {
    let kind = rustix::fs::statfs(directory)?.f_type;
    ensure!(kind != TMPFS_MAGIC, "{} is in memory: the nodes have to be on a disk", directory.display());
    Ok(())
}
