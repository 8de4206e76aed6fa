//! Runs in which clocks are wrong.

mod common;

use std::path::Path;
use std::process::Output;
use std::sync::Mutex;

use checker::RunOutcome;
use common::{SHAKEDOWN, has_server, latest, said, script, shakedown, verdict};
use history::{FaultPhase, RunEvent, read_run_events};

/// Runs share two cores; one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn run(dir: &Path, target: &str, nemesis: &str, more: &[&str]) -> Output {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let arguments =
        ["run", target, "--nemesis", nemesis, "--time-limit", "8s", "--nodes", "3", "--seed", "7"];
    shakedown(dir, &[&arguments, more].concat())
}

fn is_valid(dir: &Path, output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let recorded = verdict(&latest(dir));
    assert_eq!(recorded.outcome, RunOutcome::Valid);
    for fault in &recorded.faults {
        assert!(fault.injected > 0 && fault.evidenced == fault.injected, "{fault:?}");
    }
}

#[test]
fn raft_server_does_not_care_what_time_it_is() {
    for nemesis in ["clock,kill", "clock-monotonic"] {
        let dir = tempfile::tempdir().unwrap();
        is_valid(dir.path(), &run(dir.path(), "raft", nemesis, &[]));
    }
}

#[test]
fn etcd_does_not_care_what_time_it_is() {
    if !has_server("etcd", "etcd-server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    is_valid(dir.path(), &run(dir.path(), "etcd", "clock", &[]));
}

#[test]
fn server_behind_a_launch_script_has_wrong_clocks_too() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\numask 022\ntrue $(date)\nexec nice -n 1 {SHAKEDOWN} \"$@\"\n");
    let launch = script(&dir.path().join("launch.sh"), &text);
    let output = run(dir.path(), "raft", "clock,pause", &["--binary", launch.to_str().unwrap()]);
    is_valid(dir.path(), &output);
}

/// `find` is no launcher, so what it executes keeps the machine's clocks.
#[test]
fn server_whose_clock_cannot_be_changed_is_refused_before_the_load() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\nexec find /dev/null -maxdepth 0 -exec {SHAKEDOWN} \"$@\" \\;\n");
    let launch = script(&dir.path().join("launch.sh"), &text);
    let output = run(dir.path(), "raft", "clock", &["--binary", launch.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let paths = latest(dir.path());
    let recorded = verdict(&paths);
    assert!(recorded.reason.contains("cannot change the wall clock of n1"), "{}", recorded.reason);
    let (events, _) = read_run_events(&paths.nemesis()).unwrap();
    let is_injected = |event: &RunEvent| matches!(event, RunEvent::Fault { phase: FaultPhase::Injected, .. });
    assert!(!events.iter().any(is_injected));
    assert!(!events.iter().any(|event| matches!(event, RunEvent::Phase { name, .. } if name == "load")));
}
