//! Which faults, when, for how long: a pure function of the seed.
//!
//! Faults come in rounds of steps in a random order; each round has every requested kind once, so that every kind occurs
//! early and often. Durations are spread evenly over the magnitudes of [1, 6) units, gaps over [0.3, 1.5) units, where the unit
//! is the time in which the system notices a failure. A round also has compositions of faults that overlap, because most bugs of
//! replication show in no single fault:
//!
//! * *lag*: a minority stands still or is cut off, and the leader dies shortly before it comes back, so that nodes with old
//!   logs take part in the election (Raft, section 5.4.1);
//! * *tail*: a leader is cut off with requests that it cannot commit, its successor dies as soon as it leads, and the old leader
//!   meets the next one with a log of its own (Raft, figures 7 and 8);
//! * where nothing is killed, two kinds at the same time.
//!
//! Guarantees: a whole round at least, shrunk in time if they must be; a quiet beginning, and a quiet end in which the
//! last fault is over. Whom a selector means is decided when the fault starts. `rhythm` is what a user can ask for instead: other
//! intervals, quiet periods, what may become of the majority; where times are asked for, nothing is shrunk.

mod resolved;
mod rhythm;
#[cfg(test)]
mod tests;

use std::time::Duration;

use history::{Nanos, ScheduledFault};

use crate::dice::Dice;
use crate::membership;
use crate::quorum::{majority, minority};
use crate::scenario::{Script, Scripts};
use crate::{Kind, Nemesis};

pub use resolved::resolved;
pub use rhythm::{Interval, NoRhythm, Quiet, Quorum, Rhythm};
pub(crate) use rhythm::{length, waits_for_a_line};

/// The load has the cluster to itself for this long, or a tenth of a short run.
const QUIET_HEAD: Duration = Duration::from_secs(1);
/// No fault stands during this last part of the load, or three units, or a quarter of a short run.
const QUIET_TAIL: Duration = Duration::from_millis(1500);
const QUIET_TAIL_UNITS: u32 = 3;
/// The shortest and the longest fault.
const DURATION_UNITS: (f64, f64) = (1.0, 6.0);
/// The same for a kill that waits for a line.
const WATCH_UNITS: (f64, f64) = (8.0, 16.0);
/// In the first part of that time something happens that may bring the line.
const WATCHED_SHARE: f64 = 0.3;
/// Whose lines it waits for; `any` is the first on which it appears.
const WATCHED: &[&str] = &["any", "any", "one", "leader"];
/// The shortest and the longest gap after a fault.
const GAP_UNITS: (f64, f64) = (0.3, 1.5);
/// The shortest and the longest first fault of a composition: long enough for an election beside it.
const COMPOSED_UNITS: (f64, f64) = (2.5, 6.0);
/// How long the leader of a *lag* has been dead when the minority comes back.
const DEAD_BEFORE_HEAL_UNITS: (f64, f64) = (0.3, 1.5);
/// How long after the cut of a *tail* the successor is looked for; it is killed when there is one. An early look kills it
/// before it acknowledges anything; a late one leaves it some writes that the old leader, who still answers, has not seen.
const SUCCESSOR_UNITS: (f64, f64) = (0.1, 2.0);
/// A schedule has so many whole rounds at least.
const ROUNDS_AT_LEAST: usize = 1;
/// A schedule is no longer than this.
const FAULTS_LIMIT: usize = 10_000;

/// What faults are planned for.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Decides everything that is left open.
    pub seed: u64,
    /// How long the load lasts.
    pub time_limit: Duration,
    /// The time in which the system notices a failure.
    pub unit: Duration,
    /// How many nodes there are.
    pub nodes: usize,
    /// What the user asks of it.
    pub rhythm: Rhythm,
    /// The scripts of the scenarios among the nemeses.
    pub scripts: Scripts,
}

/// Plans the faults of a load.
///
/// Kinds that need more nodes than there are do not occur. The order of `nemeses` means nothing.
pub fn plan(nemeses: &[Nemesis], setting: &Setting) -> Vec<ScheduledFault> {
    let Setting { time_limit, unit, .. } = *setting;
    let mut possible: Vec<Nemesis> =
        nemeses.iter().filter(|nemesis| setting.allows(nemesis)).cloned().collect();
    possible.sort();
    possible.dedup();
    if possible.is_empty() {
        return Vec::new();
    }
    let head = QUIET_HEAD.min(time_limit / 10).as_secs_f64();
    let tail = QUIET_TAIL.max(unit * QUIET_TAIL_UNITS).min(time_limit / 4).as_secs_f64();
    let window = time_limit.as_secs_f64() - head - tail;
    let mut draft = Draft {
        dice: Dice::new(setting.seed),
        unit: unit.as_secs_f64(),
        setting,
        steps: 0,
        time: 0.0,
        faults: Vec::new(),
    };
    for _ in 0..ROUNDS_AT_LEAST {
        draft.round(&possible);
    }
    let rhythm = setting.rhythm;
    let is_free = rhythm.interval.is_none() && rhythm.quiet.is_none();
    let shrink = if is_free { (window / draft.end()).min(1.0) } else { 1.0 };
    while draft.time < window && draft.faults.len() < FAULTS_LIMIT {
        draft.round(&possible);
    }
    if let Some(quiet) = rhythm.quiet {
        draft.keep_quiet(quiet);
    }
    draft.finish(head, window, shrink)
}

impl Setting {
    fn allows(&self, nemesis: &Nemesis) -> bool {
        match nemesis.kind() {
            Kind::Scenario => {
                let fits = |script: &Script| {
                    let spares = script.harms(self.nodes) <= minority(self.nodes);
                    self.nodes >= script.nodes_needed && (spares || self.rhythm.quorum != Quorum::Never)
                };
                self.scripts.get(nemesis).is_some_and(fits)
            }
            kind => !self.selectors(kind).is_empty(),
        }
    }

    /// The selectors that make sense for a kind, and that the user allows.
    fn selectors(&self, kind: Kind) -> Vec<&'static str> {
        let takes = |selector: &&str| self.nodes - gone(kind, selector, self.nodes) < majority(self.nodes);
        let all = selectors(kind, self.nodes);
        match self.rhythm.quorum {
            Quorum::AtMost => all,
            Quorum::Never => all.into_iter().filter(|selector| !takes(selector)).collect(),
            Quorum::Break if stops_nodes(kind) => vec!["majority", "all"],
            Quorum::Break if all.iter().any(takes) => all.into_iter().filter(takes).collect(),
            Quorum::Break => all,
        }
    }

    /// Whether so many nodes can be gone.
    fn bears(&self, gone: usize) -> bool {
        self.rhythm.quorum != Quorum::Never || gone <= minority(self.nodes)
    }
}

/// Whether the nodes that it is about do nothing while it stands.
fn stops_nodes(kind: Kind) -> bool {
    matches!(kind, Kind::Kill | Kind::Term | Kind::Pause | Kind::CrashLoop | Kind::Starve | Kind::Power)
}

/// How many nodes a selector takes away from the others.
fn gone(kind: Kind, selector: &str, nodes: usize) -> usize {
    match (kind, selector) {
        (Kind::Partition | Kind::BlackHole, "majorities-ring") => nodes,
        (Kind::Partition | Kind::BlackHole, "halves" | "random-halves") => nodes / 2,
        (Kind::Partition | Kind::BlackHole, "leader-minority" | "follower-minority") => minority(nodes),
        (Kind::Partition | Kind::BlackHole, "bridge" | "clients-leader" | "clients-one") => 0,
        (Kind::Partition | Kind::BlackHole | Kind::RollingRestart | Kind::Upgrade | Kind::HalfOpen, _) => 1,
        (Kind::Membership, selector) if selector.starts_with("shrink") => minority(nodes),
        (Kind::Membership | Kind::Wipe | Kind::BitFlip | Kind::Damage, _) => 1,
        (kind, "majority") if stops_nodes(kind) => majority(nodes),
        (kind, "all") if stops_nodes(kind) => nodes,
        (kind, "minority") if stops_nodes(kind) => minority(nodes),
        (kind, _) if stops_nodes(kind) => 1,
        _ => 0,
    }
}

/// The selectors that make sense for a kind on a cluster of this size; what occurs twice is drawn twice as often.
fn selectors(kind: Kind, nodes: usize) -> Vec<&'static str> {
    let all: &[&'static str] = match kind {
        Kind::Kill | Kind::Term | Kind::Power => {
            &["leader", "leader", "leader", "one", "one", "minority", "majority", "all"]
        }
        Kind::Pause => &["leader", "leader", "one", "minority"],
        Kind::Partition | Kind::BlackHole => &[
            "isolate-leader",
            "isolate-leader",
            "isolate-leader",
            "random-halves",
            "random-halves",
            "halves",
            "leader-minority",
            "follower-minority",
            "strand-leader",
            "isolate-one",
            "majorities-ring",
            "bridge",
            "deaf-leader",
            "mute-leader",
            "deaf-one",
            "mute-one",
            "clients-leader",
            "clients-one",
        ],
        Kind::Latency | Kind::Reset | Kind::Bandwidth | Kind::SlowClose | Kind::Message => {
            &["all", "some", "leader"]
        }
        Kind::HalfOpen => &["from-leader", "from-leader", "to-leader", "some"],
        Kind::Packet => &[
            "loss all",
            "loss some",
            "loss leader",
            "loss one",
            "duplicate all",
            "duplicate some",
            "reorder all",
            "reorder leader",
            "corrupt all",
            "corrupt leader",
            "delay some",
            "delay leader",
            "mixture all",
            "mixture all",
            "mixture some",
            "mixture leader",
        ],
        Kind::CrashLoop => &["leader", "leader", "one", "minority", "all"],
        Kind::RollingRestart | Kind::Upgrade => &["all"],
        Kind::DiskError | Kind::DiskFull | Kind::MemoryLimit | Kind::DescriptorLimit => {
            &["leader", "leader", "one", "minority"]
        }
        Kind::BitFlip => &["stored leader", "stored one", "read leader", "read one"],
        Kind::Damage => &[
            "stale leader",
            "stale one",
            "truncate leader",
            "truncate one",
            "old-copy leader",
            "old-copy one",
        ],
        Kind::SlowDisk => &["leader", "leader", "one", "minority", "majority", "all"],
        Kind::Transfer => &["leader"],
        Kind::Operation => &["one", "leader"],
        Kind::Membership => membership::SELECTORS,
        Kind::Wipe => &["leader", "one"],
        Kind::Command => &["one", "leader", "all"],
        Kind::Starve => &["leader", "leader", "one", "minority", "majority"],
        Kind::Clock | Kind::ClockMonotonic => &["leader", "leader", "one", "minority", "majority", "all"],
        // Its script is its selector.
        Kind::Scenario => &[],
    };
    all.iter().copied().filter(|selector| nodes >= nodes_needed(kind, selector)).collect()
}

fn nodes_needed(kind: Kind, selector: &str) -> usize {
    match (kind, selector) {
        (Kind::Partition | Kind::BlackHole, selector) => nodes_to_part(selector),
        (Kind::Latency | Kind::Reset | Kind::Bandwidth | Kind::SlowClose | Kind::Packet, _) => 2,
        (Kind::HalfOpen | Kind::Message | Kind::RollingRestart | Kind::Upgrade, _) => 2,
        (Kind::Command | Kind::Scenario, _) => 1,
        (Kind::Transfer, _) => 2,
        // Two are left, or three where two leave.
        (Kind::Membership, selector) if selector.starts_with("shrink") => 5,
        (Kind::Membership | Kind::Wipe | Kind::BitFlip | Kind::Damage, _) => 3,
        (_, "minority") => 3,
        (_, _) => 1,
    }
}

fn nodes_to_part(selector: &str) -> usize {
    match selector {
        "bridge" | "majorities-ring" | "leader-minority" | "follower-minority" => 3,
        "clients-one" | "clients-leader" => 1,
        _ => 2,
    }
}

/// A fault with times in seconds from the end of the quiet beginning.
struct Drafted {
    /// The number of the step that it is part of.
    step: usize,
    at: f64,
    duration: f64,
    nemesis: Nemesis,
    selector: String,
    seed: u64,
}

struct Draft<'a> {
    dice: Dice,
    unit: f64,
    setting: &'a Setting,
    /// How many steps there are, and where the next one begins.
    steps: usize,
    time: f64,
    faults: Vec<Drafted>,
}

/// What a round is made of.
#[derive(Clone)]
enum Step {
    Single(Nemesis),
    Lag(Kind, &'static str),
    Tail(&'static str),
    Both(Nemesis, Nemesis),
}

impl Draft<'_> {
    /// Every kind once, and the compositions that the kinds allow, in a random order.
    fn round(&mut self, nemeses: &[Nemesis]) {
        let (watches, others): (Vec<&Nemesis>, Vec<&Nemesis>) =
            nemeses.iter().partition(|nemesis| waits_for_a_line(nemesis));
        let mut steps: Vec<Step> = others.iter().copied().cloned().map(Step::Single).collect();
        for watch in watches {
            // A line comes because something happens meanwhile.
            steps.push(match self.dice.pick(&others).copied() {
                Some(other) => Step::Both(watch.clone(), other.clone()),
                None => Step::Single(watch.clone()),
            });
        }
        let has = |kind: Kind| nemeses.contains(&kind.into()) && self.setting.nodes > 2;
        if has(Kind::Kill) {
            let few = minority(self.setting.nodes);
            let lags = self.setting.bears(few + 1);
            steps.extend((lags && has(Kind::Pause)).then_some(Step::Lag(Kind::Pause, "minority")));
            if has(Kind::Partition) {
                let cut_off = Step::Lag(Kind::Partition, "follower-minority");
                steps.extend(lags.then_some(cut_off));
                steps.extend(self.setting.bears(2).then_some(Step::Tail("strand-leader")));
                steps.extend(lags.then_some(Step::Tail("leader-minority")));
            }
        } else if let [first, second, ..] = &self.dice.shuffled(nemeses)[..] {
            steps.push(Step::Both(first.clone(), second.clone()));
        }
        for step in self.dice.shuffled(&steps) {
            let begin = self.time;
            let end = match step {
                Step::Single(kind) => self.single(begin, kind),
                Step::Lag(kind, selector) => self.lag(begin, kind, selector),
                Step::Tail(selector) => self.tail(begin, selector),
                Step::Both(first, second) => self.both(begin, first, second),
            };
            self.steps += 1;
            self.time = match self.setting.rhythm.interval {
                Some(interval) => begin + interval.draw(&mut self.dice),
                None => end + self.dice.even(GAP_UNITS.0, GAP_UNITS.1) * self.unit,
            };
        }
    }

    fn single(&mut self, at: f64, nemesis: Nemesis) -> f64 {
        if let Some(script) = self.setting.scripts.get(&nemesis) {
            let (units, selector) = (script.units(self.setting.unit), script.one_line());
            return self.add(at, (units, units), nemesis, &selector);
        }
        if waits_for_a_line(&nemesis) {
            let selector = self.dice.pick(WATCHED).copied().expect("invariant: there are some");
            return self.add(at, WATCH_UNITS, nemesis, selector);
        }
        let selector = self.selector(nemesis.kind());
        self.add(at, DURATION_UNITS, nemesis, selector)
    }

    fn lag(&mut self, begin: f64, laggard: Kind, selector: &'static str) -> f64 {
        let back = self.add(begin, COMPOSED_UNITS, laggard.into(), selector);
        let dead = self.dice.even(DEAD_BEFORE_HEAL_UNITS.0, DEAD_BEFORE_HEAL_UNITS.1) * self.unit;
        back.max(self.add(back - dead, DURATION_UNITS, Kind::Kill.into(), "working-leader"))
    }

    fn tail(&mut self, begin: f64, selector: &'static str) -> f64 {
        let healed = self.add(begin, COMPOSED_UNITS, Kind::Partition.into(), selector);
        let delay = self.dice.even(SUCCESSOR_UNITS.0, SUCCESSOR_UNITS.1) * self.unit;
        healed.max(self.add(begin + delay, DURATION_UNITS, Kind::Kill.into(), "working-leader"))
    }

    fn both(&mut self, begin: f64, first: Nemesis, second: Nemesis) -> f64 {
        let is_watched = waits_for_a_line(&first);
        let end = self.single(begin, first);
        // What is watched for a line is given the time to answer with one.
        let latest = if is_watched { begin + (end - begin) * WATCHED_SHARE } else { end };
        let at = self.dice.even(begin, latest);
        end.max(self.single(at, second))
    }

    fn selector(&mut self, kind: Kind) -> &'static str {
        let choices = self.setting.selectors(kind);
        self.dice.pick(&choices).copied().expect("invariant: kinds without selectors are not planned")
    }

    /// Adds a fault and returns its end.
    fn add(&mut self, at: f64, units: (f64, f64), nemesis: Nemesis, selector: &str) -> f64 {
        let duration = self.dice.log_even(units.0, units.1) * self.unit;
        let seed = self.dice.seed();
        let selector = selector.to_owned();
        self.faults.push(Drafted { step: self.steps, at, duration, nemesis, selector, seed });
        at + duration
    }

    /// Moves every step that would stand in a quiet time, and all after it, to the next period; what is longer than the
    /// rest of a period is made shorter.
    fn keep_quiet(&mut self, quiet: Quiet) {
        let (active, period) = quiet.seconds();
        let mut late = 0.0;
        for step in self.faults.chunk_by_mut(|one, next| one.step == next.step) {
            let begin = step.iter().map(|fault| fault.at).fold(f64::MAX, f64::min);
            let end = step.iter().map(|fault| fault.at + fault.duration).fold(begin, f64::max);
            let scale = (active / (end - begin)).min(1.0);
            let (length, mut at) = ((end - begin) * scale, begin + late);
            if at % period + length > active * (1.0 + f64::EPSILON) {
                at = (at / period).floor() * period + period;
            }
            late = at - begin;
            for fault in step {
                fault.at = at + (fault.at - begin) * scale;
                fault.duration *= scale;
            }
        }
    }

    fn end(&self) -> f64 {
        self.faults.iter().map(|fault| fault.at + fault.duration).fold(f64::MIN_POSITIVE, f64::max)
    }

    /// The steps before the first one that does not fit into the window, after `shrink` was applied to all times.
    fn finish(self, head: f64, window: f64, shrink: f64) -> Vec<ScheduledFault> {
        let fits = |fault: &Drafted| (fault.at + fault.duration) * shrink <= window + f64::EPSILON * window;
        let first_misfit =
            self.faults.iter().find(|fault| !fits(fault)).map_or(self.steps, |fault| fault.step);
        let mut faults: Vec<ScheduledFault> = self
            .faults
            .into_iter()
            .filter(|fault| fault.step < first_misfit)
            .map(|fault| ScheduledFault {
                at: milliseconds(head + fault.at * shrink),
                duration: milliseconds(fault.duration * shrink),
                kind: fault.nemesis.to_string(),
                selector: fault.selector,
                seed: fault.seed,
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }
}

/// Whole milliseconds, so that the last bit of a power function never shows in a schedule.
fn milliseconds(seconds: f64) -> Nanos {
    Nanos::from_millis((seconds * 1e3) as u64)
}
