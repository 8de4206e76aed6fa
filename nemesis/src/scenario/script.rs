//! The language of scenarios: one step per line, or several with `;` between them, and comments after `#`.
//!
//! ```text
//! needs 5 nodes                  the script makes no sense on fewer
//! wait leader as L               until somebody leads; from here on, L means that node
//! wait new leader as M           until somebody leads who is not the one last waited for
//! wait E leads                   until E says itself that it leads
//! wait uncommitted on L          until L holds entries of which it does not know that they are committed
//! pick follower as F             a node without a name, which does not lead
//! pick 2 followers as A B
//! others as R                    all nodes without a name
//! cut L -> R                     R does not hear L; `<->` cuts both ways; `clients` can stand on either side
//! isolate L                      from all other nodes
//! slow E -> R by 80ms            or `by 0.5 units`
//! reset L <-> R                  connections are reset, and what waited in them is lost
//! kill L · term L · start L · pause L · resume L
//! remove F · remove F at M       F is a member no more, asked at M or anywhere; its process may end
//! add F · add F at M             F, which was removed, is a new member with nothing, and answers
//! try remove F at M · try add F at M     M is asked once, whatever becomes of it
//! sleep 2 units                  or `300ms`, `1.5s`, `1..3 units` (the seed decides); a unit is the time in which the
//!                                system notices a failure
//! heal L -> R · heal links · heal
//! ```
//!
//! Names begin with a capital letter. A mistake is told with its file and line. This module knows no cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::canaries::CANARY_WAIT;
use crate::schedule::length;

/// The most steps of a script.
const STEPS_LIMIT: usize = 200;
/// The most names of a script.
const NAMES_LIMIT: usize = 12;
/// The longest sleep.
const SLEEP_LIMIT: Duration = Duration::from_secs(3600);
/// What a step takes when it is planned: a wait for a leader, on the average, …
const WAIT_UNITS: f64 = 1.2;
/// … a change of links or processes with its proof, …
const CHANGE: Duration = CANARY_WAIT;
/// … a start, …
const START: Duration = Duration::from_millis(200);
/// … a change of members: a removed process ends, a new one starts and catches up, …
const MEMBERS: Duration = Duration::from_millis(1500);
/// … and what all steps together may take longer than that.
const SLACK_UNITS: f64 = 4.0;

/// Why a text is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A line is wrong.
    #[error("{file}:{line}: `{step}`: expected {expected}")]
    Line {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The step as it is written.
        step: String,
        /// What would be right.
        expected: String,
    },
    /// Nothing in it is done to the cluster.
    #[error("{0}: no step does anything to the cluster, such as `cut L -> R` or `kill L`")]
    Idle(String),
}

/// A script, and how many nodes it needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Line>,
    pub(crate) nodes_needed: usize,
}

/// A step, and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) step: Step,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    WaitLeader { new: bool, name: String },
    WaitLeads(String),
    WaitUncommitted(String),
    Pick(Vec<String>),
    Others(String),
    Links(LinkChange, Vec<Way>),
    Isolate(Vec<String>),
    Process(ProcessChange, Vec<String>),
    Members(MemberChange),
    Sleep(Span),
    HealLinks,
    Heal,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LinkChange {
    Cut,
    Slow(Span),
    Reset,
    Heal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessChange {
    Kill,
    Term,
    Start,
    Pause,
    Resume,
}

/// A change of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberChange {
    pub(crate) adds: bool,
    pub(crate) node: String,
    /// Who is asked for it.
    pub(crate) at: Option<String>,
    /// Asked for once, and not waited for.
    pub(crate) only_tried: bool,
}

/// All links from one side to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) from: Vec<Side>,
    pub(crate) to: Vec<Side>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    Named(String),
    Clients,
}

impl Side {
    fn name(&self) -> Option<&String> {
        match self {
            Self::Named(name) => Some(name),
            Self::Clients => None,
        }
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Span {
    /// Between so many and so many units.
    Units(f64, f64),
    Exactly(Duration),
}

impl Span {
    /// What a fraction in [0, 1) makes of it.
    pub(crate) fn length(self, unit: Duration, fraction: f64) -> Duration {
        match self {
            Self::Units(low, high) => unit.mul_f64(low + fraction * (high - low)),
            Self::Exactly(length) => length,
        }
    }
}

impl Script {
    /// Reads a script; `file` is only told in errors.
    ///
    /// # Errors
    /// Says which line is wrong, and what is expected in its place.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let mut reader =
            Reader { file, script: Self { steps: Vec::new(), nodes_needed: 1 }, names: BTreeSet::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            for step in line.split(';').map(str::trim).filter(|step| !step.is_empty()) {
                reader.read(number, step)?;
            }
        }
        if reader.script.steps.iter().any(|line| line.step.changes()) {
            Ok(reader.script)
        } else {
            Err(ScriptError::Idle(file.to_owned()))
        }
    }

    /// The script in one line, without comments.
    pub(crate) fn one_line(&self) -> String {
        let needs = (self.nodes_needed > 1).then(|| format!("needs {} nodes", self.nodes_needed));
        let steps = self.steps.iter().map(|line| line.text.clone());
        needs.into_iter().chain(steps).collect::<Vec<_>>().join("; ")
    }

    /// Whether it changes who is a member.
    pub(crate) fn changes_members(&self) -> bool {
        self.steps.iter().any(|line| matches!(line.step, Step::Members(_)))
    }

    /// How long it may take, waits included, in units.
    pub(crate) fn units(&self, unit: Duration) -> f64 {
        let units = |time: Duration| time.as_secs_f64() / unit.as_secs_f64();
        let of_step = |line: &Line| match line.step {
            Step::WaitLeader { .. } | Step::WaitLeads(_) | Step::WaitUncommitted(_) => WAIT_UNITS,
            Step::Pick(_) | Step::Others(_) => 0.0,
            Step::Process(ProcessChange::Start, _) | Step::Heal => units(START),
            Step::Members(_) => units(MEMBERS),
            Step::Sleep(span) => units(span.length(unit, 1.0)),
            Step::Links(..) | Step::Isolate(_) | Step::Process(..) | Step::HealLinks => units(CHANGE),
        };
        self.steps.iter().map(of_step).sum::<f64>() + SLACK_UNITS
    }

    /// How many of `nodes` nodes it harms at most, as if everything it does stood at the same time: the fewest without
    /// which the others run and hear each other.
    pub(crate) fn harms(&self, nodes: usize) -> usize {
        let sizes = self.sizes(nodes);
        let names: Vec<&str> = sizes.keys().copied().collect();
        let is_harmless = |without: u32| {
            let spared = |name: &str| {
                names.iter().position(|known| *known == name).is_some_and(|i| without & (1 << i) == 0)
            };
            self.steps.iter().all(|line| line.step.spares(&spared))
        };
        let size = |set: u32| {
            (0..names.len()).filter(|i| set & (1 << i) != 0).map(|i| sizes[names[i]]).sum::<usize>()
        };
        let sets = (0..1_u32 << names.len()).filter(|set| is_harmless(*set));
        sets.map(size).min().unwrap_or(nodes).min(nodes)
    }

    /// How many nodes each name stands for.
    fn sizes(&self, nodes: usize) -> BTreeMap<&str, usize> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &self.steps {
            match &line.step {
                Step::WaitLeader { name, .. } => _ = sizes.insert(name, 1),
                Step::Pick(names) => sizes.extend(names.iter().map(|name| (name.as_str(), 1))),
                Step::Others(name) => {
                    let rest = nodes.saturating_sub(sizes.values().sum());
                    sizes.insert(name, rest);
                }
                _ => {}
            }
        }
        sizes
    }
}

impl Step {
    /// Whether it does something to processes or links.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Links(..) | Self::Isolate(_) | Self::Process(..) | Self::Members(_) => true,
            Self::WaitLeader { .. }
            | Self::WaitLeads(_)
            | Self::WaitUncommitted(_)
            | Self::Pick(_)
            | Self::Others(_)
            | Self::Sleep(_)
            | Self::HealLinks
            | Self::Heal => false,
        }
    }

    /// Whether it is about links of clients.
    pub(crate) fn is_about_clients(&self) -> bool {
        let has_clients = |way: &Way| way.from.iter().chain(&way.to).any(|side| *side == Side::Clients);
        matches!(self, Self::Links(_, ways) if ways.iter().any(has_clients))
    }

    /// Whether it leaves nodes alone, and the links between them.
    fn spares(&self, spared: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Isolate(names)
            | Self::Process(ProcessChange::Kill | ProcessChange::Term | ProcessChange::Pause, names) => {
                !names.iter().any(|name| spared(name))
            }
            Self::Members(change) => change.adds || !spared(&change.node),
            Self::Links(LinkChange::Cut, ways) => ways.iter().all(|way| {
                let any = |sides: &[Side]| {
                    sides.iter().any(|side| matches!(side, Side::Named(name) if spared(name)))
                };
                !(any(&way.from) && any(&way.to))
            }),
            _ => true,
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    script: Script,
    names: BTreeSet<String>,
}

impl Reader<'_> {
    fn read(&mut self, line: usize, text: &str) -> Result<(), ScriptError> {
        let wrong = |expected: String| ScriptError::Line {
            file: self.file.to_owned(),
            line,
            step: text.to_owned(),
            expected,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        if let ["needs", count, "nodes"] = words[..] {
            self.script.nodes_needed = count.parse().map_err(|_| wrong("a number of nodes".to_owned()))?;
            return Ok(());
        }
        let step = step(&words).map_err(|expected| wrong(expected.to_owned()))?;
        if let Some(unknown) = step.uses().into_iter().find(|name| !self.names.contains(*name)) {
            let known = self.names.iter().cloned().collect::<Vec<_>>().join(", ");
            let known =
                if known.is_empty() { "there are none yet".to_owned() } else { format!("known are {known}") };
            return Err(wrong(format!(
                "a name in the place of {unknown} that an earlier step gave; {known}"
            )));
        }
        let given: Vec<String> = step.gives().into_iter().cloned().collect();
        if self.script.steps.len() == STEPS_LIMIT || self.names.len() + given.len() > NAMES_LIMIT {
            return Err(wrong(format!("at most {STEPS_LIMIT} steps and {NAMES_LIMIT} names")));
        }
        self.names.extend(given);
        self.script.steps.push(Line { step, text: words.join(" ") });
        Ok(())
    }
}

impl Step {
    /// The names that it gives.
    fn gives(&self) -> Vec<&String> {
        match self {
            Self::WaitLeader { name, .. } | Self::Others(name) => vec![name],
            Self::Pick(names) => names.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The names that it is about.
    fn uses(&self) -> Vec<&String> {
        match self {
            Self::WaitLeads(name) | Self::WaitUncommitted(name) => vec![name],
            Self::Isolate(names) | Self::Process(_, names) => names.iter().collect(),
            Self::Members(change) => std::iter::once(&change.node).chain(&change.at).collect(),
            Self::Links(_, ways) => {
                let sides = ways.iter().flat_map(|way| way.from.iter().chain(&way.to));
                sides.filter_map(Side::name).collect()
            }
            _ => Vec::new(),
        }
    }
}

type Expected = &'static str;

const A_STEP: Expected = "a step: wait, pick, others, cut, isolate, slow, reset, heal, kill, term, start, pause, resume, remove, add, try, sleep or needs";
const A_WAIT: Expected =
    "`wait leader as L`, `wait new leader as L`, `wait L leads` or `wait uncommitted on L`";
const A_PICK: Expected = "`pick follower as F` or `pick 2 followers as A B`, with as many names";
const A_WAY: Expected = "`L -> R` or `L <-> R`, with one or more names, or `clients`, on both sides";
const A_CHANGE: Expected = "`remove F`, `remove F at M`, `add F` or `add F at M`";
const A_TRY: Expected = "`try remove F at M` or `try add F at M`";
const A_SPAN: Expected = "a time, such as `2 units`, `1..3 units`, `300ms` or `1.5s`";
const NAMES: Expected = "one or more names, which begin with a capital letter";

fn step(words: &[&str]) -> Result<Step, Expected> {
    Ok(match words {
        ["wait", "leader", "as", leader] => Step::WaitLeader { new: false, name: name(leader)? },
        ["wait", "new", "leader", "as", leader] => Step::WaitLeader { new: true, name: name(leader)? },
        ["wait", "uncommitted", "on", node] => Step::WaitUncommitted(name(node)?),
        ["wait", node, "leads"] => Step::WaitLeads(name(node)?),
        ["wait", ..] => return Err(A_WAIT),
        ["pick", "follower", "as", follower] => Step::Pick(vec![name(follower)?]),
        ["pick", count, "followers", "as", followers @ ..] if count.parse() == Ok(followers.len()) => {
            Step::Pick(names(followers)?)
        }
        ["pick", ..] => return Err(A_PICK),
        ["others", "as", rest] => Step::Others(name(rest)?),
        ["others", ..] => return Err("`others as R`"),
        ["cut", ends @ ..] => Step::Links(LinkChange::Cut, ways(ends)?),
        ["reset", ends @ ..] => Step::Links(LinkChange::Reset, ways(ends)?),
        ["slow", ends @ .., "by", amount, unit @ ("unit" | "units")] => {
            Step::Links(LinkChange::Slow(span(&[*amount, *unit])?), ways(ends)?)
        }
        ["slow", ends @ .., "by", length] => Step::Links(LinkChange::Slow(span(&[*length])?), ways(ends)?),
        ["slow", ..] => return Err("`slow L -> R by 80ms` or `slow L -> R by 0.5 units`"),
        ["heal"] => Step::Heal,
        ["heal", "links"] => Step::HealLinks,
        ["heal", ends @ ..] => Step::Links(LinkChange::Heal, ways(ends)?),
        ["isolate", nodes @ ..] => Step::Isolate(names(nodes)?),
        ["kill", nodes @ ..] => Step::Process(ProcessChange::Kill, names(nodes)?),
        ["term", nodes @ ..] => Step::Process(ProcessChange::Term, names(nodes)?),
        ["start", nodes @ ..] => Step::Process(ProcessChange::Start, names(nodes)?),
        ["pause", nodes @ ..] => Step::Process(ProcessChange::Pause, names(nodes)?),
        ["resume", nodes @ ..] => Step::Process(ProcessChange::Resume, names(nodes)?),
        ["remove" | "add", ..] => Step::Members(member_change(words, false)?),
        ["try", words @ ..] => Step::Members(member_change(words, true).map_err(|_| A_TRY)?),
        ["sleep", length @ ..] => Step::Sleep(span(length)?),
        _ => return Err(A_STEP),
    })
}

fn name(word: &str) -> Result<String, Expected> {
    let is_name =
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric());
    if is_name { Ok(word.to_owned()) } else { Err(NAMES) }
}

fn names(words: &[&str]) -> Result<Vec<String>, Expected> {
    if words.is_empty() { Err(NAMES) } else { words.iter().map(|word| name(word)).collect() }
}

fn member_change(words: &[&str], only_tried: bool) -> Result<MemberChange, Expected> {
    let (verb, node, at) = match words {
        [verb, node] if !only_tried => (verb, node, None),
        [verb, node, "at", at] => (verb, node, Some(name(at)?)),
        _ => return Err(A_CHANGE),
    };
    let adds = match *verb {
        "add" => true,
        "remove" => false,
        _ => return Err(A_CHANGE),
    };
    Ok(MemberChange { adds, node: name(node)?, at, only_tried })
}

fn ways(words: &[&str]) -> Result<Vec<Way>, Expected> {
    let side = |words: &[&str]| -> Result<Vec<Side>, Expected> {
        let side =
            |word: &&str| if *word == "clients" { Ok(Side::Clients) } else { name(word).map(Side::Named) };
        if words.is_empty() { Err(A_WAY) } else { words.iter().map(side).collect() }
    };
    let arrow = words.iter().position(|word| matches!(*word, "->" | "<->")).ok_or(A_WAY)?;
    let (from, to) = (side(&words[..arrow])?, side(&words[arrow + 1..])?);
    let way = Way { from, to };
    let back = (words[arrow] == "<->").then(|| Way { from: way.to.clone(), to: way.from.clone() });
    Ok(std::iter::once(way).chain(back).collect())
}

fn span(words: &[&str]) -> Result<Span, Expected> {
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number)).ok_or(A_SPAN);
    match words {
        [amount, "unit" | "units"] => {
            let (low, high) = amount.split_once("..").unwrap_or((amount, amount));
            let (low, high) = (number(low)?, number(high)?);
            if low <= high { Ok(Span::Units(low, high)) } else { Err(A_SPAN) }
        }
        [text] => length(text).filter(|length| *length <= SLEEP_LIMIT).map(Span::Exactly).ok_or(A_SPAN),
        _ => Err(A_SPAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Duration = Duration::from_millis(200);

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse("a.scenario", text).map_err(|error| error.to_string())
    }

    #[test]
    fn script_in_one_line_is_the_same_script() {
        let text = "
            needs 5 nodes    # the paper has five
            wait leader as L; pick 2 followers as A B
            others   as R
            cut L A -> R
            cut clients <-> L
            slow R -> B by 0.5 units; slow R -> B by 80ms
            wait uncommitted on L
            sleep 1..3 units
            kill L; wait new leader as M; wait M leads
            heal R -> B; heal links; reset L <-> R; start L; isolate B; pause B; resume B; term B; sleep 1.5s
            remove B; add B; remove B at M; add B at M; try remove A at M; try add A at M; heal";
        let script = parse(text).unwrap();
        assert_eq!((script.nodes_needed, script.steps.len()), (5, 28));
        assert_eq!(parse(&script.one_line()).unwrap(), script);
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_what_is_expected() {
        let cases = [
            ("wait leader as L\n\ncut L", "a.scenario:3: `cut L`: expected `L -> R`"),
            ("wait leader as L\nkill L; kil L", "a.scenario:2: `kil L`: expected a step: wait, pick"),
            (
                "wait leader as L\ncut L -> R",
                "a.scenario:2: `cut L -> R`: expected a name in the place of R that an earlier step gave; known are L",
            ),
            ("wait leader as leader", "expected one or more names, which begin with a capital letter"),
            ("pick 2 followers as A", "with as many names"),
            ("wait for a leader", "expected `wait leader as L`"),
            ("kill", "expected one or more names"),
            ("sleep 3..1 units", "expected a time"),
            ("sleep 3", "expected a time"),
            ("sleep 10000s", "expected a time"),
            ("wait leader as L; remove L at", "expected `remove F`, `remove F at M`"),
            ("wait leader as L; try remove L", "expected `try remove F at M`"),
            ("wait leader as L; try kill L at L", "expected `try remove F at M`"),
            ("wait leader as L; remove L at M", "a name in the place of M"),
            ("needs five nodes", "expected a number of nodes"),
            ("kill clients", "expected one or more names"),
            ("# nothing\nwait leader as L\nsleep 1 unit", "a.scenario: no step does anything"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(parse(&"kill A;".repeat(300)).is_err());
    }

    #[test]
    fn both_ways_are_cut_by_the_arrow_with_two_heads() {
        let script = parse("wait leader as L; others as R; cut L <-> R clients").unwrap();
        let Step::Links(LinkChange::Cut, ways) = &script.steps[2].step else { panic!("{script:?}") };
        let (leader, rest) = (vec![Side::Named("L".into())], vec![Side::Named("R".into()), Side::Clients]);
        let there = Way { from: leader.clone(), to: rest.clone() };
        assert_eq!(*ways, [there, Way { from: rest, to: leader }]);
    }

    #[test]
    fn harm_is_the_fewest_nodes_without_which_the_others_are_whole() {
        for (text, harmed) in [
            ("wait leader as L; others as R; cut L -> R", 1),
            ("wait leader as L; others as R; cut R -> L; kill L", 1),
            ("wait leader as L; pick follower as A; others as R; cut L A <-> R", 2),
            ("wait leader as L; pick follower as A; others as R; cut L <-> R; kill A", 2),
            ("wait leader as L; others as R; kill R", 4),
            ("wait leader as L; kill L; wait new leader as M; isolate M", 2),
            ("wait leader as L; pick follower as F; remove F; isolate L", 2),
            ("wait leader as L; remove L; add L", 1),
            ("wait leader as L; cut clients <-> L", 0),
            ("wait leader as L; others as R; slow L -> R by 1 unit", 0),
        ] {
            assert_eq!(parse(text).unwrap().harms(5), harmed, "{text}");
        }
    }

    #[test]
    fn planned_time_is_that_of_sleeps_and_some_for_waits() {
        let script = parse("wait leader as L; kill L; sleep 2..4 units; sleep 1s").unwrap();
        assert!((script.units(UNIT) - (WAIT_UNITS + 0.5 + 4.0 + 5.0 + SLACK_UNITS)).abs() < 1e-9);
        assert_eq!(Span::Units(2.0, 4.0).length(UNIT, 0.5), UNIT * 3);
    }
}
