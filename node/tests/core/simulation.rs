//! A seeded adversary against whole clusters, with the properties of Raft, figure 3, checked after every step.
//!
//! The network loses, duplicates, delays and reorders messages and splits; nodes stop, go on, crash and lose what they had
//! not synced; they make snapshots, come, and go, and leaders hand over. The same seed gives the same run. At the end everything heals and the cluster must work
//! again (`liveness`).

mod leases;
mod liveness;
#[cfg(feature = "mutants")]
mod mutants;

use std::collections::BTreeMap;

use node::raft::{
    Answer, Change, Committed, Config, Core, Effects, Entry, Index, Input, Jitter, Limits, Log, Membership,
    Message, Millis, NodeId, Payload, RequestId, RoleName, Snapshot, Status, Term,
};

use crate::describe;
use crate::disk::{Disk, Recovered};
use crate::truth::{Truth, Violation, digest};

use self::leases::Clocks;

const TICK_MS: u64 = 10;
const SEEDS: u64 = 1000;
const STEPS: usize = 30_000;
/// Messages on their way; further ones are lost.
const NETWORK_MESSAGES: usize = 200;
/// What waits for a stopped node; more is lost.
const INBOX_INPUTS: usize = 50;

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
    /// What arrived while it was stopped; a process that goes on finds it in its sockets.
    inbox: Vec<Input>,
    clocks: Clocks,
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
    /// Messages between the sides of a split that holds them up; others lose them.
    held: Vec<(NodeId, NodeId, Message)>,
    split_holds: bool,
    requests: u64,
    /// Whether stops and splits last, rather than come and go.
    faults_last: bool,
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
    acknowledged: usize,
    /// Reads that were answered in the step in which they arrived.
    reads_at_once: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.installs += other.installs;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.acknowledged += other.acknowledged;
        self.reads_at_once += other.reads_at_once;
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
            inbox: Vec::new(),
            clocks: Clocks::default(),
            term: Term(0),
            applied: Index(0),
            digest: 0,
        };
        let faults_last = dice.percent(50);
        let mut simulation = Self {
            dice,
            faults_last,
            config,
            founders: Membership::of_voters(ids[..founders].iter().copied()),
            now: Millis(0),
            members: ids.iter().map(|&id| (id, new())).collect(),
            ids,
            network: Vec::new(),
            held: Vec::new(),
            split_holds: false,
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
        self.recover()
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
            13..25 if self.ends() => return self.go_on(node),
            25..31 => self.split(),
            31..41 if self.ends() => self.rejoin(),
            13..41 => {}
            41..51 => return self.change(),
            51..54 => return self.transfer(),
            54..59 => return self.snapshot(node),
            59..64 => return self.finish_storing(node),
            64..65 if self.dice.percent(20) => self.set_time_of_day(node),
            64..120 => return self.pass_time(),
            120..350 => return self.sync(node),
            350..420 => return self.ask(node),
            _ => return self.arrive(),
        }
        Ok(())
    }

    /// One fair round: time passes, everything is synced, everything arrives, clients ask.
    fn proceed(&mut self) -> Result<(), Violation> {
        self.let_arrive()?;
        let node = self.any_node();
        self.ask(node)
    }

    fn let_arrive(&mut self) -> Result<(), Violation> {
        self.pass_time()?;
        for position in 0..self.ids.len() {
            self.sync(self.ids[position])?;
            self.finish_storing(self.ids[position])?;
        }
        for _ in 0..self.network.len() {
            self.arrive()?;
        }
        Ok(())
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
        member.inbox.clear();
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
            let (jitter, now) = (self.dice.jitter(), self.clock(node));
            let core = Core::new(config, hard_state, log, snapshot, now, jitter);
            self.members.get_mut(&node).expect("a member").core = Some(core);
        }
    }

    fn go_on(&mut self, node: NodeId) -> Result<(), Violation> {
        let member = self.members.get_mut(&node).expect("a member");
        member.paused = false;
        std::mem::take(&mut member.inbox).into_iter().try_for_each(|input| self.step(node, input))
    }

    /// Whether a stop or a split ends that could: where they last, leaders are replaced while they are away.
    fn ends(&mut self) -> bool {
        !self.faults_last || self.dice.percent(25)
    }

    fn split(&mut self) {
        self.rejoin();
        self.split_holds = self.dice.percent(50);
        for member in self.members.values_mut() {
            member.side = self.dice.percent(50);
        }
    }

    fn rejoin(&mut self) {
        self.members.values_mut().for_each(|member| member.side = true);
        self.network.append(&mut self.held);
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.rejoin();
        for position in 0..self.ids.len() {
            self.go_on(self.ids[position])?;
            self.restart(self.ids[position]);
        }
        Ok(())
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
        self.ask_to_read(node, request)
    }

    fn ask_to_read(&mut self, node: NodeId, request: RequestId) -> Result<(), Violation> {
        let answered = self.truth.answered_reads;
        self.truth.reads.insert(request, self.truth.committed.len());
        self.step(node, Input::Read { request })?;
        self.seen.reads_at_once += self.truth.answered_reads - answered;
        Ok(())
    }

    /// Any message on its way arrives, or is lost, or arrives twice.
    fn arrive(&mut self) -> Result<(), Violation> {
        if self.network.is_empty() {
            return Ok(());
        }
        let position = self.dice.below(self.network.len());
        let (from, to, message) = self.network.swap_remove(position);
        if self.members[&from].side != self.members[&to].side {
            if self.split_holds && self.held.len() < NETWORK_MESSAGES {
                self.held.push((from, to, message));
            }
            return Ok(());
        }
        if self.dice.percent(3) {
            return Ok(());
        }
        if self.dice.percent(3) {
            self.network.push((from, to, message.clone()));
        }
        self.step(to, Input::Receive { from, message })
    }

    fn step(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let now = self.clock(node);
        let member = self.members.get_mut(&node).expect("a member");
        let Some(core) = &mut member.core else {
            return Ok(());
        };
        if member.paused {
            if !matches!(input, Input::Tick { .. }) && member.inbox.len() < INBOX_INPUTS {
                member.inbox.push(input);
            }
            return Ok(());
        }
        let effects = core.step(now, [input]);
        let status = core.status();
        if status.term < std::mem::replace(&mut member.term, status.term) {
            return Err(format!("the term of {node} decreased"));
        }
        if status.role == RoleName::Leader {
            let votes = |id| self.members[&id].disk.may_have_voted_for(node, status.term);
            let log = self.members[&node].core.as_ref().expect("it has just stepped").log();
            if !self.truth.leaders.contains_key(&status.term) && !log.members().agree(votes) {
                return Err(format!("{node} leads {:?} without the votes of a majority", status.term));
            }
            self.truth.leads(node, status.term, log)?;
        }
        self.perform(node, effects, status)
    }

    fn perform(&mut self, node: NodeId, effects: Effects, status: Status) -> Result<(), Violation> {
        if let Some(write) = effects.persist {
            let core = self.members[&node].core.as_ref().expect("it has just stepped");
            self.truth.wrote(&write.entries, core.log())?;
            if write.truncate_from.is_some() {
                counts_whom_its_log_names(node, core.log())?;
            }
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
        if let (Some(request), Payload::Command(command)) = (committed.request, &entry.payload) {
            self.seen.acknowledged += 1;
            if *command != request.0.to_string() {
                return Err(format!("{request:?} is acknowledged by {entry:?} of somebody else"));
            }
        }
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

/// The members that count are those of the last entry that names some (Raft, section 6), also after entries were taken back.
fn counts_whom_its_log_names(node: NodeId, log: &Log) -> Result<(), Violation> {
    let kept = (log.base().index.0 + 1..=log.last_index().0).rev();
    let names = |entry: &&Entry| matches!(entry.payload, Payload::Members(_));
    let last = kept.filter_map(|index| log.get(Index(index))).find(names);
    let agrees = match last.map(|entry| (entry.index, &entry.payload)) {
        Some((index, Payload::Members(members))) => log.members_since() == index && log.members() == members,
        _ => log.members_since() <= log.base().index,
    };
    if agrees { Ok(()) } else { Err(format!("{node} counts members that its log does not name")) }
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
    let Seen { crashes, snapshots, installs, changes, transfers, .. } = seen;
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
