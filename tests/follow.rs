//! Histories that are judged while they are being written: `check --follow` and `run --fail-fast`.

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use checker::{RunOutcome, Verdict};
use common::{SHAKEDOWN, latest, said, shakedown, verdict};
use history::{RunEvent, read_run_events};

/// A simulated history, and its lines.
fn generated(dir: &Path, model: &str, violations: &str) -> (PathBuf, Vec<String>) {
    let path = dir.join(format!("{model}-{violations}.jsonl"));
    let out = path.to_str().unwrap();
    let made = shakedown(
        dir,
        &[
            "generate",
            "--model",
            model,
            "--operations",
            "20000",
            "--concurrency",
            "8",
            "--keys",
            "20",
            "--unknown",
            "1",
            "--violations",
            violations,
            "--seed",
            "5",
            "--out",
            out,
        ],
    );
    assert!(made.status.success(), "{}", said(&made));
    let lines = std::fs::read_to_string(&path).unwrap().lines().map(|line| format!("{line}\n")).collect();
    (path, lines)
}

/// Starts to follow a file; the verdict comes as JSON.
fn follow(path: &Path, more: &[&str]) -> Child {
    Command::new(SHAKEDOWN)
        .args(["check", "--follow", "--json"])
        .args(more)
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn parsed(output: &Output) -> Verdict {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// A file that grows.
fn growing(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

#[test]
fn violation_ends_the_following_although_the_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for model in ["register", "set"] {
        let (_, lines) = generated(dir.path(), model, "1");
        let path = dir.path().join(format!("{model}-growing.jsonl"));
        let mut file = growing(&path);
        file.write_all(lines[0].as_bytes()).unwrap();
        let mut child = follow(&path, &[]);
        // Nobody tells the follower that the file is over, so only a violation can end it.
        for part in lines[1..].chunks(500) {
            file.write_all(part.concat().as_bytes()).unwrap();
            if child.try_wait().unwrap().is_some() {
                break;
            }
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{model}: {}", said(&output));
        let verdict = parsed(&output);
        assert_eq!(verdict.outcome, RunOutcome::Violation);
        assert!(verdict.anomalies[0].operations.len() > 1, "it is explained: {:?}", verdict.anomalies[0]);
    }
}

#[test]
fn followed_file_that_is_quiet_is_judged_as_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    for model in ["register", "versioned-register", "mutex", "append-list"] {
        let (path, lines) = generated(dir.path(), model, "0");
        let output = follow(&path, &["--until-idle", "300ms"]).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{model}: {}", said(&output));
        let whole = shakedown(dir.path(), &["check", "--json", path.to_str().unwrap()]);
        let (followed, whole) = (parsed(&output), parsed(&whole));
        assert_eq!((followed.outcome, followed.operations), (whole.outcome, whole.operations), "{model}");
        assert_eq!(followed.workload, whole.workload);
        assert_eq!(followed.operations.ok + followed.operations.info, (lines.len() as u64 - 1).div_ceil(2));
    }
}

#[test]
fn interrupt_ends_with_the_verdict_of_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (_, lines) = generated(dir.path(), "register", "0");
    let path = dir.path().join("growing.jsonl");
    // The last line is not whole yet.
    growing(&path).write_all(lines[..2001].concat().trim_end().trim_end_matches('}').as_bytes()).unwrap();
    let child = follow(&path, &[]);
    // Following has begun when the file is open.
    let descriptors = format!("/proc/{}/fd", child.id());
    let reads = || {
        let mut entries = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().read_link().is_ok_and(|link| link == path))
    };
    while !reads() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let judged = parsed(&output).operations;
    assert!(judged.ok + judged.info >= 999, "{judged:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("growing.jsonl:2001"), "{}", said(&output));
}

#[test]
fn what_cannot_be_followed_is_told_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let missing = shakedown(dir.path(), &["check", "--follow", "nowhere.jsonl"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("without --follow"), "{}", said(&missing));

    let (_, lines) = generated(dir.path(), "register", "0");
    let anonymous = dir.path().join("anonymous.jsonl");
    growing(&anonymous).write_all(lines[1..101].concat().as_bytes()).unwrap();
    let output = follow(&anonymous, &["--until-idle", "100ms"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--model"), "{}", said(&output));
    let output =
        follow(&anonymous, &["--until-idle", "100ms", "--model", "register"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let broken = dir.path().join("broken.jsonl");
    growing(&broken)
        .write_all([&lines[..10].concat(), "{\"index\":]\n", &lines[10]].concat().as_bytes())
        .unwrap();
    let output = follow(&broken, &["--until-idle", "100ms"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.jsonl:11"), "{}", said(&output));
}

#[test]
fn run_ends_at_the_first_violation_when_it_shall_fail_fast() {
    let dir = tempfile::tempdir().unwrap();
    // Without faults, memory that is read locally is behind now and then all the same.
    let arguments = "run --read-consistency local --nemesis none --time-limit 10m --seed 1 --fail-fast --expect violation";
    let output = shakedown(dir.path(), &arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let paths = latest(dir.path());
    assert_eq!(verdict(&paths).outcome, RunOutcome::Violation);
    let (events, _) = read_run_events(&paths.nemesis()).unwrap();
    let ended = events.iter().filter(|event| matches!(event, RunEvent::FailedFast { .. })).count();
    assert_eq!(ended, 1, "the load lasted no ten minutes");
}
