//! The switch: nodes in network namespaces of their own hear each other by it alone, and it does to their packets what rules
//! say.

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cluster::{Ground, ROLE, guardian_command, has_role, role_command};
use common::{eventually, n, within};
use nemesis::links::{FaultId, Noise, Rate, Rule};
use nemesis::{Disk, Endpoint, Link, Links, Promises, doctor};
use tokio::io::AsyncReadExt;

const FAULT: FaultId = FaultId(0);
const PORT: u16 = 20_010;
const GREETING: &[u8; 6] = b"hello\n";
/// What a talker sends to its peer at once.
const BLOCK_BYTES: usize = 16 << 10;
/// Canaries of a volley, and how long the late ones are waited for.
const CANARIES: usize = 200;
const WAIT: Duration = Duration::from_secs(1);
/// A delay that no canary has by chance.
const DELAY: Duration = Duration::from_millis(200);

/// A node: greets who dials, and sends its peer bytes that follow a rule; says in its log how many blocks came, and which
/// were damaged.
#[test]
fn talker_process() {
    if !has_role("talker") {
        return;
    }
    let address = |name: &str| std::env::var(name).unwrap().parse::<SocketAddr>().unwrap();
    let peer = address("PEER");
    std::thread::spawn(move || talk(peer));
    for stream in TcpListener::bind(address("LISTEN")).unwrap().incoming().flatten() {
        std::thread::spawn(move || hear(stream));
    }
}

/// No part of it can be taken for another.
fn block(number: u32) -> Vec<u8> {
    (0..BLOCK_BYTES as u32 / 4)
        .flat_map(|word| (number * 7919 + word).wrapping_mul(2_654_435_761).to_be_bytes())
        .collect()
}

fn talk(peer: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(peer) {
            for number in 0.. {
                if stream.write_all(&block(number)).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn hear(mut stream: TcpStream) {
    // Whoever dials may be gone already.
    let _ = stream.write_all(GREETING);
    let mut received = vec![0; BLOCK_BYTES];
    for number in 0.. {
        if stream.read_exact(&mut received).is_err() {
            return;
        }
        println!("{}", if received == block(number) { "block" } else { "damaged" });
    }
}

/// Two talkers at a switch.
struct Scene {
    ground: Ground,
    links: Links,
}

impl Scene {
    /// `None`, said aloud, when this machine has no such networks.
    async fn new() -> Option<Self> {
        if let Err(reason) = doctor::switch(guardian_command()).await {
            println!("SKIPPED: no network namespaces here: {reason}");
            return None;
        }
        let ground = Ground::new().await;
        let links = Links::switched(&ground.processes, &[n(1), n(2)], 7).await.unwrap();
        for i in [1, 2] {
            add_talker(&ground, &links, i).await;
        }
        Some(Self { ground, links })
    }

    /// The same with nodes that run.
    async fn talking() -> Option<Self> {
        let scene = Self::new().await?;
        for i in [1, 2] {
            scene.ground.processes.launch(&n(i)).await.unwrap();
        }
        scene.talks_on().await;
        Some(scene)
    }

    fn log(&self, i: usize) -> String {
        fs::read_to_string(self.ground.log(&n(i))).unwrap_or_default()
    }

    fn blocks(&self, i: usize) -> usize {
        self.log(i).matches("block\n").count()
    }

    /// Waits until both nodes get something new.
    async fn talks_on(&self) {
        let before = [1, 2].map(|i| self.blocks(i));
        eventually("both nodes hear each other", || self.blocks(1) > before[0] && self.blocks(2) > before[1])
            .await;
    }
}

async fn add_talker(ground: &Ground, links: &Links, i: usize) {
    let at = |i: usize| SocketAddr::from((links.address(&n(i)).unwrap(), PORT)).to_string();
    let own = std::env::current_exe().unwrap();
    let arguments = ["talker", "talker_process", "--exact", "--nocapture"];
    let variables = [(ROLE, "talker".to_owned()), ("LISTEN", at(i)), ("PEER", at(3 - i))];
    ground.add_with(&n(i), own.to_str().unwrap(), &arguments, &variables).await.unwrap();
}

fn forth() -> Link {
    Link::new(n(1), n(2))
}

/// What a volley shows that every packet of which meets one fate.
async fn volley(links: &Links, link: &Link) -> nemesis::Volley {
    within(links.volley(link, CANARIES, WAIT)).await.unwrap()
}

#[tokio::test]
async fn nodes_hear_each_other_by_the_switch_and_see_nothing_else() {
    let Some(scene) = Scene::talking().await else { return };
    let stats = scene.links.stats();
    assert!(stats[&forth()].bytes_out > BLOCK_BYTES as u64 && stats[&forth().reversed()].bytes_out > 0);
    let pid = scene.ground.processes.identity(&n(1)).unwrap().pid;
    assert_eq!(interfaces(&pid.to_string()), ["lo", "eth0"]);
    let elsewhere = [interfaces("self"), interfaces(&scene.ground.processes.guardian_pid().to_string())];
    assert!(elsewhere.iter().flatten().all(|name| !name.starts_with("host")), "the machine sees no cable");
}

/// The names of the network interfaces that a process sees.
fn interfaces(pid: &str) -> Vec<String> {
    let seen = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let rows = seen.lines().skip(2).filter_map(|line| line.split_once(':'));
    rows.map(|(name, _)| name.trim().to_owned()).collect()
}

#[tokio::test]
async fn clients_and_harness_reach_a_node_from_loopback() {
    let Some(scene) = Scene::talking().await else { return };
    let node = SocketAddr::from((scene.links.address(&n(1)).unwrap(), PORT));
    let client = scene.links.listen_clients(&n(1), node).await.unwrap();
    let past = scene.links.listen_past(node).await.unwrap();
    let greeting = async |address: SocketAddr| {
        let mut greeting = [0; GREETING.len()];
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.read_exact(&mut greeting).await.map(|_| greeting)
    };
    assert!(client.ip().is_loopback() && past.ip().is_loopback());
    assert_eq!(within(greeting(client)).await.unwrap(), *GREETING);
    for link in Link::both(Endpoint::Clients, n(1)) {
        scene.links.impose(FAULT, &link, Rule::HOLD);
    }
    assert!(tokio::time::timeout(WAIT, greeting(client)).await.is_err(), "clients are cut off");
    assert_eq!(within(greeting(past)).await.unwrap(), *GREETING);
}

#[tokio::test]
async fn cut_stops_one_direction_until_it_is_lifted() {
    let Some(scene) = Scene::talking().await else { return };
    for rule in [Rule::HOLD, Rule::noisy(Noise { loss: Rate::ALWAYS, ..Noise::NONE })] {
        scene.links.impose(FAULT, &forth(), rule);
        assert_eq!(volley(&scene.links, &forth()).await.lost, CANARIES);
        assert_eq!(volley(&scene.links, &forth().reversed()).await.lost, 0);
        assert_eq!(scene.links.probe(&forth(), WAIT).await.unwrap(), None);
        scene.links.lift(FAULT);
        assert!(scene.links.probe(&forth(), common::LIMIT).await.unwrap().is_some());
        scene.talks_on().await;
    }
    let stats = &scene.links.stats()[&forth()];
    assert!(stats.bytes_held > 0 && stats.packets_hit > 0, "{stats:?}");
}

#[tokio::test]
async fn packets_are_lost_doubled_overtaken_and_late_as_the_rule_says() {
    let Some(scene) = Scene::new().await else { return };
    assert!(volley(&scene.links, &forth()).await.is_clean());
    let third = Rate::percent(33);
    let with = async |rule: Rule| {
        scene.links.impose(FAULT, &forth(), rule);
        volley(&scene.links, &forth()).await
    };
    let part = CANARIES / 5..CANARIES / 2;
    let lossy = with(Rule::noisy(Noise { loss: third, ..Noise::NONE })).await;
    assert!(part.contains(&lossy.lost) && lossy.twice + lossy.overtaken + lossy.damaged == 0, "{lossy:?}");
    let double = with(Rule::noisy(Noise { duplication: third, ..Noise::NONE })).await;
    assert!(part.contains(&double.twice) && double.lost + double.damaged == 0, "{double:?}");
    let mixed = with(Rule::noisy(Noise { reordering: third, ..Noise::NONE })).await;
    assert!(mixed.overtaken > 0 && mixed.lost + mixed.twice + mixed.damaged == 0, "{mixed:?}");
    let late = with(Rule::late(DELAY, DELAY)).await;
    assert!(late.is_clean() && late.fastest.unwrap() >= DELAY, "{late:?}");
}

#[tokio::test]
async fn changed_bits_never_reach_a_program_that_trusts_its_checksums() {
    let Some(scene) = Scene::talking().await else { return };
    let corruption = Rate::percent(25);
    for link in Link::both(n(1), n(2)) {
        scene.links.impose(FAULT, &link, Rule::noisy(Noise { corruption, ..Noise::NONE }));
    }
    // Canaries have no checksums.
    let shown = volley(&scene.links, &forth()).await;
    assert!(shown.damaged > CANARIES / 10, "{shown:?}");
    let hit = || scene.links.stats()[&forth()].packets_hit;
    eventually("many packets of the nodes are corrupted", || hit() > 100).await;
    scene.talks_on().await;
    scene.links.lift(FAULT);
    scene.talks_on().await;
    for i in [1, 2] {
        assert!(!scene.log(i).contains("damaged"), "{}", scene.log(i));
    }
}

#[tokio::test]
async fn restarted_node_is_where_it_was() {
    let Some(scene) = Scene::talking().await else { return };
    let processes = &scene.ground.processes;
    let identity = processes.kill(&n(2)).await.unwrap();
    within(processes.ended(&n(2), identity)).await.unwrap();
    processes.launch(&n(2)).await.unwrap();
    scene.talks_on().await;
}

#[tokio::test]
async fn disks_and_the_switch_go_together() {
    if let Err(reason) = doctor::disks(guardian_command()).await {
        return println!("SKIPPED: no disks of our own here: {reason}");
    }
    let Some(scene) = Scene::new().await else { return };
    let directory = scene.ground.directory.path();
    let (data, backing) = (directory.join("data"), directory.join("disk"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&backing).unwrap();
    scene.ground.add_shell(&n(3), "echo inside > data/file; cat /proc/net/dev; sleep 3600").await.unwrap();
    scene.ground.processes.set_disk(&n(3), Disk::new(data, backing.clone(), Promises::Ordered));
    for i in 1..=3 {
        scene.ground.processes.launch(&n(i)).await.unwrap();
    }
    scene.talks_on().await;
    let written = || fs::read_to_string(backing.join("file")).unwrap_or_default();
    eventually("the disk is written to", || written() == "inside\n").await;
}

/// An orchestrator with a messy node at a switch. Its parent, a test, kills it.
#[test]
fn orchestrator_process() {
    if has_role("orchestrator") {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let ground = Ground::new().await;
            let _links = Links::switched(&ground.processes, &[n(1)], 0).await.unwrap();
            ground.add_shell(&n(1), "sleep 7711 & (setsid sleep 7712 &) ; exec sleep 7713").await.unwrap();
            let identity = ground.processes.launch(&n(1)).await.unwrap();
            fs::write(std::env::var("REPORT").unwrap(), identity.pid.to_string()).unwrap();
            std::future::pending::<()>().await
        });
    }
}

/// The network namespaces that a guardian holds: of the hosts, and of the far ends of their cables.
fn held_namespaces(guardian: &str) -> Vec<String> {
    let held = fs::read_dir(format!("/proc/{guardian}/fd")).unwrap().flatten();
    let targets = held.filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned));
    targets.filter(|target| target.starts_with("net:")).collect()
}

/// The network namespace that a process lives in.
fn namespace(pid: &str) -> Option<String> {
    Some(fs::read_link(format!("/proc/{pid}/ns/net")).ok()?.to_str()?.to_owned())
}

/// Whether a process lives in one of these network namespaces, or holds one open.
fn anybody_is_in(namespaces: &[String]) -> bool {
    let is_one = |target: &Path| namespaces.iter().any(|namespace| target == Path::new(namespace));
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.parse::<u32>().is_ok()).any(|pid| {
        let held = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        namespace(&pid).is_some_and(|namespace| is_one(Path::new(&namespace)))
            || held.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| is_one(&target))
    })
}

#[tokio::test]
async fn killed_orchestrator_leaves_no_namespace() {
    if let Err(reason) = doctor::switch(guardian_command()).await {
        return println!("SKIPPED: no network namespaces here: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report");
    let mut command = role_command("orchestrator_process", "orchestrator");
    let mut orchestrator = command.env("REPORT", &report).stdout(Stdio::null()).spawn().unwrap();
    eventually("the node runs", || report.exists() && !fs::read_to_string(&report).unwrap().is_empty()).await;
    let node = fs::read_to_string(&report).unwrap();
    let guardian = nemesis::process::children(orchestrator.id().cast_signed())[0].to_string();
    let namespaces = held_namespaces(&guardian);
    assert!(namespaces.contains(&namespace(&node).unwrap()) && namespaces.len() >= 3);
    assert!(!namespaces.contains(&namespace("self").unwrap()));
    assert!(anybody_is_in(&namespaces));
    orchestrator.kill().unwrap();
    orchestrator.wait().unwrap();
    eventually("the namespaces are gone", || !anybody_is_in(&namespaces)).await;
}
