//! One key of a history that grows.

use history::Nanos;

use super::super::breadth::{Crowd, Duty, Passed, Stance, pass};
use super::super::object::CallOf;
use super::super::problem::Problem;
use super::super::window::Rules;
use super::Broken;
use super::streamed::{Rename, Streamed};

/// Completed operations of a key that are worth a look at it.
const BATCH: usize = 256;

/// What is known about a key.
pub(super) enum Fate {
    /// It is legal so far.
    Going,
    /// No order explains it.
    Broken(Broken),
    /// Nothing, and that stays so.
    Lost(String),
}

/// One key: what can still matter of its past, and what is to be judged.
pub(super) struct Key<O: Streamed> {
    name: Option<String>,
    pub fate: Fate,
    /// It was judged up to here.
    until: Nanos,
    /// Called before that, and still able to take effect. The duties of the crowd's stances are about them.
    open: Vec<CallOf<O>>,
    crowd: Crowd<O::State>,
    /// Called since.
    waiting: Vec<CallOf<O>>,
    /// It is looked at again when so many are waiting.
    due_at: usize,
}

impl<O: Streamed> Key<O> {
    pub(super) fn new(name: Option<String>, object: &O) -> Self {
        Self {
            name,
            fate: Fate::Going,
            until: Nanos(0),
            open: Vec::new(),
            crowd: Crowd::starting_with(object.initial()),
            waiting: Vec::new(),
            due_at: BATCH,
        }
    }

    /// Takes an operation; whether the key should be looked at.
    pub(super) fn take(&mut self, call: CallOf<O>) -> bool {
        if call.start < self.until {
            self.lose(format!(
                "operation {} was recorded long after it began, at {}",
                call.position, call.start
            ));
        }
        if matches!(self.fate, Fate::Going) {
            self.waiting.push(call);
        }
        self.waiting.len() >= self.due_at
    }

    /// Whether nothing is left to be judged.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.open.iter().any(CallOf::<O>::is_certain)
    }

    pub(super) fn lose(&mut self, why: String) {
        if matches!(self.fate, Fate::Going) {
            self.end(Fate::Lost(why));
        }
    }

    fn end(&mut self, fate: Fate) {
        self.fate = fate;
        (self.open, self.waiting) = (Vec::new(), Vec::new());
        self.crowd.stances = Vec::new();
        self.due_at = usize::MAX;
    }

    /// Judges everything that happened before a moment; all that was called before it is waiting here.
    pub(super) fn judge(&mut self, object: &O, until: Nanos) {
        let (new, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|call| call.start < until);
        self.waiting = later;
        if matches!(self.fate, Fate::Going) && until > self.until {
            self.until = until;
            self.pass(object, new);
        }
        // An operation that takes long holds everything back, and unknown ones are looked at every time.
        if matches!(self.fate, Fate::Going) {
            self.due_at = self.waiting.len() + BATCH.max(self.open.len() / 2);
        }
    }

    fn pass(&mut self, object: &O, new: Vec<CallOf<O>>) {
        let states: Vec<O::State> = self.crowd.stances.iter().map(|stance| stance.state.clone()).collect();
        let carried = self.open.len();
        let mut calls = std::mem::take(&mut self.open);
        calls.extend(new);
        let can_wait = object.can_wait(&calls, &states);
        let is_unused = |at: usize| {
            at >= carried || self.crowd.stances.iter().all(|stance| stance.duties[at] != Duty::Used)
        };
        let waits: Vec<bool> =
            (0..calls.len()).map(|at| can_wait[at] && !calls[at].is_certain() && is_unused(at)).collect();
        let (mut asleep, mut awake) = (Vec::new(), Vec::new());
        for (at, call) in calls.into_iter().enumerate() {
            if waits[at] { asleep.push(call) } else { awake.push(call) }
        }
        for stance in &mut self.crowd.stances {
            let mut waits = waits.iter();
            stance.duties.retain(|_| waits.next() == Some(&false));
        }
        match pass(&Problem::new(object, &awake), Rules::ALL, &self.crowd, self.until) {
            Passed::On { crowd, open } => {
                self.crowd = crowd;
                self.open = open.into_iter().map(|at| awake[at].clone()).collect();
                self.wake(asleep);
            }
            Passed::Illegal { call } => {
                let call = &awake[call];
                self.end(Fate::Broken(Broken {
                    key: self.name.clone(),
                    index: u64::from(call.position),
                    time: call.end_or_never(),
                }));
            }
            Passed::TooHard => {
                let why = format!("too many orders are possible at {}", self.until);
                self.lose(why);
            }
        }
    }

    /// Puts back what waited: it has not taken effect anywhere.
    fn wake(&mut self, asleep: Vec<CallOf<O>>) {
        for Stance { duties, .. } in &mut self.crowd.stances {
            duties.extend(asleep.iter().map(|_| Duty::Optional));
        }
        self.open.extend(asleep);
    }

    pub(super) fn rename(&mut self, new: &mut Rename<'_>) {
        for call in self.open.iter_mut().chain(&mut self.waiting) {
            O::rename_call(&mut call.op, &mut call.ret, new);
        }
        self.crowd.stances.iter_mut().for_each(|stance| O::rename_state(&mut stance.state, new));
    }

    pub(super) fn bytes(&self) -> u64 {
        let calls = (self.open.capacity() + self.waiting.capacity()) * size_of::<CallOf<O>>();
        let per_stance = size_of::<Stance<O::State>>() + self.open.len() * size_of::<Duty>();
        (size_of::<Self>() + calls + self.crowd.stances.len() * per_stance) as u64
    }
}
