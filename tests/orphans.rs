//! `kill -9` of the orchestrator, or of the guardian, at any moment leaves no process, no socket and no mount behind.
//!
//! How many moments are tried is SHAKEDOWN_KILLS (each for orchestrator and guardian); the acceptance runs try 50.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::{SHAKEDOWN, script};

/// How long everything may take to vanish.
const LIMIT: Duration = Duration::from_secs(2);
/// Moments that are tried when nobody says.
const KILLS: u32 = 6;

fn kills() -> u32 {
    std::env::var("SHAKEDOWN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A server that leaves messy relatives: a background child, and a grandchild that double-forked into a session of its
/// own. Both inherit the environment by which they are found.
fn messy_server(dir: &Path) -> std::path::PathBuf {
    let text = format!("#!/bin/sh\nsleep 600 &\n(setsid sleep 601 &)\nexec {SHAKEDOWN} \"$@\"\n");
    script(&dir.join("messy"), &text)
}

/// Whether this machine has what the doctor calls so.
fn has(mechanism: &str) -> bool {
    static FINDINGS: LazyLock<String> = LazyLock::new(|| {
        let output = Command::new(SHAKEDOWN).arg("doctor").output().expect("the doctor comes");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let found = FINDINGS.contains(&format!("yes  {mechanism}"));
    if !found {
        println!("SKIPPED: orphans of {mechanism}; see `shakedown doctor`");
    }
    found
}

/// Every other run has a switch.
fn start(dir: &Path, i: u32) -> Child {
    let server = messy_server(dir);
    let disks = if has("disks (FUSE)") { ",power,slow-disk" } else { "" };
    let (packets, net) = match i % 2 == 1 && has("network namespaces (switch)") {
        true => (",packet", "switch"),
        false => ("", "links"),
    };
    let nemesis = format!("pause,kill,partition{disks}{packets}");
    Command::new(SHAKEDOWN)
        .args(["run", "--nodes", "3", "--time-limit", "30s", "--net", net, "--nemesis", &nemesis, "--binary"])
        .arg(server)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the run starts")
}

/// Processes whose environment or arguments name the directory of the test.
fn survivors(dir: &Path) -> Vec<(i32, String)> {
    let mark = dir.to_str().unwrap().as_bytes();
    let names = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let (environment, arguments) = (read("environ"), read("cmdline"));
        let is_here = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let is_ours = is_here || names(&environment) || names(&arguments);
        is_ours.then(|| (pid, String::from_utf8_lossy(&arguments).replace('\0', " ")))
    });
    processes.collect()
}

/// The inodes of the sockets that a run and everything below it hold at this moment.
fn sockets(dir: &Path) -> BTreeSet<u64> {
    let descriptors = survivors(dir)
        .into_iter()
        .filter_map(|(pid, _)| fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flat_map(|entries| entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()));
    let inode = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    descriptors.filter_map(inode).collect()
}

/// The inodes of all listening TCP sockets of the machine.
fn listening() -> BTreeSet<u64> {
    const STATE: usize = 3;
    const INODE: usize = 9;
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|fields| fields[STATE] == "0A").filter_map(|fields| fields[INODE].parse().ok()).collect()
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

fn guardian_of(orchestrator: i32) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{orchestrator}/task")).ok()?;
    let children = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).find_map(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        arguments.split(|b| *b == 0).any(|argument| argument == b"guardian").then(|| pid.parse().ok())?
    })
}

fn wait_until_gone(dir: &Path, what: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = survivors(dir);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: still there after 2 s: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It may have ended by itself in the same moment.
    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// The moments are spread evenly over the whole start and the first faults, each with a little that differs.
fn moment(i: u32, of: u32) -> Duration {
    const SPAN_MS: u32 = 3500;
    Duration::from_millis(u64::from(i * SPAN_MS / of + (i * 37) % 23))
}

#[test]
fn nothing_survives_the_orchestrator_or_the_guardian() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let mounted = mounts();
    let mut held = BTreeSet::new();
    let of = kills();
    let mut guardians = 0;
    for i in 0..of {
        let mut run = start(&dir, i);
        std::thread::sleep(moment(i, of));
        held.extend(sockets(&dir));
        kill(run.id().cast_signed());
        run.wait().unwrap();
        wait_until_gone(&dir, &format!("orchestrator killed after {:?}", moment(i, of)));

        let mut run = start(&dir, i);
        std::thread::sleep(moment(i, of));
        if let Some(guardian) = guardian_of(run.id().cast_signed()) {
            guardians += 1;
            held.extend(sockets(&dir));
            kill(guardian);
            let relatives = |(pid, _): &(i32, String)| *pid != run.id().cast_signed();
            let deadline = Instant::now() + LIMIT;
            while survivors(&dir).iter().any(relatives) {
                assert!(Instant::now() < deadline, "guardian killed: still there: {:?}", survivors(&dir));
                std::thread::sleep(Duration::from_millis(20));
            }
        } else {
            kill(run.id().cast_signed());
        }
        let status = wait_for(&mut run);
        assert!(status.code().is_none_or(|code| code == 5), "{status}");
        wait_until_gone(&dir, "guardian");
    }
    assert!(guardians > of / 2, "the guardian was there in only {guardians} of {of} moments");
    assert!(held.len() > of as usize, "the runs held only {} sockets", held.len());
    assert!(held.is_disjoint(&listening()), "listening sockets are left");
    assert_eq!(mounts(), mounted);
}

/// A run that lost its guardian judges what it has and ends.
fn wait_for(run: &mut Child) -> std::process::ExitStatus {
    const END_LIMIT: Duration = Duration::from_secs(20);
    let deadline = Instant::now() + END_LIMIT;
    loop {
        if let Some(status) = run.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the run did not end by itself after its guardian died");
        std::thread::sleep(Duration::from_millis(20));
    }
}
