//! The nodes' logs: their last lines, and the lines around a moment where lines carry wall-clock times.
//!
//! A line carries a time when it is a JSON object with a number `ts_ms`, milliseconds since 1970. Anything else is
//! shown in tails only. A log that cannot be read is said to be so and changes nothing else.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use history::{Nanos, RunPaths};
use serde_json::Value;

use crate::text::clip;

/// How much of the end of a log is read for lines around a moment, in bytes.
const SCAN_BYTES: u64 = 8 << 20;
/// How many lines of a tail are shown.
pub(crate) const TAIL_LINES: usize = 40;
/// How long a shown line may be, in characters.
const LINE_CHARACTERS: usize = 400;
/// How many nodes' logs are read.
const MAX_NODES: usize = 64;

/// One log file of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    /// The node, by the name of its directory.
    pub(crate) node: String,
    /// `stdout.log` or `stderr.log`.
    pub(crate) file: &'static str,
    /// The last lines.
    pub(crate) tail: Vec<String>,
    /// Lines with a time, in the order of the file.
    pub(crate) timed: Vec<TimedLine>,
}

/// A log line on the time axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimedLine {
    /// Nanoseconds since the run began, as far as the node's clock and the harness's agree. May be negative.
    pub(crate) time: i128,
    /// `warn`, `error`, … where the line tells.
    pub(crate) level: String,
    /// The message and the other fields.
    pub(crate) text: String,
}

/// Reads the logs of all nodes, by ascending node name. The second list says what could not be read.
pub(crate) fn read_all(dir: &RunPaths, wall_origin_ms: u64) -> (Vec<Log>, Vec<String>) {
    let mut logs = Vec::new();
    let mut problems = Vec::new();
    for node in node_names(dir).into_iter().take(MAX_NODES) {
        for file in ["stdout.log", "stderr.log"] {
            let path = dir.nodes().join(&node).join(file);
            match read_end(&path) {
                Ok(None) => {}
                Ok(Some(text)) => logs.push(parse(&node, file, &text, wall_origin_ms)),
                Err(error) => problems.push(format!("nodes/{node}/{file} cannot be read: {error}")),
            }
        }
    }
    (logs, problems)
}

fn node_names(dir: &RunPaths) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.nodes()) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The end of a file as text, or `None` when there is no file.
fn read_end(path: &Path) -> std::io::Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(SCAN_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(SCAN_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line is not whole when something was skipped.
    Ok(Some(if skipped > 0 {
        text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
    } else {
        text
    }))
}

fn parse(node: &str, file: &'static str, text: &str, wall_origin_ms: u64) -> Log {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail =
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| clip(line, LINE_CHARACTERS));
    let timed = lines.iter().filter_map(|line| timed_line(line, wall_origin_ms));
    Log { node: node.to_owned(), file, tail: tail.collect(), timed: timed.collect() }
}

fn timed_line(line: &str, wall_origin_ms: u64) -> Option<TimedLine> {
    if !line.starts_with('{') || !line.contains("\"ts_ms\"") {
        return None;
    }
    let Value::Object(mut fields) = serde_json::from_str(line).ok()? else { return None };
    let wall_ms = fields.remove("ts_ms")?.as_f64()?;
    let nanos = (wall_ms - wall_origin_ms as f64) * 1e6;
    let level = take_text(&mut fields, &["level"]);
    let message = take_text(&mut fields, &["msg", "message", "event"]);
    fields.remove("node");
    let rest = fields.iter().map(|(name, value)| format!("{name}={}", bare(value)));
    let words: Vec<String> = std::iter::once(message).filter(|m| !m.is_empty()).chain(rest).collect();
    Some(TimedLine { time: i128::from(nanos as i64), level, text: clip(&words.join(" "), LINE_CHARACTERS) })
}

fn take_text(fields: &mut serde_json::Map<String, Value>, names: &[&str]) -> String {
    for name in names {
        if let Some(Value::String(text)) = fields.get(*name) {
            let text = text.clone();
            fields.remove(*name);
            return text;
        }
    }
    String::new()
}

/// A value without the quotation marks of a string.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A line of some node near a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NearLine<'a> {
    /// Whose line it is.
    pub(crate) node: &'a str,
    /// The line.
    pub(crate) line: &'a TimedLine,
}

/// The lines at most `radius` from any of `moments`: the `limit` nearest ones, by time. The second value is how
/// many were left out.
pub(crate) fn near<'a>(
    logs: &'a [Log],
    moments: &[Nanos],
    radius: Nanos,
    limit: usize,
) -> (Vec<NearLine<'a>>, usize) {
    let mut moments: Vec<i128> = moments.iter().map(|moment| i128::from(moment.0)).collect();
    moments.sort_unstable();
    let distance = |time: i128| {
        let after = moments.partition_point(|moment| *moment < time);
        let neighbours = &moments[after.saturating_sub(1)..moments.len().min(after + 1)];
        neighbours.iter().map(|moment| (moment - time).unsigned_abs()).min()
    };
    let mut found: Vec<(u128, NearLine<'a>)> = Vec::new();
    for log in logs {
        for line in &log.timed {
            if let Some(far) = distance(line.time).filter(|far| *far <= u128::from(radius.0)) {
                found.push((far, NearLine { node: &log.node, line }));
            }
        }
    }
    found.sort_by_key(|(far, _)| *far);
    let omitted = found.len().saturating_sub(limit);
    found.truncate(limit);
    let mut lines: Vec<NearLine<'a>> = found.into_iter().map(|(_, line)| line).collect();
    lines.sort_by_key(|near| (near.line.time, near.node));
    (lines, omitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_with_a_time_are_placed_on_the_axis() {
        let text =
            "boot\n{\"ts_ms\":1500,\"level\":\"warn\",\"msg\":\"vote\",\"term\":3}\n{\"ts_ms\":\"x\"}\n";
        let log = parse("n1", "stderr.log", text, 1000);
        assert_eq!(log.tail.len(), 3);
        assert_eq!(
            log.timed,
            vec![TimedLine { time: 500_000_000, level: "warn".into(), text: "vote term=3".into() }]
        );
    }

    #[test]
    fn nearest_lines_are_kept_and_the_rest_is_counted() {
        let text = "{\"ts_ms\":1}\n{\"ts_ms\":2}\n{\"ts_ms\":9}\n";
        let logs = [parse("n1", "stderr.log", text, 0)];
        let (lines, omitted) = near(&logs, &[Nanos::from_millis(2)], Nanos::from_millis(2), 1);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].line.time, 2_000_000);
        assert_eq!(omitted, 1);
    }
}
