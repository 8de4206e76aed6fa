//! Kills a node when a certain line appears in its output: `kill:REGEX`.
//!
//! A bug of recovery shows when a process ends between two of its steps, and a log says between which it is. The watch
//! begins at the end of the node's output files and looks every two milliseconds, so the kill comes a few milliseconds after
//! the line, and the node may have gone on a little. While it waits other faults begin and end. A line that does not
//! come in time is no fault: it is skipped with that reason. Evidence: as for any kill, with the line.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use history::NodeId;
use regex_lite::Regex;

use crate::fault::{Fault, FaultError, NODES_PREFIX, Request, Scope, Skip, Standing};
use crate::kill::Kill;
use crate::links::FaultId;
use crate::victims::Victims;
use crate::{Cluster, Kind, quorum};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How much is read at once of a file, in bytes.
const READ_BYTES: usize = 64 << 10;
/// A line of which nothing more is looked at, in bytes.
const LINE_LIMIT_BYTES: usize = 256 << 10;
/// How much of a line is quoted, in characters.
const QUOTED_CHARACTERS: usize = 200;

/// A kill that waits for a line.
pub(crate) struct KillAt {
    id: FaultId,
    seed: u64,
    selector: String,
    scope: Scope,
    pattern: Regex,
    tails: Vec<(NodeId, Tail)>,
    line: String,
    /// The kill, once the line has come.
    kill: Option<Kill>,
}

impl Fault for KillAt {
    const WAITS: bool = true;

    /// Arms the watch: what is written from here on counts.
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let pattern =
            Regex::new(request.argument.unwrap_or_default()).map_err(|error| Skip(error.to_string()))?;
        let processes = cluster.processes();
        let nodes = match request.selector {
            "any" => processes.nodes(),
            // The right to change them is asked for again when the line has come.
            _ => Victims::choose(request, cluster, |node| processes.identity(node).is_some()).await?.nodes,
        };
        let mut tails = Vec::new();
        for node in &nodes {
            for path in processes.outputs(node) {
                let tail =
                    Tail::at_end(&path).map_err(|e| Skip(format!("cannot watch {}: {e}", path.display())))?;
                tails.push((node.clone(), tail));
            }
        }
        let leaves = |node: &NodeId| quorum::is_left_after(cluster, std::slice::from_ref(node), &[]);
        let leaves_quorum = nodes.iter().all(leaves);
        let scope = Scope { nodes, detail: request.selector.to_owned(), leaves_quorum };
        let (selector, line) = (request.selector.to_owned(), String::new());
        Ok(Self { id: request.id, seed: request.seed, selector, scope, pattern, tails, line, kill: None })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn moment<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), Skip> {
        loop {
            if let Some((node, line)) = self.look() {
                self.line = line.chars().take(QUOTED_CHARACTERS).collect();
                return self.aim(cluster, &node).await;
            }
            if !standing.lasts(LOOK_INTERVAL).await {
                return Err(Skip(format!("no line that matches {} came in time", self.pattern)));
            }
        }
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        self.kill()?.inject(cluster).await
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let ended = self.kill()?.evidence(cluster).await?;
        Ok(format!("{ended} at the line {:?}", self.line))
    }

    fn effect<C: Cluster>(&self, cluster: &C) -> Option<String> {
        self.kill.as_ref()?.effect(cluster)
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.kill()?.heal(cluster).await
    }
}

impl KillAt {
    /// The first new line that matches, and whose it is.
    fn look(&mut self) -> Option<(NodeId, String)> {
        let pattern = &self.pattern;
        self.tails.iter_mut().find_map(|(node, tail)| {
            let line = tail.find(|line| pattern.is_match(line))?;
            Some((node.clone(), line))
        })
    }

    async fn aim<C: Cluster>(&mut self, cluster: &C, node: &NodeId) -> Result<(), Skip> {
        let chosen = format!("{NODES_PREFIX}{node}");
        let request =
            Request { id: self.id, kind: Kind::Kill, argument: None, selector: &chosen, seed: self.seed };
        let kill = Kill::resolve(&request, cluster).await?;
        let detail = Scope::describe(&self.selector, NODES_PREFIX, [node]);
        self.scope = Scope { detail, ..kill.scope().clone() };
        self.kill = Some(kill);
        Ok(())
    }

    fn kill(&mut self) -> Result<&mut Kill, FaultError> {
        self.kill.as_mut().ok_or_else(|| FaultError::NotProven("it was not its moment yet".into()))
    }
}

/// What is added to a file.
struct Tail {
    file: File,
    offset: u64,
    /// The beginning of a line that has no end yet.
    begun: Vec<u8>,
}

impl Tail {
    fn at_end(path: &PathBuf) -> io::Result<Self> {
        let file = File::open(path)?;
        let offset = file.metadata()?.len();
        Ok(Self { file, offset, begun: Vec::new() })
    }

    /// The first of the new lines that is wanted. The files are in the page cache, so reading them takes no time.
    fn find(&mut self, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut buffer = vec![0; READ_BYTES];
        // A file that cannot be read any more gives no line, and the reason that none came is told then.
        loop {
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if is_wanted(line.trim_end()) {
                    return Some(line.trim_end().to_owned());
                }
            }
            if self.begun.len() > LINE_LIMIT_BYTES {
                self.begun.clear();
            }
            let Ok(count @ 1..) = self.file.read_at(&mut buffer, self.offset) else { return None };
            self.offset += count as u64;
            self.begun.extend_from_slice(&buffer[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_whole_new_lines_count() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        writeln!(file, "leader before").unwrap();
        let mut tail = Tail::at_end(&path).unwrap();
        let mut found = |file: &mut tempfile::NamedTempFile, text: &str| {
            file.write_all(text.as_bytes()).unwrap();
            tail.find(|line| line.contains("leader"))
        };
        assert_eq!(found(&mut file, ""), None);
        assert_eq!(found(&mut file, "no\nlead"), None);
        assert_eq!(found(&mut file, "er of term"), None);
        assert_eq!(found(&mut file, " 3\nleader of term 4\n").as_deref(), Some("leader of term 3"));
        assert_eq!(found(&mut file, "").as_deref(), Some("leader of term 4"));
        assert_eq!(found(&mut file, ""), None);
    }
}
