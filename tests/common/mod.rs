//! What the tests of the binary share: starting it, reading what it left.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use history::{RunEvent, RunInfo, RunPaths};

/// The binary under test.
pub(crate) const SHAKEDOWN: &str = env!("CARGO_BIN_EXE_shakedown");

/// Runs the binary in a directory and waits for it.
pub(crate) fn shakedown(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(SHAKEDOWN).args(arguments).current_dir(dir).output().expect("the binary starts")
}

/// What a command printed, for messages of failed assertions.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The newest run of a store below `dir`.
pub(crate) fn latest(dir: &Path) -> RunPaths {
    RunPaths::new(dir.join("store/latest").canonicalize().expect("a run was stored"))
}

/// The verdict of a run.
pub(crate) fn verdict(paths: &RunPaths) -> checker::Verdict {
    serde_json::from_slice(&std::fs::read(paths.verdict()).expect("verdict.json")).expect("a verdict")
}

/// `run.json` of a run.
pub(crate) fn info(paths: &RunPaths) -> RunInfo {
    serde_json::from_slice(&std::fs::read(paths.run()).expect("run.json")).expect("a run")
}

/// How often leadership went to another node than before.
pub(crate) fn leader_changes(paths: &RunPaths) -> usize {
    let (events, _) = history::read_run_events(&paths.nemesis()).expect("nemesis.jsonl");
    let mut leaders: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            RunEvent::Leader { node: Some(node), term, .. } => Some((node, term)),
            _ => None,
        })
        .collect();
    leaders.dedup();
    leaders.len().saturating_sub(1)
}

/// Whether a third-party server is here. Without it the test is skipped, loudly; where it is required, it fails.
pub(crate) fn has_server(name: &str, package: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    let required = std::env::var_os("SHAKEDOWN_REQUIRE_TARGETS").is_some_and(|value| value == "1");
    assert!(found || !required, "{name} not found, and SHAKEDOWN_REQUIRE_TARGETS=1 (install {package})");
    if !found {
        println!("skipped: {name} not found (install {package})");
        eprintln!("skipped: {name} not found (install {package})");
    }
    found
}

/// Writes an executable script.
pub(crate) fn script(path: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("the script can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("and made executable");
    path.to_owned()
}
