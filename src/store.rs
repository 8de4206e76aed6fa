//! The store of runs: `STORE/<run_id>/`, written as `<run_id>.partial` and renamed when whole; nothing is overwritten.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use checker::{RunOutcome, Verdict};
use flate2::Compression;
use flate2::write::GzEncoder;
use history::{NodeId, RunPaths};

/// What a run may leave behind in data directories, in bytes. Larger ones are removed, and a note says so.
pub(crate) const DATA_LIMIT_BYTES: u64 = 256 << 20;
/// The most attempts under one plan.
const ATTEMPT_LIMIT: u32 = 100_000;

/// Where the history of a run is by now: when the run ends, its history is compressed and its directory gets another name.
pub(crate) fn history_by_now(path: &Path) -> PathBuf {
    if path.exists() {
        return path.to_owned();
    }
    let dir = path.parent().unwrap_or(path);
    let ended =
        dir.to_str().and_then(|dir| dir.strip_suffix(PARTIAL)).map_or_else(|| dir.to_owned(), PathBuf::from);
    [dir.to_owned(), ended]
        .into_iter()
        .map(|dir| RunPaths::new(dir).history())
        .find(|history| history.exists())
        .unwrap_or_else(|| path.to_owned())
}

/// How the directory of a run ends that is not over.
const PARTIAL: &str = ".partial";

/// A run directory that is being written.
#[derive(Debug)]
pub(crate) struct OpenRun {
    store: PathBuf,
    pub(crate) run_id: String,
    pub(crate) paths: RunPaths,
}

impl OpenRun {
    /// Makes the directory of the next attempt under a plan.
    pub(crate) fn create(store: &Path, plan_id: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(store).with_context(|| {
            format!("cannot make the store {}; choose another with --out", store.display())
        })?;
        let store = store.canonicalize().with_context(|| format!("cannot resolve {}", store.display()))?;
        for attempt in 1..=ATTEMPT_LIMIT {
            let run_id = format!("{plan_id}-{attempt}");
            if store.join(&run_id).exists() {
                continue;
            }
            let partial = store.join(format!("{run_id}{PARTIAL}"));
            match fs::create_dir(&partial) {
                Ok(()) => return Ok(Self { store, run_id, paths: RunPaths::new(partial) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot make {}; choose another store with --out", partial.display())
                    });
                }
            }
        }
        bail!(
            "{} holds {ATTEMPT_LIMIT} attempts of {plan_id}; choose another store with --out",
            store.display()
        )
    }

    /// Makes the directory of a node.
    pub(crate) fn create_node(&self, node: &NodeId) -> anyhow::Result<PathBuf> {
        let dir = self.paths.node(node);
        fs::create_dir_all(dir.join("data")).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    /// Renames the directory to its final name and points `latest` at it.
    pub(crate) fn finish(self) -> anyhow::Result<RunPaths> {
        let whole = self.store.join(&self.run_id);
        fs::rename(&self.paths.dir, &whole)
            .with_context(|| format!("cannot rename {} to {}", self.paths.dir.display(), whole.display()))?;
        let link = self.store.join(format!(".latest.{}", std::process::id()));
        let _absent = fs::remove_file(&link);
        symlink(&self.run_id, &link)
            .and_then(|()| fs::rename(&link, self.store.join("latest")))
            .with_context(|| format!("cannot point {}/latest at the run", self.store.display()))?;
        Ok(RunPaths::new(whole))
    }
}

/// Compresses the recorded history, and what the nodes say that they did.
pub(crate) fn compress(paths: &RunPaths, nodes: &[NodeId]) -> io::Result<()> {
    compress_file(&paths.history_plain(), &paths.history_compressed())?;
    for node in nodes {
        let plain = paths.trace_plain(node);
        if plain.exists() {
            compress_file(&plain, &paths.trace_compressed(node))?;
        }
    }
    Ok(())
}

/// The plain file goes only once the compressed one is whole.
fn compress_file(plain: &Path, compressed: &Path) -> io::Result<()> {
    let unfinished = compressed.with_extension("gz.partial");
    let mut gzip = GzEncoder::new(fs::File::create(&unfinished)?, Compression::fast());
    io::copy(&mut fs::File::open(plain)?, &mut gzip)?;
    gzip.finish()?.flush()?;
    fs::rename(&unfinished, compressed)?;
    fs::remove_file(plain)
}

/// Keeps the nodes' data directories only where they help to understand an outcome, and within the limit.
pub(crate) fn prune_data(paths: &RunPaths, nodes: &[NodeId], outcome: RunOutcome) -> io::Result<()> {
    let dirs: Vec<PathBuf> = nodes.iter().map(|node| paths.node(node).join("data")).collect();
    let total: u64 = dirs.iter().map(|dir| size_bytes(dir)).sum();
    let too_large = total > DATA_LIMIT_BYTES;
    if outcome != RunOutcome::Valid && !too_large {
        return Ok(());
    }
    for dir in dirs.iter().filter(|dir| dir.exists()) {
        fs::remove_dir_all(dir)?;
        if outcome != RunOutcome::Valid {
            let note =
                format!("removed: the data directories held {total} bytes, more than {DATA_LIMIT_BYTES}\n");
            fs::write(dir.with_extension("removed.txt"), note)?;
        }
    }
    Ok(())
}

fn size_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    fs::read_dir(path).map_or(0, |entries| entries.flatten().map(|entry| size_bytes(&entry.path())).sum())
}

/// Writes a value as pretty JSON.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).context("cannot serialize")?;
    text.push(b'\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what it should be", path.display()))
}

/// The verdicts of other attempts under the same plan: when they differ, the plan is flaky.
pub(crate) fn other_verdicts(store: &Path, plan_id: &str, but: &str) -> Vec<Verdict> {
    let Ok(entries) = fs::read_dir(store) else { return Vec::new() };
    let mut verdicts: Vec<Verdict> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name != but && name.rsplit_once('-').is_some_and(|(plan, _)| plan == plan_id)
        })
        .filter_map(|entry| read_json(&RunPaths::new(entry.path()).verdict()).ok())
        .collect();
    verdicts.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_never_overwritten() {
        let store = tempfile::tempdir().unwrap();
        let first = OpenRun::create(store.path(), "plan").unwrap();
        let second = OpenRun::create(store.path(), "plan").unwrap();
        assert_eq!((first.run_id.as_str(), second.run_id.as_str()), ("plan-1", "plan-2"));
        first.finish().unwrap();
        assert_eq!(fs::read_link(store.path().join("latest")).unwrap(), Path::new("plan-1"));
        assert_eq!(OpenRun::create(store.path(), "plan").unwrap().run_id, "plan-3");
    }

    #[test]
    fn compressed_history_has_the_bytes_of_the_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(dir.path());
        fs::write(paths.history_plain(), "a\nb\n").unwrap();
        compress(&paths, &[]).unwrap();
        assert!(!paths.history_plain().exists());
        let mut text = String::new();
        io::Read::read_to_string(
            &mut flate2::read::GzDecoder::new(fs::File::open(paths.history()).unwrap()),
            &mut text,
        )
        .unwrap();
        assert_eq!(text, "a\nb\n");
    }

    #[test]
    fn data_of_a_valid_run_goes_and_of_any_other_stays() {
        let dir = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(dir.path());
        let node = NodeId::numbered(1);
        let data = paths.node(&node).join("data");
        fs::create_dir_all(&data).unwrap();
        prune_data(&paths, std::slice::from_ref(&node), RunOutcome::Violation).unwrap();
        assert!(data.exists());
        prune_data(&paths, &[node], RunOutcome::Valid).unwrap();
        assert!(!data.exists());
    }
}
