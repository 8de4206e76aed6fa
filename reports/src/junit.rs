//! `junit.xml`: test suite = target × workload, test case = nemesis and seed.
//!
//! A violation is a failure whose type is the kind of the first anomaly and whose text is the counterexample; unknown
//! and infrastructure are errors. A violation that was expected is a success, and a pass that was not is a failure. quick-junit drops the characters that XML forbids.

use std::fmt::Write as _;
use std::time::Duration;

use checker::{Anomaly, RunOutcome};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::expect::{self, Expectation};
use crate::load::Run;
use crate::op::OpRow;
use crate::summary::{nemesis_words, outcome_words};
use crate::text::{clip, printable};

/// How many bytes of the nodes' standard error are included, over all nodes.
const MAX_SYSTEM_ERR_BYTES: usize = 32 << 10;
/// How many anomalies and how many operations of each are included.
const MAX_ANOMALIES: usize = 10;
const MAX_OPERATIONS: usize = 30;
/// How long a message may be, in characters.
const MAX_CHARACTERS: usize = 4000;

/// The text of `junit.xml`.
pub(crate) fn render(run: &Run) -> Result<String, quick_junit::SerializeError> {
    let verdict = &run.verdict;
    let mut case = TestCase::new(
        printable(&format!("{} seed {}", nemesis_words(&verdict.nemesis), verdict.seed)),
        status(run),
    );
    case.set_classname(printable(&format!("{}.{}", verdict.target, verdict.workload)));
    case.set_time(Duration::from(run.end));
    let errors = system_err(run);
    if verdict.outcome != RunOutcome::Valid && !errors.is_empty() {
        case.set_system_err(errors);
    }
    let mut suite = TestSuite::new(printable(&format!("{} × {}", verdict.target, verdict.workload)));
    suite.set_time(Duration::from(run.end));
    for (name, value) in properties(run) {
        suite.add_property(Property::new(name, printable(&value)));
    }
    suite.add_test_case(case);
    let mut report = Report::new("shakedown");
    report.set_time(Duration::from(run.end));
    report.add_test_suite(suite);
    report.to_string()
}

fn properties(run: &Run) -> Vec<(&'static str, String)> {
    let info = &run.info;
    let mut all = vec![
        ("run_id", info.run_id.clone()),
        ("plan_id", info.plan_id.clone()),
        ("outcome", outcome_words(run.verdict.outcome).1.to_owned()),
        ("seed", info.seed.to_string()),
        ("target_version", info.target_version.clone()),
        ("target_digest", info.target_digest.clone()),
        ("suite_version", info.suite_version.clone()),
        ("repro", run.verdict.repro.clone()),
    ];
    all.extend(info.mutant.clone().map(|mutant| ("mutant", mutant)));
    all
}

fn status(run: &Run) -> TestCaseStatus {
    let verdict = &run.verdict;
    match expect::compare(&run.info, verdict) {
        Expectation::Plain => {}
        Expectation::Met(_) => return TestCaseStatus::success(),
        Expectation::Missed(words) if verdict.outcome == RunOutcome::Valid => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("unexpected-pass").set_message(printable(&words));
            return status;
        }
        Expectation::Missed(_) => {}
    }
    let (kind, type_) = match verdict.outcome {
        RunOutcome::Valid => return TestCaseStatus::success(),
        RunOutcome::Violation => {
            let kind = verdict.anomalies.first().map_or("violation", |anomaly| anomaly.kind.as_str());
            (NonSuccessKind::Failure, kind)
        }
        RunOutcome::Unknown => (NonSuccessKind::Error, "unknown"),
        RunOutcome::Infrastructure => (NonSuccessKind::Error, "infrastructure"),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_type(printable(&clip(type_, 100)))
        .set_message(printable(&clip(&verdict.reason, MAX_CHARACTERS)))
        .set_description(printable(&description(run)));
    status
}

fn description(run: &Run) -> String {
    let verdict = &run.verdict;
    let mut out = String::new();
    for anomaly in verdict.anomalies.iter().take(MAX_ANOMALIES) {
        describe(&mut out, run, anomaly);
    }
    let more = verdict.anomalies.len().saturating_sub(MAX_ANOMALIES);
    if more > 0 {
        let _ = writeln!(out, "… and {more} more in report.html\n");
    }
    for missing in &verdict.coverage.missing {
        let _ = writeln!(out, "coverage is missing: {}", clip(missing, MAX_CHARACTERS));
    }
    for check in verdict.checks.iter().filter(|check| check.note.is_some()) {
        let note = check.note.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{}: {}", check.name, clip(note, MAX_CHARACTERS));
    }
    let _ = writeln!(out, "repeat: {}", verdict.repro);
    out
}

fn describe(out: &mut String, run: &Run, anomaly: &Anomaly) {
    let key = anomaly.key.as_ref().map_or_else(String::new, |key| format!(" (key {})", clip(key, 60)));
    let _ =
        writeln!(out, "{} {}{key}: {}", anomaly.id, anomaly.kind, clip(&anomaly.explanation, MAX_CHARACTERS));
    for index in anomaly.operations.iter().take(MAX_OPERATIONS) {
        let _ = match run.operation(*index).as_ref().map(OpRow::of) {
            Some(row) => writeln!(
                out,
                "  #{} process {} {} {}: {} {} -> {} [{}] {} .. {}",
                row.index,
                row.process,
                row.node,
                row.key,
                row.function,
                row.input,
                row.output,
                row.outcome,
                row.start,
                row.end
            ),
            None => writeln!(out, "  #{index} (not in the history)"),
        };
    }
    let more = anomaly.operations.len().saturating_sub(MAX_OPERATIONS);
    if more > 0 {
        let _ = writeln!(out, "  … and {more} more operations");
    }
    out.push('\n');
}

/// The last lines of every node's standard error, each node with an equal share of the limit.
fn system_err(run: &Run) -> String {
    let logs: Vec<_> =
        run.logs.iter().filter(|log| log.file == "stderr.log" && !log.tail.is_empty()).collect();
    let share = MAX_SYSTEM_ERR_BYTES / logs.len().max(1);
    let mut out = String::new();
    for log in logs {
        let _ = writeln!(out, "== {} {} (last lines)", log.node, log.file);
        let mut size = 0;
        let fitting = log.tail.iter().rev().take_while(|line| {
            size += line.len() + 1;
            size <= share
        });
        let mut lines: Vec<&String> = fitting.collect();
        lines.reverse();
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
    }
    printable(&out)
}
