//! Who does not hear whom: the shapes of partitions, as sets of directed links.

use std::collections::BTreeSet;

use history::NodeId;

use crate::dice::Dice;
use crate::quorum::{majority, minority};
use crate::{Endpoint, Link};

/// The links that a partition cuts.
pub(crate) type Grudges = BTreeSet<Link>;

/// Two groups that do not hear each other.
pub(crate) fn split(one: &[NodeId], other: &[NodeId]) -> Grudges {
    one.iter().flat_map(|a| other.iter().flat_map(move |b| Link::both(a, b))).collect()
}

/// The first half against the rest, in the order given.
pub(crate) fn halves(nodes: &[NodeId]) -> Grudges {
    let (one, other) = nodes.split_at(nodes.len() / 2);
    split(one, other)
}

/// One node against all others.
pub(crate) fn isolate(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    split(std::slice::from_ref(node), &others(node, nodes))
}

/// Two halves that do not hear each other, and the first node between them, which hears and is heard by all.
pub(crate) fn bridge(nodes: &[NodeId]) -> Grudges {
    nodes.split_first().map_or_else(Grudges::new, |(_, rest)| halves(rest))
}

/// Every node hears a majority, itself included, and no two hear the same: each hears its neighbours on a ring, in the
/// order given.
pub(crate) fn majorities_ring(nodes: &[NodeId]) -> Grudges {
    let (count, heard) = (nodes.len(), majority(nodes.len()));
    let first = (heard - 1) / 2;
    let mut grudges = Grudges::new();
    for (listener, destination) in nodes.iter().enumerate() {
        let hears = |speaker: usize| (speaker + count - listener + first) % count < heard;
        let unheard = (0..count).filter(|&speaker| !hears(speaker));
        grudges.extend(unheard.map(|speaker| Link::new(&nodes[speaker], destination)));
    }
    grudges
}

/// A node that hears nobody, but is heard.
pub(crate) fn deaf(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    others(node, nodes).iter().map(|other| Link::new(other, node)).collect()
}

/// A node that nobody hears, but that hears.
pub(crate) fn mute(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    others(node, nodes).iter().map(|other| Link::new(node, other)).collect()
}

/// The node and the others do not hear each other, and clients do not hear its answers: it takes requests that it cannot
/// complete, and whoever made them waits.
pub(crate) fn strand(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    isolate(node, nodes).into_iter().chain([Link::new(node, Endpoint::Clients)]).collect()
}

/// The node, with as many others as make a minority, and the rest do not hear each other.
pub(crate) fn minority_of(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    let others = others(node, nodes);
    let (few, rest) = others.split_at(minority(nodes.len()).saturating_sub(1).min(others.len()));
    let with_node: Vec<NodeId> = few.iter().chain([node]).cloned().collect();
    split(&with_node, rest)
}

/// As many others as make a minority, and the node with the rest, do not hear each other.
pub(crate) fn minority_without(node: &NodeId, nodes: &[NodeId]) -> Grudges {
    let others = others(node, nodes);
    let (few, rest) = others.split_at(minority(nodes.len()).min(others.len()));
    let with_node: Vec<NodeId> = rest.iter().chain([node]).cloned().collect();
    split(few, &with_node)
}

/// No client hears the node, or is heard by it.
pub(crate) fn cut_clients(node: &NodeId) -> Grudges {
    Link::both(Endpoint::Clients, node).into()
}

/// The nodes in an order that a seed decides.
pub(crate) fn shuffled(nodes: &[NodeId], seed: u64) -> Vec<NodeId> {
    Dice::new(seed).shuffled(nodes)
}

fn others(node: &NodeId, nodes: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().filter(|other| *other != node).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<NodeId> {
        (1..=count).map(NodeId::numbered).collect()
    }

    /// Whom a node hears, itself included.
    fn heard(listener: &NodeId, nodes: &[NodeId], grudges: &Grudges) -> BTreeSet<NodeId> {
        nodes.iter().filter(|speaker| !grudges.contains(&Link::new(*speaker, listener))).cloned().collect()
    }

    #[test]
    fn halves_are_disjoint_and_cover_everybody() {
        let all = nodes(5);
        let grudges = halves(&all);
        for node in &all {
            let side = heard(node, &all, &grudges);
            let expected = if all[..2].contains(node) { &all[..2] } else { &all[2..] };
            assert_eq!(side, expected.iter().cloned().collect());
        }
    }

    #[test]
    fn bridge_is_heard_by_both_sides_which_do_not_hear_each_other() {
        for count in [3, 5, 6] {
            let all = nodes(count);
            let grudges = bridge(&all);
            assert_eq!(heard(&all[0], &all, &grudges).len(), count);
            let (left, right) = (&all[1], &all[count - 1]);
            assert!(heard(left, &all, &grudges).contains(&all[0]));
            assert!(heard(right, &all, &grudges).contains(&all[0]));
            assert!(!heard(left, &all, &grudges).contains(right));
        }
    }

    #[test]
    fn everybody_on_the_ring_hears_another_majority() {
        for count in [3, 4, 5, 7] {
            let all = shuffled(&nodes(count), 9);
            let grudges = majorities_ring(&all);
            let views: BTreeSet<_> = all.iter().map(|node| heard(node, &all, &grudges)).collect();
            assert_eq!(views.len(), count, "no two hear the same");
            assert!(views.iter().all(|view| view.len() == majority(count)));
            assert!(all.iter().all(|node| heard(node, &all, &grudges).contains(node)));
        }
    }

    #[test]
    fn deaf_node_is_heard_and_mute_node_hears() {
        let all = nodes(3);
        let deafened = deaf(&all[0], &all);
        assert_eq!(heard(&all[0], &all, &deafened).len(), 1);
        assert_eq!(heard(&all[1], &all, &deafened).len(), 3);
        let muted = mute(&all[0], &all);
        assert_eq!(heard(&all[0], &all, &muted).len(), 3);
        assert_eq!(heard(&all[1], &all, &muted).len(), 2);
    }

    #[test]
    fn stranded_node_hears_clients_that_do_not_hear_it() {
        let all = nodes(3);
        let grudges = strand(&all[0], &all);
        assert_eq!(heard(&all[0], &all, &grudges).len(), 1);
        assert!(grudges.contains(&Link::new(&all[0], Endpoint::Clients)));
        assert!(!grudges.contains(&Link::new(Endpoint::Clients, &all[0])));
    }

    #[test]
    fn minority_of_a_node_is_with_it_and_has_no_majority() {
        for count in [3, 4, 5, 7] {
            let all = nodes(count);
            let grudges = minority_of(&all[0], &all);
            assert_eq!(heard(&all[0], &all, &grudges).len(), (count - 1) / 2);
            let grudges = minority_without(&all[0], &all);
            assert_eq!(heard(&all[0], &all, &grudges).len(), count - (count - 1) / 2);
        }
    }

    #[test]
    fn isolated_node_hears_nobody_and_the_others_hear_each_other() {
        let all = nodes(5);
        let grudges = isolate(&all[4], &all);
        assert_eq!(heard(&all[4], &all, &grudges).len(), 1);
        assert_eq!(heard(&all[0], &all, &grudges).len(), 4);
    }
}
