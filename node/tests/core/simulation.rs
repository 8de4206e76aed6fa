//! A seeded adversary against whole clusters, with the properties of Raft, figure 3, checked after every step.
//!
//! The network loses, duplicates, delays and reorders messages and splits; nodes stop, go on, crash and lose what they had
//! not synced. The same seed gives the same run. At the end everything heals and the cluster must work again.

use std::collections::BTreeMap;

use node::raft::{
    Answer, Committed, Config, Core, Effects, Entry, Index, Input, Jitter, Limits, Log, Message, Millis,
    NodeId, RequestId, RoleName, Status, Term, Voters,
};

use crate::disk::Disk;
use crate::truth::{Truth, Violation};

const TICK_MS: u64 = 10;
const SEEDS: u64 = 150;
const STEPS: usize = 30_000;
const HEALED_ROUNDS: usize = 400;
/// Messages on their way; further ones are lost.
const NETWORK_MESSAGES: usize = 200;

/// A small generator with good statistics (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn jitter(&mut self) -> Jitter {
        Jitter(self.roll() as u16)
    }
}

struct Member {
    core: Option<Core>,
    disk: Disk,
    paused: bool,
    /// Which side of a split this node is on.
    side: bool,
    term: Term,
}

struct Simulation {
    dice: Dice,
    config: Config,
    now: Millis,
    ids: Vec<NodeId>,
    members: BTreeMap<NodeId, Member>,
    network: Vec<(NodeId, NodeId, Message)>,
    requests: u64,
    truth: Truth,
}

impl Simulation {
    fn new(seed: u64, adapt: impl Fn(&mut Config)) -> Self {
        let mut dice = Dice(seed);
        let count = [3, 5, 4][dice.below(3)];
        let ids: Vec<NodeId> = (1..=count).filter_map(|n| NodeId::new(&format!("n{n}"))).collect();
        let mut config = Config::new(ids[0], Voters::new(ids.iter().copied()), Millis(20), Millis(150));
        config.limits = Limits { append_bytes: 100, inflight_messages: 3, ..Limits::default() };
        adapt(&mut config);
        let new = || Member { core: None, disk: Disk::default(), paused: false, side: true, term: Term(0) };
        let members = ids.iter().map(|&id| (id, new())).collect();
        let truth = Truth::default();
        let mut simulation =
            Self { dice, config, now: Millis(0), ids, members, network: Vec::new(), requests: 0, truth };
        for position in 0..count {
            simulation.restart(simulation.ids[position]);
        }
        simulation
    }

    fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..STEPS {
            self.disturb()?;
        }
        self.heal();
        let before = self.truth.committed.len();
        for _ in 0..HEALED_ROUNDS {
            self.proceed()?;
        }
        if self.truth.committed.len() <= before || self.truth.answered_reads == 0 {
            return Err("the healed cluster does not work".to_owned());
        }
        Ok(())
    }

    fn disturb(&mut self) -> Result<(), Violation> {
        let node = self.any_node();
        match self.dice.below(1000) {
            0..3 => self.crash(node),
            3..10 => self.restart(node),
            10..13 => self.members.get_mut(&node).expect("a member").paused = true,
            13..25 => self.members.get_mut(&node).expect("a member").paused = false,
            25..31 => self.split(),
            31..41 => self.rejoin(),
            41..100 => return self.pass_time(),
            100..350 => return self.sync(node),
            350..420 => return self.ask(node),
            _ => return self.arrive(),
        }
        Ok(())
    }

    /// One fair round: time passes, everything is synced, everything arrives, clients ask.
    fn proceed(&mut self) -> Result<(), Violation> {
        self.pass_time()?;
        for position in 0..self.ids.len() {
            self.sync(self.ids[position])?;
        }
        for _ in 0..self.network.len() {
            self.arrive()?;
        }
        let node = self.any_node();
        self.ask(node)
    }

    fn any_node(&mut self) -> NodeId {
        self.ids[self.dice.below(self.ids.len())]
    }

    fn crash(&mut self, node: NodeId) {
        let keep = self.dice.below(4);
        let member = self.members.get_mut(&node).expect("a member");
        for _ in 0..keep {
            let _ = member.disk.sync_one();
        }
        member.disk.crash();
        member.core = None;
    }

    fn restart(&mut self, node: NodeId) {
        let member = self.members.get_mut(&node).expect("a member");
        if member.core.is_none() {
            let config = Config { id: node, ..self.config.clone() };
            let log = Log::recovered(member.disk.entries.clone());
            let jitter = self.dice.jitter();
            member.core = Some(Core::new(config, member.disk.hard_state, log, self.now, jitter));
            member.paused = false;
            member.term = member.disk.hard_state.term;
        }
    }

    fn split(&mut self) {
        for member in self.members.values_mut() {
            member.side = self.dice.percent(50);
        }
    }

    fn rejoin(&mut self) {
        self.members.values_mut().for_each(|member| member.side = true);
    }

    fn heal(&mut self) {
        self.rejoin();
        self.members.values_mut().for_each(|member| member.paused = false);
        for position in 0..self.ids.len() {
            self.restart(self.ids[position]);
        }
    }

    fn pass_time(&mut self) -> Result<(), Violation> {
        self.now.0 += TICK_MS;
        for position in 0..self.ids.len() {
            let jitter = self.dice.jitter();
            self.step(self.ids[position], Input::Tick { jitter })?;
        }
        Ok(())
    }

    /// Finishes a write. A stopped process hears of it when it goes on, so its writes wait.
    fn sync(&mut self, node: NodeId) -> Result<(), Violation> {
        let member = self.members.get_mut(&node).filter(|member| !member.paused);
        match member.and_then(|member| member.disk.sync_one()) {
            Some(io) => self.step(node, Input::Persisted(io)),
            None => Ok(()),
        }
    }

    /// Asks `node`, or rather somebody who believes to lead: that need not be one only.
    fn ask(&mut self, node: NodeId) -> Result<(), Violation> {
        let leads = |id: &NodeId| {
            self.members[id].core.as_ref().is_some_and(|core| core.status().role == RoleName::Leader)
        };
        let leaders: Vec<NodeId> = self.ids.iter().copied().filter(leads).collect();
        let node = if leaders.is_empty() { node } else { leaders[self.dice.below(leaders.len())] };
        self.requests += 1;
        let request = RequestId(self.requests);
        if self.dice.percent(50) {
            return self.step(node, Input::Propose { request, command: self.requests.to_string().into() });
        }
        self.truth.reads.insert(request, self.truth.committed.len());
        self.step(node, Input::Read { request })
    }

    /// Any message on its way arrives, or is lost, or arrives twice.
    fn arrive(&mut self) -> Result<(), Violation> {
        if self.network.is_empty() {
            return Ok(());
        }
        let position = self.dice.below(self.network.len());
        let (from, to, message) = self.network.swap_remove(position);
        if self.dice.percent(3) || self.members[&from].side != self.members[&to].side {
            return Ok(());
        }
        if self.dice.percent(3) {
            self.network.push((from, to, message.clone()));
        }
        self.step(to, Input::Receive { from, message })
    }

    fn step(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let member = self.members.get_mut(&node).expect("a member");
        let Some(core) = member.core.as_mut().filter(|_| !member.paused) else {
            return Ok(());
        };
        let effects = core.step(self.now, [input]);
        let status = core.status();
        if status.term < std::mem::replace(&mut member.term, status.term) {
            return Err(format!("the term of {node} decreased"));
        }
        if status.role == RoleName::Leader {
            self.truth.leads(node, status.term, core.log())?;
        }
        self.perform(node, effects, status)
    }

    fn perform(&mut self, node: NodeId, effects: Effects, status: Status) -> Result<(), Violation> {
        if let Some(write) = effects.persist {
            let core = self.members[&node].core.as_ref().expect("it has just stepped");
            self.truth.wrote(&write.entries, core.log())?;
            self.members.get_mut(&node).expect("a member").disk.write(write);
        }
        for (to, message) in effects.messages {
            if self.network.len() < NETWORK_MESSAGES {
                self.network.push((node, to, message));
            }
        }
        for Committed { entry, .. } in effects.committed {
            self.committed(entry, status.term)?;
        }
        effects
            .answers
            .into_iter()
            .try_for_each(|(request, answer)| self.answered(request, answer, status.applied))
    }

    fn committed(&mut self, entry: Entry, term: Term) -> Result<(), Violation> {
        let copies =
            self.members.values().filter(|member| member.disk.term_at(entry.index) == Some(entry.term));
        let stored_on = copies.count();
        let news = self.truth.committed(&entry, term)?;
        if news && stored_on < self.config.voters.majority() {
            return Err(format!("{entry:?} is committed, but stored on {stored_on} nodes only"));
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId, answer: Answer, applied: Index) -> Result<(), Violation> {
        match answer {
            Answer::ReadReady => self.truth.read(request, applied),
            #[cfg(feature = "mutants")]
            Answer::Appended(index) => {
                let leader = self.truth.leaders.last_key_value().expect("somebody leads").0;
                self.truth.promised.insert(index, *leader);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn random_faults_break_no_promise() {
    let (mut leaders, mut replaced, mut reads) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(seed, |_| {});
        assert_eq!(simulation.run(), Ok(()), "seed {seed}");
        let truth = simulation.truth;
        leaders += truth.leaders.len();
        replaced += truth.entries.len() - truth.committed.len();
        reads += truth.answered_reads;
    }
    let runs = SEEDS as usize;
    assert!(leaders > 5 * runs && replaced > 5 * runs && reads > 100 * runs, "the adversary is too kind");
}

#[test]
fn same_seed_gives_the_same_run() {
    let committed = || {
        let mut simulation = Simulation::new(7, |_| {});
        assert_eq!(simulation.run(), Ok(()));
        simulation.truth.committed
    };
    assert_eq!(committed(), committed());
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use node::Mutant;

    use super::*;

    const MAX_SEEDS: u64 = 300;

    /// The first seed that convicts the mutant. A failed assertion of the node convicts it as well.
    fn convicting_seed(mutant: Mutant) -> Option<u64> {
        (0..MAX_SEEDS).find(|&seed| {
            let mut simulation = Simulation::new(seed, |config| config.mutant = Some(mutant));
            !matches!(catch_unwind(AssertUnwindSafe(|| simulation.run())), Ok(Ok(())))
        })
    }

    #[test]
    fn vote_without_comparing_logs_is_convicted() {
        assert_ne!(convicting_seed(Mutant::A9), None);
    }

    #[test]
    fn append_without_checking_the_previous_term_is_convicted() {
        assert_ne!(convicting_seed(Mutant::B5), None);
    }

    #[test]
    fn acknowledgement_before_commit_is_convicted() {
        assert_ne!(convicting_seed(Mutant::B6), None);
    }

    #[test]
    fn commit_by_half_of_the_cluster_is_convicted() {
        assert_ne!(convicting_seed(Mutant::B14), None);
    }

    #[test]
    fn read_from_memory_is_convicted() {
        assert_ne!(convicting_seed(Mutant::C1), None);
    }
}
