//! Who may vote, and what a majority of them has reached.
//!
//! The one place where quorums are counted. Elections, commitment, check-quorum and read rounds all ask here, so a
//! change of membership rules has one home.

use std::collections::BTreeSet;

use super::types::NodeId;

/// The voting members of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters(BTreeSet<NodeId>);

impl Voters {
    /// A fixed set of voters.
    pub fn new(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// All voters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    /// Whether `id` may vote.
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains(&id)
    }

    /// How many voters there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The size of the smallest group such that any two of that size have a member in common.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Whether a majority of the voters satisfies `agrees`. Counts voters, never answers: a duplicated answer changes
    /// nothing.
    pub fn agree(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        self.iter().filter(|&id| agrees(id)).count() >= self.majority()
    }

    /// The largest value that at least `count` voters have reached.
    pub fn reached_by<V: Ord>(&self, count: usize, value: impl Fn(NodeId) -> V) -> V {
        let mut values: Vec<V> = self.iter().map(value).collect();
        assert!((1..=values.len()).contains(&count), "invariant: a quorum has between one and all voters");
        values.sort_unstable();
        values.swap_remove(values.len() - count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: usize) -> Voters {
        Voters::new((1..=count).map(|n| NodeId::new(&format!("n{n}")).expect("legal name")))
    }

    fn number(id: NodeId) -> usize {
        id.as_str()[1..].parse().expect("a numbered node")
    }

    #[test]
    fn any_two_majorities_share_a_voter() {
        for count in 1..=9 {
            assert!(2 * voters(count).majority() > count);
        }
    }

    #[test]
    fn value_reached_by_a_majority_is_the_median_of_an_odd_cluster() {
        assert_eq!(voters(5).reached_by(3, number), 3);
        assert_eq!(voters(4).reached_by(3, number), 2);
        assert_eq!(voters(1).reached_by(1, number), 1);
    }

    #[test]
    fn half_of_an_even_cluster_does_not_agree() {
        assert!(!voters(4).agree(|id| number(id) <= 2));
        assert!(voters(4).agree(|id| number(id) <= 3));
    }
}
