//! `shakedown run`: what the user typed becomes a plan; the plan is run.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use checker::Expect;
use nemesis::{Kind, Nemesis, Promises};
use targets::{Executable, Target};
use workloads::Reads;

use super::usage;
use crate::plan::{CONCURRENCY_LIMIT, NODE_LIMIT, Net, Plan, parse_nemeses};
use crate::{exit, run};

/// The longest run; longer ones belong into several.
const TIME_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Operations per second that one machine can record.
const RATE_LIMIT: f64 = 1e6;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The system under test (see `shakedown list targets`)
    #[arg(default_value = "raft")]
    target: String,
    /// What clients do (see `shakedown list workloads`)
    #[arg(long, default_value = "register")]
    workload: String,
    /// Which faults, separated by commas, or `none` (see `shakedown list nemeses`)
    #[arg(long, default_value = "kill,pause,partition", value_delimiter = ',')]
    nemesis: Vec<String>,
    /// How many nodes
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How long the load lasts, such as 20s, 500ms or 2m
    #[arg(long, default_value = "30s", value_parser = duration)]
    time_limit: Duration,
    /// Operations per second, all workers together; 0 = as fast as possible [default: the workload's]
    #[arg(long)]
    rate: Option<f64>,
    /// How many workers; `2n` means twice the nodes
    #[arg(long, default_value = "3n")]
    concurrency: String,
    /// The seed of templates and faults [default: drawn and shown]
    #[arg(long)]
    seed: Option<u64>,
    /// The directory that keeps runs
    #[arg(long, default_value = "store", value_name = "STORE")]
    out: PathBuf,
    /// `valid`, `violation` or `violation:KIND`: a known-bad configuration inverts its run
    #[arg(long, default_value = "valid")]
    expect: String,
    /// Another build of the target
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Another build of the target, for the nemesis `upgrade`: nodes are restarted into it one by one, and back
    #[arg(long, value_name = "PATH")]
    upgrade_to: Option<PathBuf>,
    /// How reads are made: `linearizable`, or `local` (from the memory of the node that is asked: a way to see a
    /// violation)
    #[arg(long, default_value = "linearizable")]
    read_consistency: String,
    /// A deliberately wrong variant of the Raft server (builds with `--features mutants`)
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
    /// What joins the nodes: `links`, proxies that the nodes are told in each other's place, or `switch`, a network of their
    /// own that carries every protocol and needs nothing of the target (see `shakedown doctor`)
    #[arg(long, default_value = "links")]
    net: String,
    /// From the beginning of a fault to that of the next: `fixed:5s`, `uniform:1s..4s` or `exp:3s` [default: a short gap
    /// after each fault]
    #[arg(long, value_name = "DISTRIBUTION")]
    nemesis_interval: Option<String>,
    /// No fault stands for some time of every period: `2s/10s`
    #[arg(long, value_name = "TIME/PERIOD")]
    quiet: Option<String>,
    /// Whether faults take the majority: `never`, `at-most` (as chance has it) or `break` (whenever they can) [default: at-most]
    #[arg(long, value_name = "WHETHER")]
    quorum: Option<String>,
    /// What disks keep through a power failure beyond what was fsynced: `ordered` (names, and files that replace others, as
    /// ext4 does) or `strict` (nothing) [default: ordered]
    #[arg(long, value_name = "PROMISES")]
    disk: Option<String>,
    /// A further argument for every node, after those that the target gives: `--node-arg=--snapshot-entries=100`. Can be given
    /// several times
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    node_arg: Vec<String>,
    /// Only operations on these keys, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "KEYS")]
    keys: Vec<String>,
    /// Judge the history while the run goes on, and end the load at the first violation. On few cores the judge takes time
    /// from the cluster
    #[arg(long)]
    fail_fast: bool,
}

pub(super) fn main(args: Args) -> anyhow::Result<u8> {
    let out = args.out.clone();
    let plan = plan(args)?;
    run::to_exit_code(plan, &out)
}

fn plan(args: Args) -> anyhow::Result<Plan> {
    let target = targets::find(&args.target).ok_or_else(|| {
        let known: Vec<&str> = targets::all().iter().map(|t| t.name()).collect();
        usage(format!("unknown target `{}`; known are {}", args.target, known.join(", ")))
    })?;
    let workload = workloads::find(&args.workload).ok_or_else(|| {
        let known: Vec<&str> = workloads::all().iter().map(|w| w.name()).collect();
        usage(format!("unknown workload `{}`; known are {}", args.workload, known.join(", ")))
    })?;
    let nemesis: Vec<String> = if args.nemesis == ["none"] { Vec::new() } else { args.nemesis };
    let nemeses = parse_nemeses(&nemesis).map_err(usage)?;
    let asks_for_upgrade = nemeses.iter().any(|nemesis| nemesis.kind() == Kind::Upgrade);
    upgrade(asks_for_upgrade, args.upgrade_to.is_some())?;
    operations(&*target, &nemeses)?;
    framing(&*target, &nemeses)?;
    disk(args.disk.as_deref(), &nemeses)?;
    let net = network(&args.net, &nemeses)?;
    args.expect.parse::<Expect>().map_err(|e| usage(format!("--expect {}: {e}", args.expect)))?;
    reads(&args.read_consistency)?;
    if !(1..=NODE_LIMIT).contains(&args.nodes) {
        return Err(usage(format!("--nodes {}: between 1 and {NODE_LIMIT} are possible", args.nodes)));
    }
    let rate = args.rate.unwrap_or(workload.default_rate());
    if !(0.0..=RATE_LIMIT).contains(&rate) {
        return Err(usage(format!(
            "--rate {rate}: between 0 and {RATE_LIMIT} operations per second are possible"
        )));
    }
    if args.time_limit.is_zero() || args.time_limit > TIME_LIMIT {
        return Err(usage(format!(
            "--time-limit: between 1ms and {} h are possible",
            TIME_LIMIT.as_secs() / 3600
        )));
    }
    mutant(args.mutant.as_deref(), target.executable())?;
    Plan {
        target: args.target,
        workload: args.workload,
        nemesis,
        nodes: args.nodes,
        concurrency: concurrency(&args.concurrency, args.nodes)?,
        rate,
        time_limit_ms: u64::try_from(args.time_limit.as_millis()).expect("invariant: within the limit"),
        seed: args.seed.unwrap_or_else(draw_seed),
        read_consistency: args.read_consistency,
        mutant: args.mutant,
        net,
        keys: args.keys,
        nemesis_interval: args.nemesis_interval,
        quiet: args.quiet,
        quorum: args.quorum,
        disk: args.disk,
        node_args: args.node_arg,
        schedule: Vec::new(),
        binary: args.binary,
        upgrade_to: args.upgrade_to,
        expect: args.expect,
        fail_fast: args.fail_fast,
    }
    .with_schedule()
}

/// The nemesis and the executable come together.
fn upgrade(asked_for: bool, given: bool) -> anyhow::Result<()> {
    match (asked_for, given) {
        (true, false) => Err(usage("--nemesis upgrade: name the other build with --upgrade-to PATH")),
        (false, true) => Err(usage("--upgrade-to: only the nemesis `upgrade` uses it; add it to --nemesis")),
        _ => Ok(()),
    }
}

/// Some faults need the one network, some the other.
fn network(name: &str, nemeses: &[Nemesis]) -> anyhow::Result<Net> {
    let net: Net = name.parse().map_err(|error| usage(format!("--net: {error}")))?;
    let unfit = |kind: Kind| match net {
        Net::Links => kind.needs_switch(),
        Net::Switch => kind.needs_links(),
    };
    match (nemeses.iter().find(|nemesis| unfit(nemesis.kind())), net) {
        (None, _) => Ok(net),
        (Some(nemesis), Net::Links) => {
            Err(usage(format!("--nemesis {nemesis}: links carry no packets; add --net switch")))
        }
        (Some(nemesis), Net::Switch) => Err(usage(format!(
            "--nemesis {nemesis}: it is about connections, and a switch knows only packets; leave it out, or use --net links"
        ))),
    }
}

/// Operations that the target does not offer.
fn operations(target: &dyn Target, nemeses: &[Nemesis]) -> anyhow::Result<()> {
    let offered = target.operations();
    let has_none = target.operator().is_none();
    for nemesis in nemeses {
        if nemesis.kind() == Kind::Membership && target.membership().is_none() {
            return Err(usage(format!(
                "--nemesis {nemesis}: the target `{}` offers no changes of members",
                target.name()
            )));
        }
        let unknown = match (nemesis.kind(), nemesis.argument()) {
            (Kind::Transfer, _) => has_none,
            (Kind::Operation, Some(name)) => !offered.contains(&name),
            _ => false,
        };
        if unknown {
            let (name, offered) = (target.name(), offered.join(", "));
            return Err(usage(match has_none {
                true => format!("--nemesis {nemesis}: the target `{name}` offers no operations"),
                false => {
                    format!("--nemesis {nemesis}: the target `{name}` offers operation:NAME with {offered}")
                }
            }));
        }
    }
    Ok(())
}

/// Faults of single messages of a target that does not tell them apart.
fn framing(target: &dyn Target, nemeses: &[Nemesis]) -> anyhow::Result<()> {
    match nemeses.iter().find(|nemesis| nemesis.kind().needs_framing()) {
        Some(nemesis) if target.framing().is_none() => Err(usage(format!(
            "--nemesis {nemesis}: the target `{}` does not tell how its nodes put messages into connections; use latency, \
             reset or black-hole instead",
            target.name()
        ))),
        _ => Ok(()),
    }
}

/// Promises of disks, where there are disks.
fn disk(promises: Option<&str>, nemeses: &[Nemesis]) -> anyhow::Result<()> {
    let Some(promises) = promises else { return Ok(()) };
    promises.parse::<Promises>().map_err(|error| usage(format!("--disk {error}")))?;
    if nemeses.iter().any(|nemesis| nemesis.kind().needs_disks()) {
        return Ok(());
    }
    Err(usage("--disk: only faults of disks use it; add one to --nemesis, such as `power`"))
}

fn reads(name: &str) -> anyhow::Result<()> {
    let known = [Reads::Linearizable, Reads::Local].map(Reads::name);
    if known.contains(&name) {
        return Ok(());
    }
    Err(usage(format!("--read-consistency {name}: known are {}", known.join(" and "))))
}

fn mutant(id: Option<&str>, executable: Executable) -> anyhow::Result<()> {
    let Some(id) = id else { return Ok(()) };
    if executable != Executable::This {
        return Err(usage("--mutant: only the target `raft` has mutants"));
    }
    let known: Vec<&str> = super::node::mutants().iter().map(|(id, _)| *id).collect();
    match known.contains(&id) {
        true => Ok(()),
        false if known.is_empty() => Err(usage(format!(
            "--mutant {id}: this build has no mutants; use `cargo run --release --features mutants -- run --mutant {id}`"
        ))),
        false => Err(usage(format!("--mutant {id}: known are {}", known.join(", ")))),
    }
}

/// A number of workers, or a multiple of the nodes.
fn concurrency(text: &str, nodes: usize) -> anyhow::Result<u32> {
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|n| *n > 0);
    let workers = match text.strip_suffix('n') {
        Some("") => u32::try_from(nodes).ok(),
        Some(times) => number(times).and_then(|times| times.checked_mul(u32::try_from(nodes).ok()?)),
        None => number(text),
    };
    workers.filter(|workers| *workers <= CONCURRENCY_LIMIT).ok_or_else(|| {
        usage(format!(
            "--concurrency {text}: a number of workers such as 10, or a multiple of the nodes such as 2n; at most {CONCURRENCY_LIMIT}"
        ))
    })
}

fn draw_seed() -> u64 {
    // Short enough to be typed again.
    RandomState::new().hash_one(std::process::id()) >> 32
}

/// A duration with its unit; a bare number means seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is no duration; write 20s, 500ms or 2m"))?;
    parsed.try_into().map_err(|_| format!("`{text}` is negative"))
}

/// The exit code of several runs: the gravest wins (violation, infrastructure, unknown, valid).
pub(super) fn gravest(codes: &[u8]) -> u8 {
    let order = [exit::VIOLATION, exit::INFRASTRUCTURE, exit::UNKNOWN, exit::VALID];
    order.into_iter().find(|code| codes.contains(code)).unwrap_or(exit::NOTHING_SELECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrency_is_a_number_or_a_multiple_of_the_nodes() {
        assert_eq!(concurrency("2n", 5).unwrap(), 10);
        assert_eq!(concurrency("n", 3).unwrap(), 3);
        assert_eq!(concurrency("7", 5).unwrap(), 7);
        for wrong in ["0", "0n", "x", "2m", "-1", "1001", "400n"] {
            assert!(concurrency(wrong, 5).is_err(), "{wrong}");
        }
    }

    #[test]
    fn duration_has_a_unit_or_means_seconds() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn gravest_code_wins_over_several_runs() {
        assert_eq!(gravest(&[0, 3, 5, 1]), 1);
        assert_eq!(gravest(&[0, 3, 5]), 5);
        assert_eq!(gravest(&[0, 3]), 3);
        assert_eq!(gravest(&[0, 0]), 0);
        assert_eq!(gravest(&[]), 4);
    }
}
