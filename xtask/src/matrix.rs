//! Every fault alone, then mixtures drawn from a seed, over three and five nodes of the Raft server: none may convict it, and
//! none may fail as an experiment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::acceptance;

/// Faults that are about nothing in the Raft server, or that nobody asks for by chance: they need a file or a name, the server
/// offers no such operation, or they may convict the innocent.
const LEFT_OUT: [&str; 2] = ["transfer", "clock-monotonic"];
/// How many faults a mixture has.
const MIXED: [usize; 3] = [2, 3, 4];
/// How long the load of a run lasts.
const TIME_LIMIT: &str = "10s";

/// Runs so many runs (`--runs`, 100 unless told), counted from a seed (`--seed`, 1).
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let option = |name: &str, default: u64| -> anyhow::Result<u64> {
        let given = arguments.iter().position(|argument| argument == name);
        let value = given.and_then(|at| arguments.get(at + 1));
        value.map_or(Ok(default), |value| value.parse().with_context(|| format!("{name} {value}")))
    };
    let (runs, first_seed) = (option("--runs", 100)?, option("--seed", 1)?);
    let work = root.join("target/matrix");
    std::fs::create_dir_all(&work)?;
    let shakedown = acceptance::build(root, &work, "shakedown", &[])?;
    let kinds = kinds(&shakedown)?;
    let mut outcomes: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for number in 0..runs {
        let seed = first_seed + number;
        let nodes = if number % 2 == 0 { "3" } else { "5" };
        let alone = usize::try_from(number / 2)?;
        let nemesis = kinds.get(alone).cloned().unwrap_or_else(|| mixture(&kinds, seed));
        let start = Instant::now();
        let mut command = Command::new(&shakedown);
        command.args(["run", "raft", "--nemesis", &nemesis, "--nodes", nodes, "--time-limit", TIME_LIMIT]);
        command.args(["--seed", &seed.to_string()]).arg("--out").arg(work.join("store"));
        if nemesis.split(',').any(|kind| kind == "packet") {
            command.args(["--net", "switch"]);
        }
        if nemesis.split(',').any(|kind| kind == "upgrade") {
            command.arg("--upgrade-to").arg(&shakedown);
        }
        let output = command.output()?;
        let code = output.status.code().unwrap_or(-1);
        let seconds = start.elapsed().as_secs();
        let line = format!("--nodes {nodes} --seed {seed} --nemesis {nemesis}");
        println!("   {number:>3}  exit {code} after {seconds:>3} s: {line}");
        if code != 0 {
            println!("{}", String::from_utf8_lossy(&output.stdout));
        }
        outcomes.entry(code).or_default().push(line);
    }
    for (code, lines) in &outcomes {
        let meaning = match code {
            0 => "valid",
            1 => "violation",
            3 => "exercised too little",
            5 => "infrastructure",
            _ => "another end",
        };
        println!("   {} of {runs}: {meaning} (exit {code})", lines.len());
    }
    ensure!(outcomes.keys().all(|code| [0, 3].contains(code)), "a run convicted the server, or failed");
    Ok(())
}

/// What `list nemeses` names and needs nothing more.
fn kinds(shakedown: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(shakedown).args(["list", "nemeses"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let names =
        text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let kinds: Vec<String> =
        names.filter(|name| !name.contains(':') && !LEFT_OUT.contains(name)).map(str::to_owned).collect();
    ensure!(kinds.len() > 10, "`list nemeses` names only {kinds:?}");
    Ok(kinds)
}

/// Some kinds, drawn from a seed (a linear congruence: Knuth's MMIX).
fn mixture(kinds: &[String], seed: u64) -> String {
    let mut state = seed;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % bound
    };
    let mut left = kinds.to_vec();
    let count = MIXED[below(MIXED.len())];
    let mut drawn: Vec<String> = (0..count).map(|_| left.remove(below(left.len()))).collect();
    if drawn.iter().any(|kind| kind == "packet") {
        // Where there are packets, connections cannot be reset.
        drawn.retain(|kind| kind != "reset");
    }
    drawn.join(",")
}
