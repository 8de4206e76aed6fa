//! All configurations that are possible at one moment, from one moment to a later one.
//!
//! Where the search (`search`) goes deep and comes back, this carries every configuration along at once, so that nothing
//! before the present moment has to be kept: what is left of the past is a *stance* for each configuration (its state, and
//! what has become of the operations that are still open). The rules are those of [`Window`]. It is Lowe's just-in-time
//! algorithm as a breadth-first search over an antichain of configurations.
//!
//! When a moment has too many configurations, or the sequences before a return are too many to be tried, the best ones go
//! on and the crowd is no longer *complete*. Whoever goes on is still a witness that the history is legal so far; but when
//! nobody is left of an incomplete crowd, nothing is proven ([`Passed::TooHard`]).

use std::hash::Hash;

use history::Nanos;
use rustc_hash::FxHashMap;

use super::antichain::Antichain;
use super::bits::{Bits, lane_of_word};
use super::extension::Extension;
use super::object::Object;
use super::problem::{Event, EventKind, Problem};
use super::window::{Configuration, Rules, Window};

/// The most configurations that go on from a return.
const CROWD_LIMIT: usize = 64;

/// How many of them have the same state, when there are too many.
const ALIKE_LIMIT: usize = 4;

/// The most operations that are tried at a return before the crowd is incomplete.
const STEPS_PER_RETURN: u64 = 4_096;

/// One configuration between two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stance<S> {
    pub state: S,
    /// What has become of every call that is still open.
    pub duties: Vec<Duty>,
}

/// What has become of an open call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It must take effect before it returns.
    Owed,
    /// It may.
    Optional,
    /// It has taken effect.
    Used,
}

/// The configurations at a moment.
#[derive(Debug, Clone)]
pub(super) struct Crowd<S> {
    pub stances: Vec<Stance<S>>,
    /// Whether no other configuration is possible.
    pub is_complete: bool,
}

/// What became of a crowd.
pub(super) enum Passed<S> {
    /// These calls, by number, are open, and the duties of the stances are theirs.
    On { crowd: Crowd<S>, open: Vec<usize> },
    /// No configuration survives the return of this call.
    Illegal { call: usize },
    /// None of those that were kept does.
    TooHard,
}

/// Passes every event before a moment. The crowd's duties are about the first calls of the problem, which were open when it
/// stopped before; all other calls begin later than that.
pub(super) fn pass<O: Object>(
    problem: &Problem<'_, O>,
    rules: Rules,
    crowd: &Crowd<O::State>,
    until: Nanos,
) -> Passed<O::State> {
    match problem.words() {
        1..=2 => Breadth::<O, [u64; 2]>::new(problem, rules, crowd).run(until),
        3..=8 => Breadth::<O, [u64; 8]>::new(problem, rules, crowd).run(until),
        _ => Breadth::<O, Vec<u64>>::new(problem, rules, crowd).run(until),
    }
}

struct Breadth<'a, O: Object, B> {
    window: Window<'a, O, B>,
    configurations: Vec<Configuration<O::State, B>>,
    is_complete: bool,
    extension: Extension<O::State, B>,
}

impl<'a, O: Object, B: Bits> Breadth<'a, O, B> {
    fn new(problem: &'a Problem<'a, O>, rules: Rules, crowd: &Crowd<O::State>) -> Self {
        let mut window = Window::<O, B>::new(problem, rules);
        let carried = crowd.stances.first().map_or(0, |stance| stance.duties.len());
        // What was open was called before anything else happens.
        let places = &problem.events[..carried];
        let configuration = |stance: &Stance<O::State>| {
            let mut configuration = window.start(stance.state.clone());
            let masks = &mut configuration.masks;
            for event in places {
                match (event.kind, stance.duties[event.call as usize]) {
                    (EventKind::Ghost, Duty::Used) => {
                        masks.used.count_up(problem.slot_words(), event.place);
                    }
                    (EventKind::Ghost, _) | (_, Duty::Owed) => {}
                    (_, Duty::Used) => masks.used.add(event.place),
                    (_, Duty::Optional) => masks.optional.add(event.place),
                }
            }
            configuration
        };
        let configurations = crowd.stances.iter().map(configuration).collect();
        window.move_to(carried);
        Self { window, configurations, is_complete: crowd.is_complete, extension: Extension::default() }
    }

    fn run(mut self, until: Nanos) -> Passed<O::State> {
        let problem = self.window.problem;
        while let Some(event) = self.window.event() {
            let call = &problem.calls[event.call as usize];
            let time = if event.is_return() { call.end_or_never() } else { call.start };
            if time >= until {
                break;
            }
            if event.is_return() {
                self.pass_return(event);
            } else {
                self.window.pass();
                self.configurations.iter_mut().for_each(|one| self.window.open_in(event, one));
            }
            if self.configurations.is_empty() {
                let call = event.call as usize;
                return if self.is_complete { Passed::Illegal { call } } else { Passed::TooHard };
            }
        }
        self.stop(until)
    }

    /// Every way in which the operation can return.
    fn pass_return(&mut self, event: Event) {
        self.extension.begin();
        let (done, waiting): (Vec<_>, Vec<_>) = self
            .configurations
            .drain(..)
            .partition(|configuration| configuration.masks.used.has(event.place));
        for configuration in waiting {
            self.extension.add_source(&self.window, event.place, configuration);
        }
        let mut steps = 0;
        while self.extension.has_frontier() {
            for configuration in self.extension.take_frontier() {
                if steps >= STEPS_PER_RETURN {
                    self.is_complete = false;
                    break;
                }
                steps += 1 + self.extension.step_from(&self.window, event.place, &configuration);
            }
            if steps >= STEPS_PER_RETURN {
                self.is_complete &= !self.extension.has_frontier();
                break;
            }
        }
        self.window.pass();
        let mut survivors = done;
        survivors.append(&mut self.extension.survivors);
        survivors.iter_mut().for_each(|survivor| survivor.masks.forget(event.place));
        self.configurations = self.best(survivors);
    }

    /// Those that no other one dominates, and not too many of them.
    fn best(
        &mut self,
        mut configurations: Vec<Configuration<O::State, B>>,
    ) -> Vec<Configuration<O::State, B>> {
        configurations.sort_by_cached_key(|configuration| self.window.burden(configuration));
        let mut met: Antichain<O::State, B> = Antichain::default();
        configurations.retain(|one| met.insert(&self.window, one.state.clone(), &one.masks));
        if configurations.len() > CROWD_LIMIT {
            let mut alike: FxHashMap<O::State, usize> = FxHashMap::default();
            configurations.retain(|one| {
                let alike = alike.entry(one.state.clone()).or_insert(0);
                *alike += 1;
                *alike <= ALIKE_LIMIT
            });
            configurations.truncate(CROWD_LIMIT);
            self.is_complete = false;
        }
        configurations
    }

    /// The stances at the moment that was reached.
    fn stop(&self, until: Nanos) -> Passed<O::State> {
        let problem = self.window.problem;
        let mut places: Vec<Event> = problem.events[..self.window.at]
            .iter()
            .filter(|event| !event.is_return())
            .filter(|event| problem.calls[event.call as usize].end_or_never() >= until)
            .copied()
            .collect();
        let mut duties: Vec<Vec<Duty>> =
            self.configurations.iter().map(|one| duties(problem, &places, one)).collect();
        // Who has taken effect in every configuration will return without a question.
        let is_told: Vec<bool> =
            (0..places.len()).map(|at| duties.iter().all(|duties| duties[at] == Duty::Used)).collect();
        keep_untold(&mut places, &is_told);
        duties.iter_mut().for_each(|duties| keep_untold(duties, &is_told));
        let stances = self.configurations.iter().zip(duties);
        let stances = stances.map(|(one, duties)| Stance { state: one.state.clone(), duties }).collect();
        let open = places.iter().map(|event| event.call as usize).collect();
        Passed::On { crowd: Crowd { stances, is_complete: self.is_complete }, open }
    }
}

/// What has become of the calls of some events. Of a lane, the first ones have taken effect: its calls ask for the same.
fn duties<O: Object, B: Bits>(
    problem: &Problem<'_, O>,
    places: &[Event],
    configuration: &Configuration<O::State, B>,
) -> Vec<Duty> {
    let masks = &configuration.masks;
    let lane_word = |lane| masks.used.word(B::lane_word(problem.slot_words(), lane));
    let mut used: Vec<u16> =
        (0..problem.lanes.len() as u32).map(|lane| lane_of_word(lane_word(lane), lane)).collect();
    let mut duty = |event: &Event| match event.kind {
        EventKind::Ghost if used[event.place as usize] > 0 => {
            used[event.place as usize] -= 1;
            Duty::Used
        }
        EventKind::Ghost => Duty::Optional,
        _ if masks.used.has(event.place) => Duty::Used,
        _ if masks.optional.has(event.place) => Duty::Optional,
        _ => Duty::Owed,
    };
    places.iter().map(&mut duty).collect()
}

fn keep_untold<T>(list: &mut Vec<T>, is_told: &[bool]) {
    let mut is_told = is_told.iter();
    list.retain(|_| is_told.next() == Some(&false));
}

impl<S: Clone + Eq + Hash> Crowd<S> {
    /// One configuration, nothing is open.
    pub(super) fn starting_with(state: S) -> Self {
        Self { stances: vec![Stance { state, duties: Vec::new() }], is_complete: true }
    }
}
