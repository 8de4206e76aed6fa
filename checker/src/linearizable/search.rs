//! The search: is there an order of the operations that explains every result?
//!
//! Depth-first over configurations of *open* operations (see [`Window`]), just in time: an operation takes
//! effect only when a return demands it, in a sequence that ends with the one that returns (Lowe, *Testing for
//! Linearizability*). At every return the sequences are tried by length, longer ones only after everything that follows
//! from the shorter ones has failed. Per return, configurations that a visited one dominates are not visited again.
//!
//! It is iterative, so a long history is no danger to the call stack; it is deterministic; and it stops within a few
//! dozen steps of any limit. It does not remember the order that it found: a valid history needs no proof, and for an
//! invalid one [`Answer::Illegal`] names the first return that nothing survives.

use super::antichain::{Antichain, projected_bytes};
use super::bits::Bits;
use super::extension::Extension;
use super::object::Object;
use super::problem::{Event, Problem};
use super::window::{Configuration, Rules, Window};
use crate::meter::{Limit, Meter};

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Some order explains every result.
    Legal,
    /// No order does, and already the history up to and including this event (a return) has none.
    Illegal {
        /// The index of the event.
        furthest: usize,
    },
}

/// Steps between two looks at the clock and at the memory; the memory estimate leaves room for as many.
const STEPS_PER_CHECK: u64 = 64;

/// Searches with sets of slots that are as narrow as the history allows.
pub(super) fn search<O: Object>(
    problem: &Problem<'_, O>,
    start: &O::State,
    rules: Rules,
    steps: u64,
    meter: &mut Meter,
) -> Result<Answer, Limit> {
    match problem.words() {
        1 => Search::<O, [u64; 1]>::new(problem, start, rules, steps, meter).run(),
        2 => Search::<O, [u64; 2]>::new(problem, start, rules, steps, meter).run(),
        3..=4 => Search::<O, [u64; 4]>::new(problem, start, rules, steps, meter).run(),
        5..=8 => Search::<O, [u64; 8]>::new(problem, start, rules, steps, meter).run(),
        9..=16 => Search::<O, [u64; 16]>::new(problem, start, rules, steps, meter).run(),
        _ => Search::<O, Vec<u64>>::new(problem, start, rules, steps, meter).run(),
    }
}

/// A place to continue: a configuration before an event, and the length of the sequences to try there.
struct Branch<S, B> {
    at: usize,
    configuration: Configuration<S, B>,
    reach: u32,
}

struct Search<'a, O: Object, B> {
    window: Window<'a, O, B>,
    branches: Vec<Branch<O::State, B>>,
    visited: Antichain<(u32, O::State), B>,
    extension: Extension<O::State, B>,
    spent: Spent<'a>,
    /// The last event that was tried.
    furthest: usize,
}

struct Spent<'a> {
    meter: &'a mut Meter,
    steps: u64,
    /// How many of the steps the meter knows of.
    counted: u64,
    next_check: u64,
    limit: u64,
}

impl<'a, O: Object, B: Bits> Search<'a, O, B> {
    fn new(
        problem: &'a Problem<'a, O>,
        start: &O::State,
        rules: Rules,
        limit: u64,
        meter: &'a mut Meter,
    ) -> Self {
        let window = Window::new(problem, rules);
        let branches = vec![Branch { at: 0, configuration: window.start(start.clone()), reach: 1 }];
        let extension = Extension::default();
        let spent = Spent { meter, steps: 0, counted: 0, next_check: 0, limit };
        Self { window, branches, visited: Antichain::default(), extension, spent, furthest: 0 }
    }

    fn run(mut self) -> Result<Answer, Limit> {
        let answer = self.decide();
        self.count_steps();
        answer
    }

    fn decide(&mut self) -> Result<Answer, Limit> {
        self.check_limits()?;
        while let Some(branch) = self.branches.pop() {
            self.window.move_to(branch.at);
            let mut place = Some((branch.configuration, branch.reach));
            while let Some((mut configuration, reach)) = place {
                let Some(event) = self.walk(&mut configuration)? else {
                    return Ok(Answer::Legal);
                };
                self.furthest = self.furthest.max(self.window.at);
                place = self.pass_return(event, configuration, reach)?.map(|next| (next, 1));
            }
        }
        Ok(Answer::Illegal { furthest: self.furthest })
    }

    /// Passes calls, and returns of operations that have taken effect, up to a return that needs thought.
    fn walk(&mut self, configuration: &mut Configuration<O::State, B>) -> Result<Option<Event>, Limit> {
        while let Some(event) = self.window.event() {
            self.spend_step()?;
            if !event.is_return() {
                self.window.pass_call(event, configuration);
            } else if configuration.masks.used.has(event.place) {
                self.window.pass();
                configuration.masks.forget(event.place);
            } else {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Lets operations take effect until the one that returns has; continues with the best configuration and keeps the
    /// others as branches. `None` when there is none.
    fn pass_return(
        &mut self,
        event: Event,
        configuration: Configuration<O::State, B>,
        reach: u32,
    ) -> Result<Option<Configuration<O::State, B>>, Limit> {
        if self.extend(event.place, &configuration, reach)? {
            self.branches.push(Branch { at: self.window.at, configuration, reach: reach + 1 });
        }
        self.window.pass();
        let survivors = &mut self.extension.survivors;
        survivors.iter_mut().for_each(|survivor| survivor.masks.forget(event.place));
        survivors.sort_by_cached_key(|survivor| self.window.burden(survivor));
        let key_at = u32::try_from(self.window.at).expect("invariant: fewer than 2^32 events in a history");
        survivors.retain(|survivor| {
            self.visited.insert(&self.window, (key_at, survivor.state.clone()), &survivor.masks)
        });
        let mut rest = survivors.drain(..);
        let best = rest.next();
        let at = self.window.at;
        self.branches.extend(rest.rev().map(|configuration| Branch { at, configuration, reach: 1 }));
        Ok(best)
    }

    /// Finds the configurations in which the operation in `target` may return, by sequences of up to `reach` operations.
    /// `true` when longer sequences are left.
    ///
    /// Once the target is optional a sequence matters only if the target itself ends it: everything else in it may as
    /// well wait until after the return.
    fn extend(&mut self, target: u32, from: &Configuration<O::State, B>, reach: u32) -> Result<bool, Limit> {
        self.extension.begin();
        self.extension.add_source(&self.window, target, from.clone());
        for _ in 0..reach {
            let frontier = self.extension.take_frontier();
            for configuration in &frontier {
                self.spend_step()?;
                self.spent.steps += self.extension.step_from(&self.window, target, configuration);
            }
        }
        Ok(self.extension.has_frontier())
    }

    fn spend_step(&mut self) -> Result<(), Limit> {
        self.spent.steps += 1;
        if self.spent.steps < self.spent.next_check {
            return Ok(());
        }
        self.spent.steps += self.visited.take_compared();
        self.spent.next_check = self.spent.steps + STEPS_PER_CHECK;
        self.check_limits()
    }

    fn check_limits(&mut self) -> Result<(), Limit> {
        if self.spent.steps > self.spent.limit {
            return Err(Limit::Steps);
        }
        self.count_steps();
        self.spent.meter.check_time()?;
        let held = self.projected_bytes();
        self.spent.meter.check_memory(held)
    }

    /// Tells the meter of the steps that it does not know of.
    fn count_steps(&mut self) {
        self.spent.meter.count_steps(self.spent.steps - self.spent.counted);
        self.spent.counted = self.spent.steps;
    }

    fn projected_bytes(&self) -> u64 {
        let heap = B::heap_bytes(self.window.problem.words());
        let more = STEPS_PER_CHECK as usize + self.window.problem.slots + self.extension.survivors.len();
        let branches =
            projected_bytes::<Branch<O::State, B>>(self.branches.len(), self.branches.capacity(), more);
        let sets = self.visited.projected_bytes(more, heap) + self.extension.projected_bytes(more, heap);
        self.window.problem.bytes() + branches + (2 * heap * (self.branches.len() + more)) as u64 + sets
    }
}
