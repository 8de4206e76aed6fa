//! The report for people: a line per history on the terminal while it goes on, and `bench/checker.md`.

use super::answer::{Answer, Limits};
use super::report::{GOAL_MIN_RATIO, GOAL_TOTAL_RATIO, Goal, Group, Report, Row};

/// The sections of the report that hold rows.
const SECTIONS: [(Group, &str, &str); 4] = [
    (Group::Both, "Decided by both", "The ratios are of these."),
    (
        Group::PorcupineGaveUp,
        "Not decided by Porcupine",
        "In no ratio. Where shakedown is `unknown` too, the budget that it had stands with it.",
    ),
    (
        Group::OursGaveUp,
        "Not decided by shakedown",
        "In no ratio. The reason and the budget stand in the column of the verdict.",
    ),
    (
        Group::Alone,
        "Measured without Porcupine",
        "There is no Go on the machine, or the Go program has no such model.",
    ),
];

/// The head of every table of rows.
const HEAD: &str = "\
| history | operations | shakedown | check | read | peak | Porcupine | check | read | peak | ratio |
|---|--:|---|--:|--:|--:|---|--:|--:|--:|--:|
";

/// One history, for the terminal.
pub(crate) fn line(row: &Row, limits: Limits) -> String {
    let side = |name: &str, answer: &Answer| {
        format!("{name} {} {} {}", answer.said(limits), time(answer.check_seconds), memory(answer.peak_bytes))
    };
    let ours = side("shakedown", &row.ours);
    let porcupine = row.porcupine.as_ref().map(|answer| side("Porcupine", answer)).unwrap_or_default();
    let ratio = row.ratio.map(|ratio| format!("{}x", factor(ratio))).unwrap_or_default();
    format!("{:<40} {ours:<36} {porcupine:<38} {ratio:>8}", row.history).trim_end().to_owned()
}

/// The totals, a line each.
pub(crate) fn totals(report: &Report) -> Vec<String> {
    let (Some(total), Some(min), Some(slowest)) = (report.total_ratio, report.min_ratio, report.slowest())
    else {
        return vec!["total_ratio, min_ratio: none, no history was decided by both".to_owned()];
    };
    let (ours, porcupine) = report.total_seconds();
    let histories = report.rows.iter().filter(|row| row.ratio.is_some()).count();
    let verdict = |met: bool| if met { "met" } else { "missed" };
    vec![
        format!(
            "total_ratio: {} over what both decided ({histories}; Porcupine {}, shakedown {}); \
             goal at least {GOAL_TOTAL_RATIO}: {}",
            factor(total),
            time(porcupine),
            time(ours),
            verdict(total >= GOAL_TOTAL_RATIO)
        ),
        format!(
            "min_ratio: {} ({}); goal at least {GOAL_MIN_RATIO}: {}",
            factor(min),
            slowest.history,
            verdict(min >= GOAL_MIN_RATIO)
        ),
    ]
}

/// The whole report, as Markdown.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = format!(
        "# The checker, measured\n\n\
         Written by `cargo xtask bench checker`; [README.md](README.md) says how it measures and what the columns mean.\n\n\
         * Machine: {}\n\
         * Limits for both: {} s of checking, {} GiB of resident memory\n\
         * Selection: {}\n",
        cell(&report.machine.described()),
        report.limits.seconds,
        report.limits.bytes >> 30,
        cell(&report.selection)
    );
    for line in totals(report) {
        text.push_str(&format!("* {}\n", cell(&line)));
    }
    for (group, title, remark) in SECTIONS {
        let rows = report.rows_of(group);
        if !rows.is_empty() {
            text.push_str(&format!("\n## {title}\n\n{remark}\n\n{HEAD}"));
            text.extend(rows.iter().map(|row| table_row(row, report.limits)));
        }
    }
    text.push_str(&goals(report));
    text
}

fn table_row(row: &Row, limits: Limits) -> String {
    let side = |answer: Option<&Answer>| match answer {
        Some(answer) => format!(
            "{} | {} | {} | {}",
            cell(&answer.said(limits)),
            time(answer.check_seconds),
            time(answer.parse_seconds),
            memory(answer.peak_bytes)
        ),
        None => "– | – | – | –".to_owned(),
    };
    format!(
        "| {} | {} | {} | {} | {} |\n",
        cell(&row.history),
        grouped(row.operations),
        side(Some(&row.ours)),
        side(row.porcupine.as_ref()),
        row.ratio.map_or_else(|| "–".to_owned(), factor)
    )
}

/// The goals for single histories.
fn goals(report: &Report) -> String {
    let rows: Vec<String> = report
        .rows
        .iter()
        .filter_map(|row| Some((row, row.goal?, row.goal_factor()?)))
        .map(|(row, goal, missed)| {
            let verdict = match missed {
                _ if missed <= 1.0 => "met".to_owned(),
                _ if missed.is_finite() => format!("missed by {}", factor(missed)),
                _ => "not decided".to_owned(),
            };
            let (check, peak) = (time(row.ours.check_seconds), memory(row.ours.peak_bytes));
            format!("| {} | {} | {check}, {peak} | {verdict} |\n", cell(&row.history), meant(goal))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = "| history | at most | needed | |\n|---|---|---|---|\n";
    let remark = "Time is of checking, without reading; memory is of the whole process.";
    format!("\n## Goals of shakedown alone\n\n{remark}\n\n{head}{}", rows.concat())
}

fn meant(goal: Goal) -> String {
    let memory = goal.bytes.map(|bytes| format!(", {}", memory(bytes))).unwrap_or_default();
    format!("{}{memory}", time(goal.seconds))
}

/// Text that cannot end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Three digits and a unit; a dash for what was not measured.
fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds <= 0.0 || !seconds.is_finite() => "–".to_owned(),
        _ if seconds < 1e-3 => format!("{} µs", digits(seconds * 1e6)),
        _ if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        _ => format!("{} s", digits(seconds)),
    }
}

fn memory(bytes: u64) -> String {
    match bytes {
        0 => "–".to_owned(),
        _ => format!("{} MiB", digits(bytes as f64 / f64::from(1 << 20))),
    }
}

fn factor(ratio: f64) -> String {
    digits(ratio)
}

/// A number with about three digits.
fn digits(number: f64) -> String {
    match number {
        _ if number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// `1000000` as `1,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Verdict, tests::answer};
    use super::super::report::tests::{LIMITS, report, row};
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(time(0.000_012_34), "12.3 µs");
        assert_eq!(time(0.5), "500 ms");
        assert_eq!(time(61.2), "61.2 s");
        assert_eq!(time(0.0), "–");
        assert_eq!(memory(3 << 20), "3.00 MiB");
        assert_eq!(memory(8 << 30), "8192 MiB");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(grouped(999), "999");
    }

    #[test]
    fn line_of_the_terminal_says_both_verdicts_times_and_peaks() {
        let both = row("h", answer(Verdict::Ok, 0.001), Some(answer(Verdict::Ok, 0.5)));
        let words: Vec<String> = line(&both, LIMITS).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "h shakedown ok 1.00 ms 2.00 MiB Porcupine ok 500 ms 2.00 MiB 500x");
    }

    #[test]
    fn histories_that_porcupine_did_not_decide_stand_apart() {
        let text = markdown(&report(vec![
            row("fast", answer(Verdict::Ok, 0.001), Some(answer(Verdict::Ok, 0.5))),
            row("slow", answer(Verdict::Ok, 0.1), Some(answer(Verdict::OutOfMemory, 0.0))),
        ]));
        let (before, after) = text.split_once("## Not decided by Porcupine").unwrap();
        assert!(before.contains("| fast | 1,000 | ok | 1.00 ms | 500 ms | 2.00 MiB | ok |"), "{before}");
        assert!(
            before.contains("total_ratio: 500 over what both decided (1; ")
                && before.contains("goal at least 100: met")
        );
        assert!(after.contains("| slow |") && after.contains("more than 8 GiB | – |"), "{after}");
        assert!(!text.contains("Not decided by shakedown"));
    }

    #[test]
    fn goals_say_by_what_factor_they_are_missed() {
        let with_goal = |name: &str, verdict, seconds| {
            let goal = Some(Goal { seconds: 1.0, bytes: Some(256 << 20) });
            Row { goal, ..row(name, answer(verdict, seconds), None) }
        };
        let text = goals(&report(vec![
            with_goal("a", Verdict::Ok, 0.5),
            with_goal("b", Verdict::Illegal, 3.0),
            with_goal("c", Verdict::Unknown, 60.0),
        ]));
        assert!(text.contains("| a | 1.00 s, 256 MiB | 500 ms, 2.00 MiB | met |"), "{text}");
        assert!(text.contains("| b |") && text.contains("missed by 3.00 |"), "{text}");
        assert!(text.contains("not decided |"), "{text}");
    }

    #[test]
    fn hostile_names_stay_in_their_cell() {
        let text = markdown(&report(vec![row("a|b\nc", answer(Verdict::Ok, 0.1), None)]));
        assert!(text.contains("| a\\|b c |"), "{text}");
        assert!(text.contains("no history was decided by both"));
    }
}
