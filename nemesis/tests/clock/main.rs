//! Wrong clocks, as programs of several languages see them.

#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod programs;
mod reader;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::{Ground, ROLE, guardian_command, has_role};
use common::{eventually, holds, n};
use nemesis::guardian::{Account, NodeCommand};
use nemesis::process::TaskCount;
use nemesis::{Area, Movement, NodeClock};
use reader::Round;

const SECOND: i64 = 1_000_000_000;
/// A file that keeps a reader from reading.
const QUIET: &str = "quiet";
const DAY: i64 = 86_400 * SECOND;
/// What a clock is away at times that is told different things in turns.
const JUMP: i64 = DAY;

#[test]
fn reader_process() {
    if has_role("reader") && Path::new(QUIET).exists() {
        print!("{QUIET}");
        std::io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_secs(3600));
    }
    if has_role("reader") {
        reader::read_for_ever();
    }
    if has_role("watcher") {
        reader::watch_two_offsets([0, JUMP]);
    }
}

/// A node, its clocks, and what it printed.
struct Watched {
    ground: Ground,
    clock: Arc<NodeClock>,
}

impl Watched {
    /// Starts a program with clocks of its own.
    async fn start(ground: Ground, program: &str, arguments: &[&str], role: &str) -> Self {
        let variables = [(ROLE, role.to_owned())];
        ground.add_with(&n(1), program, arguments, &variables).await.unwrap();
        let clock = ground.processes.give_clock(&n(1), &ground.directory.path().join("clock")).unwrap();
        let watched = Self { ground, clock };
        watched.ground.processes.launch(&n(1)).await.unwrap();
        watched
    }

    async fn reader() -> Self {
        Self::start(Ground::new().await, &own(), &["x", "reader_process", "--exact", "--nocapture"], "reader")
            .await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.ground.log(&n(1))).unwrap_or_default()
    }

    fn rounds(&self) -> Option<u64> {
        Round::last(&self.log()).map(|round| round.number)
    }

    /// The next round of readings that begins from here on must be what the node's clock says.
    async fn reads(&self, area: Area) {
        let now = self.rounds().unwrap_or(0);
        // The one that follows the last complete one may be half over.
        let another = || self.rounds().is_some_and(|round| round >= now + 2);
        if !holds(another).await {
            panic!("no other round: {:#?}, {}", self.ground.processes.tree(&n(1)), self.log());
        }
        let wrong = Round::last(&self.log()).unwrap().wrong(|area| self.clock.skew(area));
        assert_eq!(wrong, None);
        assert!(self.clock.is_seen(area), "{}", self.log());
    }

    /// Waits until both who print say a time that is so far away from the true one, and not older than this call.
    async fn tells(&self, off: i64) {
        let (begin, skipped) = (now(), self.log().len());
        let latest = |who: &str| {
            let log = self.log();
            let times =
                log[skipped..].lines().rev().filter_map(|line| line.strip_prefix(who)?.trim().parse().ok());
            times.take(3).collect::<Vec<i64>>()
        };
        for who in ["parent", "child"] {
            // Seconds and ticks of the coarse clock lag behind.
            eventually(&format!("the {who} is off by {off} ns"), || {
                let told = latest(who);
                let possible = begin + off - 2 * SECOND..=now() + off;
                told.len() == 3 && told.iter().all(|time| possible.contains(time))
            })
            .await;
        }
    }

    /// A day forwards, a week backwards, and right again.
    async fn is_moved(&self) {
        self.tells(0).await;
        for off in [DAY, -7 * DAY] {
            self.clock.make_right(Area::Wall);
            self.clock.change(Area::Wall, Movement::Jump { by_ns: off });
            self.tells(off).await;
        }
        self.clock.make_right(Area::Wall);
        self.tells(0).await;
        assert!(self.clock.is_seen(Area::Wall));
    }
}

fn own() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_owned()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

#[tokio::test]
async fn every_way_to_ask_for_the_time_is_wrong_as_told() {
    let watched = Watched::reader().await;
    for area in [Area::Wall, Area::Monotonic] {
        watched.reads(area).await;
        for movement in [
            Movement::Jump { by_ns: 3 * DAY },
            Movement::Drift { rate: 0.5 },
            Movement::Jump { by_ns: 12_345_678 },
            Movement::Drift { rate: 1.0 },
            Movement::Strobe { by_ns: 3_600 * SECOND, period: Duration::from_millis(7) },
        ] {
            watched.clock.change(area, movement);
            for _ in 0..3 {
                watched.reads(area).await;
            }
        }
        assert!(watched.clock.make_right(area));
        watched.reads(area).await;
    }
    watched.clock.change(Area::Wall, Movement::Jump { by_ns: -400 * DAY });
    watched.reads(Area::Wall).await;
    watched.clock.change(Area::Wall, Movement::Drift { rate: -0.3 });
    watched.reads(Area::Wall).await;
}

#[tokio::test]
async fn strobe_is_seen_on_both_sides() {
    let watched = Watched::reader().await;
    let period = Duration::from_millis(20);
    let skew = watched.clock.change(Area::Wall, Movement::Strobe { by_ns: DAY, period });
    let mut sides = [false; 2];
    while sides != [true; 2] {
        watched.reads(Area::Wall).await;
        let log = watched.log();
        let line =
            log.lines().rev().find(|line| line.starts_with("round ") && line.ends_with(" end")).unwrap();
        let times: Vec<i64> =
            line.split(' ').nth(2).unwrap().split(',').map(|time| time.parse().unwrap()).collect();
        sides[usize::from(times[1] - times[0] >= skew.delta_ns)] = true;
    }
}

/// Three versions follow each other, so that each is written over each of the others: right, a drift that is too slow to see,
/// and a jump. The beginning of one drift with the rate of another would be half an hour.
#[tokio::test]
async fn no_reading_is_a_mixture_of_two_versions() {
    let arguments = ["x", "reader_process", "--exact", "--nocapture"];
    let watched = Watched::start(Ground::new().await, &own(), &arguments, "watcher").await;
    eventually("it reads", || watched.log().contains("batch")).await;
    let clock = watched.clock.clone();
    let flips = tokio::task::spawn_blocking(move || {
        for _ in 0..1_000_000 {
            clock.make_right(Area::Wall);
            clock.change(Area::Wall, Movement::Drift { rate: 1e-6 });
            clock.change(Area::Wall, Movement::Jump { by_ns: JUMP });
        }
    });
    flips.await.unwrap();
    let batches = watched.log().matches("batch").count();
    eventually("it goes on", || watched.log().matches("batch").count() > batches + 3).await;
    assert!(watched.clock.is_seen(Area::Wall), "the last version was applied");
    let log = watched.log();
    let mixtures: Vec<&str> = log.lines().filter(|line| line.starts_with("mixture")).collect();
    assert_eq!(mixtures, [""; 0], "in {} batches", log.matches("batch").count());
}

#[tokio::test]
async fn processes_of_c_have_the_clock_of_their_node() {
    for options in [&["-O1"][..], &["-O1", "-static"]] {
        let ground = Ground::new().await;
        let Some(program) = programs::c(ground.directory.path(), options) else { return };
        let watched = Watched::start(ground, program.to_str().unwrap(), &["clock"], "").await;
        watched.is_moved().await;
    }
}

#[tokio::test]
async fn static_go_program_has_the_clock_of_its_node() {
    let ground = Ground::new().await;
    let Some(program) = programs::go(ground.directory.path()) else { return };
    Watched::start(ground, program.to_str().unwrap(), &["clock"], "").await.is_moved().await;
}

#[tokio::test]
async fn java_behind_a_launch_script_has_the_clock_of_its_node() {
    let ground = Ground::new().await;
    let Some(source) = programs::java(ground.directory.path()) else { return };
    let script =
        format!("cd $(dirname $0)\nOPTIONS=$(echo -Xint | cat)\nexec java $OPTIONS {}", source.display());
    let script = script_in(ground.directory.path(), "launch.sh", &script);
    Watched::start(ground, &script, &["launch.sh"], "").await.is_moved().await;
}

/// An executable shell script.
fn script_in(directory: &Path, name: &str, text: &str) -> String {
    let script = directory.join(name);
    fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

/// What a shell executes to become a reader.
fn reader_command() -> String {
    format!("{} reader_process --exact --nocapture", own())
}

#[tokio::test]
async fn launchers_are_followed_to_what_they_start() {
    let ground = Ground::new().await;
    let inner = script_in(ground.directory.path(), "inner.sh", &format!("date; exec {}", reader_command()));
    for launch in [
        format!("exec {inner}"),
        format!("exec env -u NOTHING nice setsid --wait {inner}"),
        format!("{inner} & wait"),
        format!("(sh -c '(exec {inner})'); true"),
        format!("sh -c '{inner} & true'; while :; do sleep 0.01; done"),
    ] {
        let watched = Watched::start(Ground::new().await, "/bin/sh", &["sh", "-c", &launch], "reader").await;
        watched.reads(Area::Wall).await;
        watched.clock.change(Area::Wall, Movement::Jump { by_ns: DAY });
        watched.reads(Area::Wall).await;
        watched.ground.processes.kill(&n(1)).await.unwrap();
    }
}

#[tokio::test]
async fn script_that_starts_nothing_is_a_node_like_any_other() {
    let watched = Watched::start(
        Ground::new().await,
        "/bin/sh",
        &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"],
        "",
    )
    .await;
    let identity = watched.ground.processes.identity(&n(1)).unwrap();
    eventually("it has a child", || watched.ground.processes.tree(&n(1)).len() == 2).await;
    watched.ground.processes.terminate(&n(1)).await.unwrap();
    let ended = watched.ground.processes.ended(&n(1), identity).await.unwrap();
    assert!(ended.is_orderly(), "{ended}");
}

#[tokio::test]
async fn whole_tree_can_be_paused_though_its_shell_is_followed() {
    let launch = format!("sleep 7711 & {} & wait", reader_command());
    let watched = Watched::start(Ground::new().await, "/bin/sh", &["sh", "-c", &launch], "reader").await;
    let processes = watched.ground.processes.clone();
    let count = || TaskCount::of(&processes.tree(&n(1)));
    watched.reads(Area::Wall).await;
    for _ in 0..20 {
        processes.pause(&n(1)).await.unwrap();
        eventually("all tasks are stopped", || count().all_stopped() && count().processes == 3).await;
        let rounds = watched.rounds();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(count().all_stopped(), "{:?}", count());
        assert_eq!(watched.rounds(), rounds);
        processes.resume(&n(1)).await.unwrap();
        eventually("all tasks run", || count().none_stopped()).await;
        watched.reads(Area::Wall).await;
    }
}

#[tokio::test]
async fn restarted_node_has_the_clock_that_it_had() {
    let watched = Watched::reader().await;
    watched.reads(Area::Wall).await;
    watched.clock.change(Area::Wall, Movement::Jump { by_ns: -DAY });
    watched.reads(Area::Wall).await;
    let processes = &watched.ground.processes;
    let identity = processes.kill(&n(1)).await.unwrap();
    processes.ended(&n(1), identity).await.unwrap();
    fs::remove_file(watched.ground.log(&n(1))).unwrap();
    assert!(watched.clock.is_seen(Area::Wall));
    processes.launch(&n(1)).await.unwrap();
    eventually("the new process asks for the time", || watched.rounds().is_some()).await;
    watched.reads(Area::Wall).await;
}

/// What the process before it has seen does not count for a new one.
#[tokio::test]
async fn restarted_node_that_does_not_ask_has_not_seen_its_clock() {
    let watched = Watched::reader().await;
    watched.reads(Area::Wall).await;
    let processes = &watched.ground.processes;
    let identity = processes.kill(&n(1)).await.unwrap();
    processes.ended(&n(1), identity).await.unwrap();
    fs::write(watched.ground.directory.path().join(QUIET), "").unwrap();
    processes.launch(&n(1)).await.unwrap();
    eventually("it has begun", || watched.log().ends_with(QUIET)).await;
    assert!(!watched.clock.is_seen(Area::Wall));
}

#[tokio::test]
async fn node_without_a_clock_of_its_own_keeps_the_vdso_of_the_machine() {
    let ground = Ground::new().await;
    ground.add_shell(&n(1), "exec sleep 7711").await.unwrap();
    let identity = ground.processes.launch(&n(1)).await.unwrap();
    let maps = || fs::read_to_string(format!("/proc/{}/maps", identity.pid)).unwrap();
    eventually("it runs", || maps().contains("sleep")).await;
    assert!(!maps().contains("/clock"), "{}", maps());
    assert!(ground.processes.clock(&n(1)).is_none());
}

#[tokio::test]
async fn clock_file_that_cannot_be_used_keeps_the_node_from_starting() {
    let ground = Ground::new().await;
    ground.add(&n(1), &own(), &["x"]).await.unwrap();
    let path = ground.directory.path().join("clock");
    ground.processes.give_clock(&n(1), &path).unwrap();
    fs::remove_file(&path).unwrap();
    let refused = ground.processes.launch(&n(1)).await.unwrap_err().to_string();
    assert!(refused.contains("clock: No such file"), "{refused}");
    fs::create_dir(&path).unwrap();
    let refused = ground.processes.launch(&n(1)).await.unwrap_err().to_string();
    assert!(refused.contains("clock: Is a directory"), "{refused}");
    assert_eq!(ground.processes.identity(&n(1)), None);
}

/// The account that owns nothing.
const NOBODY: u32 = 65534;

#[tokio::test]
async fn guardian_without_privileges_can_do_it_too() {
    let Some(setpriv) = programs::find("setpriv").filter(|_| rustix::process::getuid().is_root()) else {
        eprintln!("skipped: only root can give up its privileges, with setpriv");
        return;
    };
    let own = guardian_command();
    let mut command = Command::new(setpriv);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    command.arg(own.get_program()).args(own.get_args());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ground = Ground::with(command).await;
    fs::set_permissions(ground.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = ground.directory.path().join("reader");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let arguments = ["x", "reader_process", "--exact", "--nocapture"];
    ground
        .add_with(&n(1), program.to_str().unwrap(), &arguments, &[(ROLE, "reader".to_owned())])
        .await
        .unwrap();
    let path = ground.directory.path().join("clock");
    let clock = ground.processes.give_clock(&n(1), &path).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let watched = Watched { ground, clock };
    let identity = watched.ground.processes.launch(&n(1)).await.unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", identity.pid)).unwrap();
    assert!(
        status.contains("Uid:\t65534\t65534") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );
    watched.reads(Area::Wall).await;
    watched.clock.change(Area::Wall, Movement::Jump { by_ns: DAY });
    watched.reads(Area::Wall).await;
}

#[tokio::test]
async fn node_of_another_account_has_a_clock_of_its_own() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can start nodes of another account");
        return;
    }
    let ground = Ground::new().await;
    fs::set_permissions(ground.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = ground.directory.path().join("reader");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let command = NodeCommand {
        executable: ground.processes.open(&program).await.unwrap(),
        arguments: ["x", "reader_process", "--exact", "--nocapture"].map(str::to_owned).to_vec(),
        environment: vec![(ROLE.to_owned(), "reader".to_owned())],
        directory: "/".into(),
        stdout: ground.log(&n(1)),
        stderr: ground.log(&n(1)),
        account: Some(Account { uid: NOBODY, gid: NOBODY }),
        clock: None,
    };
    ground.processes.add(n(1), command);
    let clock = ground.processes.give_clock(&n(1), &ground.directory.path().join("clock")).unwrap();
    ground.processes.launch(&n(1)).await.unwrap();
    let watched = Watched { ground, clock };
    watched.clock.change(Area::Wall, Movement::Jump { by_ns: DAY });
    watched.reads(Area::Wall).await;
}
