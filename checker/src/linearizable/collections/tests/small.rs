//! Small histories of every sort against the oracle: no wrong verdict, and every proof is one.
//!
//! `COLLECTIONS_CASES` sets how many histories of each kind and sort are judged.

use super::simulate::{Random, Shape, simulate};
use super::{Act, Decision, KINDS, Kind, Op, UNKNOWN, decide, is_whole, named, oracle};

fn cases() -> u64 {
    let default = if cfg!(debug_assertions) { 2_000 } else { 25_000 };
    std::env::var("COLLECTIONS_CASES").map_or(default, |cases| cases.parse().expect("a number of cases"))
}

/// Among so many histories there are some with long proofs.
const RARE: u64 = 5_000;

#[derive(Debug, Default)]
struct Tally {
    legal: u64,
    illegal: u64,
    /// Histories without an answer, illegal ones and legal ones.
    open: [u64; 2],
    /// Proofs that name removes of unknown outcome.
    proofs_with_takers: u64,
    largest_proof: usize,
}

impl Tally {
    fn judge(&mut self, kind: Kind, ops: &[Op]) {
        let expected = oracle::is_legal(kind, ops);
        match decide(kind, ops) {
            None => self.open[usize::from(expected)] += 1,
            Some(Decision::Legal) => {
                assert!(expected, "{kind:?} is illegal: {ops:#?}");
                self.legal += 1;
            }
            Some(Decision::Illegal(proof)) => {
                assert!(!expected, "{kind:?} is legal, not illegal by {proof:?}: {ops:#?}");
                self.judge_proof(kind, ops, &proof);
                self.illegal += 1;
            }
        }
    }

    fn judge_proof(&mut self, kind: Kind, ops: &[Op], proof: &[u32]) {
        assert!(is_whole(ops, proof), "{kind:?}: {proof:?} is not whole: {ops:#?}");
        for with_takers in [false, true] {
            let named = named(ops, proof, with_takers);
            assert!(!oracle::is_legal(kind, &named), "{kind:?}: {proof:?} is no proof: {ops:#?}");
        }
        let names_taker = proof.iter().any(|id| ops[*id as usize].act == Act::Taker);
        self.proofs_with_takers += u64::from(names_taker);
        self.largest_proof = self.largest_proof.max(proof.len());
    }

    /// Enough of every sort was seen, and almost everything was decided.
    fn assert_meaningful(&self, kind: Kind) {
        println!("{kind:?}: {self:?}");
        let cases = self.legal + self.illegal + self.open[0] + self.open[1];
        assert!(self.legal > cases / 4 && self.illegal > cases / 10, "{kind:?}: {self:?}");
        let saw_long_proofs = self.proofs_with_takers > 0 && self.largest_proof > 5;
        assert!(saw_long_proofs || cases < RARE, "{kind:?}: {self:?}");
        let allowed = if kind == Kind::Stack { cases / 400 } else { 0 };
        assert!(self.open[0] + self.open[1] <= allowed, "{kind:?}: {self:?}");
    }
}

fn shape(most_operations: u64, random: &mut Random) -> Shape {
    Shape {
        operations: 3 + random.below(most_operations - 2),
        clients: 1 + random.below(4),
        longest: 1 + random.below(5),
        unknown_percent: [0, 20, 50][random.below(3) as usize],
        depth: 1 + random.below(4) as usize,
    }
}

/// Changes one thing about a history.
fn corrupt(ops: &mut Vec<Op>, random: &mut Random) {
    let [at, other] = [(); 2].map(|()| random.below(ops.len() as u64) as usize);
    let is_remove = |op: &Op| matches!(op.act, Act::Remove(_) | Act::Nothing);
    match random.below(8) {
        0..=2 if is_remove(&ops[at]) && is_remove(&ops[other]) => {
            (ops[at].act, ops[other].act) = (ops[other].act, ops[at].act);
        }
        3 if is_remove(&ops[at]) => ops[at].act = Act::Nothing,
        4 if is_remove(&ops[at]) => ops[at].act = Act::Remove(random.below(ops.len() as u64) as u32),
        5 if ops[at].end != UNKNOWN => ops[at].end = ops[at].start,
        6 if ops[at].end != UNKNOWN => {
            let length = ops[at].end - ops[at].start;
            ops[at].start = random.below(20);
            ops[at].end = ops[at].start + length;
        }
        7 if ops.len() > 1 => drop(ops.remove(at)),
        _ => {}
    }
}

/// Operations at any time, without a life that is impossible by itself.
fn scattered(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    for value in 0..2 + random.below(4) as u32 {
        let insert = scatter(Act::Insert(value), 0, random);
        ops.push(Op { end: if random.chance(10) { UNKNOWN } else { insert.end }, ..insert });
        if random.chance(75) {
            ops.push(scatter(Act::Remove(value), insert.start, random));
        }
    }
    for _ in 0..random.below(3) {
        ops.push(scatter(Act::Nothing, 0, random));
    }
    for _ in 0..random.below(6).saturating_sub(2) {
        ops.push(Op { end: UNKNOWN, ..scatter(Act::Taker, 0, random) });
    }
    ops
}

/// Inserts that are mostly concurrent, then removes that are, some of them unknown: long chains of reasons.
fn crowded(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut at = |act: Act, from: u64| {
        let start = from + random.below(8);
        ops.push(Op { act, start, end: start + random.below(6) });
        random.chance(60)
    };
    for value in 0..4 {
        if at(Act::Insert(value), 0) {
            at(Act::Remove(value), 7);
        }
    }
    for _ in 0..2 {
        at(Act::Taker, 6);
    }
    let taker = |op: Op| if op.act == Act::Taker { Op { end: UNKNOWN, ..op } } else { op };
    ops.into_iter().map(taker).collect()
}

/// An operation that does not end before some time.
fn scatter(act: Act, earliest_end: u64, random: &mut Random) -> Op {
    let end = earliest_end + random.below(14);
    Op { act, start: end.saturating_sub(random.below(8)), end }
}

/// Keeps few operations of unknown outcome, since the oracle tries all their orders.
fn limit_unknown(ops: &mut Vec<Op>) {
    let mut left = 5;
    ops.retain(|op| {
        left -= i32::from(op.end == UNKNOWN);
        op.end != UNKNOWN || left >= 0
    });
}

fn judge_simulations(most_operations: u64, cases: u64) {
    for kind in KINDS {
        let mut tally = Tally::default();
        for seed in 0..cases {
            let mut random = Random::new(seed);
            let shape = shape(most_operations, &mut random);
            let mut ops = simulate(kind, shape, &mut random);
            for _ in 0..random.below(4) {
                corrupt(&mut ops, &mut random);
            }
            limit_unknown(&mut ops);
            tally.judge(kind, &ops);
        }
        tally.assert_meaningful(kind);
    }
}

#[test]
fn decisions_about_corrupted_simulations_agree_with_the_oracle() {
    judge_simulations(9, cases());
}

#[test]
fn decisions_about_longer_corrupted_simulations_agree_with_the_oracle() {
    judge_simulations(14, cases() / 4);
}

#[test]
fn decisions_about_scattered_operations_agree_with_the_oracle() {
    for kind in KINDS {
        let mut tally = Tally::default();
        for seed in 0..cases() {
            tally.judge(kind, &scattered(&mut Random::new(seed)));
        }
        tally.assert_meaningful(kind);
    }
}

#[test]
fn decisions_about_crowded_operations_agree_with_the_oracle() {
    for kind in [Kind::Fifo, Kind::Stack] {
        let mut tally = Tally::default();
        for seed in 0..2 * cases() {
            tally.judge(kind, &crowded(&mut Random::new(seed)));
        }
        tally.assert_meaningful(kind);
    }
}
