//! The main job with real processes, short. The full-length runs are `cargo xtask acceptance`.

mod common;

use std::sync::Mutex;

use checker::RunOutcome;
use common::{has_server, info, latest, said, shakedown, verdict};
use history::{History, read_history};

/// Runs share two cores; one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn raft_is_valid_under_faults_and_the_files_agree() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output = shakedown(dir.path(), &["run", "--time-limit", "10s", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let paths = latest(dir.path());
    let recorded = verdict(&paths);
    assert_eq!(recorded.outcome, RunOutcome::Valid);
    assert!(recorded.operations.ok > 1000, "{:?}", recorded.operations);
    assert!(recorded.faults.iter().all(|fault| fault.evidenced > 0), "{:?}", recorded.faults);
    let report = std::fs::read_to_string(paths.report()).unwrap();
    assert!(report.contains("<svg") && report.contains(&recorded.run_id));

    let run_dir = paths.dir.to_str().unwrap();
    for history in [run_dir, paths.history().to_str().unwrap()] {
        let checked = shakedown(dir.path(), &["check", history, "--json"]);
        assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
        let again: checker::Verdict = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!((again.outcome, &again.reason), (recorded.outcome, &recorded.reason));
        assert_eq!((&again.coverage, &again.faults), (&recorded.coverage, &recorded.faults));
    }
    rerun_repeats_templates_and_schedule(dir.path(), run_dir);
}

fn rerun_repeats_templates_and_schedule(dir: &std::path::Path, run_dir: &str) {
    let first = history::RunPaths::new(run_dir);
    let output = shakedown(dir, &["rerun", run_dir]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 of 1 reproduced"), "{}", said(&output));
    let second = latest(dir);
    assert_ne!(first.dir, second.dir);
    assert_eq!(info(&first).plan_id, info(&second).plan_id);
    assert_eq!(info(&first).schedule, info(&second).schedule);
    let (a, b) = (read_history(&first.history()).unwrap().0, read_history(&second.history()).unwrap().0);
    let workers = info(&first).concurrency;
    let stride = workers + u32::try_from(info(&first).nodes.len()).unwrap();
    for worker in 0..workers {
        let (a, b) = (templates(&a, worker, stride), templates(&b, worker, stride));
        let both = a.len().min(b.len());
        assert!(both > 50, "worker {worker} did only {both} operations in one of the runs");
        assert_eq!(a[..both], b[..both], "worker {worker}");
    }
}

/// What was fixed in advance of a worker's operations, in their order: function, key, and what a write writes.
fn templates(history: &History, worker: u32, stride: u32) -> Vec<(String, Option<String>, String)> {
    history
        .operations
        .iter()
        .filter(|o| !o.is_final && o.process.0 % stride == worker)
        .map(|o| {
            let fixed = if o.f == "write" { o.input.to_string() } else { String::new() };
            (o.f.clone(), o.key.clone(), fixed)
        })
        .collect()
}

#[test]
fn resolved_rerun_meets_the_very_nodes() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["run", "--nemesis", "kill", "--nodes", "3", "--time-limit", "6s", "--seed", "4"];
    let output = shakedown(dir.path(), &arguments);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", said(&output));
    let first = latest(dir.path());
    let output = shakedown(dir.path(), &["rerun", first.dir.to_str().unwrap(), "--resolved"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", said(&output));
    let second = latest(dir.path());
    let (planned, carried_out) = (info(&first), info(&second));
    assert_ne!(planned.plan_id, carried_out.plan_id);
    assert!(!carried_out.schedule.is_empty());
    for fault in &carried_out.schedule {
        assert!(fault.selector.starts_with("nodes n"), "{fault:?}");
    }
    // The seed plans something else, so the run names itself as what to repeat.
    let again = &carried_out.repro;
    assert!(again.starts_with("shakedown rerun ") && again.ends_with(&carried_out.run_id), "{again}");
    assert!(planned.repro.starts_with("shakedown run raft"), "{}", planned.repro);
}

#[test]
fn raft_set_is_valid_under_faults() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["run", "--workload", "set", "--time-limit", "8s", "--seed", "2", "--nodes", "3"];
    let output = shakedown(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn raft_with_local_reads_is_convicted() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output = shakedown(
        dir.path(),
        &["run", "--time-limit", "8s", "--seed", "3", "--nodes", "3", "--read-consistency", "local"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let paths = latest(dir.path());
    let anomaly = &verdict(&paths).anomalies[0];
    assert_eq!(anomaly.kind, "nonlinearizable");
    assert!((2..=24).contains(&anomaly.operations.len()), "{anomaly:?}");
    let report = std::fs::read_to_string(paths.report()).unwrap();
    assert!(anomaly.operations.iter().all(|index| report.contains(&format!(">{index}<"))), "{anomaly:?}");
}

#[test]
fn etcd_is_valid_and_with_serializable_reads_convicted() {
    let _alone = alone();
    if !has_server("etcd", "etcd-server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output =
        shakedown(dir.path(), &["run", "etcd", "--time-limit", "12s", "--seed", "1", "--nodes", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let arguments = [
        "run",
        "etcd",
        "--time-limit",
        "10s",
        "--seed",
        "1",
        "--nodes",
        "3",
        "--read-consistency",
        "local",
        "--expect",
        "violation:nonlinearizable",
    ];
    let output = shakedown(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(verdict(&latest(dir.path())).outcome, RunOutcome::Violation);
}
