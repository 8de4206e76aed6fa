//! A seeded adversary against whole clusters, with the properties of Raft, figure 3, checked after every step.
//!
//! The network loses, duplicates, delays and reorders messages and splits; nodes stop, go on, crash and lose what they had
//! not synced; they make snapshots, come, and go, and leaders hand over. The same seed gives the same run. At the end everything heals and the cluster must work again.

use std::collections::BTreeMap;

use node::raft::{
    Answer, Change, Committed, Config, Core, Effects, Index, Input, Jitter, Limits, Membership, Message,
    Millis, NodeId, Payload, RequestId, RoleName, Snapshot, Status, Term,
};

use crate::describe;
use crate::disk::{Disk, Recovered};
use crate::truth::{Truth, Violation, digest};

const TICK_MS: u64 = 10;
const SEEDS: u64 = 1000;
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
    /// What was applied last, and what everything up to there comes to.
    applied: Index,
    digest: u64,
}

struct Simulation {
    dice: Dice,
    config: Config,
    founders: Membership,
    now: Millis,
    ids: Vec<NodeId>,
    members: BTreeMap<NodeId, Member>,
    network: Vec<(NodeId, NodeId, Message)>,
    requests: u64,
    truth: Truth,
    seen: Seen,
}

/// How much of everything happened.
#[derive(Debug, Default)]
struct Seen {
    crashes: usize,
    snapshots: usize,
    installs: usize,
    changes: usize,
    transfers: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.installs += other.installs;
        self.changes += other.changes;
        self.transfers += other.transfers;
    }
}

impl Simulation {
    fn new(seed: u64, adapt: impl Fn(&mut Config)) -> Self {
        let mut dice = Dice(seed);
        let founders = [3, 5, 4][dice.below(3)];
        let count = founders + dice.below(3);
        let ids: Vec<NodeId> = (1..=count).filter_map(|n| NodeId::new(&format!("n{n}"))).collect();
        let mut config = Config::new(ids[0], Millis(20), Millis(150));
        config.limits = Limits {
            append_bytes: 100,
            inflight_messages: 3,
            chunk_bytes: 10,
            retained_entries: 3,
            promotion_lag: 5,
            ..Limits::default()
        };
        adapt(&mut config);
        let new = || Member {
            core: None,
            disk: Disk::default(),
            paused: false,
            side: true,
            term: Term(0),
            applied: Index(0),
            digest: 0,
        };
        let mut simulation = Self {
            dice,
            config,
            founders: Membership::of_voters(ids[..founders].iter().copied()),
            now: Millis(0),
            members: ids.iter().map(|&id| (id, new())).collect(),
            ids,
            network: Vec::new(),
            requests: 0,
            truth: Truth::default(),
            seen: Seen::default(),
        };
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
            return Err(format!("the healed cluster does not work:\n{}", self.describe()));
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let line = |(id, member): (&NodeId, &Member)| match &member.core {
            Some(core) => {
                let (status, members) = (core.status(), describe::describe_members(core.log().members()));
                format!("{id} {status:?}, members {members} since {:?}\n", core.log().members_since())
            }
            None => format!("{id} is down\n"),
        };
        self.members.iter().map(line).collect()
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
            41..51 => return self.change(),
            51..54 => return self.transfer(),
            54..59 => return self.snapshot(node),
            59..64 => return self.finish_storing(node),
            64..120 => return self.pass_time(),
            120..350 => return self.sync(node),
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
            self.finish_storing(self.ids[position])?;
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
        let keep_snapshot = self.dice.percent(50);
        let member = self.members.get_mut(&node).expect("a member");
        self.seen.crashes += usize::from(member.core.is_some());
        for _ in 0..keep {
            let _ = member.disk.sync_one();
        }
        if keep_snapshot {
            let _ = member.disk.finish_storing();
        }
        member.disk.crash();
        member.core = None;
    }

    fn restart(&mut self, node: NodeId) {
        let member = self.members.get_mut(&node).expect("a member");
        if member.core.is_none() {
            let config = Config { id: node, ..self.config.clone() };
            let is_founder = self.founders.votes(node);
            let founders = if is_founder { self.founders.clone() } else { Membership::default() };
            let Recovered { hard_state, log, snapshot } = member.disk.recover(&founders);
            member.paused = false;
            member.term = hard_state.term;
            (member.applied, member.digest) = (Index(0), 0);
            if let Some(snapshot) = &snapshot {
                (member.applied, member.digest) = (snapshot.last.index, read_state(snapshot));
            }
            let jitter = self.dice.jitter();
            member.core = Some(Core::new(config, hard_state, log, snapshot, self.now, jitter));
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

    fn finish_storing(&mut self, node: NodeId) -> Result<(), Violation> {
        let member = self.members.get_mut(&node).filter(|member| !member.paused);
        match member.and_then(|member| member.disk.finish_storing()) {
            Some(last) => self.step(node, Input::Stored(last)),
            None => Ok(()),
        }
    }

    /// Makes a snapshot of what was applied: its digest.
    fn snapshot(&mut self, node: NodeId) -> Result<(), Violation> {
        let Member { applied, digest, .. } = self.members[&node];
        self.step(node, Input::Snapshot { applied, state: format!("{digest:016x}").into() })
    }

    /// Asks a leader for other members, whether that makes sense or not.
    fn change(&mut self) -> Result<(), Violation> {
        let (one, other) = (self.any_node(), self.any_node());
        let change = match self.dice.below(4) {
            0 => Change { add: BTreeMap::from([(one, None)]), ..Change::default() },
            1 => Change { promote: [one].into(), ..Change::default() },
            2 => Change { remove: [one].into(), ..Change::default() },
            _ => Change { promote: [one].into(), remove: [other].into(), ..Change::default() },
        };
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step_leader(one, Input::Change { request, change })
    }

    fn transfer(&mut self) -> Result<(), Violation> {
        let to = self.any_node();
        self.requests += 1;
        self.step_leader(to, Input::Transfer { request: RequestId(self.requests), to: Some(to) })
    }

    fn step_leader(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let leader = self.some_leader(node);
        self.step(leader, input)
    }

    /// Somebody who believes to lead, which need not be one only; else `node`.
    fn some_leader(&mut self, node: NodeId) -> NodeId {
        let leads = |id: &NodeId| {
            self.members[id].core.as_ref().is_some_and(|core| core.status().role == RoleName::Leader)
        };
        let leaders: Vec<NodeId> = self.ids.iter().copied().filter(leads).collect();
        if leaders.is_empty() { node } else { leaders[self.dice.below(leaders.len())] }
    }

    /// Asks somebody who believes to lead, or `node`.
    fn ask(&mut self, node: NodeId) -> Result<(), Violation> {
        let node = self.some_leader(node);
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
        if let Some(snapshot) = effects.store {
            self.seen.snapshots += 1;
            self.members.get_mut(&node).expect("a member").disk.store(snapshot);
        }
        if let Some(snapshot) = effects.install {
            self.install(node, &snapshot)?;
        }
        for committed in effects.committed {
            self.committed(node, committed, status.term)?;
        }
        effects
            .answers
            .into_iter()
            .try_for_each(|(request, answer)| self.answered(request, answer, status.applied))
    }

    fn install(&mut self, node: NodeId, snapshot: &Snapshot) -> Result<(), Violation> {
        self.seen.installs += 1;
        let member = self.members.get_mut(&node).expect("a member");
        let (last, state) = (snapshot.last.index, read_state(snapshot));
        if last <= member.applied || last.0 as usize > self.truth.committed.len() {
            return Err(format!("{node} goes from {:?} to a snapshot of {last:?}", member.applied));
        }
        if state != self.truth.digest(last) {
            return Err(format!("the snapshot of {last:?} that {node} installs is of another history"));
        }
        (member.applied, member.digest) = (last, state);
        Ok(())
    }

    fn committed(&mut self, node: NodeId, committed: Committed, term: Term) -> Result<(), Violation> {
        let entry = committed.entry;
        let news = self.truth.committed(&entry, term)?;
        let member = self.members.get_mut(&node).expect("a member");
        if entry.index != member.applied.next() {
            return Err(format!("{node} applies {entry:?} after {:?}", member.applied));
        }
        (member.applied, member.digest) = (entry.index, digest(member.digest, &entry));
        let core = self.members[&node].core.as_ref().expect("it has just stepped");
        if news && !core.log().members().agree(|id| self.members[&id].disk.has(&entry)) {
            return Err(format!("{entry:?} is committed, but not stored by a majority"));
        }
        if matches!(entry.payload, Payload::Members(_)) && news {
            self.seen.changes += 1;
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId, answer: Answer, applied: Index) -> Result<(), Violation> {
        match answer {
            Answer::ReadReady => self.truth.read(request, applied),
            Answer::Transferred => {
                self.seen.transfers += 1;
                Ok(())
            }
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

fn read_state(snapshot: &Snapshot) -> u64 {
    let text = std::str::from_utf8(&snapshot.state).expect("sixteen digits");
    u64::from_str_radix(text, 16).expect("sixteen digits")
}

#[test]
fn random_faults_break_no_promise() {
    let (mut leaders, mut replaced, mut reads) = (0, 0, 0);
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(seed, |_| {});
        assert_eq!(simulation.run(), Ok(()), "seed {seed}");
        let truth = simulation.truth;
        leaders += truth.leaders.len();
        replaced += truth.entries.len() - truth.committed.len();
        reads += truth.answered_reads;
        seen.add(&simulation.seen);
    }
    println!("{SEEDS} runs: {leaders} leaders, {replaced} entries replaced, {reads} reads, {seen:?}");
    let runs = SEEDS as usize;
    assert!(leaders > 5 * runs && replaced > 5 * runs && reads > 100 * runs, "the adversary is too kind");
    let Seen { crashes, snapshots, installs, changes, transfers } = seen;
    let rarest = [crashes, snapshots, installs, changes, transfers].into_iter().min();
    assert!(rarest > Some(runs), "the adversary is too kind");
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
