//! The load generator, a program of its own that knows both protocols: `bench/node`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Keys of the load, and the size of their values.
pub(crate) const KEYS: u64 = 10_000;
pub(crate) const VALUE_BYTES: u64 = 256;
/// Clients that write every key once.
const FILLING_CLIENTS: usize = 64;

/// Where it is built: apart from the workspace, whose crates it shares nothing with.
const TARGET: &str = "target/bench/load-generator";

/// What is done all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    Put,
    Get,
}

/// Who does it, how often, how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// What a load came to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) servers_cpu_seconds: f64,
    pub(crate) generator_cpu_seconds: f64,
    pub(crate) machine_cpu_seconds: f64,
}

/// The program.
#[derive(Debug)]
pub(crate) struct Generator(PathBuf);

impl Generator {
    /// Builds it.
    pub(crate) fn build(root: &Path) -> anyhow::Result<Self> {
        cargo(root, &["build", "--release", "--quiet", "--locked"])?;
        Ok(Self(root.join(TARGET).join("release/load-generator")))
    }

    /// Writes every key once.
    pub(crate) fn fill(&self, cluster: &Cluster, leader: usize) -> anyhow::Result<()> {
        let mut job = job("fill", cluster, leader);
        job["clients"] = json!(FILLING_CLIENTS);
        self.run(&job).map(drop)
    }

    /// Loads the leader.
    pub(crate) fn load(&self, cluster: &Cluster, leader: usize, load: Load) -> anyhow::Result<Loaded> {
        let mut job = job("load", cluster, leader);
        job["operation"] = json!(load.operation);
        job["clients"] = json!(load.clients);
        job["warm_up_ms"] = json!(load.warm_up.as_millis() as u64);
        job["measure_ms"] = json!(load.measure.as_millis() as u64);
        job["processes"] = json!(cluster.processes());
        Ok(serde_json::from_str(&self.run(&job)?)?)
    }

    /// Kills the leader, and says for how many milliseconds nothing was acknowledged.
    pub(crate) fn outage(&self, cluster: &Cluster, leader: usize) -> anyhow::Result<f64> {
        let survivors = cluster.places().iter().enumerate().filter(|(node, _)| *node != leader);
        let survivors: Vec<SocketAddr> = survivors.map(|(_, place)| place.client).collect();
        let job = json!({
            "job": "outage",
            "protocol": cluster.program().system.protocol(),
            "leader": cluster.processes()[leader],
            "leader_address": cluster.places()[leader].client,
            "survivors": survivors,
        });
        let answer: Value = serde_json::from_str(&self.run(&job)?)?;
        answer["outage_ms"].as_f64().context("no outage was measured")
    }

    /// Starts a cluster that is prepared, and says how long it took until a write was acknowledged.
    pub(crate) fn first_write(&self, cluster: &mut Cluster) -> anyhow::Result<Duration> {
        let addresses: Vec<SocketAddr> = cluster.places().iter().map(|place| place.client).collect();
        let protocol = cluster.program().system.protocol();
        let job = json!({ "job": "first-write", "protocol": protocol, "addresses": addresses });
        let mut probe = self.spawn(&job)?;
        ensure!(probe.line()? == "ready", "the probe does not begin");
        let begin = Instant::now();
        cluster.start()?;
        probe.line()?;
        let took = begin.elapsed();
        probe.end()?;
        Ok(took)
    }

    /// Does a job, and returns its answer.
    fn run(&self, job: &Value) -> anyhow::Result<String> {
        let mut running = self.spawn(job)?;
        let answer = running.line();
        running.end()?;
        answer
    }

    fn spawn(&self, job: &Value) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.0);
        command.arg(job.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start the load generator")?;
        let output = process.stdout.take().context("invariant: the output was asked for")?;
        Ok(Running { process, output: BufReader::new(output), job: job.to_string() })
    }
}

/// Calls cargo for the generator.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root.join("bench/node")).env("CARGO_TARGET_DIR", root.join(TARGET));
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed for the load generator", arguments.join(" "));
    Ok(())
}

fn job(name: &str, cluster: &Cluster, leader: usize) -> Value {
    json!({
        "job": name,
        "protocol": cluster.program().system.protocol(),
        "address": cluster.places()[leader].client,
        "space": { "keys": KEYS, "value_bytes": VALUE_BYTES },
    })
}

/// A job that is being done.
struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    job: String,
}

impl Running {
    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn end(mut self) -> anyhow::Result<()> {
        let status = self.process.wait()?;
        ensure!(status.success(), "the load generator ended with {status}; its job was {}", self.job);
        Ok(())
    }
}

/// A probe that is not needed any more, because something else failed, would go on for long.
impl Drop for Running {
    fn drop(&mut self) {
        // After its end this does nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
