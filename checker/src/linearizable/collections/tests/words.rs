//! Histories that a person would think of, one rule each.

use super::{Act, Collection, Decision, Interval, KINDS, Kind, Op, Stopped, UNKNOWN, decide};

fn insert(value: u32, start: u64, end: u64) -> Op {
    Op { act: Act::Insert(value), start, end }
}

fn remove(value: u32, start: u64, end: u64) -> Op {
    Op { act: Act::Remove(value), start, end }
}

fn nothing(start: u64, end: u64) -> Op {
    Op { act: Act::Nothing, start, end }
}

fn taker(start: u64) -> Op {
    Op { act: Act::Taker, start, end: UNKNOWN }
}

fn illegal(ids: &[u32]) -> Option<Decision> {
    Some(Decision::Illegal(ids.to_vec()))
}

const LEGAL: Option<Decision> = Some(Decision::Legal);
const OPEN: Option<Decision> = None;

#[test]
fn nothing_at_all_is_legal() {
    assert_eq!(KINDS.map(|kind| decide(kind, &[])), [LEGAL; 3]);
}

#[test]
fn a_value_that_was_never_inserted_may_not_be_removed() {
    let ops = [insert(0, 1, 2), remove(7, 3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), KINDS.map(|_| illegal(&[1])));
}

#[test]
fn a_value_may_not_be_removed_before_its_insert_began() {
    let ops = [remove(0, 1, 2), insert(0, 3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), KINDS.map(|_| illegal(&[0, 1])));
    let concurrent = [remove(0, 1, 3), insert(0, 3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &concurrent)), [LEGAL; 3]);
}

#[test]
fn a_value_may_not_be_removed_twice() {
    let ops = [insert(0, 1, UNKNOWN), remove(0, 3, 4), insert(1, 2, 3), remove(0, 5, 6)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), KINDS.map(|_| illegal(&[0, 1, 3])));
}

#[test]
fn a_value_inserted_twice_is_not_decided() {
    let ops = [insert(0, 1, 2), insert(0, 3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), [OPEN; 3]);
}

#[test]
fn a_known_value_may_leave_at_an_unknown_time_but_that_is_not_decided() {
    let ops = [insert(0, 1, 2), remove(0, 3, UNKNOWN)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), [OPEN; 3]);
}

#[test]
fn the_order_of_two_values_tells_queues_and_stacks_apart() {
    let begin = [insert(0, 1, 2), insert(1, 3, 4)];
    let first_out_first = [begin[0], begin[1], remove(0, 5, 6), remove(1, 7, 8)];
    let last_out_first = [begin[0], begin[1], remove(1, 5, 6), remove(0, 7, 8)];
    let everything = illegal(&[0, 1, 2, 3]);
    assert_eq!(KINDS.map(|kind| decide(kind, &first_out_first)), [LEGAL, LEGAL, everything.clone()]);
    assert_eq!(KINDS.map(|kind| decide(kind, &last_out_first)), [everything, LEGAL, LEGAL]);
}

#[test]
fn a_queue_may_not_forget_a_value() {
    let ops = [insert(0, 1, 2), insert(1, 3, 4), remove(1, 5, 6)];
    assert_eq!(decide(Kind::Fifo, &ops), illegal(&[0, 1, 2]));
    let mut ops = ops.to_vec();
    ops.push(taker(6));
    assert_eq!(decide(Kind::Fifo, &ops), LEGAL, "a dequeue of unknown outcome may have taken it");
    ops[3].start = 7;
    assert_eq!(decide(Kind::Fifo, &ops), illegal(&[0, 1, 2]), "one that began too late may not");
}

#[test]
fn takers_can_only_take_as_many_values_as_there_are_of_them() {
    let ops = [
        insert(0, 1, 2),
        insert(1, 3, 4),
        insert(2, 5, 6),
        taker(1),
        insert(3, 1, 9),
        remove(2, 10, 11),
        taker(12),
    ];
    assert_eq!(decide(Kind::Fifo, &ops), illegal(&[0, 1, 2, 3, 5]));
    let stack = [insert(0, 1, 2), insert(1, 3, 4), insert(2, 5, 6), taker(1), remove(0, 10, 11)];
    assert_eq!(decide(Kind::Stack, &stack), illegal(&[0, 1, 2, 3, 4]));
    assert_eq!(decide(Kind::Bag, &stack), LEGAL);
}

#[test]
fn a_taker_that_begins_when_a_value_must_be_gone_is_in_time() {
    let one_left = [insert(0, 1, 2), insert(1, 3, 4), remove(0, 5, 6), taker(6)];
    let queue = [insert(1, 1, 2), insert(0, 3, 4), remove(0, 5, 6), taker(6)];
    assert_eq!(decide(Kind::Stack, &one_left), LEGAL);
    assert_eq!(decide(Kind::Fifo, &queue), LEGAL);
    let two_left = [insert(2, 3, 4), one_left[0], one_left[1], one_left[2], one_left[3]];
    assert_eq!(decide(Kind::Stack, &two_left), illegal(&[0, 1, 2, 3, 4]));
    let two_before = [insert(2, 1, 2), queue[0], queue[1], queue[2], queue[3]];
    assert_eq!(decide(Kind::Fifo, &two_before), illegal(&[0, 1, 2, 3, 4]));
}

#[test]
fn a_collection_that_is_never_empty_may_not_be_found_empty() {
    let chain = [insert(0, 1, 2), remove(0, 6, 7), insert(1, 3, 4), remove(1, 9, 10), nothing(3, 8)];
    assert_eq!(KINDS.map(|kind| decide(kind, &chain)), KINDS.map(|_| illegal(&[0, 1, 2, 3, 4])));
    let gap = [insert(0, 1, 2), remove(0, 4, 7), insert(1, 3, 4), remove(1, 9, 10), nothing(3, 8)];
    assert_eq!(KINDS.map(|kind| decide(kind, &gap)), [LEGAL; 3]);
}

#[test]
fn a_collection_with_a_value_that_stays_is_not_empty() {
    let ops = [insert(0, 1, 2), nothing(3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &ops)), KINDS.map(|_| illegal(&[0, 1])));
    let taken = [insert(0, 1, 2), nothing(3, 4), taker(4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &taken)), [LEGAL; 3]);
    let never_in = [insert(0, 1, UNKNOWN), nothing(3, 4)];
    assert_eq!(KINDS.map(|kind| decide(kind, &never_in)), [LEGAL; 3]);
}

#[test]
fn a_stack_needs_a_value_at_the_bottom() {
    let ring = [
        insert(0, 1, 2),
        remove(0, 7, 8),
        insert(1, 5, 6),
        remove(1, 11, 12),
        insert(2, 9, 10),
        remove(2, 15, 16),
    ];
    let decision = decide(Kind::Stack, &ring);
    assert_eq!(decision, illegal(&[2, 3, 4, 5]), "two of them suffice");
    let wide = [insert(0, 1, 2), remove(0, 7, 12), insert(1, 5, 6), remove(1, 11, 12)];
    assert_eq!(decide(Kind::Stack, &wide), LEGAL);
}

#[test]
fn a_stack_in_which_two_values_compete_for_a_taker_may_stay_undecided() {
    let ops =
        [insert(0, 0, 2), insert(1, 4, 4), insert(2, 5, 11), insert(3, 10, 11), remove(0, 8, 15), taker(13)];
    assert_eq!(decide(Kind::Stack, &ops), OPEN);
    assert_eq!(decide(Kind::Stack, &ops[..5]), illegal(&[0, 1, 4]));
}

#[test]
fn who_may_not_go_on_gets_no_answer() {
    let interval = |start, id| Interval { start, end: start + 1, id };
    let mut collection = Collection::default();
    for value in 0..100_000 {
        collection.insert(value, interval(1 + u64::from(value), value));
        collection.remove_nothing(interval(0, value));
    }
    for kind in KINDS {
        for polls in 0..5 {
            let mut left = polls;
            let mut may_go_on = || {
                left -= 1;
                left >= 0
            };
            assert_eq!(collection.decide(kind, &mut may_go_on), Err(Stopped), "{kind:?}, {polls} polls");
        }
    }
}
