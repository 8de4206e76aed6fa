//! Who votes, who only listens, and what a majority of the voters has reached.
//!
//! The one place where quorums are counted. Elections, commitment, check-quorum and read rounds all ask here. While the
//! cluster goes from one set of voters to another, both sets must agree (joint consensus: Raft, section 6): no
//! moment exists at which two disjoint majorities could decide.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::types::NodeId;

/// The members of the cluster, as an entry of the log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    voters: BTreeSet<NodeId>,
    /// The voters before a change that is not complete; empty when no change is under way.
    outgoing: BTreeSet<NodeId>,
    /// Get the log and count for nothing.
    learners: BTreeSet<NodeId>,
    /// Where members receive messages that joined a running cluster; the others are known from the start.
    addresses: BTreeMap<NodeId, SocketAddr>,
}

/// What shall become of the members. A change of voters goes through a joint phase, as one step for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New learners, with the address at which they receive messages if others do not know it.
    pub add: BTreeMap<NodeId, Option<SocketAddr>>,
    /// Learners that become voters.
    pub promote: BTreeSet<NodeId>,
    /// Voters and learners that leave.
    pub remove: BTreeSet<NodeId>,
}

/// Why a change is not begun; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It changes nothing.
    Empty,
    /// One change at a time, and the last is not committed.
    Pending,
    /// The leader has committed nothing in its term yet, so that it may not know the latest members.
    TooEarly,
    /// A node to be added is a member already.
    Member(NodeId),
    /// A node to be promoted is no learner, or one to be removed is no member.
    NotMember(NodeId),
    /// A learner to be promoted lacks too much of the log.
    Behind(NodeId),
    /// Nobody would be left to vote.
    NoVoter,
}

impl Membership {
    /// A cluster of voters only. Without any it is that of a node that waits to be added.
    pub fn of_voters(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: ids.into_iter().collect(), ..Self::default() }
    }

    /// As read from the log; `None` when a learner votes, or somebody has an address who is no member.
    pub(crate) fn restore(
        voters: BTreeSet<NodeId>,
        outgoing: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        addresses: BTreeMap<NodeId, SocketAddr>,
    ) -> Option<Self> {
        let membership = Self { voters, outgoing, learners, addresses };
        let sound = membership.learners.iter().all(|id| !membership.votes(*id))
            && membership.addresses.keys().all(|id| membership.contains(*id))
            && (membership.outgoing.is_empty() || !membership.voters.is_empty());
        sound.then_some(membership)
    }

    /// The voters, during a change those that it leads to.
    pub fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// The voters before a change that is under way.
    pub fn outgoing(&self) -> &BTreeSet<NodeId> {
        &self.outgoing
    }

    /// Who gets the log and does not count.
    pub fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Where members receive messages, as far as the log says it.
    pub fn addresses(&self) -> &BTreeMap<NodeId, SocketAddr> {
        &self.addresses
    }

    /// Whether a change of voters is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `id` votes, before or after the change that is under way.
    pub fn votes(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether `id` gets the log.
    pub fn contains(&self, id: NodeId) -> bool {
        self.votes(id) || self.learners.contains(&id)
    }

    /// Everybody who gets the log, in the order of their names.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Everybody who votes, in the order of their names.
    pub fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.union(&self.outgoing).copied().collect()
    }

    /// Whether a majority satisfies `agrees`: of the voters, and during a change of those before it as well. Counts voters,
    /// never answers: a duplicated answer changes nothing.
    pub fn agree(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        self.quorums().all(|voters| {
            !voters.is_empty() && voters.iter().filter(|&&id| agrees(id)).count() >= majority(voters.len())
        })
    }

    /// The largest value that a majority has reached, by the same rule; `None` when nobody votes.
    pub fn reached<V: Ord>(&self, value: impl Fn(NodeId) -> V) -> Option<V> {
        self.reached_by(majority, value)
    }

    /// The same for another size of a quorum among so many voters.
    pub(crate) fn reached_by<V: Ord>(
        &self,
        quorum: impl Fn(usize) -> usize,
        value: impl Fn(NodeId) -> V,
    ) -> Option<V> {
        let reached = |voters: &BTreeSet<NodeId>| {
            let mut values: Vec<V> = voters.iter().copied().map(&value).collect();
            let position = values.len().checked_sub(quorum(values.len()))?;
            values.sort_unstable();
            Some(values.swap_remove(position))
        };
        // `None` is the least, so a set without voters decides nothing.
        self.quorums().map(reached).min().flatten()
    }

    /// The sets that must agree.
    fn quorums(&self) -> impl Iterator<Item = &BTreeSet<NodeId>> {
        [&self.voters, &self.outgoing].into_iter().take(if self.is_joint() { 2 } else { 1 })
    }

    /// The members while `change` is under way; joint if it changes who votes.
    ///
    /// # Errors
    /// When the change does not fit these members, or leaves nobody to vote.
    pub(crate) fn begin(&self, change: &Change) -> Result<Self, Refusal> {
        if *change == Change::default() {
            return Err(Refusal::Empty);
        }
        if self.is_joint() {
            return Err(Refusal::Pending);
        }
        let mut next = self.clone();
        for (&id, address) in &change.add {
            if self.contains(id) {
                return Err(Refusal::Member(id));
            }
            next.learners.insert(id);
            next.addresses.extend(address.map(|address| (id, address)));
        }
        for &id in &change.promote {
            if !self.learners.contains(&id) {
                return Err(Refusal::NotMember(id));
            }
            next.learners.remove(&id);
            next.voters.insert(id);
        }
        for &id in &change.remove {
            if !(next.voters.remove(&id) || next.learners.remove(&id)) {
                return Err(Refusal::NotMember(id));
            }
        }
        if next.voters.is_empty() {
            return Err(Refusal::NoVoter);
        }
        if next.voters != self.voters {
            next.outgoing.clone_from(&self.voters);
        }
        next.forget_strangers();
        Ok(next)
    }

    /// The members once the change that is under way is complete.
    pub(crate) fn complete(&self) -> Self {
        let mut next = Self { outgoing: BTreeSet::new(), ..self.clone() };
        next.forget_strangers();
        next
    }

    /// Whom mutant F6 counts.
    #[cfg(feature = "mutants")]
    pub(crate) fn with_learners_voting(&self) -> Self {
        Self { voters: self.voters.union(&self.learners).copied().collect(), ..self.clone() }
    }

    fn forget_strangers(&mut self) {
        let members = self.members();
        self.addresses.retain(|id, _| members.contains(id));
    }
}

/// The size of the smallest group such that any two of that size have a member in common.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[usize]) -> BTreeSet<NodeId> {
        numbers.iter().map(|n| NodeId::new(&format!("n{n}")).expect("legal name")).collect()
    }

    fn voters(count: usize) -> Membership {
        Membership::of_voters(ids(&(1..=count).collect::<Vec<_>>()))
    }

    fn number(id: NodeId) -> usize {
        id.as_str()[1..].parse().expect("a numbered node")
    }

    fn among(numbers: &'static [usize]) -> impl Fn(NodeId) -> bool {
        move |id| numbers.contains(&number(id))
    }

    /// Voters 1 to 3 become 3 to 5, and 6 listens.
    fn joint() -> Membership {
        let before = Membership { learners: ids(&[4, 5, 6]), ..voters(3) };
        let change = Change { promote: ids(&[4, 5]), remove: ids(&[1, 2]), ..Change::default() };
        before.begin(&change).expect("it fits")
    }

    #[test]
    fn any_two_majorities_share_a_voter() {
        for count in 1..=9 {
            assert!(2 * majority(count) > count);
        }
    }

    #[test]
    fn value_reached_by_a_majority_is_the_median_of_an_odd_cluster() {
        assert_eq!(voters(5).reached(number), Some(3));
        assert_eq!(voters(4).reached(number), Some(2));
        assert_eq!(voters(1).reached(number), Some(1));
    }

    #[test]
    fn half_of_an_even_cluster_does_not_agree() {
        assert!(!voters(4).agree(|id| number(id) <= 2));
        assert!(voters(4).agree(|id| number(id) <= 3));
    }

    #[test]
    fn nobody_agrees_where_nobody_votes() {
        let nobody = Membership::default();
        assert!(!nobody.agree(|_| true));
        assert_eq!(nobody.reached(number), None);
    }

    #[test]
    fn joint_members_need_both_majorities() {
        let joint = joint();
        assert!(joint.is_joint());
        for (agreeing, enough) in
            [(&[1, 2, 3][..], false), (&[3, 4, 5], false), (&[1, 2, 4, 5], true), (&[1, 3, 4], true)]
        {
            assert_eq!(joint.agree(among(agreeing)), enough, "{agreeing:?}");
        }
        assert_eq!(joint.reached(number), Some(2), "the old voters are behind");
    }

    #[test]
    fn learners_never_count() {
        let joint = joint();
        assert!(joint.contains(ids(&[6]).pop_first().expect("one")));
        assert!(!joint.agree(among(&[4, 5, 6])));
    }

    #[test]
    fn complete_change_has_forgotten_who_left() {
        let after = joint().complete();
        assert_eq!((after.voters(), after.is_joint()), (&ids(&[3, 4, 5]), false));
        assert_eq!(after.members(), ids(&[3, 4, 5, 6]));
    }

    #[test]
    fn learner_comes_and_goes_without_a_joint_phase() {
        let address = "127.0.0.1:7".parse().expect("an address");
        let four = ids(&[4]).pop_first().expect("one");
        let add = Change { add: BTreeMap::from([(four, Some(address))]), ..Change::default() };
        let with = voters(3).begin(&add).expect("it fits");
        assert_eq!((with.is_joint(), with.addresses().get(&four)), (false, Some(&address)));
        let remove = Change { remove: ids(&[4]), ..Change::default() };
        assert_eq!(with.begin(&remove), Ok(voters(3)));
    }

    #[test]
    fn change_that_does_not_fit_is_refused() {
        let one = |n| ids(&[n]).pop_first().expect("one");
        let refused = |change| voters(3).begin(&change).expect_err("it does not fit");
        assert_eq!(refused(Change::default()), Refusal::Empty);
        let promote = Change { promote: ids(&[1]), ..Change::default() };
        assert_eq!(refused(promote), Refusal::NotMember(one(1)));
        let remove = Change { remove: ids(&[7]), ..Change::default() };
        assert_eq!(refused(remove), Refusal::NotMember(one(7)));
        assert_eq!(refused(Change { remove: ids(&[1, 2, 3]), ..Change::default() }), Refusal::NoVoter);
        let add = Change { add: BTreeMap::from([(one(2), None)]), ..Change::default() };
        assert_eq!(refused(add), Refusal::Member(one(2)));
        let more = Change { remove: ids(&[3]), ..Change::default() };
        assert_eq!(joint().begin(&more), Err(Refusal::Pending));
    }
}
