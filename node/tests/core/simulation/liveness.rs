//! Once the faults are over the cluster works again, and goes on working, within so many election timeouts.

use node::raft::{Index, NodeId, RequestId, RoleName};

use super::{Simulation, Violation};

/// A round is 10 ms, and the longest election timeout 300 ms.
const PATIENCE_ROUNDS: usize = 400;
const CALM_ROUNDS: usize = 200;
/// Heartbeats are lost now and then, but not for a whole election timeout.
const CHANGES_IN_CALM: usize = 1;

impl Simulation {
    /// The end of a run: works with one node less than all where a majority is left, works with all, keeps its leader, and answers
    /// reads after the loss of that leader though nobody writes.
    pub(super) fn recover(&mut self) -> Result<(), Violation> {
        self.heal()?;
        if let Some(node) = self.any_dispensable() {
            self.crash(node);
            self.works(&format!("without {node}"))?;
        }
        self.heal()?;
        self.works("when all is healed")?;
        self.keeps_its_leader()?;
        if let Some(leader) = self.leader().filter(|&leader| self.is_dispensable(leader)) {
            self.crash(leader);
        }
        self.reads_without_writes()
    }

    fn works(&mut self, when: &str) -> Result<(), Violation> {
        let (acknowledged, reads) = (self.seen.acknowledged, self.truth.answered_reads);
        for _ in 0..PATIENCE_ROUNDS {
            self.proceed()?;
            if self.seen.acknowledged > acknowledged && self.truth.answered_reads > reads {
                return Ok(());
            }
        }
        Err(format!("the cluster does not work {when}:\n{}", self.describe()))
    }

    fn keeps_its_leader(&mut self) -> Result<(), Violation> {
        for _ in 0..CALM_ROUNDS {
            self.proceed()?;
        }
        let before = self.truth.leaders.len();
        for _ in 0..CALM_ROUNDS {
            self.proceed()?;
        }
        match self.truth.leaders.len() - before {
            0..=CHANGES_IN_CALM => Ok(()),
            changes => Err(format!("{changes} leaders came and went, and nothing was wrong")),
        }
    }

    fn reads_without_writes(&mut self) -> Result<(), Violation> {
        let reads = self.truth.answered_reads;
        for _ in 0..PATIENCE_ROUNDS {
            self.let_arrive()?;
            let node = self.any_node();
            let leader = self.some_leader(node);
            self.requests += 1;
            self.ask_to_read(leader, RequestId(self.requests))?;
            if self.truth.answered_reads > reads {
                return Ok(());
            }
        }
        Err(format!("no read is answered while nobody writes:\n{}", self.describe()))
    }

    fn any_dispensable(&mut self) -> Option<NodeId> {
        let nodes: Vec<NodeId> = self.ids.iter().copied().filter(|&id| self.is_dispensable(id)).collect();
        (!nodes.is_empty()).then(|| nodes[self.dice.below(nodes.len())])
    }

    /// Whether a majority is left without a node, whichever members of those in any log count.
    fn is_dispensable(&self, node: NodeId) -> bool {
        let logs = self.members.values().filter_map(|member| member.core.as_ref()).map(|core| core.log());
        let mut memberships = logs.flat_map(|log| {
            (log.base().index.0..=log.last_index().0).map(|index| log.members_at(Index(index)))
        });
        memberships.all(|members| members.voters().is_empty() || members.agree(|id| id != node))
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |id: &&NodeId| {
            self.members[id].core.as_ref().is_some_and(|core| core.status().role == RoleName::Leader)
        };
        self.ids.iter().find(leads).copied()
    }
}
