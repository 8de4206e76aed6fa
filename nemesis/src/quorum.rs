//! Whether a majority of the members is left whole and connected. A node that was taken out of the cluster is none.

use history::NodeId;

use crate::{Cluster, Link};

/// The size of a majority of `nodes` nodes.
pub(crate) fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// The size of the largest minority, 0 for clusters of one or two.
pub(crate) fn minority(nodes: usize) -> usize {
    nodes.saturating_sub(1) / 2
}

/// Whether some node that is up can talk both ways with enough others for a majority: that is what a leader needs.
pub(crate) fn is_left(
    nodes: &[NodeId],
    is_up: impl Fn(&NodeId) -> bool,
    is_cut: impl Fn(&Link) -> bool,
) -> bool {
    let talks = |one: &NodeId, other: &NodeId| one == other || !Link::both(one, other).iter().any(&is_cut);
    let up: Vec<&NodeId> = nodes.iter().filter(|node| is_up(node)).collect();
    up.iter().any(|one| up.iter().filter(|other| talks(one, other)).count() >= majority(nodes.len()))
}

/// The same for a cluster as it stands, after some nodes more are gone and some links more are cut.
pub(crate) fn is_left_after(cluster: &impl Cluster, gone: &[NodeId], cut: &[Link]) -> bool {
    let (processes, links) = (cluster.processes(), cluster.links());
    is_left(
        &processes.members(),
        |node| processes.is_active(node) && !gone.contains(node),
        |link| links.rule(link).held || cut.contains(link),
    )
}

/// Whether a node that is up can talk both ways with enough others that are up for a majority.
pub(crate) fn reaches_majority(cluster: &impl Cluster, node: &NodeId) -> bool {
    let (processes, links) = (cluster.processes(), cluster.links());
    let nodes = processes.members();
    let is_open = |other: &NodeId| !Link::both(node, other).iter().any(|link| links.rule(link).held);
    let reached =
        nodes.iter().filter(|other| processes.is_active(other) && (*other == node || is_open(other)));
    nodes.contains(node) && processes.is_active(node) && reached.count() >= majority(nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<NodeId> {
        (1..=count).map(NodeId::numbered).collect()
    }

    #[test]
    fn majority_and_minority_make_up_odd_clusters() {
        for count in [1, 3, 5, 7] {
            assert_eq!(majority(count) + minority(count), count);
        }
        assert_eq!((majority(4), minority(4)), (3, 1));
    }

    #[test]
    fn quorum_is_lost_with_the_majority_only() {
        let all = nodes(3);
        assert!(is_left(&all, |node| *node != all[0], |_| false));
        assert!(!is_left(&all, |node| *node == all[0], |_| false));
    }

    #[test]
    fn one_cut_direction_is_enough_to_separate_two_nodes() {
        let all = nodes(3);
        let into_first = |link: &Link| link.destination == (&all[0]).into();
        assert!(is_left(&all, |_| true, into_first), "the other two are whole");
        assert!(!is_left(&all, |node| *node != all[1], into_first));
    }
}
