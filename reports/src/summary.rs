//! The end of a run in plain text, for terminals and logs.

use std::fmt::Write as _;

use checker::{Anomaly, CheckOutcome, RunOutcome, Verdict};
use history::RunPaths;

use crate::text::{bytes, clip, count, printable};

/// The width that prose is wrapped to, in characters.
const WIDTH: usize = 100;
/// How many anomalies are told in full.
const MAX_ANOMALIES: usize = 5;
/// How long an explanation may be, in characters.
const EXPLANATION_CHARACTERS: usize = 1200;

/// What a user wants to know when a run has ended: the outcome and its reason, what was exercised, every check, the
/// anomalies, the faults, what coverage misses, where the report is and how to repeat the run. Ends with a line
/// feed; contains no escape sequences, whatever the system under test wrote.
///
/// A history that was judged alone has no run directory, and so no report to name.
pub fn summary(verdict: &Verdict, dir: Option<&RunPaths>) -> String {
    let mut out = String::new();
    head(&mut out, verdict);
    anomalies(&mut out, &verdict.anomalies);
    list(&mut out, "Coverage is missing:", &verdict.coverage.missing);
    checks(&mut out, verdict);
    faults(&mut out, verdict);
    if let Some(dir) = dir {
        let _ = writeln!(out, "\nreport  {}", dir.report().display());
    }
    if !verdict.repro.is_empty() {
        let _ = writeln!(out, "repeat  {}", verdict.repro);
    }
    printable(&out)
}

/// The word of an outcome and a mark that is told apart without colours.
pub(crate) fn outcome_words(outcome: RunOutcome) -> (&'static str, &'static str) {
    match outcome {
        RunOutcome::Valid => ("✓", "valid"),
        RunOutcome::Violation => ("✗", "violation"),
        RunOutcome::Unknown => ("?", "unknown"),
        RunOutcome::Infrastructure => ("!", "infrastructure"),
    }
}

/// The word of a check's outcome.
pub(crate) fn check_word(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Valid => "valid",
        CheckOutcome::Violation => "violation",
        CheckOutcome::Unknown => "unknown",
    }
}

/// The kinds of faults in words.
pub(crate) fn nemesis_words(kinds: &[String]) -> String {
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

fn head(out: &mut String, verdict: &Verdict) {
    let (mark, word) = outcome_words(verdict.outcome);
    wrap(out, &format!("{mark} {}: ", word.to_uppercase()), "  ", &verdict.reason);
    if !verdict.target.is_empty() {
        let _ = writeln!(
            out,
            "\nrun     {}: {} × {}, nemesis {}, seed {}",
            verdict.run_id,
            verdict.target,
            verdict.workload,
            nemesis_words(&verdict.nemesis),
            verdict.seed
        );
    }
    let counts = &verdict.operations;
    let all = counts.all();
    let _ = writeln!(
        out,
        "clients {} operations: {} ok, {} fail, {} info",
        count(all),
        count(counts.ok),
        count(counts.fail),
        count(counts.info)
    );
}

fn anomalies(out: &mut String, anomalies: &[Anomaly]) {
    for anomaly in anomalies.iter().take(MAX_ANOMALIES) {
        let key = anomaly.key.as_ref().map_or_else(String::new, |key| format!(", key {}", clip(key, 60)));
        let _ = writeln!(out, "\n{} {}{key}", anomaly.id, anomaly.kind);
        wrap(out, "   ", "   ", &clip(&anomaly.explanation, EXPLANATION_CHARACTERS));
        if !anomaly.operations.is_empty() {
            let indices: Vec<String> =
                anomaly.operations.iter().take(12).map(|index| format!("#{index}")).collect();
            let more = anomaly.operations.len().saturating_sub(12);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(out, "   operations {}{more}", indices.join(" "));
        }
    }
    if anomalies.len() > MAX_ANOMALIES {
        let _ = writeln!(out, "\n   … and {} more in the report", anomalies.len() - MAX_ANOMALIES);
    }
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for item in items {
        wrap(out, "  - ", "    ", item);
    }
}

fn checks(out: &mut String, verdict: &Verdict) {
    if verdict.checks.is_empty() {
        return;
    }
    let rows = verdict.checks.iter().map(|check| {
        vec![
            check.name.clone(),
            check_word(check.outcome).to_owned(),
            count(check.examined),
            format!("{} ms", count(check.duration_ms)),
            bytes(check.peak_memory_bytes),
            check.note.clone().unwrap_or_default(),
        ]
    });
    table(out, &["check", "outcome", "examined", "time", "memory", ""], rows.collect(), &[2, 3, 4]);
}

fn faults(out: &mut String, verdict: &Verdict) {
    if verdict.faults.is_empty() {
        return;
    }
    let rows = verdict.faults.iter().map(|tally| {
        let mut row = vec![tally.kind.clone()];
        row.extend(
            [tally.planned, tally.skipped, tally.injected, tally.evidenced, tally.effective].map(count),
        );
        row
    });
    let titles = ["fault", "planned", "skipped", "injected", "evidenced", "effective"];
    table(out, &titles, rows.collect(), &[1, 2, 3, 4, 5]);
}

/// Columns as wide as their widest cell; `right` names those aligned to the right.
fn table(out: &mut String, titles: &[&str], rows: Vec<Vec<String>>, right: &[usize]) {
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| printable(&cell.replace('\n', " "))).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([titles[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let _ = writeln!(out, "\n{}", line(&titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>()));
    for row in &rows {
        let _ = writeln!(out, "{}", line(row));
    }
}

/// Writes prose with `first` before its first line and `next` before the others.
fn wrap(out: &mut String, first: &str, next: &str, prose: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in prose.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            next.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_between_words() {
        let mut out = String::new();
        wrap(&mut out, "  - ", "    ", &"word ".repeat(30));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(out.lines().nth(1).unwrap().starts_with("    word"));
    }
}
