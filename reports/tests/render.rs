//! Rendering whole run directories: what must be in the files, and what must never be.

use std::fs;
use std::path::Path;

use checker::{RunOutcome, Verdict};
use history::RunPaths;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{NASTY, Scenario, write};

mod fixture;

/// Long enough for a fault that moves the leader and for the anomaly at 19 s.
const SECONDS: u64 = 34;

struct Made {
    _folder: TempDir,
    dir: RunPaths,
}

impl Made {
    fn new(outcome: RunOutcome) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = write(&folder.path().join("run"), &Scenario { outcome, seconds: SECONDS, per_worker: 4 });
        Self { _folder: folder, dir }
    }

    fn render(&self) -> reports::Rendered {
        reports::render(&self.dir).unwrap()
    }

    fn html(&self) -> String {
        fs::read_to_string(self.dir.report()).unwrap()
    }

    fn junit(&self) -> String {
        fs::read_to_string(self.dir.junit()).unwrap()
    }

    fn verdict(&self) -> Verdict {
        serde_json::from_slice(&fs::read(self.dir.verdict()).unwrap()).unwrap()
    }

    /// Every output with its bytes.
    fn outputs(&self) -> Vec<(String, Vec<u8>)> {
        let plots =
            ["timeline", "latency-raw", "latency-quantiles", "rate"].map(|name| format!("plots/{name}.svg"));
        let others = ["report.html", "junit.xml", "metrics.json"].map(str::to_owned);
        let names = others.into_iter().chain(plots);
        names.map(|name| (name.clone(), fs::read(self.dir.dir.join(name)).unwrap())).collect()
    }
}

fn rendered(outcome: RunOutcome) -> Made {
    let made = Made::new(outcome);
    made.render();
    made
}

/// What no output may contain, whatever the run wrote.
fn assert_harmless(text: &str, what: &str) {
    let lower = text.to_lowercase();
    for forbidden in [
        "<script",
        "<img",
        "javascript:",
        " onerror=alert(1)>\"",
        "src=\"",
        "<link",
        "<iframe",
        "@import",
        "<b on",
    ] {
        let found = lower.find(forbidden);
        assert!(found.is_none(), "{what} contains {forbidden}: {:?}", found.map(|at| lower.get(at..at + 80)));
    }
    let invisible = text.chars().find(|c| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}');
    assert_eq!(invisible, None, "{what} contains an invisible character");
}

fn assert_no_request(html: &str) {
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
    for attribute in ["href=\"", "url("] {
        for (at, _) in html.match_indices(attribute) {
            let target = &html[at + attribute.len()..];
            assert!(
                target.starts_with('#') || target.starts_with("./"),
                "leaves the file: {}",
                &target[..40]
            );
        }
    }
}

#[test]
fn second_rendering_writes_the_same_bytes() {
    for outcome in [RunOutcome::Valid, RunOutcome::Violation, RunOutcome::Unknown] {
        let made = rendered(outcome);
        let first = made.outputs();
        made.render();
        assert!(first == made.outputs(), "{outcome:?} differs");
    }
}

#[test]
fn output_does_not_depend_on_where_the_run_directory_is() {
    let (one, other) = (rendered(RunOutcome::Violation), rendered(RunOutcome::Violation));
    assert_ne!(one.dir, other.dir);
    assert!(one.outputs() == other.outputs());
}

#[test]
fn page_needs_no_script_and_no_network() {
    for outcome in [RunOutcome::Valid, RunOutcome::Violation, RunOutcome::Unknown, RunOutcome::Infrastructure]
    {
        let html = rendered(outcome).html();
        assert_harmless(&html, "report.html");
        assert_no_request(&html);
    }
}

#[test]
fn every_operation_of_an_anomaly_is_in_its_table_and_drawing() {
    let made = rendered(RunOutcome::Violation);
    let (html, verdict) = (made.html(), made.verdict());
    assert!(verdict.anomalies[0].operations.len() >= 7);
    for index in &verdict.anomalies[0].operations {
        assert!(
            html.contains(&format!("<th scope=\"row\" class=\"n\">{index}</th>")),
            "{index} is not in the table"
        );
        assert!(html.contains(&format!("<title>#{index} ")), "{index} is not drawn");
    }
    assert!(html.contains("w 15") && html.contains("r → 12"));
    assert!(html.find("class=\"explanation\"").unwrap() < html.find("The operations that prove it").unwrap());
}

#[test]
fn anomaly_names_the_faults_and_the_log_lines_around_it() {
    let html = rendered(RunOutcome::Violation).html();
    assert!(html.contains("partition n1, from 16.000 s to 21.530 s"));
    assert!(
        html.contains("&#60;b onmouseover=alert(1)&#62;") || html.contains("&lt;b onmouseover=alert(1)&gt;")
    );
    assert!(html.contains("stale-lease-read"), "the mutant is named");
}

/// The part of the page about one of two anomalies.
fn section(html: &str, number: usize) -> &str {
    let start = html.find(&format!("id=\"anomaly-{number}\"")).unwrap();
    let rest = &html[start..];
    rest.find(&format!("id=\"anomaly-{}\"", number + 1)).map_or(rest, |end| &rest[..end])
}

#[test]
fn faults_around_an_anomaly_are_told_only_when_its_time_is_known() {
    let made = rendered(RunOutcome::Violation);
    assert!(section(&made.html(), 1).contains("Faults around it"));
    assert!(section(&made.html(), 2).contains("pause n3, from"), "it stood a second before the crash");
    let events = fs::read_to_string(made.dir.nemesis()).unwrap();
    let others: Vec<&str> = events.lines().filter(|line| !line.contains("\"exited\"")).collect();
    let others = others.join("\n") + "\n";
    fs::write(made.dir.nemesis(), &others).unwrap();
    made.render();
    let html = made.html();
    assert!(!section(&html, 2).contains("Faults around it"), "no event tells when the node crashed");
    assert!(!section(&html, 2).contains("No fault stood"));
    let exit = r#"{"event":"exited","time":1900000000,"node":"n2","pid":4002,"status":"exit status 101","licensed":false}"#;
    fs::write(made.dir.nemesis(), format!("{others}{exit}\n")).unwrap();
    made.render();
    assert!(section(&made.html(), 2).contains("No fault stood within two seconds"));
}

#[test]
fn drawings_have_titles_and_descriptions() {
    let made = rendered(RunOutcome::Violation);
    let html = made.html();
    for id in ["timeline", "latency-raw", "latency-quantiles", "rate", "anomaly-1"] {
        assert!(
            html.contains(&format!("<title id=\"t-{id}\">"))
                && html.contains(&format!("<desc id=\"d-{id}\">"))
        );
    }
    for (name, bytes) in made.outputs().into_iter().filter(|(name, _)| name.ends_with(".svg")) {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("<title") && text.contains("<style>") && text.contains("<pattern"), "{name}");
        assert_harmless(&text, &name);
    }
}

#[test]
fn junit_of_a_violation_is_a_failure_with_the_counterexample() {
    let made = rendered(RunOutcome::Violation);
    let report = quick_junit::Report::deserialize_from_str(&made.junit()).unwrap();
    assert_eq!(report.test_suites.len(), 1);
    assert_eq!(report.test_suites[0].name.as_str(), "raft × register");
    let case = &report.test_suites[0].test_cases[0];
    assert_eq!(case.name.as_str(), "kill, pause, partition, clock seed 7341");
    let text = made.junit();
    assert!(text.contains("<failure") && text.contains("type=\"stale\"") && text.contains("write 15"));
    assert!(text.contains("repeat: shakedown run") && text.contains("<system-err>"));
    assert!(text.len() < 100_000);
    assert_harmless(&text, "junit.xml");
}

#[test]
fn junit_tells_errors_from_successes() {
    let unknown = rendered(RunOutcome::Unknown).junit();
    assert!(unknown.contains("<error") && unknown.contains("type=\"unknown\""));
    let infrastructure = rendered(RunOutcome::Infrastructure).junit();
    assert!(infrastructure.contains("<error") && infrastructure.contains("type=\"infrastructure\""));
    let valid = rendered(RunOutcome::Valid).junit();
    assert!(!valid.contains("<error") && !valid.contains("<failure"));
}

/// Renders a run of which something was expected.
fn expecting(outcome: RunOutcome, expect: &str) -> Made {
    let made = Made::new(outcome);
    let mut info: Value = serde_json::from_slice(&fs::read(made.dir.run()).unwrap()).unwrap();
    info["expect"] = expect.into();
    fs::write(made.dir.run(), info.to_string()).unwrap();
    made.render();
    made
}

#[test]
fn expected_violation_passes_and_unexpected_pass_fails() {
    let met = expecting(RunOutcome::Violation, "violation:stale");
    assert!(!met.junit().contains("<failure"));
    assert!(met.html().contains("Expected and found: violation:stale."));
    let missed = expecting(RunOutcome::Valid, "violation:stale");
    assert!(missed.junit().contains("type=\"unexpected-pass\""));
    assert!(missed.html().contains("Expected violation:stale, but that was not found"));
}

#[test]
fn unknown_says_what_was_missing_before_anything_else() {
    let html = rendered(RunOutcome::Unknown).html();
    let why = html.find("What was missing").unwrap();
    assert!(why < html.find("What was exercised").unwrap());
    assert!(html.contains("reads inside a fault window: 3 ok, at least 20 are needed"));
    assert!(html.contains("1,024 MiB of memory were not enough"));
}

#[test]
fn infrastructure_says_what_failed_and_what_to_do() {
    let html = rendered(RunOutcome::Infrastructure).html();
    assert!(html.contains("What failed") && html.contains("choose other ports with --base-port"));
    assert!(html.contains("Next step.") && html.contains("No operation was recorded"));
}

#[test]
fn torn_history_is_reported_and_rendered_up_to_there() {
    let made = Made::new(RunOutcome::Valid);
    let path = made.dir.history_plain();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let problems = made.render().problems;
    assert!(problems[0].starts_with("history.jsonl is torn at line "), "{problems:?}");
    assert!(made.html().contains("This report is not complete"));
}

#[test]
fn broken_or_missing_files_do_not_prevent_a_report() {
    let made = Made::new(RunOutcome::Violation);
    fs::write(made.dir.history_plain(), "{\"index\":0}\n").unwrap();
    fs::remove_file(made.dir.nemesis()).unwrap();
    fs::write(made.dir.plots(), "not a folder").unwrap();
    let log = made.dir.nodes().join("n1/stderr.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let problems = made.render().problems;
    for part in [
        "history could not be read: history.jsonl:1",
        "run events could not",
        "n1/stderr.log cannot",
        "could not be written",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:?}");
    }
    let html = made.html();
    assert!(html.contains("plots/timeline.svg could not be written"));
    assert!(html.contains("Not in the history that could be read"));
    assert!(!html.contains(&made.dir.dir.display().to_string()), "the page depends on its place");
}

#[test]
fn empty_history_is_rendered() {
    let made = Made::new(RunOutcome::Valid);
    fs::write(made.dir.history_plain(), "").unwrap();
    fs::write(made.dir.nemesis(), "").unwrap();
    assert_eq!(made.render().problems, Vec::<String>::new());
    assert!(made.html().contains("No operation was recorded"));
}

#[test]
fn absurd_times_do_not_stop_a_report() {
    let made = Made::new(RunOutcome::Valid);
    let stall = r#"{"event":"stall","time":18446744073709551615,"length":18446744073709551615}"#;
    let healed = r#"{"event":"fault","time":0,"fault":4294967295,"kind":"","phase":"healed"}"#;
    let injected = r#"{"event":"fault","time":9,"fault":4294967295,"kind":"","phase":"injected"}"#;
    fs::write(made.dir.nemesis(), format!("{stall}\n{healed}\n{injected}\n")).unwrap();
    let log = "{\"ts_ms\":1e300}\n{\"ts_ms\":-1e300}\n{\"ts_ms\":null}\n[\n{\n";
    fs::write(made.dir.nodes().join("n1/stderr.log"), log).unwrap();
    assert_eq!(made.render().problems, Vec::<String>::new());
    assert!(!made.html().contains("this drawing failed"));
}

#[test]
fn directory_without_run_json_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = reports::render(&RunPaths::new(folder.path())).unwrap_err().to_string();
    assert!(error.contains("run.json") && error.contains("is this a run directory?"), "{error}");
}

/// Puts the nasty value into every string, except where only certain words are legal.
fn poison(value: &mut Value) {
    match value {
        Value::String(text) => *text = NASTY.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(poison),
        Value::Object(fields) => {
            for (name, field) in fields {
                if !matches!(name.as_str(), "outcome" | "event" | "phase" | "type") {
                    poison(field);
                }
            }
        }
        _ => {}
    }
}

fn poison_file(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let lines = if path.extension().is_some_and(|e| e == "json") {
        vec![text.as_str()]
    } else {
        text.lines().collect()
    };
    let poisoned = lines.into_iter().map(|line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        poison(&mut value);
        value.to_string() + "\n"
    });
    fs::write(path, poisoned.collect::<String>()).unwrap();
}

#[test]
fn hostile_strings_stay_text_wherever_they_come_from() {
    let made = Made::new(RunOutcome::Violation);
    for path in [made.dir.run(), made.dir.verdict(), made.dir.nemesis(), made.dir.history_plain()] {
        poison_file(&path);
    }
    let node = made.dir.nodes().join("<img src=x onerror=alert(1)>\u{1b}");
    fs::create_dir(&node).unwrap();
    fs::write(node.join("stderr.log"), NASTY).unwrap();
    assert_eq!(made.render().problems, Vec::<String>::new());
    for (name, bytes) in made.outputs().into_iter().filter(|(name, _)| name != "metrics.json") {
        assert_harmless(&String::from_utf8(bytes).unwrap(), &name);
    }
    assert_no_request(&made.html());
    quick_junit::Report::deserialize_from_str(&made.junit()).unwrap();
    let summary = reports::summary(&made.verdict(), Some(&made.dir));
    assert!(summary.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn report_of_thirty_thousand_operations_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario { outcome: RunOutcome::Violation, seconds: 60, per_worker: 50 };
    let dir = write(folder.path(), &scenario);
    reports::render(&dir).unwrap();
    let size = fs::metadata(dir.report()).unwrap().len();
    assert!(size < 2 << 20, "{size} bytes");
}

#[test]
fn metrics_name_their_units_and_parse() {
    let made = rendered(RunOutcome::Valid);
    let metrics: Value = serde_json::from_slice(&fs::read(made.dir.metrics()).unwrap()).unwrap();
    assert_eq!(metrics["schema"], 1);
    assert_eq!(metrics["operations"]["ok"], made.verdict().operations.ok);
    let reads = metrics["latency"].as_array().unwrap().iter().find(|row| row["function"] == "read").unwrap();
    assert!(reads["p50_ms"].as_f64().unwrap() <= reads["p99_ms"].as_f64().unwrap());
    assert!(metrics["availability"]["longest_without_ok_write_ms"].as_f64().unwrap() > 0.0);
    assert!(metrics["faults"][0]["recovery_ms"].as_f64().is_some());
}

#[test]
fn summary_tells_outcome_proof_and_how_to_repeat() {
    let made = Made::new(RunOutcome::Violation);
    let summary = reports::summary(&made.verdict(), Some(&made.dir));
    for part in [
        "✗ VIOLATION: Key k7",
        "A1 stale, key k7",
        "linearizable",
        "partition",
        "report  ",
        "repeat  shakedown run",
    ] {
        assert!(summary.contains(part), "{part} is not in\n{summary}");
    }
}
