//! What a disk does wrong while faults stand: errors, no space, slow fsyncs, wrong bytes. Most reads are answered from the
//! kernel's memory, as on any machine, so wrong bytes show after the disk was mounted again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(test)]
use std::thread;
use std::time::{Duration, Instant};

use regex_lite::Regex;

use super::corruption::Corruption;
use crate::dice::Dice;
use crate::links::FaultId;

/// How long an fsync takes when nothing is wrong: as long as on a usual solid-state disk, so that a power failure finds
/// something at risk. On a logarithmic scale.
const SYNC_SECONDS: (f64, f64) = (0.000_5, 0.005);

/// One thing that a disk does wrong.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Some fsyncs or writes end with `EIO`.
    Errors {
        /// Which.
        of: Operation,
        /// One in so many.
        one_in: usize,
        /// Of which files.
        files: Files,
    },
    /// Some writes write less than was asked for, as they may.
    ShortWrites {
        /// One in so many.
        one_in: usize,
        /// Of which files.
        files: Files,
    },
    /// Whatever needs space ends with `ENOSPC`; a write of which a part lies within the file is short.
    Full {
        /// What has space already needs it again when it is written: copy on write, or thin provisioning.
        thin: bool,
    },
    /// An fsync takes as long as this, evenly drawn.
    SlowSync {
        /// At least.
        low: Duration,
        /// At most.
        high: Duration,
    },
    /// A page is not what was written.
    Corrupt {
        /// Which, and what it is instead.
        corruption: Arc<Corruption>,
        /// One in so many reads of it is wrong, if reads are.
        one_in: usize,
    },
}

/// Which files a trouble is about. A canary's is always among them.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// All.
    All,
    /// Those whose path, from the root of the disk, matches.
    Matching(Regex),
    /// The one that was written last when the trouble began; all while none was.
    WrittenLast(Option<u64>),
}

/// What canaries write to.
pub(crate) const CANARY_FILE: &str = ".shakedown-canary";

/// A file that an operation is about.
pub(super) struct Subject<'a> {
    pub(super) number: u64,
    /// Where it is, from the root of the disk; asked for only when it matters.
    pub(super) path: &'a dyn Fn() -> Option<PathBuf>,
}

impl Files {
    fn have(&self, subject: &Subject<'_>) -> bool {
        let is_named = |test: &dyn Fn(&str) -> bool| {
            let path = (subject.path)().unwrap_or_default();
            path == Path::new(CANARY_FILE) || test(&path.to_string_lossy())
        };
        match self {
            Self::All | Self::WrittenLast(None) => true,
            Self::Matching(pattern) => is_named(&|path| pattern.is_match(path)),
            Self::WrittenLast(Some(number)) => subject.number == *number || is_named(&|_| false),
        }
    }
}

/// What can end with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `fsync` and `fdatasync`.
    Sync,
    /// `write` and its kin.
    Write,
}

impl Operation {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sync => "fsyncs",
            Self::Write => "writes",
        }
    }
}

#[derive(Debug)]
struct Standing {
    trouble: Trouble,
    dice: Dice,
    hits: u64,
}

/// How fsyncs end that are kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pace {
    /// In their time.
    #[default]
    Usual,
    /// At once: a process that waits for a disk can be neither stopped nor killed.
    Hurried,
    /// Not at all: the processes are about to be killed, and the power fails.
    Held,
    /// At once, without having saved anything: the processes were killed, so that they do not see the answer, and the
    /// power fails.
    Powerless,
}

#[derive(Debug)]
struct State {
    standing: BTreeMap<FaultId, Standing>,
    pace: Pace,
    /// How long an fsync takes when nothing is wrong is drawn from this.
    dice: Dice,
    /// Which file was written last.
    written_last: Option<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self { standing: BTreeMap::new(), pace: Pace::default(), dice: Dice::new(0), written_last: None }
    }
}

/// Everything that is wrong with a disk at this moment.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    state: Mutex<State>,
    hurried: Condvar,
}

impl Troubles {
    /// From now on this is wrong.
    pub(crate) fn begin(&self, fault: FaultId, mut trouble: Trouble, seed: u64) {
        let mut state = self.lock();
        if let Trouble::Errors { files, .. } | Trouble::ShortWrites { files, .. } = &mut trouble
            && let Files::WrittenLast(number) = files
        {
            *number = state.written_last;
        }
        state.standing.insert(fault, Standing { trouble, dice: Dice::new(seed), hits: 0 });
    }

    /// From now on it is not; says how often it was met.
    pub(crate) fn end(&self, fault: FaultId) -> Option<u64> {
        let ended = self.lock().standing.remove(&fault);
        ended.map(|standing| standing.hits)
    }

    /// How often it was met until now.
    pub(crate) fn hits(&self, fault: FaultId) -> u64 {
        self.lock().standing.get(&fault).map_or(0, |standing| standing.hits)
    }

    /// Says how fsyncs end from now on, those that wait included.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.lock().pace = pace;
        self.hurried.notify_all();
    }

    /// Whether this operation ends with `EIO`.
    pub(super) fn fails(&self, operation: Operation, subject: &Subject<'_>) -> bool {
        self.meet(|trouble, dice| match trouble {
            Trouble::Errors { of, one_in, files } => {
                *of == operation && files.have(subject) && dice.one_in(*one_in)
            }
            _ => false,
        })
    }

    /// How much of a write is done: something.
    pub(super) fn shortened(&self, length: usize, subject: &Subject<'_>) -> usize {
        let mut left = length;
        self.meet(|trouble, dice| match trouble {
            Trouble::ShortWrites { one_in, files } => {
                let is_short = left > 1 && files.have(subject) && dice.one_in(*one_in);
                left = if is_short { 1 + dice.below(left - 1) } else { left };
                is_short
            }
            _ => false,
        });
        left
    }

    /// A file was written.
    pub(super) fn written(&self, number: u64) {
        self.lock().written_last = Some(number);
    }

    /// Whether there is no space left.
    pub(super) fn is_full(&self) -> bool {
        self.meet(|trouble, _| matches!(trouble, Trouble::Full { .. }))
    }

    /// Whether what is saved is saved.
    pub(super) fn has_power(&self) -> bool {
        !matches!(self.lock().pace, Pace::Held | Pace::Powerless)
    }

    /// Whether there is no space left to write again what was written before.
    pub(super) fn is_thin_and_full(&self) -> bool {
        self.meet(|trouble, _| matches!(trouble, Trouble::Full { thin: true }))
    }

    /// Makes what was read of a file wrong.
    pub(super) fn misread(&self, inode: u64, offset: u64, bytes: &mut [u8]) {
        self.meet(|trouble, dice| match trouble {
            Trouble::Corrupt { corruption, one_in } => {
                dice.one_in(*one_in) && corruption.misread(inode, offset, bytes)
            }
            _ => false,
        });
    }

    /// How long this fsync takes.
    pub(super) fn delay(&self) -> Duration {
        let usual = self.lock().dice.log_even(SYNC_SECONDS.0, SYNC_SECONDS.1);
        let mut longest = Duration::from_secs_f64(usual);
        self.meet(|trouble, dice| {
            let Trouble::SlowSync { low, high } = trouble else { return false };
            let delay = Duration::from_secs_f64(dice.even(low.as_secs_f64(), high.as_secs_f64()));
            longest = longest.max(delay);
            true
        });
        longest
    }

    /// Waits until a moment, unless there is a hurry; whether there still is power.
    pub(super) fn wait(&self, until: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match state.pace {
                Pace::Usual if left.is_zero() => return true,
                Pace::Usual => {
                    let waited = self.hurried.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Pace::Hurried => return true,
                Pace::Held => state = self.hurried.wait(state).unwrap_or_else(PoisonError::into_inner),
                Pace::Powerless => return false,
            }
        }
    }

    /// Asks everything that stands, and counts what was met.
    fn meet(&self, mut met: impl FnMut(&Trouble, &mut Dice) -> bool) -> bool {
        let mut any = false;
        for standing in self.lock().standing.values_mut() {
            if met(&standing.trouble, &mut standing.dice) {
                standing.hits += 1;
                any = true;
            }
        }
        any
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are whole after every single operation on them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_let_go_when_there_is_a_hurry_and_saves_nothing_without_power() {
        for (pace, saves) in [(Pace::Hurried, true), (Pace::Powerless, false)] {
            let troubles = Troubles::default();
            let far_away = Instant::now() + Duration::from_secs(3600);
            thread::scope(|scope| {
                let waiting = scope.spawn(|| troubles.wait(far_away));
                troubles.set_pace(Pace::Held);
                assert!(!waiting.is_finished());
                troubles.set_pace(pace);
                assert_eq!(waiting.join().unwrap(), saves, "{pace:?}");
            });
        }
    }

    #[test]
    fn rates_are_kept_and_what_is_met_is_counted() {
        let troubles = Troubles::default();
        let fails = |of| troubles.fails(of, &Subject { number: 1, path: &|| None });
        let trouble = Trouble::Errors { of: Operation::Sync, one_in: 4, files: Files::All };
        troubles.begin(FaultId(1), trouble, 7);
        let failed = (0..1000).filter(|_| fails(Operation::Sync)).count();
        assert!((180..320).contains(&failed), "{failed}");
        assert!(!fails(Operation::Write));
        assert_eq!(troubles.end(FaultId(1)), Some(failed as u64));
        assert!(!fails(Operation::Sync));
    }

    #[test]
    fn only_chosen_files_and_those_of_canaries_have_trouble() {
        let troubles = Troubles::default();
        troubles.written(1);
        let met = |number, path: &str| {
            let path = || Some(PathBuf::from(path));
            troubles.shortened(100, &Subject { number, path: &path }) < 100
        };
        let begin = |files| troubles.begin(FaultId(1), Trouble::ShortWrites { one_in: 1, files }, 7);
        begin(Files::Matching(Regex::new("^log/").unwrap()));
        assert!(met(1, "log/1") && met(2, CANARY_FILE) && !met(1, "data/log/1"));
        begin(Files::WrittenLast(None));
        troubles.written(2);
        assert!(met(1, "a") && !met(2, "b") && met(3, CANARY_FILE));
    }
}
