//! Looks through the nodes' logs for lines that the target promises never to write.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use history::{Nanos, NodeId, RunEvent, RunPaths};

/// The most findings per node.
const FINDINGS_LIMIT: usize = 10;
/// How much of a line is looked at, in bytes.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// How much of a line is shown, in characters.
const SHOWN_CHARS: usize = 300;

/// Every forbidden line of every node, as run events.
pub(crate) fn forbidden(paths: &RunPaths, nodes: &[NodeId], patterns: &[&str], now: Nanos) -> Vec<RunEvent> {
    let mut events = Vec::new();
    for node in nodes {
        let dir = paths.node(node);
        let found = ["stdout.log", "stderr.log"].into_iter().flat_map(|file| {
            matching(&dir.join(file), patterns).into_iter().map(move |(line, text)| (file, line, text))
        });
        events.extend(found.take(FINDINGS_LIMIT).map(|(file, line, text)| RunEvent::ForbiddenLog {
            time: now,
            node: node.clone(),
            file: format!("nodes/{node}/{file}"),
            line,
            text,
        }));
    }
    events
}

fn matching(path: &Path, patterns: &[&str]) -> Vec<(u64, String)> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut input = BufReader::new(file);
    let mut found = Vec::new();
    for number in 1.. {
        let mut bytes = Vec::new();
        match (&mut input).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut bytes) {
            Ok(read) if read > 0 => {}
            _ => break,
        }
        let text = String::from_utf8_lossy(&bytes);
        if patterns.iter().any(|pattern| text.contains(pattern)) {
            found.push((number, text.trim().chars().take(SHOWN_CHARS).collect()));
        }
    }
    found
}

/// The end of a log, for error messages.
pub(crate) fn tail(path: &Path) -> String {
    const TAIL_LINES: usize = 5;
    let text =
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(TAIL_LINES).collect();
    if lines.is_empty() {
        return "(empty)".into();
    }
    lines
        .into_iter()
        .rev()
        .map(|line| line.chars().take(SHOWN_CHARS).collect())
        .collect::<Vec<String>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_line_is_found_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(dir.path());
        let node = NodeId::numbered(2);
        std::fs::create_dir_all(paths.node(&node)).unwrap();
        std::fs::write(paths.node(&node).join("stderr.log"), "fine\nthread 'main' panicked at x\n").unwrap();
        let events = forbidden(&paths, &[node], &["panicked at"], Nanos(1));
        assert!(
            matches!(&events[..], [RunEvent::ForbiddenLog { line: 2, file, .. }] if file == "nodes/n2/stderr.log")
        );
    }
}
