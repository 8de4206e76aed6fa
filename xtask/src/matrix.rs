//! Every fault and scenario alone, then mixtures drawn from a seed, over three and five nodes of the Raft server or of etcd: none may convict
//! it, and none may fail as an experiment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::acceptance;

/// Faults that nobody asks for by chance, because they may convict the innocent, and those that a server does not offer.
const LEFT_OUT: [&str; 2] = ["clock-monotonic", "damage"];
/// Where Debian puts it.
const ETCD: &str = "/usr/bin/etcd";
const NOT_OFFERED: [(&str, &[&str]); 2] = [("raft", &[]), ("etcd", &["message", "bit-flip"])];
/// Faults of connections, of which a switch knows nothing.
const NOT_AT_A_SWITCH: [&str; 6] =
    ["reset", "bandwidth", "half-open", "slow-close", "message", "descriptor-limit"];
/// How many nodes a cluster has.
const SIZES: [&str; 2] = ["3", "5"];
/// How many faults a mixture has.
const MIXED: [usize; 3] = [2, 3, 4];
/// The kind that changes who belongs to the cluster.
const MEMBERSHIP: &str = "membership";
/// How long the load of a run lasts.
const TIME_LIMIT: &str = "10s";

/// How many entries stand between snapshots in half of the `--mixtures` of the Raft server: few, so that there are many snapshots.
const SNAPSHOTS: &str = "--node-arg=--snapshot-entries=100";

/// One run.
struct Job {
    nemesis: String,
    nodes: &'static str,
    /// A further argument.
    more: Option<&'static str>,
}

impl Job {
    fn new(nemesis: String, nodes: &'static str) -> Self {
        Self { nemesis, nodes, more: None }
    }
}

/// Runs so many runs (`--runs`, 100 unless told) of a `--target` (raft), counted from a seed (`--seed`, 1), after the first of
/// them (`--skip`, 0). With `--mixtures` these are mixtures only: over 3, 4 and 5 nodes, a third of them with changes of members, and
/// half of them, of the Raft server, with many snapshots.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let given = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let option = |name: &str, default: u64| -> anyhow::Result<u64> {
        given(name).map_or(Ok(default), |value| value.parse().with_context(|| format!("{name} {value}")))
    };
    let (runs, first_seed) = (option("--runs", 100)?, option("--seed", 1)?);
    let skipped = usize::try_from(option("--skip", 0)?)?;
    let target = given("--target").unwrap_or("raft");
    let not_offered = NOT_OFFERED.iter().find(|(name, _)| *name == target);
    let (_, not_offered) = not_offered.with_context(|| format!("--target {target}: raft or etcd"))?;
    let work = root.join("target/matrix");
    std::fs::create_dir_all(&work)?;
    let shakedown = acceptance::build(root, &work, "shakedown", &[])?;
    let (scenarios, kinds) = nemeses(&shakedown, not_offered)?;
    let jobs: Box<dyn Iterator<Item = Job>> = if arguments.iter().any(|argument| argument == "--mixtures") {
        Box::new((0..).map(|number| thorough(&kinds, first_seed + number, target)))
    } else {
        let alone = kinds.iter().flat_map(|kind| SIZES.map(|nodes| Job::new(kind.clone(), nodes)));
        let scenarios = scenarios.into_iter().map(|scenario| Job::new(scenario, "5"));
        let mixtures = (first_seed..)
            .zip(SIZES.iter().cycle())
            .map(|(seed, nodes)| Job::new(mixture(&kinds, seed).join(","), nodes));
        Box::new(alone.chain(scenarios).chain(mixtures))
    };
    let jobs = jobs.skip(skipped);
    let mut outcomes: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (number, Job { nemesis, nodes, more }) in (0..runs).zip(jobs) {
        let seed = first_seed + number;
        let start = Instant::now();
        let mut command = Command::new(&shakedown);
        command.args(["run", target, "--nemesis", &nemesis, "--nodes", nodes, "--time-limit", TIME_LIMIT]);
        command.args(["--seed", &seed.to_string()]).arg("--out").arg(work.join("store"));
        if nemesis.split(',').any(|kind| kind == "packet") {
            command.args(["--net", "switch"]);
        }
        if nemesis.split(',').any(|kind| kind == "upgrade") {
            command.arg("--upgrade-to").arg(if target == "raft" { &shakedown } else { Path::new(ETCD) });
        }
        let output = command.args(more).output()?;
        let code = output.status.code().unwrap_or(-1);
        let seconds = start.elapsed().as_secs();
        let more = more.map(|more| format!(" {more}")).unwrap_or_default();
        let line = format!("--nodes {nodes} --seed {seed} --nemesis {nemesis}{more}");
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
    ensure!(outcomes.keys().all(|code| [0, 3].contains(code)), "a run convicted {target}, or failed");
    Ok(())
}

/// The scenarios and kinds of faults that `list nemeses` names and that need nothing more.
fn nemeses(shakedown: &Path, not_offered: &[&str]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let output = Command::new(shakedown).args(["list", "nemeses"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let names =
        text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    // `kill[:REGEX]` can do without; `command:FILE` cannot.
    let names = names.map(|name| name.split('[').next().unwrap_or(name));
    let asked = |name: &&str| !LEFT_OUT.contains(name) && !not_offered.contains(name);
    let named: Vec<String> = names.filter(asked).map(str::to_owned).collect();
    let (alone, kinds): (Vec<String>, Vec<String>) = named.into_iter().partition(|name| name.contains(':'));
    let is_scenario = |name: &String| name.starts_with("scenario:") && name != "scenario:NAME";
    let scenarios: Vec<String> = alone.into_iter().filter(is_scenario).collect();
    ensure!(kinds.len() > 10 && !scenarios.is_empty(), "`list nemeses` names only {kinds:?}, {scenarios:?}");
    Ok((scenarios, kinds))
}

/// Some kinds, drawn from a seed (a linear congruence: Knuth's MMIX).
fn mixture(kinds: &[String], seed: u64) -> Vec<String> {
    let mut state = seed;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % bound
    };
    let mut left = kinds.to_vec();
    let count = MIXED[below(MIXED.len())];
    let mut drawn: Vec<String> = (0..count).map(|_| left.remove(below(left.len()))).collect();
    if drawn.iter().any(|kind| kind == "packet") {
        drawn.retain(|kind| !NOT_AT_A_SWITCH.contains(&kind.as_str()));
    }
    drawn
}

/// A mixture as the Raft server has to stand it.
fn thorough(kinds: &[String], seed: u64, target: &str) -> Job {
    let mut mixture = mixture(kinds, seed);
    if seed.is_multiple_of(3) && !mixture.iter().any(|kind| kind == MEMBERSHIP) {
        mixture.push(MEMBERSHIP.to_owned());
    }
    // Every size with and without snapshots and changes.
    let nodes = ["3", "4", "5"][usize::try_from(seed / 6 + seed).unwrap_or_default() % 3];
    let more = (target == "raft" && seed.is_multiple_of(2)).then_some(SNAPSHOTS);
    Job { nemesis: mixture.join(","), nodes, more }
}
