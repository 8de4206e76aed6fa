//! What a run shall be, as a pure value: everything that the user asked for, validated, with every default filled in.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use checker::Expect;
use history::{NodeId, RunInfo, ScheduledFault};
use nemesis::scenario::Scripts;
use nemesis::schedule::{NoRhythm, Rhythm, Setting};
use nemesis::{Nemesis, Promises, UnknownPromises};
use serde::Serialize;
use sha2::{Digest, Sha256};
use targets::Target;
use workloads::{Reads, Workload};

/// The most nodes of a cluster; links grow with the square of it.
pub(crate) const NODE_LIMIT: usize = 9;
/// The most workers of a run.
pub(crate) const CONCURRENCY_LIMIT: u32 = 1000;

/// What joins the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Net {
    /// Proxies on loopback.
    #[default]
    Links,
    /// A switch between network namespaces.
    Switch,
}

impl Net {
    const ALL: [Self; 2] = [Self::Links, Self::Switch];

    /// How it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Switch => "switch",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Net {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let known = Self::ALL.into_iter().find(|net| net.name() == name);
        known.ok_or_else(|| anyhow!("{name:?} is no network; there are links and switch"))
    }
}

/// A run, as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Plan {
    pub(crate) target: String,
    pub(crate) workload: String,
    pub(crate) nemesis: Vec<String>,
    pub(crate) nodes: usize,
    pub(crate) concurrency: u32,
    pub(crate) rate: f64,
    pub(crate) time_limit_ms: u64,
    pub(crate) seed: u64,
    pub(crate) read_consistency: String,
    pub(crate) mutant: Option<String>,
    #[serde(skip_serializing_if = "Net::is_default")]
    pub(crate) net: Net,
    /// The only keys that operations are about; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<String>,
    /// When faults come: an interval, quiet times, whether they may take a majority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nemesis_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quiet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quorum: Option<String>,
    /// What the disks of the nodes promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<String>,
    /// What every node is told beside what the target tells it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) node_args: Vec<String>,
    pub(crate) schedule: Vec<ScheduledFault>,
    /// Not part of the identity: the digest of the binary is.
    #[serde(skip)]
    pub(crate) binary: Option<PathBuf>,
    /// Another build that nodes are upgraded to. Not part of the identity: its digest is.
    #[serde(skip)]
    pub(crate) upgrade_to: Option<PathBuf>,
    /// Not part of the identity: it judges a run and does not change it.
    #[serde(skip)]
    pub(crate) expect: String,
    /// End the load at the first violation. Not part of the identity: until then nothing is different.
    #[serde(skip)]
    pub(crate) fail_fast: bool,
}

impl Plan {
    /// The target. A plan is made from names that exist.
    pub(crate) fn target(&self) -> Box<dyn Target> {
        targets::find(&self.target).expect("invariant: plans are validated")
    }

    /// The workload.
    pub(crate) fn workload(&self) -> Box<dyn Workload> {
        workloads::find(&self.workload).expect("invariant: plans are validated")
    }

    /// How reads are made.
    pub(crate) fn reads(&self) -> Reads {
        if self.read_consistency == Reads::Local.name() { Reads::Local } else { Reads::Linearizable }
    }

    /// The names of the nodes.
    pub(crate) fn node_ids(&self) -> Vec<NodeId> {
        (1..=self.nodes).map(NodeId::numbered).collect()
    }

    /// How long the load lasts.
    pub(crate) fn time_limit(&self) -> Duration {
        Duration::from_millis(self.time_limit_ms)
    }

    /// What the user expects.
    pub(crate) fn expect(&self) -> Expect {
        self.expect.parse().expect("invariant: plans are validated")
    }

    /// Which faults.
    pub(crate) fn nemeses(&self) -> anyhow::Result<Vec<Nemesis>> {
        parse_nemeses(&self.nemesis)
    }

    /// When faults come.
    pub(crate) fn rhythm(&self) -> Result<Rhythm, NoRhythm> {
        Ok(Rhythm {
            interval: self.nemesis_interval.as_deref().map(str::parse).transpose()?,
            quiet: self.quiet.as_deref().map(str::parse).transpose()?,
            quorum: self.quorum.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
        })
    }

    /// What the disks of the nodes promise.
    pub(crate) fn disk(&self) -> Result<Promises, UnknownPromises> {
        self.disk.as_deref().map_or(Ok(Promises::default()), str::parse)
    }

    /// Leaves out kinds of faults of which the schedule has none.
    pub(crate) fn forget_unused_nemeses(&mut self) {
        let schedule = &self.schedule;
        self.nemesis.retain(|nemesis| schedule.iter().any(|fault| fault.kind == *nemesis));
    }

    /// Plans the faults from the seed.
    pub(crate) fn with_schedule(mut self) -> anyhow::Result<Self> {
        let nemeses = self.nemeses()?;
        let setting = Setting {
            seed: self.seed,
            time_limit: self.time_limit(),
            unit: self.target().election_timeout(),
            nodes: self.nodes,
            rhythm: self.rhythm().map_err(crate::cli::usage)?,
            scripts: Scripts::load(&nemeses).map_err(crate::cli::usage)?,
        };
        if setting.scripts.change_members() && self.target().membership().is_none() {
            let target = &self.target;
            return Err(crate::cli::usage(format!(
                "--nemesis: a scenario changes the members, and the target `{target}` offers no such changes"
            )));
        }
        self.schedule = nemesis::schedule::plan(&nemeses, &setting);
        Ok(self)
    }

    /// The plan of a recorded run, with its very schedule.
    pub(crate) fn of_run(info: &RunInfo) -> anyhow::Result<Self> {
        let target = targets::find(&info.target).ok_or_else(|| {
            anyhow!("run.json names the target `{}`, which this build does not have", info.target)
        })?;
        workloads::find(&info.workload).ok_or_else(|| {
            anyhow!("run.json names the workload `{}`, which this build does not have", info.workload)
        })?;
        parse_nemeses(&info.nemesis)?;
        info.expect.parse::<Expect>().map_err(|e| anyhow!("run.json: {e}"))?;
        let own = target.executable() == targets::Executable::This;
        let plan = Self {
            target: info.target.clone(),
            workload: info.workload.clone(),
            nemesis: info.nemesis.clone(),
            nodes: info.nodes.len(),
            concurrency: info.concurrency,
            rate: info.rate,
            time_limit_ms: info.time_limit_ms,
            seed: info.seed,
            read_consistency: info.read_consistency.clone(),
            mutant: info.mutant.clone(),
            net: info.net.as_deref().map_or(Ok(Net::default()), str::parse).context("run.json")?,
            keys: info.keys.clone(),
            nemesis_interval: info.nemesis_interval.clone(),
            quiet: info.quiet.clone(),
            quorum: info.quorum.clone(),
            disk: info.disk.clone(),
            node_args: info.node_args.clone(),
            schedule: info.schedule.clone(),
            binary: (!own).then(|| PathBuf::from(&info.target_binary)),
            upgrade_to: info.upgrade.as_ref().map(|upgrade| PathBuf::from(&upgrade.binary)),
            expect: info.expect.clone(),
            fail_fast: false,
        };
        plan.rhythm().map_err(|e| anyhow!("run.json: {e}"))?;
        plan.disk().map_err(|e| anyhow!("run.json: {e}"))?;
        Ok(plan)
    }

    /// The identity of the plan: same plan, same binaries (by their digests), same id.
    pub(crate) fn id(&self, digests: &[&str]) -> anyhow::Result<String> {
        const ID_DIGITS: usize = 12;
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(self).context("cannot serialize the plan")?);
        digests.iter().for_each(|digest| hash.update(digest));
        let digest = crate::digest::hex(&hash.finalize());
        Ok(format!("{}-{}-{}", self.target, self.workload, &digest[..ID_DIGITS]))
    }

    /// The command that repeats the run.
    pub(crate) fn repro(&self) -> String {
        let nemesis = if self.nemesis.is_empty() { "none".to_owned() } else { self.nemesis.join(",") };
        let mut command = format!(
            "shakedown run {} --workload {} --nemesis {nemesis} --nodes {} --time-limit {}ms --rate {} --concurrency {} --seed {}",
            self.target,
            self.workload,
            self.nodes,
            self.time_limit_ms,
            self.rate,
            self.concurrency,
            self.seed
        );
        if self.reads() == Reads::Local {
            command.push_str(" --read-consistency local");
        }
        if !self.net.is_default() {
            command.push_str(&format!(" --net {}", self.net.name()));
        }
        let options = [
            ("--nemesis-interval", &self.nemesis_interval),
            ("--quiet", &self.quiet),
            ("--quorum", &self.quorum),
            ("--disk", &self.disk),
        ];
        for (option, value) in options.iter().filter_map(|(option, value)| Some((option, value.as_ref()?))) {
            command.push_str(&format!(" {option} {value}"));
        }
        if !self.keys.is_empty() {
            command.push_str(&format!(" --keys {}", self.keys.join(",")));
        }
        for argument in &self.node_args {
            command.push_str(&format!(" --node-arg={}", quoted(argument)));
        }
        if let Some(mutant) = &self.mutant {
            command.push_str(&format!(" --mutant {mutant}"));
        }
        if let Some(binary) = &self.binary {
            command.push_str(&format!(" --binary {}", binary.display()));
        }
        if let Some(upgrade) = &self.upgrade_to {
            command.push_str(&format!(" --upgrade-to {}", upgrade.display()));
        }
        if self.fail_fast {
            command.push_str(" --fail-fast");
        }
        if self.expect != "valid" {
            command.push_str(&format!(" --expect {}", self.expect));
        }
        command
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What is asked for, by its names.
pub(crate) fn parse_nemeses(names: &[String]) -> anyhow::Result<Vec<Nemesis>> {
    let parse = |name: &String| {
        name.parse().map_err(|error| anyhow!("{error}, or `none` alone (see `shakedown list nemeses`)"))
    };
    names.iter().map(parse).collect()
}
