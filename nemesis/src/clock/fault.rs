//! Makes clocks of nodes wrong: they jump, drift, or jump to and fro.
//!
//! `clock` is about the time of day alone. `clock-monotonic` is about the clock that most programs take for granted, and has to be
//! asked for: the kernel keeps deadlines by its own clock, so a wait with a timeout takes longer while this one is ahead (a
//! JVM's and Rust's `Condvar` do), and a system may fail because of its runtime. It only goes forwards, and what it gained it
//! keeps: a monotonic clock that ran back would be a fault of no machine.
//!
//! Evidence: the node's own processes have asked for the time and found the new version, and a canary with the node's
//! clocks reads what it shall, foretold to the length of a system call. Healed is proven in the same way, unless the node
//! does not run; it starts with clocks that are right. Effect: how often the node read a wrong time. Each node gets a fault of
//! its own, so that clocks differ even when all are chosen.

use std::sync::Arc;
use std::time::Duration;

use history::NodeId;

use super::canary;
use super::page::{Area, NodeClock};
use super::skew::{Movement, Skew};
use crate::dice::Dice;
use crate::fault::{
    EVIDENCE_LIMIT, Fault, FaultError, HEAL_LIMIT, NODES_PREFIX, Request, Scope, Skip, list, until,
};
use crate::victims::Victims;
use crate::{Cluster, quorum};

/// The shortest and the longest jump, in seconds: from what a system may take for latency to what outlives every lease,
/// certificate and log segment.
const JUMP_SECONDS: (f64, f64) = (0.01, 3.0 * 86_400.0);
/// The least and the most that a clock gains of the true time while it drifts. One that loses loses as much less as keeps it
/// going.
const DRIFT: (f64, f64) = (0.001, 1.0);
/// How long a strobe stays on one side, in seconds.
const STROBE_SECONDS: (f64, f64) = (0.005, 0.5);
/// How far a monotonic clock jumps, in seconds.
const MONOTONIC_JUMP_SECONDS: (f64, f64) = (0.01, 600.0);
/// Wrong clocks of some nodes.
#[derive(Debug)]
pub(crate) struct WrongClock {
    area: Area,
    scope: Scope,
    victims: Victims,
    clocks: Vec<Moved>,
    /// Distinguishes the canaries of this fault from those of others.
    name: String,
}

/// A clock, and what is done to it.
#[derive(Debug)]
struct Moved {
    node: NodeId,
    clock: Arc<NodeClock>,
    movement: Movement,
    /// How wrong it is, once it was told.
    told: Skew,
    wrong_readings_before: u64,
    /// Whether the node has asked for the time since.
    proven: bool,
}

impl Fault for WrongClock {
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let area = request.kind.clock().ok_or_else(|| request.unknown_selector())?;
        let processes = cluster.processes();
        if processes.nodes().iter().all(|node| processes.clock(node).is_none()) {
            return Err(Skip("the nodes were started with the machine's clocks".into()));
        }
        let eligible = |node: &NodeId| {
            processes.is_active(node) && processes.clock(node).is_some_and(|clock| clock.is_right(area))
        };
        let victims = Victims::choose(request, cluster, eligible).await?;
        let mut dice = Dice::new(!request.seed);
        let clocks: Vec<Moved> = victims
            .nodes
            .iter()
            .filter_map(|node| Some((node.clone(), processes.clock(node)?)))
            .map(|(node, clock)| Moved {
                node,
                wrong_readings_before: clock.wrong_readings(area),
                clock,
                movement: draw(&mut dice, area),
                told: Skew::default(),
                proven: false,
            })
            .collect();
        let moves = list(clocks.iter().map(|moved| format!("{} {}", moved.node, moved.movement)));
        let nodes = victims.nodes.clone();
        let chosen = Scope::describe(request.selector, NODES_PREFIX, &nodes);
        let leaves_quorum = quorum::is_left_after(cluster, &[], &[]);
        let scope = Scope { nodes, detail: format!("{chosen}; {moves}"), leaves_quorum };
        Ok(Self { area, scope, victims, clocks, name: format!("clock-{}", request.id.0) })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, _cluster: &C) -> Result<(), FaultError> {
        for moved in &mut self.clocks {
            moved.told = moved.clock.change(self.area, moved.movement);
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        let mut proofs = Vec::new();
        for i in 0..self.clocks.len() {
            let moved = &self.clocks[i];
            let ended = || cluster.processes().identity(&moved.node).is_none();
            let seen = || moved.clock.is_seen(self.area);
            until(EVIDENCE_LIMIT, || seen() || ended()).await;
            if !seen() {
                return Err(FaultError::NotProven(self.unseen(&moved.node, ended())));
            }
            proofs.push(self.canary(cluster, moved, "start").await?);
            self.clocks[i].proven = true;
        }
        self.victims.turns.clear();
        Ok(format!("the {} is wrong: {}", self.area, list(proofs)))
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        let wrong = self.clocks.iter().filter_map(|moved| {
            let counted = moved.clock.wrong_readings(self.area);
            // A process that was started meanwhile counts from the beginning.
            let readings = counted.checked_sub(moved.wrong_readings_before).unwrap_or(counted);
            (readings > 0).then(|| format!("{} ({readings} times)", moved.node))
        });
        Some(list(wrong)).filter(|wrong| !wrong.is_empty()).map(|wrong| format!("read a wrong time: {wrong}"))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.victims.turns.clear();
        let mut went_back = Vec::new();
        for moved in &mut self.clocks {
            if !moved.clock.make_right(self.area) {
                went_back.push(moved.node.clone());
            }
            moved.told = match self.area {
                Area::Wall => Skew::default(),
                Area::Monotonic => moved.clock.skew(self.area),
            };
        }
        let mut healed = Vec::new();
        for moved in &self.clocks {
            let seen = moved.proven && until(HEAL_LIMIT, || moved.clock.is_seen(self.area)).await;
            if moved.proven && !seen && cluster.processes().is_active(&moved.node) {
                return Err(FaultError::NotProven(self.unseen(&moved.node, false)));
            }
            let rest = if seen { "" } else { "; it has not asked for the time" };
            healed.push(self.canary(cluster, moved, "end").await? + rest);
        }
        if !went_back.is_empty() {
            let reason = "went back, because the harness was not let run";
            return Err(FaultError::NotProven(format!("the {} of {} {reason}", self.area, list(went_back))));
        }
        let kept = if self.area == Area::Monotonic { "runs at the right speed" } else { "is right" };
        Ok(format!("the {} {kept}: {}", self.area, list(healed)))
    }
}

impl WrongClock {
    async fn canary(&self, cluster: &impl Cluster, moved: &Moved, step: &str) -> Result<String, FaultError> {
        let name = NodeId(format!("{}-{}-{step}", self.name, moved.node));
        let off = canary::send(cluster.processes(), &name, &moved.clock, self.area, &moved.told).await?;
        Ok(format!("{} (a canary with its clock is off by {off})", moved.node))
    }

    fn unseen(&self, node: &NodeId, ended: bool) -> String {
        if ended {
            return format!("{node} ended when its {} went wrong", self.area);
        }
        format!(
            "{node} has not asked for the time since its {} was changed; a program that asks the kernel itself, or never, \
             cannot be reached",
            self.area
        )
    }
}

fn draw(dice: &mut Dice, area: Area) -> Movement {
    let nanoseconds = |seconds: f64| (seconds * 1e9) as i64;
    if area == Area::Monotonic {
        let by_ns = nanoseconds(dice.log_even(MONOTONIC_JUMP_SECONDS.0, MONOTONIC_JUMP_SECONDS.1));
        let rate = dice.log_even(DRIFT.0, DRIFT.1);
        return if dice.one_in(2) { Movement::Jump { by_ns } } else { Movement::Drift { rate } };
    }
    let backwards = dice.one_in(2);
    let length = nanoseconds(dice.log_even(JUMP_SECONDS.0, JUMP_SECONDS.1));
    let by_ns = if backwards { -length } else { length };
    match dice.below(4) {
        0 | 1 => Movement::Jump { by_ns },
        2 => {
            let gain = dice.log_even(DRIFT.0, DRIFT.1);
            Movement::Drift { rate: if backwards { -gain / (1.0 + gain) } else { gain } }
        }
        _ => {
            let period = Duration::from_secs_f64(dice.log_even(STROBE_SECONDS.0, STROBE_SECONDS.1));
            Movement::Strobe { by_ns, period }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clocks_are_moved_in_every_way_and_over_all_magnitudes() {
        let mut dice = Dice::new(1);
        let drawn: Vec<Movement> = (0..1000).map(|_| draw(&mut dice, Area::Wall)).collect();
        let count = |wanted: fn(&Movement) -> bool| drawn.iter().filter(|drawn| wanted(drawn)).count();
        const HOUR: i64 = 3_600_000_000_000;
        const SECOND: i64 = 1_000_000_000;
        assert!(count(|m| matches!(m, Movement::Jump { by_ns } if *by_ns > HOUR)) > 50);
        assert!(count(|m| matches!(m, Movement::Jump { by_ns } if *by_ns < -HOUR)) > 50);
        assert!(count(|m| matches!(m, Movement::Jump { by_ns } if by_ns.abs() < SECOND)) > 50);
        assert!(count(|m| matches!(m, Movement::Drift { rate } if *rate > 0.0)) > 50);
        assert!(count(|m| matches!(m, Movement::Drift { rate } if (-0.5..0.0).contains(rate))) > 50);
        assert!(count(|m| matches!(m, Movement::Strobe { .. })) > 100);
    }
}
