//! The model checker convicts deliberately wrong cores: each breaks the property that is named after what it does wrong.
//!
//! The counterexample that is printed is one of the shortest. The unmutated core goes through all of the same scope from the same
//! beginning and breaks nothing.

use std::collections::BTreeSet;

use node::Mutant;
use stateright::{Checker, HasDiscoveries, Model};

use crate::cluster::{
    Cluster, ELECTION_SAFETY, LEADER_COMPLETENESS, LINEARIZABILITY, LOG_MATCHING, Path, STATE_MACHINE_SAFETY,
};
use crate::scope::{Operation, Scope, change, disk};
use crate::scopes::tell;

/// The mutant breaks the property within the scope, and the unmutated core breaks none.
fn convict(mutant: Mutant, property: &'static str, scope: Scope) {
    let sound = Cluster::new(scope.clone()).checker().spawn_dfs().join();
    sound.assert_properties();
    let cluster = Cluster::new(Scope { mutant: Some(mutant), ..scope });
    let mut path = break_property(&cluster, property, usize::MAX).expect("the mutant is convicted");
    // The search ends a little after the first counterexample, and keeps the last.
    while let Some(shorter) = break_property(&cluster, property, path.clone().into_vec().len()) {
        path = shorter;
    }
    let states = sound.unique_state_count();
    println!("{mutant:?} breaks {property}; without it there are {states} states:{}", tell(&cluster, &path));
}

/// A path of fewer than so many states to one that breaks the property.
fn break_property(cluster: &Cluster, property: &'static str, states: usize) -> Option<Path> {
    let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = cluster.clone().checker().finish_when(found).target_max_depth(states);
    checker.spawn_bfs().join().discovery(property)
}

/// Each of two servers has led a term without anybody's hearing of its first entry: figure 8 up to (b), in a cluster of three.
fn two_tails(terms: u64) -> Scope {
    let disks = vec![disk(2, None, &[1]), disk(2, Some(1), &[2]), disk(2, Some(1), &[])];
    Scope { disks, ..Scope::elections(3, terms) }
}

#[test]
fn a1_vote_that_is_not_stored_elects_two_leaders_in_a_term() {
    convict(Mutant::A1, ELECTION_SAFETY, Scope { crashes: 1, ..Scope::elections(3, 1) });
}

#[test]
fn a7_second_vote_elects_two_leaders_in_a_term() {
    convict(Mutant::A7, ELECTION_SAFETY, Scope::elections(3, 1));
}

#[test]
fn a9_vote_without_comparing_logs_elects_a_leader_that_lacks_what_is_committed() {
    convict(Mutant::A9, LEADER_COMPLETENESS, Scope::elections(3, 2));
}

#[test]
fn a10_vote_by_length_elects_a_leader_that_lacks_what_is_committed() {
    let disks = vec![disk(1, Some(0), &[1, 1]), disk(1, None, &[]), disk(1, Some(0), &[])];
    convict(Mutant::A10, LEADER_COMPLETENESS, Scope { disks, ..Scope::elections(3, 3) });
}

#[test]
fn a11_vote_by_term_elects_a_leader_that_lacks_what_is_committed() {
    let clients = vec![vec![Operation::Put(1)]];
    convict(Mutant::A11, LEADER_COMPLETENESS, Scope { clients, ..Scope::elections(3, 2).led() });
}

#[test]
fn c1_read_from_memory_is_older_than_an_acknowledged_write() {
    let clients = vec![vec![Operation::Put(1)], vec![Operation::Get]];
    convict(Mutant::C1, LINEARIZABILITY, Scope { clients, ..Scope::elections(3, 2).led() });
}

/// From figure 8 (b) on: the first server leads again, gives the second its old entry, and counts that as committed.
#[test]
fn b1_commit_of_an_older_term_by_counting_is_undone() {
    let scope = Scope { one_by_one: true, ..two_tails(4) };
    convict(Mutant::B1, LEADER_COMPLETENESS, scope.clone());
    convict(Mutant::B1, STATE_MACHINE_SAFETY, scope);
}

#[test]
fn b5_append_without_the_term_before_it_makes_logs_differ() {
    convict(Mutant::B5, LOG_MATCHING, two_tails(3));
}

/// The old voters elect somebody while the new ones commit.
#[test]
fn f2_commit_by_the_new_voters_alone_is_unknown_to_the_old_ones() {
    let scope = Scope::with_learners(4, 3, 2).changing(change(&[], &[3], &[2]));
    convict(Mutant::F2, LEADER_COMPLETENESS, scope);
}
