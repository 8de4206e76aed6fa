//! A whole cluster and its adversary, on one thread and in virtual time.

use std::collections::BTreeMap;

use super::Seen;
use super::clients::Clients;
use super::dice::Dice;
use super::disk::SimulatedDisk;
use super::member::Member;
use super::truth::{Truth, Violation};
use crate::machine::Machine;
use crate::raft::{
    Answer, Change, Committed, Config, Effects, Index, Input, Limits, Membership, Message, Millis, NodeId,
    Payload, RequestId, RoleName, Snapshot, Status,
};

const TICK_MS: u64 = 10;
const STEPS: usize = 20_000;
const HEALED_ROUNDS: usize = 400;
/// Messages on their way; further ones are lost.
const NETWORK_MESSAGES: usize = 200;
/// The states of nodes are compared at multiples of this index.
const COMPARED_INDICES: u64 = 4;
/// The power goes within so many disk operations, which is more than any write or start takes.
const MAX_OPERATIONS_LEFT: usize = 40;

/// One run.
pub(crate) struct Cluster {
    dice: Dice,
    founders: Membership,
    now: Millis,
    ids: Vec<NodeId>,
    members: BTreeMap<NodeId, Member>,
    network: Vec<(NodeId, NodeId, Message)>,
    requests: u64,
    clients: Clients,
    /// A snapshot is made after so many entries; in other runs only now and then.
    snapshot_entries: Option<u64>,
    pub(crate) truth: Truth,
    pub(crate) seen: Seen,
}

fn settings(id: NodeId) -> Config {
    let mut config = Config::new(id, Millis(20), Millis(150));
    config.limits = Limits {
        append_bytes: 200,
        inflight_messages: 3,
        chunk_bytes: 300,
        retained_entries: 3,
        promotion_lag: 5,
        ..Limits::default()
    };
    config
}

impl Cluster {
    /// A cluster of three to seven nodes, of which some wait to be added.
    pub(crate) fn new(seed: u64, adapt: impl Fn(&mut Config)) -> Result<Self, Violation> {
        let mut dice = Dice::new(seed);
        let founders = [3, 5, 4][dice.below(3)];
        let count = founders + dice.below(3);
        let ids: Vec<NodeId> = (1..=count).filter_map(|n| NodeId::new(&format!("n{n}"))).collect();
        let mut new = |&id: &NodeId| {
            let mut config = settings(id);
            adapt(&mut config);
            (id, Member::new(config, SimulatedDisk::new(dice.split())))
        };
        let mut cluster = Self {
            founders: Membership::of_voters(ids[..founders].iter().copied()),
            now: Millis(0),
            members: ids.iter().map(&mut new).collect(),
            ids,
            network: Vec::new(),
            requests: 0,
            clients: Clients::default(),
            snapshot_entries: dice.percent(50).then(|| 3 + dice.roll() % 20),
            truth: Truth::default(),
            seen: Seen::default(),
            dice,
        };
        for position in 0..count {
            cluster.start(cluster.ids[position])?;
        }
        Ok(cluster)
    }

    /// Disturbs, heals, and asks that the cluster works again and has lost nothing.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..STEPS {
            self.disturb()?;
        }
        self.heal()?;
        let before = self.truth.committed.len();
        for _ in 0..HEALED_ROUNDS {
            self.proceed()?;
        }
        self.seen.elections += self.truth.leaders.len();
        self.seen.replaced += self.truth.entries.len().saturating_sub(self.truth.committed.len());
        self.seen.reads += self.truth.answered_reads;
        if self.truth.committed.len() <= before || self.truth.answered_reads == 0 {
            return Err(format!("the healed cluster does not work:\n{}", self.describe()));
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Violation> {
        let all = Index(self.truth.committed.len() as u64);
        for member in self.members.values() {
            if let Some(process) = member.process.as_ref().filter(|process| process.applied == all) {
                self.truth.state(all, &process.machine.encode())?;
                self.truth.complete(&process.machine)?;
            }
        }
        self.clients.finish(&self.truth)
    }

    fn describe(&self) -> String {
        let line = |(id, member): (&NodeId, &Member)| match &member.process {
            Some(process) => {
                let (status, log) = (process.core.status(), process.core.log());
                format!("{id} {status:?}, {:?} since {:?}\n", log.members(), log.members_since())
            }
            None => format!("{id} is down\n"),
        };
        self.members.iter().map(line).collect()
    }

    fn disturb(&mut self) -> Result<(), Violation> {
        let node = self.any_node();
        match self.dice.below(2000) {
            0..4 => self.kill(node),
            4..7 => self.power(node),
            7 => return self.power_everywhere(),
            8 => self.fail_disk(node),
            9..26 => return self.start(node),
            26..32 => self.member(node).paused = true,
            32..56 => self.member(node).paused = false,
            56..68 => self.split(),
            68..88 => self.rejoin(),
            88..108 => return self.change(),
            108..114 => return self.transfer(),
            114..118 => return self.snapshot(node),
            118..138 => return self.finish_storing(node),
            138..250 => return self.pass_time(),
            250..700 => return self.sync(node),
            700..860 => return self.ask(node),
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

    fn member(&mut self, node: NodeId) -> &mut Member {
        self.members.get_mut(&node).expect("a member")
    }

    /// Ends a process; its page cache stays.
    fn kill(&mut self, node: NodeId) {
        self.seen.crashes += usize::from(self.member(node).kill());
    }

    /// The power goes, at once or in the middle of one of the next operations of the disk.
    fn power(&mut self, node: NodeId) {
        if self.dice.percent(70) {
            let operations = self.dice.below(MAX_OPERATIONS_LEFT);
            self.members[&node].disk.lose_power_after(operations);
        } else {
            self.lose_power(node);
        }
    }

    /// The power goes at all nodes; they start again at once.
    fn power_everywhere(&mut self) -> Result<(), Violation> {
        for position in 0..self.ids.len() {
            self.lose_power(self.ids[position]);
        }
        self.network.clear();
        (0..self.ids.len()).try_for_each(|position| self.start(self.ids[position]))
    }

    fn lose_power(&mut self, node: NodeId) {
        let member = self.member(node);
        let ran = member.kill();
        let lost = member.disk.lose_power();
        member.disk.repair();
        self.seen.crashes += usize::from(ran);
        self.seen.power_losses += 1;
        self.seen.lost_bytes += lost;
    }

    /// The next sync fails, or the disk is full until the next start.
    fn fail_disk(&mut self, node: NodeId) {
        let disk = &self.members[&node].disk;
        match self.dice.percent(50) {
            true => disk.fail_next_sync(),
            false => disk.fill_up(),
        }
    }

    /// A process whose disk failed is gone.
    fn bury(&mut self, node: NodeId) {
        if self.members[&node].process.is_some() {
            return;
        }
        match self.members[&node].disk.has_lost_power() {
            true => self.lose_power(node),
            false => self.seen.disk_errors += 1,
        }
        self.seen.crashes += 1;
    }

    fn start(&mut self, node: NodeId) -> Result<(), Violation> {
        if self.members[&node].process.is_some() {
            return Ok(());
        }
        let is_founder = self.founders.votes(node);
        let founders = if is_founder { self.founders.clone() } else { Membership::default() };
        let (now, jitter) = (self.now, self.dice.jitter());
        let member = self.member(node);
        member.disk.repair();
        member.start(&founders, now, jitter)?;
        self.bury(node);
        Ok(())
    }

    fn split(&mut self) {
        for member in self.members.values_mut() {
            member.side = self.dice.percent(50);
        }
    }

    fn rejoin(&mut self) {
        self.members.values_mut().for_each(|member| member.side = true);
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.rejoin();
        for member in self.members.values_mut() {
            member.paused = false;
            member.disk.repair();
        }
        (0..self.ids.len()).try_for_each(|position| self.start(self.ids[position]))
    }

    fn pass_time(&mut self) -> Result<(), Violation> {
        self.now.0 += TICK_MS;
        for position in 0..self.ids.len() {
            let jitter = self.dice.jitter();
            self.step(self.ids[position], Input::Tick { jitter })?;
        }
        Ok(())
    }

    /// Finishes some writes as one batch. A stopped process hears of it when it goes on, so its writes wait.
    fn sync(&mut self, node: NodeId) -> Result<(), Violation> {
        let member = &self.members[&node];
        let queued = member.queued();
        if member.paused || queued == 0 {
            return Ok(());
        }
        let writes = 1 + self.dice.below(queued);
        match self.member(node).sync(writes)? {
            Some(io) => self.step(node, Input::Persisted(io)),
            None => {
                self.bury(node);
                Ok(())
            }
        }
    }

    fn finish_storing(&mut self, node: NodeId) -> Result<(), Violation> {
        let member = self.member(node);
        if member.paused || member.process.is_none() {
            return Ok(());
        }
        match member.finish_storing()? {
            Some(last) => self.step(node, Input::Stored(last)),
            None => {
                self.bury(node);
                Ok(())
            }
        }
    }

    /// Makes a snapshot of what was applied.
    fn snapshot(&mut self, node: NodeId) -> Result<(), Violation> {
        let Some(process) = &mut self.member(node).process else {
            return Ok(());
        };
        let (applied, state) = (process.applied, process.machine.encode());
        process.snapshot_at = applied;
        self.step(node, Input::Snapshot { applied, state })
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
        let request = self.new_request();
        let leader = self.some_leader(one);
        self.step(leader, Input::Change { request, change })
    }

    fn transfer(&mut self) -> Result<(), Violation> {
        let to = self.any_node();
        let (request, leader) = (self.new_request(), self.some_leader(to));
        self.step(leader, Input::Transfer { request, to: Some(to) })
    }

    fn new_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Somebody who believes to lead, which need not be one only; else `node`.
    fn some_leader(&mut self, node: NodeId) -> NodeId {
        let leads = |id: &NodeId| {
            let process = self.members[id].process.as_ref();
            process.is_some_and(|process| process.core.status().role == RoleName::Leader)
        };
        let leaders: Vec<NodeId> = self.ids.iter().copied().filter(leads).collect();
        if leaders.is_empty() { node } else { leaders[self.dice.below(leaders.len())] }
    }

    /// Asks somebody who believes to lead, or `node`.
    fn ask(&mut self, node: NodeId) -> Result<(), Violation> {
        let node = self.some_leader(node);
        let request = self.new_request();
        if self.dice.percent(70) {
            let command = self.clients.next(request, &mut self.dice, &mut self.seen);
            #[cfg(feature = "mutants")]
            if let Some(applied) =
                self.members[&node].process.as_ref().and_then(|p| p.machine.known(&command))
            {
                return self.clients.answered(request, applied, &self.truth, &mut self.seen);
            }
            return self.step(node, Input::Propose { request, command });
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
        let now = self.now;
        let member = self.members.get_mut(&node).expect("a member");
        let paused = member.paused;
        let Some(process) = member.process.as_mut().filter(|_| !paused) else {
            return Ok(());
        };
        let effects = process.core.step(now, [input]);
        let status = process.core.status();
        if status.term < std::mem::replace(&mut member.term, status.term) {
            return Err(format!("the term of {node} decreased"));
        }
        if status.role == RoleName::Leader {
            let committed = self.truth.committed.len();
            let (term, compared) = std::mem::replace(&mut member.compared, (status.term, committed));
            let compared = if term == status.term { compared } else { 0 };
            self.truth.leads(node, status.term, process.core.log(), compared)?;
        }
        self.perform(node, effects, status)
    }

    fn perform(&mut self, node: NodeId, effects: Effects, status: Status) -> Result<(), Violation> {
        if let Some(write) = effects.persist {
            let process = self.members[&node].process.as_ref().expect("it has just stepped");
            self.truth.wrote(&write.entries, process.core.log())?;
            self.member(node).write(write);
        }
        for (to, message) in effects.messages {
            if self.network.len() < NETWORK_MESSAGES {
                self.network.push((node, to, message));
            }
        }
        if let Some(snapshot) = effects.store {
            self.seen.snapshots += 1;
            self.member(node).store(snapshot);
        }
        if let Some(snapshot) = effects.install {
            self.install(node, &snapshot)?;
        }
        for committed in effects.committed {
            self.committed(node, &committed, status)?;
        }
        effects
            .answers
            .into_iter()
            .try_for_each(|(request, answer)| self.answered(request, answer, status.applied))?;
        self.snapshot_if_due(node)
    }

    fn snapshot_if_due(&mut self, node: NodeId) -> Result<(), Violation> {
        let Some(process) = &self.members[&node].process else {
            return Ok(());
        };
        let due = |entries: u64| process.applied.0 >= process.snapshot_at.0 + entries;
        if self.snapshot_entries.is_some_and(due) { self.snapshot(node) } else { Ok(()) }
    }

    fn install(&mut self, node: NodeId, snapshot: &Snapshot) -> Result<(), Violation> {
        self.seen.installs += 1;
        let last = snapshot.last.index;
        let process = self.member(node).process.as_mut().expect("it has just stepped");
        let before = process.applied;
        let machine = Machine::decode(snapshot.state.clone()).map_err(|error| error.to_string())?;
        #[cfg(feature = "mutants")]
        let machine = machine.with_mutant(process.core.mutant());
        process.machine = machine;
        (process.applied, process.snapshot_at) = (last, last);
        if last <= before || last.0 as usize > self.truth.committed.len() {
            return Err(format!("{node} goes from {before:?} to a snapshot of {last:?}"));
        }
        self.truth.state(last, &snapshot.state)
    }

    fn committed(&mut self, node: NodeId, committed: &Committed, status: Status) -> Result<(), Violation> {
        let entry = &committed.entry;
        let news = self.truth.committed(entry, status.term)?;
        let process = self.member(node).process.as_mut().expect("it has just stepped");
        if entry.index != process.applied.next() {
            return Err(format!("{node} applies {entry:?} after {:?}", process.applied));
        }
        process.applied = entry.index;
        let result = process.machine.take(committed);
        let state = entry.index.0.is_multiple_of(COMPARED_INDICES).then(|| process.machine.encode());
        self.truth.applied(entry, result.as_ref())?;
        state.map_or(Ok(()), |state| self.truth.state(entry.index, &state))?;
        let core = &self.members[&node].process.as_ref().expect("it has just stepped").core;
        if news && !core.log().members().agree(|id| self.members[&id].durable.has(entry)) {
            return Err(format!("{entry:?} is committed, but not stored by a majority"));
        }
        if matches!(entry.payload, Payload::Members(_)) && news {
            self.seen.changes += 1;
        }
        match (committed.request, result) {
            (Some(request), Some(applied)) => {
                self.clients.answered(request, applied, &self.truth, &mut self.seen)
            }
            _ => Ok(()),
        }
    }

    fn answered(&mut self, request: RequestId, answer: Answer, applied: Index) -> Result<(), Violation> {
        match answer {
            Answer::ReadReady => return self.truth.read(request, applied),
            Answer::Transferred => self.seen.transfers += 1,
            #[cfg(feature = "mutants")]
            Answer::Appended(_) => self.clients.promised(request),
            _ => self.clients.unanswered(request),
        }
        Ok(())
    }
}
