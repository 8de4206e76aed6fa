//! What does not fit is refused for certain, and fits again later.

use node::raft::{
    Answer, Config, Core, Effects, HardState, Input, Jitter, Limits, Log, LogPosition, Membership, Millis,
    NodeId, RequestId,
};

/// A node that is its own majority and has committed the entry that opens its term.
fn leader(limits: Limits) -> Core {
    let id = NodeId::new("n1").expect("a legal name");
    let config = Config { limits, ..Config::new(id, Millis(20), Millis(150)) };
    let log = Log::recovered(LogPosition::default(), Membership::of_voters([id]), Vec::new());
    let mut core = Core::new(config, HardState::default(), log, None, Millis(0), Jitter(0));
    let mut now = Millis(0);
    while core.status().commit.0 == 0 {
        now = now.plus(Millis(10));
        let effects = core.step(now, [Input::Tick { jitter: Jitter(0) }]);
        finish(&mut core, effects);
    }
    core
}

/// Makes the writes of a step, and those that follow from them, durable.
fn finish(core: &mut Core, mut effects: Effects) {
    while let Some(write) = effects.persist {
        effects = core.step(Millis(0), [Input::Persisted(write.io)]);
    }
}

fn propose(core: &mut Core, request: u64, size: usize) -> Effects {
    core.step(Millis(0), [Input::Propose { request: RequestId(request), command: vec![0; size].into() }])
}

fn is_refused(effects: &Effects) -> bool {
    matches!(effects.answers[..], [(_, Answer::Overloaded)])
}

#[test]
fn proposals_beyond_the_limit_are_refused_until_others_commit() {
    let mut core = leader(Limits { pending_proposals: 2, ..Limits::default() });
    let first = propose(&mut core, 1, 1);
    let second = propose(&mut core, 2, 1);
    assert!(!is_refused(&first) && !is_refused(&second));
    assert!(is_refused(&propose(&mut core, 3, 1)));
    finish(&mut core, first);
    assert!(!is_refused(&propose(&mut core, 4, 1)));
}

#[test]
fn proposed_bytes_beyond_the_limit_are_refused() {
    let mut core = leader(Limits { pending_bytes: 100, ..Limits::default() });
    assert!(!is_refused(&propose(&mut core, 1, 60)));
    assert!(is_refused(&propose(&mut core, 2, 60)));
    assert!(!is_refused(&propose(&mut core, 3, 40)));
}

#[test]
fn single_voter_confirms_its_reads_itself() {
    let mut core = leader(Limits::default());
    let effects = core.step(Millis(0), [Input::Read { request: RequestId(1) }]);
    assert_eq!(effects.answers, [(RequestId(1), Answer::ReadReady)]);
}
