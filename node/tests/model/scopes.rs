use std::time::Instant;

use stateright::{Checker, Model};

use crate::cluster::{Cluster, crashes};
use crate::scope::{Operation, Scope};

fn explore(name: &str, cluster: Cluster) {
    let started = Instant::now();
    let limit = std::env::var("LIMIT").ok().and_then(|l| l.parse().ok()).unwrap_or(3_000_000);
    let checker = cluster.checker().target_state_count(limit).spawn_dfs().join();
    eprintln!(
        "{name}: {} states, {} steps, depth {}, {:.1} s, done {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
        checker.is_done(),
    );
    for (name, path) in checker.discoveries() {
        eprintln!("  {name}: {} steps", path.clone().into_actions().len());
        if name.starts_with("log") || name.contains("assert") || name.contains("complete") || name.contains("safety") {
            for action in path.into_actions() {
                eprintln!("     {}", cluster_format(&action));
            }
        }
    }
}

fn cluster_format(action: &crate::cluster::Action) -> String {
    format!("{action:?}")
}

fn explore_all(which: &str) {
    let e = Scope::elections(3, 2);
    let c = |s: Scope| Cluster::new(s).reaching("crash", |_, w| crashes(w) > 0);
    match which {
        "e2" => explore(which, c(e)),
        "e2c" => explore(which, c(Scope { crashes: 1, ..e })),
        "e2cs" => explore(which, c(Scope { crashes: 1, slow_disks: true, ..e })),
        "e2csp" => explore(which, c(Scope { crashes: 1, slow_disks: true, pre_votes: true, ..e })),
        "e2cspo" => explore(which, c(Scope { crashes: 1, slow_disks: true, pre_votes: true, old_requests: true, ..e })),
        "e3" => explore(which, c(Scope { terms: 3, ..e })),
        "e3c" => explore(which, c(Scope { terms: 3, crashes: 1, ..e })),
        "r2" => explore(which, c(Scope { clients: vec![vec![Operation::Put(1)]], ..e.led() })),
        "r2h" => explore(which, c(Scope { heartbeats: true, clients: vec![vec![Operation::Put(1)]], ..e.led() })),
        "r2hc" => explore(which, c(Scope { heartbeats: true, crashes: 1, clients: vec![vec![Operation::Put(1)]], ..e.led() })),
        "r2hcs" => explore(which, c(Scope { heartbeats: true, crashes: 1, slow_disks: true, clients: vec![vec![Operation::Put(1)]], ..e.led() })),
        "l2" => explore(which, c(Scope { clients: vec![vec![Operation::Put(1)], vec![Operation::Get]], ..e.led() })),
        "l2b" => explore(which, c(Scope { clients: vec![vec![Operation::Put(1), Operation::Put(2)], vec![Operation::Get]], ..e.led() })),
        "l2c" => explore(which, c(Scope { crashes: 1, clients: vec![vec![Operation::Put(1)], vec![Operation::Get]], ..e.led() })),
        _ => panic!("{which}"),
    }
}

#[test]
fn measure() {
    for which in std::env::var("SCOPES").unwrap_or_default().split_whitespace() {
        explore_all(which);
    }
}
