//! Disks of nodes: they behave as file systems do, and a power failure takes what was not saved and nothing else.

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::{Ground, guardian_command, has_role};
use common::{eventually, n, within};
use nemesis::{Disk, Promises, doctor};

/// A node: writes files in its ways, says so, and waits.
#[test]
fn writer_process() {
    if !has_role("writer") {
        return;
    }
    let directory = PathBuf::from(std::env::var("DIRECTORY").unwrap());
    let lines = |name: &str| -> String { (0..2000).map(|i| format!("{name} {i}\n")).collect() };
    let open = || fs::OpenOptions::new().create(true).truncate(true).write(true).clone();
    let mut saved = open().open(directory.join("saved")).unwrap();
    for line in lines("saved").lines() {
        writeln!(saved, "{line}").unwrap();
    }
    saved.sync_data().unwrap();
    let dsync = open().custom_flags(libc::O_DSYNC).open(directory.join("dsync")).unwrap();
    dsync.write_all_at(lines("dsync").as_bytes(), 0).unwrap();
    fs::write(directory.join("new"), lines("replaced")).unwrap();
    fs::rename(directory.join("new"), directory.join("replaced")).unwrap();
    let unsaved = open().open(directory.join("unsaved")).unwrap();
    unsaved.set_len(0).unwrap();
    unsaved.sync_data().unwrap();
    unsaved.write_all_at(lines("unsaved").as_bytes(), 0).unwrap();
    println!("written");
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// A node with a disk of ours.
struct Scene {
    ground: Ground,
    mount_point: PathBuf,
    backing: PathBuf,
}

impl Scene {
    /// `None`, said aloud, when this machine has no such disks.
    async fn new() -> Option<Self> {
        if let Err(reason) = doctor::disks(guardian_command()).await {
            println!("SKIPPED: no disks of our own here: {reason}");
            return None;
        }
        let ground = Ground::new().await;
        let (mount_point, backing) =
            (ground.directory.path().join("data"), ground.directory.path().join("disk"));
        fs::create_dir(&mount_point).unwrap();
        fs::create_dir(&backing).unwrap();
        Some(Self { ground, mount_point, backing })
    }

    fn add_disk(&self, promises: Promises) {
        let disk = Disk::new(self.mount_point.clone(), self.backing.clone(), promises);
        self.ground.processes.set_disk(&n(1), disk);
    }

    async fn with_writer() -> Option<Self> {
        let scene = Self::new().await?;
        let own = std::env::current_exe().unwrap();
        let arguments = ["writer", "writer_process", "--exact", "--nocapture"];
        let variables = [
            (cluster::ROLE, "writer".to_owned()),
            ("DIRECTORY", scene.mount_point.to_str().unwrap().to_owned()),
        ];
        scene.ground.add_with(&n(1), own.to_str().unwrap(), &arguments, &variables).await.unwrap();
        scene.add_disk(Promises::Ordered);
        Some(scene)
    }

    async fn with_shell(promises: Promises, script: &str) -> Option<Self> {
        let scene = Self::new().await?;
        let script = format!("set -e; cd {}; {script}", scene.mount_point.display());
        scene.ground.add_shell(&n(1), &script).await.unwrap();
        scene.add_disk(promises);
        Some(scene)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.ground.log(&n(1))).unwrap_or_default()
    }

    /// Starts the node and waits until it says so.
    async fn start_until(&self, word: &str) {
        let before = self.log().matches(word).count();
        self.ground.processes.launch(&n(1)).await.unwrap();
        let says_so = || {
            assert!(self.ground.processes.identity(&n(1)).is_some(), "it ended: {}", self.log());
            self.log().matches(word).count() > before
        };
        eventually(word, says_so).await;
    }

    /// Kills the node and fails the power of its disk; what was lost.
    async fn fail_power(&self, seed: u64) -> nemesis::disk::Loss {
        let processes = &self.ground.processes;
        let identity = processes.kill_powerless(&n(1)).await.unwrap();
        within(processes.ended(&n(1), identity)).await.unwrap();
        processes.cut_power(&n(1), seed).await.unwrap().unwrap()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.backing.join(name)).unwrap()).into_owned()
    }
}

#[tokio::test]
async fn power_failure_takes_what_was_not_saved_and_nothing_else() {
    let Some(scene) = Scene::with_writer().await else { return };
    let whole = |name: &str| -> String { (0..2000).map(|i| format!("{name} {i}\n")).collect() };
    // ext4 promises to write a file before it replaces another.
    fs::write(scene.backing.join("replaced"), "old").unwrap();
    let mut left = BTreeSet::new();
    for seed in 0..12 {
        scene.start_until("written").await;
        let loss = scene.fail_power(seed).await;
        for name in ["saved", "dsync", "replaced"] {
            assert_eq!(scene.read(name), whole(name), "{name}, seed {seed}");
        }
        let unsaved = scene.read("unsaved");
        assert_eq!(loss.is_none(), unsaved == whole("unsaved"), "{loss}");
        left.insert(unsaved);
    }
    assert!(left.contains(""), "sometimes nothing was written");
    assert!(
        left.iter().any(|left| left.contains("unsaved 9\n") && *left != whole("unsaved")),
        "sometimes a part was"
    );
}

#[tokio::test]
async fn killed_process_loses_nothing() {
    let Some(scene) = Scene::with_writer().await else { return };
    scene.start_until("written").await;
    let processes = &scene.ground.processes;
    let identity = processes.kill(&n(1)).await.unwrap();
    within(processes.ended(&n(1), identity)).await.unwrap();
    assert!(scene.read("unsaved").ends_with("unsaved 1999\n"));
}

/// What a shell does to files, and what it sees of them afterwards.
const USES: &str = "
    mkdir -p a/b; echo one > a/one; echo two >> a/one; cp a/one a/b/two; mv a/b/two a/three; ln a/three a/b/four
    ln -s a/one link; dd if=/dev/zero of=zeroes bs=1000 count=300 2>/dev/null; truncate -s 12345 zeroes
    printf x | dd of=zeroes bs=1 seek=20000 conv=notrunc 2>/dev/null; chmod 600 a/one; touch -d @1000000000 a/one
    mkfifo pipe; rm a/three; mkdir gone; rmdir gone; echo short > replaced; echo longer text > t; mv t replaced
    for i in $(seq 300); do echo $i > many$i; done; rm many1*; fallocate -l 5000 room; echo v > x; exec 3>>x; rm x; echo w >&3
    find . | sort; find . -type f | sort | xargs cksum; readlink link; cat link; stat -c '%n %s %a %h %Y' a/one; stat -c '%n %s %a %h' a/b/four
";

#[tokio::test]
async fn disk_behaves_like_any_other() {
    let elsewhere = tempfile::tempdir().unwrap();
    let output = Command::new("sh").args(["-e", "-c", USES]).current_dir(&elsewhere).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected = format!("{}finished\n", String::from_utf8(output.stdout).unwrap());
    assert!(expected.lines().count() > 300);
    for promises in Promises::ALL {
        let script = format!("{USES} echo finished; sleep 3600");
        let Some(scene) = Scene::with_shell(promises, &script).await else { return };
        scene.start_until("finished").await;
        let seen = scene.log();
        let different = seen.lines().zip(expected.lines()).find(|(seen, expected)| seen != expected);
        assert_eq!((different, seen.lines().count()), (None, expected.lines().count()), "{promises:?}");
    }
}

/// Changes names in its ways: the first of each pair is not saved, the second is by an fsync of the directory, or of the
/// file where that is enough.
const RENAMES: &str = "
    if [ -e saved ]; then echo again; sleep 3600; fi
    echo old > moved; echo old > saved; echo one > gone; echo one > removed; echo long > cut; echo long > shortened
    mkdir directory; echo inside > directory/file; sync moved saved gone removed cut shortened directory/file .
    rm removed; truncate -s 2 shortened; echo new > new; sync new; mv new saved; sync .
    echo new > next; sync next; truncate -s 2 cut; mv next moved; rm gone; mv directory elsewhere; echo x > created; mkdir made
    echo changed; sleep 3600
";

/// What is to be seen of them.
fn names(scene: &Scene) -> BTreeMap<String, String> {
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|_| "a directory".to_owned());
    let entries = fs::read_dir(&scene.backing).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), read(entry.path()))).collect()
}

fn seen(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    names.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

/// How many changes of names and lengths are not saved.
const CHANGES: u64 = 6;
const SAVED: [(&str, &str); 2] = [("saved", "new\n"), ("shortened", "lo")];

#[tokio::test]
async fn names_that_no_fsync_saved_are_lost_in_strict_mode() {
    let before = [("moved", "old\n"), ("gone", "one\n"), ("cut", "long\n"), ("directory", "a directory")];
    let mut lost = BTreeSet::new();
    for seed in 0..16 {
        let Some(scene) = Scene::with_shell(Promises::Strict, RENAMES).await else { return };
        scene.start_until("changed").await;
        let loss = scene.fail_power(seed).await;
        let names = names(&scene);
        for (name, content) in SAVED {
            assert_eq!(names.get(name).map(String::as_str), Some(content), "seed {seed}");
        }
        if loss.names == CHANGES {
            // Its name was saved by its own fsync.
            let next = [("next", "new\n")];
            assert_eq!(names, seen(&[&before[..], &SAVED, &next].concat()), "seed {seed}, {loss}");
        }
        assert_eq!(loss.names == 0, names.contains_key("made"), "seed {seed}: the last change is lost first");
        lost.insert(loss.names);
        scene.start_until("again").await;
    }
    assert!(lost.contains(&CHANGES) && lost.len() > 2, "any number of changes is lost: {lost:?}");
}

#[tokio::test]
async fn names_are_never_lost_in_ordered_mode() {
    for seed in 0..4 {
        let Some(scene) = Scene::with_shell(Promises::Ordered, RENAMES).await else { return };
        scene.start_until("changed").await;
        assert_eq!(scene.fail_power(seed).await.names, 0);
        let mut names = names(&scene);
        assert!(names.remove("created").is_some(), "its content was not saved");
        let after =
            [("moved", "new\n"), ("cut", "lo"), ("elsewhere", "a directory"), ("made", "a directory")];
        assert_eq!(names, seen(&[&after[..], &SAVED].concat()), "seed {seed}");
    }
}

#[tokio::test]
async fn nobody_else_sees_the_disk() {
    let Some(scene) =
        Scene::with_shell(Promises::Ordered, "echo inside > file; echo ready; sleep 3600").await
    else {
        return;
    };
    scene.start_until("ready").await;
    let mounts = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("mountinfo")).unwrap();
    let name = scene.mount_point.to_str().unwrap();
    let node = scene.ground.processes.identity(&n(1)).unwrap().pid.to_string();
    assert!(mounts(&node).contains(name));
    assert!(!mounts("self").contains(name));
    assert_eq!(fs::read_dir(&scene.mount_point).unwrap().count(), 0);
    assert_eq!(scene.read("file"), "inside\n");
    scene.ground.processes.shutdown().await.unwrap();
    assert_eq!(
        fs::read_to_string(scene.mount_point.join("file")).unwrap(),
        "inside\n",
        "after the run it is there"
    );
    assert!(!scene.backing.exists());
}

/// Whether a path is a mount that this process sees.
fn is_mounted(path: &Path) -> bool {
    let name = format!(" {} ", path.display());
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&name)
}

/// An ordinary user whose disk the helper mounts; `None`, said aloud, for everybody else.
async fn with_helper(script: &str) -> Option<Scene> {
    if rustix::process::geteuid().is_root() || !Path::new("/usr/bin/fusermount3").exists() {
        println!("SKIPPED: fusermount3 is for ordinary users, where it is installed");
        return None;
    }
    let scene = Scene::new().await?;
    let script = format!("set -e; cd {}; {script}", scene.mount_point.display());
    scene.ground.add_shell(&n(1), &script).await.unwrap();
    let disk = Disk::new(scene.mount_point.clone(), scene.backing.clone(), Promises::Ordered);
    scene.ground.processes.set_disk(&n(1), disk.mounted_by_helper());
    Some(scene)
}

const HELPED: &str = "[ -e saved ] || { echo saved > saved; sync saved; echo at risk > risk; }; exec 3<saved; echo ready; sleep 3600";

#[tokio::test]
async fn disk_that_the_helper_mounted_loses_power_and_is_unmounted_at_the_end() {
    let Some(scene) = with_helper(HELPED).await else { return };
    scene.start_until("ready").await;
    assert!(is_mounted(&scene.mount_point));
    let loss = scene.fail_power(1).await;
    assert_eq!(loss.pages + loss.kept, 1, "{loss}");
    scene.start_until("ready").await;
    scene.ground.processes.shutdown().await.unwrap();
    assert!(!is_mounted(&scene.mount_point));
    assert_eq!(fs::read_to_string(scene.mount_point.join("saved")).unwrap(), "saved\n");
}

#[tokio::test]
async fn disk_that_the_helper_mounted_is_unmounted_when_the_guardian_is_killed() {
    let Some(scene) = with_helper(HELPED).await else { return };
    scene.start_until("ready").await;
    let guardian = nemesis::process::identity(scene.ground.processes.guardian_pid()).unwrap();
    assert!(guardian.signal(rustix::process::Signal::KILL));
    eventually("it is not mounted", || !is_mounted(&scene.mount_point)).await;
}

/// An orchestrator of its own: starts a node on a disk that the helper mounted, says where, and waits to be killed.
#[test]
fn orchestrator_process() {
    if !has_role("orchestrator") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let Some(scene) = with_helper(HELPED).await else { return };
        scene.start_until("ready").await;
        assert!(is_mounted(&scene.mount_point));
        println!("\nmounted at {}", scene.mount_point.display());
        std::future::pending::<()>().await;
    });
}

/// Kills an orchestrator and inherits its guardian. It has a process to itself: the guardians of other tests, when they end, would
/// take the inherited one for an orphan of theirs, and kill it before it has unmounted anything.
#[test]
fn heir_process() {
    if !has_role("heir") {
        return;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut command = cluster::role_command("orchestrator_process", "orchestrator");
    let mut orchestrator = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(orchestrator.stdout.take().unwrap()).lines();
    let place =
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix("mounted at ").map(PathBuf::from));
    let Some(place) = place else {
        return assert!(orchestrator.wait().unwrap().success(), "it is skipped, or ready, or it failed");
    };
    orchestrator.kill().unwrap();
    orchestrator.wait().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(eventually("it is not mounted", || !is_mounted(&place)));
    fs::remove_dir_all(place.parent().unwrap()).unwrap();
}

#[test]
fn disk_that_the_helper_mounted_is_unmounted_when_the_orchestrator_is_killed() {
    let heir = cluster::role_command("heir_process", "heir").output().unwrap();
    assert!(heir.status.success(), "{}", String::from_utf8_lossy(&heir.stderr));
}

/// Says how disks are mounted where it runs.
#[test]
fn doctor_process() {
    if !has_role("doctor") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("\ndisks: {:?}", runtime.block_on(doctor::disks(guardian_command())));
}

/// The kernel gives nobody a user namespace who lives below a changed root, so an ordinary user there has none. Nobody else sees the
/// mount that this takes.
const WITHOUT_NAMESPACES: &str = "mount --rbind / \"$0/root\" && \
    exec chroot --userspec=65534:65534 --groups= \"$0/root\" \"$0/test\" doctor_process --exact --nocapture";

#[tokio::test]
async fn helper_mounts_where_namespaces_are_forbidden() {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || !Path::new("/usr/bin/fusermount3").exists() || Scene::new().await.is_none() {
        return println!("SKIPPED: it takes root to forbid namespaces, and fusermount3 to do without");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("root")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), path.join("test")).unwrap();
    fs::set_permissions(path.join("test"), fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["--mount", "--propagation", "private", "sh", "-c", WITHOUT_NAMESPACES];
    let mut command = Command::new("unshare");
    command.args(arguments).arg(path).env(cluster::ROLE, "doctor").env("TMPDIR", path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("mounted one by fusermount3"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap()));
}
