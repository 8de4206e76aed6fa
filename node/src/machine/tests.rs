//! The state machine does what its entries ask for, the same everywhere, and survives its encoding.

use proptest::collection::vec;
use proptest::prelude::*;

use super::command::tests::any_command;
use super::*;
use crate::raft::Term;

/// A machine that counts the entries it is given.
#[derive(Default)]
struct Fixture {
    machine: Machine,
    index: u64,
}

impl Fixture {
    fn position(&mut self) -> LogPosition {
        self.index += 1;
        LogPosition { term: Term(1), index: Index(self.index) }
    }

    fn perform(&mut self, numbered: Option<Numbered>, command: Command) -> Applied {
        let position = self.position();
        self.machine
            .perform(position, Proposal { elapsed_ms: 1, action: Action::Write { numbered, command } })
    }

    fn effect(&mut self, command: Command) -> Effect {
        match self.perform(None, command) {
            Applied::Written(outcome) => outcome.effect,
            other => panic!("{other:?}"),
        }
    }

    fn matches(&mut self, command: Command) -> bool {
        self.effect(command) == Effect::Single { matched: true }
    }

    fn transacted(&mut self, transaction: Transaction) -> (bool, Vec<StepResult>) {
        match self.effect(Command::Transaction(transaction)) {
            Effect::Transaction(transacted) => (transacted.matched, transacted.results.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn raw(&self, key: &str) -> Option<Bytes> {
        match self.machine.get(key.as_bytes())?.value {
            Value::Raw(raw) => Some(raw),
            Value::List(list) => panic!("{list:?}"),
        }
    }

    fn list(&self, key: &str) -> Vec<String> {
        match self.machine.get(key.as_bytes()).expect("a list").value {
            Value::List(list) => list.elements().map(|e| String::from_utf8_lossy(e).into_owned()).collect(),
            Value::Raw(raw) => panic!("{raw:?}"),
        }
    }

    fn state_digest(&self) -> String {
        self.machine.state_digest(Index(self.index), &Membership::of_voters([]))
    }
}

fn put(key: &'static str, expected: Expected, value: &'static str) -> Command {
    Command::Put { key: key.into(), expected, value: value.into() }
}

fn delete(key: &'static str) -> Command {
    Command::Delete { key: key.into(), expected: Expected::Anything }
}

fn read(key: &'static str) -> Step {
    Step::Read { key: key.into() }
}

fn append(key: &'static str, element: impl Into<Bytes>) -> Step {
    Step::Append { key: key.into(), element: element.into() }
}

fn always(then: Vec<Step>) -> Transaction {
    Transaction { then, ..Transaction::default() }
}

#[test]
fn mismatch_changes_nothing() {
    let mut fixture = Fixture::default();
    assert!(fixture.matches(put("k", Expected::Anything, "1")));
    assert!(!fixture.matches(put("k", Expected::Value("2".into()), "3")));
    assert!(!fixture.matches(put("k", Expected::Absent, "3")));
    assert!(!fixture.matches(put("k", Expected::Revision(Revision(2)), "3")));
    assert_eq!((fixture.raw("k"), fixture.machine.revision()), (Some("1".into()), Revision(1)));
}

#[test]
fn absent_key_never_equals_a_value() {
    let mut fixture = Fixture::default();
    assert!(!fixture.matches(put("k", Expected::Value("".into()), "1")));
    assert!(!fixture.matches(put("k", Expected::Revision(Revision(0)), "1")));
    assert!(fixture.matches(put("k", Expected::Absent, "")));
    assert!(fixture.matches(put("k", Expected::Value("".into()), "1")));
}

#[test]
fn revision_as_a_guard_notices_a_value_that_was_changed_and_changed_back() {
    let mut fixture = Fixture::default();
    for value in ["a", "b", "a"] {
        assert!(fixture.matches(put("k", Expected::Anything, value)));
    }
    assert!(!fixture.matches(put("k", Expected::Revision(Revision(1)), "c")));
    assert!(fixture.matches(put("k", Expected::Revision(Revision(3)), "c")));
    let stored = fixture.machine.get(b"k").expect("a value");
    assert_eq!((stored.created, stored.modified, stored.version), (Revision(1), Revision(5), 4));
    let guarded = |expected| Command::Delete { key: "k".into(), expected };
    assert!(!fixture.matches(guarded(Expected::Value("b".into()))));
    assert!(fixture.matches(guarded(Expected::Value("c".into()))));
    assert_eq!(fixture.raw("k"), None);
}

#[test]
fn deleted_key_is_absent_and_begins_anew_and_a_second_deletion_is_no_revision() {
    let mut fixture = Fixture::default();
    fixture.matches(put("k", Expected::Anything, "1"));
    assert!(fixture.matches(delete("k")));
    assert!(fixture.matches(delete("k")));
    assert_eq!((fixture.raw("k"), fixture.machine.revision()), (None, Revision(2)));
    fixture.matches(put("k", Expected::Anything, "2"));
    let stored = fixture.machine.get(b"k").expect("a value");
    assert_eq!((stored.created, stored.version), (Revision(4), 1));
}

#[test]
fn prefix_selects_the_keys_that_begin_so_and_no_other() {
    let mut fixture = Fixture::default();
    for key in ["a", "b", "b.1", "b.2", "c"] {
        fixture.matches(put(key, Expected::Anything, key));
    }
    let entries = |prefix: &'static str, limit| fixture.machine.entries(&prefix.into(), limit);
    let found: Vec<_> = entries("b.", 100).expect("a few").into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, ["b.1", "b.2"]);
    assert_eq!(entries("", 100).map(|all| all.len()), Some(5));
    assert_eq!(entries("", 17), None, "that is one byte too much");
    assert_eq!(entries("", 18).map(|all| all.len()), Some(5));
}

#[test]
fn transaction_takes_one_branch_and_every_step_sees_the_ones_before() {
    let mut fixture = Fixture::default();
    fixture.matches(put("a", Expected::Anything, "1"));
    let transaction = Transaction {
        guards: vec![
            Guard { key: "a".into(), expected: Expected::Value("1".into()) },
            Guard { key: "b".into(), expected: Expected::Absent },
        ],
        then: vec![
            Step::Put { key: "b".into(), value: "2".into() },
            read("b"),
            Step::Delete { key: "a".into() },
            read("a"),
        ],
        otherwise: vec![read("b")],
    };
    let (matched, results) = fixture.transacted(transaction.clone());
    let b = fixture.machine.get(b"b");
    assert!(matched);
    assert_eq!(
        results,
        [
            StepResult::Put { version: 1 },
            StepResult::Read(b.clone()),
            StepResult::Deleted { existed: true },
            StepResult::Read(None)
        ]
    );
    assert_eq!((fixture.raw("a"), fixture.raw("b")), (None, Some("2".into())));
    assert_eq!(fixture.transacted(transaction), (false, vec![StepResult::Read(b)]));
    assert_eq!(fixture.machine.revision(), Revision(2), "reading makes no revision");
}

#[test]
fn elements_are_appended_in_order_and_an_answer_keeps_the_list_that_it_saw() {
    let mut fixture = Fixture::default();
    let (_, before) = fixture.transacted(always(vec![append("l", "1"), append("l", ""), read("l")]));
    let (_, after) = fixture.transacted(always(vec![append("l", "3"), read("l")]));
    assert_eq!(fixture.list("l"), ["1", "", "3"]);
    assert_eq!(after[0], StepResult::Appended { length: 3 });
    let StepResult::Read(Some(seen)) = &before[2] else { panic!("{before:?}") };
    let Value::List(list) = &seen.value else { panic!("{seen:?}") };
    assert_eq!((list.length(), seen.version, seen.modified), (2, 2, Revision(1)));
}

#[test]
fn transaction_that_cannot_be_done_as_a_whole_is_not_done_at_all() {
    let mut fixture = Fixture::default();
    fixture.matches(put("raw", Expected::Anything, "1"));
    let large = Bytes::from(vec![b'x'; MAX_VALUE_BYTES - 10]);
    let first = Step::Put { key: "first".into(), value: large.clone() };
    let read_thrice = vec![first.clone(), read("first"), read("first"), read("first")];
    for (steps, reason) in [
        (vec![first.clone(), append("raw", "2")], Impossible::NotAList),
        (vec![first.clone(), append("l", large.clone()), append("l", "2345678")], Impossible::ListTooLarge),
        (read_thrice, Impossible::AnswerTooLarge),
    ] {
        let before = fixture.machine.encode();
        let effect = fixture.effect(Command::Transaction(always(steps)));
        assert_eq!(effect, Effect::Impossible(reason));
        // The same but for the log time.
        assert_eq!(fixture.machine.encode().slice(17..), before.slice(17..), "{reason:?}");
    }
}

#[test]
fn numbered_write_takes_effect_once_and_keeps_its_answer_with_what_it_read() {
    let mut fixture = Fixture::default();
    let position = fixture.position();
    let register = Proposal { elapsed_ms: 1, action: Action::Register };
    assert_eq!(fixture.machine.perform(position, register), Applied::Registered(1));
    let numbered = |sequence| Some(Numbered { session: 1, sequence, answered: 0 });
    let write = put("k", Expected::Absent, "1");
    let transaction = Command::Transaction(always(vec![append("l", "1"), read("l"), read("k")]));
    let impossible = Command::Transaction(always(vec![append("k", "1")]));

    let first = fixture.perform(numbered(1), write.clone());
    let second = fixture.perform(numbered(2), transaction.clone());
    let third = fixture.perform(numbered(3), impossible.clone());
    fixture.machine = Machine::decode(fixture.machine.encode()).expect("a whole state");
    for command in [delete("k"), delete("l")] {
        fixture.matches(command);
    }
    assert_eq!(fixture.perform(numbered(1), write), first);
    assert_eq!(fixture.perform(numbered(2), transaction), second);
    assert_eq!(fixture.perform(numbered(3), impossible), third, "it would be possible by now");
    assert_eq!(
        (fixture.machine.get(b"k"), fixture.machine.get(b"l")),
        (None, None),
        "nothing was done again"
    );
}

#[test]
fn watcher_of_everything_could_rebuild_the_data() {
    let mut fixture = Fixture::default();
    fixture.transacted(always(vec![append("l", "1"), Step::Put { key: "a".into(), value: "1".into() }]));
    fixture.matches(put("a", Expected::Value("1".into()), "2"));
    fixture.matches(put("a", Expected::Value("1".into()), "3"));
    fixture.transacted(always(vec![append("l", "2"), Step::Delete { key: "a".into() }, read("l")]));
    let everything = Selection::Prefix("".into());
    let batch = fixture.machine.changes(Revision(1), &everything, Index(4)).expect("nothing is gone");
    let seen: Vec<_> = batch.changes.iter().map(|(r, c)| (r.0, c.key.as_ref(), c.what.clone())).collect();
    assert_eq!(
        seen,
        [
            (1, &b"l"[..], What::Appended("1".into())),
            (1, b"a", What::Put("1".into())),
            (2, b"a", What::Put("2".into())),
            (4, b"l", What::Appended("2".into())),
            (4, b"a", What::Deleted),
        ]
    );
    assert_eq!(batch.next, Revision(5));
    let again = Machine::decode(fixture.machine.encode()).expect("a whole state");
    let gone = again.changes(Revision(4), &everything, Index(4));
    assert_eq!(gone, Err(Compacted { oldest: Revision(5) }), "a snapshot has no history");
}

#[test]
fn digest_tells_states_apart_and_not_the_ways_to_them() {
    let (mut one, mut other) = (Fixture::default(), Fixture::default());
    one.matches(put("a", Expected::Anything, "1"));
    one.matches(put("b", Expected::Anything, "2"));
    other.matches(put("a", Expected::Anything, "1"));
    other.matches(put("b", Expected::Anything, "3"));
    assert_ne!(one.state_digest(), other.state_digest());
    for fixture in [&mut one, &mut other] {
        fixture.matches(delete("b"));
    }
    assert_eq!(one.state_digest(), other.state_digest());
    let alone = Membership::of_voters([crate::raft::NodeId::new("n1").expect("a legal name")]);
    assert_ne!(one.machine.state_digest(Index(3), &alone), one.state_digest());
}

proptest! {
    #[test]
    fn state_and_its_digest_survive_the_encoding(commands in vec(any_command(), 0..24)) {
        let mut fixture = Fixture::default();
        let position = fixture.position();
        fixture.machine.perform(position, Proposal { elapsed_ms: 3, action: Action::Register });
        for (sequence, command) in (1_u64..).zip(commands) {
            let numbered = Some(Numbered { session: 1, sequence, answered: sequence / 2 });
            fixture.perform(numbered.filter(|_| sequence.is_multiple_of(3)), command);
        }
        let encoded = fixture.machine.encode();
        let again = Machine::decode(encoded.clone()).expect("a whole state");
        prop_assert_eq!(again.encode(), encoded.clone());
        let again = Fixture { machine: again, index: fixture.index };
        prop_assert_eq!(again.state_digest(), fixture.state_digest());
        prop_assert!(Machine::decode(encoded.slice(..encoded.len() - 1)).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        let _ = Machine::decode([&[STATE_VERSION], &bytes[..]].concat().into());
    }
}
