//! `cargo xtask bench nemesis`: what the nemesis costs the nodes while nothing is wrong, beside the same without it.
//!
//! The examples of the crate `nemesis` measure one mechanism each. How much later a cluster starts is measured here: the same
//! five nodes of the Raft server, started by hand and by runs, in turns. Everything goes to the terminal and to
//! `bench/nemesis.md`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{acceptance, bench};

/// The examples, and what they show.
const EXAMPLES: [(&str, &str); 4] = [
    ("switch_cost", "The switch, beside loopback"),
    ("link_cost", "A link that no fault holds, beside loopback"),
    ("disk_cost", "A disk of ours, beside memory and the temporary folder"),
    ("clock_cost", "A clock of ours, beside the machine's"),
];
/// What a run has of the nemesis, as its arguments.
const STARTS: [(&str, &[&str]); 3] = [
    ("the switch", &["--nemesis", "kill", "--net", "switch"]),
    ("links", &["--nemesis", "kill"]),
    ("links, clocks, disks", &["--nemesis", "kill,clock,power"]),
];
const NODES: usize = 5;
/// How often every start is measured. When a leader is elected is drawn at random, so the medians of few would say little.
const ROUNDS: usize = 15;
/// How long a cluster that was started by hand may take, and the pause between two attempts to write to it.
const LIMIT: Duration = Duration::from_secs(30);
const WRITE_PAUSE: Duration = Duration::from_millis(20);
/// How long a node may take to answer a write.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Measures everything.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let work = root.join("target/bench");
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let shakedown = acceptance::build(root, &work, "shakedown", &[])?;
    let mut page = String::from("# What the nemesis costs\n\nBy `cargo xtask bench nemesis`, on ");
    writeln!(page, "{}.\n", bench::machine(root)?)?;
    for (example, title) in EXAMPLES {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["run", "--quiet", "--release", "--package", "nemesis", "--example", example])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "the example {example} failed");
        let text = String::from_utf8(output.stdout)?;
        println!("{title}\n{text}");
        write!(page, "## {title}\n```\n{text}```\n\n")?;
    }
    let starts = starts(&shakedown, &work)?;
    println!("{starts}");
    page.push_str(&starts);
    let file = root.join("bench/nemesis.md");
    fs::write(&file, page).with_context(|| file.display().to_string())
}

/// How long it takes until a cluster acknowledges its first write, in each way to start it.
fn starts(shakedown: &Path, work: &Path) -> anyhow::Result<String> {
    let mut by_hand = Vec::new();
    let mut by_runs = STARTS.map(|_| Vec::new());
    for round in 1..=ROUNDS {
        by_hand.push(Cluster::start(shakedown, &work.join("start"))?.first_write()?);
        for ((_, arguments), measured) in STARTS.iter().zip(&mut by_runs) {
            measured.push(run_start(shakedown, work, round, arguments)?);
        }
    }
    let plain = median(&mut by_hand);
    let mut page = format!(
        "## The start of a cluster\nFrom the first process to the first acknowledged write, {NODES} nodes of the Raft server, \
         medians of {ROUNDS} starts each, in turns. An election takes 150 to 300 ms of it, at random.\n\n\
         | | ms | later by |\n|---|---|---|\n| by hand | {:.0} | |\n",
        plain.as_secs_f64() * 1e3
    );
    for ((name, _), mut measured) in STARTS.iter().zip(by_runs) {
        let took = median(&mut measured).as_secs_f64() * 1e3;
        writeln!(page, "| a run with {name} | {took:.0} | {:.0} |", took - plain.as_secs_f64() * 1e3)?;
    }
    Ok(page)
}

fn median(measured: &mut [Duration]) -> Duration {
    measured.sort();
    measured[measured.len() / 2]
}

/// The same for a run: it records when the first write was acknowledged.
fn run_start(shakedown: &Path, work: &Path, seed: usize, arguments: &[&str]) -> anyhow::Result<Duration> {
    let store = work.join("store");
    let output = Command::new(shakedown)
        .args(["run", "raft", "--time-limit", "1s"])
        .args(["--nodes", &NODES.to_string(), "--seed", &seed.to_string()])
        .args(arguments)
        .arg("--out")
        .arg(&store)
        .output()?;
    let events = fs::read_to_string(store.join("latest/nemesis.jsonl"))
        .with_context(|| format!("no run: {}", String::from_utf8_lossy(&output.stderr)))?;
    let events: Vec<Value> = events.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let acknowledged = events.iter().find(|event| event["event"] == "first-acknowledged");
    let time = acknowledged.and_then(|event| event["time"].as_u64()).context("nothing was acknowledged")?;
    Ok(Duration::from_nanos(time))
}

/// Nodes that were started by hand. They end when this is dropped.
struct Cluster {
    begin: Instant,
    nodes: Vec<(Child, SocketAddr)>,
    directory: PathBuf,
}

impl Cluster {
    fn start(shakedown: &Path, directory: &Path) -> anyhow::Result<Self> {
        let ports: Vec<SocketAddr> = free_addresses(2 * NODES)?;
        let (clients, peers) = ports.split_at(NODES);
        let members = peers.iter().enumerate().map(|(i, address)| format!("n{}={address}", i + 1));
        let members = members.collect::<Vec<_>>().join(",");
        let mut cluster = Self { begin: Instant::now(), nodes: Vec::new(), directory: directory.to_owned() };
        for (i, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let node = Command::new(shakedown)
                .args(["node", "--id", &format!("n{}", i + 1), "--cluster", &members])
                .args(["--client", &client.to_string(), "--peer", &peer.to_string()])
                .arg("--data")
                .arg(directory.join(format!("n{}", i + 1)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            cluster.nodes.push((node, *client));
        }
        Ok(cluster)
    }

    fn first_write(self) -> anyhow::Result<Duration> {
        // Only the leader takes it.
        while !self.nodes.iter().any(|(_, address)| write_to(*address).is_ok_and(|written| written)) {
            ensure!(self.begin.elapsed() < LIMIT, "no write was acknowledged");
            sleep(WRITE_PAUSE);
        }
        Ok(self.begin.elapsed())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (node, _) in &mut self.nodes {
            // It may have ended by itself, which the missing write tells.
            let _ = node.kill();
            let _ = node.wait();
        }
        // What cannot be removed is found by the next start, which then fails.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Addresses of loopback at which nobody listens.
fn free_addresses(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

/// Writes one value; whether it was acknowledged.
fn write_to(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream
        .write_all(b"PUT /kv/start HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
