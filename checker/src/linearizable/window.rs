//! The operations that are open at one moment of a history, and the configurations that are possible there.
//!
//! A configuration is a state, the open operations that have taken effect (*used*), and those that need not any more
//! (*optional*). An operation that is neither is *owed*: it must take effect before it returns. Of operations of unknown
//! outcome that ask for the same, only the number that was used is remembered. A configuration does not grow with the
//! history.
//!
//! The rules, each proven by moving one operation in an order of all of them:
//! * **pure-greedy**: an operation that never changes the state takes effect as soon as its result fits;
//! * **no change**: an owed operation that would leave the state as it is may take effect unseen, so it is optional;
//! * **overwritten unseen**: when a blind overwrite takes effect, every other open one may have come directly before
//!   it, so it is optional;
//! * **likes**: of two open operations with the same question and result that are both owed or both optional, the one that
//!   returns first goes first: in an order that has them the other way round they can change places, because both are open
//!   from here to the place of the first;
//! * **dominance**: with equal states, who has used no more and owes no more can do whatever the other can.
//!
//! An operation of unknown outcome is optional from its call on and never returns. Sources: Lowe, *Testing for
//! Linearizability* (configurations, just-in-time linearization); the exchange arguments are spelled out at each rule.

use super::bits::{Bits, lane_of_word, slots};
use super::object::{CallOf, Object};
use super::problem::{Event, EventKind, Problem};
use crate::model::Effect;

/// Which rules the search applies. The verdict is the same with any of them; tests switch them off one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub pure_greedy: bool,
    pub unseen: bool,
    pub likes: bool,
    pub dominance: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self { pure_greedy: true, unseen: true, likes: true, dominance: true };
}

/// A state and what has become of the open operations. Bits of slots that are not open are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration<S, B> {
    pub state: S,
    pub masks: Masks<B>,
}

/// What has become of the open operations; a slot in neither set is owed. Behind the slots, `used` has the lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Masks<B> {
    pub used: B,
    pub optional: B,
}

/// Something that may take effect next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidate {
    Slot(u32),
    Lane(u32),
}

/// The open operations just before an event. It moves along the history in both directions.
pub(super) struct Window<'a, O: Object, B> {
    pub problem: &'a Problem<'a, O>,
    rules: Rules,
    slot_words: usize,
    /// The index of the next event.
    pub at: usize,
    open: B,
    pure: B,
    overwrite: B,
    /// The operation in each slot.
    occupants: Vec<u32>,
    /// For each slot, the likes of its operation that return earlier or were open when it was called.
    earlier_likes: Vec<B>,
    /// For each lane, how many of its operations were called.
    called: Vec<u16>,
}

impl<'a, O: Object, B: Bits> Window<'a, O, B> {
    pub(super) fn new(problem: &'a Problem<'a, O>, rules: Rules) -> Self {
        let words = problem.words();
        let empty = || B::empty(words);
        Self {
            problem,
            rules,
            slot_words: problem.slot_words(),
            at: 0,
            open: empty(),
            pure: empty(),
            overwrite: empty(),
            occupants: vec![0; problem.slots],
            earlier_likes: vec![empty(); problem.slots],
            called: vec![0; problem.lanes.len()],
        }
    }

    /// The configuration before the first event.
    pub(super) fn start(&self, state: O::State) -> Configuration<O::State, B> {
        Configuration { state, masks: Masks::empty(self.problem.words()) }
    }

    /// The next event.
    pub(super) fn event(&self) -> Option<Event> {
        self.problem.events.get(self.at).copied()
    }

    /// Goes to the moment just before event `at`.
    pub(super) fn move_to(&mut self, at: usize) {
        while self.at > at {
            self.at -= 1;
            let event = self.problem.events[self.at];
            match event.kind {
                EventKind::Call => self.open.erase(event.place),
                EventKind::Return => self.put(event),
                EventKind::Ghost => self.called[event.place as usize] -= 1,
            }
        }
        while self.at < at {
            let event = self.problem.events[self.at];
            match event.kind {
                EventKind::Call => self.put(event),
                EventKind::Return => self.open.erase(event.place),
                EventKind::Ghost => self.called[event.place as usize] += 1,
            }
            self.at += 1;
        }
    }

    /// Passes a call, and opens it in the configuration.
    pub(super) fn pass_call(&mut self, event: Event, configuration: &mut Configuration<O::State, B>) {
        self.pass();
        self.open_in(event, configuration);
    }

    /// Passes the next event. After a return, configurations forget the slot: [`Masks::forget`].
    pub(super) fn pass(&mut self) {
        self.move_to(self.at + 1);
    }

    /// Opens a call that was just passed.
    pub(super) fn open_in(&self, event: Event, configuration: &mut Configuration<O::State, B>) {
        if event.kind == EventKind::Ghost {
            return;
        }
        if self.problem.calls[event.call as usize].is_certain() {
            self.settle_slot(configuration, event.place);
        } else {
            configuration.masks.optional.add(event.place);
        }
    }

    /// What may take effect next and whose effect is worth a branch.
    pub(super) fn candidates(
        &self,
        configuration: &Configuration<O::State, B>,
    ) -> impl Iterator<Item = Candidate> {
        let masks = &configuration.masks;
        let free = move |at| self.open.word(at) & !self.pure.word(at) & !masks.used.word(at);
        let in_slots = (0..self.slot_words).flat_map(move |at| slots(at, free(at)));
        let in_slots = in_slots.filter(move |slot| !self.rules.likes || !self.has_earlier_like(masks, *slot));
        let lanes = 0..self.called.len() as u32;
        let in_lanes = lanes.filter(move |lane| self.lane_used(masks, *lane) < self.called[*lane as usize]);
        in_slots.map(Candidate::Slot).chain(in_lanes.map(Candidate::Lane))
    }

    /// Whether an operation that asks for the same, and is owed or optional like this one, returns earlier.
    fn has_earlier_like(&self, masks: &Masks<B>, slot: u32) -> bool {
        let is_optional = masks.optional.has(slot);
        let likes = &self.earlier_likes[slot as usize];
        (0..self.slot_words).any(|at| {
            let optional = masks.optional.word(at);
            let same_duty = if is_optional { optional } else { !optional };
            likes.word(at) & self.open.word(at) & !masks.used.word(at) & same_duty != 0
        })
    }

    /// The configuration after the candidate took effect; `None` when it cannot, or when that is no news.
    pub(super) fn linearize(
        &self,
        configuration: &Configuration<O::State, B>,
        candidate: Candidate,
    ) -> Option<Configuration<O::State, B>> {
        let call = match candidate {
            Candidate::Slot(slot) => self.occupant(slot),
            Candidate::Lane(lane) => &self.problem.calls[self.problem.lanes[lane as usize] as usize],
        };
        let state = self.step(&configuration.state, call)?;
        let is_optional = match candidate {
            Candidate::Slot(slot) => configuration.masks.optional.has(slot),
            Candidate::Lane(_) => true,
        };
        if is_optional && state == configuration.state {
            return None;
        }
        let mut next = Configuration { state, masks: configuration.masks.clone() };
        match candidate {
            Candidate::Slot(slot) => {
                next.masks.used.add(slot);
                if self.rules.unseen && self.overwrite.has(slot) {
                    self.excuse_overwritten(&mut next.masks);
                }
            }
            Candidate::Lane(lane) => {
                next.masks.used.count_up(self.slot_words, lane);
                let effect = self.problem.effects[self.problem.lanes[lane as usize] as usize];
                if self.rules.unseen && effect == Effect::Overwrite {
                    self.excuse_overwritten(&mut next.masks);
                }
            }
        }
        self.settle(&mut next);
        Some(next)
    }

    /// Whether `a` can do whatever `b` can. The states are equal.
    pub(super) fn dominates(&self, a: &Masks<B>, b: &Masks<B>) -> bool {
        if !self.rules.dominance {
            return a == b;
        }
        let slots = (0..self.slot_words).all(|at| {
            let (open, pure) = (self.open.word(at), self.pure.word(at));
            let owed = |masks: &Masks<B>| open & !masks.used.word(at) & !masks.optional.word(at);
            a.used.word(at) & !pure & !b.used.word(at) == 0 && owed(a) & !owed(b) == 0
        });
        slots && (0..self.called.len() as u32).all(|lane| self.lane_used(a, lane) <= self.lane_used(b, lane))
    }

    /// How many operations are owed and how many effects are used: fewer of each is better, and a configuration that
    /// dominates another never counts more.
    pub(super) fn burden(&self, configuration: &Configuration<O::State, B>) -> (u32, u32) {
        let masks = &configuration.masks;
        let (mut owed, mut used) = (0, 0);
        for at in 0..self.slot_words {
            let taken = masks.used.word(at);
            owed += (self.open.word(at) & !taken & !masks.optional.word(at)).count_ones();
            used += (taken & !self.pure.word(at)).count_ones();
        }
        let lanes = (0..self.called.len() as u32).map(|lane| u32::from(self.lane_used(masks, lane)));
        (owed, used + lanes.sum::<u32>())
    }

    fn lane_used(&self, masks: &Masks<B>, lane: u32) -> u16 {
        lane_of_word(masks.used.word(B::lane_word(self.slot_words, lane)), lane)
    }

    fn step(&self, state: &O::State, call: &CallOf<O>) -> Option<O::State> {
        self.problem.object.step(state, &call.op, call.ret.as_ref())
    }

    fn occupant(&self, slot: u32) -> &'a CallOf<O> {
        &self.problem.calls[self.occupants[slot as usize] as usize]
    }

    fn put(&mut self, event: Event) {
        let effect = self.problem.effects[event.call as usize];
        self.occupants[event.place as usize] = event.call;
        self.pure.set(event.place, self.rules.pure_greedy && effect == Effect::Pure);
        self.overwrite.set(event.place, effect == Effect::Overwrite);
        self.earlier_likes[event.place as usize] = B::empty(self.problem.words());
        if self.rules.likes {
            self.compare_with_likes(event);
        }
        self.open.add(event.place);
    }

    fn compare_with_likes(&mut self, event: Event) {
        let kind = self.problem.kinds[event.call as usize];
        let end = |call: u32| (self.problem.calls[call as usize].end_or_never(), call);
        for at in 0..self.slot_words {
            for other in slots(at, self.open.word(at)) {
                let like = self.occupants[other as usize];
                self.earlier_likes[other as usize].erase(event.place);
                if self.problem.kinds[like as usize] != kind || other == event.place {
                    continue;
                }
                let (later, earlier) =
                    if end(like) < end(event.call) { (event.place, other) } else { (other, event.place) };
                self.earlier_likes[later as usize].add(earlier);
            }
        }
    }

    /// Every other open overwrite fits directly before the one that just took effect, and nobody sees it there.
    fn excuse_overwritten(&self, masks: &mut Masks<B>) {
        for (at, word) in masks.optional.as_mut().iter_mut().enumerate().take(self.slot_words) {
            *word |= self.overwrite.word(at) & self.open.word(at) & !masks.used.word(at);
        }
    }

    /// Lets everything take effect that does not change the state.
    fn settle(&self, configuration: &mut Configuration<O::State, B>) {
        for at in 0..self.slot_words {
            let done = configuration.masks.used.word(at)
                | configuration.masks.optional.word(at) & !self.pure.word(at);
            for slot in slots(at, self.open.word(at) & !done) {
                self.settle_slot(configuration, slot);
            }
        }
    }

    fn settle_slot(&self, configuration: &mut Configuration<O::State, B>, slot: u32) {
        let is_pure = self.pure.has(slot);
        if !is_pure && !self.rules.unseen {
            return;
        }
        let after = self.step(&configuration.state, self.occupant(slot));
        if after.is_some_and(|state| state == configuration.state) {
            let masks = &mut configuration.masks;
            if is_pure { masks.used.add(slot) } else { masks.optional.add(slot) }
        }
    }
}

impl<B: Bits> Masks<B> {
    fn empty(words: usize) -> Self {
        Self { used: B::empty(words), optional: B::empty(words) }
    }

    /// Forgets an operation that returned.
    pub(super) fn forget(&mut self, slot: u32) {
        self.used.erase(slot);
        self.optional.erase(slot);
    }
}
