//! The operations that are open at one moment of a history, and the configurations that are possible there.
//!
//! A configuration is a state, the open operations that have taken effect (*used*), and those that need not any more
//! (*optional*). An operation that is neither is *owed*: it must take effect before it returns. A configuration does
//! not grow with the history.
//!
//! The rules, each proven by moving one operation in an order of all of them:
//! * **pure-greedy**: an operation that never changes the state takes effect as soon as its result fits;
//! * **no change**: an owed operation that would leave the state as it is may take effect unseen, so it is optional;
//! * **overwritten unseen**: when a blind overwrite takes effect, every other open one may have come directly before
//!   it, so it is optional;
//! * **twins**: operations of unknown outcome that ask for the same are interchangeable, so the earliest goes first;
//! * **dominance**: with equal states, who has used no more and owes no more can do whatever the other can.
//!
//! An operation of unknown outcome is optional from its call on and never returns. Sources: Lowe, *Testing for
//! Linearizability* (configurations, just-in-time linearization); the exchange arguments are spelled out at each rule.

use super::bits::{Bits, slots};
use super::problem::{Call, Event, Problem};
use crate::model::{Effect, Model};

/// Which rules the search applies. The verdict is the same with any of them; tests switch them off one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub pure_greedy: bool,
    pub unseen: bool,
    pub twins: bool,
    pub dominance: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self { pure_greedy: true, unseen: true, twins: true, dominance: true };
}

/// A state and what has become of the open operations. Bits of slots that are not open are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration<M, B> {
    pub state: M,
    pub masks: Masks<B>,
}

/// What has become of the open operations; a slot in neither set is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Masks<B> {
    pub used: B,
    pub optional: B,
}

/// The open operations just before an event. It moves along the history in both directions.
pub(super) struct Window<'a, M: Model, B> {
    pub problem: &'a Problem<'a, M>,
    rules: Rules,
    /// The index of the next event.
    pub at: usize,
    open: B,
    pure: B,
    overwrite: B,
    /// The operation in each slot.
    occupants: Vec<u32>,
}

impl<'a, M: Model, B: Bits> Window<'a, M, B> {
    pub(super) fn new(problem: &'a Problem<'a, M>, rules: Rules) -> Self {
        let words = problem.words();
        let empty = || B::empty(words);
        let occupants = vec![0; problem.slots];
        Self { problem, rules, at: 0, open: empty(), pure: empty(), overwrite: empty(), occupants }
    }

    /// The configuration before the first event.
    pub(super) fn start(&self, state: M) -> Configuration<M, B> {
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
            if event.is_return { self.put(event) } else { self.open.erase(event.slot) }
        }
        while self.at < at {
            let event = self.problem.events[self.at];
            if event.is_return {
                self.open.erase(event.slot)
            } else {
                self.put(event)
            }
            self.at += 1;
        }
    }

    /// Passes a call, and opens it in the configuration.
    pub(super) fn pass_call(&mut self, event: Event, configuration: &mut Configuration<M, B>) {
        self.move_to(self.at + 1);
        if self.problem.calls[event.call as usize].is_certain() {
            self.settle_slot(configuration, event.slot);
        } else {
            configuration.masks.optional.add(event.slot);
        }
    }

    /// Passes a return. Configurations beyond it forget the slot: [`Masks::forget`].
    pub(super) fn pass_return(&mut self) {
        self.move_to(self.at + 1);
    }

    /// The open operations that may take effect next and whose effect is worth a branch.
    pub(super) fn candidates(&self, configuration: &Configuration<M, B>) -> impl Iterator<Item = u32> {
        let used = &configuration.masks.used;
        let free = move |at| self.open.word(at) & !self.pure.word(at) & !used.word(at);
        let is_first = move |slot: &u32| self.twin(*slot).is_none_or(|twin| used.has(twin));
        (0..used.words()).flat_map(move |at| slots(at, free(at))).filter(is_first)
    }

    /// The configuration after the operation in `slot` took effect; `None` when it cannot, or when that is no news.
    pub(super) fn linearize(
        &self,
        configuration: &Configuration<M, B>,
        slot: u32,
    ) -> Option<Configuration<M, B>> {
        let state = self.occupant(slot).step(&configuration.state)?;
        if state == configuration.state && configuration.masks.optional.has(slot) {
            return None;
        }
        let mut next = Configuration { state, masks: configuration.masks.clone() };
        next.masks.used.add(slot);
        if self.rules.unseen && self.overwrite.has(slot) {
            self.excuse_overwritten(&mut next.masks);
        }
        self.settle(&mut next);
        Some(next)
    }

    /// Whether `a` can do whatever `b` can. The states are equal.
    pub(super) fn dominates(&self, a: &Masks<B>, b: &Masks<B>) -> bool {
        if !self.rules.dominance {
            return a == b;
        }
        (0..self.open.words()).all(|at| {
            let (open, pure) = (self.open.word(at), self.pure.word(at));
            let owed = |masks: &Masks<B>| open & !masks.used.word(at) & !masks.optional.word(at);
            a.used.word(at) & !pure & !b.used.word(at) == 0 && owed(a) & !owed(b) == 0
        })
    }

    /// How many operations are owed, how many effects are used, and how many of those of unknown outcome: fewer of each
    /// is better, and a configuration that dominates another never counts more.
    pub(super) fn burden(&self, configuration: &Configuration<M, B>) -> (u32, u32) {
        let mut owed = 0;
        let mut used = 0;
        for at in 0..self.open.words() {
            let taken = configuration.masks.used.word(at);
            owed += (self.open.word(at) & !taken & !configuration.masks.optional.word(at)).count_ones();
            used += (taken & !self.pure.word(at)).count_ones();
        }
        (owed, used)
    }

    fn occupant(&self, slot: u32) -> &'a Call<M> {
        &self.problem.calls[self.occupants[slot as usize] as usize]
    }

    fn twin(&self, slot: u32) -> Option<u32> {
        let twin = self.problem.twins[self.occupants[slot as usize] as usize];
        twin.filter(|_| self.rules.twins)
    }

    fn put(&mut self, event: Event) {
        let effect = self.problem.effects[event.call as usize];
        self.occupants[event.slot as usize] = event.call;
        self.open.add(event.slot);
        self.pure.set(event.slot, self.rules.pure_greedy && effect == Effect::Pure);
        self.overwrite.set(event.slot, effect == Effect::Overwrite);
    }

    /// Every other open overwrite fits directly before the one that just took effect, and nobody sees it there.
    fn excuse_overwritten(&self, masks: &mut Masks<B>) {
        for (at, word) in masks.optional.as_mut().iter_mut().enumerate() {
            *word |= self.overwrite.word(at) & self.open.word(at) & !masks.used.word(at);
        }
    }

    /// Lets everything take effect that does not change the state.
    fn settle(&self, configuration: &mut Configuration<M, B>) {
        for at in 0..self.open.words() {
            let done = configuration.masks.used.word(at)
                | configuration.masks.optional.word(at) & !self.pure.word(at);
            for slot in slots(at, self.open.word(at) & !done) {
                self.settle_slot(configuration, slot);
            }
        }
    }

    fn settle_slot(&self, configuration: &mut Configuration<M, B>, slot: u32) {
        let is_pure = self.pure.has(slot);
        if !is_pure && !self.rules.unseen {
            return;
        }
        if self.occupant(slot).step(&configuration.state).is_some_and(|state| state == configuration.state) {
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
