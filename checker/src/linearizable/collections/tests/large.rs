//! What must hold for histories of any size: legal ones stay legal when they are relaxed, a violation is found, and a few
//! operations prove it.

use super::simulate::{Random, Shape, simulate};
use super::{Act, Decision, KINDS, Kind, Op, UNKNOWN, decide, is_whole, named, oracle};

const SIZES: [u64; 2] = [1_000, if cfg!(debug_assertions) { 5_000 } else { 100_000 }];

fn shape(operations: u64, unknown_percent: u64, depth: usize) -> Shape {
    Shape { operations, clients: 8, longest: 20, unknown_percent, depth }
}

/// Legal histories of several sizes, depths and shares of unknown outcomes.
fn histories(kind: Kind, unknown_percents: &[u64]) -> Vec<(Vec<Op>, Random)> {
    let mut histories = Vec::new();
    for operations in SIZES {
        for depth in [0, 3, 50, usize::MAX] {
            for unknown_percent in unknown_percents {
                let mut random = Random::new(operations + unknown_percent);
                let ops = simulate(kind, shape(operations, *unknown_percent, depth), &mut random);
                histories.push((ops, random));
            }
        }
    }
    histories
}

fn widened(ops: &[Op], random: &mut Random) -> Vec<Op> {
    let mut widen = |op: &Op| Op {
        act: op.act,
        start: op.start.saturating_sub(random.below(30)),
        end: op.end.saturating_add(random.below(30)),
    };
    ops.iter().map(&mut widen).collect()
}

/// Without some of the values and some of the removes that found nothing.
fn thinned(ops: &[Op], random: &mut Random) -> Vec<Op> {
    let salt = random.below(1 << 20);
    let stays = |op: &&Op| match op.act {
        Act::Insert(value) | Act::Remove(value) => !(u64::from(value) ^ salt).is_multiple_of(3),
        Act::Nothing => op.start % 2 == salt % 2,
        Act::Taker => true,
    };
    ops.iter().filter(stays).copied().collect()
}

/// A history, and when it is over the same one again with other values.
fn repeated(ops: &[Op]) -> Vec<Op> {
    let values = u32::try_from(ops.len()).expect("few operations");
    let later = 1 + ops.iter().map(|op| op.end).filter(|end| *end != UNKNOWN).max().unwrap_or(0);
    let again = ops.iter().map(|op| Op {
        act: match op.act {
            Act::Insert(value) => Act::Insert(value + values),
            Act::Remove(value) => Act::Remove(value + values),
            act => act,
        },
        start: op.start + later,
        end: op.end.saturating_add(later),
    });
    ops.iter().copied().chain(again).collect()
}

/// Everything that is left in the end is removed at the same time.
fn emptied(ops: &[Op], rest: &[u32]) -> Vec<Op> {
    let end = ops.iter().map(|op| op.end).filter(|end| *end != UNKNOWN).max().unwrap_or(0);
    let removes = rest.iter().map(|value| Op { act: Act::Remove(*value), start: end + 1, end: end + 2 });
    ops.iter().copied().chain(removes).collect()
}

/// The values that were certainly inserted and not removed.
fn rest(ops: &[Op]) -> Vec<u32> {
    let mut is_left = vec![false; ops.len()];
    for op in ops {
        match op.act {
            Act::Insert(value) => is_left[value as usize] |= op.end != UNKNOWN,
            Act::Remove(value) => is_left[value as usize] = false,
            Act::Nothing | Act::Taker => {}
        }
    }
    (0..).zip(is_left).filter(|(_, is_left)| *is_left).map(|(value, _)| value).collect()
}

#[test]
fn legal_histories_stay_legal_when_they_are_relaxed() {
    for kind in KINDS {
        for (ops, mut random) in histories(kind, &[0]) {
            let emptied = emptied(&ops, &rest(&ops));
            let relaxed = [
                ops.clone(),
                widened(&ops, &mut random),
                thinned(&ops, &mut random),
                repeated(&emptied),
                widened(&repeated(&emptied), &mut random),
            ];
            for ops in relaxed {
                assert_eq!(decide(kind, &ops), Some(Decision::Legal), "{kind:?}, {} operations", ops.len());
            }
        }
    }
}

#[test]
fn unknown_outcomes_of_legal_histories_are_resolved() {
    for kind in KINDS {
        for (ops, mut random) in histories(kind, &[1, 5, 20]) {
            for ops in [widened(&ops, &mut random), ops] {
                assert_eq!(decide(kind, &ops), Some(Decision::Legal), "{kind:?}, {} operations", ops.len());
            }
        }
    }
}

/// The proof is whole, small enough to read, and a violation by itself.
fn assert_proven(kind: Kind, ops: &[Op], most: usize) {
    let decision = decide(kind, ops);
    let Some(Decision::Illegal(proof)) = decision else { panic!("{kind:?} is {decision:?}") };
    assert!(proof.len() <= most, "{kind:?}: {proof:?}");
    assert!(is_whole(ops, &proof), "{kind:?}: {proof:?}");
    assert!(!oracle::is_legal(kind, &named(ops, &proof, false)), "{kind:?}: {proof:?}");
}

/// The positions of the inserts by value.
fn inserts(ops: &[Op]) -> Vec<usize> {
    let mut inserts = vec![0; ops.len()];
    for (at, op) in ops.iter().enumerate() {
        if let Act::Insert(value) = op.act {
            inserts[value as usize] = at;
        }
    }
    inserts
}

/// Swaps what two removes returned so that the order of the collection is broken for certain. They are looked for from
/// 60 % of the history on.
fn swap_two_removes(kind: Kind, ops: &mut [Op]) -> bool {
    let inserts = inserts(ops);
    let removes: Vec<(usize, u32)> = (ops.len() * 6 / 10..ops.len())
        .filter_map(|at| if let Act::Remove(value) = ops[at].act { Some((at, value)) } else { None })
        .collect();
    let ends_before = |at: usize, other: usize| ops[at].end < ops[other].start;
    let is_swappable = |(early, one): (usize, u32), (late, other): (usize, u32)| {
        let (one, other) = (inserts[one as usize], inserts[other as usize]);
        let are_in_order = match kind {
            Kind::Fifo => ends_before(one, other),
            Kind::Stack => ends_before(other, one) && ends_before(one, early),
            Kind::Bag => false,
        };
        are_in_order && ends_before(early, late)
    };
    let pairs = removes
        .iter()
        .enumerate()
        .flat_map(|(at, early)| removes[at + 1..].iter().take(50).map(move |late| (*early, *late)));
    let Some(((early, one), (late, other))) =
        pairs.into_iter().find(|(one, other)| is_swappable(*one, *other))
    else {
        return false;
    };
    (ops[early].act, ops[late].act) = (Act::Remove(other), Act::Remove(one));
    true
}

#[test]
fn two_removes_out_of_order_are_found_and_proven_by_four_operations() {
    for kind in [Kind::Fifo, Kind::Stack] {
        let mut swapped = 0;
        for (mut ops, mut random) in histories(kind, &[0]) {
            if !swap_two_removes(kind, &mut ops) {
                continue;
            }
            swapped += 1;
            let most = if kind == Kind::Fifo { 4 } else { 8 };
            assert_proven(kind, &ops, most);
            assert_proven(kind, &repeated(&ops), most);
            let unrelated = thinned_around(kind, &ops, &mut random);
            assert_proven(kind, &unrelated, most);
        }
        assert!(swapped >= 5, "{kind:?}: {swapped}");
    }
}

/// Without some of the values, but with those of the proof.
fn thinned_around(kind: Kind, ops: &[Op], random: &mut Random) -> Vec<Op> {
    let Some(Decision::Illegal(proof)) = decide(kind, ops) else { panic!("{kind:?} is legal") };
    let kept = named(ops, &proof, false);
    thinned(ops, random).into_iter().filter(|op| !kept.contains(op)).chain(kept.clone()).collect()
}

#[test]
fn a_remove_that_found_nothing_while_there_was_something_is_found() {
    for kind in KINDS {
        for (mut ops, _) in histories(kind, &[0]) {
            let inserts = inserts(&ops);
            let middle = ops.len() / 2;
            let stay = ops[middle..].iter().find_map(|op| match op.act {
                Act::Remove(value) => {
                    let pushed = ops[inserts[value as usize]].end;
                    (pushed + 2 < op.start).then_some((pushed, op.start))
                }
                _ => None,
            });
            let Some((pushed, popped)) = stay else { continue };
            ops.push(Op { act: Act::Nothing, start: pushed + 1, end: popped - 1 });
            assert_proven(kind, &ops, 3);
        }
    }
}

#[test]
fn a_value_delivered_twice_is_found_whatever_is_unknown() {
    for kind in KINDS {
        for (mut ops, _) in histories(kind, &[0, 5]) {
            let middle = ops.len() / 2;
            let remove = ops[middle..].iter().find(|op| matches!(op.act, Act::Remove(_)));
            ops.extend(remove.copied());
            assert_proven(kind, &ops, 3);
        }
    }
}

#[test]
fn a_deep_stack_is_decided_without_recursion_over_its_depth() {
    let depth: u32 = if cfg!(debug_assertions) { 20_000 } else { 500_000 };
    let push = |value: u32| {
        let start = 3 * u64::from(value);
        Op { act: Act::Insert(value), start, end: start + 4 }
    };
    let pop = |value: u32| {
        let start = 3 * u64::from(2 * depth - value);
        Op { act: Act::Remove(value), start, end: start + 4 }
    };
    let mut ops: Vec<Op> = (0..depth).flat_map(|value| [push(value), pop(value)]).collect();
    assert_eq!(decide(Kind::Stack, &ops), Some(Decision::Legal));
    let (bottom, above) = (depth as usize / 2, depth as usize / 2 + 10);
    (ops[bottom + 1].act, ops[above + 1].act) = (ops[above + 1].act, ops[bottom + 1].act);
    assert_proven(Kind::Stack, &ops, 8);
}
