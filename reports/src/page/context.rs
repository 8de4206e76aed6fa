//! What the run was: facts for the banner, the environment, the files.

use std::fs;
use std::path::Path;

use history::RunPaths;

use crate::load::Run;
use crate::metrics::Metrics;
use crate::summary::nemesis_words;
use crate::text::{bytes, clip, count, span, wall};

/// How many files are listed.
const MAX_FILES: usize = 300;
/// How long a value may be, in characters.
const VALUE_CHARACTERS: usize = 400;

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

impl Fact {
    /// A fact, its value clipped.
    pub(super) fn new(name: &str, value: impl AsRef<str>) -> Self {
        Self { name: name.to_owned(), value: clip(value.as_ref(), VALUE_CHARACTERS) }
    }
}

/// One file of the run directory.
pub(super) struct FileRow {
    /// Relative to the report, always below it.
    pub(super) path: String,
    pub(super) size: String,
}

/// What the banner tells.
pub(super) fn facts(run: &Run, metrics: &Metrics) -> Vec<Fact> {
    let info = &run.info;
    let counts = checker::Counts::of(&run.history);
    let mut facts = vec![Fact::new("Target", format!("{} {}", info.target, info.target_version))];
    facts.extend(info.mutant.as_ref().map(|mutant| Fact::new("Mutant", mutant)));
    facts.extend([
        Fact::new("Workload", format!("{}, {} reads", info.workload, info.read_consistency)),
        Fact::new("Claim", &info.claim),
        Fact::new("Nemesis", nemesis_words(&info.nemesis)),
        Fact::new("Seed", info.seed.to_string()),
        Fact::new("Nodes", info.nodes.iter().map(|node| node.0.as_str()).collect::<Vec<_>>().join(", ")),
        Fact::new(
            "Operations",
            format!("{} ok, {} fail, {} info", count(counts.ok), count(counts.fail), count(counts.info)),
        ),
        Fact::new("Load", load(run, metrics)),
        Fact::new("Started", wall(info.started_wall_ms)),
    ]);
    facts.extend(info.net.as_ref().map(|net| Fact::new("Network", net)));
    facts
}

fn load(run: &Run, metrics: &Metrics) -> String {
    let info = &run.info;
    let rate = if info.rate > 0.0 { format!("{}/s intended", info.rate) } else { "unthrottled".to_owned() };
    let length = span(run.load.1.saturating_sub(run.load.0));
    format!("{length}, {} workers, {:.0} ok/s ({rate})", info.concurrency, metrics.ok_per_s())
}

/// Versions, digests, limits and what the run recorded about its machine.
pub(super) fn environment(run: &Run) -> Vec<Fact> {
    let info = &run.info;
    let mut facts = vec![
        Fact::new("Run", &info.run_id),
        Fact::new("Plan", &info.plan_id),
        Fact::new("Target", format!("{} {}", info.target, info.target_version)),
        Fact::new("Target binary", &info.target_binary),
        Fact::new("Target SHA-256", &info.target_digest),
        Fact::new("Suite", &info.suite_version),
        Fact::new("Suite SHA-256", &info.suite_digest),
        Fact::new(
            "Time limit of the load",
            span(history::Nanos::from_millis(info.time_limit_ms.min(1 << 40))),
        ),
    ];
    if let Some(upgrade) = &info.upgrade {
        facts.push(Fact::new("Upgraded to", &upgrade.binary));
        facts.push(Fact::new("Upgrade SHA-256", &upgrade.digest));
    }
    if let Some(header) = &run.history.header {
        facts.push(Fact::new("Clock of the stamps", &header.clock));
        facts.push(Fact::new("History format", header.shakedown_history.to_string()));
    }
    facts.extend(info.environment.iter().map(|(name, value)| Fact::new(&clip(name, 80), value)));
    facts
}

/// The files of the run directory by path. What a report writes is listed without sizes: it is written after this.
pub(super) fn files(dir: &RunPaths) -> Vec<FileRow> {
    let outputs = ["junit.xml", "metrics.json", "report.html"];
    let mut rows: Vec<FileRow> = outputs
        .iter()
        .map(|name| FileRow { path: (*name).to_owned(), size: "generated".to_owned() })
        .collect();
    rows.push(FileRow { path: "plots".to_owned(), size: "folder, generated".to_owned() });
    for name in ["run.json", "verdict.json", "nemesis.jsonl", "history.jsonl", "history.jsonl.gz"] {
        rows.extend(row(&dir.dir, name));
    }
    for node in names(&dir.nodes()) {
        for name in names(&dir.nodes().join(&node)) {
            rows.extend(row(&dir.dir, &format!("nodes/{node}/{name}")));
        }
    }
    rows.truncate(MAX_FILES);
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    rows
}

fn row(dir: &Path, path: &str) -> Option<FileRow> {
    let metadata = fs::metadata(dir.join(path)).ok()?;
    let size = if metadata.is_dir() { "folder".to_owned() } else { bytes(metadata.len()) };
    Some(FileRow { path: path.to_owned(), size })
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}
