//! Looks through the nodes' logs for lines that the target promises never to write.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use history::{Nanos, NodeId, RunEvent, RunPaths};

/// The most findings per log.
const FINDINGS_LIMIT: usize = 10;
/// How much of a line is looked at, in bytes.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// How much of a line is shown, in characters.
const SHOWN_CHARS: usize = 300;

/// Every forbidden line of every node, as run events, and how many lines were looked at.
///
/// `excused` says which parts of a log, in bytes, are not held against the node.
pub(crate) fn search(
    paths: &RunPaths,
    nodes: &[NodeId],
    patterns: &[&str],
    excused: impl Fn(&Path) -> Vec<Range<u64>>,
    now: Nanos,
) -> Vec<RunEvent> {
    let mut events = Vec::new();
    let mut lines = 0;
    for node in nodes {
        for file in ["stdout.log", "stderr.log"] {
            let path = paths.node(node).join(file);
            let searched = search_file(&path, patterns, &excused(&path));
            lines += searched.lines;
            events.extend(searched.found.into_iter().take(FINDINGS_LIMIT).map(|(line, text)| {
                let (node, file) = (node.clone(), format!("nodes/{node}/{file}"));
                RunEvent::ForbiddenLog { time: now, node, file, line, text }
            }));
        }
    }
    events.push(RunEvent::LogsSearched { time: now, lines });
    events
}

#[derive(Default)]
struct Searched {
    lines: u64,
    found: Vec<(u64, String)>,
}

fn search_file(path: &Path, patterns: &[&str], excused: &[Range<u64>]) -> Searched {
    let mut searched = Searched::default();
    let Ok(file) = File::open(path) else { return searched };
    let mut input = BufReader::new(file);
    let (mut bytes, mut offset) = (Vec::new(), 0);
    while (&mut input).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        searched.lines += 1;
        let text = String::from_utf8_lossy(&bytes);
        let is_excused = excused.iter().any(|part| part.contains(&offset));
        if !is_excused && patterns.iter().any(|pattern| text.contains(pattern)) {
            searched.found.push((searched.lines, text.trim().chars().take(SHOWN_CHARS).collect()));
        }
        offset += bytes.len() as u64;
        bytes.clear();
    }
    searched
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
        let events = search(&paths, std::slice::from_ref(&node), &["panicked at"], |_| Vec::new(), Nanos(1));
        let [RunEvent::ForbiddenLog { line: 2, file, .. }, RunEvent::LogsSearched { lines: 2, .. }] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(file, "nodes/n2/stderr.log");
        let events = search(&paths, &[node], &["panicked at"], |_| vec![5..6, 99..100], Nanos(1));
        assert!(matches!(&events[..], [RunEvent::LogsSearched { lines: 2, .. }]), "{events:?}");
    }
}
