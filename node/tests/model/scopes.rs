//! The scopes that the core goes through without breaking a property. All are exhausted, and each says what it must have reached.

use std::time::Instant;

use stateright::{Checker, Model};

use crate::cluster::{Cluster, Path, World, clients_are_done, crashes, nodes};
use crate::describe;
use crate::scope::Operation::{Get, Put};
use crate::scope::{Scope, change};

/// Goes through all states. Depth first, because the open ends of a search by breadth would not fit into memory.
fn exhaust(name: &str, cluster: Cluster) {
    let started = Instant::now();
    let checker = cluster.checker().spawn_dfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let seconds = started.elapsed().as_secs_f64();
    println!("{name}: {states} states, {steps} steps, depth {depth}, {seconds:.1} s");
    let (model, discoveries) = (checker.model(), checker.discoveries());
    for property in model.properties() {
        let path = discoveries.get(property.name);
        if property.expectation.discovery_is_failure() == path.is_some() {
            panic!(
                "{name}: {}: {}",
                property.name,
                path.map_or("not reached".to_owned(), |path| tell(model, path))
            );
        }
    }
}

/// A path, step by step, and what the servers are at its end.
pub(crate) fn tell(cluster: &Cluster, path: &Path) -> String {
    let steps = path.clone().into_actions();
    let steps = steps.iter().map(|action| format!("\n  {}", cluster.format_action(action)));
    let ends =
        nodes(path.last_state()).map(|node| format!("\n    {}: {}", node.id(), describe::node(node.core())));
    steps.chain(ends).collect()
}

fn committed_in_two_terms(_: &Cluster, world: &World) -> bool {
    world.history.terms() == 2
}

fn committed_after_a_crash(_: &Cluster, world: &World) -> bool {
    crashes(world) > 0 && !world.crashed.contains(&true) && world.history.terms() == 2
}

fn change_is_complete(_: &Cluster, world: &World) -> bool {
    let mut complete = nodes(world).filter(|node| {
        let (log, commit) = (node.core().log(), node.core().status().commit);
        !log.members().is_joint() && log.members().learners().is_empty() && log.members_since() <= commit
    });
    complete.any(|node| node.core().log().members_since().0 > 2)
}

#[test]
fn elections_with_pre_votes_are_safe() {
    let scope = Scope { pre_votes: true, old_requests: false, ..Scope::elections(3, 2) };
    let cluster = Cluster::new(scope).reaching("two terms", committed_in_two_terms);
    exhaust("two terms, pre-votes", cluster);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn elections_with_slow_disks_and_a_crash_are_safe() {
    let scope = Scope { crashes: 1, slow_disks: true, old_requests: false, ..Scope::elections(3, 2) };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("two terms, slow disks, a crash", cluster);
}

#[test]
fn elections_with_a_crash_are_safe() {
    let cluster = Cluster::new(Scope { crashes: 1, ..Scope::elections(3, 2) });
    exhaust("two terms, a crash", cluster.reaching("a crash", committed_after_a_crash));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn elections_in_three_terms_with_a_crash_are_safe() {
    let scope = Scope { crashes: 1, old_requests: false, ..Scope::elections(3, 3) };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("three terms, a crash", cluster);
}

/// The network may lose every message, and deliver every one again.
#[test]
fn replication_with_slow_disks_and_a_crash_is_safe() {
    let clients = vec![vec![Put(1)]];
    let scope = Scope { crashes: 1, slow_disks: true, clients, ..Scope::elections(3, 2).led() };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("a write, slow disks, a crash", cluster.reaching("an answer", clients_are_done));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn replication_of_two_writes_with_a_crash_is_safe() {
    let clients = vec![vec![Put(1), Put(2)]];
    let scope = Scope { crashes: 1, clients, ..Scope::elections(3, 2).led() };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    let cluster = cluster.reaching("four entries", |_, world| world.history.entries() == 4);
    exhaust("two writes, a crash", cluster.reaching("answers", clients_are_done));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn read_beside_two_writes_is_linearizable() {
    let clients = vec![vec![Put(1), Put(2)], vec![Get]];
    let cluster = Cluster::new(Scope { clients, old_requests: false, ..Scope::elections(3, 2).led() });
    exhaust("two writes and a read", cluster.reaching("answers", clients_are_done));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn read_beside_a_write_is_linearizable_through_a_crash() {
    let clients = vec![vec![Put(1)], vec![Get]];
    let scope = Scope { crashes: 1, clients, ..Scope::elections(3, 2).led() };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("a write, a read, a crash", cluster.reaching("answers", clients_are_done));
}

/// Voters 1, 2, 3 become 1, 2, 4.
#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimization")]
fn replacement_of_a_voter_with_a_crash_is_safe() {
    let scope = Scope::with_learners(4, 3, 2).changing(change(&[], &[3], &[2]));
    let scope = Scope { crashes: 1, old_requests: false, ..scope };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("one of three voters replaced, a crash", cluster.reaching("a change", change_is_complete));
}

/// Voter 1 becomes voters 2 and 3.
#[test]
fn replacement_of_all_voters_with_slow_disks_and_a_crash_is_safe() {
    let scope = Scope::with_learners(3, 1, 2).changing(change(&[], &[1, 2], &[0]));
    let cluster = Cluster::new(Scope { crashes: 1, slow_disks: true, ..scope });
    exhaust("all voters replaced, slow disks, a crash", cluster.reaching("a change", change_is_complete));
}

/// More than ten million states.
#[test]
#[ignore = "takes minutes"]
fn two_concurrent_writes_with_slow_disks_and_a_crash_are_safe() {
    let clients = vec![vec![Put(1)], vec![Put(2)]];
    let bounds = Scope { crashes: 1, slow_disks: true, old_requests: false, ..Scope::elections(3, 2) };
    let scope = Scope { clients, ..bounds.led() };
    let cluster = Cluster::new(scope).reaching("a crash", committed_after_a_crash);
    exhaust("two concurrent writes, slow disks, a crash", cluster.reaching("answers", clients_are_done));
}
