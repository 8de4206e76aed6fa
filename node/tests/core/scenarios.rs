//! Written dialogues: `tests/scenarios/*.txt`.
//!
//! A file is a list of commands at the left margin; the indented lines below a command are what must happen. Comments start
//! with `#`. `UPDATE_SCENARIOS=1 cargo test -p node` rewrites the expectations.
//!
//! | command | meaning |
//! |---|---|
//! | `cluster 3` | three empty nodes, 1 to 3; with `one-by-one` appends carry one entry and wait for each other, with `leases` leaders read under leases |
//! | `turn-back 1 200` | somebody sets the time of day at 1; only a mutant cares |
//! | `mutant B2` | what all nodes do wrong, before `cluster`; such files are in `tests/scenarios/mutants` and need the feature |
//! | `pass 150`, `pass 150 2` | time passes at all nodes, or at one, in ticks of 10 ms |
//! | `campaign 2` | time passes at node 2 until it asks for votes |
//! | `deliver` | messages arrive and writes become durable until nothing is left |
//! | `deliver 4` | the same, but at most four messages arrive |
//! | `elect 2` | node 2 campaigns, and messages arrive until it leads |
//! | `leader 1` | node 1 gets elected and everybody knows; says nothing |
//! | `cut 1 2`, `isolate 1`, `heal` | links lose their messages, or work again |
//! | `hold 1 2`, `release 1 2` | what 1 sends to 2 waits, or arrives at last |
//! | `disk 1 slow`, `disk 1 ok` | writes of 1 stay unfinished, or are finished |
//! | `crash 1`, `restart 1` | loses what is not durable; starts from the disk |
//! | `propose 1 x=1`, `read 1` | a client's request |
//! | `log 2 1 1 4` | 2 has stored these terms' entries, and starts again |
//! | `join 4` | a node that founded nothing starts, and waits to be added |
//! | `change 1 +4 ^3 -2` | an operator asks 1 to add a learner, to let one vote, to remove a member |
//! | `transfer 1 2` | an operator asks 1 to hand leadership over to 2 |
//! | `snapshot 1` | 1 makes a snapshot of what it has applied, and keeps no entry before it |
//! | `show` | all nodes |
//!
//! A line that begins with `WRONG` says that an entry was applied where another node has applied a different one, or that a read
//! saw less than was applied somewhere when it arrived.
//!
//! Timeouts are not random here: node `n` waits 150 ms plus `n` times 18.75 ms before it asks for votes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use node::raft::{
    Answer, Change, Committed, Config, Core, Effects, Entry, HardState, Index, Input, Jitter, Limits,
    Membership, Message, Millis, NodeId, Payload, Persist, RequestId, RoleName, Term,
};

use crate::describe;
use crate::disk::{Disk, Recovered};

const TICK_MS: u64 = 10;
const JITTER_STEP: u16 = 0x2000;
/// More deliveries than any sensible dialogue has.
const MAX_DELIVERIES: usize = 1_000;

#[derive(Debug)]
struct Member {
    core: Option<Core>,
    disk: Disk,
    slow_disk: bool,
    now: Millis,
    role: RoleName,
}

#[derive(Debug, Default)]
struct World {
    members: BTreeMap<u16, Member>,
    network: VecDeque<(u16, u16, Message)>,
    cut: BTreeSet<(u16, u16)>,
    held: BTreeSet<(u16, u16)>,
    founders: BTreeSet<u16>,
    requests: u64,
    limits: Limits,
    lease_reads: bool,
    #[cfg(feature = "mutants")]
    mutant: Option<node::Mutant>,
    /// What was applied first at each index.
    applied: BTreeMap<Index, Entry>,
    /// How much was applied anywhere when a read arrived.
    reads: BTreeMap<RequestId, Index>,
    output: String,
}

/// Nothing is kept beside a snapshot, which comes in small parts.
const LIMITS: Limits = Limits { retained_entries: 0, chunk_bytes: 16, promotion_lag: 1, ..Limits::DEFAULT };

fn id(number: u16) -> NodeId {
    NodeId::new(&number.to_string()).expect("a number is a legal name")
}

fn number(id: NodeId) -> u16 {
    id.as_str().parse().expect("names are numbers here")
}

impl World {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let node = |at: usize| -> u16 { words[at].parse().expect("a node number") };
        match (words[0], words.len()) {
            ("cluster", 2) => self.create(node(1)),
            ("pass", 2) => self.each(|world, member| world.pass(member, u64::from(node(1)))),
            ("pass", 3) => self.pass(node(2), u64::from(node(1))),
            ("campaign", 2) => self.campaign(node(1)),
            ("cluster", 3) => {
                self.lease_reads = words[2] == "leases";
                if words[2] == "one-by-one" {
                    self.limits = Limits { append_bytes: 1, inflight_messages: 1, ..self.limits };
                }
                self.create(node(1));
                if self.lease_reads {
                    // The promises of those who have just started are over.
                    self.each(|world, member| world.pass(member, 150));
                }
            }
            #[cfg(feature = "mutants")]
            ("turn-back", 3) => self.member(node(1)).now.0 -= u64::from(node(2)),
            #[cfg(feature = "mutants")]
            ("mutant", 2) => self.mutant = Some(node::Mutant::parse(words[1]).expect("a catalogued id")),
            ("deliver", 1) => self.deliver(MAX_DELIVERIES),
            ("deliver", 2) => self.deliver(usize::from(node(1))),
            ("elect", 2) => self.elect(node(1)),
            ("leader", 2) => self.lead_quietly(node(1)),
            ("cut", 3) => self.cut_link(node(1), node(2)),
            ("isolate", 2) => self.each(|world, member| world.cut_link(node(1), member)),
            ("heal", 1) => self.cut.clear(),
            ("hold", 3) => drop(self.held.insert((node(1), node(2)))),
            ("release", 3) => drop(self.held.remove(&(node(1), node(2)))),
            ("disk", 3) => self.member(node(1)).slow_disk = words[2] == "slow",
            ("crash", 2) => self.crash(node(1)),
            ("restart", 2) => self.restart(node(1)),
            ("propose", 3) => self.propose(node(1), words[2]),
            ("read", 2) => self.read(node(1)),
            ("log", 3..) => {
                self.start_with(node(1), words[2..].iter().map(|term| term.parse().expect("a term")))
            }
            ("show", 1) => self.show(),
            ("join", 2) => self.join(node(1)),
            ("change", 3..) => self.change(node(1), &words[2..]),
            ("transfer", 3) => self.transfer(node(1), node(2)),
            ("snapshot", 2) => self.snapshot(node(1)),
            _ => panic!("unknown command: {command}"),
        }
        std::mem::take(&mut self.output)
    }

    /// Whether a node came later and founded nothing.
    fn joins(&self, number: u16) -> bool {
        !self.founders.contains(&number)
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, u16)) {
        let numbers: Vec<u16> = self.members.keys().copied().collect();
        for number in numbers {
            act(self, number);
        }
    }

    fn member(&mut self, number: u16) -> &mut Member {
        self.members.get_mut(&number).expect("a node of the cluster")
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.output, "  {line}").expect("strings take everything");
    }

    fn create(&mut self, count: u16) {
        self.founders = (1..=count).collect();
        (1..=count).for_each(|number| self.join(number));
    }

    fn join(&mut self, number: u16) {
        let disk = Disk::default();
        let now = self.members.values().map(|member| member.now).max().unwrap_or_default();
        let member = Member { core: None, disk, slow_disk: false, now, role: RoleName::Follower };
        self.members.insert(number, member);
        self.restart(number);
    }

    /// `+4` adds a learner, `^4` makes it a voter, `-4` removes a member.
    fn change(&mut self, number: u16, words: &[&str]) {
        let mut change = Change::default();
        for word in words {
            let (sign, whom) = word.split_at(1);
            let whom = id(whom.parse().expect("a node number"));
            match sign {
                "+" => drop(change.add.insert(whom, None)),
                "^" => drop(change.promote.insert(whom)),
                "-" => drop(change.remove.insert(whom)),
                _ => panic!("no change: {word}"),
            }
        }
        self.requests += 1;
        self.step(number, Input::Change { request: RequestId(self.requests), change });
    }

    fn transfer(&mut self, number: u16, to: u16) {
        self.requests += 1;
        self.step(number, Input::Transfer { request: RequestId(self.requests), to: Some(id(to)) });
    }

    /// Makes a snapshot of everything that was applied; the state is a text of its own.
    fn snapshot(&mut self, number: u16) {
        let core = self.member(number).core.as_ref().expect("a node that runs");
        let applied = core.status().applied;
        let state = format!("everything up to {}", applied.0).into();
        self.step(number, Input::Snapshot { applied, state });
    }

    fn restart(&mut self, number: u16) {
        let founders =
            Membership::of_voters(self.founders.iter().copied().filter(|_| !self.joins(number)).map(id));
        let config = Config {
            limits: self.limits,
            lease_reads: self.lease_reads,
            #[cfg(feature = "mutants")]
            mutant: self.mutant,
            ..Config::new(id(number), Millis(20), Millis(150))
        };
        let member = self.member(number);
        let Recovered { hard_state, log, snapshot } = member.disk.recover(&founders);
        let jitter = Jitter(number * JITTER_STEP);
        member.core = Some(Core::new(config, hard_state, log, snapshot, member.now, jitter));
        member.role = RoleName::Follower;
    }

    fn start_with(&mut self, number: u16, terms: impl Iterator<Item = u64>) {
        let entry =
            |(before, term)| Entry { index: Index(before + 1), term: Term(term), payload: Payload::Noop };
        let entries: Vec<Entry> = (0_u64..).zip(terms).map(entry).collect();
        let term = entries.last().expect("a term").term;
        let hard_state = Some(HardState { term, vote: None });
        let disk = &mut self.member(number).disk;
        disk.write(Persist { hard_state, entries, ..Persist::default() });
        disk.sync_one();
        self.restart(number);
    }

    fn crash(&mut self, number: u16) {
        let member = self.member(number);
        member.core = None;
        member.disk.crash();
        self.network.retain(|(_, to, _)| *to != number);
    }

    fn cut_link(&mut self, one: u16, other: u16) {
        self.cut.extend([(one, other), (other, one)]);
    }

    fn pass(&mut self, number: u16, duration_ms: u64) {
        for _ in 0..duration_ms / TICK_MS {
            self.member(number).now.0 += TICK_MS;
            self.step(number, Input::Tick { jitter: Jitter(number * JITTER_STEP) });
        }
    }

    fn campaign(&mut self, number: u16) {
        while self.members[&number].role == RoleName::Follower {
            self.pass(number, TICK_MS);
        }
    }

    fn lead_quietly(&mut self, number: u16) {
        self.elect(number);
        self.deliver(MAX_DELIVERIES);
        self.pass(number, 2 * TICK_MS);
        self.deliver(MAX_DELIVERIES);
        self.output.clear();
    }

    fn propose(&mut self, number: u16, command: &str) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(number, Input::Propose { request, command: command.to_owned().into() });
    }

    fn read(&mut self, number: u16) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.reads.extend(self.applied.last_key_value().map(|(&last, _)| (request, last)));
        self.step(number, Input::Read { request });
    }

    /// Syncs and delivers, oldest first, until nothing moves or `limit` messages have arrived.
    fn deliver(&mut self, limit: usize) {
        for _ in 0..limit {
            while self.sync_one() {}
            if !self.deliver_one() {
                return;
            }
        }
        assert!(limit < MAX_DELIVERIES, "the dialogue does not end");
    }

    /// A node that learns of a later term asks again in that term.
    fn elect(&mut self, number: u16) {
        for _ in 0..MAX_DELIVERIES {
            if self.members[&number].role == RoleName::Leader {
                return;
            }
            self.campaign(number);
            self.deliver(1);
        }
        panic!("{number} is not elected");
    }

    fn sync_one(&mut self) -> bool {
        let numbers: Vec<u16> = self.members.keys().copied().collect();
        for number in numbers {
            let member = self.member(number);
            if !member.slow_disk
                && let Some(io) = member.disk.sync_one()
            {
                self.step(number, Input::Persisted(io));
                return true;
            }
            let member = self.member(number);
            if !member.slow_disk
                && let Some(last) = member.disk.finish_storing()
            {
                self.say(format_args!("{number} has stored a snapshot of {}", describe::position(last)));
                self.step(number, Input::Stored(last));
                return true;
            }
        }
        false
    }

    /// Lets the oldest message arrive that nothing holds up; messages on cut links and to dead nodes are lost.
    fn deliver_one(&mut self) -> bool {
        let free = |(from, to, _): &(u16, u16, Message)| !self.held.contains(&(*from, *to));
        let Some(position) = self.network.iter().position(free) else {
            return false;
        };
        let (from, to, message) = self.network.remove(position).expect("the position was just found");
        if self.cut.contains(&(from, to)) || self.members[&to].core.is_none() {
            return self.deliver_one();
        }
        self.say(format_args!("{from} -> {to} {}", describe::message(&message)));
        self.step(to, Input::Receive { from: id(from), message });
        true
    }

    fn step(&mut self, number: u16, input: Input) {
        let member = self.member(number);
        let Some(core) = &mut member.core else {
            return;
        };
        let effects = core.step(member.now, [input]);
        let status = core.status();
        if std::mem::replace(&mut member.role, status.role) != status.role {
            self.say(format_args!("{number} becomes {:?} in term {}", status.role, status.term.0));
        }
        self.perform(number, effects, status.applied);
    }

    fn perform(&mut self, number: u16, effects: Effects, applied: Index) {
        if let Some(write) = effects.persist {
            self.member(number).disk.write(write);
        }
        if let Some(snapshot) = effects.store {
            self.member(number).disk.store(snapshot);
        }
        if let Some(snapshot) = effects.install {
            let state = String::from_utf8_lossy(&snapshot.state).into_owned();
            self.say(format_args!("{number} goes on from `{state}`"));
        }
        for (to, message) in effects.messages {
            self.network.push_back((number, crate::scenarios::number(to), message));
        }
        for Committed { entry, request } in effects.committed {
            let whose = request.map_or(String::new(), |request| format!(" of request {}", request.0));
            self.say(format_args!("{number} applies {}{whose}", describe::entry(&entry)));
            let first = self.applied.entry(entry.index).or_insert_with(|| entry.clone()).clone();
            if first != entry {
                self.say(format_args!("WRONG: another node has applied {}", describe::entry(&first)));
            }
        }
        for (request, answer) in effects.answers {
            self.say(format_args!("{number} answers request {}: {answer:?}", request.0));
            let due = self.reads.get(&request).copied().unwrap_or_default();
            if answer == Answer::ReadReady && applied < due {
                self.say(format_args!("WRONG: another node had applied {} entries when it was asked", due.0));
            }
        }
    }

    fn show(&mut self) {
        self.each(|world, number| {
            let line = match &world.member(number).core {
                Some(core) => describe::node(core),
                None => "down".to_owned(),
            };
            world.say(format_args!("{number} {line}"));
        });
    }
}

/// The file with its expectations replaced by what happens.
fn replay(text: &str) -> String {
    let mut world = World { limits: LIMITS, ..World::default() };
    let mut replayed = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        replayed.push_str(line);
        replayed.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            replayed.push_str(&world.run(line));
        }
    }
    replayed
}

/// Replays all files of a folder; their texts.
fn replay_all(folder: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(directory).expect("the scenarios are there");
    let paths = files.map(|file| file.expect("a readable directory").path());
    paths.filter(|path| path.is_file()).map(|path| replay_file(&path)).collect()
}

fn replay_file(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a readable scenario");
    let replayed = replay(&text);
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        std::fs::write(path, &replayed).expect("a writable scenario");
    } else if let Some((written, happened)) = text.lines().zip(replayed.lines()).find(|(a, b)| a != b) {
        panic!(
            "{}:\n  written:  {written}\n  happened: {happened}\n\nall of it:\n{replayed}",
            path.display()
        );
    } else {
        assert_eq!(text, replayed, "{}", path.display());
    }
    replayed
}

#[test]
fn written_scenarios_happen_as_written() {
    let replayed = replay_all("tests/scenarios");
    assert!(replayed.len() >= 7, "only {} scenarios found", replayed.len());
    let wrong = replayed.iter().filter(|text| text.contains("\n  WRONG")).count();
    assert_eq!(wrong, 1, "clocks beyond the bound of leases, and nothing else");
}

/// What random faults hardly meet is shown step by step.
#[cfg(feature = "mutants")]
#[test]
fn written_mistakes_of_mutants_happen_as_written() {
    let replayed = replay_all("tests/scenarios/mutants");
    assert!(replayed.len() >= 2, "only {} scenarios found", replayed.len());
    assert!(replayed.iter().all(|text| text.contains("\n  WRONG")));
}
